"""The timeline of a schedule as one chart, for notebooks: a bar for each time in which crossbars work on a layer.

Pages have `mho.report.timeline` instead, which opens groups of crossbars and zooms without a library.
"""

from __future__ import annotations

from collections.abc import Iterator

from mho.formats import plural
from mho.report.chart_parts import Figure, base_layout, latency_unit
from mho.report.palette import hues
from mho.scheduling.gantt import Bar, GanttChart

MOST_BARS = 4_000
"""Bars that Plotly draws without delay."""
_ROW_PX, _FRAME_PX, _MOST_PX = 18, 130, 900


def draw_schedule(chart: GanttChart) -> Figure:
    """Return what the groups of crossbars do, one row a group, one colour a layer; writes are grey."""
    factor, unit = latency_unit(chart.total_ps / 1e6)
    colours = hues(max(1, len(chart.layers)))
    traces = []
    for number, name in enumerate([*chart.layers, "written"]):
        is_write = number == len(chart.layers)
        bars = [
            (group, bar)
            for group, bar in _list_bars(chart)
            if bar.is_write == is_write and number in (bar.layer, len(chart.layers))
        ]
        if not bars:
            continue
        traces.append(
            {
                "type": "bar", "orientation": "h", "name": name,
                "y": [group for group, _ in bars],
                "base": [bar.start_ps / 1e6 * factor for _, bar in bars],
                "x": [(bar.finish_ps - bar.start_ps) / 1e6 * factor for _, bar in bars],
                "marker": {"color": "var(--muted)" if is_write else colours[number], "line": {"width": 0}},
                "text": [f"{chart.layers[bar.layer]}, {chart.item} {bar.item}" for _, bar in bars],
                "textposition": "none",
                "hovertemplate": f"%{{y}}: %{{text}}<br>%{{x:.4~g}} {unit} from %{{base:.4~g}} {unit}<extra></extra>",
            }
        )  # fmt: skip
    height = min(_MOST_PX, _FRAME_PX + _ROW_PX * len(chart.groups))
    alt = f"When {plural(len(chart.groups), 'group')} of crossbars work, on {plural(len(chart.layers), 'layer')}."
    layout = base_layout(f"time, {unit}", "", height=height, alt=alt)
    layout |= {"barmode": "overlay", "bargap": 0.15}
    layout["yaxis"] |= {
        "type": "category", "autorange": "reversed", "showgrid": False,
        "categoryorder": "array", "categoryarray": [group.name for group in chart.groups],
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def _list_bars(chart: GanttChart) -> Iterator[tuple[str, Bar]]:
    for group in chart.groups:
        for row in group.rows:
            for bar in row.bars:
                yield group.name, bar
