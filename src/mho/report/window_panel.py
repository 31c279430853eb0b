"""The drawings of what one MVM reads and gives: pixels and positions of a window, and how windows cover a layer."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mho.mapping.cell_contents import Integers
from mho.mapping.occupancy import NO_TAP, PartOccupancy
from mho.mapping.windows import Sweep
from mho.report.cell_colours import CellColours
from mho.report.drawing import FAINT, INK, MUTED, PAPER, Box, Drawing, Label, Line, Shape, text_width
from mho.report.equal_spans import find_equal_spans
from mho.report.map_words import tell_place
from mho.report.palette import ink_on, mix

_GRID = 168
"""Pixels that the longer side of a grid takes at most."""
_LARGEST, _SMALLEST = 28.0, 3.0
_DOTS_FROM, _NUMBERS_FROM = 15.0, 15.0
_PIXEL = "#b9c2cc"
_TOP, _LEFT = 40, 20


def draw_window(colours: CellColours) -> Drawing:
    """Draw the pixels that one MVM reads of each channel, each with the positions that it enters, and the positions."""
    occupancy = colours.occupancy
    rows = occupancy.contents.rows
    pixels, first = np.unique(rows.pixel, axis=0, return_index=True)
    users = _users(occupancy, pixels)
    conv = occupancy.contents.mapping.layer.conv
    noun = "pixel" if conv is not None else "input vector"
    left = _draw_grid(
        f"reads {len(pixels)} {noun}{'s' if len(pixels) != 1 else ''} of a channel" if conv else
        f"reads {len(pixels)} {noun}{'s' if len(pixels) != 1 else ''}",
        pixels,
        [_PIXEL] * len(first),
        [[colours.hues[number] for number in numbers] if not colours.is_by_group else [] for numbers in users],
    )  # fmt: skip
    positions = occupancy.positions
    hues = ["#0072b2"] if colours.is_by_group else list(colours.hues)
    text = f"gives {len(positions)} position{'s' if len(positions) != 1 else ''}"
    right = _draw_grid(text, positions, hues, [[] for _ in positions])
    gap = 26
    shapes = (
        Label(0, 12, "One MVM", 12, is_bold=True),
        *left.moved(0, 0),
        *right.moved(left.width + gap, 0),
    )
    return Drawing(left.width + gap + right.width, max(left.height, right.height), shapes)


def _users(occupancy: PartOccupancy, pixels: Integers) -> list[list[int]]:
    """Return the numbers of the positions that read each pixel, of any channel."""
    rows = occupancy.contents.rows
    return [
        np.flatnonzero((occupancy.taps[(rows.pixel == pixel).all(axis=1)] != NO_TAP).any(axis=0)).tolist()
        for pixel in pixels
    ]


def _draw_grid(title: str, cells: Integers, fills: list[str], dots: list[list[str]]) -> Drawing:
    low, high = cells.min(axis=0), cells.max(axis=0)
    rows, cols = (int(size) for size in high - low + 1)
    size = float(np.clip(_GRID / max(rows, cols), _SMALLEST, _LARGEST))
    shapes: list[Shape] = [Label(0, 28, title, 10, MUTED)]
    for number, (row, col) in enumerate((cells - low).tolist()):
        x, y = _LEFT + col * size, _TOP + row * size
        shapes.append(Box(x, y, size, size, fills[number], PAPER if size > 6 else None, 1))
        if size >= _DOTS_FROM:
            shapes += _draw_dots(x, y, size, dots[number])
    shapes += _grid_numbers(low, (rows, cols), size)
    width = max(_LEFT + cols * size, text_width(title, 10))
    return Drawing(width, _TOP + rows * size + 16, tuple(shapes))


def _draw_dots(x: float, y: float, size: float, hues: list[str]) -> Iterator[Shape]:
    """Draw a small square for each position that a pixel enters."""
    if not hues:
        return
    side = math.ceil(math.sqrt(len(hues)))
    room = (size - 4) / side
    for number, hue in enumerate(hues):
        row, col = divmod(number, side)
        yield Box(x + 2 + col * room, y + 2 + row * room, max(room - 1, 1), max(room - 1, 1), hue)


def _grid_numbers(low: Integers, shape: tuple[int, int], size: float) -> Iterator[Shape]:
    """Number rows and columns from the window's origin; where cells are small, only the first and the last."""
    for axis, count in enumerate(shape):
        numbers = range(count) if size >= _NUMBERS_FROM else sorted({0, count - 1})
        for number in numbers:
            place, text = (number + 0.5) * size, str(int(low[axis]) + number)
            if axis == 0:
                yield Label(_LEFT - 4, _TOP + place + 3.5, text, 9, MUTED, "end")
            else:
                yield Label(_LEFT + place, _TOP + shape[0] * size + 11, text, 9, MUTED, "middle")


