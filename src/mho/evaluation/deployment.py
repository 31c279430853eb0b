"""How a network runs on the machine that is described, and its program: one schedule for time, energy and wear.

An accelerator of one crossbar uses it again for every tile (`mho.cost_model`). One of several holds all tiles, slow
layers in copies, where its crossbars suffice, and rewrites tiles where they do not (`mho.scheduling`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from mho.cost_model.bounds import bound_network
from mho.cost_model.endurance import count_network_lifetime, count_network_writes
from mho.cost_model.energy import EnergyBreakdown, energy_network
from mho.cost_model.latency import NetworkCost, cost_network
from mho.cost_model.time_components import TimeComponent, split_time
from mho.hardware.spec import Accelerator
from mho.mapping.adc_resolution import layer_hardware
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.mapping.network_mapping import NetworkMapping
from mho.mapping.output_error import error_bound, mapping_error
from mho.network.graph import Network
from mho.policy import Policy
from mho.scheduling.chip_schedule import ChipDemand, ChipSchedule
from mho.scheduling.duplication import Objective
from mho.scheduling.regime import Regime
from mho.scheduling.reload_schedule import ReloadSchedule
from mho.scheduling.reload_use import list_layer_uses
from mho.scheduling.schedule import Schedule
from mho.simulation.chip_search import find_schedule

_PS_PER_DAY = 86_400 * 10**12


@dataclass(frozen=True)
class DeployedLayer:
    """One MVM layer, for one input.

    Attributes:
        mapping: how one copy lies in tiles.
        copies: that share its windows.
        writes: crossbars that are written for an input.
        latency_ps: time of its writes and reads on one crossbar; where weights stay, of the windows of one copy, while
            other layers work too; where tiles are rewritten, from the end of the layer before to its own (mean), ps.
    """

    mapping: LayerMapping
    copies: int
    writes: int
    latency_ps: int

    @property
    def crossbars(self) -> int:
        """Tiles of all copies."""
        return self.mapping.tiles * self.copies


@dataclass(frozen=True, eq=False)
class Deployment(ABC):
    """A network on a machine.

    Attributes:
        accelerator: the machine.
        model: how layers are mapped.
    """

    accelerator: Accelerator
    model: MappingModel

    @property
    @abstractmethod
    def regime(self) -> Regime:
        """What becomes of tiles."""

    @property
    @abstractmethod
    def batch(self) -> int:
        """Inputs that share the writes of weights, where these are written for inputs; else those that follow."""

    @property
    @abstractmethod
    def latency_ps(self) -> int:
        """Time of one input, ps; where weights are written for inputs, of a batch."""

    @property
    @abstractmethod
    def interval_ps(self) -> float:
        """Time between inputs of a long sequence, ps."""

    @property
    @abstractmethod
    def bound_ps(self) -> int:
        """A latency that no schedule of these mappings falls below on this machine, ps; proven."""

    @property
    @abstractmethod
    def minimal_crossbars(self) -> int:
        """Crossbars that hold each layer once."""

    @property
    @abstractmethod
    def used_crossbars(self) -> int:
        """Crossbars that hold something."""

    @property
    @abstractmethod
    def energy(self) -> EnergyBreakdown:
        """Energy of a batch, leakage of the machine for its time included."""

    @property
    @abstractmethod
    def cell_writes_per_input(self) -> float:
        """How often one input writes a cell of the crossbar that is written most often."""

    @property
    @abstractmethod
    def lifetime_inputs(self) -> int | None:
        """Inputs until a cell may fail; None where nothing is written or the accelerator has no endurance figure."""

    @property
    @abstractmethod
    def layers(self) -> tuple[DeployedLayer, ...]:
        """MVM layers in execution order."""

    @property
    def time_components_ps(self) -> Mapping[TimeComponent, int]:
        """The latency by component, ps; empty where layers or writes overlap, so that parts do not add up."""
        return {}

    @property
    def writes(self) -> int:
        """Crossbars that are written for one input."""
        return sum(layer.writes for layer in self.layers)

    @property
    def mvms(self) -> int:
        """Crossbar reads of one input; copies share them."""
        return sum(layer.mapping.mvms for layer in self.layers)

    @property
    def mappings(self) -> Mapping[str, LayerMapping]:
        """How one copy of each layer lies in tiles, by name, in execution order."""
        return {layer.mapping.layer.name: layer.mapping for layer in self.layers}

    @property
    def network_mapping(self) -> NetworkMapping:
        """How one copy of each layer lies in tiles, and which layers are written at once."""
        return NetworkMapping.apart(layer.mapping for layer in self.layers)

    @property
    def above_bound(self) -> Mapping[str, float]:
        """Predicted errors at the outputs of the layers whose mapping does not keep `mapping.max_error`, by name."""
        errors = {name: mapping_error(one, self.accelerator) for name, one in self.mappings.items()}
        bounds = {name: error_bound(layer_hardware(self.accelerator, one.bits)) for name, one in self.mappings.items()}
        return {name: error for name, error in errors.items() if (most := bounds[name]) and error > most * (1 + 1e-9)}

    @property
    def cell_writes_per_day(self) -> float:
        """The same in a day of inputs that follow each other without a pause."""
        return self.cell_writes_per_input * _PS_PER_DAY / self.interval_ps if self.interval_ps else 0.0

    @property
    def lifetime_days(self) -> float | None:
        """Days of inputs that follow each other without a pause, until a cell may fail; None as for inputs."""
        inputs = self.lifetime_inputs
        return None if inputs is None else inputs * self.interval_ps / _PS_PER_DAY


@dataclass(frozen=True, eq=False)
class CrossbarDeployment(Deployment):
    """On one crossbar, which is used again for every tile.

    Attributes:
        cost: of one input.
    """

    cost: NetworkCost

    @property
    def regime(self) -> Regime:
        """One crossbar."""
        return Regime.ONE_CROSSBAR

    @property
    def batch(self) -> int:
        """Inputs that share the writes of weights."""
        return self.cost.batch

    @property
    def latency_ps(self) -> int:
        """Time of all layers, one after the other, ps."""
        return self.cost.latency_ps

    @property
    def interval_ps(self) -> float:
        """The mean time of an input: batches follow each other."""
        return self.cost.latency_ps / self.batch

    @cached_property
    def bound_ps(self) -> int:
        """A time that no exact mapping of this kind falls below, ps."""
        return bound_network(self.cost.mapping, self.accelerator).latency_ps

    @property
    def minimal_crossbars(self) -> int:
        """Crossbars that hold each layer once, in these mappings."""
        return self.cost.writes

    @property
    def used_crossbars(self) -> int:
        """1."""
        return 1

    @cached_property
    def energy(self) -> EnergyBreakdown:
        """Energy of a batch, leakage of the crossbar and its core included."""
        return energy_network(self.cost, self.accelerator).energy

    @property
    def cell_writes_per_input(self) -> float:
        """How often one input writes the crossbar."""
        return count_network_writes(self.cost) / self.batch

    @property
    def lifetime_inputs(self) -> int | None:
        """Inputs until a cell may fail."""
        return count_network_lifetime(self.cost, self.accelerator)

    @property
    def network_mapping(self) -> NetworkMapping:
        """How each layer lies in tiles, and which layers are written at once."""
        return self.cost.mapping

    @cached_property
    def layers(self) -> tuple[DeployedLayer, ...]:
        """MVM layers in execution order."""
        return tuple(DeployedLayer(one.mapping, 1, one.writes, one.latency_ps) for one in self.cost.layers)

    @property
    def time_components_ps(self) -> Mapping[TimeComponent, int]:
        """Writes, reads, conversions and digital work: they add up to the latency, ps."""
        return split_time(self.cost, self.accelerator)


@dataclass(frozen=True, eq=False)
class ChipDeployment(Deployment):
    """On several crossbars, as a schedule says.

    Attributes:
        schedule: of one input, simulated where weights stay.
    """

    schedule: Schedule

    @property
    def regime(self) -> Regime:
        """Whether tiles are rewritten."""
        return self.schedule.regime

    @property
    def batch(self) -> int:
        """Inputs that follow each other, or for which weights are written once."""
        return self.schedule.batch

    @property
    def latency_ps(self) -> int:
        """Time of one input, with interconnect and buffers of the accelerator, ps."""
        return self.schedule.latency_ps

    @property
    def interval_ps(self) -> float:
        """Time between inputs of a full pipeline, ps; where tiles are rewritten the latency."""
        return self.schedule.interval_ps

    @property
    def bound_ps(self) -> int:
        """A latency that no schedule of these mappings falls below, ps."""
        return self.schedule.bound_ps

    @property
    def minimal_crossbars(self) -> int:
        """The fewest crossbars that hold each layer once, in any mapping."""
        return self.schedule.minimal_crossbars

    @property
    def used_crossbars(self) -> int:
        """Crossbars that hold something, copies included."""
        return self.schedule.used_crossbars

    @cached_property
    def energy(self) -> EnergyBreakdown:
        """Energy of a batch, transfers and leakage of the whole chip included."""
        return self.schedule.price().energy

    @property
    def cell_writes_per_input(self) -> float:
        """How often one input writes a cell of the crossbar that is written most often."""
        return float(self.schedule.cell_writes_per_input)

    @property
    def lifetime_inputs(self) -> int | None:
        """Inputs until a cell may fail."""
        return self.schedule.lifetime_inputs

    @property
    def network_mapping(self) -> NetworkMapping:
        """How one copy of each layer lies in tiles, and which layers are written at once."""
        return self.schedule.network if isinstance(self.schedule, ReloadSchedule) else super().network_mapping

    @cached_property
    def layers(self) -> tuple[DeployedLayer, ...]:
        """MVM layers in execution order."""
        if isinstance(self.schedule, ReloadSchedule):
            return _list_rewritten(self.schedule)
        assert isinstance(self.schedule, ChipSchedule), "there are two kinds of schedules"
        return tuple(_list_layer(self.schedule, name) for name in self.schedule.mappings)


def _list_layer(schedule: ChipSchedule, name: str) -> DeployedLayer:
    work, copies = schedule.graph[name], schedule.copies[name]
    time_ps = work.write_ps + -(-work.windows // copies) * work.busy_ps
    return DeployedLayer(work.mapping, copies, work.crossbars * schedule.count_written_copies(name), time_ps)


def _list_rewritten(schedule: ReloadSchedule) -> tuple[DeployedLayer, ...]:
    """List layers with their mean times over the inputs of a period, which add up to the latency."""
    ends, start, sums = schedule.timing.layer_ends_ps, 0, [0] * len(schedule.network.layers)
    for own in ends:
        sums = [total + end - start for total, end in zip(sums, own, strict=True)]
        start = own[-1]
    means = [0, *(-(-total // len(ends)) for total in sums)]
    uses = list_layer_uses(schedule)
    return tuple(
        DeployedLayer(mapping, max(1, use.copies[1]), use.writes, after - before)
        for mapping, use, (before, after) in zip(schedule.network.layers, uses, pairwise(means), strict=True)
    )


def find_deployment(
    network: Network,
    policy: Policy,
    accelerator: Accelerator,
    *,
    model: MappingModel = DEFAULT_MODEL,
    objective: Objective = Objective.LATENCY,
    batch: int = 1,
) -> Deployment:
    """Return how a network runs on an accelerator: the schedule that `mho schedule` finds, or its one crossbar.

    Args:
        network: float, where only shapes count, or quantized, whose integers count at its own widths.
        policy: bit widths of every MVM layer.
        accelerator: the machine.
        model: how layers are mapped.
        objective: what options and copies are chosen for, where weights stay.
        batch: inputs that share the writes of weights, where these are written for inputs; else that follow each other.

    Raises:
        PolicyError: the policy does not name the MVM layers.
        MappingError: a layer cannot be mapped.
        ScheduleError: buffers are too small for every plan.
    """
    if accelerator.chip.crossbars == 1:
        return CrossbarDeployment(
            accelerator, model, cost_network(network, policy, accelerator, model=model, batch=batch)
        )
    demand = ChipDemand.of(network, policy, accelerator, model=model)
    return ChipDeployment(accelerator, model, find_schedule(demand, objective, batch=batch))
