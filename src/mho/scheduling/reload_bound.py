"""Lower bounds on the time from input to input where tiles are reloaded: no plan of any kind is faster.

Say k crossbars rotate and m stay, x of them with tiles of a layer of n tiles. Then the layer takes at least

- one round after another on the rotating crossbars: rounds * held + (rounds - 1) * write, with ceil((n - x) / k)
  rounds, as at most k tiles were written before it began (where a tile is read in one crossbar);
- (all its reads + (n - x - k) writes) / (k + x), and one window (where several crossbars may share a tile's windows);
- all its digital work after its shortest read, and all its writes where it stores activations.

A layer that p crossbars read takes at least all its reads / p, and so many crossbars must be loaded with its tiles: all
crossbars together work off all reads and these writes too. Both are weighed against each other, for all p at once,

and the sum over layers is bounded from below for all ways to hand out the m by a price on each crossbar that stays
(Lagrange): the bound holds for any price, so that it is exact in integers. Besides, the rotating crossbars work off
all reads and writes but those of the m tiles that take most, and the link to the outside brings all but m tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mho.scheduling.reload_tiles import NetworkTiles, TileGroup
from mho.scheduling.work_graph import Integers

_NEVER = 1 << 60
"""Instead of a time, ps: impossible."""

_SHARES = 8
_WEIGHED = (2, 4, 6)
"""Eighths with which the work of all crossbars is weighed against the time of the layers."""

_EACH = 48
"""Numbers of rotating crossbars up to which each is bounded by itself; above, ranges of them are."""


def bound_reload_ps(work: NetworkTiles, crossbars: int) -> int:
    """Return a time that no plan falls below, ps, for a batch.

    Args:
        work: the tiles.
        crossbars: of the chip.
    """
    if crossbars == 1 and not work.fits(1):
        return work.one_crossbar_ps
    layers = [_LayerBound.of(work, number) for number in range(len(work.layers))]
    totals = _Totals.of(work)
    return min(
        max(_bound_layers(layers, low, high, crossbars), totals.bound_ps(crossbars - low, high))
        for low, high in _list_ranges(work, crossbars)
    )


def _list_ranges(work: NetworkTiles, crossbars: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of numbers of rotating crossbars that cover all possible ones."""
    if work.fits(crossbars):
        yield 0, 0
    low = 1
    while low <= crossbars:
        high = min(crossbars, low if low < _EACH else low + low // _EACH)
        yield low, high
        low = high + 1


@dataclass(frozen=True)
class _Totals:
    """What all layers take together: int64 [tiles + 1], of what is left after the tiles that take most."""

    held: Integers
    link: Integers

    @classmethod
    def of(cls, work: NetworkTiles) -> _Totals:
        return cls(
            _rest_after(work.groups, lambda group: group.write_ps + group.held_ps),
            _rest_after(work.groups, lambda group: group.transfer_ps),
        )

    def bound_ps(self, staying: int, rotating: int) -> int:
        """Return the bound for at most so many tiles that stay and crossbars that rotate."""
        held = int(self.held[min(staying, len(self.held) - 1)])
        busy = -(-held // rotating) if rotating else 0
        return max(busy, int(self.link[min(staying, len(self.link) - 1)]))


def _rest_after(groups: tuple[TileGroup, ...], take: Callable[[TileGroup], int]) -> Integers:
    """Return what is left of a total after 0, 1, 2, ... of the tiles that take most and may stay."""
    able = sorted((g for g in groups if g.can_stay), key=take, reverse=True)
    most = np.repeat(np.array([take(g) for g in able], np.int64), [g.tiles for g in able])
    total = sum(take(g) * g.tiles for g in groups)
    return np.asarray(total - np.concatenate([[0], np.cumsum(most)]), dtype=np.int64)


@dataclass(frozen=True)
class _LayerBound:
    """What bounds the time of one layer.

    Attributes:
        tiles: of weights, which may stay.
        stored: tiles of activations.
        least_held: of one tile, ps.
        all_held: of all tiles, ps.
        write_ps: of one tile.
        floor_ps: that the layer takes however many crossbars there are.
        extra_ps: after all else.
        copies: True where windows may be shared.
    """

    tiles: int
    stored: int
    least_held: int
    all_held: int
    write_ps: int
    floor_ps: int
    extra_ps: int
    copies: bool

    @classmethod
    def of(cls, work: NetworkTiles, layer: int) -> _LayerBound:
        groups = [group for group in work.groups if group.layer == layer]
        later = [read for group in work.groups for read in group.later if read.layer == layer]
        held = [group.read_ps() + group.digital_of_tile_ps() for group in groups]
        fixed = max((read.read_ps + read.digital_ps for read in later), default=0)
        digital = sum(group.tiles * group.windows * group.digital_ps for group in groups)
        shared = [not group.later for group in groups]
        longest = max((g.window_ps if one else h for g, h, one in zip(groups, held, shared, strict=True)), default=0)
        shortest = min((g.window_ps if one else g.read_ps() for g, one in zip(groups, shared, strict=True)), default=0)
        return cls(
            sum(group.tiles for group in groups if group.can_stay),
            sum(group.tiles for group in groups if not group.can_stay),
            min(held, default=0),
            sum(group.tiles * h for group, h in zip(groups, held, strict=True)),
            min((group.write_ps for group in groups), default=0),
            max(fixed, longest, digital + shortest if digital else 0),
            work.extra_ps[layer],
            any(shared),
        )

    def times_ps(self, rotating: int, crossbars: int) -> Integers:
        """Return int64 [most + 1]: the bound with 0, 1, .. crossbars that stay for the layer."""
        if self.stored:
            return np.full(1, self._stored_ps(rotating), np.int64)
        most = crossbars if self.copies else min(crossbars, self.tiles)
        staying = np.arange(most + 1, dtype=np.int64)
        late = np.maximum(0, self.tiles - staying - rotating)
        reading = np.maximum(1, np.minimum(crossbars, rotating + staying))
        times = np.maximum(self.floor_ps, -(-(self.all_held + late * self.write_ps) // reading))
        if not self.copies and rotating:
            rounds = -(-(self.tiles - staying) // rotating)
            by_rounds = rounds * self.least_held + np.maximum(0, rounds - 1) * self.write_ps
            times = np.maximum(times, by_rounds)
        if not rotating:
            times[: self.tiles] = _NEVER
        return np.asarray(times + self.extra_ps)

    def weighed_ps(self, times: Integers, rotating: int, crossbars: int, share: int) -> Integers:
        """Weigh times as `times_ps` gives them against the work of all crossbars, shared by them.

        Returns:
            int64, like `times`: (_SHARES - share) * time + share * work / crossbars, for the number of crossbars that
            read the layer with which that is least.
        """
        count = self.tiles + self.stored
        if not count or not rotating:
            return np.asarray((_SHARES - share) * times)
        staying = np.arange(len(times), dtype=np.int64)
        most = np.maximum(1, np.minimum(crossbars, rotating + staying))
        best = np.sqrt((_SHARES - share) * self.all_held * crossbars / max(1, share * self.write_ps))
        near = np.minimum(best, self.all_held / np.maximum(1, times - self.extra_ps)).astype(np.int64)
        found = np.full(len(times), np.iinfo(np.int64).max)
        for reading in (near, near + 1):
            reading = np.clip(reading, np.minimum(count, most), most)
            loads = np.maximum(0, np.maximum(count, reading) - staying)
            time = np.maximum(times, self.all_held // reading + self.extra_ps)
            work = (self.all_held + loads * self.write_ps) // crossbars
            found = np.minimum(found, (_SHARES - share) * time + share * work)
        return found

    def _stored_ps(self, rotating: int) -> int:
        """Bound a layer whose tiles are all written after the layer before it."""
        if not rotating:
            return _NEVER
        work = -(-(self.all_held + self.stored * self.write_ps) // rotating)
        return max(work, self.floor_ps + self.write_ps) + self.extra_ps


def _bound_layers(layers: list[_LayerBound], low: int, high: int, crossbars: int) -> int:
    """Bound the sum over layers with `low` .. `high` rotating crossbars."""
    budget = crossbars - low
    times = [layer.times_ps(high, crossbars)[: budget + 1] for layer in layers]
    if any(int(one.min()) >= _NEVER for one in times):
        return _NEVER
    best = _bound_sum(times, budget)
    if high:
        for share in _WEIGHED:
            pairs = zip(layers, times, strict=True)
            weighed = [layer.weighed_ps(one, high, crossbars, share) for layer, one in pairs]
            best = max(best, _bound_sum(weighed, budget) // _SHARES)
    return best


def _bound_sum(times: list[Integers], budget: int) -> int:
    """Bound the sum of an entry of each array, whose numbers add up to `budget` at most, by the best price."""
    counts = [np.arange(len(one), dtype=np.int64) for one in times]
    best, low, high = 0, 0, 1 + max(int(one[one < _NEVER].max()) for one in times)
    high = min(high, _NEVER // (budget + 1))
    while low < high:
        price = (low + high) // 2
        total, staying = -price * budget, 0
        for one, count in zip(times, counts, strict=True):
            priced = one + price * count
            at = int(priced.argmin())
            total, staying = total + int(priced[at]), staying + at
        best = max(best, total)
        low, high = (price + 1, high) if staying > budget else (low, price)
    return best
