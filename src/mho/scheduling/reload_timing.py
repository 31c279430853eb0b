"""When each tile is written and read on a chip of fewer crossbars than tiles, input after input.

Some tiles stay in crossbars of their own. All others are reloaded into the rotating crossbars, in the order of layers:
the next tile goes to the crossbar that is free first, and is written there at once, however early (only operands that
are made by earlier layers wait for them). A layer is read when the one before it is finished. So the end of an input
writes the first tiles of the next.

Where the tiles of each layer are equal, no other distribution over the rotating crossbars is faster, for any number of
inputs. Say B is the end of the layers so far and F when a crossbar is free: what counts for later layers are the ready
times max(B, F + write). Take a layer in which crossbar a has its last tile although b is free no later than a was
before that tile. Moving the tile from a to b ends it no later; a becomes ready no later than the end of the old
schedule, and b no later than a was. As all times that follow grow with ready times, the move never hurts; moves end at
the rule above. (Digital work that takes time, and links to the outside that do, are beyond this argument.)
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mho.scheduling.grouped_reloads import GroupedRun
from mho.scheduling.reload_tiles import NetworkTiles

_MOST_INPUTS = 24
"""Inputs in which a state of the crossbars must repeat; where none does, each input starts with nothing written."""

_MANY = 32
"""Rotating crossbars from which on tiles are timed many at a time."""

State = tuple[tuple[int, ...], int]
"""When the rotating crossbars are free, ascending, and the link to the outside; ps from the start of an input."""


@dataclass(frozen=True)
class ReloadPlan:
    """Which tiles stay, and how many crossbars the others are reloaded into.

    Attributes:
        rotating: crossbars that are written again and again.
        copies: for each group of tiles, crossbars that share the windows of a tile; each is written.
        staying: for each group, tiles (copies counted) that stay in a crossbar of their own.
    """

    rotating: int
    copies: tuple[int, ...]
    staying: tuple[int, ...]

    @property
    def crossbars(self) -> int:
        """Crossbars that are in use."""
        return self.rotating + sum(self.staying)

    @property
    def does_one_thing(self) -> bool:
        """True where nothing is written while something is read: there is one crossbar."""
        return self.rotating == self.crossbars == 1


@dataclass(frozen=True)
class TileSpan:
    """One tile in one input.

    Attributes:
        group: number of its group.
        layer: number of the layer in which it is read.
        crossbar: that holds it.
        write: start and end of writing, ps from the start of the period (before 0: while the input before runs);
            None where it was written before.
        read: start and end of its reads, ps.
        held_until: when its digital work is done and the crossbar may be written, or read for the next layer, ps.
        number: of the input in the period.
    """

    group: int
    layer: int
    crossbar: int
    write: tuple[int, int] | None
    read: tuple[int, int]
    held_until: int
    number: int


@dataclass(frozen=True)
class ReloadTiming:
    """A period of one or several inputs (or batches), which repeats: how the crossbars are left is how they were found.

    Attributes:
        period_ps: time of the period, ps: an input begins when the one before is finished.
        layer_ends_ps: for each input of the period, when each layer is finished, ps from the start of the period.
        spans: all reads, with the writes before them; empty unless requested.
        next_roles: for each rotating crossbar, which crossbar of this period it stands for in the next.
        writes_ahead: True where tiles of the next input are written while one runs; else each starts with nothing
            written.
    """

    period_ps: int
    layer_ends_ps: tuple[tuple[int, ...], ...]
    spans: tuple[TileSpan, ...]
    next_roles: tuple[int, ...]
    writes_ahead: bool = True

    @property
    def inputs(self) -> int:
        """Inputs of the period."""
        return len(self.layer_ends_ps)

    @property
    def interval_ps(self) -> int:
        """Mean time from input to input, ps, rounded up."""
        return -(-self.period_ps // self.inputs)


def time_reload(work: NetworkTiles, plan: ReloadPlan, *, with_spans: bool = False) -> ReloadTiming:
    """Time inputs after many others, until the state of the crossbars repeats. Deterministic.

    Args:
        work: the tiles.
        plan: which stay; at least one crossbar rotates unless all stay.
        with_spans: record every tile.
    """
    empty: State = (0,) * plan.rotating, 0
    states = [empty]
    while len(states) <= _MOST_INPUTS:
        _, after = _run_input(work, plan, states[-1])
        if after in states:
            return _time_period(work, plan, states[states.index(after) :], with_spans)
        states.append(after)
    return _time_period(work, plan, [empty], with_spans, starts_empty=True)


def time_second_input(work: NetworkTiles, plan: ReloadPlan) -> int:
    """Return the time of an input that follows one which found nothing written, ps: close to the mean of many."""
    empty: State = (0,) * plan.rotating, 0
    _, after = _run_input(work, plan, empty)
    return _run_input(work, plan, after)[0]


def unroll(timing: ReloadTiming, periods: int) -> tuple[TileSpan, ...]:
    """Return the spans of several periods in a row, in time from the start of the first.

    Args:
        timing: of one period, with spans.
        periods: how many, at least 1.
    """
    spans: list[TileSpan] = []
    stands_in = list(range(len(timing.next_roles)))
    for number in range(periods):
        crossbars = [0] * len(stands_in)
        for crossbar, role in enumerate(stands_in):
            crossbars[role] = crossbar
        spans += [
            move_span(span, number * timing.period_ps, span.number + number * timing.inputs, crossbars)
            for span in timing.spans
        ]
        stands_in = [timing.next_roles[role] for role in stands_in]
    return tuple(spans)


def measure_gaps(intervals: Iterable[tuple[int, int]], start_ps: int) -> int:
    """Return how much of the time from `start_ps` to the last end lies in none of the intervals, ps."""
    gaps, last = 0, start_ps
    for begin, end in sorted(intervals):
        gaps, last = gaps + max(0, begin - last), max(last, end)
    return gaps


def _run_input(work: NetworkTiles, plan: ReloadPlan, state: State) -> tuple[int, State]:
    """Return the time of one input from a state, ps, and the state that it leaves."""
    if plan.rotating < _MANY or not GroupedRun.can_time(work, plan.copies):
        run = InputRun(work, plan, state)
        return run.now, run.state_after()
    grouped = GroupedRun(work, plan.copies, plan.staying, *state, does_one_thing=plan.does_one_thing)
    return grouped.now, cut_state(work, plan, grouped.free.tolist(), grouped.link, grouped.now)


def cut_state(work: NetworkTiles, plan: ReloadPlan, free: Sequence[int], link: int, now: int) -> State:
    """Return a state relative to the end of an input; what lies too far back to matter is cut off.

    Args:
        work, plan: the tiles.
        free: when rotating crossbars are free, ascending, and
        link: the link to the outside, ps from the start of the input.
        now: when it ends, ps.
    """
    oldest = -max((group.write_ps for group in work.groups), default=0) - sum(
        group.transfer_ps * (group.tiles * copies - staying)
        for group, copies, staying in zip(work.groups, plan.copies, plan.staying, strict=True)
    )
    return tuple(max(oldest, one - now) for one in free), max(oldest, link - now)


def _time_period(
    work: NetworkTiles, plan: ReloadPlan, states: list[State], with_spans: bool, *, starts_empty: bool = False
) -> ReloadTiming:
    """Time one input from each state."""
    now, ends, spans, standing = 0, [], [], list(range(plan.rotating))
    for number, state in enumerate(states):
        one = InputRun(work, plan, state, with_spans=with_spans)
        ends.append(tuple(now + end for end in one.ends))
        spans += [move_span(span, now, number, standing) for span in one.spans]
        if not starts_empty:
            standing = [standing[role] for _, role in sorted(one.free)]
        now += one.now
    next_roles = [0] * plan.rotating
    for role, crossbar in enumerate(standing):
        next_roles[crossbar] = role
    return ReloadTiming(now, tuple(ends), tuple(spans), tuple(next_roles), not starts_empty)


def move_span(span: TileSpan, time_ps: int, number: int, standing: list[int]) -> TileSpan:
    """Move a span to its place in the period; rotating crossbars stand for those of the period's first input."""
    write = None if span.write is None else (span.write[0] + time_ps, span.write[1] + time_ps)
    read = span.read[0] + time_ps, span.read[1] + time_ps
    crossbar = standing[span.crossbar] if span.crossbar < len(standing) else span.crossbar
    return TileSpan(span.group, span.layer, crossbar, write, read, span.held_until + time_ps, number)


