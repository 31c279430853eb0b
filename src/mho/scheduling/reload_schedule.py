"""Fewer crossbars than tiles: which tiles stay for good, which are rewritten for every input, and what that takes.

The plan is found by `reload_search`, timed by `reload_timing` and compared with the bound of `reload_bound`. On one
crossbar the time is that of `mho.cost`; where all tiles fit, all stay, and nothing is written but operands that are
made on the way.

Inputs follow one another: one begins when the one before is finished, while its first tiles are written before. A
batch is computed layer by layer, so that its inputs share the writes of weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mho.cost_model.endurance import count_lifetime_inputs
from mho.hardware.spec import Accelerator
from mho.mapping.activity import Activity, count_reading, count_writing
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.mapping.network_mapping import NetworkMapping, map_network
from mho.network.layers import MvmLayer
from mho.policy import Policy
from mho.scheduling.gantt import BARS, GanttChart
from mho.scheduling.options import list_chip_options
from mho.scheduling.reload_bound import bound_reload_ps
from mho.scheduling.reload_gantt import draw_reload
from mho.scheduling.reload_search import count_writes, find_plan
from mho.scheduling.reload_tiles import NetworkTiles, check_layers
from mho.scheduling.reload_timing import ReloadPlan, ReloadTiming, measure_gaps, time_reload
from mho.scheduling.schedule import Schedule


@dataclass(frozen=True, eq=False, repr=False)
class ReloadSchedule(Schedule):
    """A schedule in which tiles are rewritten, repeated batch after batch.

    Attributes:
        work: the tiles of the network.
        layer_mappings: how each layer lies in tiles, in execution order.
        plan: which tiles stay, and how many crossbars share a tile's windows.
        timing: a period of batches, with the spans of all tiles.
    """

    work: NetworkTiles
    layer_mappings: tuple[LayerMapping, ...]
    plan: ReloadPlan
    timing: ReloadTiming

    @property
    def mappings(self) -> Mapping[str, LayerMapping]:
        """How each layer lies in tiles, by name, in execution order."""
        return {mapping.layer.name: mapping for mapping in self.layer_mappings}

    @property
    def batch(self) -> int:
        """Inputs for which weights are written once."""
        return self.work.batch

    @property
    def used_crossbars(self) -> int:
        """Crossbars that hold tiles for good or are rewritten."""
        return self.plan.crossbars

    @property
    def latency_ps(self) -> int:
        """Mean time of a batch, and so from batch to batch, ps, rounded up."""
        return self.timing.interval_ps

    @property
    def interval_ps(self) -> float:
        """Time for one input, ps."""
        return self.latency_ps / self.batch

    @property
    def total_ps(self) -> int:
        """Time of a batch, ps."""
        return self.latency_ps

    @cached_property
    def bound_ps(self) -> int:
        """A time for a batch that no plan falls below, ps."""
        return bound_reload_ps(self.work, self.crossbars)

    @property
    def is_optimal(self) -> bool:
        """True where no plan is faster: the bound is met, or all were timed."""
        return self.latency_ps == self.bound_ps

    @property
    def writes(self) -> int:
        """Writes of all crossbars for a batch."""
        return count_writes(self.work, self.plan)

    @cached_property
    def busiest_writes(self) -> tuple[int, int]:
        """Writes of the crossbar that is written most often, and in how many batches."""
        return _count_busiest(self.timing, self.plan)

    @property
    def cell_writes_per_input(self) -> float:
        """How often one input writes a cell of the crossbar that is written most often."""
        writes, batches = self.busiest_writes
        return writes / (batches * self.batch)

    @property
    def lifetime_inputs(self) -> int | None:
        """Inputs until the cells of the crossbar that is written most often may fail.

        None where nothing is written, or the accelerator has no endurance figure.
        """
        writes, batches = self.busiest_writes
        return count_lifetime_inputs(self.accelerator, writes, inputs=batches * self.batch)

    @property
    def levelled_lifetime_inputs(self) -> int | None:
        """The same where crossbars trade places now and then, so that all are written alike."""
        return count_lifetime_inputs(self.accelerator, self.writes, inputs=self.crossbars * self.batch)

    @property
    def waiting_ps(self) -> int:
        """Time of the period in which nothing is read and no digital work is done: all wait for writes, ps."""
        working = [(span.read[0], span.held_until) for span in self.timing.spans]
        for ends in self.timing.layer_ends_ps:
            working += [(end - extra, end) for end, extra in zip(ends, self.work.extra_ps, strict=True)]
        return measure_gaps(working, 0)

    def count_activities(self) -> Mapping[str, Activity]:
        """Return what each layer does for a batch of the steady state.

        Crossbars that share the windows of a tile are written each, and read as often together as one would be. Where
        some tiles of a group stay, those with the most cells do. Transfers between cores are not modelled.
        """
        return {
            name: count_reading(mapping).times(self.batch) + self._count_writing(number, mapping)
            for number, (name, mapping) in enumerate(self.mappings.items())
        }

    def draw_gantt(self, limit: int = BARS) -> GanttChart:
        """Return what the crossbars do in one period of the steady state, in about `limit` bars."""
        return draw_reload(self.work, self.plan, self.timing, self.accelerator.chip, limit)

    def _count_writing(self, layer: int, mapping: LayerMapping) -> Activity:
        """Count what the writes of one layer's tiles take for a batch."""
        total, most_copies = Activity(), 0
        for group, copies, staying in zip(self.work.groups, self.plan.copies, self.plan.staying, strict=True):
            if group.layer == layer:
                cells, most_copies = group.count_cell_writes(copies, staying), max(most_copies, copies)
                bits = 0 if group.is_stored else cells * self.accelerator.crossbar.cell_bits
                total += Activity(cell_writes=cells, memory_bits=bits)
        if mapping.layer.is_stored_dynamically:
            stored = count_writing(mapping, self.accelerator).buffer_bits
            total += Activity(buffer_bits=stored * most_copies * self.batch)
        return total


