"""What a policy costs where tiles are rewritten, fast enough for a search: a plan that exists, timed for two inputs.

`mho.scheduling.reload_search` times hundreds of plans of two mappings for seconds. Here the plans that dynamic
programming proposes for a few numbers of rotating crossbars are timed once each, and what layers are by themselves
(tiles, options, energies) is worked out once. So latencies are those of plans that exist, in their second input, and
rarely below what the longer search finds; writes of the rotating crossbars are spread evenly over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from mho.cost_model.energy import EnergyBreakdown, price_layer, price_leakage
from mho.hardware.spec import Accelerator
from mho.mapping.activity import count_reading
from mho.mapping.best_mapping import choose_mapping
from mho.mapping.layer_cache import LayerCache
from mho.mapping.layer_mapping import LayerMapping, MappingModel
from mho.mapping.paper_mapping import plan_allowed
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy
from mho.scheduling.option_table import OptionTable
from mho.scheduling.options import find_fewest_in_crossbars
from mho.scheduling.reload_search import KnownOptions, Planner, list_simple_plans
from mho.scheduling.reload_tiles import NetworkTiles, TileGroup, list_groups
from mho.scheduling.reload_timing import ReloadPlan, time_second_input
from mho.scheduling.reload_writes import count_rewriting, count_writes


@dataclass(frozen=True)
class ReloadCost:
    """What one policy takes.

    Attributes:
        latency_ps: of one input, ps.
        energy_aj: of one input, leakage of the whole chip included; 0 where it is not wanted, aJ.
        writes: crossbars that are written for an input.
        cell_writes: how often an input writes a cell of the rotating crossbars, on average.
        mappings: of the layers, in execution order.
    """

    latency_ps: int
    energy_aj: int
    writes: int
    cell_writes: Fraction
    mappings: tuple[LayerMapping, ...]


@dataclass(frozen=True, eq=False)
class _MappedLayer:
    """A layer at some widths: its tiles (as those of layer 0), digital work without tiles, ps, and energy of reads."""

    mapping: LayerMapping
    groups: tuple[TileGroup, ...]
    extra_ps: int
    reading: EnergyBreakdown


class ReloadCosts:
    """Costs policies of one network on one chip with too few crossbars. Deterministic.

    Args:
        layers: MVM layers in execution order.
        options: of these layers on the chip.
        accelerator: the chip.
        model: `PAPER` for im2col alone.
        with_energy: whether energies are wanted.
    """

    def __init__(
        self,
        layers: Sequence[MvmLayer],
        options: OptionTable,
        accelerator: Accelerator,
        model: MappingModel,
        *,
        with_energy: bool,
    ) -> None:
        self._layers, self._options, self._accelerator, self._model = layers, options, accelerator, model
        self._with_energy = with_energy
        self._mapped = LayerCache(accelerator, self._map)
        self._plans: KnownOptions = {}

    def cost(self, policy: Policy) -> ReloadCost:
        """Return what a policy takes: the faster of the mappings that are fastest on one crossbar, and of the fewest.

        Raises:
            MappingError: a layer cannot be mapped.
        """
        kinds = (False, True) if self._model is not MappingModel.PAPER else (False,)
        found = [
            self._cost([self._mapped.get(layer, policy[layer.name], fewest) for layer in self._layers])
            for fewest in kinds
        ]
        return min(found, key=lambda cost: (cost.latency_ps, cost.writes))

    def _cost(self, mapped: Sequence[_MappedLayer]) -> ReloadCost:
        groups = (replace(group, layer=number) for number, one in enumerate(mapped) for group in one.groups)
        work = NetworkTiles(
            tuple(layer.name for layer in self._layers),
            tuple(sorted(groups, key=lambda group: (group.layer, -group.held_ps))),
            tuple(one.extra_ps for one in mapped),
            1,
        )
        times = {plan: time_second_input(work, plan) for plan in self._list_plans(work)}
        plan = min(times, key=lambda one: (times[one], count_writes(work, one)))
        writes = count_writes(work, plan)
        energy = self._price(work, plan, mapped, times[plan]) if self._with_energy else 0
        cell_writes = Fraction(writes, plan.rotating) if writes else Fraction(0)
        return ReloadCost(times[plan], energy, writes, cell_writes, tuple(one.mapping for one in mapped))

    def _list_plans(self, work: NetworkTiles) -> Iterable[ReloadPlan]:
        """Return plans without repetition: a simple one, and one for each of some numbers of rotating crossbars."""
        crossbars = self._accelerator.chip.crossbars
        plans = dict.fromkeys(list_simple_plans(work, crossbars)[:1])
        if not work.fits(crossbars):
            for rotating in sorted({max(1, crossbars // 8), max(1, crossbars // 2), max(1, crossbars - 1), crossbars}):
                plans[Planner(work, crossbars, rotating, self._plans).plan(cautious=True)] = None
        return plans

    def _map(self, layer: MvmLayer, hardware: Accelerator, bits: BitWidths, fewest: bool) -> _MappedLayer:
        if fewest:
            mapping = find_fewest_in_crossbars(self._options.options_of_alike(layer, hardware, bits).mappings)
        elif self._model is MappingModel.PAPER:
            mapping = plan_allowed(layer, bits, hardware)
        else:
            mapping = choose_mapping(layer, bits, hardware)
        reading = price_layer(count_reading(mapping), mapping, hardware)
        extra_ps = mapping.extra_operations * hardware.digital.operation_latency_ps
        return _MappedLayer(mapping, tuple(list_groups(0, mapping, hardware, 1)), extra_ps, reading)

    def _price(self, work: NetworkTiles, plan: ReloadPlan, mapped: Sequence[_MappedLayer], time_ps: int) -> int:
        """Return the energy of one input, aJ, as `ReloadSchedule.price` counts it."""
        hardware, mappings = self._accelerator, [one.mapping for one in mapped]
        total = price_leakage(hardware, time_ps, crossbars=hardware.chip.crossbars, cores=hardware.chip.cores).total_aj
        for one, written in zip(mapped, count_rewriting(work, plan, mappings, hardware), strict=True):
            total += one.reading.total_aj + price_layer(written, one.mapping, hardware).total_aj
        return total
