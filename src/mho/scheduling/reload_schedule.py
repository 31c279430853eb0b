"""Fewer crossbars than tiles: which tiles stay for good, which are rewritten for every input, and what that takes.

The plan is searched by `reload_search`, timed by `reload_timing` and held against `reload_bound`. On one crossbar the
time is that of `mho.cost`; where all tiles fit, all stay, and nothing is written but operands that are made on the way.

Inputs follow one another: one begins when the one before is finished, while its first tiles are written before. A
batch is computed layer by layer, so that its inputs share the writes of weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mho.cost_model.endurance import count_lifetime_inputs
from mho.errors import ScheduleError
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.mapping.network_mapping import NetworkMapping
from mho.scheduling.reload_bound import bound_reload_ps
from mho.scheduling.reload_search import count_writes, find_plan
from mho.scheduling.reload_tiles import NetworkTiles
from mho.scheduling.reload_timing import ReloadPlan, ReloadTiming, TileSpan, time_reload

_PS_PER_MS = 1_000_000_000


@dataclass(frozen=True)
class ReloadSchedule:
    """A schedule with reloads, repeated batch after batch.

    Attributes:
        accelerator: what layers are mapped for.
        model: how layers are mapped.
        mappings: how each layer lies in tiles, in execution order.
        work: the tiles of the network.
        crossbars: of the chip.
        plan: which tiles stay, and how many crossbars share a tile's windows.
        timing: a period of batches, all tiles told.
        bound_ps: a time for a batch that no plan falls below, ps.
        is_optimal: True where no plan is faster: the bound is met, or all were timed.
        busiest_writes: writes of the crossbar that is written most often, and in how many batches.
        lifetime_inputs: inputs until the cells of that crossbar may fail; None where the accelerator does not tell
            their endurance, or nothing is written.
        levelled_lifetime_inputs: the same where crossbars trade places now and then, so that all are written alike.
    """

    accelerator: Accelerator
    model: MappingModel
    mappings: tuple[LayerMapping, ...]
    work: NetworkTiles
    crossbars: int
    plan: ReloadPlan
    timing: ReloadTiming
    bound_ps: int
    is_optimal: bool
    busiest_writes: tuple[int, int]
    lifetime_inputs: int | None
    levelled_lifetime_inputs: int | None

    @property
    def batch(self) -> int:
        """Inputs for which weights are written once."""
        return self.work.batch

    @property
    def interval_ps(self) -> int:
        """Mean time from batch to batch, ps, rounded up."""
        return self.timing.interval_ps

    @property
    def input_ps(self) -> float:
        """Time for one input, ps."""
        return self.interval_ps / self.batch

    @property
    def gap(self) -> float:
        """How much longer a batch takes than the bound, as a share of it."""
        return self.interval_ps / self.bound_ps - 1 if self.bound_ps else 0.0

    @property
    def writes(self) -> int:
        """Writes of all crossbars for a batch."""
        return count_writes(self.work, self.plan)

    @property
    def writes_per_input(self) -> float:
        """Writes of all crossbars for one input."""
        return self.writes / self.batch

    @property
    def cell_writes_per_input(self) -> float:
        """How often one input writes a cell of the crossbar that is written most often."""
        writes, batches = self.busiest_writes
        return writes / (batches * self.batch)

    @property
    def waiting_ps(self) -> int:
        """Time of the period in which nothing is read and no digital work is done: all wait for writes, ps."""
        working = [(span.read[0], span.held_until) for span in self.timing.spans]
        for ends in self.timing.layer_ends_ps:
            working += [(end - extra, end) for end, extra in zip(ends, self.work.extra_ps, strict=True)]
        waiting = last = 0
        for start, end in sorted(working):
            waiting, last = waiting + max(0, start - last), max(last, end)
        return waiting

    @property
    def reading_share(self) -> float:
        """Share of all crossbars' time in which they are read, 0..1."""
        return self._share(sum(span.read[1] - span.read[0] for span in self.timing.spans))

    @property
    def writing_share(self) -> float:
        """Share of all crossbars' time in which they are written, 0..1."""
        return self._share(sum(span.write[1] - span.write[0] for span in self.timing.spans if span.write))

    def _share(self, time_ps: int) -> float:
        return time_ps / (self.crossbars * self.timing.period_ps) if self.timing.period_ps else 0.0

    def __str__(self) -> str:
        """Return a few lines for people."""
        waiting = self.waiting_ps / self.timing.period_ps if self.timing.period_ps else 0.0
        inputs = "an input" if self.batch == 1 else f"a batch of {self.batch} inputs"
        lines = [
            f"{self.crossbars} crossbars for {self.work.tiles} tiles: {sum(self.plan.staying)} hold tiles that stay, "
            f"{self.plan.rotating} are rewritten",
            f"{self.interval_ps / _PS_PER_MS:.3f} ms {inputs}, {_tell_gap(self)}",
            f"{self.writes} writes {inputs}; {waiting:.1%} of the time waits for writes; crossbars are read "
            f"{self.reading_share:.1%} and written {self.writing_share:.1%} of the time",
            f"cells are written up to {self.cell_writes_per_input:.4g} times an input: {_tell_lifetime(self)}",
        ]
        return "\n".join(lines)


