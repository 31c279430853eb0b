"""``mho compile``: a quantized ONNX model becomes a program file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from mho.accelerator.loading import load_accelerator, override
from mho.cli.arguments import AcceleratorOption, CellBitsOption, EncodingOption, MappingOption
from mho.mapping.model import DEFAULT_MODEL
from mho.program.container import write_program
from mho.program.disassembly import summarize
from mho.program.lowering import compile_network


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
) -> None:
    """Compile a quantized ONNX model for an accelerator.

    The program holds the instructions and the cells of every tile, and runs with `mho simulate`.
    """
    from mho.network.onnx_reader import read_onnx

    hardware = override(load_accelerator(accelerator), cell_bits=cell_bits, encoding=encoding)
    network = read_onnx(model)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    origin = {"model": {"file": model.name, "sha256": digest}}
    program = compile_network(network, hardware, model=mapping, batch=batch, metadata=origin)
    write_program(program, output)
    summary = summarize(program)
    writes, mvms = (sum(getattr(layer, key) for layer in summary.layers) for key in ("writes", "mvms"))
    typer.echo(
        f"{output}: {len(summary.layers)} layers, {summary.instructions:,} instructions, "
        f"{writes:,} crossbar writes and {mvms:,} MVMs a sample, {output.stat().st_size / 1e6:,.1f} MB"
    )
