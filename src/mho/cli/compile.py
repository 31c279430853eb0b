"""``mho compile``: a quantized ONNX model becomes a program file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from mho.accelerator.loading import load_accelerator, override
from mho.accelerator.spec import Accelerator
from mho.cli.arguments import AcceleratorOption, CellBitsOption, CrossbarsOption, EncodingOption, MappingOption
from mho.cost.layer_tables import network_policy
from mho.errors import ConfigError
from mho.mapping.model import DEFAULT_MODEL, MappingModel
from mho.network.graph import Network
from mho.program.chip_lowering import compile_schedule
from mho.program.container import write_program
from mho.program.disassembly import summarize
from mho.program.lowering import compile_network, require_integers
from mho.program.program import Program
from mho.scheduling.chip_schedule import list_schedules
from mho.scheduling.duplication import Objective


def compile_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A quantized model (QDQ or QCDQ).")],
    accelerator: AcceleratorOption,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="P.mho", help="The program file to write.")],
    encoding: EncodingOption = None,
    cell_bits: CellBitsOption = None,
    mapping: MappingOption = DEFAULT_MODEL,
    batch: Annotated[
        int, typer.Option(metavar="N", min=1, help="Samples that share the writes of weights, for the choice.")
    ] = 1,
    chip: Annotated[
        bool, typer.Option("--chip", help="Give every tile a crossbar of its own, and slow layers copies.")
    ] = False,
    crossbars: CrossbarsOption = None,
    objective: Annotated[
        Objective | None, typer.Option(help="What options and copies are chosen for, with --chip; latency by default.")
    ] = None,
) -> None:
    """Compile a quantized ONNX model for an accelerator.

    The program holds the instructions and the cells of every tile, and runs with `mho simulate`. Without --chip it uses
    one crossbar again for every tile. With it, the program is the best schedule that `mho schedule` finds and carries
    it: weights stay, layers overlap, and every window waits for what it reads.
    """
    from mho.network.onnx_reader import read_onnx

    _check_options(chip=chip, crossbars=crossbars, objective=objective, batch=batch)
    hardware = override(load_accelerator(accelerator), cell_bits=cell_bits, encoding=encoding)
    network = read_onnx(model)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    origin = {"model": {"file": model.name, "sha256": digest}}
    if chip:
        chosen = objective or Objective.LATENCY
        program = _compile_for_chip(network, override(hardware, crossbars=crossbars), chosen, mapping, origin)
    else:
        program = compile_network(network, hardware, model=mapping, batch=batch, metadata=origin)
    write_program(program, output)
    typer.echo(f"{output}: {_describe(program)}, {output.stat().st_size / 1e6:,.1f} MB")


def _check_options(*, chip: bool, crossbars: int | None, objective: Objective | None, batch: int) -> None:
    if not chip and (crossbars is not None or objective is not None):
        option = "--crossbars" if crossbars is not None else "--objective"
        raise ConfigError(f"{option} is for programs of a chip", hint="add --chip")
    if chip and batch > 1:
        raise ConfigError("--batch is for programs of one crossbar", hint="on a chip, weights are written once for all")


def _compile_for_chip(
    network: Network, accelerator: Accelerator, objective: Objective, model: MappingModel, origin: dict[str, Any]
) -> Program:
    """Compile the schedule that is best when it is simulated."""
    from mho.simulation.chip_search import simulate_best

    policy = network_policy(network)
    if policy is None:
        require_integers(network)
    assert policy is not None
    schedule, _ = simulate_best(
        list_schedules(network, policy, accelerator, objective=objective, model=model), with_spans=False
    )
    return compile_schedule(network, schedule, metadata=origin)


def _describe(program: Program) -> str:
    """Return a line about what a program is and does."""
    summary = summarize(program)
    writes, mvms = (sum(getattr(layer, key) for layer in summary.layers) for key in ("writes", "mvms"))
    text = f"{len(summary.layers)} layers, {summary.instructions:,} instructions, "
    if program.schedule is None:
        return text + f"{writes:,} crossbar writes and {mvms:,} MVMs a sample"
    return text + (
        f"{writes:,} tiles in {program.schedule.used_crossbars:,} of {program.accelerator.chip.crossbars:,} crossbars, "
        f"{mvms:,} MVMs a sample"
    )
