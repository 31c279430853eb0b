"""One MVM layer of a schedule, as a part of the document of `mho schedule`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from pydantic import Field

from mho.cost_model.document import to_microseconds
from mho.frozen_model import FrozenModel
from mho.mapping.layer_mapping import LayerMapping, describe_mapping
from mho.scheduling.asap import LayerTiming
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.reload_schedule import ReloadSchedule
from mho.scheduling.reload_use import LayerUse, list_layer_uses
from mho.scheduling.schedule import Schedule
from mho.simulation.chip_search import SimulatedSchedule
from mho.simulation.chip_timing import Cause, ChipTiming, LayerActivity


class ScheduledLayer(FrozenModel):
    """One MVM layer on the chip; times are simulated where there is a simulation, else those of the closed form.

    What is null has no meaning in the regime of the schedule.
    """

    name: str
    """Layer name."""
    weight_bits: int
    """Bits of a weight, or of the stored operand of a product."""
    act_bits: int
    """Bits of an input."""
    mapping: str
    """How one copy lies in tiles, in words."""
    tiles: int
    """Tiles of one copy, each in a crossbar. Where tiles are rewritten, stored operands have tiles for each input of
    the batch; 0 where an earlier layer's tile holds the layer, or it is digital."""
    least_copies: int
    """Crossbars that share the windows of one tile, at least."""
    copies: int
    """The same, at most: copies of the layer, which take its windows in turn."""
    staying: int
    """Crossbars that hold its tiles for good."""
    writes: int
    """Crossbars that are written with its tiles for a batch."""
    start_us: float
    """When its first window starts, us; where tiles are rewritten, when the layer before it is finished."""
    finish_us: float
    """When its last window of the last input is finished, us."""
    waiting_us: float | None = None
    """Time between them in which all its tiles wait to be written, us; null where weights stay."""
    first_crossbars: tuple[int, ...] | None = None
    """For each copy the number of its first crossbar; the others follow."""
    cores: int | None = None
    """Cores in which copies lie."""
    windows: int | None = None
    """Windows of one input: reads of all tiles of a copy with all input slices."""
    window_us: float | None = None
    """Time of one window, us."""
    write_us: float | None = None
    """Time to write a stored operand for one input, us; 0 for weights, which stay."""
    busy: float | None = Field(default=None, ge=0, le=1)
    """Share of the time of all its copies, until the last input is finished, in which they read windows."""
    lost: dict[Cause, float] | None = None
    """Share of that time in which copies stood still, by cause; null without a simulation."""

    @property
    def time_us(self) -> float:
        """From start to finish, us."""
        return self.finish_us - self.start_us

    @classmethod
    def of_copies(cls, schedule: ChipSchedule, name: str, timing: ChipTiming | None) -> ScheduledLayer:
        """Return the row of a layer whose copies stay, with a simulation if there is one."""
        work, places = schedule.graph[name], schedule.plan.places[name]
        activity = None if timing is None else next(layer for layer in timing.layers if layer.name == name)
        start, finish, busy = (
            _time_closed(schedule.ideal.layers[name]) if activity is None else _time_simulated(activity)
        )
        whole = len(places) * (schedule.total_ps if timing is None else timing.total_ps)
        is_stored = work.mapping.layer.is_stored_dynamically
        return cls(
            name=name,
            **_describe(work.mapping),
            tiles=work.crossbars,
            least_copies=len(places),
            copies=len(places),
            staying=0 if is_stored else work.crossbars * len(places),
            writes=work.crossbars * schedule.count_written_copies(name) * schedule.batch,
            start_us=to_microseconds(start),
            finish_us=to_microseconds(finish),
            first_crossbars=tuple(place.crossbars[0] for place in places if place.crossbars),
            cores=len({core for place in places for core in place.cores}),
            windows=work.windows,
            window_us=to_microseconds(work.busy_ps),
            write_us=to_microseconds(work.write_ps),
            busy=busy / whole if whole else 0,
            lost=None if activity is None else share_losses(activity.lost_ps, whole),
        )

    @classmethod
    def of_rewritten(cls, mapping: LayerMapping, use: LayerUse) -> ScheduledLayer:
        """Return the row of a layer whose tiles are rewritten; counts and times are of one batch."""
        return cls(
            name=use.name,
            **_describe(mapping),
            tiles=use.tiles,
            least_copies=use.copies[0],
            copies=use.copies[1],
            staying=use.staying,
            writes=use.writes,
            start_us=to_microseconds(use.start_ps),
            finish_us=to_microseconds(use.finish_ps),
            waiting_us=to_microseconds(use.waiting_ps),
        )


def list_layers(schedule: Schedule) -> tuple[ScheduledLayer, ...]:
    """Return the rows of all layers, in execution order."""
    if isinstance(schedule, ReloadSchedule):
        pairs = zip(schedule.mappings.values(), list_layer_uses(schedule), strict=True)
        return tuple(ScheduledLayer.of_rewritten(*pair) for pair in pairs)
    assert isinstance(schedule, ChipSchedule), "there are two kinds of schedules"
    timing = schedule.timing.batch if isinstance(schedule, SimulatedSchedule) else None
    return tuple(ScheduledLayer.of_copies(schedule, name, timing) for name in schedule.mappings)


class _Description(TypedDict):
    weight_bits: int
    act_bits: int
    mapping: str


def _describe(mapping: LayerMapping) -> _Description:
    bits = mapping.bits
    return {"weight_bits": bits.weight_bits, "act_bits": bits.act_bits, "mapping": describe_mapping(mapping)}


def _time_closed(layer: LayerTiming) -> tuple[int, int, int]:
    """Return start, finish and busy time of a layer of the closed form, ps."""
    finish = int(layer.starts.max()) + layer.window_ps
    return int(layer.starts.min()), finish, layer.starts.size * layer.window_ps


def _time_simulated(layer: LayerActivity) -> tuple[int, int, int]:
    return layer.start_ps, layer.finish_ps, layer.busy_ps


def share_losses(lost_ps: Mapping[Cause, int], whole: int) -> dict[Cause, float]:
    """Return the shares of a time in which crossbars stood still."""
    return {cause: time_ps / whole if whole else 0.0 for cause, time_ps in lost_ps.items()}
