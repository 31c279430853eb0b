"""What a result tells of its found policy beside accuracy and time, in a few lines on a terminal."""

from __future__ import annotations

from mho.formats import format_bytes, format_energy, format_time, plural
from mho.report.breakdown_text import format_components
from mho.report.result import RunResult
from mho.report.result_networks import ClassErrors, CostSplit, DeployedSize, Sensitivities
from mho.terminal import Console

MOST = 3
"""Layers and confusions that are named."""


def print_found_policy(console: Console, result: RunResult) -> None:
    """Print where time and energy of the found policy go, its size, its most sensitive layers and its errors.

    Args:
        console: where to.
        result: of the run; what it lacks is left out.
    """
    lines = []
    if result.splits:
        lines += _describe_split(result.splits[-1])
    if result.sizes:
        lines.append(_describe_size(result.sizes[-1]))
    if result.sensitivities is not None:
        lines += _describe_sensitivities(result.sensitivities)
    if result.errors:
        lines.append(_describe_errors(result.errors[-1], result.data.classes))
    if lines:
        console.print("found policy:", style="bold")
    for line in lines:
        console.print(f"  {line}", soft_wrap=True)


def _describe_split(split: CostSplit) -> list[str]:
    total_us = sum(split.time_us.values())
    lines = [f"time {format_time(total_us)}{format_components(split.time_us, total_us)}"] if split.time_us else []
    if split.energy_pj is not None and split.total_energy_pj:
        shares = format_components(split.energy_pj, split.total_energy_pj)
        missing = f"; unspecified, and not counted: {', '.join(split.energy_untold)}" if split.energy_untold else ""
        lines.append(f"energy {format_energy(split.total_energy_pj)}{shares}{missing}")
    return lines


def _describe_size(size: DeployedSize) -> str:
    text = f"size: {size.weights:,} weights in {size.weight_bits:,} bits"
    if size.tiles is not None:
        text += f", {plural(size.tiles, 'crossbar')}"
    if size.cells and size.digit_cells is not None:
        text += f" ({100 * size.digit_cells / size.cells:.1f} % of their cells hold weights)"
    if size.program_bytes is not None:
        text += f", program {format_bytes(size.program_bytes)}"
    if size.flash_bytes is not None and size.ram_bytes is not None:
        text += f"; deployed as C {format_bytes(size.flash_bytes)} of flash, {format_bytes(size.ram_bytes)} of RAM"
    return text


def _describe_sensitivities(found: Sensitivities) -> list[str]:
    losses = [(one.less.loss, one.layer, one.operand) for one in found.operands if one.less is not None]
    worst = sorted(losses, key=lambda one: -one[0])[:MOST]
    listed = ", ".join(f"{layer} {operand}s {loss:+.4f}" for loss, layer, operand in worst)
    lines = [f"loss with a bit less ({found.samples:,} calibration samples, now {found.loss:.4f}): {listed or 'none'}"]
    raises = [
        f"{one.layer} {one.operand}s {one.more.loss:+.4f} for {100 * one.more.cost:+.1f} %"
        for one in found.best_raises(MOST)
        if one.more is not None and one.more.cost is not None
    ]
    return [*lines, f"most won by a bit more, for its cost: {', '.join(raises)}"] if raises else lines


def _describe_errors(errors: ClassErrors, names: tuple[str, ...]) -> str:
    wrong = sum(one.count - one.correct for one in errors.classes)
    pairs = ", ".join(
        f"{names[one.actual]} as {names[one.predicted]} ({one.count})" for one in errors.confusions[:MOST]
    )
    return f"{plural(wrong, 'error')} on test samples, exact sums{': most often ' + pairs if pairs else ''}"
