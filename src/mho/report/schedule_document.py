"""The answer of `mho schedule` as a JSON document, with a published schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import Field

from mho.cost_model.area import AreaComponent, ChipArea, area_chip
from mho.cost_model.document import EnergyDocument, EnergyRow, to_microseconds
from mho.cost_model.energy import Component, EnergyBreakdown
from mho.frozen_model import FrozenModel
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel, describe_mapping
from mho.scheduling.asap import LayerTiming
from mho.scheduling.chip_energy import ScheduleEnergy, count_schedule_lifetime, price_schedule
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.duplication import Objective
from mho.simulation.chip_search import SimulatedSchedule
from mho.simulation.chip_timing import Cause, ChipTiming, LayerActivity

_AJ_PER_PJ = 1_000_000


class ScheduledLayer(FrozenModel):
    """One MVM layer on the chip; its times are simulated where that was asked for, else those of the closed form."""

    name: str
    """Layer name."""
    weight_bits: int
    """Bits of a weight, or of the stored operand of a product."""
    act_bits: int
    """Bits of an input."""
    mapping: str
    """How one copy lies in crossbars, in words."""
    crossbars: int
    """Crossbars of one copy."""
    copies: int
    """Copies on the chip, which take the windows in turn."""
    first_crossbars: tuple[int, ...]
    """For each copy the number of its first crossbar; the others follow."""
    cores: int
    """Cores in which copies lie."""
    windows: int
    """Windows of one input: reads of all tiles of a copy with all input slices."""
    window_us: float
    """Time of one window, us."""
    write_us: float
    """Time to write a stored operand for one input, us; 0 for weights, which stay."""
    start_us: float
    """When the first window starts, us."""
    finish_us: float
    """When the last window of the last input is finished, us."""
    busy: float = Field(ge=0, le=1)
    """Share of the time of all its copies, until the last input is finished, in which they read windows."""
    lost: dict[Cause, float] | None
    """Share of that time in which copies stood still, by cause; null without a simulation."""

    @classmethod
    def of(cls, schedule: ChipSchedule, name: str, timing: ChipTiming | None) -> ScheduledLayer:
        """Return the row of one layer."""
        work, places = schedule.graph[name], schedule.plan.places[name]
        closed = schedule.ideal.layers[name]
        activity = None if timing is None else next(layer for layer in timing.layers if layer.name == name)
        total = schedule.ideal.total_ps if timing is None else timing.total_ps
        start, finish, busy = _tell_closed(closed) if activity is None else _tell_simulated(activity)
        whole = total * len(places)
        return cls(
            name=name,
            weight_bits=work.mapping.bits.weight_bits,
            act_bits=work.mapping.bits.act_bits,
            mapping=describe_mapping(work.mapping),
            crossbars=work.crossbars,
            copies=len(places),
            first_crossbars=tuple(place.crossbars[0] for place in places if place.crossbars),
            cores=len({core for place in places for core in place.cores}),
            windows=work.windows,
            window_us=to_microseconds(work.window_ps),
            write_us=to_microseconds(work.write_ps),
            start_us=to_microseconds(start),
            finish_us=to_microseconds(finish),
            busy=busy / whole if whole else 0,
            lost=None if activity is None else _share(activity.lost_ps, whole),
        )


class Simulated(FrozenModel):
    """What the simulation of the plan tells: with the accelerator's interconnect and buffers."""

    latency_us: float
    """Time of one input that has the chip to itself, us."""
    interval_us: float
    """Time between inputs of a full pipeline, us: what a further input adds to a long batch whose inputs all wait at
    the chip. Not below `bottleneck_us`."""
    interval_inputs: int = Field(ge=0)
    """Inputs of the longest simulation by which the interval was found; 0 where interconnect and buffers are ideal, so
    that it is `bottleneck_us`."""
    is_interval_settled: bool
    """True where it is within 2 % of `bottleneck_us`, or of the interval with half as many inputs, and no layer runs
    ever further ahead."""
    bottleneck: str
    """The resource that one input takes longest: the copies of a layer, or a link between cores."""
    bottleneck_us: float
    """For how long, mean over inputs, us."""
    total_us: float
    """Until the last input of the batch is finished, us. All wait at the chip from the start."""
    utilization: float = Field(ge=0, le=1)
    """Share of the time of all crossbars of the chip in which they were read."""
    lost: dict[Cause, float]
    """Share of the time of all crossbars with a copy in which that copy stood still, by cause."""
    interconnect_busy: float = Field(ge=0, le=1)
    """Share of the time of the bus, or of all links that carried something, in which they were held."""
    byte_hops: int
    """Bytes that were carried, times the links that they took, for all inputs."""
    input_buffer_bytes: int | None
    """The most that any core kept of input codes; null where the interconnect is ideal and buffers are unlimited."""
    output_buffer_bytes: int | None
    """The most that any core kept of results, alike."""

    @classmethod
    def of(cls, schedule: SimulatedSchedule) -> Simulated:
        """Return what the simulation of a schedule tells."""
        timing, steady = schedule.timing.batch, schedule.timing.steady
        used, kept = schedule.plan.used_crossbars, timing.buffer_bytes
        lost = dict.fromkeys(Cause, 0)
        for layer in timing.layers:
            for cause, time_ps in layer.lost_ps.items():
                lost[cause] += time_ps * schedule.graph[layer.name].crossbars
        held = timing.links * timing.total_ps
        return cls(
            latency_us=to_microseconds(schedule.timing.latency_ps),
            interval_us=steady.interval_ps / 1_000_000,
            interval_inputs=steady.inputs,
            is_interval_settled=steady.is_settled,
            bottleneck=steady.bottleneck.resource,
            bottleneck_us=to_microseconds(steady.bottleneck.busy_ps),
            total_us=to_microseconds(timing.total_ps),
            utilization=min(1.0, sum(timing.core_busy) / len(timing.core_busy)),
            lost=_share(lost, used * timing.total_ps),
            interconnect_busy=timing.interconnect_ps / held if held else 0,
            byte_hops=timing.byte_hops,
            input_buffer_bytes=None if kept is None else kept[0],
            output_buffer_bytes=None if kept is None else kept[1],
        )


