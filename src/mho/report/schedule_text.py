"""A network on a chip of many crossbars, as text: a table of its layers, and what the whole takes."""

from __future__ import annotations

from collections.abc import Mapping

from mho.cost_model.area import AreaComponent
from mho.cost_model.document import EnergyDocument
from mho.cost_model.energy import Component
from mho.formats import format_bytes, format_energy, format_share, format_time
from mho.report.columns import Column, print_columns
from mho.report.schedule_document import AreaFigures, ScheduledLayer, ScheduleDocument, Simulated
from mho.scheduling.duplication import Objective
from mho.simulation.chip_timing import Cause
from mho.terminal import Console, Text

_DISPENSABLE = ("write us", "cores", "window us", "windows", "start", "all", "option")
"""Columns that a narrow terminal does without, the first one first."""
NAME_LINE, OPTION_LINE = 1000, 44
"""Characters after which names and options are folded."""

CAUSE_MEANINGS = {
    Cause.INPUT: "waiting for earlier layers",
    Cause.INTERCONNECT: "for what is under way",
    Cause.BUFFER: "for room",
    Cause.WRITE: "being written",
    Cause.DONE: "no work left",
}
"""What crossbars wait for, for people."""

_PURPOSE = {
    Objective.LATENCY: "the latency of one input",
    Objective.INTERVAL: "the interval between inputs",
    Objective.LAYER_BY_LAYER: "the latency layer by layer",
}


def print_schedule(console: Console, document: ScheduleDocument) -> None:
    """Print a schedule: a line about the chip, a table of layers, and totals.

    Args:
        console: where to.
        document: what to tell.
    """
    _print_heading(console, document)
    left_out = print_columns(console, _columns(document), _DISPENSABLE)
    _print_legend(console, document)
    if left_out:
        console.print(f"too narrow for {', '.join(left_out)}; --format json has all", style="dim")
    console.print()
    for line in (_tell_crossbars(document), _tell_latency(document), _tell_interval(document)):
        console.print(line, soft_wrap=True)
    if document.simulated is not None:
        _print_simulated(console, document, document.simulated)
    if document.energy is not None:
        print_energy(console, document.energy, document.area)
    if document.lifetime_inputs is not None:
        console.print(f"cells last {document.lifetime_inputs:,} inputs", style="dim")


def _print_heading(console: Console, document: ScheduleDocument) -> None:
    hardware = document.accelerator
    console.print(Text.assemble((document.network, "bold"), " on ", (hardware.name, "bold")))
    cores = f" in {document.cores:,} cores" if document.cores > 1 else ""
    inputs = f"; {document.batch} inputs" if document.batch > 1 else ""
    console.print(
        f"{document.crossbars:,} crossbar{'s' if document.crossbars > 1 else ''} of {hardware.crossbar.rows} x "
        f"{hardware.crossbar.cols}{cores}, {hardware.interconnect.kind} interconnect; options and copies for "
        f"{_PURPOSE[document.objective]}; {document.mapping} mapping{inputs}",
        style="dim",
        soft_wrap=True,
    )


def _columns(document: ScheduleDocument) -> list[Column]:
    layers, count = document.layers, Column.of_counts
    columns = [
        Column("layer", tuple(layer.name for layer in layers), "total", most=NAME_LINE),
        Column("W/A", tuple(f"{layer.weight_bits}/{layer.act_bits}" for layer in layers)),
        Column("option", tuple(layer.mapping for layer in layers), most=OPTION_LINE),
        count("crossbars", (layer.crossbars for layer in layers)),
        count("copies", (layer.copies for layer in layers)),
        count("all", (layer.crossbars * layer.copies for layer in layers), add=True),
        count("windows", (layer.windows for layer in layers), add=True),
        Column("window us", tuple(f"{layer.window_us:,.4g}" for layer in layers)),
    ]
    if any(layer.write_us for layer in layers):
        columns.append(
            Column("write us", tuple(f"{layer.write_us:,.4g}" if layer.write_us else "" for layer in layers))
        )
    if document.cores > 1:
        columns.append(count("cores", (layer.cores for layer in layers)))
    columns += [
        Column("start", tuple(format_time(layer.start_us) for layer in layers)),
        Column("finish", tuple(format_time(layer.finish_us) for layer in layers)),
        Column("busy", tuple(format_share(layer.busy) for layer in layers), format_share(_busy(document))),
    ]
    return columns + _lost_columns(layers, document.simulated)


def _busy(document: ScheduleDocument) -> float:
    """Return the share of the time of the crossbars in use in which they read windows."""
    taken = sum(layer.busy * layer.crossbars * layer.copies for layer in document.layers)
    return taken / document.used_crossbars if document.used_crossbars else 0.0


def _lost_columns(layers: tuple[ScheduledLayer, ...], simulated: Simulated | None) -> list[Column]:
    """Return a column for every cause that took time."""
    if simulated is None:
        return []
    return [
        Column(
            str(cause),
            tuple(format_share((layer.lost or {}).get(cause, 0.0)) for layer in layers),
            format_share(simulated.lost[cause]),
        )
        for cause in Cause
        if any((layer.lost or {}).get(cause) for layer in layers)
    ]


