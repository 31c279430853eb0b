"""The charts of a study's page, as Plotly's JSON: accuracy over each swept parameter, with bands.

Colours are names of the page's style variables, as in `mho.report.figures`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mho.formats import format_share
from mho.report.chart_parts import Figure, base_layout
from mho.report.palette import hues, mix
from mho.report.study_document import Design, StudyPoint, StudyResult, SweptParameter, Value
from mho.report.study_text import describe_band, format_value

MAX_LINES = 8
"""Lines of a chart; a parameter of a grid with more values is drawn as a map of colours."""
MAX_PANELS = 24
"""Charts of a grid; the others are in the table."""
_HEIGHT = 400
_BAND_OPACITY = 0.18
_ROWS_HEIGHT = 34


@dataclass(frozen=True)
class Panel:
    """A chart and what stands above it.

    Attributes:
        name: of its place on the page.
        title: what is swept.
        note: what else holds there, or nothing.
        figure: the chart.
    """

    name: str
    title: str
    note: str
    figure: Figure


def draw_study(result: StudyResult) -> tuple[Panel, ...]:
    """Return the charts of a study: one a sweep; for a grid, one for all values of two parameters at a time.

    In a grid the parameter with the most values lies along the axis, the one with the next most is shown by lines (by
    rows of a map, where they are more than eight); every combination of the others has a chart, 24 at most.
    """
    if result.design is Design.GRID:
        return tuple(_draw_grid(result))
    return tuple(
        Panel(f"sweep-{number}", one.key, "", _draw_lines(result, one, {"": result.points_of(one.key)}))
        for number, one in enumerate(result.sweeps)
    )


Chart = tuple[str, SweptParameter, Mapping[str, Sequence[StudyPoint]]]
"""Title, the parameter along the axis, and the points of each line by its name, which is empty where there is one."""


def list_charts(result: StudyResult) -> tuple[Chart, ...]:
    """Return what `draw_study` shows, with lines for every value of a grid's second parameter."""
    if result.design is not Design.GRID:
        return tuple((one.key, one, {"": result.points_of(one.key)}) for one in result.sweeps)
    across, lines, combinations = _split_grid(result)
    return tuple(
        (f"{across.key}, {_tell(fixed)}" if fixed else across.key, across, _split(points, lines))
        for fixed, points in combinations
    )


def count_panels(result: StudyResult) -> int:
    """Return how many charts show all points; `draw_study` may draw fewer of a grid."""
    sizes = sorted((len(one.values) for one in result.sweeps), reverse=True)
    return math.prod(sizes[2:]) if result.design is Design.GRID else len(sizes)


def _draw_grid(result: StudyResult) -> list[Panel]:
    across, lines, combinations = _split_grid(result)
    panels: list[Panel] = []
    for fixed, points in combinations:
        note = _tell(fixed)
        title = across.key if lines is None else f"{across.key} and {lines.key}"
        if lines is not None and len(lines.values) > MAX_LINES:
            figure = _draw_map(result, across, lines, points)
        else:
            figure = _draw_lines(result, across, _split(points, lines))
        panels.append(Panel(f"grid-{len(panels)}", title, note, figure))
    return panels


def _split_grid(
    result: StudyResult,
) -> tuple[SweptParameter, SweptParameter | None, list[tuple[Mapping[str, Value], list[StudyPoint]]]]:
    """Return the parameters along the axis and of the lines, and the points of each combination of the others."""
    # Sorted by size alone, which keeps the order of the study where sizes are equal.
    by_size = sorted(result.sweeps, key=lambda one: -len(one.values))
    across, lines, others = by_size[0], by_size[1] if len(by_size) > 1 else None, by_size[2:]
    combinations: list[tuple[Mapping[str, Value], list[StudyPoint]]] = []
    for values in itertools.islice(itertools.product(*(one.values for one in others)), MAX_PANELS):
        fixed = {one.key: value for one, value in zip(others, values, strict=True)}
        points = [point for point in result.points if all(point.values[key] == fixed[key] for key in fixed)]
        combinations.append((fixed, points))
    return across, lines, combinations


def _tell(fixed: Mapping[str, Value]) -> str:
    return ", ".join(f"{key} = {format_value(value)}" for key, value in fixed.items())


def _split(points: Sequence[StudyPoint], lines: SweptParameter | None) -> dict[str, Sequence[StudyPoint]]:
    if lines is None:
        return {"": points}
    return {
        f"{lines.key.partition('.')[2]} = {format_value(value)}": [
            point for point in points if point.values[lines.key] == value
        ]
        for value in lines.values
    }


