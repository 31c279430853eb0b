"""``mho schedule``: a network on a chip of many crossbars, with copies, timing, energy, a trace and a timeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.cli.arguments import (
    AcceleratorOption,
    BitsOption,
    CellBitsOption,
    CrossbarsOption,
    DigitalOption,
    EncodingOption,
    EnergyOption,
    FollowingBatchOption,
    Format,
    FormatOption,
    InputShapeOption,
    JsonOption,
    MappingObjectiveOption,
    MaxErrorOption,
    NetworkArgument,
    NotDigitalOption,
    PolicyOption,
    PrintedOption,
    check_energy,
    chosen_format,
    load_with_widths,
    note_doubts,
    read_rules,
)
from mho.cli.help import one_of
from mho.cli.outputs import check_outputs, printed_into
from mho.cli.progress_lines import shown_work
from mho.errors import ConfigError, ScheduleError
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.report.schedule_document import ScheduleDocument
from mho.report.schedule_text import print_schedule
from mho.scheduling.duplication import Objective
from mho.scheduling.schedule import Schedule
from mho.terminal import Console, echo, echo_note

ObjectiveOption = Annotated[
    Objective | None,
    typer.Option(
        metavar="OBJECTIVE",
        help="What options and copies are chosen for; by default latency. Of no meaning where tiles are rewritten. "
        f"{one_of(Objective)}",
    ),
]
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
    objective: ObjectiveOption = None,
    batch: FollowingBatchOption = 1,
    convolutions_only: ConvolutionsOption = False,
    mapping: ChipMappingOption = DEFAULT_MODEL,
    simulate: SimulateOption = True,
    energy: EnergyOption = False,
    trace: TraceOption = None,
    timeline: TimelineOption = None,
    output_format: FormatOption = Format.TEXT,
    encoding: EncodingOption = None,
    max_error: MaxErrorOption = None,
    mapping_objective: MappingObjectiveOption = None,
    digital: DigitalOption = None,
    not_digital: NotDigitalOption = None,
    cell_bits: CellBitsOption = None,
    input_shape: InputShapeOption = None,
    as_json: JsonOption = False,
    output: PrintedOption = None,
) -> None:
    """Lay a network out on a chip of many crossbars, and show when every layer works.

    Where the crossbars hold all layers, weights stay: chooses how each layer lies in crossbars and how many copies it
    has, places them, and times layers that overlap. Where they do not, tiles are rewritten for every input: chooses
    which stay and which crossbars share the work of a tile, and times layers that follow each other.
    """
    _check_files(trace, timeline, simulate=simulate)
    check_outputs({"--trace": trace, "--timeline": timeline, "--output": output}, (network, accelerator, policy))
    chosen = chosen_format(output_format, as_json=as_json)
    rules = read_rules(max_error, mapping_objective, digital, not_digital, mapping=mapping)
    hardware = note_doubts(mho.accelerator(accelerator, cell_bits=cell_bits, encoding=encoding, **rules))
    loaded, widths = load_with_widths(mho.load, network, policy=policy, bits=bits, input_shape=input_shape)
    if energy:
        check_energy(hardware)
    layers = [node.name for node in loaded.mvm_nodes if node.op == "conv"] if convolutions_only else None
    with _naming_the_way_out(), shown_work(f"laying {network} out on {hardware.name} and timing it"):
        found = mho.schedule(
            loaded,
            hardware,
            widths,
            crossbars=crossbars,
            objective=(objective or Objective.LATENCY).value,
            mapping=mapping.value,
            batch=batch,
            layers=layers,
            simulate=simulate,
            with_spans=trace is not None or timeline is not None,
        )
    document = ScheduleDocument.of(network, found, with_energy=energy)
    if document.reload is not None:
        _note_without_effect(objective, simulate=simulate)
    written = _write_files(document, found, trace, timeline)
    with printed_into(output):
        if chosen is Format.JSON:
            echo(json.dumps(document.model_dump(mode="json"), indent=2))
            return
        print_schedule(Console(), document)
        for line in written:
            echo(line)


def _check_files(trace: str | None, timeline: str | None, *, simulate: bool) -> None:
    for option, path, suffix in (("--trace", trace, ".json"), ("--timeline", timeline, ".html")):
        if path is None:
            continue
        if not simulate:
            raise ConfigError(f"{option} shows a simulation", hint="leave --no-simulate out")
        if Path(path).suffix.lower() != suffix:
            raise ConfigError(f"{option} writes {suffix} files", where=path, hint=f"name it {Path(path).stem}{suffix}")


def _note_without_effect(objective: Objective | None, *, simulate: bool) -> None:
    """Say which options change nothing where tiles are rewritten."""
    if objective is not None:
        echo_note(
            f"note: --objective {objective} changes nothing: tiles are rewritten, layers and inputs follow each other, "
            "so that latency and interval are one"
        )
    if not simulate:
        echo_note(
            "note: --no-simulate changes nothing: tiles are rewritten, and transfers and buffers are not modelled then"
        )


@contextmanager
def _naming_the_way_out() -> Iterator[None]:
    """Name the option that leaves limits of buffers out where these are too small."""
    try:
        yield
    except ScheduleError as error:
        if "buffers." not in error.hint:
            raise
        hint = f"{error.hint}; --no-simulate times it without limits of buffers"
        raise ScheduleError(error.what, where=error.where, expected=error.expected, hint=hint) from error


def _write_files(document: ScheduleDocument, found: Schedule, trace: str | None, timeline: str | None) -> list[str]:
    """Write the files that are wanted, and return a line about each."""
    if trace is None and timeline is None:
        return []
    chart, lines = found.draw_gantt(), []
    if trace is not None:
        from mho.report.trace import write_trace

        write_trace(document.network, document.accelerator.name, chart, Path(trace))
        lines.append(f"trace in {trace} (open it in https://ui.perfetto.dev)")
    if timeline is not None:
        from mho.report.schedule_page import write_timeline

        write_timeline(document, chart, Path(timeline))
        lines.append(f"timeline in {timeline}")
    return lines
