"""``mho inspect``: what a network, a program file or an accelerator holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

import mho
from mho.cli.arguments import (
    Format,
    FormatOption,
    InputShapeOption,
    JsonOption,
    PrintedOption,
    chosen_format,
    hinting_at_batch_axis,
    parse_shape,
)
from mho.cli.inspect_accelerator import inspect_accelerator, names_accelerator
from mho.cli.outputs import printed_into
from mho.errors import ConfigError
from mho.formats import plural
from mho.hardware.loading import list_presets, suggest_accelerator
from mho.terminal import Console, Text, echo, wide_console

if TYPE_CHECKING:
    from mho.network.summary import NetworkSummary
    from mho.program.disassembly import ProgramSummary


def inspect(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME",
            help="An ONNX file, torchvision:NAME, a name of mho's own, a .mho, an accelerator's preset or .toml.",
        ),
    ],
    output_format: FormatOption = Format.TEXT,
    input_shape: InputShapeOption = None,
    as_json: JsonOption = False,
    output: PrintedOption = None,
) -> None:
    """Show a network (its layers' matrices and widths, the operations around them), a program or an accelerator."""
    chosen = chosen_format(output_format, as_json=as_json)
    with printed_into(output, target):
        if target.endswith(".mho"):
            _inspect_program(Path(target), chosen)
        elif names_accelerator(target):
            inspect_accelerator(target, as_json=chosen is Format.JSON)
        else:
            _inspect_network(target, parse_shape(input_shape), chosen)


def _inspect_network(target: str, input_shape: tuple[int, ...] | None, output_format: Format) -> None:
    from mho.network.loading import load_network
    from mho.network.summary import summarize_network

    with hinting_at_batch_axis(input_shape), _hinting_at_presets(target):
        summary = summarize_network(load_network(target, input_shape=input_shape))
    if output_format is Format.JSON:
        echo(json.dumps(_network_document(target, summary), indent=2))
        return
    console = wide_console()
    console.print(Text.assemble((target, "bold"), f"   {_state(summary)}, {summary.parameters:,} parameters"))
    _print_tensors(console, summary.inputs, summary.outputs)
    rows = [_layer_row(summary, index) for index in range(len(summary.layers))]
    titles = ["layer", "kind", "outputs", "inputs", "positions", "repeat", "weights", "MACs", "W/A"]
    if not summary.quantized_layers:
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    _print_table(console, titles, rows, names=2)
    macs = sum(layer.layer.macs for layer in summary.layers)
    console.print(f"{len(summary.layers)} MVM layers, {macs:,} multiply-accumulates a sample")
    _print_counts(console, summary.operations)
    if summary.input_types:
        types = ", ".join(f"{name} ({dtype})" for name, dtype in summary.input_types.items())
        console.print(f"inputs of whole numbers: {types}")
    if summary.tables:
        console.print(
            f"{plural(summary.tables, 'table')} of embeddings, {summary.table_bytes:,} bytes of digital memory"
        )


@contextmanager
def _hinting_at_presets(target: str) -> Iterator[None]:
    """Name presets that are near to what is no network either."""
    try:
        yield
    except ConfigError as error:
        near = suggest_accelerator(target)
        if error.where != target or not near or error.hint:
            raise
        expected = f"{error.expected}; a .mho file; or an accelerator: {', '.join(list_presets())}, or a .toml file"
        raise ConfigError(
            "there is no such network or accelerator", where=target, expected=expected, hint=near
        ) from error


def _layer_row(summary: NetworkSummary, index: int) -> list[str]:
    item = summary.layers[index]
    layer = item.layer
    numbers = (layer.outputs, layer.inputs, layer.positions, layer.repeat, item.weights, layer.macs)
    widths = "float" if item.weight_bits is None else f"{item.weight_bits}/{item.act_bits}"
    return [layer.name, layer.kind, *(f"{number:,}" for number in numbers), widths]


def _state(summary: NetworkSummary) -> str:
    count = summary.quantized_layers
    if count == len(summary.layers) and count:
        return "quantized"
    return "float" if not count else f"{count} of {len(summary.layers)} layers quantized"


def _network_document(target: str, summary: NetworkSummary) -> dict[str, Any]:
    layers = [
        {**asdict(item.layer), "weights": item.weights, "weight_bits": item.weight_bits, "act_bits": item.act_bits}
        for item in summary.layers
    ]
    return {
        "network": target,
        "quantized": bool(summary.layers) and summary.quantized_layers == len(summary.layers),
        "parameters": summary.parameters,
        "inputs": {name: list(shape) for name, shape in summary.inputs.items()},
        "outputs": {name: list(shape) for name, shape in summary.outputs.items()},
        "layers": layers,
        "operations": dict(summary.operations),
        "input_types": dict(summary.input_types),
        "tables": {"count": summary.tables, "bytes": summary.table_bytes},
    }


def _inspect_program(path: Path, output_format: Format) -> None:
    from mho.program.container import read_program
    from mho.program.disassembly import summarize

    program = read_program(path)
    summary, work = summarize(program), mho.digital_work(program)
    if output_format is Format.JSON:
        totals = {"float32": asdict(work.float_total), "integer": asdict(work.integer_total)}
        energy_pj = None if work.energy_pj is None else float(work.energy_pj)
        between = {"operations": totals, "energy_pj": energy_pj}
        echo(json.dumps({**_program_document(summary), "between_layers": between}, indent=2))
        return
    console = wide_console()
    size = f"{summary.instructions:,} instructions, {summary.constants_bytes / 1e6:,.1f} MB of constants"
    console.print(Text.assemble((summary.name, "bold"), " for ", (summary.accelerator, "bold"), f"   {size}"))
    _print_tensors(console, summary.inputs, summary.outputs)
    is_chip = summary.chip_crossbars is not None
    columns = ("tiles", "copies" if is_chip else "writes", "mvms", "cells_bytes")
    rows = [[layer.name, layer.geometry, *(f"{getattr(layer, key):,}" for key in columns)] for layer in summary.layers]
    titles = ["layer", "product", *columns[:2], "MVMs", "bytes"]
    if any(layer.adc_bits is not None for layer in summary.layers):
        titles.append("ADC bits")
        rows = [
            [*row, "" if layer.adc_bits is None else str(layer.adc_bits)]
            for row, layer in zip(rows, summary.layers, strict=True)
        ]
    _print_table(console, titles, rows, names=2)
    console.print(_tell_work(summary), soft_wrap=True)
    _print_counts(console, summary.digital)
    for line in work.lines:
        console.print(Text(f"         {line}", style="dim"))


def _tell_work(summary: ProgramSummary) -> str:
    """Return what the crossbars do, in a line: on a chip weights are written once, and operands into every copy."""
    layers, mvms = f"{len(summary.layers)} layers", sum(layer.mvms for layer in summary.layers)
    if summary.chip_crossbars is None:
        writes = sum(layer.writes for layer in summary.layers)
        return f"{layers}, {plural(writes, 'crossbar write')} and {plural(mvms, 'MVM')} a sample"
    weights = sum(layer.copies * (layer.writes - layer.operand_writes) for layer in summary.layers)
    operands = sum(layer.copies * layer.operand_writes for layer in summary.layers)
    return (
        f"{layers} in {summary.chip_crossbars:,} crossbars, copies included; {weights:,} writes of weights, once for "
        f"all samples; {operands:,} writes of operands and {mvms:,} MVMs a sample"
    )


def _program_document(summary: ProgramSummary) -> dict[str, Any]:
    return {
        "program": summary.name,
        "accelerator": summary.accelerator,
        "inputs": {name: list(shape) for name, shape in summary.inputs.items()},
        "outputs": {name: list(shape) for name, shape in summary.outputs.items()},
        "layers": [asdict(layer) for layer in summary.layers],
        "digital": dict(summary.digital),
        "instructions": summary.instructions,
        "constants_bytes": summary.constants_bytes,
        "chip_crossbars": summary.chip_crossbars,
    }


def _print_tensors(
    console: Console, inputs: Mapping[str, tuple[int, ...]], outputs: Mapping[str, tuple[int, ...]]
) -> None:
    for title, tensors in (("in ", inputs), ("out", outputs)):
        shapes = ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in tensors.items())
        console.print(Text(f"{title} {shapes}", style="dim"))


def _print_table(console: Console, titles: Sequence[str], rows: Sequence[Sequence[str]], *, names: int) -> None:
    """Print rows of texts; the first `names` columns stand left, numbers right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, title in enumerate(titles):
        table.add_column(title, justify="left" if index < names else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _print_counts(console: Console, operations: Mapping[str, int]) -> None:
    counts = ", ".join(f"{count} {op}" for op, count in operations.items())
    console.print(Text(f"digital: {counts or 'nothing'}"))