class AreaFigures(FrozenModel):
    """Area of the chip."""

    total_mm2: float
    """All components that are told, mm2."""
    components_mm2: dict[AreaComponent, float]
    """Each component that is told, mm2."""
    untold: tuple[AreaComponent, ...]
    """Components whose unit area the accelerator does not tell: not in `total_mm2`."""

    @classmethod
    def of(cls, area: ChipArea) -> AreaFigures:
        """Return the figures of an area."""
        components = {component: float(um2) / 1e6 for component, um2 in area.component_um2.items()}
        return cls(total_mm2=area.total_mm2, components_mm2=components, untold=area.unspecified)


class ScheduleDocument(FrozenModel):
    """A network on a chip of many crossbars, whose weights stay. Latencies are of one input."""

    regime: Literal["weight-stationary"] = "weight-stationary"
    """Weights stay in crossbars of their own."""
    network: str
    """The network as it was asked for."""
    accelerator: Accelerator
    """The accelerator, overrides included."""
    mapping: MappingModel
    """`best`: exact mappings that the accelerator allows; `paper`: im2col as in arXiv 2601.21737."""
    objective: Objective
    """What options and copies were chosen for: `latency`, `interval` or `layer-by-layer`."""
    batch: int = Field(ge=1)
    """Inputs that follow each other."""
    crossbars: int
    """Crossbars of the chip."""
    cores: int
    """Cores of the chip."""
    used_crossbars: int
    """Crossbars that hold something."""
    minimal_crossbars: int
    """The fewest crossbars that hold each layer once."""
    ideal_latency_us: float
    """Cross-layer, with an ideal interconnect and unlimited buffers, us."""
    bound_us: float
    """What no cross-layer schedule of these mappings beats on this chip, whatever its copies, us; proven."""
    layer_by_layer_us: float
    """The same copies, each layer after the one before it, ideal as above, us."""
    minimal_us: float
    """One copy of each layer on the fewest crossbars, each layer after the one before it, ideal as above, us."""
    ideal_interval_us: float
    """Time between inputs of a full pipeline, cross-layer, ideal as above, us."""
    interval_bound_us: float
    """What no schedule of these mappings beats on this chip, us; proven."""
    ideal_utilization: float = Field(ge=0, le=1)
    """Share of the time of all crossbars of the chip, until the last input is finished, in which they are read or
    written; ideal as above."""
    simulated: Simulated | None
    """With the accelerator's interconnect and buffers; null where that was not asked for."""
    layers: tuple[ScheduledLayer, ...]
    """MVM layers in execution order."""
    energy: EnergyDocument | None
    """Energy of one input, leakage of the whole chip included; null where it was not asked for. Without a simulation
    what is carried between cores is not known, and `interconnect` is among the untold."""
    area: AreaFigures | None
    """Area of the chip; null where the accelerator tells none, or energy was not asked for."""
    lifetime_inputs: int | None = Field(default=None, ge=0)
    """Inputs until cells may fail, from operands that are stored for each input; null where nothing is written, or the
    accelerator tells no endurance."""

    @property
    def latency_us(self) -> float:
        """Time of one input, us: simulated where that was asked for, else with an ideal interconnect."""
        return self.ideal_latency_us if self.simulated is None else self.simulated.latency_us

    @property
    def interval_us(self) -> float:
        """Time between inputs of a full pipeline, us, alike."""
        return self.ideal_interval_us if self.simulated is None else self.simulated.interval_us

    @classmethod
    def of(cls, network: str, schedule: ChipSchedule, *, with_energy: bool = False) -> ScheduleDocument:
        """Make the document.

        Args:
            network: as it was asked for.
            schedule: what to tell, with its simulation if it has one.
            with_energy: tell energy and area too.
        """
        simulated = schedule if isinstance(schedule, SimulatedSchedule) else None
        timing = None if simulated is None else simulated.timing.batch
        hardware, chip = schedule.accelerator, schedule.accelerator.chip
        used = schedule.plan.used_crossbars
        return cls(
            network=network,
            accelerator=hardware,
            mapping=schedule.model,
            objective=schedule.objective,
            batch=schedule.batch,
            crossbars=chip.crossbars,
            cores=chip.cores,
            used_crossbars=used,
            minimal_crossbars=schedule.minimal_crossbars,
            ideal_latency_us=to_microseconds(schedule.ideal.makespan_ps),
            bound_us=to_microseconds(schedule.bounds.bound_ps),
            layer_by_layer_us=to_microseconds(schedule.layer_by_layer.makespan_ps),
            minimal_us=to_microseconds(schedule.minimal_ps),
            ideal_interval_us=to_microseconds(schedule.ideal.interval_ps),
            interval_bound_us=to_microseconds(schedule.interval_bound_ps),
            ideal_utilization=min(1.0, schedule.ideal.utilization * used / chip.crossbars),
            simulated=None if simulated is None else Simulated.of(simulated),
            layers=tuple(ScheduledLayer.of(schedule, name, timing) for name in schedule.mappings),
            energy=_tell_energy(schedule, timing) if with_energy else None,
            area=AreaFigures.of(area_chip(hardware)) if with_energy and hardware.area.is_specified else None,
            lifetime_inputs=count_schedule_lifetime(schedule),
        )


