"""The answer of `mho schedule` as a JSON document where a chip has fewer crossbars than a network takes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mho.cost_model.area import area_chip
from mho.cost_model.document import EnergyDocument, to_microseconds
from mho.frozen_model import FrozenModel
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import LayerMapping, MappingModel, describe_mapping
from mho.report.schedule_document import AreaFigures, tell_energy
from mho.scheduling.reload_energy import price_reload
from mho.scheduling.reload_schedule import ReloadSchedule
from mho.scheduling.reload_use import CrossbarUse, LayerUse, count_use, list_layer_uses


class ReloadedLayer(FrozenModel):
    """One MVM layer; counts and times are of one batch."""

    name: str
    """Layer name."""
    weight_bits: int
    """Bits of a weight, or of the stored operand of a product."""
    act_bits: int
    """Bits of an input."""
    mapping: str
    """How it lies in tiles, in words."""
    tiles: int
    """Tiles; those of stored operands for each input. 0 where an earlier layer's tile holds it, or it is digital."""
    least_copies: int
    """Crossbars that share the windows of one tile, at least."""
    most_copies: int
    """The same, at most."""
    staying: int
    """Crossbars that hold its tiles for good."""
    writes: int
    """Crossbars that are written with its tiles for a batch."""
    start_us: float
    """When the layer before it is finished, us from the start of a batch."""
    finish_us: float
    """When the layer is finished, us."""
    waiting_us: float
    """Time between them in which all its tiles wait to be written, us."""

    @property
    def time_us(self) -> float:
        """From start to finish, us."""
        return self.finish_us - self.start_us

    @classmethod
    def of(cls, mapping: LayerMapping, use: LayerUse) -> ReloadedLayer:
        """Return the row of one layer."""
        return cls(
            name=use.name,
            weight_bits=mapping.bits.weight_bits,
            act_bits=mapping.bits.act_bits,
            mapping=describe_mapping(mapping),
            tiles=use.tiles,
            least_copies=use.copies[0],
            most_copies=use.copies[1],
            staying=use.staying,
            writes=use.writes,
            start_us=to_microseconds(use.start_ps),
            finish_us=to_microseconds(use.finish_ps),
            waiting_us=to_microseconds(use.waiting_ps),
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


class ReloadDocument(FrozenModel):
    """A network on a chip of fewer crossbars than it takes: tiles are rewritten, layers follow each other."""

    regime: Literal["time-multiplexed"] = "time-multiplexed"
    """Tiles are rewritten for every batch."""
    network: str
    """The network as it was asked for."""
    accelerator: Accelerator
    """The accelerator, overrides included."""
    mapping: MappingModel
    """`best`: exact mappings that the accelerator allows; `paper`: im2col as in arXiv 2601.21737."""
    batch: int = Field(ge=1)
    """Inputs that share the writes of weights, layer by layer."""
    crossbars: int
    """Crossbars of the chip."""
    cores: int
    """Cores of the chip."""
    minimal_crossbars: int
    """The fewest crossbars that would hold each layer once, so that nothing is rewritten."""
    tiles: int
    """Tiles of all layers in the mapping that was chosen."""
    staying_crossbars: int
    """Crossbars that hold tiles for good."""
    rewritten_crossbars: int
    """Crossbars in which all other tiles take turns."""
    batch_us: float
    """Time of a batch, us, from its start to its end, and so from batch to batch: one begins when the one before is
    finished, while its first tiles are written before. With a batch of 1 latency and interval of an input."""
    input_us: float
    """batch_us / batch."""
    bound_us: float
    """What no plan for these tiles beats, for a batch, us; proven."""
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
    layers: tuple[ReloadedLayer, ...]
    """MVM layers in execution order."""
    energy: EnergyDocument | None
    """Energy of one input, writes and leakage of the whole chip included; null where it was not asked for. What is
    carried between cores is not modelled, and not in it."""
    area: AreaFigures | None
    """Area of the chip; null where the accelerator tells none, or energy was not asked for."""
    lifetime_inputs: int | None = Field(default=None, ge=0)
    """Inputs until the cells of the crossbar that is written most often may fail; null where nothing is written, or the
    accelerator tells no endurance."""
    levelled_lifetime_inputs: int | None = Field(default=None, ge=0)
    """The same where crossbars trade places now and then, so that all are written alike."""

    @property
    def waiting_share(self) -> float:
        """Share of the time in which all wait for writes, 0..1."""
        return self.waiting_us / self.batch_us if self.batch_us else 0.0

    @classmethod
    def of(
        cls, network: str, schedule: ReloadSchedule, *, minimal_crossbars: int, with_energy: bool = False
    ) -> ReloadDocument:
        """Make the document.

        Args:
            network: as it was asked for.
            schedule: what to tell.
            minimal_crossbars: the fewest that would hold each layer once.
            with_energy: tell energy and area too.
        """
        hardware, inputs = schedule.accelerator, schedule.timing.inputs
        uses = list_layer_uses(schedule)
        spent = price_reload(schedule) if with_energy else None
        return cls(
            network=network,
            accelerator=hardware,
            mapping=schedule.model,
            batch=schedule.batch,
            crossbars=schedule.crossbars,
            cores=hardware.chip.cores,
            minimal_crossbars=minimal_crossbars,
            tiles=schedule.work.tiles,
            staying_crossbars=sum(schedule.plan.staying),
            rewritten_crossbars=schedule.plan.rotating,
            batch_us=to_microseconds(schedule.interval_ps),
            input_us=to_microseconds(schedule.interval_ps) / schedule.batch,
            bound_us=to_microseconds(schedule.bound_ps),
            is_optimal=schedule.is_optimal,
            waiting_us=to_microseconds(schedule.waiting_ps) / inputs,
            writes=schedule.writes,
            cell_writes_per_input=schedule.cell_writes_per_input,
            crossbar_time=CrossbarShares.of(count_use(schedule)),
            layers=tuple(ReloadedLayer.of(*pair) for pair in zip(schedule.mappings, uses, strict=True)),
            energy=None if spent is None else tell_energy(spent, untold=spent.energy.unspecified),
            area=AreaFigures.of(area_chip(hardware)) if with_energy and hardware.area.is_specified else None,
            lifetime_inputs=schedule.lifetime_inputs,
            levelled_lifetime_inputs=schedule.levelled_lifetime_inputs,
        )
