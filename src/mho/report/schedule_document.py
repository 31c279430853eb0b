"""The result of `mho schedule` as a JSON document, with a published schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mho.cost_model.area import AreaComponent, ChipArea, area_chip
from mho.cost_model.document import EnergyDocument, to_microseconds
from mho.formats import PS_PER_US
from mho.frozen_model import FrozenModel
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.report.schedule_layers import ScheduledLayer, list_layers, share_losses
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.duplication import Objective
from mho.scheduling.regime import Regime
from mho.scheduling.reload_schedule import ReloadSchedule
from mho.scheduling.reload_use import CrossbarUse, count_use
from mho.scheduling.schedule import Schedule
from mho.simulation.chip_search import SimulatedSchedule
from mho.simulation.chip_timing import Cause


class PipelineFigures(FrozenModel):
    """What only schedules have whose weights stay; all ideal: with an ideal interconnect and unlimited buffers."""

    ideal_latency_us: float
    """Cross-layer latency of one input, us."""
    layer_by_layer_us: float
    """The same copies, each layer after the one before it, us."""
    minimal_us: float
    """One copy of each layer on the fewest crossbars, each layer after the one before it, us."""
    ideal_interval_us: float
    """Time between inputs of a full pipeline, cross-layer, us."""
    ideal_utilization: float = Field(ge=0, le=1)
    """Share of the time of all crossbars of the chip, until the last input is finished, in which they are read or
    written."""

    @classmethod
    def of(cls, schedule: ChipSchedule) -> PipelineFigures:
        """Return the figures of a schedule."""
        ideal = schedule.ideal
        return cls(
            ideal_latency_us=to_microseconds(ideal.makespan_ps),
            layer_by_layer_us=to_microseconds(schedule.layer_by_layer.makespan_ps),
            minimal_us=to_microseconds(schedule.minimal_ps),
            ideal_interval_us=to_microseconds(ideal.interval_ps),
            ideal_utilization=min(1.0, ideal.utilization * schedule.used_crossbars / schedule.crossbars),
        )


class CrossbarShares(FrozenModel):
    """What the time of all crossbars of the chip goes to, as shares that add up to 1."""

    reading: float = Field(ge=0, le=1)
    """They are read."""
    digital: float = Field(ge=0, le=1)
    """The digital work on what was read is not done yet."""
    writing: float = Field(ge=0, le=1)
    """They are written."""
    ready: float = Field(ge=0, le=1)
    """They hold a tile whose layer has not begun: one that stays, or that was written ahead."""
    free: float = Field(ge=0, le=1)
    """They wait for what is to be written into them, or have nothing to do."""

    @classmethod
    def of(cls, use: CrossbarUse) -> CrossbarShares:
        """Return the shares of a time."""
        times = (use.reading_ps, use.digital_ps, use.writing_ps, use.ready_ps, use.free_ps)
        whole = sum(times) or 1
        reading, digital, writing, ready, free = (time / whole for time in times)
        return cls(reading=reading, digital=digital, writing=writing, ready=ready, free=free)


class ReloadFigures(FrozenModel):
    """What only schedules have whose tiles are rewritten for every batch."""

    tiles: int
    """Tiles of all layers in the mapping that was chosen."""
    staying_crossbars: int
    """Crossbars that hold tiles for good."""
    rewritten_crossbars: int
    """Crossbars into which all other tiles are reloaded."""
    is_optimal: bool
    """True where no plan for these tiles is faster."""
    waiting_us: float
    """Time of a batch in which nothing is read and no digital work is done: all wait for writes, us."""
    writes: int
    """Writes of all crossbars for a batch."""
    cell_writes_per_input: float
    """How often one input writes a cell of the crossbar that is written most often."""
    crossbar_time: CrossbarShares
    """What the time of all crossbars goes to."""
    levelled_lifetime_inputs: int | None = Field(default=None, ge=0)
    """`lifetime_inputs` where crossbars trade places now and then, so that all are written alike."""

    @classmethod
    def of(cls, schedule: ReloadSchedule) -> ReloadFigures:
        """Return the figures of a schedule."""
        return cls(
            tiles=schedule.work.tiles,
            staying_crossbars=sum(schedule.plan.staying),
            rewritten_crossbars=schedule.plan.rotating,
            is_optimal=schedule.is_optimal,
            waiting_us=to_microseconds(schedule.waiting_ps) / schedule.timing.inputs,
            writes=schedule.writes,
            cell_writes_per_input=schedule.cell_writes_per_input,
            crossbar_time=CrossbarShares.of(count_use(schedule)),
            levelled_lifetime_inputs=schedule.levelled_lifetime_inputs,
        )


class Simulated(FrozenModel):
    """Results of the simulation of the plan, with the accelerator's interconnect and buffers."""

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
        """Return the results of the simulation of a schedule."""
        timing, steady = schedule.timing.batch, schedule.timing.steady
        used, kept = schedule.plan.used_crossbars, timing.buffer_bytes
        lost = dict.fromkeys(Cause, 0)
        for layer in timing.layers:
            for cause, time_ps in layer.lost_ps.items():
                lost[cause] += time_ps * schedule.graph[layer.name].crossbars
        held = timing.links * timing.total_ps
        return cls(
            latency_us=to_microseconds(schedule.timing.latency_ps),
            interval_us=steady.interval_ps / PS_PER_US,
            interval_inputs=steady.inputs,
            is_interval_settled=steady.is_settled,
            bottleneck=steady.bottleneck.resource,
            bottleneck_us=to_microseconds(steady.bottleneck.busy_ps),
            total_us=to_microseconds(timing.total_ps),
            utilization=min(1.0, sum(timing.core_busy) / len(timing.core_busy)),
            lost=share_losses(lost, used * timing.total_ps),
            interconnect_busy=timing.interconnect_ps / held if held else 0,
            byte_hops=timing.byte_hops,
            input_buffer_bytes=None if kept is None else kept[0],
            output_buffer_bytes=None if kept is None else kept[1],
        )


