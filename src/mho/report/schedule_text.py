"""A schedule of a network on a chip, as text: a line about the chip, a table of its layers, and totals."""

from __future__ import annotations

from mho.cost_model.document import EnergyDocument
from mho.formats import format_bytes, format_energy, format_share, format_time
from mho.report.breakdown_text import format_components, print_unspecified
from mho.report.columns import print_columns
from mho.report.schedule_columns import list_causes, list_columns
from mho.report.schedule_document import AreaFigures, PipelineFigures, ReloadFigures, ScheduleDocument, Simulated
from mho.scheduling.duplication import Objective
from mho.simulation.chip_timing import Cause
from mho.terminal import Console, Text

_DISPENSABLE = ("write", "cores", "window", "windows", "start", "crossbars", "tiles", "share", "mapping")
"""Columns that a narrow terminal does without, the first one first."""
_IDEAL = "with an ideal interconnect and unlimited buffers"
_LEAST_SHARE = 0.0005
"""Shares below are left out: they round to nothing."""

CAUSE_MEANINGS = {
    Cause.INPUT: "waiting for earlier layers",
    Cause.INTERCONNECT: "for what is under way",
    Cause.BUFFER: "for room",
    Cause.DIGITAL: "for the digital unit",
    Cause.WRITE: "being written",
    Cause.DONE: "no work left",
}
"""What crossbars wait for, for people."""

_PURPOSE = {
    Objective.LATENCY: "the latency of one input",
    Objective.INTERVAL: "the interval between inputs",
    Objective.LAYER_BY_LAYER: "the latency layer by layer",
}
_CROSSBAR_TIME = {
    "reading": "read",
    "digital": "busy with digital work",
    "writing": "written",
    "ready": "waiting for their layer",
    "free": "waiting for what is written next, or unused",
}


def print_schedule(console: Console, document: ScheduleDocument) -> None:
    """Print a schedule: a line about the chip, a table of layers, and totals."""
    console.print(Text.assemble((document.network, "bold"), " on ", (document.accelerator.name, "bold")))
    console.print(_describe_chip(document), style="dim", soft_wrap=True)
    left_out = print_columns(console, list_columns(document, format_time), _DISPENSABLE)
    console.print(_explain_columns(document), style="dim", soft_wrap=True)
    if left_out:
        console.print(f"too narrow for {', '.join(left_out)}; --format json has all", style="dim")
    console.print()
    if document.pipeline is not None:
        _print_pipeline(console, document, document.pipeline)
    if document.reload is not None:
        _print_reload(console, document, document.reload)
    if document.energy is not None:
        print_energy(console, document.energy, document.area)
    if document.lifetime_inputs is not None and document.reload is None:
        console.print(f"cells last {document.lifetime_inputs:,} inputs", style="dim")


def list_crossbar_time(figures: ReloadFigures) -> list[tuple[str, str, float]]:
    """Return name, words and share of what the time of crossbars goes to, where it does not round to nothing."""
    shares = figures.crossbar_time.model_dump()
    return [(name, _CROSSBAR_TIME[name], share) for name, share in shares.items() if share >= _LEAST_SHARE]


def name_batch(batch: int) -> str:
    """Return ``an input``, or ``a batch of 4 inputs``."""
    return "an input" if batch == 1 else f"a batch of {batch:,} inputs"


def describe_lifetime(document: ScheduleDocument, figures: ReloadFigures) -> str:
    """Return how many inputs a chip lasts whose tiles are rewritten, or why that is not known."""
    if not figures.writes:
        return "nothing wears"
    if document.lifetime_inputs is None:
        return "the accelerator does not specify how many writes cells survive (endurance.cell_writes)"
    lasts = f"this chip lasts {document.lifetime_inputs:,} inputs"
    if figures.levelled_lifetime_inputs not in (None, document.lifetime_inputs):
        lasts += f", {figures.levelled_lifetime_inputs:,} where crossbars trade places"
    return lasts