def draw_sweep(colours: CellColours) -> Drawing:
    """Draw how windows follow each other over the positions of a layer: one in its colours, the corner of the rest."""
    contents, positions = colours.occupancy.contents, colours.occupancy.positions
    height, width = contents.grid.sweeps(contents.part.window)
    origin = (height.step if height.count > 1 else 0, width.step if width.count > 1 else 0)
    rows, cols = _corner(height), _corner(width)
    size = min(_GRID / max(rows, cols), 16.0)
    tall, wide = rows * size, cols * size
    text = f"{height.count} x {width.count}" if height.positions > 1 else f"{width.count:,}"
    is_corner = (rows, cols) != (height.positions, width.positions)
    caption = f"{text} windows; {'the first ' if is_corner else ''}{_plane(rows, cols)}"
    shapes: list[Shape] = [
        Label(0, 12, "Windows over all positions", 12, is_bold=True),
        Label(0, 28, caption, 10, MUTED),
        Box(0, _TOP, wide, tall, mix(_PIXEL, "#ffffff", 0.55)),
    ]
    for hue, (row, col) in zip(colours.hues, positions.tolist(), strict=True):
        y, x = row + origin[0], col + origin[1]
        if 0 <= y < rows and 0 <= x < cols:
            shapes.append(Box(x * size, _TOP + y * size, size, size, hue))
    for at in range(1, rows):
        is_edge = at % height.step == 0
        shapes.append(Line(0, _TOP + at * size, wide, _TOP + at * size, INK if is_edge else PAPER, 0.75))
    for at in range(1, cols):
        is_edge = at % width.step == 0
        shapes.append(Line(at * size, _TOP, at * size, _TOP + tall, INK if is_edge else PAPER, 0.75))
    shapes.append(Box(0, _TOP, wide, tall, None, MUTED, 0.75))
    return Drawing(max(wide, text_width(caption, 10)), _TOP + tall + 16, tuple(shapes))


def _corner(sweep: Sweep) -> int:
    """Return how many positions along an axis are drawn: a few windows' worth."""
    return min(sweep.positions, max(_WINDOWS_SHOWN * sweep.step, sweep.offsets[-1] - sweep.offsets[0] + 1))


_WINDOWS_SHOWN = 4


def _plane(height: int, width: int) -> str:
    return f"{height} x {width} positions" if height > 1 else f"{width:,} position{'s' if width > 1 else ''}"


_CELL = 23
_MOST_ROWS, _MOST_COLS = 18, 22
_ROW_NAMES = 92


def draw_unit(colours: CellColours) -> Drawing:
    """Draw the cells that one channel and one output share, which repeat over the whole matrix, each with its tap."""
    occupancy = colours.occupancy
    contents = occupancy.contents
    rows, cols = contents.rows, contents.cols
    channel, output = int(rows.channel[0]), int(cols.output[cols.output >= 0][0])
    if (rows.channel == channel).sum() < (rows.channel == rows.channel[-1]).sum():
        channel = int(rows.channel[-1])
    own_rows, own_cols = np.flatnonzero(rows.channel == channel), np.flatnonzero(cols.output == output)
    shown_rows, shown_cols = own_rows[:_MOST_ROWS], own_cols[:_MOST_COLS]
    is_cut = len(shown_rows) < len(own_rows) or len(shown_cols) < len(own_cols)
    noun = "channel" if contents.mapping.layer.conv is not None else "input"
    caption = f"{len(own_rows)} rows x {len(own_cols)} columns of {noun} {channel}, output {output}"
    if is_cut:
        caption += f"; the first {len(shown_rows)} x {len(shown_cols)}"
    held, numbers = occupancy.meet(shown_rows, shown_cols), colours.of_lines(shown_rows, shown_cols)
    shapes: list[Shape] = [
        Label(0, 12, f"One {noun} and one output, cell by cell", 12, is_bold=True),
        Label(0, 28, caption, 10, MUTED),
        *_unit_rows(occupancy, shown_rows),
        *_unit_cols(colours, shown_cols),
    ]
    for y, row in enumerate(shown_rows):
        for x, col in enumerate(shown_cols):
            colour = colours.table[int(numbers[y, x])]
            left, top = _ROW_NAMES + x * _CELL, _UNIT_TOP + y * _CELL
            shapes.append(Box(left, top, _CELL, _CELL, colour, PAPER))
            if held[y, x]:
                text = _tap_name(occupancy, int(row), int(col))
                shapes.append(Label(left + _CELL / 2, top + 15, text, 8.5, ink_on(colour), "middle"))
    width = _ROW_NAMES + len(shown_cols) * _CELL
    size = max(width, text_width(caption, 10))
    return Drawing(size, _UNIT_TOP + len(shown_rows) * _CELL + 8, tuple(shapes))


