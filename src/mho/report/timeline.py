"""A page with a timeline to zoom into: layers as rows, their copies below each other, colours by input.

One HTML file that needs nothing else and asks the network for nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from mho.cache_folder import write_atomically
from mho.errors import InputFileError
from mho.mapping.describe import describe_mapping
from mho.report import text
from mho.report.palette import hues
from mho.report.schedule_document import ScheduledLayer, ScheduleDocument
from mho.report.stretches import Stretch, measure_activity, merge_spans
from mho.scheduling.chip_schedule import ChipSchedule
from mho.simulation.chip_timing import Cause, ChipTiming

_STRETCHES = 30_000
"""Stretches of work that the page holds, more or less: about half a megabyte."""
_BINS = 600
"""Parts of the time for which the page tells how many crossbars work."""
_MOST_HUES = 12
"""Inputs with colours of their own; later ones take them up again."""

TIMELINE_PARTS = ("timeline_part.html.j2", "timeline.css", "timeline.js")
"""Templates that a page with a `TimelineView` includes: where it is to stand, its style, its script."""
_TEMPLATES = ("timeline.html.j2", *TIMELINE_PARTS, "style.css")
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
        hues: colour of each input; empty for a single one.
        is_merged: True where pauses are drawn over.
        longest_pause_us: the most time that one drawn stretch spends on pauses, us.
        data: what the script draws, as JSON that may stand inside a script element.
    """

    hues: tuple[str, ...]
    is_merged: bool
    longest_pause_us: float
    data: str

    @classmethod
    def of(cls, schedule: ChipSchedule, timing: ChipTiming) -> TimelineView:
        """Return the timeline of a simulation with spans."""
        stretches = merge_spans(timing.spans, _STRETCHES)
        pauses = (one.finish_ps - one.start_ps - one.busy_ps for one in stretches)
        content = json.dumps(build_data(schedule, timing, stretches), separators=(",", ":"))
        return cls(
            hues=_hues(schedule.batch) if schedule.batch > 1 else (),
            is_merged=len(stretches) < len(timing.spans),
            longest_pause_us=max(pauses, default=0) / 1e6,
            data=content.replace("<", "\\u003c"),
        )


def write_timeline(document: ScheduleDocument, schedule: ChipSchedule, timing: ChipTiming, path: Path) -> None:
    """Write the page of a simulation with spans. Raises `InputFileError`."""
    try:
        write_atomically(path, render_timeline(document, schedule, timing).encode())
    except OSError as error:
        raise InputFileError(error.strerror or "cannot be written", where=str(path)) from error


def render_timeline(document: ScheduleDocument, schedule: ChipSchedule, timing: ChipTiming) -> str:
    """Return the page.

    Args:
        document: what is told about the schedule, its simulation included.
        schedule: whose plan says which crossbars hold what.
        timing: the simulation, with spans.
    """
    import jinja2

    folder = files("mho.report") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({name: (folder / name).read_text(encoding="utf-8") for name in _TEMPLATES}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "latency": format_short_time,
        "percent": text.format_percent,
        "count": text.format_count,
        "lost_words": _tell_lost,
    }
    seen = {cause for layer in document.layers for cause, share in (layer.lost or {}).items() if share}
    return environment.get_template("timeline.html.j2").render(
        document=document,
        sentence=_tell_schedule(document),
        causes=[(name, words) for name, words in _CAUSES.items() if name == _BUSY or name in seen],
        timeline=TimelineView.of(schedule, timing),
    )


def build_data(schedule: ChipSchedule, timing: ChipTiming, stretches: Sequence[Stretch]) -> dict[str, Any]:
    """Return what the script of the page draws.

    Times are whole multiples of `unit_ps`. The work of a copy is a flat list, five numbers a stretch: start, duration,
    input, windows, thousandths of the time in which it reads.
    """
    unit = math.gcd(*(time for one in stretches for time in (one.start_ps, one.finish_ps)), timing.total_ps) or 1
    crossbars = {layer.name: layer.crossbars for layer in schedule.graph.layers}
    used = schedule.plan.used_crossbars
    activity = measure_activity(timing.spans, crossbars, timing.total_ps, _BINS) / max(1, used)
    work: dict[tuple[str, int], list[int]] = {}
    for one in stretches:
        duration = (one.finish_ps - one.start_ps) // unit
        entry = (one.start_ps // unit, duration, one.index, one.windows, round(1000 * one.busy))
        work.setdefault((one.layer, one.copy), []).extend(entry)
    return {
        "unit_ps": unit,
        "total": timing.total_ps // unit,
        "batch": schedule.batch,
        "crossbars": used,
        "hues": _hues(schedule.batch),
        "activity": [round(share, 4) for share in activity.tolist()],
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
    return hues(min(batch, _MOST_HUES))


def _tell_schedule(document: ScheduleDocument) -> str:
    """Tell the schedule in one sentence."""
    copies = sum(layer.copies for layer in document.layers)
    latency = document.told_latency_us
    gain = document.minimal_us / latency if latency else 1.0
    return (
        f"{document.network} answers one input in {format_short_time(latency)} on {document.crossbars:,} "
        f"crossbars of {document.accelerator.name}, with {copies:,} copies of {len(document.layers)} layers that "
        f"overlap: {gain:.1f}{text.TIMES} as fast as layer by layer on the fewest crossbars."
    )


def _tell_lost(layer: ScheduledLayer) -> str:
    shares = [(_BUSY, layer.busy), *(layer.lost or {}).items()]
    return ", ".join(f"{_CAUSES[name]} {100 * share:.1f} %" for name, share in shares if share)


def format_short_time(microseconds: float) -> str:
    """Return a time with its unit, down to nanoseconds."""
    if microseconds == 0:
        return "0"
    return text.format_latency(microseconds) if microseconds >= 1 else f"{microseconds * 1e3:.3g}\u202fns"