def _describe_chip(document: ScheduleDocument) -> str:
    hardware = document.accelerator
    cores = f" in {document.cores:,} cores" if document.cores > 1 else ""
    chip = (
        f"{document.crossbars:,} crossbar{'s' if document.crossbars > 1 else ''} of {hardware.crossbar.rows} x "
        f"{hardware.crossbar.cols}{cores}"
    )
    if document.reload is not None:
        every = "input" if document.batch == 1 else f"{document.batch:,} inputs"
        outcome = f"so that tiles are rewritten for every {every}"
        if not document.reload.writes:
            outcome = "but layers share tiles that stay"
        return (
            f"{chip}; a mapping whose weights stay takes {document.minimal_crossbars:,}, {outcome}; "
            f"{document.mapping} mapping"
        )
    purpose = "" if document.objective is None else _PURPOSE[document.objective]
    inputs = f"; {document.batch} inputs" if document.batch > 1 else ""
    return (
        f"{chip}, {hardware.interconnect.kind} interconnect; options and copies for {purpose}; {document.mapping} "
        f"mapping{inputs}"
    )


def _explain_columns(document: ScheduleDocument) -> str:
    if document.reload is not None:
        return (
            "copies: crossbars that share the windows of a tile; stay: crossbars that hold tiles for good; "
            f"writes: for {name_batch(document.batch)}; waits: all tiles of the layer wait to be written"
        )
    words = "tiles: of one copy; crossbars: of all copies; busy: share of the time of a layer's copies"
    meant = ", ".join(f"{cause}: {CAUSE_MEANINGS[cause]}" for cause in list_causes(document))
    return f"{words}, the rest by cause: {meant}" if meant else words


def _print_pipeline(console: Console, document: ScheduleDocument, figures: PipelineFigures) -> None:
    """Print the totals of a schedule whose weights stay."""
    used = figures.ideal_utilization if document.simulated is None else document.simulated.utilization
    line = Text.assemble("crossbars ", (f"{document.used_crossbars:,}", "bold"), f" of {document.crossbars:,}")
    line.append(f"   {document.minimal_crossbars:,} hold each layer once")
    console.print(line.append(f"   {format_share(used)} of the time of all crossbars in use"), soft_wrap=True)
    latency, interval = document.latency_us, document.interval_us
    is_ideal = _is_closed(document) or document.simulated is None
    line = Text.assemble("latency ", (format_time(latency), "bold"), _name_ideal(document))
    line.append(f"   bound {_compare_bound(document.bound_us, latency)}")
    if is_ideal:
        line.append(f"   {_compare_other_schedules(figures)}")
    if is_ideal and latency:
        line.append(f"   {figures.minimal_us / latency:.1f}x", style="bold green")
    console.print(line, soft_wrap=True)
    line = Text.assemble("interval ", (format_time(interval), "bold"), _name_ideal(document))
    line.append(f"   bound {_compare_bound(document.interval_bound_us, interval)}")
    if interval:
        line.append(f"   {1e6 / interval:,.0f} inputs a second")
    if document.simulated is not None:
        line.append(f"   {tell_limit(document.simulated)}")
    console.print(line, soft_wrap=True)
    if not is_ideal:
        console.print(
            f"{_tell_ideal(document)}: latency {format_time(figures.ideal_latency_us)}, interval "
            f"{format_time(figures.ideal_interval_us)}, {_compare_other_schedules(figures)}",
            soft_wrap=True,
        )
    if document.simulated is not None:
        _print_simulated(console, document, document.simulated)


def _name_ideal(document: ScheduleDocument) -> str:
    """Return what figures that were not simulated assume, where the accelerator is not so."""
    is_theirs = _is_closed(document) or document.simulated is not None
    return "" if is_theirs else f" {_tell_ideal(document)}"