def schedule_reload(
    mappings: NetworkMapping | Iterable[LayerMapping],
    accelerator: Accelerator,
    crossbars: int | None = None,
    batch: int = 1,
    *,
    copies: bool = True,
    known: Iterable[ReloadPlan] = (),
    model: MappingModel = DEFAULT_MODEL,
) -> ReloadSchedule:
    """Schedule a network on a chip that need not hold all its tiles. Deterministic.

    Args:
        mappings: of all MVM layers in execution order; a `NetworkMapping` also tells which are written at once.
        accelerator: what they are made for. Where `memory.bytes_per_us` is told, weights come no faster.
        crossbars: of the chip; by default the accelerator's.
        batch: inputs that share the writes of weights, layer by layer.
        copies: whether several crossbars may share the windows of a tile, each of which is then written.
        known: plans for the same tiles, as for chips with fewer crossbars; the schedule is not slower than those that
            fit.
        model: how the layers were mapped, which is told along with them.

    Raises:
        ScheduleError: there is no layer, or `crossbars` or `batch` is below 1.
    """
    crossbars = accelerator.chip.crossbars if crossbars is None else crossbars
    if crossbars < 1:
        raise ScheduleError(f"{crossbars} crossbars", expected="at least 1")
    layers = mappings.layers if isinstance(mappings, NetworkMapping) else tuple(mappings)
    work = NetworkTiles.of(mappings if isinstance(mappings, NetworkMapping) else layers, accelerator, batch=batch)
    found = find_plan(work, crossbars, copies=copies, known=known)
    bound_ps = bound_reload_ps(work, crossbars, copies=copies)
    timing = time_reload(work, found.plan, with_spans=True)
    busiest, total = _count_busiest(timing, found.plan), count_writes(work, found.plan)
    return ReloadSchedule(
        accelerator,
        model,
        layers,
        work,
        crossbars,
        found.plan,
        timing,
        bound_ps,
        timing.interval_ps == bound_ps or found.is_complete,
        busiest,
        count_lifetime_inputs(accelerator, busiest[0], inputs=busiest[1] * batch),
        count_lifetime_inputs(accelerator, total, inputs=crossbars * batch),
    )


def sweep_reload(
    mappings: NetworkMapping | Iterable[LayerMapping],
    accelerator: Accelerator,
    budgets: Iterable[int],
    batch: int = 1,
    *,
    copies: bool = True,
) -> tuple[ReloadSchedule, ...]:
    """Schedule on several chips, from the smallest to the largest: more crossbars are never slower.

    Returns:
        One schedule for each number of crossbars, ascending.

    Raises:
        ScheduleError: see `schedule_reload`.
    """
    mappings = mappings if isinstance(mappings, NetworkMapping) else tuple(mappings)
    made: list[ReloadSchedule] = []
    for crossbars in sorted(budgets):
        known = [made[-1].plan] if made else []
        made.append(schedule_reload(mappings, accelerator, crossbars, batch, copies=copies, known=known))
    return tuple(made)


def unroll(timing: ReloadTiming, periods: int) -> tuple[TileSpan, ...]:
    """Return the spans of several periods in a row, in time from the start of the first.

    Args:
        timing: of one period, its spans told.
        periods: how many, at least 1.
    """
    spans: list[TileSpan] = []
    stands_in = list(range(len(timing.next_roles)))
    for number in range(periods):
        start = number * timing.period_ps
        holder = {role: crossbar for crossbar, role in enumerate(stands_in)}
        for span in timing.spans:
            write = None if span.write is None else (span.write[0] + start, span.write[1] + start)
            read = span.read[0] + start, span.read[1] + start
            crossbar = holder.get(span.crossbar, span.crossbar)
            at = span.number + number * timing.inputs
            spans.append(TileSpan(span.group, span.layer, crossbar, write, read, span.held_until + start, at))
        stands_in = [timing.next_roles[role] for role in stands_in]
    return tuple(spans)


def _count_busiest(timing: ReloadTiming, plan: ReloadPlan) -> tuple[int, int]:
    """Return the writes of the crossbar that is written most often, and in how many batches: a cycle of roles."""
    writes = [0] * plan.rotating
    for span in timing.spans:
        if span.write is not None:
            writes[span.crossbar] += 1
    busiest, seen = (0, 1), [False] * plan.rotating
    for role in range(plan.rotating):
        total = length = 0
        while not seen[role]:
            seen[role] = True
            total, length, role = total + writes[role], length + timing.inputs, timing.next_roles[role]
        if length and total * busiest[1] > busiest[0] * length:
            busiest = total, length
    return busiest


def _tell_gap(schedule: ReloadSchedule) -> str:
    if schedule.is_optimal:
        return "which no plan beats"
    return f"{schedule.gap:.2%} above the bound of {schedule.bound_ps / _PS_PER_MS:.3f} ms"


def _tell_lifetime(schedule: ReloadSchedule) -> str:
    if not schedule.writes:
        return "nothing wears"
    if schedule.lifetime_inputs is None:
        return "the accelerator does not tell how many writes they survive (endurance.cell_writes)"
    lasts = f"this chip lasts {schedule.lifetime_inputs:,} inputs"
    if schedule.levelled_lifetime_inputs != schedule.lifetime_inputs:
        lasts += f", {schedule.levelled_lifetime_inputs:,} where crossbars trade places"
    return lasts
