"""``mho map``: which cells of which tile hold what, and why each layer is mapped as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.cli.arguments import (
    MOST,
    AcceleratorOption,
    BitsOption,
    CellBitsOption,
    DigitalOption,
    EncodingOption,
    Format,
    FormatOption,
    InputShapeOption,
    JsonOption,
    MappingObjectiveOption,
    MappingOption,
    MaxErrorOption,
    NetworkArgument,
    NotDigitalOption,
    PolicyOption,
    PrintedOption,
    SharingBatchOption,
    chosen_format,
    load_with_widths,
    note_doubts,
    read_rules,
)
from mho.cli.outputs import check_outputs, printed_into
from mho.cost_model.network_map import NetworkMap
from mho.errors import ConfigError
from mho.mapping.layer_mapping import DEFAULT_MODEL
from mho.report.drawing_files import check_suffix, write_drawing
from mho.report.map_document import MapDocument
from mho.report.map_text import print_comparison, print_layer, print_map
from mho.terminal import Console, echo


def map_network(
    network: NetworkArgument,
    accelerator: AcceleratorOption,
    policy: PolicyOption = None,
    bits: BitsOption = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Show everything about one layer instead of a line of each.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Add a table beside im2col with differential columns.")
    ] = False,
    draw: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw the tiles of --layer into an .svg or .png file.")
    ] = None,
    tiles: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=MOST, help="Tiles of --layer that are listed and drawn at most."),
    ] = None,
    output_format: FormatOption = Format.TEXT,
    encoding: EncodingOption = None,
    max_error: MaxErrorOption = None,
    mapping_objective: MappingObjectiveOption = None,
    digital: DigitalOption = None,
    not_digital: NotDigitalOption = None,
    cell_bits: CellBitsOption = None,
    mapping: MappingOption = DEFAULT_MODEL,
    batch: SharingBatchOption = 1,
    input_shape: InputShapeOption = None,
    as_json: JsonOption = False,
    output: PrintedOption = None,
) -> None:
    """Show how a network lies in crossbars: tiles, what their cells hold, and why each mapping was chosen."""
    if layer is None and (draw is not None or tiles is not None):
        raise ConfigError(f"--{'draw' if draw is not None else 'tiles'} is about one layer", hint="add --layer NAME")
    path = Path(draw) if draw is not None else None
    if path is not None:
        check_suffix(path)
        check_outputs({"--draw": path, "--output": output}, (network, accelerator, policy))
    chosen = chosen_format(output_format, as_json=as_json)
    with printed_into(output, network, accelerator, policy):
        rules = read_rules(max_error, mapping_objective, digital, not_digital, mapping=mapping)
        hardware = note_doubts(mho.accelerator(accelerator, cell_bits=cell_bits, encoding=encoding, **rules))
        layers, widths = load_with_widths(mho.load_layers, network, policy=policy, bits=bits, input_shape=input_shape)
        found = mho.map(layers, hardware, widths, mapping=mapping, batch=batch)
        if path is not None and layer is not None:
            write_drawing(found, layer, path, tiles=tiles)
        if chosen is Format.JSON:
            echo(json.dumps(MapDocument.of(network, found, layer=layer).model_dump(mode="json"), indent=2))
        else:
            _print_text(network, found, layer, compare=compare, tiles=tiles)
            if path is not None:
                echo(f"drawn in {path}")


def _print_text(network: str, found: NetworkMap, layer: str | None, *, compare: bool, tiles: int | None) -> None:
    console = Console()
    if layer is None:
        print_map(console, found, network)
    else:
        print_layer(console, found, layer, tiles=tiles)
    if compare:
        console.print()
        print_comparison(console, found if layer is None else found.only(layer))
