"""The drawing of a layer on crossbars: figures, why it is mapped so, windows, and its tiles cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from mho.cost_model.document import to_microseconds
from mho.cost_model.network_map import LayerMap, NetworkMap
from mho.errors import ConfigError
from mho.formats import format_time, plural
from mho.hardware.spec import Accelerator
from mho.mapping.cell_contents import TilePlace
from mho.mapping.layer_mapping import LayerMapping, Part
from mho.mapping.occupancy import PartOccupancy
from mho.mapping.windows import SINGLE
from mho.report.cell_colours import CellColours
from mho.report.drawing import (
    FAINT,
    INK,
    MUTED,
    PAPER,
    Box,
    Drawing,
    Label,
    Line,
    Shape,
    fit_text,
    flow,
    stack,
    text_width,
    wrap_text,
)
from mho.report.hardware_words import tell_adc
from mho.report.map_words import tell_layer, tell_loops, tell_mapping, tell_piece, tell_stack
from mho.report.palette import CORRECTION, FREE, NEIGHBOUR, ZERO, darker, hues, shades
from mho.report.tile_panel import Neighbour, draw_tile
from mho.report.window_panel import draw_sweep, draw_unit, draw_window

_FEW_TILES, _MANY_PARTS = 4, 9
"""Tiles that are drawn by default: so many, or one of each part up to so many."""

_WIDTH, _MARGIN, _GAP, _NARROW = 1240.0, 28.0, 40.0, 420.0
_CHOSEN, _OTHER = "#0b7a6f", "#aab4bf"


def draw_layer(network_map: NetworkMap, name: str, *, tiles: int | None = None) -> Drawing:
    """Draw one layer.

    Args:
        network_map: the network on its accelerator.
        name: which layer.
        tiles: how many of its tiles are drawn at most, at least 1; those left out are counted. None for a few.

    Raises:
        MappingError: there is no such layer.
        ConfigError: `tiles` is below 1.
    """
    if tiles is not None and tiles < 1:
        raise ConfigError(f"{tiles} tiles cannot be drawn", expected="at least 1")
    layer = network_map.layer(name)
    most = tiles if tiles is not None else max(_FEW_TILES, min(len(layer.mapping.parts), _MANY_PARTS))
    panels = [
        _draw_header(layer, network_map),
        flow([_draw_choice(layer, network_map.batch), *_draw_matrix(layer.mapping)], 60, _WIDTH),
        *_draw_parts(layer, network_map, most),
    ]
    page = stack(panels, 26)
    width = max(page.width, _WIDTH)
    return Drawing(width + 2 * _MARGIN, page.height + 2 * _MARGIN, page.moved(_MARGIN, _MARGIN))


def _draw_header(layer: LayerMap, network_map: NetworkMap) -> Drawing:
    mapping, accelerator, batch = layer.mapping, network_map.accelerator, network_map.batch
    bits = f"{mapping.bits.weight_bits}-bit weights, {mapping.bits.act_bits}-bit inputs"
    shapes: list[Shape] = [
        Label(0, 18, fit_text(layer.name, 20, _WIDTH), 20, is_bold=True),
        Label(0, 40, fit_text(f"{tell_layer(mapping.layer)}; {bits}", 12, _WIDTH), 12, MUTED),
        Label(0, 58, fit_text(_tell_hardware(accelerator), 12, _WIDTH), 12, MUTED),
    ]
    y = 62.0
    for line in wrap_text(tell_mapping(mapping), 14, _WIDTH, is_bold=True):
        y += 20
        shapes.append(Label(0, y, line, 14, _CHOSEN, is_bold=True))
    if stacked := tell_stack(layer.explanation, batch=batch):
        y += 20
        shapes.append(Label(0, y, fit_text(stacked, 12, _WIDTH), 12, MUTED))
    shapes.append(Line(0, y + 16, _WIDTH, y + 16, FAINT))
    figures = (
        ("tiles", f"{mapping.tiles:,}{', shared' if layer.explanation.stack else ''}"),
        ("MVMs an inference", f"{mapping.mvms:,}"),
        ("time an inference" if batch == 1 else f"time of one of {batch}", _time(layer.cost.latency_ps // batch)),
        ("times its lower bound", f"{layer.over_bound:.2f}x"),
        ("cells that hold digits", f"{layer.cells.utilization:.1%}" if layer.cells.all else "no crossbar"),
    )
    for number, (name, value) in enumerate(figures):
        x = number * _WIDTH / len(figures)
        shapes += [Label(x, y + 36, name, 11, MUTED), Label(x, y + 60, value, 20, is_bold=True)]
    return Drawing(_WIDTH, y + 68, tuple(shapes))


def _tell_hardware(accelerator: Accelerator) -> str:
    crossbar, converters = accelerator.crossbar, accelerator.converters
    return (
        f"{accelerator.name}: {crossbar.rows} x {crossbar.cols} cells of "
        f"{plural(crossbar.cell_bits, 'bit')}, {converters.dac_bits}-bit DAC, {tell_adc(accelerator)}"
    )


def _draw_choice(layer: LayerMap, batch: int) -> Drawing:
    """Draw the times of the mapping, its bound and its alternatives as bars; those far beyond are broken off."""
    chosen = layer.explanation.time_ps
    times = {one.name: one.time_ps for one in (*layer.explanation.alternatives, layer.baselines.by_capacity)}
    others = sorted((time, name) for name, time in times.items() if time is not None)
    lines = [
        ("lower bound", layer.bound.latency_ps, _BOUND),
        ("this mapping", chosen, _CHOSEN),
        *((name, time, _OTHER) for time, name in others),
    ]
    limit = min(max(time for _, time, _ in lines), _BROKEN_FROM * max(chosen, 1))
    shapes: list[Shape] = [Label(0, 12, "Why: what else there is", 12, is_bold=True)]
    for number, (name, time, colour) in enumerate(lines):
        y, is_chosen = 26 + number * 19, colour == _CHOSEN
        length = max(_BARS * min(time / limit, 1.0), 1.0) if limit else 1.0
        ratio = "" if is_chosen or not chosen else f" ({time / chosen:.2f}x)"
        shapes += [
            Label(0, y + 11, fit_text(name, 11, _NAMES - 8), 11, INK if is_chosen else MUTED, is_bold=is_chosen),
            Box(_NAMES, y + 2, length, 11, colour),
            Label(_NAMES + length + 6, y + 11, f"{_time(time // batch)}{ratio}", 10, INK if is_chosen else MUTED),
        ]
        if time > limit:
            shapes.append(Box(_NAMES + 0.9 * length, y, 4, 15, PAPER))
    return Drawing(_NAMES + _BARS + 130, 26 + len(lines) * 19, tuple(shapes))


_NAMES, _BARS = 270.0, 280.0
_BOUND = "#d8c9a3"
_BROKEN_FROM = 6
"""Times of so many times the mapping's have bars that are broken off."""