def schedule_network_reload(
    layers: Iterable[MvmLayer],
    policy: Policy,
    accelerator: Accelerator,
    *,
    model: MappingModel = DEFAULT_MODEL,
    batch: int = 1,
    fewest: Sequence[LayerMapping] = (),
) -> ReloadSchedule:
    """Map layers and schedule them on a chip that need not hold all their tiles. Deterministic.

    Two mappings are compared: the one that is cheapest on a single crossbar, where layers may be written at once, and
    the one of the fewest crossbars. The faster schedule is returned. On one crossbar it is the first.

    Args:
        layers: MVM layers in execution order.
        policy: bit widths of every layer.
        accelerator: what they run on.
        model: `PAPER` takes im2col alone, as in arXiv 2601.21737.
        batch: inputs that share the writes of weights, layer by layer.
        fewest: the mapping of each layer on the fewest crossbars, where the caller has it.

    Raises:
        ScheduleError: there is no layer, or `batch` is below 1.
        PolicyError: the policy names an unknown layer or lacks one.
        MappingError: a layer cannot be mapped.
    """
    table = tuple(layers)
    check_layers(table, batch)
    found: list[NetworkMapping | Sequence[LayerMapping]] = [map_network(table, policy, accelerator, model, batch=batch)]
    fewest = fewest or [list_chip_options(layer, policy[layer.name], accelerator, model)[0] for layer in table]
    if accelerator.chip.crossbars > 1 and model is not MappingModel.PAPER:
        found.append(fewest)
    minimal = sum(mapping.tiles for mapping in fewest)
    schedules = [schedule_reload(one, accelerator, batch, model=model, minimal_crossbars=minimal) for one in found]
    return min(schedules, key=lambda schedule: (schedule.latency_ps, schedule.writes))


def schedule_reload(
    mappings: NetworkMapping | Iterable[LayerMapping],
    accelerator: Accelerator,
    batch: int = 1,
    *,
    known: Iterable[ReloadPlan] = (),
    model: MappingModel = DEFAULT_MODEL,
    minimal_crossbars: int | None = None,
) -> ReloadSchedule:
    """Schedule mapped layers on a chip that need not hold all their tiles. Deterministic.

    Args:
        mappings: of all MVM layers in execution order; a `NetworkMapping` also holds which are written at once.
        accelerator: what they are made for. Where `memory.bytes_per_us` is given, weights come no faster.
        batch: inputs that share the writes of weights, layer by layer.
        known: plans for the same tiles, as for chips with fewer crossbars; the schedule is not slower than those that
            fit, so that more crossbars are never slower.
        model: how the layers were mapped; part of the result.
        minimal_crossbars: the fewest that hold each layer once in any mapping; by default, in this one.

    Raises:
        ScheduleError: there is no layer, or `batch` is below 1.
    """
    layers = mappings.layers if isinstance(mappings, NetworkMapping) else tuple(mappings)
    work = NetworkTiles.of(mappings if isinstance(mappings, NetworkMapping) else layers, accelerator, batch=batch)
    plan = find_plan(work, accelerator.chip.crossbars, known=known)
    return ReloadSchedule(
        accelerator=accelerator,
        model=model,
        minimal_crossbars=work.tiles if minimal_crossbars is None else minimal_crossbars,
        work=work,
        layer_mappings=layers,
        plan=plan,
        timing=time_reload(work, plan, with_spans=True),
    )


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
