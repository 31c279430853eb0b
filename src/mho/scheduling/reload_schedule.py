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

from mho.hardware.spec import Accelerator
from mho.mapping.activity import Activity, count_reading
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.mapping.network_mapping import NetworkMapping, map_network
from mho.network.layers import MvmLayer
from mho.policy import Policy
from mho.scheduling.options import find_fewest_in_crossbars, list_network_options
from mho.scheduling.regime import Regime
from mho.scheduling.reload_bound import bound_reload_ps
from mho.scheduling.reload_cycle import ReloadCycle
from mho.scheduling.reload_search import find_plan
from mho.scheduling.reload_tiles import NetworkTiles, check_layers
from mho.scheduling.reload_timing import ReloadPlan, ReloadTiming, time_reload
from mho.scheduling.reload_writes import count_rewriting
from mho.scheduling.schedule import Schedule


@dataclass(frozen=True, eq=False, repr=False)
class ReloadSchedule(ReloadCycle, Schedule):
    """A schedule in which tiles are rewritten, repeated batch after batch.

    Attributes:
        work: the tiles of the network.
        network: how each layer lies in tiles, in execution order, and which layers are written at once.
        plan: which tiles stay, and how many crossbars share a tile's windows.
        timing: a period of batches, with the spans of all tiles.
    """

    work: NetworkTiles
    network: NetworkMapping
    plan: ReloadPlan
    timing: ReloadTiming

    @property
    def regime(self) -> Regime:
        """Time-multiplexed; weight-stationary where no crossbar is written for an input."""
        return Regime.TIME_MULTIPLEXED if self.plan.rotating else Regime.WEIGHT_STATIONARY

    @property
    def mappings(self) -> Mapping[str, LayerMapping]:
        """How each layer lies in tiles, by name, in execution order."""
        return {mapping.layer.name: mapping for mapping in self.network.layers}

    @cached_property
    def bound_ps(self) -> int:
        """A time for a batch that no plan falls below, ps."""
        return bound_reload_ps(self.work, self.crossbars)

    @property
    def is_optimal(self) -> bool:
        """True where no plan is faster: the bound is met, or all were timed."""
        return self.latency_ps == self.bound_ps

    def count_activities(self) -> Mapping[str, Activity]:
        """Return what each layer does for a batch of the steady state.

        Crossbars that share the windows of a tile are read as often together as one would be. Transfers between cores
        are not modelled.
        """
        writing = count_rewriting(self.work, self.plan, self.network.layers, self.accelerator)
        return {
            mapping.layer.name: count_reading(mapping).times(self.batch) + written
            for mapping, written in zip(self.network.layers, writing, strict=True)
        }


def schedule_network_reload(
    layers: Iterable[MvmLayer],
    policy: Policy,
    accelerator: Accelerator,
    *,
    model: MappingModel = DEFAULT_MODEL,
    batch: int = 1,
    options: Mapping[str, Sequence[LayerMapping]] | None = None,
) -> ReloadSchedule:
    """Map layers and schedule them on a chip that need not hold all their tiles. Deterministic.

    Mappings are compared: the one that is cheapest on a single crossbar, where layers may be written at once, the one
    of the fewest crossbars, and that with all layers on the digital unit that may be. The fastest schedule is returned.
    On one crossbar it is the first.

    Args:
        layers: MVM layers in execution order.
        policy: bit widths of every layer.
        accelerator: what they run on.
        model: `PAPER` takes im2col alone, as in arXiv 2601.21737.
        batch: inputs that share the writes of weights, layer by layer.
        options: of each layer on a chip (`mho.scheduling.options`), by name, where the caller has them.

    Raises:
        ScheduleError: there is no layer, or `batch` is below 1.
        PolicyError: the policy names an unknown layer or lacks one.
        MappingError: a layer cannot be mapped.
    """
    table = tuple(layers)
    check_layers(table, batch)
    found: list[NetworkMapping | Sequence[LayerMapping]] = [map_network(table, policy, accelerator, model, batch=batch)]
    options = options or list_network_options(table, policy, accelerator, model)
    least = [listed[0] for listed in options.values()]
    if accelerator.chip.crossbars > 1 and model is not MappingModel.PAPER:
        in_crossbars = [find_fewest_in_crossbars(listed) for listed in options.values()]
        found += [in_crossbars] if in_crossbars == least else [in_crossbars, least]
    minimal = sum(mapping.tiles for mapping in least)
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
    network = mappings if isinstance(mappings, NetworkMapping) else NetworkMapping.apart(mappings)
    work = NetworkTiles.of(network, accelerator, batch=batch)
    plan = find_plan(work, accelerator.chip.crossbars, known=known)
    return ReloadSchedule(
        accelerator=accelerator,
        model=model,
        minimal_crossbars=work.tiles if minimal_crossbars is None else minimal_crossbars,
        work=work,
        network=network,
        plan=plan,
        timing=time_reload(work, plan, with_spans=True),
    )
