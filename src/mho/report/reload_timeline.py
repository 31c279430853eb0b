"""The timeline of a schedule with reloads as one HTML page: crossbars as rows, colours by layer, writes and reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mho.cache_folder import write_atomically
from mho.errors import file_errors
from mho.formats import format_percent, format_time
from mho.report.page_template import render_template
from mho.report.palette import hues
from mho.report.reload_document import ReloadDocument
from mho.report.reload_stretches import CrossbarRow, TileStretch, list_rows, measure_rows
from mho.report.reload_text import LEAST_SHARE, tell_lifetime
from mho.report.timeline import (
    BINS,
    MOST_HUES,
    STRETCHES,
    WRITE_COLOUR,
    TimelineView,
    dump_data,
)
from mho.scheduling.reload_schedule import ReloadSchedule

_TOGETHER = 32
"""Crossbars that are one row of the page until it is opened, where the chip has no cores."""
_SHARES = {
    "reading": ("found", "read"),
    "digital": ("acts", "busy with digital work"),
    "writing": ("muted", "written"),
    "ready": ("tried", "waiting for their layer"),
    "free": ("grid", "waiting for what is written next, or unused"),
}
"""What the time of crossbars goes to: colour and words."""


def view_reload(schedule: ReloadSchedule) -> TimelineView:
    """Return the timeline of a schedule: one period of the steady state."""
    rows = list_rows(schedule, STRETCHES)
    rows_are = "core" if _has_cores(schedule) else "group of neighbours"
    note = (
        f"A row for each {rows_are}, with its crossbars below each other; click on its name to see each. Colours tell "
        "layers; paler stretches hold digital work too. Crossbars that hold equal tiles for good are one. What is "
        "written at the end is read by the next input: everything repeats."
    )
    names = schedule.work.layers
    if any(one.is_joined for row in rows for one in row.stretches):
        note += " Where a crossbar takes several tiles of one layer, their writes and reads are drawn as one stretch."
    colours = _hues(schedule)
    legend = [(WRITE_COLOUR, "written")]
    if len(names) <= MOST_HUES:
        legend += zip(colours, names, strict=True)
    return TimelineView(note, tuple(legend), dump_data(build_reload_data(schedule, rows)))


def build_reload_data(schedule: ReloadSchedule, rows: Sequence[CrossbarRow]) -> dict[str, Any]:
    """Return what the script of the page draws; see `mho.report.timeline.build_data`. Colours stand for layers."""
    total = schedule.timing.period_ps
    times = (time for row in rows for one in row.stretches for time in (one.start_ps, one.finish_ps))
    unit = math.gcd(total, *times) or 1
    curves = {}
    for name, is_write in (("activity", False), ("written", True)):
        levels = measure_rows(rows, total, BINS, is_write=is_write).tolist() if total else []
        curves[name] = [round(level / schedule.crossbars, 4) for level in levels]
    return {
        "unit_ps": unit,
        "total": max(1, total // unit),
        "unit": "tile",
        "crossbars": schedule.crossbars,
        "hues": _hues(schedule),
        **curves,
        "labels": list(schedule.work.layers),
        "layers": [_draw_group(schedule, name, own, unit) for name, own in _group_rows(schedule, rows).items()],
    }


def write_reload_timeline(document: ReloadDocument, schedule: ReloadSchedule, path: Path) -> None:
    """Write the page of a schedule. Raises `InputFileError`."""
    with file_errors(path, "cannot be written"):
        write_atomically(path, render_reload_timeline(document, schedule).encode())


def render_reload_timeline(document: ReloadDocument, schedule: ReloadSchedule) -> str:
    """Return the page.

    Args:
        document: what is told about the schedule.
        schedule: with spans.
    """
    shares = document.crossbar_time.model_dump()
    told = [(*_SHARES[name], share) for name, share in shares.items() if share >= LEAST_SHARE]
    return render_template(
        "reload.html.j2",
        document=document,
        sentence=_tell_schedule(document),
        lifetime=tell_lifetime(document),
        shares=told,
        timeline=view_reload(schedule),
    )


def _hues(schedule: ReloadSchedule) -> tuple[str, ...]:
    return hues(min(len(schedule.work.layers), MOST_HUES))


def _has_cores(schedule: ReloadSchedule) -> bool:
    """Tell whether the crossbars of a chip lie in several cores of several crossbars each."""
    chip = schedule.accelerator.chip
    return chip.cores > 1 and chip.crossbars_per_core > 1


def _group_rows(schedule: ReloadSchedule, rows: Sequence[CrossbarRow]) -> dict[str, list[CrossbarRow]]:
    """Return the rows of each core, or of some neighbouring crossbars; those that stay stand last, by themselves."""
    chip = schedule.accelerator.chip
    groups: dict[str, list[CrossbarRow]] = {}
    for row in rows:
        if row.first >= schedule.plan.rotating:
            name = "tiles that stay"
        elif _has_cores(schedule):
            name = f"core {row.first // chip.crossbars_per_core}"
        else:
            first = row.first // _TOGETHER * _TOGETHER
            name = f"crossbars {first}\u2013{min(first + _TOGETHER, schedule.plan.rotating) - 1}"
        groups.setdefault(name, []).append(row)
    return groups


def _draw_group(schedule: ReloadSchedule, name: str, rows: Sequence[CrossbarRow], unit: int) -> dict[str, Any]:
    crossbars = sum(row.crossbars for row in rows)
    kind = "hold the same tiles for every input" if rows[0].first >= schedule.plan.rotating else "are rewritten"
    return {
        "name": name,
        "words": f"{crossbars:,} crossbar{'s' if crossbars > 1 else ''} that {kind}",
        "count": crossbars,
        "crossbars": 0,
        "copies": [
            {"first": row.first, "words": row.words, "work": [x for one in row.stretches for x in _draw(one, unit)]}
            for row in rows
        ],
    }


def _draw(one: TileStretch, unit: int) -> tuple[int, ...]:
    tiles = 0 if one.is_write else one.tiles
    return one.start_ps // unit, (one.finish_ps - one.start_ps) // unit, one.layer, tiles, round(1000 * one.busy)


def _tell_schedule(document: ReloadDocument) -> str:
    """Tell the schedule in one sentence."""
    inputs = "one input" if document.batch == 1 else f"a batch of {document.batch:,} inputs"
    crossbars = f"{document.crossbars:,} crossbar{'s' if document.crossbars > 1 else ''}"
    answer = (
        f"{document.network} answers {inputs} in {format_time(document.batch_us, page=True)} on {crossbars} of "
        f"{document.accelerator.name}"
    )
    if not document.writes:
        return f"{answer}, in which all tiles stay."
    waiting = format_percent(document.waiting_share, 1)
    return (
        f"{answer}, into which {document.writes:,} writes load its {document.tiles:,} tiles: {waiting} of the time all "
        "wait for writes."
    )