def _draw_matrix(mapping: LayerMapping) -> Iterator[Drawing]:
    """Draw how the logical matrix (and the groups) of a layer are cut, where they are."""
    pieces: dict[tuple[int, int, int], list[int]] = {}
    for number, part in enumerate(mapping.parts, start=1):
        pieces.setdefault((part.groups.start, part.outputs.start, part.inputs.start), []).append(number)
    if len(pieces) < 2:
        return
    layer, size = mapping.layer, 150.0
    by_groups = any(len(part.groups) < layer.repeat for part in mapping.parts)
    tall, wide = (1, layer.repeat) if by_groups else (layer.inputs, layer.outputs)
    height, width = max(size * min(1.0, tall / wide), 44.0), max(size * min(1.0, wide / tall), 44.0)
    if by_groups:
        height, width = 44.0, 300.0
    words = f"{layer.repeat} groups" if by_groups else f"{layer.inputs} inputs (down) x {layer.outputs} outputs"
    shapes: list[Shape] = [
        Label(0, 12, "How the matrix is cut", 12, is_bold=True),
        Label(0, 28, words, 10, MUTED),
    ]
    for colour, numbers in zip(_tints(len(pieces)), pieces.values(), strict=True):
        part = mapping.parts[numbers[0] - 1]
        down, across = _place_of(part, by_groups)
        x, y = width * across[0] / wide, 40 + height * down[0] / tall
        w, h = width * (across[1] - across[0]) / wide, height * (down[1] - down[0]) / tall
        shapes.append(Box(x, y, w, h, colour, MUTED))
        name = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        is_low, is_narrow = h < 13, text_width(name, 11, is_bold=True) > w
        at = (x + w + 5, y + h / 2 + 4) if is_low else (x + w / 2, y + h + 13 if is_narrow else y + h / 2 + 4)
        shapes.append(Label(*at, name, 11, INK, "start" if is_low else "middle", is_bold=True))
    yield Drawing(max(width + 24, text_width(words, 10)), 40 + height + 16, tuple(shapes))


def _tints(count: int) -> tuple[str, ...]:
    return tuple(shades(hue, 2)[0] for hue in hues(count))


