"""``mho cost``: the predicted time of a network, layer by layer."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

import mho
from mho.cli.arguments import (
    AcceleratorOption,
    BitsOption,
    CellBitsOption,
    DigitalOption,
    EncodingOption,
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
    TableFormat,
    TableFormatOption,
    check_energy,
    chosen_format,
    load_with_widths,
    note_doubts,
    read_rules,
)
from mho.cli.outputs import printed_into
from mho.cost_model.document import CostDocument, EnergyDocument, EnergyRow, LayerRow
from mho.cost_model.energy import energy_network
from mho.cost_model.time_components import TimeComponent, split_time
from mho.formats import format_latency, format_milliseconds
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.policy import UNIFORM_REFERENCE, write_widths
from mho.report.breakdown_text import format_components, format_time_components, print_reuse, print_unspecified
from mho.report.columns import Column, print_columns
from mho.report.hardware_words import tell_adc, tell_times
from mho.terminal import Console, Text, echo

_DISPENSABLE = ("mapping", "share", "repeat", "rows", "cols", "outputs", "inputs", "positions")
"""Columns of the text that a narrow terminal does without, the first one first."""
_NAME_LINE, _MAPPING_LINE = 1000, 52
"""Characters after which names and mappings are folded."""


def cost(
    network: NetworkArgument,
    accelerator: AcceleratorOption,
    policy: PolicyOption = None,
    bits: BitsOption = None,
    output_format: TableFormatOption = TableFormat.TEXT,
    encoding: EncodingOption = None,
    max_error: MaxErrorOption = None,
    mapping_objective: MappingObjectiveOption = None,
    digital: DigitalOption = None,
    not_digital: NotDigitalOption = None,
    cell_bits: CellBitsOption = None,
    mapping: MappingOption = DEFAULT_MODEL,
    batch: SharingBatchOption = 1,
    input_shape: InputShapeOption = None,
    energy: Annotated[
        bool, typer.Option("--energy", help="Energy too, as far as the accelerator specifies it.")
    ] = False,
    as_json: JsonOption = False,
    output: PrintedOption = None,
) -> None:
    """Predict the time of a network on an accelerator, layer by layer.

    The time is that of one crossbar, which is rewritten for every tile: `mho schedule` uses all crossbars of a chip.
    Writes and reads of the crossbar are counted for one sample; digital work is taken to be hidden behind them, unless
    the accelerator charges for it.
    """
    chosen = chosen_format(output_format, as_json=as_json)
    with printed_into(output, network, accelerator, policy):
        rules = read_rules(max_error, mapping_objective, digital, not_digital, mapping=mapping)
        hardware = note_doubts(mho.accelerator(accelerator, cell_bits=cell_bits, encoding=encoding, **rules))
        if energy:
            check_energy(hardware)
        layers, widths = load_with_widths(mho.load_layers, network, policy=policy, bits=bits, input_shape=input_shape)
        result = mho.cost(layers, hardware, widths, mapping=mapping, batch=batch)
        reference = mho.cost(layers, hardware, UNIFORM_REFERENCE, mapping=mapping, batch=batch)
        spent = energy_network(result, hardware) if energy else None
        document = CostDocument.of(network, result, reference, hardware, spent)
        _print(document, split_time(result, hardware), chosen)


def _print(document: CostDocument, times: Mapping[TimeComponent, int], output_format: TableFormat) -> None:
    if output_format is TableFormat.JSON:
        echo(json.dumps(document.model_dump(mode="json"), indent=2))
    elif output_format is TableFormat.CSV:
        names = [name for name in LayerRow.model_fields if name != "adc_bits" or _has_adc_bits(document)]
        fields = [*names, *(_csv_energies(document.energy) if document.energy is not None else ())]
        table = io.StringIO()
        writer = csv.DictWriter(table, fieldnames=fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_csv_rows(document))
        echo(table.getvalue(), nl=False)
    else:
        _print_text(document, times)


def _csv_rows(document: CostDocument) -> Iterator[dict[str, Any]]:
    for number, layer in enumerate(document.layers):
        energies = {} if document.energy is None else _csv_energies(document.energy.layers[number])
        yield {**layer.model_dump(), **energies}


def _csv_energies(spent: EnergyDocument | EnergyRow) -> dict[str, float]:
    return {
        "energy_pj": spent.total_pj,
        **{f"{component}_pj": picojoules for component, picojoules in spent.components_pj.items()},
    }


def _print_text(document: CostDocument, times: Mapping[TimeComponent, int]) -> None:
    console = Console()
    hardware = document.accelerator
    crossbar = hardware.crossbar
    console.print(Text.assemble((document.network, "bold"), " on ", (hardware.name, "bold")))
    console.print(
        f"{crossbar.rows} x {crossbar.cols} crossbar, {crossbar.cell_bits}-bit cells, "
        f"{hardware.converters.dac_bits}-bit DAC, {tell_adc(hardware)}, {_encodings(document)}; "
        f"{tell_times(hardware)}; {document.mapping} mapping"
        + (f"; {document.batch} samples a write" if document.batch > 1 else ""),
        style="dim",
        soft_wrap=True,
    )
    left_out = print_columns(console, _columns(document), _DISPENSABLE)
    line = Text.assemble("latency ", (format_latency(document.latency_us), "bold"))
    line.append(f"   bound {format_latency(document.bound_us)}")
    if any((layer.weight_bits, layer.act_bits, layer.adc_bits) != (8, 8, None) for layer in document.layers):
        line.append(f"   8/8 {format_latency(document.reference_latency_us)}   speedup ")
        line.append(f"{document.speedup:.3f}x", style="bold green")
    console.print(line)
    console.print(format_time_components(times), soft_wrap=True)
    print_reuse(console, hardware)
    if document.energy is not None:
        _print_energy(console, document.energy)
    if document.lifetime_inputs is not None:
        console.print(f"cells last {document.lifetime_inputs:,} samples", style="dim")
    if tiles := sum(layer.written_with is not None for layer in document.layers):
        console.print(f"{tiles} layer{'s' if tiles > 1 else ''} written along with an earlier one", style="dim")
    if left_out:
        console.print(f"too narrow for {', '.join(left_out)}; --format csv has all", style="dim")


def _print_energy(console: Console, energy: EnergyDocument) -> None:
    line = Text.assemble("energy ", (f"{energy.total_pj / 1e6:,.3f} uJ", "bold"))
    console.print(line.append(format_components(energy.components_pj, energy.total_pj)))
    print_unspecified(console, energy.untold)


def _encodings(document: CostDocument) -> str:
    return ", ".join(dict.fromkeys(layer.encoding.replace("-", " ") for layer in document.layers))


def _columns(document: CostDocument) -> list[Column]:
    layers, count = document.layers, Column.of_counts
    is_shared = any(layer.written_with is not None for layer in layers)
    mapped = [Column("mapping", tuple(layer.layout for layer in layers), most=_MAPPING_LINE)]
    return [
        Column("layer", tuple(layer.name for layer in layers), "total", most=_NAME_LINE),
        count("outputs", (layer.outputs for layer in layers)),
        count("inputs", (layer.inputs for layer in layers)),
        count("rows", (layer.rows for layer in layers)),
        count("cols", (layer.cols for layer in layers)),
        count("positions", (layer.positions for layer in layers)),
        count("repeat", (layer.repeat for layer in layers)),
        _width_column(document),
        count("tiles", (layer.tiles for layer in layers), add=True),
        *([count("writes", (layer.writes for layer in layers), add=True)] if is_shared else []),
        count("MVMs", (layer.mvms for layer in layers), add=True),
        Column(
            "ms",
            tuple(format_milliseconds(layer.latency_us / 1e3) for layer in layers),
            format_milliseconds(document.latency_us / 1e3),
        ),
        *(_energy_columns(document.energy) if document.energy is not None else []),
        *(mapped if document.mapping is MappingModel.BEST else []),
        Column("share", tuple(f"{100 * layer.latency_us / document.latency_us:.1f} %" for layer in layers), "100.0 %"),
    ]


def _width_column(document: CostDocument) -> Column:
    widths = (write_widths(layer.weight_bits, layer.act_bits, layer.adc_bits) for layer in document.layers)
    return Column("W/A/ADC" if _has_adc_bits(document) else "W/A", tuple(widths))


def _has_adc_bits(document: CostDocument) -> bool:
    return any(layer.adc_bits is not None for layer in document.layers)


def _energy_columns(energy: EnergyDocument) -> list[Column]:
    cells = tuple(f"{layer.total_pj / 1e6:,.3f}" for layer in energy.layers)
    return [Column("uJ", cells, f"{energy.total_pj / 1e6:,.3f}")]
