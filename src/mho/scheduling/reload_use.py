"""What the time of crossbars and layers goes to where tiles are rewritten: counted from the spans of a schedule."""

from __future__ import annotations

from dataclasses import dataclass

from mho.scheduling.reload_cycle import ReloadCycle
from mho.scheduling.reload_timing import measure_gaps


@dataclass(frozen=True)
class CrossbarUse:
    """The time of all crossbars of a chip in one period, added up, ps: the five add up to all of it.

    Attributes:
        reading_ps: their tiles are read.
        digital_ps: the digital work on what was read is not done, so that they cannot be written yet.
        writing_ps: they are written.
        ready_ps: they hold a tile whose layer has not begun: one that stays, or that was written ahead.
        free_ps: they hold nothing of use: what comes next is not there yet (the link to the outside is busy, or an
            operand is still to be made), or nothing comes.
    """

    reading_ps: int
    digital_ps: int
    writing_ps: int
    ready_ps: int
    free_ps: int


@dataclass(frozen=True)
class LayerUse:
    """One layer where tiles are rewritten; counts and times are of one batch, the first of the period.

    Attributes:
        name: layer name.
        tiles: that it has; those of stored operands for each input.
        copies: crossbars that share the windows of one tile, at least and at most; 0 where it has no tile of its own.
        staying: crossbars that hold its tiles for good.
        writes: crossbars that are written with its tiles.
        start_ps, finish_ps: when the layer before is finished, and when it is itself.
        waiting_ps: time between them in which none of its tiles is read and no digital work is done.
    """

    name: str
    tiles: int
    copies: tuple[int, int]
    staying: int
    writes: int
    start_ps: int
    finish_ps: int
    waiting_ps: int


def count_use(schedule: ReloadCycle) -> CrossbarUse:
    """Return what the time of the crossbars goes to, in one period."""
    timing, rotating = schedule.timing, schedule.plan.rotating
    reading = digital = writing = ready = 0
    held: dict[tuple[int, int, int], int] = {}  # until when a tile that several layers read was held last
    staying_ps = sum(schedule.plan.staying) * timing.period_ps
    for span in sorted(timing.spans, key=lambda span: span.read[0]):
        key = span.number, span.crossbar, span.group
        reading += span.read[1] - span.read[0]
        digital += span.held_until - span.read[1]
        if span.crossbar >= rotating:
            staying_ps -= span.held_until - span.read[0]
        elif span.write is not None:
            writing += span.write[1] - span.write[0]
            ready += span.read[0] - span.write[1]
        else:
            ready += span.read[0] - held[key]
        held[key] = span.held_until
    total = schedule.crossbars * timing.period_ps
    ready += staying_ps
    return CrossbarUse(reading, digital, writing, ready, total - reading - digital - writing - ready)


def list_layer_uses(schedule: ReloadCycle) -> tuple[LayerUse, ...]:
    """Return what each layer does, in execution order."""
    work, plan, ends = schedule.work, schedule.plan, schedule.timing.layer_ends_ps[0]
    working: list[list[tuple[int, int]]] = [[] for _ in work.layers]
    for span in schedule.timing.spans:
        if span.number == 0:
            working[span.layer].append((span.read[0], span.held_until))
    uses = []
    for layer, name in enumerate(work.layers):
        own = [number for number, group in enumerate(work.groups) if group.layer == layer]
        copies, staying = [plan.copies[number] for number in own], sum(plan.staying[number] for number in own)
        begin, end = ends[layer - 1] if layer else 0, ends[layer]
        intervals = [*working[layer], (end - work.extra_ps[layer], end)]
        uses.append(
            LayerUse(
                name=name,
                tiles=sum(work.groups[number].tiles for number in own),
                copies=(min(copies, default=0), max(copies, default=0)),
                staying=staying,
                writes=sum(work.groups[number].tiles * plan.copies[number] for number in own) - staying,
                start_ps=begin,
                finish_ps=end,
                waiting_ps=measure_gaps(intervals, begin),
            )
        )
    return tuple(uses)