class AreaFigures(FrozenModel):
    """Area of the chip."""

    total_mm2: float
    """All components with a figure, mm2."""
    components_mm2: dict[AreaComponent, float]
    """Each component with a figure, mm2."""
    untold: tuple[AreaComponent, ...]
    """Components whose unit area the accelerator does not specify: not in `total_mm2`."""

    @classmethod
    def of(cls, area: ChipArea) -> AreaFigures:
        """Return the figures of an area."""
        components = {component: float(um2) / 1e6 for component, um2 in area.component_um2.items()}
        return cls(total_mm2=area.total_mm2, components_mm2=components, untold=area.unspecified)


class ScheduleDocument(FrozenModel):
    """A network on a chip. Weights stay, and layers and inputs overlap; or tiles are rewritten for every batch, and
    layers and inputs follow each other."""

    regime: Literal[Regime.WEIGHT_STATIONARY, Regime.TIME_MULTIPLEXED]
    """Weights stay in crossbars of their own; or tiles are rewritten, as the chip has too few crossbars."""
    network: str
    """The network as it was named."""
    accelerator: Accelerator
    """The accelerator, overrides included."""
    mapping: MappingModel
    """`best`: exact mappings that the accelerator allows; `paper`: im2col as in arXiv 2601.21737."""
    objective: Objective | None
    """What options and copies were chosen for: `latency`, `interval` or `layer-by-layer`; null where tiles are
    rewritten: latency and interval are one then."""
    batch: int = Field(ge=1)
    """Inputs that follow each other; where tiles are rewritten, they share the writes, layer by layer."""
    crossbars: int
    """Crossbars of the chip."""
    cores: int
    """Cores of the chip."""
    used_crossbars: int
    """Crossbars that hold something."""
    minimal_crossbars: int
    """The fewest crossbars that hold each layer once, so that nothing is rewritten."""
    latency_us: float
    """Time of one input that has the chip to itself, us: simulated, or with an ideal interconnect and unlimited buffers
    where there is no simulation. Where tiles are rewritten, time of a batch from its start to its end, and so from
    batch to batch: one begins when the one before is finished, while its first tiles are written before."""
    interval_us: float
    """Time between inputs of a full pipeline, us, alike. Where tiles are rewritten, latency_us / batch."""
    bound_us: float
    """What no schedule of these mappings beats in latency_us with an ideal interconnect and unlimited buffers, whatever
    its copies or the tiles that stay, us; proven."""
    interval_bound_us: float
    """The same for interval_us, us."""
    pipeline: PipelineFigures | None
    """Further figures where weights stay; else null."""
    simulated: Simulated | None
    """With the accelerator's interconnect and buffers; null where it was not simulated, or tiles are rewritten."""
    reload: ReloadFigures | None
    """Further figures where tiles are rewritten; else null."""
    layers: tuple[ScheduledLayer, ...]
    """MVM layers in execution order."""
    energy: EnergyDocument | None
    """Energy of one input, writes and leakage of the whole chip included; null where it was not requested. Without a
    simulation transfers between cores are not known, and `interconnect` is among the untold where weights stay."""
    area: AreaFigures | None
    """Area of the chip; null where the accelerator has no figures, or energy was not requested."""
    lifetime_inputs: int | None = Field(default=None, ge=0)
    """Inputs until the cells of the crossbar that is written most often may fail; null where nothing is written, or the
    accelerator has no endurance figure."""

    @property
    def waiting_share(self) -> float:
        """Share of the time in which all wait for writes, 0..1."""
        return self.reload.waiting_us / self.latency_us if self.reload and self.latency_us else 0.0

    @classmethod
    def of(cls, network: str, schedule: Schedule, *, with_energy: bool = False) -> ScheduleDocument:
        """Make the document.

        Args:
            network: as it was named.
            schedule: what to describe, with its simulation if it has one.
            with_energy: whether to add energy and area.
        """
        hardware, stays = schedule.accelerator, schedule.regime is Regime.WEIGHT_STATIONARY
        resident = schedule if isinstance(schedule, ChipSchedule) else None
        rewritten = schedule if isinstance(schedule, ReloadSchedule) else None
        simulated = schedule if isinstance(schedule, SimulatedSchedule) else None
        latency_us, bound_us = to_microseconds(schedule.latency_ps), to_microseconds(schedule.bound_ps)
        return cls(
            regime=Regime.WEIGHT_STATIONARY if stays else Regime.TIME_MULTIPLEXED,
            network=network,
            accelerator=hardware,
            mapping=schedule.model,
            objective=None if resident is None else resident.objective,
            batch=schedule.batch,
            crossbars=schedule.crossbars,
            cores=hardware.chip.cores,
            used_crossbars=schedule.used_crossbars,
            minimal_crossbars=schedule.minimal_crossbars,
            latency_us=latency_us,
            interval_us=latency_us / schedule.batch if resident is None else schedule.interval_ps / PS_PER_US,
            bound_us=bound_us,
            interval_bound_us=to_microseconds(resident.interval_bound_ps) if resident else bound_us / schedule.batch,
            pipeline=None if resident is None else PipelineFigures.of(resident),
            simulated=None if simulated is None else Simulated.of(simulated),
            reload=None if rewritten is None else ReloadFigures.of(rewritten),
            layers=list_layers(schedule),
            energy=EnergyDocument.of(schedule.price()) if with_energy else None,
            area=AreaFigures.of(area_chip(hardware)) if with_energy and hardware.area.is_specified else None,
            lifetime_inputs=schedule.lifetime_inputs,
        )
