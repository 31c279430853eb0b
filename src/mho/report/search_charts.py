"""Charts of the search: its front over time, what layers get along the front, what bits are worth, other searches.

Like those of `mho.report.figures` they are Plotly's JSON, made from a `RunResult` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from mho.formats import TIMES, format_cost, plural
from mho.pareto import pareto_front
from mho.report.chart_parts import Figure, base_layout, cost_unit, limit_layout, show_layers, validation_title
from mho.report.result import RunResult
from mho.report.result_search import EvaluationFigures, OperandWorth, SearchFigures, SearchSummary
from mho.report.result_task import TaskFigures

STAGES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the evaluations after which the front is drawn."""
MOST_POLICIES, MOST_CELLS = 24, 1200
"""Of the front, how many policies are drawn layer by layer, and how many layers of policies."""
LEAST_LOSS = 1e-6
"""Losses are drawn on a logarithmic axis from here on."""
_COLOURS = {"weight": "var(--weights)", "activation": "var(--acts)", "ADC": "var(--reference)"}
_LABELS = {"weight": "weights", "activation": "activations", "ADC": "ADCs"}
_LINES = tuple(f"var(--{name})" for name in ("found", "weights", "acts", "float", "reference", "bad", "tried"))


def front_over_time(search: SearchFigures, lowest: float) -> Figure:
    """The Pareto front after more and more evaluations; accuracies below `lowest` are left off."""
    factor, unit = cost_unit(max(entry.cost for entry in search.evaluations), search.unit)
    counts = sorted({max(2, round(share * len(search.evaluations))) for share in STAGES})
    traces = []
    for number, count in enumerate(counts, start=1):
        front = [entry for entry in find_front(search.evaluations[:count]) if (entry.accuracy or 0.0) >= lowest]
        is_last = number == len(counts)
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": f"after {count}",
                "x": [entry.cost * factor for entry in front],
                "y": [search.task.chart_value(entry.accuracy) for entry in front],
                "line": {"color": "var(--found)", "width": 2.5 if is_last else 1.5, "shape": "hv",
                         "dash": "solid" if is_last else ("dot", "dash", "dashdot")[(number - 1) % 3]},
                "marker": {"color": "var(--found)", "size": 7 if is_last else 4},
                "opacity": 1.0 if is_last else 0.35 + 0.45 * number / len(counts),
                "hovertext": [f"after {count} policies<br>{_tell(entry, search)}" for entry in front],
                "hoverinfo": "text",
            }
        )  # fmt: skip
    what = f"{search.task.title} over {search.objective_words}"
    alt = f"{what}: the Pareto front after {', '.join(map(str, counts))} policies."
    layout = base_layout(f"{search.objective_words}, {unit}", validation_title(search), height=360, alt=alt)
    layout |= limit_layout(search, factor)
    return {"data": traces, "layout": layout}


def _tell(entry: EvaluationFigures, search: SearchFigures) -> str:
    """Tell a policy's number, cost and accuracy."""
    cost = format_cost(entry.cost, search.unit)
    return f"policy {entry.index + 1}: {cost}, {search.task.judged_by.format(entry.accuracy, page=True)}"


def find_front(entries: Sequence[EvaluationFigures]) -> list[EvaluationFigures]:
    """Return the policies whose accuracy no cheaper one reaches, cheapest first."""
    known = [entry for entry in entries if entry.accuracy is not None]
    ranks = {cost: rank for rank, cost in enumerate(sorted({entry.cost for entry in known}))}
    places = pareto_front([ranks[entry.cost] for entry in known], [-(entry.accuracy or 0.0) for entry in known])
    return [known[place] for place in places]


def choices_along_front(result: RunResult, lowest: float) -> Figure:
    """What layers get under the policies of the front, cheapest first, and under the found one."""
    shown = _policies_to_show(result.search, lowest)
    names = [layer.name for layer in result.layers]
    labels = [_label(entry, result.search) for entry in shown]
    places = list(range(len(shown)))
    operands = [("weights", "weight_bits", "var(--weights)"), ("activations", "act_bits", "var(--acts)")]
    alt = f"Bits of weights and activations of {plural(len(names), 'layer')} under policies of the front."
    layout = base_layout("", "", height=110 + 19 * len(names), alt=alt)
    traces, annotations = [], []
    for number, (title, key, colour) in enumerate(operands):
        axis = "" if number == 0 else "2"
        bits = [[getattr(entry, key)[layer] for entry in shown] for layer in range(len(names))]
        traces.append(
            {
                "type": "heatmap", "x": places, "y": names, "z": bits, "zmin": 0, "zmax": 8, "showscale": False,
                "xaxis": f"x{axis}", "yaxis": "y", "xgap": 1, "ygap": 1, "texttemplate": "%{z}",
                "colorscale": [[0.0, "var(--card)"], [1.0, colour]],
                "hovertext": [
                    [
                        f"{name}: {width} bit {title}<br>{label.replace('<br>', ', ')}"
                        for width, label in zip(row, labels, strict=True)
                    ]
                    for name, row in zip(names, bits, strict=True)
                ],
                "hoverinfo": "text",
            }
        )  # fmt: skip
        ends = (0.0, 0.49) if number == 0 else (0.51, 1.0)
        layout[f"xaxis{axis}"] = {
            **layout["xaxis"], "domain": ends, "anchor": "y", "tickmode": "array", "tickvals": places,
            "ticktext": labels, "tickfont": {"size": 10}, "tickangle": 0 if len(shown) <= 10 else -90,
            "showgrid": False, "title": {"text": ""},
        }  # fmt: skip
        annotations.append(
            {"text": f"bits of {title}", "x": sum(ends) / 2, "y": 1.0, "xref": "paper", "yref": "paper",
             "xanchor": "center", "yanchor": "bottom", "showarrow": False}
        )  # fmt: skip
    layout["yaxis"] |= {
        "type": "category", "autorange": "reversed", "showgrid": False, "tickfont": {"size": 11},
        "title": {"text": "layer", "standoff": 10},
    }  # fmt: skip
    layout |= {"annotations": annotations, "margin": {**layout["margin"], "t": 28}}
    return {"data": traces, "layout": layout}


