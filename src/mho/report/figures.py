"""The charts of the page, as Plotly's JSON: made from a `RunResult` alone.

Colours are names of the page's style variables (``var(--found)``), so that charts follow light and dark: `chart_svg`
draws them for pages, `mho.plot` hands them to Plotly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mho.formats import TIMES, format_cost, plural
from mho.report.chart_parts import (
    Figure,
    base_layout,
    cost_unit,
    latency_unit,
    limit_layout,
    show_layers,
    validation_title,
)
from mho.report.choice_text import describe_outcome
from mho.report.result import RunResult
from mho.report.result_search import EvaluationFigures, SearchFigures
from mho.report.search_charts import (
    choices_along_front,
    compared_searches,
    course_of_searches,
    front_over_time,
    worth_of_bits,
)

_MOST_WITH_BITS = 300
"""Of more policies than this, points do not say their bits: the table does."""
_HIDDEN_BELOW_POINTS = 12.0
"""Accuracy further below the target than this is left off the chart (and said so): it would flatten the rest."""
_HIDDEN_BELOW_DROPS = 12.0
"""The same of metrics without percent, in what may be lost."""


def build_figures(result: RunResult) -> dict[str, Figure]:
    """Return all charts by the name of their place on the page."""
    figures = {
        "accuracy": accuracy_against_cost(result.search),
        "bits": bits_by_layer(result),
        "latency": latency_by_layer(result),
        "progress": search_progress(result),
    }
    if len(result.search.evaluations) > 2:
        figures["front"] = front_over_time(result.search, lowest_shown(result.search))
    figures["choices"] = choices_along_front(result, lowest_shown(result.search))
    if any(own.less is not None for own in result.worths):
        figures["worths"] = worth_of_bits(result.worths, result.search.unit)
    if searches := compared_searches(result):
        figures["searches"] = course_of_searches(
            searches, result.task, has_budget=result.search.cost_budget is not None
        )
    if any(training.points for training in result.trainings):
        figures["training"] = training_curves(result)
    return figures


def accuracy_against_cost(search: SearchFigures) -> Figure:
    """Every policy tried: accuracy on validation data over cost, with the Pareto front."""
    factor, unit = cost_unit(max(entry.cost for entry in search.evaluations), search.unit)
    shown = [entry for entry in search.evaluations if _is_shown(search, entry)]
    tried = [entry for entry in shown if entry.index not in (search.best, 0)]
    front = sorted((entry for entry in shown if entry.on_front), key=lambda entry: entry.cost)
    traces = [
        _points(
            [entry for entry in tried if entry.seeds == 1],
            search, factor, "one measurement", {"color": "var(--tried)", "size": 8, "symbol": "circle-open"},
        ),
        _points(
            [entry for entry in tried if entry.seeds > 1],
            search, factor, "mean of several seeds", {"color": "var(--tried)", "size": 8},
        ),
        {
            "type": "scatter", "mode": "lines", "name": "Pareto front", "hoverinfo": "skip",
            "x": [entry.cost * factor for entry in front],
            "y": [search.task.chart_value(entry.accuracy) for entry in front],
            "line": {"color": "var(--found)", "width": 2, "shape": "hv"},
        },
        _points(_pick(shown, 0), search, factor, "uniform 8/8", _marker("var(--reference)", "diamond", 14)),
        _points(_pick(shown, search.best), search, factor, "found policy", _marker("var(--found)", "star", 18)),
    ]  # fmt: skip
    what = f"{search.task.title} over {search.objective_words}"
    alt = f"{what} of {plural(len(shown), 'policy', 'policies')}, with the Pareto front."
    layout = base_layout(f"{search.objective_words}, {unit}", validation_title(search), height=440, alt=alt)
    layout |= limit_layout(search, factor)
    layout["xaxis"]["rangemode"] = "tozero"
    return {"data": [trace for trace in traces if trace["x"]], "layout": layout}


def count_hidden(search: SearchFigures) -> int:
    """Return how many policies the chart of accuracy leaves off: failed ones and those far below the target."""
    return sum(not _is_shown(search, entry) for entry in search.evaluations)


def bits_by_layer(result: RunResult) -> Figure:
    """Weight and activation bits of each layer, under the found policy."""
    names = [layer.name for layer in result.layers]
    traces = [
        _bars(names, [layer.found.weight_bits for layer in result.layers], "weights", "var(--weights)", "bit"),
        _bars(names, [layer.found.act_bits for layer in result.layers], "activations", "var(--acts)", "bit"),
    ]
    own_bits = [layer.found.adc_bits for layer in result.layers]
    if any(bits is not None for bits in own_bits):
        traces.append(_bars(names, own_bits, "ADCs", "var(--reference)", "bit"))
    alt = f"Bits of weights and activations of {plural(len(names), 'layer')} under the found policy."
    layout = base_layout("", "bits", height=300, alt=alt)
    layout["yaxis"] |= {"range": [0, max(8, *(bits or 0 for bits in own_bits)) + 0.4], "dtick": 2}
    show_layers(layout, names)
    return {"data": traces, "layout": layout}


def latency_by_layer(result: RunResult) -> Figure:
    """Latency of each layer at uniform 8/8 and under the found policy."""
    names = [layer.name for layer in result.layers]
    series = {
        "uniform 8/8": ("var(--reference)", [layer.reference.latency_us for layer in result.layers]),
        "found policy": ("var(--found)", [layer.found.latency_us for layer in result.layers]),
    }
    return times_by_layer(names, series, "at uniform 8/8 and under the found policy")


def times_by_layer(names: list[str], series: Mapping[str, tuple[str, list[float]]], what: str) -> Figure:
    """Times of layers as bars: of each series, by its label, a colour and microseconds; `what` tells what they are."""
    factor, unit = latency_unit(max((time for _, times in series.values() for time in times), default=0.0))
    traces = [
        _bars(names, [time * factor for time in times], label, colour, unit)
        for label, (colour, times) in series.items()
    ]
    alt = f"Latency of {plural(len(names), 'layer')}, {what}."
    layout = base_layout("", f"latency, {unit}", height=340, alt=alt)
    show_layers(layout, names)
    return {"data": traces, "layout": layout}


def search_progress(result: RunResult) -> Figure:
    """Gain of each policy in the order tried, and of the best so far; where its cost was limited, its accuracy."""
    search = result.search
    has_budget = search.cost_budget is not None
    accepted = [entry for entry in search.evaluations if search.accepts(entry)]
    others = [entry for entry in search.evaluations if not search.accepts(entry)]

    def value(entry: EvaluationFigures) -> float | None:
        return search.task.chart_value(entry.accuracy) if has_budget else entry.gain

    def points(entries: list[EvaluationFigures], name: str, marker: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "scatter", "mode": "markers", "name": name, "marker": marker,
            "x": [entry.index + 1 for entry in entries], "y": [value(entry) for entry in entries],
            "hovertext": [_describe(entry, search) for entry in entries], "hoverinfo": "text",
        }  # fmt: skip

    names = ("costs too much", "cheap enough") if has_budget else ("loses too much", "accurate enough")
    traces = [
        points(others, names[0], {"color": "var(--tried)", "size": 7, "symbol": "circle-open"}),
        points(accepted, names[1], {"color": "var(--found)", "size": 8, "opacity": 0.7}),
        points(_pick(accepted, search.best), "found policy", _marker("var(--found)", "star", 18)),
    ]  # fmt: skip
    if result.searches:  # the run's own comes first
        course = result.searches[0].course
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": "best so far by all rules", "hoverinfo": "skip",
                "x": [point.evaluated for point in course],
                "y": [search.task.chart_value(point.accuracy) if has_budget else point.gain for point in course],
                "line": {"color": "var(--found)", "width": 2, "shape": "hv"},
            }
        )  # fmt: skip
    title = validation_title(search) if has_budget else "gain over uniform 8/8"
    alt = f"{title} of {plural(len(search.evaluations), 'policy', 'policies')} in the order tried."
    layout = base_layout("policies tried", title, height=360, alt=alt)
    layout["yaxis"] |= {} if has_budget else {"ticksuffix": TIMES}
    return {"data": traces, "layout": layout}


def training_curves(result: RunResult) -> Figure:
    """Training loss by epoch of the float training and of the quantization-aware trainings."""
    colours = {"float": "var(--float)", "reference": "var(--reference)", "found": "var(--found)"}
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "name": training.label,
            "x": [point.epoch for point in training.points], "y": [point.loss for point in training.points],
            "line": {"color": colours.get(training.name, "var(--tried)"), "width": 2},
            "marker": {"color": colours.get(training.name, "var(--tried)"), "size": 6},
            "hovertext": [f"{training.label}, epoch {point.epoch:g}: {point.loss:.4f}" for point in training.points],
            "hoverinfo": "text",
        }
        for training in result.trainings
        if training.points
    ]  # fmt: skip
    alt = "Training loss by epoch: " + ", ".join(str(trace["name"]) for trace in traces) + "."
    layout = base_layout("epoch", f"training loss ({result.task.loss.replace('-', ' ')})", height=320, alt=alt)
    layout["yaxis"] |= {"type": "log", "dtick": 1, "exponentformat": "power"}
    return {"data": traces, "layout": layout}


def lowest_shown(search: SearchFigures) -> float:
    """Return the accuracy below which policies are left off charts."""
    least = search.evaluations[search.best].accuracy if search.target_accuracy is None else search.target_accuracy
    if search.task.unit == "%":
        return (least or 0.0) - _HIDDEN_BELOW_POINTS / 100
    reference = search.evaluations[0].accuracy or 0.0
    return (least or 0.0) - _HIDDEN_BELOW_DROPS * max(abs(reference - (least or 0.0)), 1e-3 * abs(reference))


def _is_shown(search: SearchFigures, entry: EvaluationFigures) -> bool:
    if entry.accuracy is None:
        return False
    return entry.accuracy >= lowest_shown(search) or entry.index in (search.best, 0)


def _pick(entries: list[EvaluationFigures], index: int) -> list[EvaluationFigures]:
    return [entry for entry in entries if entry.index == index]


def _points(
    entries: list[EvaluationFigures], search: SearchFigures, factor: float, name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter", "mode": "markers", "name": name, "marker": marker,
        "x": [entry.cost * factor for entry in entries],
        "y": [search.task.chart_value(entry.accuracy) for entry in entries],
        "hovertext": [_describe(entry, search) for entry in entries], "hoverinfo": "text",
    }  # fmt: skip
    if any(entry.high is not None for entry in entries):
        scale = search.task.scale
        up = [scale * ((entry.high or 0.0) - (entry.accuracy or 0.0)) if entry.high else 0.0 for entry in entries]
        down = [scale * ((entry.accuracy or 0.0) - (entry.low or 0.0)) if entry.high else 0.0 for entry in entries]
        if search.task.better == "less":
            up, down = down, up
        trace["error_y"] = {
            "type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": marker["color"], "width": 4
        }  # fmt: skip
    return trace


def _describe(entry: EvaluationFigures, search: SearchFigures) -> str:
    words = entry.bits if len(search.evaluations) <= _MOST_WITH_BITS else ()
    rows = [" ".join(words[start : start + 11]) for start in range(0, min(len(words), 33), 11)]
    accuracy = (
        ("failed" if entry.score is None else "not promoted")
        if entry.accuracy is None
        else search.task.judged_by.format(entry.accuracy, page=True)
    )
    seeds = "one measurement" if entry.seeds == 1 else f"mean of {entry.seeds} seeds"
    outcome = "" if entry.verdict is None else f"; {describe_outcome(entry)}"
    more = "<br>…" if len(words) > 33 else ""
    return (
        f"<b>policy {entry.index + 1}</b>: {format_cost(entry.cost, search.unit)}, {entry.gain:.2f}{TIMES}, {accuracy}"
        f"<br>{seeds}{outcome}<br>"
        f"{'<br>'.join(rows)}{more}"
    )


def _bars(names: list[str], values: list[Any], label: str, colour: str, unit: str) -> dict[str, Any]:
    return {
        "type": "bar", "name": label, "x": names, "y": values, "marker": {"color": colour},
        "hovertext": [
            f"{name}, {label}: {value:.4g} {unit}" if value else None
            for name, value in zip(names, values, strict=True)
        ],
        "hoverinfo": "text",
    }  # fmt: skip


def _marker(colour: str, symbol: str, size: int) -> dict[str, Any]:
    return {"color": colour, "symbol": symbol, "size": size, "line": {"color": "var(--card)", "width": 1.5}}
