"""Two runs compared, as text: what differs, figures and accuracies side by side, which is better."""

from __future__ import annotations

from mho.formats import TIMES, format_bytes, format_count, format_energy, format_time
from mho.report.columns import Column, print_columns
from mho.report.result_task import TaskFigures
from mho.report.run_comparison_document import (
    AccuracyInterval,
    ComparedAccuracy,
    ComparedMeasure,
    RunComparison,
    Side,
)
from mho.terminal import Console, Text

NAMES = {"first": "A", "second": "B"}
"""What pages and terminals call the runs."""
NONE = "-"
_LINE = 60
"""Characters of a line of text in a table."""


def describe_verdict(latency: ComparedMeasure, accuracy: ComparedAccuracy, better: Side | None) -> str:
    """Return which run is better, in words.

    Args:
        latency, accuracy: of both runs.
        better: which run is.
    """
    pace = _describe_pace(latency)
    if accuracy.difference is None:
        return f"{pace}; {accuracy.test}."
    difference = f"{format_difference(accuracy)}; {format_p(accuracy.p_value)}"
    if accuracy.better is None:
        truth = f"accuracies differ by no more than chance ({difference})"
    else:
        truth = f"{NAMES[accuracy.better]} is more accurate by more than chance ({difference})"
    if better is not None:
        return f"{NAMES[better]} is better: {pace}, and {truth}."
    lead = "Neither is better" if accuracy.better is None else "Each is better in one"
    return f"{lead}: {pace}, and {truth}."


def _describe_pace(latency: ComparedMeasure) -> str:
    if latency.better is None or latency.ratio is None:
        return "both are equally fast"
    times = 1 / latency.ratio if latency.better == "second" else latency.ratio
    return f"{NAMES[latency.better]} is {times:.2f}x as fast"


def format_measure(value: float | None, unit: str, *, page: bool = False) -> str:
    """Return a figure with its unit, for a terminal or a page; a dash for none."""
    if value is None:
        return NONE
    if unit == "us":
        return format_time(value, page=page)
    if unit == "pJ":
        return format_energy(value, page=page)
    if unit == "B":
        return format_bytes(round(value), page=page)
    if unit == "x":
        return f"{value:.2f}{TIMES if page else 'x'}"
    if unit == "bits":
        return f"{value:.2f}"
    return format_count(round(value)) if page else f"{value:,.0f}"


def format_interval(found: AccuracyInterval | None, task: TaskFigures) -> str:
    """Return an accuracy with its interval: ``97.60 % (95.85 to 98.62)``; a dash for none."""
    if found is None:
        return NONE
    value = task.judged_by.format(found.accuracy)
    if found.low is None or found.high is None:
        return value
    return f"{value} ({task.judged_by.format_range(found.low, found.high)})"


def format_difference(accuracy: ComparedAccuracy) -> str:
    """Return the difference of accuracies in points with its interval: ``+0.40 points, -0.61 to +1.42``."""
    if accuracy.difference is None:
        return NONE
    metric = accuracy.task.judged_by

    def tell(difference: float) -> str:
        value = metric.shown(difference)
        return f"{'+' if value >= 0 else ''}{metric.format_number(value)}"

    points = f"{tell(accuracy.difference)} {metric.drop_unit}".rstrip()
    if accuracy.low is None or accuracy.high is None:
        return points
    low, high = sorted((accuracy.low, accuracy.high), key=metric.shown)
    return f"{points}, {tell(low)} to {tell(high)}"


def format_p(p_value: float | None) -> str:
    """Return a p-value: ``p = 0.031``."""
    if p_value is None:
        return "no p-value"
    return "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.2g}"


def describe_better(better: Side | None) -> str:
    """Return the letter of the run that is better; nothing for neither."""
    return "" if better is None else NAMES[better]


def print_run_comparison(console: Console, document: RunComparison) -> None:
    """Print what two runs differ in, and which is better.

    Args:
        console: where to.
        document: what to tell.
    """
    for letter, run in zip(NAMES.values(), (document.first, document.second), strict=True):
        about = f" {run.name}: {run.network} on {run.accelerator}, {run.data} (mho {run.version}, {run.run})"
        console.print(Text.assemble((letter, "bold"), about), soft_wrap=True)
    console.print(Text(document.verdict, "bold"), soft_wrap=True)
    _print_settings(console, document)
    print_columns(
        console,
        [
            Column("found policy", tuple(one.name for one in document.measures), most=_LINE),
            *(
                Column(letter, tuple(format_measure(getattr(one, side), one.unit) for one in document.measures))
                for side, letter in NAMES.items()
            ),
            Column("B / A", tuple(NONE if one.ratio is None else f"{one.ratio:.3f}" for one in document.measures)),
            Column("better", tuple(describe_better(one.better) for one in document.measures)),
        ],
    )
    for one in document.accuracies:
        console.print(f"{one.name} on test data", soft_wrap=True)
        for side, letter in NAMES.items():
            console.print(f"  {letter}  {format_interval(getattr(one, side), one.task)}", soft_wrap=True)
        if one.difference is not None:
            console.print(f"  B - A  {format_difference(one)}; {format_p(one.p_value)}", soft_wrap=True)
        console.print(f"  {one.test}", style="dim", soft_wrap=True)
    _print_layers(console, document)
    for note in document.notes:
        console.print(f"note: {note}", style="dim", soft_wrap=True)


def _print_settings(console: Console, document: RunComparison) -> None:
    if not document.settings:
        console.print("settings: the same")
        return
    sides = [[NONE if value is None else value for value in values] for values in (
        (one.first for one in document.settings), (one.second for one in document.settings)
    )]  # fmt: skip
    print_columns(
        console,
        [
            Column("settings that differ", tuple(one.key for one in document.settings), most=_LINE),
            *(Column(letter, tuple(cells), most=_LINE) for letter, cells in zip(NAMES.values(), sides, strict=True)),
        ],
    )


def _print_layers(console: Console, document: RunComparison) -> None:
    layers = document.layers
    print_columns(
        console,
        [
            Column("layer", tuple(one.layer for one in layers), most=_LINE),
            *(
                Column(f"{letter}: bits", tuple(getattr(one, f"{side}_bits") or NONE for one in layers))
                for side, letter in NAMES.items()
            ),
            *(
                Column(letter, tuple(format_measure(getattr(one, f"{side}_latency_us"), "us") for one in layers))
                for side, letter in NAMES.items()
            ),
        ],
    )
