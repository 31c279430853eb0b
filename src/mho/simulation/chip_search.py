"""The schedule of a chip that is best in simulation: with its interconnect and its buffers.

Copies are chosen for an ideal interconnect and unlimited buffers. Where these are real, more copies mean more cores
that wait for the same bytes, so that a schedule that leaves crossbars empty may be faster, or the only one that buffers
hold; and which cores of a mesh hold what decides which links are busy. So plans of all sizes are simulated, in several
places: first with options and copies that are chosen quickly, then, at the size of the best, with the best choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property

from mho.errors import ScheduleError
from mho.scheduling.bottleneck import bound_transfers, count_unit_loads
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
        """What schedules are compared by: the interval where that is the objective, else the time of the batch, ps."""
        return self.interval_ps if self.objective is Objective.INTERVAL else self.total_ps

    @cached_property
    def least_value_ps(self) -> int:
        """What that is not below, ps: the time of the bottleneck; the batch without waits, or on the busiest link."""
        busy_ps = self.timing.bottleneck.busy_ps
        if self.objective is Objective.INTERVAL:
            return busy_ps
        carried = bound_transfers(self.graph, self.plan, self.accelerator)
        digital = max(count_unit_loads(self.graph, self.plan).values(), default=0)
        if any(layer.unit is not None for layer in self.graph.layers):  # whose ideal times are not the least
            return max(carried, digital, (self.batch - 1) * busy_ps)
        if self.batch == 1:
            return max(self.ideal.makespan_ps, carried, digital)
        return max(self.ideal.total_ps, carried, self.batch * busy_ps)


def find_schedule(
    demand: ChipDemand,
    objective: Objective = Objective.LATENCY,
    *,
    batch: int = 1,
    simulate: bool = True,
    with_spans: bool = False,
) -> Schedule:
    """Return the best schedule of a network on a chip: with weights that stay where it holds each layer once.

    Where they can stay only because digital units compute layers that might lie in crossbars, the better of this and of
    tiles that are rewritten.

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
    found: Schedule
    if simulate:
        found = simulate_best(demand, objective, batch=batch, with_spans=with_spans)
    else:
        found = demand.schedule(objective, batch)
    if not demand.needs_units:
        return found
    is_interval = objective is Objective.INTERVAL
    others = [found, demand.schedule_reload(batch)]
    return min(others, key=lambda one: one.interval_ps if is_interval else one.total_ps)


def simulate_best(
    demand: ChipDemand, objective: Objective = Objective.LATENCY, *, batch: int = 1, with_spans: bool = False
) -> SimulatedSchedule:
    """Simulate plans of a network on a chip, over the whole range of crossbars that they may take; return the best.

    The best finishes the batch first, which for a batch of one is the latency; for the objective interval it has the
    least time between inputs of a full pipeline. Where interconnect, buffers and digital units are ideal, the plan on
    all crossbars is taken; elsewhere plans whose bound is no better than what was found are not simulated.

    Args:
        demand: the network, and the chip, which holds it.
        objective: what options and copies are chosen for.
        batch: inputs that follow each other, 1 or more.
        with_spans: record when every copy worked.

    Raises:
        ScheduleError: buffers are too small for each plan: why the last one fails; or nothing fits, or the batch is
            below 1.
    """
    if demand.accelerator.has_ideal_transfers and demand.accelerator.digital.is_ideal:
        found = SimulatedSchedule.of(demand.schedule(objective, batch), with_spans=with_spans)
        found.timing.run()
        return found
    return _PlanSearch(demand, objective, batch, with_spans).find()


class _PlanSearch:
    """Searches the plan that is best in simulation; those that buffers stop are passed over.

    Args are those of `simulate_best`.
    """

    def __init__(self, demand: ChipDemand, objective: Objective, batch: int, with_spans: bool) -> None:
        self._demand, self._objective, self._batch, self._with_spans = demand, objective, batch, with_spans
        self._stopped: dict[SimulatedSchedule, ScheduleError] = {}

    def find(self) -> SimulatedSchedule:
        """Return the best of those that also hold all inputs of the batch and of a full pipeline."""
        while (best := self._find_best()) is not None:
            try:
                best.timing.run()
            except ScheduleError as error:
                self._stopped[best] = error
            else:
                return best
        raise list(self._stopped.values())[-1]

    def _find_best(self) -> SimulatedSchedule | None:
        """Return the best of quick plans of all sizes, and of better ones of its size; None where all are stopped."""
        if self._objective is Objective.INTERVAL:
            plans = [plan for size in self._demand.list_sizes() for plan in self._list_plans(size)]
            return self._choose(plans, None)
        best: SimulatedSchedule | None = None
        size = None
        for smaller in self._demand.list_sizes():
            if best is not None and self._bound(smaller) >= best.value_ps:
                break
            better = self._choose(self._list_plans(smaller), best)
            best, size = better, size if better is best else smaller
        if size is not None and self._objective is Objective.LATENCY:
            best = self._choose(self._list_plans(size, is_quick=False), best)
        return best

    def _choose(self, plans: Sequence[SimulatedSchedule], best: SimulatedSchedule | None) -> SimulatedSchedule | None:
        """Return the best of some plans and of another, the other of equals, simulating what may be better."""
        for plan in sorted(plans, key=lambda plan: plan.least_value_ps):
            if plan in self._stopped:
                continue
            if best is not None and plan.least_value_ps >= best.value_ps:
                break
            try:
                value_ps = plan.value_ps
            except ScheduleError as error:
                self._stopped[plan] = error
            else:
                best = plan if best is None or value_ps < best.value_ps else best
        return best

    @cache  # noqa: B019 - a search lives as long as its plans
    def _list_plans(self, size: int, *, is_quick: bool = True) -> tuple[SimulatedSchedule, ...]:
        schedules = self._demand.list_schedules(size, self._objective, self._batch, is_quick=is_quick)
        return tuple(SimulatedSchedule.of(one, with_spans=self._with_spans) for one in schedules)

    @cache  # noqa: B019
    def _bound(self, size: int) -> int:
        return self._demand.search.bound(size)
