"""``mho map``: which cells of which tile hold what, and why each layer is mapped as it is."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mho.accelerator.spec import Encoding
from mho.cli.arguments import load_mapped
from mho.cost.network_map import NetworkMap
from mho.errors import ConfigError
from mho.mapping.model import DEFAULT_MODEL, MappingModel
from mho.report.drawing_files import check_suffix, write_drawing
from mho.report.map_document import MapDocument
from mho.report.map_text import print_comparison, print_layer, print_map


class Format(StrEnum):
    """How the answer is printed."""

    TEXT = "text"
    JSON = "json"


def map_network(
    network: Annotated[str, typer.Argument(help="An ONNX file, torchvision:NAME, or a name of mho's own networks.")],
    accelerator: Annotated[str, typer.Option(metavar="NAME|FILE", help="A preset or a TOML file.")],
    policy: Annotated[str | None, typer.Option(metavar="FILE", help="Bit widths of every MVM layer (JSON).")] = None,
    bits: Annotated[
        str | None,
        typer.Option(
            metavar="W/A", help="The same widths for every layer; by default a quantized file's own, else 8/8."
        ),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tell everything about one layer instead of a line of each.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Add a table beside im2col with differential columns.")
    ] = False,
    draw: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw the tiles of --layer into an .svg or .png file.")
    ] = None,
    tiles: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Tiles of --layer that are listed and drawn at most.")
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TEXT,
    encoding: Annotated[Encoding | None, typer.Option(help="Instead of the accelerator's.")] = None,
    cell_bits: Annotated[int | None, typer.Option(metavar="N", help="Instead of the accelerator's.")] = None,
    mapping: Annotated[
        MappingModel, typer.Option(help="The cheapest exact mapping of each layer, or that of the paper.")
    ] = DEFAULT_MODEL,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Samples that share the writes of weights.")] = 1,
    input_shape: Annotated[
        str | None, typer.Option(metavar="SHAPE", help="One sample, where the network leaves it open.")
    ] = None,
) -> None:
    """Show how a network lies in crossbars: tiles, what their cells hold, and why each mapping was chosen."""
    if layer is None and (draw is not None or tiles is not None):
        raise ConfigError(f"--{'draw' if draw is not None else 'tiles'} is about one layer", hint="add --layer NAME")
    path = Path(draw) if draw is not None else None
    if path is not None:
        check_suffix(path)
    asked = load_mapped(
        network, accelerator, policy=policy, bits=bits, encoding=encoding, cell_bits=cell_bits, input_shape=input_shape
    )
    if asked.note:
        typer.echo(f"note: {asked.note}", err=True)
    found = NetworkMap.of(asked.layers, asked.policy, asked.accelerator, model=mapping, batch=batch)
    if path is not None and layer is not None:
        write_drawing(found, layer, path, tiles=tiles)
    if output_format is Format.JSON:
        typer.echo(json.dumps(MapDocument.of(network, found, layer=layer).model_dump(mode="json"), indent=2))
    else:
        _print_text(network, found, layer, compare=compare, tiles=tiles)
        if path is not None:
            typer.echo(f"drawn in {path}")


def _print_text(network: str, found: NetworkMap, layer: str | None, *, compare: bool, tiles: int | None) -> None:
    console = Console(highlight=False)
    if layer is None:
        print_map(console, found, network)
    else:
        print_layer(console, found, layer, tiles=tiles)
    if compare:
        console.print()
        print_comparison(console, found if layer is None else found.only(layer))