def _tell_closed(layer: LayerTiming) -> tuple[int, int, int]:
    """Return start, finish and busy time of a layer of the closed form, ps."""
    finish = int(layer.starts.max()) + layer.window_ps
    return int(layer.starts.min()), finish, layer.starts.size * layer.window_ps


def _tell_simulated(layer: LayerActivity) -> tuple[int, int, int]:
    return layer.start_ps, layer.finish_ps, layer.busy_ps


def _share(lost_ps: Mapping[Cause, int], whole: int) -> dict[Cause, float]:
    return {cause: time_ps / whole if whole else 0.0 for cause, time_ps in lost_ps.items()}


def _tell_energy(schedule: ChipSchedule, timing: ChipTiming | None) -> EnergyDocument:
    """Return the energy of one input of the batch."""
    time_ps = schedule.ideal.total_ps if timing is None else timing.total_ps
    spent = price_schedule(schedule, time_ps=time_ps, byte_hops=0 if timing is None else timing.byte_hops)
    untold = list(spent.energy.unspecified)
    if timing is None and not schedule.accelerator.interconnect.is_ideal:
        untold.append(Component.INTERCONNECT)
    return tell_energy(spent, untold=untold)


def tell_energy(spent: ScheduleEnergy, *, untold: Collection[Component]) -> EnergyDocument:
    """Return the energy of one input of a batch.

    Args:
        spent: of the whole batch.
        untold: components that do something and are not told.
    """
    whole = spent.energy
    return EnergyDocument(
        total_pj=_to_picojoules(whole.total_aj, spent.batch),
        components_pj=_components(whole, spent.batch),
        untold=tuple(component for component in Component if component in untold),
        layers=tuple(
            EnergyRow(
                name=layer.name,
                total_pj=_to_picojoules(layer.energy.total_aj, spent.batch),
                components_pj=_components(layer.energy, spent.batch),
            )
            for layer in spent.layers
        ),
    )


def _components(energy: EnergyBreakdown, batch: int) -> dict[Component, float]:
    return {component: _to_picojoules(aj, batch) for component, aj in energy.component_aj.items()}


def _to_picojoules(attojoules: int, batch: int) -> float:
    return attojoules / (_AJ_PER_PJ * batch)
