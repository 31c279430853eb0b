"""A page with a timeline to zoom into: layers as rows, their copies below each other, colours by input.

One HTML file that needs nothing else and asks the network for nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mho.cache_folder import write_atomically
from mho.errors import file_errors
from mho.formats import TIMES, format_time
from mho.mapping.layer_mapping import describe_mapping
from mho.report.page_template import render_template
from mho.report.palette import hues
from mho.report.schedule_document import ScheduledLayer, ScheduleDocument
from mho.report.schedule_text import tell_limit
from mho.report.stretches import Stretch, measure_activity, merge_spans
from mho.scheduling.chip_schedule import ChipSchedule
from mho.simulation.chip_timing import Cause, ChipTiming

STRETCHES = 30_000
"""Stretches of work that the page holds, more or less: about half a megabyte."""
BINS = 600
"""Parts of the time for which the page tells how many crossbars work."""
MOST_HUES = 12
"""Inputs with colours of their own; later ones take them up again."""
WRITE_COLOUR = "var(--muted)"
"""What is written, as CSS has it."""

_BUSY = "busy"
_CAUSES: dict[str, str] = {
    _BUSY: "reading",
    Cause.INPUT: "waiting for earlier layers",
    Cause.INTERCONNECT: "for what is under way",
    Cause.BUFFER: "for room in buffers",
    Cause.WRITE: "being written",
    Cause.DONE: "no work left",
}


@dataclass(frozen=True)
class TimelineView:
    """A timeline that can stand in a page.

    Attributes:
        note: what rows and colours are.
        legend: colours, as CSS has them, and what they stand for.
        data: what the script draws, as JSON that may stand inside a script element.
    """

    note: str
    legend: tuple[tuple[str, str], ...]
    data: str

    @classmethod
    def of(cls, schedule: ChipSchedule, timing: ChipTiming) -> TimelineView:
        """Return the timeline of a simulation with spans."""
        stretches = merge_spans(timing.spans, STRETCHES)
        note = (
            "A row for each layer, with its copies below each other; colours tell inputs. Click on a layer's name to "
            "see each copy."
        )
        if len(stretches) < len(timing.spans):
            pause = max((one.finish_ps - one.start_ps - one.busy_ps for one in stretches), default=0)
            longest = format_time(pause / 1e6, page=True)
            note += f" Pauses up to {longest} are drawn over; paler stretches hold more of them."
        legend = [(hue, f"input {number}") for number, hue in enumerate(_hues(schedule.batch))]
        if schedule.batch == 1:
            legend = []
        if any(one.is_write for one in stretches):
            legend.append((WRITE_COLOUR, "a stored operand is written"))
        return cls(note, tuple(legend), dump_data(build_data(schedule, timing, stretches)))


def dump_data(data: Mapping[str, Any]) -> str:
    """Return what the script draws as JSON that may stand inside a script element."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def write_timeline(document: ScheduleDocument, schedule: ChipSchedule, timing: ChipTiming, path: Path) -> None:
    """Write the page of a simulation with spans. Raises `InputFileError`."""
    with file_errors(path, "cannot be written"):
        write_atomically(path, render_timeline(document, schedule, timing).encode())


def render_timeline(document: ScheduleDocument, schedule: ChipSchedule, timing: ChipTiming) -> str:
    """Return the page.

    Args:
        document: what is told about the schedule, its simulation included.
        schedule: whose plan says which crossbars hold what.
        timing: the simulation, with spans.
    """
    seen = {cause for layer in document.layers for cause, share in (layer.lost or {}).items() if share}
    return render_template(
        "timeline.html.j2",
        lost_words=_tell_lost,
        document=document,
        sentence=_tell_schedule(document),
        limit="with an ideal interconnect" if document.simulated is None else tell_limit(document.simulated),
        causes=[(name, words) for name, words in _CAUSES.items() if name == _BUSY or name in seen],
        timeline=TimelineView.of(schedule, timing),
    )


def build_data(schedule: ChipSchedule, timing: ChipTiming, stretches: Sequence[Stretch]) -> dict[str, Any]:
    """Return what the script of the page draws.

    Times are whole multiples of `unit_ps`. The work of a copy is a flat list, five numbers a stretch: start, duration,
    input, windows (0 for a write), thousandths of the time in which it reads.
    """
    unit = math.gcd(*(time for one in stretches for time in (one.start_ps, one.finish_ps)), timing.total_ps) or 1
    crossbars = {layer.name: layer.crossbars for layer in schedule.graph.layers}
    used = schedule.plan.used_crossbars
    activity = []
    for is_write in (False, True):
        spans = [span for span in timing.spans if span.is_write is is_write]
        levels = measure_activity(spans, crossbars, timing.total_ps, BINS) / max(1, used) if spans else np.zeros(0)
        activity.append([round(share, 4) for share in levels.tolist()])
    work: dict[tuple[str, int], list[int]] = {}
    for one in stretches:
        duration = (one.finish_ps - one.start_ps) // unit
        entry = (one.start_ps // unit, duration, one.index, one.windows, round(1000 * one.busy))
        work.setdefault((one.layer, one.copy), []).extend(entry)
    return {
        "unit_ps": unit,
        "total": timing.total_ps // unit,
        "unit": "window",
        "crossbars": used,
        "hues": _hues(schedule.batch),
        "activity": activity[0],
        "written": activity[1],
        "labels": [f"input {number}" for number in range(schedule.batch)] if schedule.batch > 1 else [],
        "layers": [
            {
                "name": layer.name,
                "words": f"{layer.mapping.bits} bits, {describe_mapping(layer.mapping)}",
                "crossbars": layer.crossbars,
                "copies": [
                    {
                        "first": place.crossbars[0] if place.crossbars else None,
                        "work": work.get((layer.name, place.number), []),
                    }
                    for place in schedule.plan.places[layer.name]
                ],
            }
            for layer in schedule.graph.layers
        ],
    }


def _hues(batch: int) -> tuple[str, ...]:
    return hues(min(batch, MOST_HUES))


def _tell_schedule(document: ScheduleDocument) -> str:
    """Tell the schedule in one sentence."""
    copies = sum(layer.copies for layer in document.layers)
    latency = document.latency_us
    gain = document.minimal_us / latency if latency else 1.0
    return (
        f"{document.network} answers one input in {format_time(latency, page=True)} on {document.crossbars:,} "
        f"crossbars of {document.accelerator.name}, with {copies:,} copies of {len(document.layers)} layers that "
        f"overlap: {gain:.1f}{TIMES} as fast as layer by layer on the fewest crossbars."
    )


def _tell_lost(layer: ScheduledLayer) -> str:
    shares = [(_BUSY, layer.busy), *(layer.lost or {}).items()]
    return ", ".join(f"{_CAUSES[name]} {100 * share:.1f} %" for name, share in shares if share)
