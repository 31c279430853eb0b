"""The drawing of one tile: every cell of the crossbar, with what drives its rows and what its columns give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mho.hardware.spec import Crossbar
from mho.mapping.cell_contents import Integers, TilePlace
from mho.mapping.encoding import CORRECTION
from mho.mapping.network_mapping import Placement
from mho.mapping.occupancy import PartOccupancy, TileCells
from mho.report.cell_colours import CellColours
from mho.report.drawing import FAINT, INK, MUTED, Box, Drawing, Label, Line, Mosaic, Shape, fit_text, text_width
from mho.report.equal_spans import find_equal_spans
from mho.report.map_words import tell_place, tell_range
from mho.report.palette import CORRECTION as CORRECTION_COLOUR
from mho.report.palette import FREE, NEIGHBOUR, ink_on

_BODY, _SMALL_BODY, _SMALL = 512, 320, 64
"""Pixels that the longer side of a crossbar takes at most: of a large one, and of one of up to so many lines."""
_MOST_LINES = 1024
"""Lines that are drawn one by one; of larger crossbars, one of several."""
_LINES_FROM = 6
"""Pixels between lines that separate rows which are driven one after the other; closer ones are left out."""
_LEFT, _TOP, _BOTTOM = 62, 52, 20
_TRACK = 13
_TONES = ("#c3cad3", "#98a3af")
_LABEL_GAP = 14


def cell_size(rows: int, cols: int) -> float:
    """Return the pixels of a cell: a whole number, or a fraction of one where crossbars are very large."""
    size = (_BODY if max(rows, cols) > _SMALL else _SMALL_BODY) / max(rows, cols)
    return float(int(size)) if size >= 1 else float(2.0 ** np.floor(np.log2(size)))


@dataclass(frozen=True, eq=False)
class Neighbour:
    """Another layer in the same crossbar.

    Attributes:
        name: of the layer.
        occupancy: of its only part, which is a single tile.
        placement: where it lies.
    """

    name: str
    occupancy: PartOccupancy
    placement: Placement


@dataclass(frozen=True)
class _Frame:
    """Where the cells of a tile lie on the page: those that are drawn, one of every so many lines."""

    left: float
    top: float
    size: float
    every: int

    @classmethod
    def of(cls, crossbar: Crossbar) -> _Frame:
        """Return the frame of a whole crossbar."""
        every = -(-max(crossbar.rows, crossbar.cols) // _MOST_LINES)
        return cls(_LEFT, _TOP, cell_size(-(-crossbar.rows // every), -(-crossbar.cols // every)), every)

    def within(self, placement: Placement) -> _Frame:
        """Return the frame of what begins at a row and column of the crossbar."""
        step = self.size / self.every
        return replace(self, left=self.left + placement.col * step, top=self.top + placement.row * step)

    def length(self, lines: int) -> float:
        """Return the length of lines of the crossbar, drawn or not."""
        return lines / self.every * self.size


def draw_tile(
    colours: CellColours,
    place: TilePlace,
    title: str,
    *,
    placement: Placement | None = None,
    neighbours: Sequence[Neighbour] = (),
) -> Drawing:
    """Draw one tile of a part.

    Args:
        colours: of the part.
        place: which tile.
        title: what stands above it.
        placement: where it lies in its crossbar; None for its corner.
        neighbours: what else lies in that crossbar.
    """
    crossbar = colours.occupancy.contents.accelerator.crossbar
    whole = _Frame.of(crossbar)
    frame = whole.within(placement) if placement is not None else whole
    cells = colours.occupancy.tile(place, every=whole.every)
    width, height = whole.length(crossbar.cols), whole.length(crossbar.rows)
    used = cells.held.shape[1] * frame.size, cells.held.shape[0] * frame.size
    shapes: list[Shape] = [
        Label(_LEFT, 12, title, 12, is_bold=True),
        Box(_LEFT, _TOP, width, height, FREE, FAINT),
        *(shape for neighbour in neighbours for shape in _neighbour(neighbour, whole)),
        Mosaic(frame.left, frame.top, *used, colours.of_tile(cells), colours.table),
        *(() if neighbours else _free_label(width, height, *used)),
        *_top_tracks(colours, cells, frame),
        *_left_track(colours, cells, frame),
        *_lines_between_reads(colours, frame, used),
        Box(_LEFT, _TOP, width, height, None, MUTED),
        Label(_LEFT, _TOP + height + 14, _caption(colours, cells, width), 10, MUTED),
    ]
    return Drawing(_LEFT + width, _TOP + height + _BOTTOM, tuple(shapes))


def _neighbour(neighbour: Neighbour, whole: _Frame) -> Iterator[Shape]:
    """Draw another layer of the crossbar in pale colours, with its name."""
    frame = whole.within(neighbour.placement)
    cells = neighbour.occupancy.tile(next(neighbour.occupancy.contents.tiles()), every=whole.every)
    rows, cols = cells.held.shape
    width, height = cols * frame.size, rows * frame.size
    yield Mosaic(frame.left, frame.top, width, height, cells.held.astype(np.int64), NEIGHBOUR)
    is_tall = height > width
    name = fit_text(neighbour.name, 10, max(height if is_tall else width, 0) - 4)
    if min(width, height) >= 12:
        shift = 3.5
        x = frame.left + width / 2 + (shift if is_tall else 0)
        y = frame.top + height / 2 + (0 if is_tall else shift)
        yield Label(x, y, name, 10, INK, "middle", is_rotated=is_tall)


def _lines_between_reads(colours: CellColours, frame: _Frame, used: tuple[float, float]) -> Iterator[Shape]:
    """Separate the rows that are driven one after the other, where lines have room."""
    at_once = frame.length(colours.occupancy.contents.part.rows_at_once)
    for number in range(1, int(used[1] / at_once) + 1) if at_once >= _LINES_FROM else ():
        y = frame.top + number * at_once
        if y < frame.top + used[1]:
            yield Line(frame.left, y, frame.left + used[0], y, INK, 0.75)


def _caption(colours: CellColours, cells: TileCells, width: float) -> str:
    contents = colours.occupancy.contents
    block, part = cells.place.block, contents.part
    share = colours.occupancy.count_tile(cells.place).utilization
    rows, cols = tell_range(block.row_start, block.row_stop), tell_range(block.col_start, block.col_stop)
    place = f"rows {rows} of {part.rows:,}, columns {cols} of {part.cols:,}"
    if (groups := len(cells.place.groups)) > 1:
        place = f"{groups} matrices of {part.rows:,} x {part.cols:,}"
    used = f"{share:.1%} of its cells hold digits"
    for text in (f"{place}; {used}", f"{place}; {share:.1%}", used, f"{share:.1%}"):
        if text_width(text, 10) <= width:
            return text
    return ""


def _free_label(width: float, height: float, used_width: float, used_height: float) -> Iterator[Shape]:
    right, below = width - used_width, height - used_height
    if right >= 40:
        yield Label(used_width + _LEFT + right / 2, _TOP + height / 2, "free", 11, "#98a3af", "middle")
    elif below >= 24:
        yield Label(_LEFT + width / 2, _TOP + used_height + below / 2 + 4, "free", 11, "#98a3af", "middle")


def _top_tracks(colours: CellColours, cells: TileCells, frame: _Frame) -> Iterator[Shape]:
    """Show which position (or group) each column counts for, and the outputs above."""
    occupancy = colours.occupancy
    output, position = occupancy.contents.cols.output[cells.col], occupancy.position_of_col[cells.col]
    group = cells.col_group - cells.place.groups.start
    is_sum = output == CORRECTION
    y, has_groups = _TOP - _TRACK - 3, len(cells.place.groups) > 1
    for first, last in find_equal_spans(np.stack([group, position, is_sum], axis=1)):
        number = int(group[first] if colours.is_by_group else position[first])
        colour = CORRECTION_COLOUR if is_sum[first] else colours.hues[number]
        x, width = frame.left + first * frame.size, (last - first) * frame.size
        yield Box(x, y, width, _TRACK, colour)
        name = "sums" if is_sum[first] else tell_place(occupancy.contents, occupancy.positions[position[first]])
        if colours.is_by_group:
            name = f"group {cells.col_group[first]}"
        elif len(occupancy.positions) == 1 and not is_sum[first]:
            name = "one position"
        if text_width(name, 9) <= width - 2:
            yield Label(x + width / 2, y + 9.5, name, 9, ink_on(colour), "middle")
        if not is_sum[first] and not has_groups:
            yield from _outputs_label(x, width, output[first:last], y - 5)
    if has_groups and not colours.is_by_group:
        yield from _group_labels(cells, frame)


def _outputs_label(x: float, width: float, outputs: Integers, y: float) -> Iterator[Shape]:
    numbers = tell_range(int(outputs[0]), int(outputs[-1]) + 1)
    for text in (f"outputs {numbers}", numbers):
        if text_width(text, 9) <= width - 4:
            yield Label(x + width / 2, y, text, 9, MUTED, "middle")
            return


def _group_labels(cells: TileCells, frame: _Frame) -> Iterator[Shape]:
    """Name the group of each block of columns."""
    for first, last in find_equal_spans(cells.col_group):
        x, width = frame.left + first * frame.size, (last - first) * frame.size
        name = f"group {cells.col_group[first]}"
        if text_width(name, 9) <= width - 2:
            yield Label(x + width / 2, _TOP - _TRACK - 8, name, 9, MUTED, "middle")


def _left_track(colours: CellColours, cells: TileCells, frame: _Frame) -> Iterator[Shape]:
    """Show which input channel drives each row."""
    contents = colours.occupancy.contents
    channel = contents.rows.channel[cells.row]
    of_group = contents.part.groups_per_tile > 1 and int(channel.max()) == int(channel.min())
    segments = find_equal_spans(np.stack([cells.row_group, channel], axis=1))
    labels = cells.row_group if of_group else channel
    step = _label_step(segments, frame.size)
    x, labelled = _LEFT - _TRACK - 3, -float(_LABEL_GAP)
    for first, last in segments:
        y, height = frame.top + first * frame.size, (last - first) * frame.size
        number = int(labels[first])
        yield Box(x, y, _TRACK, height, _TONES[number % 2])
        if number % step == 0 and y - labelled >= _LABEL_GAP - 2:
            yield Label(x - 3, y + min(height / 2 + 3.5, 9), str(number), 9, MUTED, "end")
            labelled = y
    name = "input channel" if contents.mapping.layer.conv is not None else "input"
    if of_group:
        name = "group"
    room = len(channel) * frame.size
    middle = frame.top + room / 2
    yield Label(_LEFT - 48, middle, fit_text(name, 10, max(room, 60)), 10, MUTED, "middle", is_rotated=True)


def _label_step(segments: list[tuple[int, int]], size: float) -> int:
    """Return the power of two of which multiples have room for their labels."""
    height = np.median([stop - start for start, stop in segments]) * size
    step = 1
    while step * height < _LABEL_GAP:
        step *= 2
    return step