def _policies_to_show(search: SearchFigures, lowest: float) -> list[EvaluationFigures]:
    """Return the policies of the front and the found one, cheapest first, thinned out where they are many."""
    found = search.evaluations[search.best]
    front = [entry for entry in search.evaluations if entry.on_front and (entry.accuracy or 0.0) >= lowest]
    front = sorted((entry for entry in front if entry.index != found.index), key=lambda entry: entry.cost)
    most = min(MOST_POLICIES, max(6, MOST_CELLS // len(found.weight_bits)))
    every = max(1, -(-len(front) // (most - 1)))
    return sorted([*front[::every], found], key=lambda entry: entry.cost)


def _label(entry: EvaluationFigures, search: SearchFigures) -> str:
    star = "\u2605 " if entry.index == search.best else ""
    metric = search.task.judged_by
    value = f"{100 * (entry.accuracy or 0.0):.1f} %" if metric.unit == "%" else metric.format(entry.accuracy)
    accuracy = "" if entry.accuracy is None else f"<br>{value}"
    return f"{star}{entry.gain:.2f}{TIMES}{accuracy}"


def worth_of_bits(worths: Sequence[OperandWorth], unit: str) -> Figure:
    """What the found policy would lose with the next fewer bits of each layer, and how sure that is."""
    traces = []
    names = list(dict.fromkeys(own.layer for own in worths))
    for operand, colour in _COLOURS.items():
        mine = [(own.layer, own.bits, own.less) for own in worths if own.operand == operand and own.less is not None]
        if not mine:
            continue
        likely = [max(step.loss, LEAST_LOSS) for _, _, step in mine]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": _LABELS[operand],
                "x": [layer for layer, _, _ in mine], "y": likely, "marker": {"color": colour, "size": 9},
                "error_y": {
                    "type": "data", "symmetric": False, "thickness": 1.2, "width": 3, "color": colour,
                    "array": [max(step.high - y, 0.0) for (_, _, step), y in zip(mine, likely, strict=True)],
                    "arrayminus": [
                        max(y - max(step.low, LEAST_LOSS), 0.0) for (_, _, step), y in zip(mine, likely, strict=True)
                    ],
                },
                "hovertext": [
                    f"{layer}, {_LABELS[operand]}: {_describe_step(bits, step.bits, step.cost, unit)}, "
                    f"loss {step.loss:+.2g} ({step.low:+.2g} to {step.high:+.2g})"
                    for layer, bits, step in mine
                ],
                "hoverinfo": "text",
            }
        )  # fmt: skip
    alt = "Loss that one bit less of each layer would add, with intervals."
    layout = base_layout("", "loss by one bit less", height=340, alt=alt)
    show_layers(layout, names)
    layout["yaxis"] |= {"type": "log", "exponentformat": "power", "dtick": 1}
    layout["scattermode"] = "group"
    return {"data": traces, "layout": layout}


def _describe_step(now: int, bits: int, cost: float, unit: str) -> str:
    if cost == 0:
        return f"{now} to {bits} bit costs the same"
    return f"{now} to {bits} bit {'saves' if cost < 0 else 'costs'} {format_cost(abs(cost), unit)}"


def course_of_searches(searches: Sequence[SearchSummary], task: TaskFigures, *, has_budget: bool) -> Figure:
    """What each search had after more and more evaluations: gain, or accuracy where costs were limited."""
    traces = []
    for number, one in enumerate(searches):
        values = [point.accuracy if has_budget else point.gain for point in one.course]
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": describe_search(one, searches),
                "x": [point.evaluated for point in one.course],
                "y": [task.chart_value(value) for value in values] if has_budget else values,
                "line": {"color": _LINES[number % len(_LINES)], "width": 3 if number == 0 else 2, "shape": "hv",
                         "dash": "solid" if number < len(_LINES) else "dash"},
                "hovertext": [
                    f"{one.method}, {point.evaluated} policies: {task.judged_by.format(point.accuracy, page=True)}, "
                    f"{point.gain:.2f}{TIMES}"
                    for point in one.course
                ],
                "hoverinfo": "text",
            }
        )  # fmt: skip
    title = task.with_unit(f"{task.words} of the best so far") if has_budget else "gain of the best so far"
    alt = f"{title}, over policies tried: {', '.join(str(trace['name']) for trace in traces)}."
    layout = base_layout("policies tried", title, height=340, alt=alt)
    layout["yaxis"] |= {} if has_budget else {"ticksuffix": TIMES}
    return {"data": traces, "layout": layout}


def describe_search(one: SearchSummary, searches: Sequence[SearchSummary]) -> str:
    """Name a search: by its method, and by its number of policies where several have the same method."""
    is_alone = [other.method for other in searches].count(one.method) == 1
    return one.method if is_alone else f"{one.method}, {one.evaluated} policies"


def compared_searches(result: RunResult) -> tuple[SearchSummary, ...]:
    """Return the searches that looked for the same as the run's, it first; nothing where it is the only one."""
    if not result.searches:
        return ()
    own = result.searches[0]
    alike = tuple(one for one in result.searches if (one.objective, one.goal) == (own.objective, own.goal))
    return alike if len(alike) > 1 else ()