def _draw_lines(result: StudyResult, across: SweptParameter, lines: Mapping[str, Sequence[StudyPoint]]) -> Figure:
    """Mean accuracies with bands, worst chips, and the accuracy of exact integers."""
    colours = ("var(--found)",) if len(lines) == 1 else tuple(mix(hue, "#9a9a9a", 0.15) for hue in hues(len(lines)))
    traces: list[dict[str, Any]] = []
    for (name, points), colour in zip(lines.items(), colours, strict=True):
        in_order = points if across.scale == "category" else sorted(points, key=lambda one: _number(one, across.key))
        traces += _draw_line(result, across, name, in_order, colour)
    alt = f"Mean accuracy over {across.key}, with bands and worst chips; exact integers as a dashed line."
    layout = base_layout(across.key, "accuracy, %", height=_HEIGHT, alt=alt)
    layout["xaxis"] |= _axis(across)
    layout["yaxis"] |= {"rangemode": "normal"}
    layout["shapes"] = [
        {
            "type": "line", "xref": "paper", "x0": 0, "x1": 1,
            "y0": _percent(result.exact_accuracy), "y1": _percent(result.exact_accuracy),
            "line": {"color": "var(--muted)", "width": 1.5, "dash": "dash"},
        }
    ]  # fmt: skip
    layout["annotations"] = [
        {
            "text": f"exact integers {format_share(result.exact_accuracy, 2)}", "x": 1, "xref": "paper",
            "xanchor": "right", "y": _percent(result.exact_accuracy), "yanchor": "bottom", "showarrow": False,
            "font": {"color": "var(--muted)"},
        }
    ]  # fmt: skip
    layout["showlegend"] = True
    return {"data": traces, "layout": layout}


def _draw_line(
    result: StudyResult, across: SweptParameter, name: str, points: Sequence[StudyPoint], colour: str
) -> list[dict[str, Any]]:
    places = [_place(point.values[across.key], across) for point in points]
    common = {"type": "scatter", **({"legendgroup": name} if name else {})}
    traces: list[dict[str, Any]] = []
    if len(result.seeds) > 1:
        ends = [*(point.high for point in points), *(point.low for point in reversed(points))]
        traces.append(
            {
                **common, "mode": "lines", "name": "band", "showlegend": not name,
                "x": [*places, *reversed(places)], "y": [_percent(end) for end in ends], "fill": "toself",
                "fillcolor": colour, "opacity": _BAND_OPACITY, "line": {"width": 0}, "hoverinfo": "skip",
            }
        )  # fmt: skip
        traces.append(
            {
                **common, "mode": "markers", "name": "worst chip", "showlegend": not name,
                "x": places, "y": [_percent(point.worst) for point in points],
                "marker": {"color": colour, "size": 6, "symbol": "triangle-down-open"},
                "hovertext": [f"worst chip, {point.worst_seed}: {format_share(point.worst, 2)}" for point in points],
                "hoverinfo": "text",
            }
        )  # fmt: skip
    traces.append(
        {
            **common, "mode": "lines+markers", "name": name or "mean", "x": places,
            "y": [_percent(point.mean) for point in points],
            "line": {"color": colour, "width": 2}, "marker": {"color": colour, "size": 7},
            "hovertext": [_describe(point, len(result.seeds)) for point in points], "hoverinfo": "text",
        }
    )  # fmt: skip
    return traces


def _draw_map(
    result: StudyResult, across: SweptParameter, down: SweptParameter, points: Sequence[StudyPoint]
) -> Figure:
    """Mean accuracies of all combinations of two parameters, as colours."""
    found = {(point.values[down.key], point.values[across.key]): point for point in points}
    rows = [[found[below, right] for right in across.values] for below in down.values]
    trace = {
        "type": "heatmap", "colorscale": "Viridis",
        "zmin": _percent(min(point.mean for point in result.points)),
        "zmax": _percent(max(result.exact_accuracy, *(point.mean for point in result.points))),
        "x": [format_value(value) for value in across.values], "y": [format_value(value) for value in down.values],
        "z": [[_percent(point.mean) for point in row] for row in rows],
        "hovertext": [[_describe(point, len(result.seeds)) for point in row] for row in rows],
        "hoverinfo": "text", "texttemplate": "%{z:.1f}", "colorbar": {"title": {"text": "mean accuracy, %"}},
    }  # fmt: skip
    height, alt = (
        max(_HEIGHT, 120 + _ROWS_HEIGHT * len(down.values)),
        f"Mean accuracy over {across.key} and {down.key}.",
    )
    layout = base_layout(across.key, down.key, height=height, alt=alt)
    layout["xaxis"] |= {"type": "category", "showgrid": False}
    layout["yaxis"] |= {"type": "category", "showgrid": False}
    return {"data": [trace], "layout": layout}


def _describe(point: StudyPoint, chips: int) -> str:
    values = ", ".join(f"{key} = {format_value(value)}" for key, value in point.values.items())
    text = f"<b>{values}</b><br>mean {format_share(point.mean, 2)} of {chips} chip{'s' if chips > 1 else ''}"
    if point.low is None:
        return text
    return f"{text}<br>band {describe_band(point)}<br>worst {format_share(point.worst, 2)} (seed {point.worst_seed})"


def _axis(across: SweptParameter) -> dict[str, Any]:
    if across.scale == "category":
        return {"type": "category", "categoryarray": [format_value(value) for value in across.values]}
    return {"type": "log", "exponentformat": "power"} if across.scale == "log" else {"type": "linear"}


def _place(value: Value, across: SweptParameter) -> Any:
    return format_value(value) if across.scale == "category" else value


def _number(point: StudyPoint, key: str) -> float:
    value = point.values[key]
    assert isinstance(value, int | float), "scales other than categories have numbers alone"
    return value


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 4)