_UNIT_TOP = 78


def _tap_name(occupancy: PartOccupancy, row: int, col: int) -> str:
    grid = occupancy.contents.grid
    tap = int(occupancy.taps[row, occupancy.position_of_col[col]])
    if grid.taps == 1:
        return "w"
    return f"{tap // grid.width.kernel},{tap % grid.width.kernel}"


def _unit_rows(occupancy: PartOccupancy, shown: Integers) -> Iterator[Shape]:
    """Name pixel and input bits of each row; a pixel once for all its rows."""
    contents = occupancy.contents
    rows, dac_bits = contents.rows, contents.accelerator.converters.dac_bits
    has_slices = contents.part.slices_at_once > 1
    has_pixels = len(np.unique(rows.pixel, axis=0)) > 1
    last = None
    for number, row in enumerate(shown):
        y = _UNIT_TOP + number * _CELL + 15
        pixel = (int(rows.pixel[row][0]), int(rows.pixel[row][1]))
        if has_pixels and pixel != last:
            yield Label(0, y, tell_place(contents, rows.pixel[row]), 9.5, INK)
            if number:
                yield Line(0, y - 15, _ROW_NAMES - 4, y - 15, FAINT)
        last = pixel
        shift = int(rows.shift[row])
        bits = f"input bit{'s' if dac_bits > 1 else ''} {shift}{f'-{shift + dac_bits - 1}' if dac_bits > 1 else ''}"
        words = [bits] if has_slices else []
        if (rows.sign < 0).any():
            words.append("+" if rows.sign[row] > 0 else "\u2212")
        yield Label(_ROW_NAMES - 6, y, " ".join(words), 9, MUTED, "end")
    if has_pixels:
        yield Label(0, _UNIT_TOP - 22, "pixel" if contents.mapping.layer.conv is not None else "vector", 9, MUTED)


def _unit_cols(colours: CellColours, shown: Integers) -> Iterator[Shape]:
    """Name the position of each column above, and the weight with which it counts."""
    occupancy = colours.occupancy
    cols = occupancy.contents.cols
    y = _UNIT_TOP - 20
    position = occupancy.position_of_col[shown]
    for first, last in find_equal_spans(position):
        hue = colours.hues[0 if colours.is_by_group else int(position[first])]
        x, width = _ROW_NAMES + first * _CELL, (last - first) * _CELL
        yield Box(x, y - 16, width - 1, 14, hue)
        name = tell_place(occupancy.contents, occupancy.positions[position[first]])
        yield Label(x + width / 2, y - 5.5, name, 9, ink_on(hue), "middle")
    yield Label(_ROW_NAMES - 6, y - 5.5, "position", 9, MUTED, "end")
    for number, col in enumerate(shown):
        weight = int(cols.weight[col])
        sign = "" if not colours.has_subtracted else "+" if weight > 0 else "\u2212"
        name = f"{sign}b{abs(weight).bit_length() - 1}"
        yield Label(_ROW_NAMES + (number + 0.5) * _CELL, y + 13, name, 8.5, MUTED, "middle")
    yield Label(_ROW_NAMES - 6, y + 13, "counts from bit", 9, MUTED, "end")