class InputRun:
    """Runs one input from a state of the crossbars."""

    def __init__(self, work: NetworkTiles, plan: ReloadPlan, state: State, *, with_spans: bool = False) -> None:
        self._work, self._plan, self._is_recorded = work, plan, with_spans
        self.free = [(free, role) for role, free in enumerate(state[0])]
        self.link = state[1]
        self.now = 0
        self._unit = 0
        self._next_staying = plan.rotating
        self._later: dict[int, list[tuple[int, int, int, int, bool]]] = {}
        self.ends: list[int] = []
        self.spans: list[TileSpan] = []
        self._groups: list[list[int]] = [[] for _ in work.layers]
        for number, group in enumerate(work.groups):
            self._groups[group.layer].append(number)
        for layer in range(len(work.layers)):
            self._run_layer(layer)

    def state_after(self) -> State:
        """Return the state relative to the end, see `cut_state`."""
        return cut_state(self._work, self._plan, self.list_free(), self.link, self.now)

    def list_free(self) -> list[int]:
        """Return when crossbars are free, ascending, ps."""
        return [free for free, _ in sorted(self.free)]

    def _run_layer(self, layer: int) -> None:
        start = end = self._unit = self.now
        for number, crossbar, read_ps, digital_ps, rotates in self._later.pop(layer, []):
            done = self._read(number, layer, crossbar, None, start, read_ps, digital_ps)
            end = max(end, done)
            self._release(number, layer, crossbar, done, rotates)
        for number in self._groups[layer]:
            group, copies = self._work.groups[number], self._plan.copies[number]
            read_ps, digital_ps = group.read_ps(copies), group.digital_of_tile_ps(copies)
            for _ in range(self._plan.staying[number]):
                crossbar = self._take_staying()
                done = self._read(number, layer, crossbar, None, start, read_ps, digital_ps)
                end = max(end, done)
                self._keep_for_later(number, layer, crossbar, rotates=False)
            for _ in range(group.tiles * copies - self._plan.staying[number]):
                free, role = self._take()
                begin = max(free, start) if group.is_stored else free
                if group.transfer_ps:
                    begin = max(begin, self.link)
                    self.link = begin + group.transfer_ps
                write = begin, begin + group.write_ps
                done = self._read(number, layer, role, write, max(start, write[1]), read_ps, digital_ps)
                end = max(end, done)
                self._release(number, layer, role, done, True)
        self.now = end + self._work.extra_ps[layer]
        self.ends.append(self.now)
        self._wait_on_a_single_crossbar()

    def _read(
        self, number: int, layer: int, crossbar: int, write: tuple[int, int] | None, begin: int, read_ps: int,
        digital_ps: int,
    ) -> int:  # fmt: skip
        """Read a tile and do its digital work, after that of the tiles before it; return when both are done."""
        done = read_end = begin + read_ps
        if digital_ps:
            done = self._unit = max(self._unit, read_end) + digital_ps
        if self._is_recorded:
            self.spans.append(TileSpan(number, layer, crossbar, write, (begin, read_end), done, 0))
        return done

    def _release(self, number: int, layer: int, crossbar: int, done: int, rotates: bool) -> None:
        """Free a crossbar, unless it is read again in a later layer."""
        if not self._keep_for_later(number, layer, crossbar, rotates=rotates) and rotates:
            self._put(done, crossbar)

    def _take_staying(self) -> int:
        """Return the crossbar of the next tile that stays."""
        self._next_staying += 1
        return self._next_staying - 1

    def _take(self) -> tuple[int, int]:
        """Return when the crossbar of the next tile that is written is free, and which it is."""
        return heapq.heappop(self.free)

    def _put(self, free_ps: int, crossbar: int) -> None:
        """Let a crossbar be written from now on."""
        heapq.heappush(self.free, (free_ps, crossbar))

    def _keep_for_later(self, number: int, layer: int, crossbar: int, *, rotates: bool) -> bool:
        following = self._work.groups[number].find_read_after(layer)
        if following is None:
            return False
        held = number, crossbar, following.read_ps, following.digital_ps, rotates
        self._later.setdefault(following.layer, []).append(held)
        return True

    def _wait_on_a_single_crossbar(self) -> None:
        """Let a chip of one crossbar do one thing after the other, as the time-multiplexed regime has it."""
        if self._plan.does_one_thing:
            self._wait_for(self.now)

    def _wait_for(self, now_ps: int) -> None:
        """Let no crossbar be written before this time."""
        self.free = [(max(free, now_ps), role) for free, role in self.free]
