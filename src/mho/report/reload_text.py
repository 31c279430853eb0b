"""A network on a chip of fewer crossbars than it takes, as text: a table of its layers, and what the whole takes."""

from __future__ import annotations

from mho.formats import format_share, format_time
from mho.report.columns import Column, print_columns
from mho.report.reload_document import ReloadDocument, ReloadedLayer
from mho.report.schedule_text import NAME_LINE, OPTION_LINE, print_energy
from mho.terminal import Console, Text

_DISPENSABLE = ("start", "tiles", "share", "mapping")
"""Columns that a narrow terminal does without, the first one first."""
LEAST_SHARE = 0.0005
"""Shares below are not told: they round to nothing."""


def print_reload(console: Console, document: ReloadDocument) -> None:
    """Print a schedule with reloads: a line about the chip, a table of layers, and totals.

    Args:
        console: where to.
        document: what to tell.
    """
    _print_heading(console, document)
    left_out = print_columns(console, _columns(document), _DISPENSABLE)
    console.print(
        "copies: crossbars that share the windows of a tile; stay: crossbars that hold tiles for good; "
        f"writes: for {tell_batch(document.batch)}; waits: all tiles of the layer wait to be written",
        style="dim",
        soft_wrap=True,
    )
    if left_out:
        console.print(f"too narrow for {', '.join(left_out)}; --format json has all", style="dim")
    console.print()
    for line in (_tell_time(document), _tell_crossbars(document), _tell_shares(document), _tell_writes(document)):
        console.print(line, soft_wrap=True)
    console.print("transfers between cores and limits of buffers are not modelled here", style="dim")
    if document.energy is not None:
        print_energy(console, document.energy, document.area)


def tell_batch(batch: int) -> str:
    """Return ``an input``, or ``a batch of 4 inputs``."""
    return "an input" if batch == 1 else f"a batch of {batch:,} inputs"


def tell_lifetime(document: ReloadDocument) -> str:
    """Tell how many inputs the chip lasts, or why that is not known."""
    if not document.writes:
        return "nothing wears"
    if document.lifetime_inputs is None:
        return "the accelerator does not tell how many writes cells survive (endurance.cell_writes)"
    lasts = f"this chip lasts {document.lifetime_inputs:,} inputs"
    if document.levelled_lifetime_inputs not in (None, document.lifetime_inputs):
        lasts += f", {document.levelled_lifetime_inputs:,} where crossbars trade places"
    return lasts


def _print_heading(console: Console, document: ReloadDocument) -> None:
    hardware = document.accelerator
    console.print(Text.assemble((document.network, "bold"), " on ", (hardware.name, "bold")))
    cores = f" in {document.cores:,} cores" if document.cores > 1 else ""
    every = "input" if document.batch == 1 else f"{document.batch:,} inputs"
    outcome = (
        f"so that tiles are rewritten for every {every}" if document.writes else "but layers share tiles that stay"
    )
    console.print(
        f"{document.crossbars:,} crossbar{'s' if document.crossbars > 1 else ''} of {hardware.crossbar.rows} x "
        f"{hardware.crossbar.cols}{cores}; {document.minimal_crossbars:,} would hold each layer once, {outcome}; "
        f"{document.mapping} mapping",
        style="dim",
        soft_wrap=True,
    )


def _columns(document: ReloadDocument) -> list[Column]:
    layers, count = document.layers, Column.of_counts
    spent = [layer.time_us for layer in layers]
    whole = sum(spent)
    columns = [
        Column("layer", tuple(layer.name for layer in layers), "total", most=NAME_LINE),
        Column("W/A", tuple(f"{layer.weight_bits}/{layer.act_bits}" for layer in layers)),
        Column("mapping", tuple(layer.mapping for layer in layers), most=OPTION_LINE),
        count("tiles", (layer.tiles for layer in layers), add=True),
        Column("copies", tuple(_copies(layer) for layer in layers)),
        count("stay", (layer.staying for layer in layers), add=True),
        count("writes", (layer.writes for layer in layers), add=True),
        Column("start", tuple(format_time(layer.start_us) for layer in layers)),
        Column("time", tuple(format_time(one) for one in spent), format_time(whole)),
        Column("share", tuple(format_share(one / whole if whole else 0) for one in spent), format_share(1)),
    ]
    if any(layer.waiting_us for layer in layers):
        waits = [layer.waiting_us for layer in layers]
        columns.append(Column("waits", tuple(format_time(one) for one in waits), format_time(sum(waits))))
    return columns


def _copies(layer: ReloadedLayer) -> str:
    if layer.least_copies == layer.most_copies:
        return f"{layer.most_copies:,}" if layer.tiles else ""
    return f"{layer.least_copies:,} to {layer.most_copies:,}"


def _tell_time(document: ReloadDocument) -> Text:
    line = Text.assemble("time ", (format_time(document.batch_us), "bold"), f" {tell_batch(document.batch)}")
    if document.batch > 1:
        line.append(f", {format_time(document.input_us)} an input")
    if document.is_optimal:
        line.append("   no plan beats that")
    else:
        share = document.bound_us / document.batch_us if document.batch_us else 1.0
        line.append(f"   bound {format_time(document.bound_us)} ({format_share(share)})")
    if document.input_us:
        line.append(f"   {1e6 / document.input_us:,.4g} inputs a second")
    return line.append(f"   {format_share(document.waiting_share)} of the time waits for writes")


def _tell_crossbars(document: ReloadDocument) -> Text:
    line = Text.assemble("crossbars ", (f"{document.crossbars:,}", "bold"), f" for {document.tiles:,} tiles")
    return line.append(
        f"   {document.staying_crossbars:,} hold tiles that stay, {document.rewritten_crossbars:,} are rewritten"
    )


def _tell_shares(document: ReloadDocument) -> str:
    shares = document.crossbar_time
    parts = [
        ("read", shares.reading),
        ("busy with digital work", shares.digital),
        ("written", shares.writing),
        ("waiting for their layer", shares.ready),
        ("waiting for what is written next, or unused", shares.free),
    ]
    told = [f"{words} {format_share(share)}" for words, share in parts if share >= LEAST_SHARE]
    return "time of the crossbars   " + "   ".join(told)


def _tell_writes(document: ReloadDocument) -> Text:
    line = Text.assemble("writes ", (f"{document.writes:,}", "bold"), f" {tell_batch(document.batch)}")
    if document.writes:
        line.append(f"   a cell up to {document.cell_writes_per_input:.4g} times an input")
    return line.append(f"   {tell_lifetime(document)}")
