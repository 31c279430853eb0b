"""How a network lies in crossbars, as text: a table of its layers, and all about one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

from mho.cost_model.network_map import LayerMap, NetworkMap
from mho.formats import format_milliseconds, plural
from mho.hardware.spec import Accelerator
from mho.mapping.explain import Alternative
from mho.mapping.layer_mapping import describe_mapping
from mho.mapping.occupancy import PartOccupancy
from mho.mapping.windows import SINGLE
from mho.report.breakdown_text import print_reuse
from mho.report.columns import Column, print_columns
from mho.report.hardware_words import tell_adc, tell_times
from mho.report.map_words import (
    tell_alternative,
    tell_choice,
    tell_encoding,
    tell_layer,
    tell_loops,
    tell_mapping,
    tell_piece,
    tell_range,
    tell_ratio,
    tell_taken_back,
    tell_tile,
)
from mho.terminal import Console, Text

_DISPENSABLE = ("next best", "cells", "encoding", "x bound", "nJ", "mapping")
_COMPARED = ("mapping", "their tiles", "their MVMs", "tiles", "MVMs")
"""Columns that a narrow terminal does without, the first one first."""
_NAME_LINE, _MAPPING_LINE = 1000, 52
"""Characters after which names and mappings are folded."""
_FEW_TILES = 8


def print_map(console: Console, network_map: NetworkMap, title: str) -> None:
    """Print a line about the hardware and a table of all layers.

    Args:
        console: where to.
        network_map: what to print.
        title: the network's name.
    """
    layers, batch = network_map.layers, network_map.batch
    _print_heading(console, network_map, title)
    writes = Column.of_counts("writes", (layer.cost.writes for layer in layers), add=True)
    columns = [
        _names(network_map),
        _widths(network_map),
        Column("encoding", tuple(_encoding(layer) for layer in layers)),
        Column("mapping", tuple(describe_mapping(layer.mapping) for layer in layers), most=_MAPPING_LINE),
        Column.of_counts("tiles", (layer.mapping.tiles for layer in layers), add=True),
        *([writes] if any(layer.written_with is not None for layer in layers) else []),
        Column.of_counts("MVMs", (layer.mapping.mvms for layer in layers), add=True),
        Column(
            "ms",
            tuple(_ms(layer.cost.latency_ps, batch) for layer in layers),
            _ms(network_map.latency_ps, batch),
        ),
        *_energies(network_map),
        *_errors(network_map),
        Column("x bound", tuple(f"{layer.over_bound:.2f}" for layer in layers), _over_bound(network_map)),
        Column("cells", tuple(_share(layer) for layer in layers), f"{network_map.cells.utilization:.1%}"),
        Column("next best", tuple(_next_best(layer) for layer in layers), most=_MAPPING_LINE),
    ]
    left_out = print_columns(console, columns, _DISPENSABLE)
    console.print(
        "ms: of one sample; x bound: times what no exact mapping can beat (reads alone where a write may be shared); "
        "cells: share that holds digits of weights",
        style="dim",
        soft_wrap=True,
    )
    _print_errors(console, network_map)
    _print_left_out(console, left_out)
    print_reuse(console, network_map.accelerator)


def print_comparison(console: Console, network_map: NetworkMap) -> None:
    """Print a table of all layers beside im2col with differential columns, counted in two ways."""
    layers, batch = network_map.layers, network_map.batch
    papers = [layer.baselines.paper for layer in layers]
    capacities = [layer.baselines.by_capacity for layer in layers]
    columns = [
        _names(network_map),
        _widths(network_map),
        Column("mapping", tuple(tell_mapping(layer.mapping) for layer in layers), most=_MAPPING_LINE),
        Column("their tiles", *_counts([one.mapping.tiles if one.mapping else None for one in papers])),
        Column("their MVMs", *_counts([one.mapping.mvms if one.mapping else None for one in papers])),
        Column.of_counts("tiles", (layer.mapping.tiles for layer in layers), add=True),
        Column.of_counts("MVMs", (layer.mapping.mvms for layer in layers), add=True),
        Column("paper ms", *_times(papers, batch)),
        Column("capacity ms", *_times(capacities, batch)),
        Column("ms", tuple(_ms(layer.cost.latency_ps, batch) for layer in layers), _ms(network_map.latency_ps, batch)),
        Column("vs paper", *_ratios(papers, network_map)),
        Column("vs capacity", *_ratios(capacities, network_map)),
    ]
    console.print(Text("against im2col with differential columns", style="bold"))
    left_out = print_columns(console, columns, _COMPARED)
    console.print(
        "paper (their tiles, their MVMs): as arXiv 2601.21737 counts it, ceil(weight bits / cell bits) cells a weight "
        "and sign; capacity: as many cells as the magnitudes need; vs: their time over this mapping's",
        style="dim",
        soft_wrap=True,
    )
    for one in dict.fromkeys(one.reason for one in (*papers, *capacities) if one.mapping is None):
        console.print(f"-: {one}", style="dim", soft_wrap=True)
    _print_left_out(console, left_out)


def print_layer(console: Console, network_map: NetworkMap, name: str, *, tiles: int | None = None) -> None:
    """Print everything about one layer.

    Args:
        console: where to.
        network_map: the network on its accelerator.
        name: which layer.
        tiles: how many of its tiles are listed at most; None for a few.

    Raises:
        MappingError: there is no such layer.
    """
    layer, batch = network_map.layer(name), network_map.batch
    mapping = layer.mapping
    bits = f"{mapping.bits.weight_bits}-bit weights, {mapping.bits.act_bits}-bit inputs"
    bits += "" if mapping.bits.adc_bits is None else f", {mapping.bits.adc_bits}-bit conversions"
    console.print(Text(name, style="bold"))
    console.print(f"{tell_layer(mapping.layer)}; {bits}", style="dim", soft_wrap=True)
    console.print(Text(tell_mapping(mapping), style="green"), soft_wrap=True)
    if taken_back := tell_taken_back(mapping):
        console.print(taken_back, style="dim", soft_wrap=True)
    if layer.written_with is not None:
        row, col = layer.placement.row, layer.placement.col
        place = f"from row {row}, column {col} of the crossbar that {layer.written_with} writes"
        console.print(place, style="dim", soft_wrap=True)
    console.print(
        f"{plural(mapping.tiles, 'tile')}, {plural(mapping.mvms, 'MVM')}, "
        f"{_ms(layer.cost.latency_ps, batch)} ms ({layer.over_bound:.2f} times its bound), "
        f"{_share(layer)} of all cells hold digits of weights",
        soft_wrap=True,
    )
    _print_choice(console, layer, batch)
    for number in range(len(mapping.parts)):
        _print_part(console, layer, number, network_map.accelerator)
    if not mapping.is_digital:
        _print_tiles(console, layer, network_map.accelerator, _FEW_TILES if tiles is None else tiles)


def _errors(network_map: NetworkMap) -> list[Column]:
    """Return the column of predicted errors, where there are any."""
    errors = [layer.explanation.error for layer in network_map.layers]
    return [Column("error", tuple(f"{error:.3f}" for error in errors))] if any(errors) else []


def _energies(network_map: NetworkMap) -> list[Column]:
    """Return the column of energies, where the accelerator specifies any."""
    energies = [layer.explanation.energy_aj for layer in network_map.layers]
    if None in energies:
        return []
    known, batch = [energy for energy in energies if energy is not None], network_map.batch
    return [Column("nJ", tuple(_nj(energy, batch) for energy in known), _nj(sum(known), batch))]


def _alternative_energies(layer: LayerMap, others: list[Alternative], batch: int) -> list[Column]:
    """Return the column of energies of a mapping and its alternatives, where there are any."""
    energies = [layer.explanation.energy_aj, *(one.energy_aj for one in others)]
    if not any(energies):
        return []
    return [Column("nJ", tuple("-" if energy is None else _nj(energy, batch) for energy in energies))]


def _nj(attojoules: float, batch: int) -> str:
    return f"{attojoules / batch / 1e9:,.3f}"


def _print_errors(console: Console, network_map: NetworkMap) -> None:
    """Say what errors are, and which layers do not keep their bound."""
    explained = {layer.name: layer.explanation for layer in network_map.layers}
    if not any(one.error for one in explained.values()):
        return
    bound = next((one.bound for one in explained.values() if one.bound is not None), None)
    words = "no bound" if bound is None else f"bound (mapping.max_error) {bound:g}" if bound else "as little as may be"
    console.print(
        f"error: predicted at the output, RMS over the standard deviation of the exact output; {words}",
        style="dim",
        soft_wrap=True,
    )
    above = [name for name, one in explained.items() if not one.keeps_bound]
    if above:
        named = ", ".join(above[:_FEW_TILES]) + (", ..." if len(above) > _FEW_TILES else "")
        console.print(f"above the bound: {named}", style="yellow", soft_wrap=True)


def _print_heading(console: Console, network_map: NetworkMap, title: str) -> None:
    hardware = network_map.accelerator
    crossbar = hardware.crossbar
    console.print(Text.assemble((title, "bold"), " on ", (hardware.name, "bold")))
    console.print(
        f"{crossbar.rows} x {crossbar.cols} crossbar, {crossbar.cell_bits}-bit cells, "
        f"{hardware.converters.dac_bits}-bit DAC, {tell_adc(hardware)}; {tell_times(hardware)}; "
        f"{network_map.model} mapping" + (f"; {network_map.batch} samples a write" if network_map.batch > 1 else ""),
        style="dim",
        soft_wrap=True,
    )


def _print_choice(console: Console, layer: LayerMap, batch: int) -> None:
    explanation = layer.explanation
    others = sorted(explanation.alternatives, key=lambda one: math.inf if one.time_ps is None else one.time_ps)
    ratios = [explanation.ratio(one) for one in others]
    columns = [
        Column("why", ("this mapping", *(one.name for one in others)), most=_NAME_LINE),
        Column("tiles", (f"{layer.mapping.tiles:,}", *(_tiles(one) for one in others))),
        Column("MVMs", (f"{layer.mapping.mvms:,}", *(_mvms(one) for one in others))),
        Column("ms", (_ms(explanation.time_ps, batch), *_times(others, batch)[0])),
        Column("ratio", ("1.00", *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios))),
        *_alternative_energies(layer, others, batch),
        *_alternative_errors(layer, others),
        Column(
            "mapping",
            (tell_mapping(layer.mapping), *(tell_alternative(explanation, one) for one in others)),
            most=_MAPPING_LINE,
        ),
    ]
    left_out = print_columns(console, columns, ("mapping", "MVMs", "tiles"))
    console.print(tell_choice(explanation, batch=batch), soft_wrap=True)
    _print_left_out(console, left_out)


def _alternative_errors(layer: LayerMap, others: list[Alternative]) -> list[Column]:
    """Return the column of predicted errors of a mapping and its alternatives, where there are any."""
    errors = [layer.explanation.error, *(one.error for one in others)]
    if not any(errors):
        return []
    return [Column("error", tuple("-" if error is None else f"{error:.3f}" for error in errors))]


def _print_part(console: Console, layer: LayerMap, number: int, accelerator: Accelerator) -> None:
    mapping = layer.mapping
    part, occupancy = mapping.parts[number], PartOccupancy.of(mapping, number, accelerator)
    window = "one position an MVM" if part.window == SINGLE else f"{part.window} an MVM"
    console.print()
    console.print(
        Text.assemble((f"part {number + 1} of {len(mapping.parts)}", "bold"), f": {tell_piece(part, mapping.layer)}"),
        soft_wrap=True,
    )
    packed = f", {plural(part.groups_per_tile, 'group')} a tile" if part.groups_per_tile > 1 else ""
    console.print(
        f"  {window}; {part.rows:,} rows x {part.cols:,} columns in "
        f"{part.row_tiles:,} x {part.col_tiles:,} tiles{packed}; {plural(part.num_weight_slices, 'digit')} a weight; "
        f"{occupancy.count().utilization:.1%} of the cells hold digits",
        soft_wrap=True,
    )
    for line in tell_loops(occupancy.contents, written_with=layer.written_with):
        console.print(f"  {line}", soft_wrap=True)


def _print_tiles(console: Console, layer: LayerMap, accelerator: Accelerator, most: int) -> None:
    rows = list(islice(_tell_tiles(layer, accelerator), most))
    titles = ("tile", "part", "rows", "driven by", "columns", "give", "cells")
    figures = {"tile", "part", "rows", "columns", "cells"}
    cells = list(zip(*rows, strict=True))
    columns = [
        Column(title, tuple(cells[number]), most=None if title in figures else _MAPPING_LINE)
        for number, title in enumerate(titles)
    ]
    left_out = print_columns(console, columns, ("columns", "rows", "part"))
    if (more := layer.mapping.tiles - len(rows)) > 0:
        console.print(f"and {plural(more, 'more tile')}; --tiles N lists more", style="dim", soft_wrap=True)
    _print_left_out(console, left_out)


def _tell_tiles(layer: LayerMap, accelerator: Accelerator) -> Iterator[tuple[str, ...]]:
    count = 0
    for number in range(len(layer.mapping.parts)):
        occupancy = PartOccupancy.of(layer.mapping, number, accelerator)
        for place in occupancy.contents.tiles():
            count += 1
            rows, cols = tell_tile(occupancy, place)
            share = occupancy.count_tile(place).utilization
            block = place.block
            yield (
                str(count), str(number + 1), tell_range(block.row_start, block.row_stop), rows,
                tell_range(block.col_start, block.col_stop), cols, f"{share:.1%}",
            )  # fmt: skip


def _print_left_out(console: Console, left_out: tuple[str, ...]) -> None:
    if left_out:
        console.print(f"too narrow for {', '.join(left_out)}; --format json has all", style="dim", soft_wrap=True)


def _names(network_map: NetworkMap) -> Column:
    return Column("layer", tuple(layer.name for layer in network_map.layers), "total", most=_NAME_LINE)


def _widths(network_map: NetworkMap) -> Column:
    bits = (layer.mapping.bits for layer in network_map.layers)
    return Column("W/A", tuple(f"{one.weight_bits}/{one.act_bits}" for one in bits))


def _encoding(layer: LayerMap) -> str:
    return "-" if layer.mapping.is_digital else tell_encoding(layer.mapping.encoding)


def _share(layer: LayerMap) -> str:
    return f"{layer.cells.utilization:.1%}" if layer.cells.all else "-"


def _next_best(layer: LayerMap) -> str:
    next_best = layer.explanation.next_best
    return "-" if next_best is None else f"{next_best.name} {tell_ratio(layer.explanation.ratio(next_best) or 1.0)}"


def _over_bound(network_map: NetworkMap) -> str:
    return f"{network_map.latency_ps / network_map.bound_ps:.2f}" if network_map.bound_ps else "-"


def _ms(picoseconds: int, batch: int) -> str:
    return format_milliseconds(picoseconds / batch / 1e9)


def _tiles(one: Alternative) -> str:
    return "-" if one.mapping is None else f"{one.mapping.tiles:,}"


def _mvms(one: Alternative) -> str:
    return "-" if one.mapping is None else f"{one.mapping.mvms:,}"


def _counts(numbers: list[int | None]) -> tuple[tuple[str, ...], str]:
    """Return cells and their total; a dash for what there is not."""
    known = [number for number in numbers if number is not None]
    total = f"{sum(known):,}" if len(known) == len(numbers) else "-"
    return tuple("-" if number is None else f"{number:,}" for number in numbers), total


def _times(found: list[Alternative], batch: int) -> tuple[tuple[str, ...], str]:
    known = [one.time_ps for one in found if one.time_ps is not None]
    total = _ms(sum(known), batch) if len(known) == len(found) else "-"
    return tuple("-" if one.time_ps is None else _ms(one.time_ps, batch) for one in found), total


def _ratios(found: list[Alternative], network_map: NetworkMap) -> tuple[tuple[str, ...], str]:
    ratios = [layer.explanation.ratio(one) for one, layer in zip(found, network_map.layers, strict=True)]
    known = [one.time_ps for one in found if one.time_ps is not None]
    total = f"{sum(known) / network_map.latency_ps:.2f}x" if len(known) == len(found) else "-"
    return tuple("-" if ratio is None else f"{ratio:.2f}x" for ratio in ratios), total
