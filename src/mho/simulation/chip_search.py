"""The schedule of a chip that is best in simulation: with its interconnect and its buffers.

Copies are chosen for an ideal interconnect and unlimited buffers. Where these are real, more copies mean more cores
that wait for the same bytes, so that a schedule that leaves crossbars empty may be faster, or the only one that buffers
hold.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from math import inf

from mho.errors import ScheduleError
from mho.scheduling.chip_schedule import ChipDemand, ChipSchedule
from mho.scheduling.duplication import Objective
from mho.scheduling.gantt import BARS, GanttChart
from mho.scheduling.schedule import Schedule
from mho.simulation.chip_gantt import draw_simulation
from mho.simulation.plan_timing import PlanTiming


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedSchedule(ChipSchedule):
    """A schedule with its simulation.

    Attributes:
        timing: latency, interval and the time of the batch, with the accelerator's interconnect and buffers.
    """

    timing: PlanTiming

    @classmethod
    def of(cls, schedule: ChipSchedule, *, with_spans: bool = False) -> SimulatedSchedule:
        """Return a schedule with its simulation, which runs when its times are first read."""
        own = {field.name: getattr(schedule, field.name) for field in fields(ChipSchedule)}
        timing = PlanTiming(schedule.graph, schedule.plan, schedule.accelerator, schedule.batch, with_spans)
        return cls(**own, timing=timing)

    @property
    def latency_ps(self) -> int:
        """Time of one input that has the chip to itself, ps."""
        return self.timing.latency_ps

    @property
    def interval_ps(self) -> float:
        """Time between inputs of a full pipeline, ps."""
        return self.timing.interval_ps

    @property
    def total_ps(self) -> int:
        """Time until the last input of the batch is finished, ps."""
        return self.timing.total_ps

    @property
    def byte_hops(self) -> int:
        """Bytes times links that they take, for the batch."""
        return self.timing.batch.byte_hops

    @property
    def lacks_transfers(self) -> bool:
        """False: `byte_hops` counts them."""
        return False

    def draw_gantt(self, limit: int = BARS) -> GanttChart:
        """Return what the copies do, in about `limit` bars. Raises `ScheduleError` for a simulation without spans."""
        return draw_simulation(self.graph, self.plan, self.timing.batch, limit)

    @property
    def value_ps(self) -> float:
        """What schedules are compared by: the interval where that is the objective, else the latency, ps."""
        return self.interval_ps if self.objective is Objective.INTERVAL else self.latency_ps

    @property
    def least_value_ps(self) -> int:
        """What that is not below: the time of the bottleneck, or the latency with an ideal interconnect, ps."""
        if self.objective is Objective.INTERVAL:
            return self.timing.bottleneck.busy_ps
        return self.ideal.makespan_ps


def find_schedule(
    demand: ChipDemand,
    objective: Objective = Objective.LATENCY,
    *,
    batch: int = 1,
    simulate: bool = True,
    with_spans: bool = False,
) -> Schedule:
    """Return the best schedule of a network on a chip: with weights that stay where it holds each layer once.

    Args:
        demand: the network and the chip.
        objective: what options and copies are chosen for; changes nothing where tiles are rewritten.
        batch: inputs that follow each other, or that share the writes of weights.
        simulate: whether to simulate plans whose weights stay, and to return the best.
        with_spans: record when every copy worked, for `Schedule.draw_gantt`.

    Raises:
        ScheduleError: buffers are too small for each plan, or the batch is below 1.
    """
    if not demand.is_held:
        return demand.schedule_reload(batch)
    schedules = demand.list_schedules(objective, batch)
    return simulate_best(schedules, with_spans=with_spans) if simulate else next(schedules)


def simulate_best(schedules: Iterable[ChipSchedule], *, with_spans: bool = False) -> SimulatedSchedule:
    """Simulate schedules of one network on one chip, and return the best.

    The best has the least latency of one input that has the chip to itself; for the objective interval, the least time
    between inputs of a full pipeline. Of equals the first is taken. Where interconnect and buffers are ideal, that is
    the first; elsewhere schedules whose bound is no better than what was found are not simulated.

    Args:
        schedules: one or more, of one objective and batch.
        with_spans: record when every copy worked.

    Raises:
        ScheduleError: buffers are too small for each of them: why the last one fails.
    """
    found: list[SimulatedSchedule] = []
    failures: list[ScheduleError] = []
    for one in _in_order(SimulatedSchedule.of(schedule, with_spans=with_spans) for schedule in schedules):
        if _is_best(found, one.least_value_ps, failures):
            return found[0]
        try:
            insort(found, one, key=lambda known: known.value_ps)
        except ScheduleError as error:
            failures.append(error)
            continue
        if _is_best(found, found[0].least_value_ps, failures):
            return found[0]
    if _is_best(found, inf, failures):
        return found[0]
    raise failures[-1] if failures else ScheduleError("there is no schedule to simulate", expected="one or more")


def _is_best(found: list[SimulatedSchedule], bound_ps: float, failures: list[ScheduleError]) -> bool:
    """Tell whether the first of what was found, by value, is no worse than a bound of all others.

    Those that hold one input and stop with several are taken out; why is added to `failures`.
    """
    while found and found[0].value_ps <= bound_ps:
        try:
            found[0].timing.run()
        except ScheduleError as error:
            failures.append(error)
            del found[0]
        else:
            return True
    return False


def _in_order(schedules: Iterator[SimulatedSchedule]) -> Iterator[SimulatedSchedule]:
    """Yield the first, or all with the least bound first where that must be known of all to leave any out."""
    for first in schedules:
        if first.accelerator.has_ideal_transfers or first.objective is not Objective.INTERVAL:
            yield first
        else:
            yield from sorted([first, *schedules], key=lambda one: one.least_value_ps)
