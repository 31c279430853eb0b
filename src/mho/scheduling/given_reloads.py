"""Times of tiles whose crossbars are given: what a program for too few crossbars takes, which carries them.

Rules are those of `mho.scheduling.reload_timing`, but that the next tile goes to the crossbar that is given, as soon as
it is free, instead of to the one that is free first. So a schedule and the program that was made of it take the same
time, each from what it knows itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mho.errors import ScheduleError
from mho.scheduling.reload_tiles import NetworkTiles
from mho.scheduling.reload_timing import InputRun, ReloadPlan, ReloadTiming, State, TileSpan, move_span

_MOST_PERIODS = 64
"""Periods after which the times of the first ones no longer matter; a sound schedule needs two or three."""


@dataclass(frozen=True, eq=False)
class GivenReloads:
    """Which crossbar takes each tile, in a period of batches that repeats.

    Attributes:
        crossbars: for each batch of the period, the crossbar of each reload: tiles in the order of their groups, of
            each its copies. Those below `rotating` of the plan are written anew, others hold their tile for good.
        next_roles, writes_ahead: as of `ReloadTiming`.
    """

    crossbars: tuple[tuple[int, ...], ...]
    next_roles: tuple[int, ...]
    writes_ahead: bool

    @classmethod
    def of(cls, work: NetworkTiles, timing: ReloadTiming) -> GivenReloads:
        """Return the crossbars that a schedule gives; its timing must have spans."""
        rows: list[list[int]] = [[] for _ in range(timing.inputs)]
        for span in timing.spans:
            if span.layer == work.groups[span.group].layer:
                rows[span.number].append(span.crossbar)
        return cls(tuple(map(tuple, rows)), timing.next_roles, timing.writes_ahead)


def time_reloads(work: NetworkTiles, plan: ReloadPlan, reloads: GivenReloads) -> ReloadTiming:
    """Time a period of batches after many others. Deterministic.

    Args:
        work: the tiles.
        plan: how many of them stay, and how many crossbars share the windows of each.
        reloads: which crossbar takes each. No crossbar may take a tile before the last layer that reads what it holds.

    Returns:
        A period that repeats: that of the reloads, or several of them where times alternate between these.

    Raises:
        ScheduleError: periods do not settle.
    """
    states: list[State] = [((0,) * plan.rotating, 0)]
    while len(states) <= _MOST_PERIODS:
        _, after = _time_period(work, plan, reloads, states[-1])
        if not reloads.writes_ahead:
            return _time_periods(work, plan, reloads, states)
        if after in states:
            return _time_periods(work, plan, reloads, states[states.index(after) :])
        states.append(after)
    raise ScheduleError(f"times still change after {_MOST_PERIODS} periods", expected="a period that repeats")


def _time_periods(work: NetworkTiles, plan: ReloadPlan, reloads: GivenReloads, states: list[State]) -> ReloadTiming:
    """Time one period from each state."""
    now, stands_in = 0, list(range(plan.rotating))
    ends: list[tuple[int, ...]] = []
    spans: list[TileSpan] = []
    for state in states:
        one, _ = _time_period(work, plan, reloads, state)
        crossbars = [0] * plan.rotating
        for crossbar, role in enumerate(stands_in):
            crossbars[role] = crossbar
        spans += [move_span(span, now, len(ends) + span.number, crossbars) for span in one.spans]
        ends += [tuple(now + end for end in own) for own in one.layer_ends_ps]
        now, stands_in = now + one.period_ps, [reloads.next_roles[role] for role in stands_in]
    return ReloadTiming(now, tuple(ends), tuple(spans), tuple(stands_in), reloads.writes_ahead)


def _time_period(
    work: NetworkTiles, plan: ReloadPlan, reloads: GivenReloads, state: State
) -> tuple[ReloadTiming, State]:
    """Time a period from a state of the crossbars; return it with the state that the next one finds."""
    now, ends, spans, standing = 0, [], [], list(range(plan.rotating))
    for number, crossbars in enumerate(reloads.crossbars):
        one = _GivenRun(work, plan, state, crossbars)
        ends.append(tuple(now + end for end in one.ends))
        spans += [move_span(span, now, number, standing) for span in one.spans]
        now, state = now + one.now, one.state_after()
    free = list(state[0])
    for crossbar, role in enumerate(reloads.next_roles):
        free[role] = state[0][crossbar]
    timing = ReloadTiming(now, tuple(ends), tuple(spans), reloads.next_roles, reloads.writes_ahead)
    return timing, (tuple(free), state[1])


class _GivenRun(InputRun):
    """Runs one batch from a state of the crossbars, which stand in their own order."""

    def __init__(self, work: NetworkTiles, plan: ReloadPlan, state: State, crossbars: Sequence[int]) -> None:
        self._times, self._given = list(state[0]), iter(crossbars)
        super().__init__(work, plan, state, with_spans=True)

    def list_free(self) -> list[int]:
        return self._times

    def _take_staying(self) -> int:
        return next(self._given)

    def _take(self) -> tuple[int, int]:
        crossbar = next(self._given)
        return self._times[crossbar], crossbar

    def _put(self, free_ps: int, crossbar: int) -> None:
        self._times[crossbar] = free_ps

    def _wait_for(self, now_ps: int) -> None:
        self._times = [max(free, now_ps) for free in self._times]
