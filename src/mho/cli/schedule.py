"""``mho schedule``: a network on a chip of many crossbars, with copies, timing, energy, a trace and a timeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mho.cli.arguments import (
    AcceleratorOption,
    BitsOption,
    CellBitsOption,
    EncodingOption,
    EnergyOption,
    Format,
    FormatOption,
    InputShapeOption,
    NetworkArgument,
    PolicyOption,
    check_energy,
    load_scheduled,
)
from mho.errors import ConfigError, ScheduleError
from mho.mapping.model import DEFAULT_MODEL, MappingModel
from mho.report.schedule_document import ScheduleDocument
from mho.report.schedule_text import print_schedule
from mho.scheduling.chip_schedule import ChipSchedule, list_schedules
from mho.scheduling.duplication import Objective
from mho.simulation.chip_search import simulate_best
from mho.simulation.chip_timing import ChipTiming

CrossbarsOption = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Instead of the accelerator's; cores keep their size.")
]
ObjectiveOption = Annotated[Objective, typer.Option(help="What options and copies are chosen for.")]
ConvolutionsOption = Annotated[
    bool, typer.Option("--convolutions-only", help="Other layers run elsewhere, in no time.")
]
ChipMappingOption = Annotated[
    MappingModel, typer.Option(help="Any exact mapping of each layer that suits a chip, or im2col as in the paper.")
]
SimulateOption = Annotated[
    bool, typer.Option(help="Simulate the plan with the interconnect and the buffers of the accelerator.")
]
TraceOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write a trace for Perfetto or chrome://tracing (JSON).")
]
TimelineOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write a page with a timeline to zoom into (HTML).")
]


def schedule(
    network: NetworkArgument,
    accelerator: AcceleratorOption,
    policy: PolicyOption = None,
    bits: BitsOption = None,
    crossbars: CrossbarsOption = None,
    objective: ObjectiveOption = Objective.LATENCY,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Inputs that follow each other.")] = 1,
    convolutions_only: ConvolutionsOption = False,
    mapping: ChipMappingOption = DEFAULT_MODEL,
    simulate: SimulateOption = True,
    energy: EnergyOption = False,
    trace: TraceOption = None,
    timeline: TimelineOption = None,
    output_format: FormatOption = Format.TEXT,
    encoding: EncodingOption = None,
    cell_bits: CellBitsOption = None,
    input_shape: InputShapeOption = None,
) -> None:
    """Lay a network out on a chip of many crossbars, whose weights stay, and tell when every layer works.

    Chooses how each layer lies in crossbars and how many copies it has, places them, and times layers that overlap.
    """
    _check_files(trace, timeline, simulate=simulate)
    asked = load_scheduled(
        network, accelerator, policy=policy, bits=bits, encoding=encoding, cell_bits=cell_bits, input_shape=input_shape
    )
    if energy:
        check_energy(asked.accelerator)
    layers = [node.name for node in asked.network.mvm_nodes if node.op == "conv"] if convolutions_only else None
    schedules = list_schedules(
        asked.network,
        asked.policy,
        asked.accelerator,
        crossbars=crossbars,
        objective=objective,
        model=mapping,
        batch=batch,
        layers=layers,
    )
    with_spans = trace is not None or timeline is not None
    found, timing = _simulate(schedules, with_spans=with_spans) if simulate else (next(schedules), None)
    document = ScheduleDocument.of(network, found, timing, with_energy=energy)
    written = [] if timing is None else _write_files(document, found, timing, trace, timeline)
    if output_format is Format.JSON:
        typer.echo(json.dumps(document.model_dump(mode="json"), indent=2))
    else:
        print_schedule(Console(highlight=False), document)
        for line in written:
            typer.echo(line)


def _check_files(trace: str | None, timeline: str | None, *, simulate: bool) -> None:
    for option, path, suffix in (("--trace", trace, ".json"), ("--timeline", timeline, ".html")):
        if path is None:
            continue
        if not simulate:
            raise ConfigError(f"{option} shows a simulation", hint="leave --no-simulate out")
        if Path(path).suffix.lower() != suffix:
            raise ConfigError(f"{option} writes {suffix} files", where=path, hint=f"name it {Path(path).stem}{suffix}")


def _simulate(schedules: Iterator[ChipSchedule], *, with_spans: bool) -> tuple[ChipSchedule, ChipTiming]:
    try:
        return simulate_best(schedules, with_spans=with_spans)
    except ScheduleError as error:
        if "buffers." not in error.hint:
            raise
        hint = f"{error.hint}; --no-simulate times it without limits of buffers"
        raise ScheduleError(error.what, where=error.where, expected=error.expected, hint=hint) from error


def _write_files(
    document: ScheduleDocument, found: ChipSchedule, timing: ChipTiming, trace: str | None, timeline: str | None
) -> list[str]:
    """Write what was asked for; return a line about each file."""
    written = []
    if trace is not None:
        from mho.report.trace import write_trace

        write_trace(document, found, timing, Path(trace))
        written.append(f"trace in {trace} (open it in https://ui.perfetto.dev)")
    if timeline is not None:
        from mho.report.timeline import write_timeline

        write_timeline(document, found, timing, Path(timeline))
        written.append(f"timeline in {timeline}")
    return written
