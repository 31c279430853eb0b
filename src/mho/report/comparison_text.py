"""One network on several accelerators, as text: a table of costs and accuracies, and what is unspecified."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mho.formats import format_energy, format_time
from mho.report.columns import Column, print_columns
from mho.report.comparison_document import (
    ChipAccuracy,
    ComparedAccelerator,
    ComparedRun,
    ComparedWidths,
    Comparison,
)
from mho.report.hardware_words import CONVERSION_TIMES
from mho.scheduling.regime import Regime
from mho.terminal import Console, Text

_DISPENSABLE = ("slices", "steps", "tiles", "a cell", "regime", "ADC", "interval")
"""Columns that a narrow terminal does without, the first one first."""
_NAME_LINE = 1000

_REGIMES = {
    Regime.WEIGHT_STATIONARY: "weights stay",
    Regime.TIME_MULTIPLEXED: "rewritten",
    Regime.ONE_CROSSBAR: "one crossbar",
}
_UNSPECIFIED = "unspecified"
_NONE = "-"
_INCOMPLETE = " *"


def print_comparison(console: Console, document: Comparison) -> None:
    """Print a comparison: a line about the network, a table of accelerators, and what is missing of each.

    Args:
        console: where to.
        document: what to tell.
    """
    count = len(document.accelerators)
    heading = (
        f" at {_describe_bits(document)} on {count} accelerator{'s' if count > 1 else ''}; {document.mapping} mapping"
    )
    if document.batch > 1:
        heading += f"; {document.batch} inputs follow each other"
    if not document.is_simulated:
        heading += "; times of chips with an ideal interconnect and unlimited buffers"
    console.print(Text.assemble((document.network, "bold"), heading), soft_wrap=True)
    left_out = print_columns(console, _columns(document), _DISPENSABLE)
    console.print(
        "a cell: widest weight that a cell (a pair of cells where weights are differences) holds / widest input that "
        "an MVM takes; slices: columns of cells a weight; steps: MVMs an input; ADC: bits of its "
        "conversions, and those that tell apart every sum of all rows",
        style="dim",
        soft_wrap=True,
    )
    if left_out:
        console.print(f"too narrow for {', '.join(left_out)}; --format json has all", style="dim")
    if document.exact_accuracy is not None:
        console.print(_describe_asking(document), soft_wrap=True)
    for one in document.accelerators:
        _print_missing(console, one)


def _describe_asking(document: Comparison) -> str:
    """Return the integer-reference accuracy, and what the column of accuracies is of."""
    assert document.exact_accuracy is not None
    assert document.seed is not None
    assert document.chips is not None
    seeds = _span(document.seed, document.seed + document.chips - 1, "..")
    text = f"integer-reference accuracy {_percent(document.exact_accuracy)} on {document.samples:,} samples; accuracy: "
    text += (
        f"one sampled chip, seed {seeds}"
        if document.chips == 1
        else f"mean and worst of {document.chips} sampled chips, seeds {seeds}"
    )
    if document.calibration_samples is not None:
        what = "ADC ranges and corrections of channels" if document.is_recalibrated else "ADC ranges"
        text += f"; {what} from {document.calibration_samples:,} samples"
    return text


def _describe_bits(document: Comparison) -> str:
    """Return the widths of all layers: ``4/8``, ``2..8/4..8``, or ``4/8/6`` where bits of conversions are specified."""
    layers = document.layers
    widths = [[layer.weight_bits for layer in layers], [layer.act_bits for layer in layers]]
    if own := [layer.adc_bits for layer in layers if layer.adc_bits is not None]:
        widths.append(own)
    return "/".join(_span(min(bits), max(bits), "..") for bits in widths)


def _columns(document: Comparison) -> list[Column]:
    lines = document.accelerators

    def of_runs(title: str, tell: Callable[[ComparedRun], str]) -> Column:
        return Column(title, tuple(_NONE if line.run is None else tell(line.run) for line in lines))

    columns = [
        Column("accelerator", tuple(line.accelerator for line in lines), most=_NAME_LINE),
        Column("crossbar", tuple(f"{line.rows} x {line.cols}" for line in lines)),
        of_runs("a cell", lambda run: f"{run.widths.one_cell_weight_bits}/{run.widths.dac_bits}"),
        of_runs("slices", lambda run: _span(*run.widths.weight_slices)),
        of_runs("steps", lambda run: _span(*run.widths.input_steps)),
        of_runs("ADC", lambda run: _describe_adc(run.widths)),
        of_runs("crossbars", lambda run: f"{run.crossbars:,}"),
        of_runs("tiles", lambda run: f"{run.tiles:,}"),
        of_runs("regime", lambda run: _REGIMES[run.regime]),
        of_runs("latency", lambda run: format_time(run.latency_us)),
        of_runs("interval", lambda run: format_time(run.interval_us)),
        of_runs("energy", _describe_energy),
        Column("area", tuple(map(_describe_area, lines))),
        Column("endurance", tuple(map(_describe_endurance, lines))),
        of_runs("lifetime", _describe_lifetime),
    ]
    if document.samples is not None:
        columns.append(of_runs("accuracy", lambda run: _describe_accuracy(run.accuracy)))
    if document.elapsed_s is not None:
        columns.append(of_runs(f"after {document.elapsed_s:,.6g} s", lambda run: _describe_accuracy(run.aged_accuracy)))
    return columns


def _span(least: int, most: int, between: str = "-") -> str:
    return f"{least}" if least == most else f"{least}{between}{most}"


def _describe_adc(widths: ComparedWidths) -> str:
    bits = widths.adc_bits if widths.layer_adc_bits is None else _span(*widths.layer_adc_bits)
    return f"{bits} ({widths.full_adc_bits})"


def _describe_energy(run: ComparedRun) -> str:
    if run.energy_pj is None:
        return _UNSPECIFIED
    return format_energy(run.energy_pj) + (_INCOMPLETE if run.energy_untold else "")


def _describe_area(line: ComparedAccelerator) -> str:
    if line.area_mm2 is None:
        return _UNSPECIFIED
    return f"{line.area_mm2:,.4g} mm2" + (_INCOMPLETE if line.area_untold else "")


def _describe_endurance(line: ComparedAccelerator) -> str:
    return _UNSPECIFIED if line.endurance_writes is None else f"{line.endurance_writes:,} writes"


def _describe_lifetime(run: ComparedRun) -> str:
    if not run.cell_writes:
        return "nothing wears"
    return _UNSPECIFIED if run.lifetime_inputs is None else f"{run.lifetime_inputs:,} inputs"


def _describe_accuracy(found: ChipAccuracy | None) -> str:
    if found is None:
        return _NONE
    return _percent(found.mean) + (f" (worst {_percent(found.worst)})" if len(found.right) > 1 else "")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _print_missing(console: Console, line: ComparedAccelerator) -> None:
    """Print what an accelerator leaves unspecified, what the user has to set, and what is impossible."""
    parts = []
    if line.run is not None:
        parts += [_without("energy", line.run.energy_untold), _without("area", line.area_untold)]
        if line.run.regime is Regime.TIME_MULTIPLEXED:
            parts.append("times without transfers between cores")
        if not line.run.is_interval_settled:
            parts.append("the interval still changed when its simulation ended")
    if line.conversion_time in CONVERSION_TIMES:
        parts.append(CONVERSION_TIMES[line.conversion_time])
    if line.keys_to_set:
        parts.append(f"yours to set: {', '.join(line.keys_to_set)}")
    if missing := "; ".join(filter(None, parts)):
        console.print(Text.assemble((line.accelerator, "bold"), f": {missing}", style="dim"), soft_wrap=True)
    for problem in (line.problem, None if line.run is None else line.run.accuracy_problem):
        if problem is not None:
            text = Text.assemble((line.accelerator, "bold"), f" cannot: {problem}", style="yellow")
            console.print(text, soft_wrap=True)


def _without(what: str, components: Sequence[str]) -> str:
    return f"{_INCOMPLETE.strip()} {what} without {', '.join(components)}" if components else ""
