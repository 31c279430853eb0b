"""A page with a timeline to zoom into: layers as rows, their copies below each other, colours by input.

One HTML file that needs nothing else and asks the network for nothing.
"""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

from mho.cache_folder import write_atomically
from mho.errors import InputFileError
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

_TEMPLATES = ("timeline.html.j2", "timeline.css", "timeline.js", "style.css")
_BUSY = "busy"
_CAUSES: dict[str, str] = {
    _BUSY: "reading",
    Cause.INPUT: "waiting for earlier layers",
    Cause.INTERCONNECT: "for what is under way",
    Cause.BUFFER: "for room in buffers",
    Cause.WRITE: "being written",
    Cause.DONE: "no work left",
}


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
        "latency": _format_time,
        "percent": text.format_percent,
        "count": text.format_count,
        "lost_words": _tell_lost,
    }
    stretches = merge_spans(timing.spans, _STRETCHES)
    seen = {cause for layer in document.layers for cause, share in (layer.lost or {}).items() if share}
    return environment.get_template("timeline.html.j2").render(
        document=document,
        sentence=_tell_schedule(document),
        hues=_hues(document.batch) if document.batch > 1 else (),
        causes=[(name, words) for name, words in _CAUSES.items() if name == _BUSY or name in seen],
        is_merged=len(stretches) < len(timing.spans),
        longest_pause_us=_find_longest_pause(stretches),
        data=json.dumps(build_data(document, schedule, timing, stretches), separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
    )


def build_data(
    document: ScheduleDocument, schedule: ChipSchedule, timing: ChipTiming, stretches: tuple[Stretch, ...]
) -> dict[str, Any]:
    """Return what the script of the page draws.

    Times are whole multiples of `unit_ps`. The work of a copy is a flat list, five numbers a stretch: start, duration,
    input, windows, thousandths of the time in which it reads.
    """
    unit = math.gcd(*(time for one in stretches for time in (one.start_ps, one.finish_ps)), timing.total_ps) or 1
    crossbars = {layer.name: layer.crossbars for layer in schedule.graph.layers}
    activity = measure_activity(timing.spans, crossbars, timing.total_ps, _BINS) / max(1, document.used_crossbars)
    work: dict[tuple[str, int], list[int]] = {}
    for one in stretches:
        duration = (one.finish_ps - one.start_ps) // unit
        entry = (one.start_ps // unit, duration, one.index, one.windows, round(1000 * one.busy))
        work.setdefault((one.layer, one.copy), []).extend(entry)
    return {
        "unit_ps": unit,
        "total": timing.total_ps // unit,
        "batch": document.batch,
        "crossbars": document.used_crossbars,
        "hues": _hues(document.batch),
        "activity": [round(share, 4) for share in activity.tolist()],
        "layers": [
            {
                "name": layer.name,
                "words": f"{layer.weight_bits}/{layer.act_bits} bits, {layer.mapping}",
                "crossbars": layer.crossbars,
                "copies": [
                    {
                        "first": place.crossbars[0] if place.crossbars else None,
                        "work": work.get((layer.name, place.number), []),
                    }
                    for place in schedule.plan.places[layer.name]
                ],
            }
            for layer in document.layers
        ],
    }


def _hues(batch: int) -> tuple[str, ...]:
    return hues(min(batch, _MOST_HUES))


def _find_longest_pause(stretches: tuple[Stretch, ...]) -> float:
    """Return the most time that a stretch spends on pauses, us."""
    return max((one.finish_ps - one.start_ps - one.busy_ps for one in stretches), default=0) / 1e6


def _tell_schedule(document: ScheduleDocument) -> str:
    """Tell the schedule in one sentence."""
    copies = sum(layer.copies for layer in document.layers)
    latency = document.told_latency_us
    gain = document.minimal_us / latency if latency else 1.0
    return (
        f"{document.network} answers one input in {_format_time(latency)} on {document.crossbars:,} "
        f"crossbars of {document.accelerator.name}, with {copies:,} copies of {len(document.layers)} layers that "
        f"overlap: {gain:.1f}{text.TIMES} as fast as layer by layer on the fewest crossbars."
    )


def _tell_lost(layer: ScheduledLayer) -> str:
    shares = [(_BUSY, layer.busy), *(layer.lost or {}).items()]
    return ", ".join(f"{_CAUSES[name]} {100 * share:.1f} %" for name, share in shares if share)


def _format_time(microseconds: float) -> str:
    """Return a time with its unit, down to nanoseconds."""
    if microseconds == 0:
        return "0"
    return text.format_latency(microseconds) if microseconds >= 1 else f"{microseconds * 1e3:.3g}\u202fns"
