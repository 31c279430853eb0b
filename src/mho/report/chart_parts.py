"""What the charts of pages share: their layout, axes, units, and the line of what a search accepted."""

from __future__ import annotations

from typing import Any

from mho.formats import format_cost
from mho.report.result_search import SearchFigures
from mho.report.result_task import TaskFigures

Figure = dict[str, Any]
SLANTED_FROM = 6
"""Names of more layers are slanted, or they would overlap."""
USUAL_LENGTH, SLANTED_CHARACTER_PX = 16, 4.6
"""Characters of a name that charts have room for below, and what each further one takes of their height."""


def base_layout(x_title: str, y_title: str, *, height: int, alt: str) -> dict[str, Any]:
    """Return the layout that all charts of pages share.

    Args:
        x_title, y_title: of the axes.
        height: in pixels.
        alt: what the chart shows, for who cannot see it.
    """
    axis = {"gridcolor": "var(--grid)", "zerolinecolor": "var(--grid)", "linecolor": "var(--grid)", "automargin": True}
    return {
        "height": height,
        "meta": {"alt": alt},
        "margin": {"l": 64, "r": 16, "t": 8, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "inherit", "size": 13, "color": "var(--text)"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        "hoverlabel": {"bgcolor": "var(--card)", "bordercolor": "var(--grid)", "font": {"color": "var(--text)"}},
        "bargap": 0.25,
        "bargroupgap": 0.06,
        "xaxis": {**axis, "title": {"text": x_title, "standoff": 10}},
        "yaxis": {**axis, "title": {"text": y_title, "standoff": 10}},
    }


def limit_layout(search: SearchFigures, factor: float) -> dict[str, Any]:
    """Return the part of a layout that draws what was accepted: an accuracy, or a cost times `factor`."""
    if search.cost_budget is not None:
        place = search.cost_budget * factor
        line = {
            "type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": place, "x1": place,
            "line": {"color": "var(--muted)", "width": 1, "dash": "dash"},
        }  # fmt: skip
        text = {
            "text": f"at most {format_cost(search.cost_budget, search.unit)}", "x": place, "xanchor": "left", "y": 0,
            "yref": "paper", "yanchor": "bottom", "showarrow": False, "font": {"color": "var(--muted)"},
        }  # fmt: skip
        return {"shapes": [line], "annotations": [text]}
    target = search.target_accuracy or 0.0
    return {"shapes": [_target_line(target, search.task)], "annotations": [_target_text(target, search.task)]}


def _target_line(target: float, task: TaskFigures) -> dict[str, Any]:
    place = task.chart_value(target)
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": place, "y1": place,
        "line": {"color": "var(--muted)", "width": 1, "dash": "dash"},
    }  # fmt: skip


def _target_text(target: float, task: TaskFigures) -> dict[str, Any]:
    return {
        "text": f"accepted from {task.judged_by.format(target, page=True)}", "x": 1, "xref": "paper",
        "xanchor": "right",
        "y": task.chart_value(target), "yanchor": "top", "showarrow": False, "font": {"color": "var(--muted)"},
    }  # fmt: skip


def show_layers(layout: dict[str, Any], names: list[str]) -> None:
    """Make the x axis of a layout one of layers, and the chart so much higher as their names take below it."""
    is_slanted = len(names) > SLANTED_FROM
    layout["xaxis"] |= {
        "type": "category", "tickangle": -45 if is_slanted else 0, "tickfont": {"size": 11}, "showgrid": False,
        "categoryorder": "array", "categoryarray": names,
    }  # fmt: skip
    if is_slanted:
        layout["height"] += round(max(0, max(map(len, names)) - USUAL_LENGTH) * SLANTED_CHARACTER_PX)


def cost_unit(largest: float, unit: str) -> tuple[float, str]:
    """Return a factor and the unit that costs have with it."""
    if unit == "ps":
        factor, name = latency_unit(largest * 1e-6)
        return factor * 1e-6, name
    if unit == "crossbars":
        return 1.0, unit
    if unit == "aJ ps":
        return 1e-18, "µJ µs"
    return (1e-9, "nJ") if largest < 1e12 else (1e-12, "µJ")


def latency_unit(largest_us: float) -> tuple[float, str]:
    """Return a factor and the unit that times in microseconds have with it."""
    if largest_us < 1e3:
        return 1.0, "µs"
    return (1e-3, "ms") if largest_us < 1e6 else (1e-6, "s")


def validation_title(search: SearchFigures) -> str:
    """Return what the axis of accuracies is called."""
    return search.task.with_unit(f"{search.task.words} on validation data")
