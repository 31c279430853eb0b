"""The schedule of a chip that is best in simulation: with its interconnect and its buffers.

Copies are chosen for an ideal interconnect and unlimited buffers. Where these are real, more copies mean more cores
that wait for the same bytes, so that a schedule that leaves crossbars empty may be faster, or the only one that buffers
hold.
"""

from __future__ import annotations

from collections.abc import Iterable

from mho.errors import ScheduleError
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.duplication import Objective
from mho.simulation.chip_timing import ChipTiming, simulate_chip


def simulate_best(schedules: Iterable[ChipSchedule], *, with_spans: bool = False) -> tuple[ChipSchedule, ChipTiming]:
    """Simulate schedules of one network on one chip, and return the best with its simulation.

    The best is that of the least latency of one input; for the interval between inputs, where a batch shows it, that
    of the least interval. Of equals the first is taken. Where interconnect and buffers are ideal, that is the first.

    Args:
        schedules: one or more, of one objective and batch; taken one after the other while they may still be better.
        with_spans: tell when every copy worked.

    Raises:
        ScheduleError: buffers are too small for each of them: why the last one fails.
    """
    best: tuple[ChipSchedule, ChipTiming] | None = None
    failure: ScheduleError | None = None
    for schedule in schedules:
        if best is not None and not _may_be_better(schedule, best[1]):
            break
        try:
            timing = simulate_chip(
                schedule.graph, schedule.plan, schedule.accelerator, batch=schedule.batch, with_spans=with_spans
            )
        except ScheduleError as error:
            failure = error
            continue
        if best is None or _value_ps(schedule, timing) < _value_ps(schedule, best[1]):
            best = schedule, timing
        if timing.latency_ps == schedule.timing.makespan_ps:
            break
    if best is not None:
        return best
    raise failure or ScheduleError("there is no schedule to simulate", expected="one or more")


def _value_ps(schedule: ChipSchedule, timing: ChipTiming) -> float:
    is_interval = schedule.objective is Objective.INTERVAL and schedule.batch > 1
    return timing.interval_ps if is_interval else timing.latency_ps


def _may_be_better(schedule: ChipSchedule, best: ChipTiming) -> bool:
    """Tell whether a schedule might beat a simulation: none is faster than it would be if all were ideal."""
    if schedule.objective is Objective.INTERVAL and schedule.batch > 1:
        return True
    return schedule.timing.makespan_ps < best.latency_ps
