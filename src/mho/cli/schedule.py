"""``mho schedule``: a network on a chip of many crossbars, with copies, timing, energy, a trace and a timeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from mho.cli.arguments import (
    AcceleratorOption,
    BitsOption,
    CellBitsOption,
    CrossbarsOption,
    EncodingOption,
    EnergyOption,
    FollowingBatchOption,
    Format,
    FormatOption,
    InputShapeOption,
    NetworkArgument,
    PolicyOption,
    check_energy,
    load_scheduled,
)
from mho.cli.outputs import check_outputs
from mho.errors import ConfigError, ScheduleError
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.report.reload_document import ReloadDocument
from mho.report.reload_text import print_reload
from mho.report.schedule_document import ScheduleDocument
from mho.report.schedule_text import print_schedule
from mho.scheduling.chip_schedule import ChipDemand, ChipSchedule
from mho.scheduling.duplication import Objective
from mho.scheduling.reload_schedule import ReloadSchedule
from mho.simulation.chip_search import SimulatedSchedule, simulate_best
from mho.terminal import Console, echo

_Document = TypeVar("_Document", ScheduleDocument, ReloadDocument)

ObjectiveOption = Annotated[
    Objective | None,
    typer.Option(
        help="What options and copies are chosen for; by default latency. Of no meaning where tiles are rewritten."
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
    cell_bits: CellBitsOption = None,
    input_shape: InputShapeOption = None,
) -> None:
    """Lay a network out on a chip of many crossbars, and tell when every layer works.

    Where the crossbars hold all layers, weights stay: chooses how each layer lies in crossbars and how many copies it
    has, places them, and times layers that overlap. Where they do not, tiles are rewritten for every input: chooses
    which stay and which crossbars share the work of a tile, and times layers that follow each other.
    """
    _check_files(trace, timeline, simulate=simulate)
    check_outputs({"--trace": trace, "--timeline": timeline}, (network, accelerator, policy))
    asked = load_scheduled(
        network, accelerator, policy=policy, bits=bits, encoding=encoding, cell_bits=cell_bits, input_shape=input_shape
    )
    if energy:
        check_energy(asked.accelerator)
    layers = [node.name for node in asked.network.mvm_nodes if node.op == "conv"] if convolutions_only else None
    demand = ChipDemand.of(
        asked.network, asked.policy, asked.accelerator, crossbars=crossbars, model=mapping, layers=layers
    )
    files = _Files(trace, timeline)
    if demand.is_held:
        schedules = demand.list_schedules(objective or Objective.LATENCY, batch)
        found = _simulate(schedules, with_spans=files.are_asked) if simulate else next(schedules)
        document = ScheduleDocument.of(network, found, with_energy=energy)
        written = files.write(document, found) if isinstance(found, SimulatedSchedule) else []
        _print(document, output_format, print_schedule, written)
    else:
        _note_reload(objective, simulate=simulate)
        reloading = demand.schedule_reload(batch)
        told = ReloadDocument.of(network, reloading, minimal_crossbars=demand.minimal_crossbars, with_energy=energy)
        _print(told, output_format, print_reload, files.write_reload(told, reloading))


def _check_files(trace: str | None, timeline: str | None, *, simulate: bool) -> None:
    for option, path, suffix in (("--trace", trace, ".json"), ("--timeline", timeline, ".html")):
        if path is None:
            continue
        if not simulate:
            raise ConfigError(f"{option} shows a simulation", hint="leave --no-simulate out")
        if Path(path).suffix.lower() != suffix:
            raise ConfigError(f"{option} writes {suffix} files", where=path, hint=f"name it {Path(path).stem}{suffix}")


def _note_reload(objective: Objective | None, *, simulate: bool) -> None:
    """Say which options change nothing where tiles are rewritten."""
    if objective is not None:
        echo(
            f"note: --objective {objective} changes nothing: tiles are rewritten, layers and inputs follow each other, "
            "so that latency and interval are one",
            err=True,
        )
    if not simulate:
        echo(
            "note: --no-simulate changes nothing: tiles are rewritten, and transfers and buffers are not modelled then",
            err=True,
        )


def _simulate(schedules: Iterator[ChipSchedule], *, with_spans: bool) -> SimulatedSchedule:
    try:
        return simulate_best(schedules, with_spans=with_spans)
    except ScheduleError as error:
        if "buffers." not in error.hint:
            raise
        hint = f"{error.hint}; --no-simulate times it without limits of buffers"
        raise ScheduleError(error.what, where=error.where, expected=error.expected, hint=hint) from error


def _print(
    document: _Document,
    output_format: Format,
    tell: Callable[[Console, _Document], None],
    written: list[str],
) -> None:
    if output_format is Format.JSON:
        echo(json.dumps(document.model_dump(mode="json"), indent=2))
        return
    tell(Console(), document)
    for line in written:
        echo(line)


@dataclass(frozen=True)
class _Files:
    """Files that are asked for; each method writes them and returns a line about each."""

    trace: str | None
    timeline: str | None

    @property
    def are_asked(self) -> bool:
        return self.trace is not None or self.timeline is not None

    def write(self, document: ScheduleDocument, found: SimulatedSchedule) -> list[str]:
        timing = found.timing.batch
        if self.trace is not None:
            from mho.report.trace import write_trace

            write_trace(document.network, found.accelerator.name, found.plan, timing, Path(self.trace))
        if self.timeline is not None:
            from mho.report.timeline import write_timeline

            write_timeline(document, found, timing, Path(self.timeline))
        return self._tell()

    def write_reload(self, document: ReloadDocument, found: ReloadSchedule) -> list[str]:
        if self.trace is not None:
            from mho.report.reload_trace import write_reload_trace

            write_reload_trace(document, found, Path(self.trace))
        if self.timeline is not None:
            from mho.report.reload_timeline import write_reload_timeline

            write_reload_timeline(document, found, Path(self.timeline))
        return self._tell()

    def _tell(self) -> list[str]:
        lines = [] if self.trace is None else [f"trace in {self.trace} (open it in https://ui.perfetto.dev)"]
        return lines if self.timeline is None else [*lines, f"timeline in {self.timeline}"]
