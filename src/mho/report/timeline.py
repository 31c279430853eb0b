"""A timeline to zoom into, from the Gantt chart of a schedule; it can stand in any page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mho.formats import format_time
from mho.report.palette import hues
from mho.scheduling.gantt import Bar, GanttChart

BINS = 600
"""Parts of the time for which the page shows how many crossbars work."""
MOST_HUES = 12
"""Inputs, or layers, with colours of their own; later ones take them up again."""
WRITE_COLOUR = "var(--muted)"
"""Of what is written, as CSS has it."""


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
    def of(cls, chart: GanttChart) -> TimelineView:
        """Return the timeline of a chart."""
        note = "A row for each group of crossbars, with those that work alike below each other; click on its name to "
        note += "see each. Colours stand for "
        if chart.is_periodic:
            note += (
                "layers; paler bars hold digital work too. Crossbars that hold equal tiles for good are one row. What "
                "is written at the end is read by the next input: everything repeats."
            )
        else:
            note += "inputs."
        if chart.pause_ps:
            pause = format_time(chart.pause_ps / 1e6, page=True)
            note += f" Work is drawn as one bar over pauses up to {pause}; paler bars hold more of them."
        legend = [(WRITE_COLOUR, "written")] if any(bar.is_write for bar in chart.bars) else []
        labels = _list_labels(chart)
        if chart.is_periodic is False or len(labels) <= MOST_HUES:
            legend += zip(_list_hues(chart), labels, strict=False)
        data = json.dumps(build_data(chart), separators=(",", ":")).replace("<", "\\u003c")
        return cls(note, tuple(legend), data)


def build_data(chart: GanttChart) -> dict[str, Any]:
    """Return what the script of the page draws.

    Times are whole multiples of `unit_ps`. The work of a row is a flat list, five numbers a bar: start, duration,
    number of its colour and label, count (0 for a write), thousandths of the time in which crossbars are at work.
    """
    times = (time for bar in chart.bars for time in (bar.start_ps, bar.finish_ps))
    unit = math.gcd(chart.total_ps, *times) or 1

    def draw(bar: Bar) -> tuple[int, ...]:
        number, count = bar.layer if chart.is_periodic else bar.item, 0 if bar.is_write else bar.count
        return bar.start_ps // unit, (bar.finish_ps - bar.start_ps) // unit, number, count, round(1000 * bar.busy)

    levels: list[Iterable[float]] = [
        one.measure(chart.total_ps, BINS) / chart.crossbars if chart.total_ps and len(one.weights) else []
        for one in (chart.reading, chart.writing)
    ]
    reading, writing = ([round(float(share), 4) for share in one] for one in levels)
    return {
        "unit_ps": unit,
        "total": max(1, chart.total_ps // unit),
        "unit": chart.unit,
        "crossbars": chart.crossbars,
        "hues": _list_hues(chart),
        "activity": reading,
        "written": writing,
        "labels": _list_labels(chart),
        "groups": [
            {
                "name": group.name,
                "words": group.words,
                "count": group.count,
                "rows": [{"name": row.name, "work": [x for bar in row.bars for x in draw(bar)]} for row in group.rows],
            }
            for group in chart.groups
        ],
    }


def _list_labels(chart: GanttChart) -> list[str]:
    """Return what the numbers of bars stand for: layers, or inputs where there are several."""
    if chart.is_periodic:
        return list(chart.layers)
    return [f"{chart.item} {number}" for number in range(chart.items)] if chart.items > 1 else []


def _list_hues(chart: GanttChart) -> tuple[str, ...]:
    return hues(min(len(chart.layers) if chart.is_periodic else chart.items, MOST_HUES))
