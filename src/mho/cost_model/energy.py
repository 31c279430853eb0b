"""Energy, in closed form: what a layer does (`mho.mapping.activity`), times what the accelerator says that it takes.

    energy = reads * mvm + cell reads * cell read          crossbar
           + conversions * conversion                      ADC
           + driven rows * row                             DAC
           + cells written * pulses * cell write           write
           + operations * operation                        digital
           + bytes * (buffer, hop, memory)                 buffer, interconnect, memory
           + time * (crossbar and core leakage)            leakage

Energies are whole attojoules, so that sums are exact. What happens but has no unit energy is listed as unspecified,
never taken as zero. The unit energies are averages: they do not depend on weights and inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from mho.cost_model.latency import LayerCost, NetworkCost
from mho.formats import AJ_PER_PJ, AJ_PER_UJ
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.activity import Activity, count_activity
from mho.mapping.adc_resolution import layer_hardware
from mho.mapping.layer_mapping import LayerMapping
from mho.mapping.unit_energies import UnitEnergies


class Component(StrEnum):
    """What takes energy."""

    CROSSBAR = "crossbar"
    ADC = "adc"
    DAC = "dac"
    WRITE = "write"
    DIGITAL = "digital"
    BUFFER = "buffer"
    INTERCONNECT = "interconnect"
    MEMORY = "memory"
    LEAKAGE = "leakage"


@dataclass(frozen=True)
class EnergyBreakdown:
    """Energy by component; energies add up.

    Attributes:
        component_aj: attojoules of each component that acts and has a unit energy, in the order of `Component`.
            Read-only.
        unspecified: components that do something and have no unit energy, in the order of `Component`.
    """

    component_aj: Mapping[Component, int] = field(default_factory=dict)
    unspecified: tuple[Component, ...] = ()

    def __post_init__(self) -> None:
        ordered = {component: self.component_aj[component] for component in Component if component in self.component_aj}
        object.__setattr__(self, "component_aj", MappingProxyType(ordered))

    def __hash__(self) -> int:
        return hash((tuple(self.component_aj.items()), self.unspecified))

    def __add__(self, other: EnergyBreakdown) -> EnergyBreakdown:
        total = {
            component: self.component_aj.get(component, 0) + other.component_aj.get(component, 0)
            for component in Component
            if component in self.component_aj or component in other.component_aj
        }
        unspecified = {*self.unspecified, *other.unspecified}
        return EnergyBreakdown(total, tuple(component for component in Component if component in unspecified))

    def times(self, count: int) -> EnergyBreakdown:
        """Return the energy of `count` repetitions, 1 or more."""
        return EnergyBreakdown({name: count * value for name, value in self.component_aj.items()}, self.unspecified)

    @property
    def total_aj(self) -> int:
        """All that is specified, aJ."""
        return sum(self.component_aj.values())

    @property
    def total_pj(self) -> float:
        """All that is specified, pJ."""
        return self.total_aj / AJ_PER_PJ

    @property
    def total_uj(self) -> float:
        """All that is specified, uJ."""
        return self.total_aj / AJ_PER_UJ


@dataclass(frozen=True)
class LayerEnergy:
    """Energy of one layer for a batch.

    Attributes:
        name: layer name.
        activity: what it does.
        energy: what that takes.
    """

    name: str
    activity: Activity
    energy: EnergyBreakdown


@dataclass(frozen=True)
class NetworkEnergy:
    """Energy of all layers for a batch, in execution order.

    Attributes:
        layers: each layer's energy.
        batch: samples that share the writes of weights; energies are for all of them.
    """

    layers: tuple[LayerEnergy, ...]
    batch: int

    @property
    def energy(self) -> EnergyBreakdown:
        """Energy of all layers by component."""
        return add_energies(layer.energy for layer in self.layers)


def add_energies(energies: Iterable[EnergyBreakdown]) -> EnergyBreakdown:
    """Return the sum of energies; nothing where there is none."""
    return sum(energies, EnergyBreakdown())


def price_activity(activity: Activity, accelerator: Accelerator, encoding: Encoding) -> EnergyBreakdown:
    """Return what an activity takes, leakage aside.

    Args:
        activity: what happens.
        accelerator: what each thing takes.
        encoding: how weights are held, which an ideal ADC's bits depend on.
    """
    unit = UnitEnergies.of(accelerator, encoding)
    return _price(
        {
            Component.CROSSBAR: ((activity.reads, unit.reads), (activity.cell_reads, unit.cell_reads)),
            Component.ADC: ((activity.conversions, unit.conversions),),
            Component.DAC: ((activity.driven_rows, unit.driven_rows),),
            Component.WRITE: ((activity.cell_writes, unit.cell_writes),),
            Component.DIGITAL: ((activity.operations, unit.operations),),
            Component.BUFFER: ((activity.buffer_bits, unit.buffer_bits),),
            Component.INTERCONNECT: ((activity.hop_bits, unit.hop_bits),),
            Component.MEMORY: ((activity.memory_bits, unit.memory_bits),),
        }
    )


def price_layer(activity: Activity, mapping: LayerMapping, accelerator: Accelerator) -> EnergyBreakdown:
    """Return what an activity of a mapped layer takes, leakage aside; conversions have the layer's bits."""
    return price_activity(activity, layer_hardware(accelerator, mapping.bits), mapping.encoding)


def price_leakage(accelerator: Accelerator, time_ps: int, *, crossbars: int, cores: int) -> EnergyBreakdown:
    """Return what crossbars and cores lose in a time, whatever they do.

    Args:
        accelerator: their leakage. Where only one of the two is specified, the other is taken to be counted in it.
        time_ps: how long, ps.
        crossbars, cores: that are on.
    """
    unit = accelerator.energy  # a microwatt for a picosecond is an attojoule
    return _price(
        {
            Component.LEAKAGE: (
                (crossbars * time_ps, unit.crossbar_leakage_uw),
                (cores * time_ps, unit.core_leakage_uw),
            )
        }
    )


def energy_layer(cost: LayerCost, accelerator: Accelerator, *, batch: int = 1) -> LayerEnergy:
    """Return the energy of one layer on one crossbar of one core, which is used again for every tile.

    Args:
        cost: the layer's mapping, and its time for the batch.
        accelerator: what each thing takes.
        batch: samples that share the writes of weights.
    """
    mapping = cost.mapping
    activity = count_activity(mapping, accelerator, batch=batch)
    energy = price_layer(activity, mapping, accelerator)
    energy += price_leakage(accelerator, cost.latency_ps, crossbars=1, cores=1)
    return LayerEnergy(mapping.layer.name, activity, energy)


def energy_network(cost: NetworkCost, accelerator: Accelerator) -> NetworkEnergy:
    """Return the energy of all layers on one crossbar of one core, for the batch that was costed."""
    layers = tuple(energy_layer(layer, accelerator, batch=cost.batch) for layer in cost.layers)
    return NetworkEnergy(layers, cost.batch)


def _price(terms: Mapping[Component, tuple[tuple[int, Decimal | int | None], ...]]) -> EnergyBreakdown:
    """Add up counts times unit energies, aJ; unspecified where something happens and has no unit."""
    known: dict[Component, int] = {}
    unspecified = []
    for component, pairs in terms.items():
        if not any(count for count, _ in pairs):
            continue
        units = [(count, unit) for count, unit in pairs if unit is not None]
        if units:
            known[component] = sum(round(count * unit) for count, unit in units)
        else:
            unspecified.append(component)
    return EnergyBreakdown(known, tuple(unspecified))
