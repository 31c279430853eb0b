"""How long one input takes where tiles are rewritten, many tiles at a time, by the rules of `reload_timing`.

There a loop follows each tile; a chip of thousands of crossbars has hundreds of thousands. Here only times are kept,
not which crossbar holds what, and tiles of one group, which are equal, are taken many at once: all crossbars that are
free before the first of these tiles is finished take tiles in the order in which they are free, whatever follows.
Links and digital units that serve one tile after the other are running maxima. Both give the same times, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mho.scheduling.reload_tiles import NetworkTiles, TileGroup
from mho.scheduling.work_graph import Integers

_MOST_PS = 1 << 60
"""Sums and differences of times up to here fit 64 bits."""


@dataclass(frozen=True)
class _Held:
    """Tiles of one group that a later layer reads again.

    Attributes:
        group: their number.
        tiles: how many.
        read_ps, digital_ps: of each, in that layer.
        rotates: True where their crossbars rotate.
    """

    group: int
    tiles: int
    read_ps: int
    digital_ps: int
    rotates: bool


class GroupedRun:
    """Times one input from a state of the crossbars.

    Args:
        work: the tiles.
        copies, staying: of each group, as of `ReloadPlan`.
        free: when the rotating crossbars are free, ascending, and
        link: the link to the outside; ps from the start of the input.
        does_one_thing: whether nothing is written while something is read.

    Attributes:
        now: when the input is finished, ps.
        free, link: what they are then.
    """

    def __init__(
        self,
        work: NetworkTiles,
        copies: Sequence[int],
        staying: Sequence[int],
        free: Sequence[int],
        link: int,
        *,
        does_one_thing: bool,
    ) -> None:
        self._work, self._copies, self._staying, self._does_one_thing = work, copies, staying, does_one_thing
        self.free: Integers = np.array(free, np.int64)
        self.link, self.now, self._start, self._unit = link, 0, 0, 0
        self._held: dict[int, list[_Held]] = {}
        groups: list[list[int]] = [[] for _ in work.layers]
        for number, group in enumerate(work.groups):
            groups[group.layer].append(number)
        for layer, numbers in enumerate(groups):
            self._run_layer(layer, numbers)

    @staticmethod
    def can_time(work: NetworkTiles, copies: Sequence[int]) -> bool:
        """Tell whether the times of two inputs fit 64 bits, however tiles are distributed."""
        return 4 * max(copies, default=1) * work.one_crossbar_ps < _MOST_PS

    def _run_layer(self, layer: int, numbers: Sequence[int]) -> None:
        end = self._start = self._unit = self.now
        for held in self._held.pop(layer, []):
            done = self._read(np.full(held.tiles, self._start), held.read_ps, held.digital_ps)
            end = max(end, int(done[-1]))
            if not self._hold(held.group, layer, held.tiles, rotates=held.rotates) and held.rotates:
                self.free = _merge(self.free, done)
        for number in numbers:
            group, copies, staying = self._work.groups[number], self._copies[number], self._staying[number]
            if staying:
                begin = np.full(staying, self._start)
                done = self._read(begin, group.read_ps(copies), group.digital_of_tile_ps(copies))
                end = max(end, int(done[-1]))
                self._hold(number, layer, staying, rotates=False)
            if rotating := group.tiles * copies - staying:
                is_held = self._hold(number, layer, rotating, rotates=True)
                end = max(end, self._rotate(group, copies, rotating, is_held=is_held))
        self.now = end + self._work.extra_ps[layer]
        if self._does_one_thing:
            self.free = np.maximum(self.free, self.now)

    def _rotate(self, group: TileGroup, copies: int, tiles: int, *, is_held: bool) -> int:
        """Let rotating crossbars take the tiles of a group; return when the last is finished."""
        free, done = self.free, np.zeros(tiles, np.int64)
        taken = again = finished = 0  # of those that were free, of those that are free again, of all tiles
        while finished < tiles:
            left = tiles - finished
            if is_held:
                assert left <= len(free), "a plan has crossbars for all that is held"
                first, second = left, 0
            else:
                first, second = self._count_due(group, copies, free[taken:], done[again:finished], left)
            begin = _merge(free[taken : taken + first], done[again : again + second])
            done[finished : finished + len(begin)] = self._write_and_read(group, copies, begin)
            taken, again, finished = taken + first, again + second, finished + len(begin)
        self.free = free[taken:] if is_held else _merge(free[taken:], done[again:])
        return int(done[-1])

    def _count_due(self, group: TileGroup, copies: int, free: Integers, again: Integers, most: int) -> tuple[int, int]:
        """Return how many of two ascending sequences are due before a tile that begins now is finished, in all `most`.

        Of equal times it does not matter which are taken.
        """
        begin = min(int(times[0]) for times in (free, again) if len(times))
        unit, link = self._unit, self.link
        until = self._write_and_read(group, copies, np.array([begin]))[0]
        self._unit, self.link = unit, link
        first, second = (int(times.searchsorted(until, side="right")) for times in (free, again))
        if first + second > most:
            last = _merge(free[:first], again[:second])[most - 1]
            before = int(again.searchsorted(last, side="left"))
            first = min(int(free.searchsorted(last, side="right")), most - before)
            second = most - first
        return first, second

    def _write_and_read(self, group: TileGroup, copies: int, free: Integers) -> Integers:
        """Write and read tiles in crossbars that are free in this order; return when each is finished, ascending."""
        begin = np.maximum(free, self._start) if group.is_stored else free
        if group.transfer_ps:
            before = np.arange(len(begin)) * group.transfer_ps
            begin = np.maximum.accumulate(np.maximum(begin - before, self.link)) + before
            self.link = int(begin[-1]) + group.transfer_ps
        ready = np.maximum(begin + group.write_ps, self._start)
        return self._read(ready, group.read_ps(copies), group.digital_of_tile_ps(copies))

    def _read(self, begin: Integers, read_ps: int, digital_ps: int) -> Integers:
        """Read tiles and do their digital work, one after the other; return when each is finished, ascending."""
        done = begin + read_ps
        if digital_ps:
            before = np.arange(len(done)) * digital_ps
            done = np.maximum.accumulate(np.maximum(done - before, self._unit)) + before + digital_ps
            self._unit = int(done[-1])
        return done

    def _hold(self, number: int, layer: int, tiles: int, *, rotates: bool) -> bool:
        """Keep tiles for a later layer, if one reads them again."""
        following = self._work.groups[number].find_read_after(layer)
        if following is None:
            return False
        held = _Held(number, tiles, following.read_ps, following.digital_ps, rotates)
        self._held.setdefault(following.layer, []).append(held)
        return True


def _merge(one: Integers, other: Integers) -> Integers:
    """Return all of two ascending sequences, ascending."""
    if not len(other):
        return one
    merged = np.concatenate([one, other])
    merged.sort(kind="stable")
    return merged
