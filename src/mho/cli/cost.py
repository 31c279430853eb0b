"""``mho cost``: the predicted time of a network, layer by layer."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mho.accelerator.loading import load_accelerator, override
from mho.accelerator.spec import Encoding
from mho.cache_folder import cache_folder
from mho.cli.arguments import parse_shape
from mho.cost.document import CostDocument, LayerRow
from mho.cost.latency import cost_network
from mho.cost.layer_tables import load_layer_table
from mho.errors import ConfigError
from mho.mapping.model import DEFAULT_MODEL, MappingModel
from mho.quantization.policy import UNIFORM_REFERENCE, BitWidths, Policy

_LAYER = "layer"
_DISPENSABLE = ("mapping", "share", "repeat", "rows", "cols", "outputs", "inputs", "positions")
"""Columns of the text that a narrow terminal does without, the first one first."""
_NAME_WIDTH = 30
"""Room that layer names are given before other columns are left out."""
_GAP = 3


class Format(StrEnum):
    """How the answer is printed."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


def cost(
    network: Annotated[str, typer.Argument(help="An ONNX file, torchvision:NAME, or a name of mho's own networks.")],
    accelerator: Annotated[str, typer.Option(metavar="NAME|FILE", help="A preset or a TOML file.")],
    policy: Annotated[str | None, typer.Option(metavar="FILE", help="Bit widths of every MVM layer (JSON).")] = None,
    bits: Annotated[
        str | None,
        typer.Option(
            metavar="W/A", help="The same widths for every layer; by default a quantized file's own, else 8/8."
        ),
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TEXT,
    encoding: Annotated[Encoding | None, typer.Option(help="Instead of the accelerator's.")] = None,
    cell_bits: Annotated[int | None, typer.Option(metavar="N", help="Instead of the accelerator's.")] = None,
    mapping: Annotated[
        MappingModel, typer.Option(help="The cheapest exact mapping of each layer, or that of the paper.")
    ] = DEFAULT_MODEL,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Samples that share the writes of weights.")] = 1,
    input_shape: Annotated[
        str | None, typer.Option(metavar="3,224,224", help="Shape of one sample, where the network leaves it open.")
    ] = None,
) -> None:
    """Predict the time of a network on an accelerator, layer by layer.

    Writes and reads of the crossbar are counted for one sample; digital work is taken to be hidden behind them, unless
    the accelerator charges for it.
    """
    if policy is not None and bits is not None:
        raise ConfigError("--policy and --bits were given together", expected="one of them")
    hardware = override(load_accelerator(accelerator), cell_bits=cell_bits, encoding=encoding)
    given = Policy.load(policy) if policy is not None else None
    uniform = BitWidths.parse(bits) if bits is not None else None
    table = load_layer_table(network, input_shape=parse_shape(input_shape), cache=cache_folder())
    if table.note:
        typer.echo(f"note: {table.note}", err=True)
    names = [layer.name for layer in table.layers]
    if given is not None:
        given.check_against(names, where=str(policy))
    own = table.policy or Policy.uniform(names, UNIFORM_REFERENCE)
    chosen = given or (Policy.uniform(names, uniform) if uniform is not None else own)
    result = cost_network(table.layers, chosen, hardware, model=mapping, batch=batch)
    reference = cost_network(table.layers, Policy.uniform(names, UNIFORM_REFERENCE), hardware, model=mapping, batch=batch)
    _print(CostDocument.of(network, result, reference, hardware), output_format)


def _print(document: CostDocument, output_format: Format) -> None:
    if output_format is Format.JSON:
        typer.echo(json.dumps(document.model_dump(mode="json"), indent=2))
    elif output_format is Format.CSV:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(LayerRow.model_fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(layer.model_dump() for layer in document.layers)
    else:
        _print_text(document)


def _print_text(document: CostDocument) -> None:
    console = Console(highlight=False)
    columns, left_out = _fit(_columns(document), console.width if console.is_terminal else None)
    table = _build_table(columns)
    if not console.is_terminal:
        console.width = max(console.width, console.measure(table, options=console.options.update(width=10_000)).maximum)
    hardware = document.accelerator
    crossbar, adc = hardware.crossbar, hardware.converters.adc_bits
    console.print(Text.assemble((document.network, "bold"), " on ", (hardware.name, "bold")))
    console.print(
        f"{crossbar.rows} x {crossbar.cols} crossbar, {crossbar.cell_bits}-bit cells, "
        f"{hardware.converters.dac_bits}-bit DAC, {adc if adc == 'ideal' else f'{adc}-bit'} ADC, "
        f"{_encodings(document)}; write {crossbar.write_latency_us} us, "
        f"MVM {crossbar.mvm_latency_us} us; {document.mapping} mapping"
        + (f"; {document.batch} samples a write" if document.batch > 1 else ""),
        style="dim",
        soft_wrap=True,
    )
    console.print(table)
    line = Text.assemble("latency ", (f"{document.latency_us / 1e3:.1f} ms", "bold"))
    line.append(f"   bound {document.bound_us / 1e3:.1f} ms")
    if any((layer.weight_bits, layer.act_bits) != (8, 8) for layer in document.layers):
        line.append(f"   8/8 {document.reference_latency_us / 1e3:.1f} ms   speedup ")
        line.append(f"{document.speedup:.3f}x", style="bold green")
    console.print(line)
    if left_out:
        console.print(f"too narrow for {', '.join(left_out)}; --format csv has all", style="dim")


def _encodings(document: CostDocument) -> str:
    return ", ".join(dict.fromkeys(layer.encoding.replace("-", " ") for layer in document.layers))


@dataclass(frozen=True)
class _Column:
    """A column of the text: its cells from top to bottom, and the total below them."""

    title: str
    cells: tuple[str, ...]
    total: str = ""

    @property
    def width(self) -> int:
        return max(len(text) for text in (self.title, self.total, *self.cells))


def _columns(document: CostDocument) -> list[_Column]:
    layers = document.layers

    def count(title: str, values: Iterable[int], *, add: bool = False) -> _Column:
        numbers = list(values)
        return _Column(title, tuple(f"{number:,}" for number in numbers), f"{sum(numbers):,}" if add else "")

    return [
        _Column(_LAYER, tuple(layer.name for layer in layers), "total"),
        count("outputs", (layer.outputs for layer in layers)),
        count("inputs", (layer.inputs for layer in layers)),
        count("rows", (layer.rows for layer in layers)),
        count("cols", (layer.cols for layer in layers)),
        count("positions", (layer.positions for layer in layers)),
        count("repeat", (layer.repeat for layer in layers)),
        _Column("W/A", tuple(f"{layer.weight_bits}/{layer.act_bits}" for layer in layers)),
        count("tiles", (layer.tiles for layer in layers), add=True),
        count("MVMs", (layer.mvms for layer in layers), add=True),
        _Column("ms", tuple(f"{layer.latency_us / 1e3:,.3f}" for layer in layers), f"{document.latency_us / 1e3:,.3f}"),
        *(
            [_Column("mapping", tuple(layer.layout for layer in layers))]
            if document.mapping is MappingModel.BEST
            else []
        ),
        _Column("share", tuple(f"{100 * layer.latency_us / document.latency_us:.1f} %" for layer in layers), "100.0 %"),
    ]


def _fit(columns: list[_Column], width: int | None) -> tuple[list[_Column], list[str]]:
    """Leave out what a terminal of `width` characters has no room for; None is room for all. Names may be folded."""
    left_out: list[str] = []
    titles = {column.title for column in columns}
    for title in (title for title in _DISPENSABLE if title in titles):
        needed = sum(min(column.width, _NAME_WIDTH) if column.title == _LAYER else column.width for column in columns)
        if width is None or needed + _GAP * len(columns) <= width:
            break
        columns = [column for column in columns if column.title != title]
        left_out.append(title)
    return columns, left_out


def _build_table(columns: list[_Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    for column in columns:
        if column.title == _LAYER:
            table.add_column(column.title, column.total, overflow="fold")
        else:
            table.add_column(column.title, column.total, justify="right", no_wrap=True, min_width=column.width)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table