def _print_legend(console: Console, document: ScheduleDocument) -> None:
    words = "crossbars: of one copy; all: of all copies; busy: share of the time of a layer's copies"
    if document.simulated is not None:
        shown = [cause for cause, share in document.simulated.lost.items() if share]
        meant = ", ".join(f"{cause}: {CAUSE_MEANINGS[cause]}" for cause in shown)
        words += f", the rest by cause: {meant}" if shown else ""
    console.print(words, style="dim", soft_wrap=True)


def _tell_crossbars(document: ScheduleDocument) -> Text:
    line = Text.assemble("crossbars ", (f"{document.used_crossbars:,}", "bold"), f" of {document.crossbars:,}")
    line.append(f"   {document.minimal_crossbars:,} hold each layer once")
    used = document.ideal_utilization if document.simulated is None else document.simulated.utilization
    return line.append(f"   {format_share(used)} of the time of all crossbars in use")


def _tell_latency(document: ScheduleDocument) -> Text:
    latency = document.latency_us
    line = Text.assemble("latency ", (format_time(latency), "bold"), _tell_ideal(document, document.ideal_latency_us))
    line.append(f"   bound {format_time(document.bound_us)}{_of_bound(latency, document.bound_us)}")
    line.append(f"   layer by layer {format_time(document.layer_by_layer_us)}")
    line.append(f", on the fewest crossbars {format_time(document.minimal_us)}")
    return line.append(f"   {document.minimal_us / latency:.1f}x", style="bold green") if latency else line


def _tell_interval(document: ScheduleDocument) -> Text:
    interval, bound = document.interval_us, document.interval_bound_us
    line = Text.assemble("interval ", (format_time(interval), "bold"))
    line.append(_tell_ideal(document, document.ideal_interval_us))
    line.append(f"   bound {format_time(bound)}{_of_bound(interval, bound)}")
    if interval:
        line.append(f"   {1e6 / interval:,.0f} inputs a second")
    if document.simulated is not None:
        line.append(f"   {tell_limit(document.simulated)}")
    return line


def _tell_ideal(document: ScheduleDocument, ideal_us: float) -> str:
    """Return the figure with an ideal interconnect, named so, where it is not that of the accelerator."""
    if document.accelerator.has_ideal_transfers:
        return ""
    words = " with an ideal interconnect and unlimited buffers"
    return words if document.simulated is None else f"  {words} {format_time(ideal_us)}"


def tell_limit(simulated: Simulated) -> str:
    """Return what limits the interval of a simulation."""
    busy = simulated.bottleneck_us / simulated.interval_us if simulated.interval_us else 1.0
    inputs = None if simulated.is_interval_settled else simulated.interval_inputs
    return format_limit(simulated.bottleneck, busy, unsettled_inputs=inputs)


def format_limit(resource: str, busy: float, *, unsettled_inputs: int | None) -> str:
    """Return what limits an interval, and after how many inputs it still changed, if it did."""
    text = f"limited by {resource} (busy {format_share(busy)})"
    return text if unsettled_inputs is None else f"{text}, still changing after {unsettled_inputs} inputs"


def _of_bound(time_us: float, bound_us: float) -> str:
    return f" ({100 * bound_us / time_us:.1f} %)" if time_us else ""


def _print_simulated(console: Console, document: ScheduleDocument, simulated: Simulated) -> None:
    facts = []
    if document.batch > 1:
        facts.append(f"{document.batch} inputs in {format_time(simulated.total_us)}")
    if simulated.byte_hops:
        facts.append(f"links held {format_share(simulated.interconnect_busy)}")
        facts.append(f"{format_bytes(simulated.byte_hops)} times hops carried")
    if simulated.input_buffer_bytes is not None and simulated.output_buffer_bytes is not None:
        facts.append(f"fullest input buffer {format_bytes(simulated.input_buffer_bytes)}")
        facts.append(f"fullest output buffer {format_bytes(simulated.output_buffer_bytes)}")
    if facts:
        console.print("simulated " + "   ".join(facts), soft_wrap=True)


def print_energy(console: Console, energy: EnergyDocument, area: AreaFigures | None) -> None:
    """Print the energy of an input, and the area of the chip where it is told."""
    line = Text.assemble("energy ", (format_energy(energy.total_pj), "bold"), " an input")
    console.print(line.append(_shares(energy.components_pj, energy.total_pj)), soft_wrap=True)
    if energy.untold:
        console.print(f"not told, and not counted: {', '.join(energy.untold)}", style="dim")
    if area is None:
        return
    line = Text.assemble("area ", (f"{area.total_mm2:,.4g} mm2", "bold"))
    console.print(line.append(_shares(area.components_mm2, area.total_mm2)), soft_wrap=True)
    if area.untold:
        console.print(f"not told, and not counted: {', '.join(area.untold)}", style="dim")


def _shares(components: Mapping[Component, float] | Mapping[AreaComponent, float], total: float) -> str:
    return "".join(f"   {name} {100 * value / total:.1f} %" for name, value in components.items() if value)