def _is_closed(document: ScheduleDocument) -> bool:
    """Tell whether the closed form is exact on the accelerator."""
    return document.accelerator.has_ideal_transfers and document.accelerator.digital.is_ideal


def _tell_ideal(document: ScheduleDocument) -> str:
    """Return what the closed form assumes."""
    return _IDEAL if document.accelerator.digital.is_ideal else f"{_IDEAL}, no wait for digital units"


def _compare_other_schedules(figures: PipelineFigures) -> str:
    """Return the latencies of two other schedules, which are never simulated."""
    fewest = format_time(figures.minimal_us)
    return f"layer by layer {format_time(figures.layer_by_layer_us)}, on the fewest crossbars {fewest}"


def _compare_bound(bound_us: float, time_us: float) -> str:
    return format_time(bound_us) + (f" ({100 * bound_us / time_us:.1f} %)" if time_us else "")


def tell_limit(simulated: Simulated) -> str:
    """Return what limits the interval of a simulation."""
    busy = simulated.bottleneck_us / simulated.interval_us if simulated.interval_us else 1.0
    inputs = None if simulated.is_interval_settled else simulated.interval_inputs
    return format_limit(simulated.bottleneck, busy, unsettled_inputs=inputs)


def format_limit(resource: str, busy: float, *, unsettled_inputs: int | None) -> str:
    """Return what limits an interval, and after how many inputs it still changed, if it did."""
    text = f"limited by {resource} (busy {format_share(busy)})"
    return text if unsettled_inputs is None else f"{text}, still changing after {unsettled_inputs} inputs"


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


def _print_reload(console: Console, document: ScheduleDocument, figures: ReloadFigures) -> None:
    """Print the totals of a schedule whose tiles are rewritten."""
    batch = name_batch(document.batch)
    line = Text.assemble("time ", (format_time(document.latency_us), "bold"), f" {batch}")
    if document.batch > 1:
        line.append(f", {format_time(document.interval_us)} an input")
    bound = _compare_bound(document.bound_us, document.latency_us)
    line.append("   no plan beats that" if figures.is_optimal else f"   bound {bound}")
    if document.interval_us:
        line.append(f"   {1e6 / document.interval_us:,.4g} inputs a second")
    console.print(
        line.append(f"   {format_share(document.waiting_share)} of the time waits for writes"), soft_wrap=True
    )
    line = Text.assemble("crossbars ", (f"{document.crossbars:,}", "bold"), f" for {figures.tiles:,} tiles")
    line.append(f"   {figures.staying_crossbars:,} hold tiles that stay, {figures.rewritten_crossbars:,} are rewritten")
    console.print(line, soft_wrap=True)
    shares = [f"{words} {format_share(share)}" for _, words, share in list_crossbar_time(figures)]
    console.print("time of the crossbars   " + "   ".join(shares), soft_wrap=True)
    line = Text.assemble("writes ", (f"{figures.writes:,}", "bold"), f" {batch}")
    if figures.writes:
        line.append(f"   a cell up to {figures.cell_writes_per_input:.4g} times an input")
    console.print(line.append(f"   {describe_lifetime(document, figures)}"), soft_wrap=True)
    console.print("transfers between cores and limits of buffers are not modelled here", style="dim")


def print_energy(console: Console, energy: EnergyDocument, area: AreaFigures | None) -> None:
    """Print the energy of an input, and the area of the chip where it is known."""
    line = Text.assemble("energy ", (format_energy(energy.total_pj), "bold"), " an input")
    console.print(line.append(format_components(energy.components_pj, energy.total_pj)), soft_wrap=True)
    print_unspecified(console, energy.untold)
    if area is None:
        return
    line = Text.assemble("area ", (f"{area.total_mm2:,.4g} mm2", "bold"))
    console.print(line.append(format_components(area.components_mm2, area.total_mm2)), soft_wrap=True)
    print_unspecified(console, area.untold)
