"""How long a program takes, as text: on a chip, with what its crossbars wait for; or on one crossbar."""

from __future__ import annotations

from typing import Any

from mho.formats import format_share, format_time, plural
from mho.program.program import Program
from mho.report.columns import Column, print_columns
from mho.report.schedule_text import CAUSE_MEANINGS, format_limit
from mho.scheduling.reload_use import list_layer_uses
from mho.simulation.chip_timing import Cause
from mho.simulation.plan_timing import PlanTiming
from mho.simulation.reload_program_timing import ReloadProgramTiming
from mho.simulation.timing import ProgramTiming
from mho.terminal import Console


def print_chip_timing(console: Console, program: Program, timing: PlanTiming) -> None:
    """Print when the layers of a program work on a chip, and what their crossbars wait for.

    Args:
        console: where to.
        program: with a schedule.
        timing: of it.

    Raises:
        ScheduleError: buffers are too small, so that copies wait for each other for ever.
    """
    chip, batch, steady = program.accelerator.chip, timing.batch, timing.steady
    layers, count, total = batch.layers, Column.of_counts, batch.total_ps
    shares = [{cause: lost / (layer.copies * total) for cause, lost in layer.lost_ps.items()} for layer in layers]
    columns = [
        Column("layer", tuple(layer.name for layer in layers), "total"),
        count("copies", (layer.copies for layer in layers)),
        count("crossbars", (layer.crossbars for layer in layers), add=True),
        Column("start", tuple(format_time(layer.start_ps / 1e6) for layer in layers)),
        Column("finish", tuple(format_time(layer.finish_ps / 1e6) for layer in layers), format_time(total / 1e6)),
        Column("busy", tuple(format_share(layer.busy_ps / (layer.copies * total)) for layer in layers)),
    ]
    causes = [cause for cause in Cause if any(share[cause] for share in shares)]
    columns += [Column(str(cause), tuple(format_share(share[cause]) for share in shares)) for cause in causes]
    print_columns(console, columns)
    meant = "; ".join(f"{cause}: {CAUSE_MEANINGS[cause]}" for cause in causes)
    console.print(f"busy: share of the time of a layer's copies, the rest by cause ({meant})", style="dim")
    used = sum(layer.crossbars for layer in layers)
    console.print(
        f"\nlatency {format_time(timing.latency_ps / 1e6)} on {program.accelerator.name}: {used:,} of "
        f"{chip.crossbars:,} crossbars in use, in {sum(1 for share in batch.core_busy if share):,} of {chip.cores:,} "
        f"cores",
        soft_wrap=True,
    )
    limit = format_limit(
        steady.bottleneck.resource, steady.busy, unsettled_inputs=None if steady.is_settled else steady.inputs
    )
    console.print(f"interval {format_time(steady.interval_ps / 1e6)}, {limit}", soft_wrap=True)
    if timing.inputs > 1:
        console.print(f"{timing.inputs} inputs in {format_time(total / 1e6)}")
    if batch.links:
        share = batch.interconnect_ps / (batch.links * total)
        what = f"{batch.links:,} links that carried bytes" if batch.links > 1 else "the link that carried bytes"
        console.print(f"interconnect: {format_share(share)} of the time of {what}")


def print_reload_timing(console: Console, program: Program, timing: ReloadProgramTiming) -> None:
    """Print when the layers of a program whose tiles are rewritten work, and what its crossbars do."""
    layers, count = list_layer_uses(timing), Column.of_counts
    total, batches = timing.timing.period_ps, timing.timing.inputs
    copies = (str(least) if least == most else f"{least}-{most}" for least, most in (one.copies for one in layers))
    columns = [
        Column("layer", tuple(layer.name for layer in layers), "total"),
        count("tiles", (layer.tiles for layer in layers), add=True),
        Column("copies", tuple(copies)),
        count("stay", (layer.staying for layer in layers), add=True),
        count("writes", (layer.writes for layer in layers), add=True),
        Column("start", tuple(format_time(layer.start_ps / 1e6) for layer in layers)),
        Column("finish", tuple(format_time(layer.finish_ps / 1e6) for layer in layers)),
        Column("waits", tuple(format_time(layer.waiting_ps / 1e6) for layer in layers)),
    ]
    print_columns(console, columns)
    chip, plan = program.accelerator.chip, timing.plan
    batch = "an input" if timing.batch == 1 else f"a batch of {timing.batch:,}, {_time(timing.interval_ps)} an input"
    console.print(
        f"\ntime {_time(timing.latency_ps)} {batch} on {program.accelerator.name}: {timing.used_crossbars:,} of "
        f"{chip.crossbars:,} crossbars in use, {plan.rotating:,} of them rewritten",
        soft_wrap=True,
    )
    per = "an input" if timing.batch == 1 else "a batch"
    line = f"{plural(timing.writes, 'write')} {per}, a cell up to {timing.cell_writes_per_input:.4g} times an input"
    if timing.lifetime_inputs is not None:
        line += f": cells of the busiest crossbar may fail after {timing.lifetime_inputs:,} inputs"
    console.print(line, soft_wrap=True)
    shares = f"{format_share(timing.waiting_ps / total if total else 0)} of the time waits for writes"
    repeats = "" if batches == 1 else f"; times repeat every {batches} batches, those of the first are shown"
    console.print(shares + repeats, soft_wrap=True)


def describe_reload_timing(timing: ReloadProgramTiming) -> dict[str, Any]:
    """Return figures of a program that rewrites tiles."""
    layers = [
        {"name": one.name, "start_ps": one.start_ps, "finish_ps": one.finish_ps, "writes": one.writes}
        for one in list_layer_uses(timing)
    ]
    keys = ("latency_ps", "interval_ps", "total_ps", "batch", "writes", "cell_writes_per_input", "lifetime_inputs")
    return {key: getattr(timing, key) for key in keys} | {"layers": layers}


def _time(time_ps: float) -> str:
    return format_time(time_ps / 1e6)


def print_crossbar_timing(console: Console, program: Program, timing: ProgramTiming) -> None:
    """Print how long the layers of a program take on one crossbar, which is used again for every tile."""
    layers, count, total = timing.layers, Column.of_counts, timing.latency_ps
    columns = [
        Column("layer", tuple(layer.name for layer in layers), "total"),
        count("writes", (layer.writes for layer in layers), add=True),
        count("MVMs", (layer.mvms for layer in layers), add=True),
        _times("write", [layer.write_ps for layer in layers]),
        _times("read", [layer.read_ps for layer in layers]),
        _times("time", [layer.latency_ps for layer in layers]),
        Column("share", tuple(format_share(layer.latency_ps / total) for layer in layers)),
    ]
    print_columns(console, columns)
    console.print(f"\nlatency {format_time(total / 1e6)} on one crossbar of {program.accelerator.name}")


def _times(title: str, times_ps: list[int]) -> Column:
    return Column(title, tuple(format_time(time / 1e6) for time in times_ps), format_time(sum(times_ps) / 1e6))