def _place_of(part: Part, by_groups: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    if by_groups:
        return (0, 1), (part.groups.start, part.groups.stop)
    return (part.inputs.start, part.inputs.stop), (part.outputs.start, part.outputs.stop)


def _draw_parts(layer: LayerMap, network_map: NetworkMap, tiles: int) -> Iterator[Drawing]:
    mapping, accelerator = layer.mapping, network_map.accelerator
    neighbours = [
        Neighbour(other.name, PartOccupancy.of(other.mapping, 0, accelerator), other.placement)
        for other in network_map.neighbours(layer.name)
    ]
    shares = _share_out(tiles, [part.counts.tiles for part in mapping.parts])
    for number, share in enumerate(shares):
        if share:
            colours = CellColours(PartOccupancy.of(mapping, number, accelerator))
            yield _draw_part(colours, number, share, layer, neighbours)
    left_out = [number for number, share in enumerate(shares, start=1) if not share]
    if left_out:
        parts = ", ".join(map(str, left_out))
        text = f"Not drawn: part{'s' if len(left_out) > 1 else ''} {parts}."
        yield Drawing(_WIDTH, 16, (Label(0, 12, text, 11, MUTED),))
    if mapping.is_digital:
        text = "The digital unit computes the product; no crossbar is used."
        yield Drawing(_WIDTH, 16, (Label(0, 12, text, 12),))


def _share_out(tiles: int, counts: Sequence[int]) -> list[int]:
    """Share a number of drawn tiles among parts: one each as far as they go, then in turns."""
    shares = [0] * len(counts)
    while tiles > 0 and any(share < count for share, count in zip(shares, counts, strict=True)):
        for number, count in enumerate(counts):
            if tiles > 0 and shares[number] < count:
                shares[number] += 1
                tiles -= 1
    return shares


def _draw_part(
    colours: CellColours, number: int, tiles: int, layer: LayerMap, neighbours: Sequence[Neighbour]
) -> Drawing:
    occupancy = colours.occupancy
    mapping, part = occupancy.contents.mapping, occupancy.contents.part
    count = part.counts.tiles
    title = f"Part {number + 1} of {len(mapping.parts)}" if len(mapping.parts) > 1 else "Tiles"
    left_out = f", {count - tiles:,} of them not drawn" if count > tiles else ""
    window = "" if part.window == SINGLE else f"; {part.window} an MVM"
    words = f"{tell_piece(part, mapping.layer)}{window}; {plural(count, 'tile')}{left_out}"
    title_width = text_width(title, 15, is_bold=True) + 12
    heading = Drawing(
        _WIDTH,
        24,
        (
            Line(0, 0, _WIDTH, 0, FAINT),
            Label(0, 22, title, 15, is_bold=True),
            Label(title_width, 22, fit_text(words, 11, _WIDTH - title_width), 11, MUTED),
        ),
    )
    first, *more = [
        draw_tile(
            colours,
            place,
            f"Tile {at} of {count:,}{_tell_group(place, mapping)}",
            placement=layer.placement,
            neighbours=neighbours,
        )
        for at, place in enumerate(islice(occupancy.contents.tiles(), tiles), start=1)
    ]
    panels = [_draw_loops(occupancy, layer.written_with), draw_window(colours)]
    if len(occupancy.positions) > 1:
        panels.append(draw_sweep(colours))
    panels.append(draw_unit(colours))
    side = _WIDTH - first.width - _GAP
    beside = flow([first, flow(panels, _GAP, side if side > _NARROW else _WIDTH, below=20)], _GAP, _WIDTH, below=20)
    legend = _draw_legend(colours, has_neighbours=bool(neighbours))
    return stack([heading, beside, *([flow(more, _GAP, _WIDTH, below=20)] if more else []), legend], 18)


def _tell_group(place: TilePlace, mapping: LayerMapping) -> str:
    return f", group {place.groups.start}" if mapping.layer.repeat > 1 and len(place.groups) == 1 else ""


def _draw_loops(occupancy: PartOccupancy, written_with: str | None) -> Drawing:
    lines = tell_loops(occupancy.contents, written_with=written_with)
    shapes: list[Shape] = [Label(0, 12, "Loops", 12, is_bold=True)]
    widest = 0.0
    for number, line in enumerate(lines):
        text = line.lstrip()
        x = (len(line) - len(text)) * 6.0
        shapes.append(Label(x, 32 + number * 17, text, 11))
        widest = max(widest, x + text_width(text, 11))
    return Drawing(widest, 32 + len(lines) * 17, tuple(shapes))


def _draw_legend(colours: CellColours, *, has_neighbours: bool) -> Drawing:
    """Explain colours in a line: hues, shades of digits, and the three greys."""
    shapes: list[Shape] = []
    x = 0.0

    def add(fills: Sequence[str], text: str, stroke: str | None = None) -> None:
        nonlocal x
        for fill in fills:
            shapes.append(Box(x, 0, 14, 14, fill, stroke))
            x += 15
        shapes.append(Label(x + 5, 11, text, 10, MUTED))
        x += 5 + text_width(text, 10) + 22

    shown = [colours.hues[number] for number in np.unique(np.linspace(0, len(colours.hues) - 1, 8).astype(int))]
    add(shown, _tell_hues(colours))
    ramp = shades(colours.hues[0], len(colours.digits))
    if len(ramp) > 1:
        add(ramp, "digits, least to most significant")
    if colours.has_subtracted:
        add([darker(ramp[-1])], "subtracted: negative part or sign")
    if colours.has_corrections:
        add([CORRECTION], "ones: sums of inputs")
    add([ZERO], "zero for all weights")
    add([FREE], "free", FAINT)
    if has_neighbours:
        add(NEIGHBOUR, "other layers of the crossbar, written at once")
    part = colours.occupancy.contents.part
    if part.rows_at_once < part.rows:
        add([], f"rows between lines are driven together, up to {part.rows_at_once:,}")
    return Drawing(x, 16, tuple(shapes))


def _tell_hues(colours: CellColours) -> str:
    if colours.is_by_group:
        return "weights of each group"
    if len(colours.hues) > 1:
        return "weights, by the position that they count for"
    return "weights"


def _time(picoseconds: int) -> str:
    return format_time(to_microseconds(picoseconds), page=True).replace("\u202f", " ")
