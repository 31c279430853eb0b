"""Which cells hold what, before any weight is known: counted for whole layers, listed cell by cell for single tiles.

A cell of a part's matrix holds a digit of a weight where its row's pixel meets its column's position in the window, and
where the digit lies within the bits of the stored integer as the row's input slice shifts it. All other cells of the
matrix are zero for all weights; cells of a crossbar outside of the matrix are free.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from mho.hardware.spec import Accelerator
from mho.mapping.cell_contents import Integers, PartContents, TilePlace, lay_out
from mho.mapping.encoding import CORRECTION, count_stored_bits
from mho.mapping.layer_mapping import LayerMapping, Range
from mho.mapping.tiling import Tile
from mho.mapping.windows import AnyWindow, Pair, PositionGrid

NO_TAP = -1
"""Instead of a tap: the row's pixel is not read at the position, or another part holds that input."""


@dataclass(frozen=True)
class CellCount:
    """Cells of crossbars by what they hold.

    Attributes:
        digits: cells that hold a digit of a weight (which may be zero).
        corrections: cells that hold ones, to sum up inputs.
        all: all cells of all tiles.
    """

    digits: int
    corrections: int
    all: int

    def __add__(self, other: CellCount) -> CellCount:
        return CellCount(self.digits + other.digits, self.corrections + other.corrections, self.all + other.all)

    @property
    def utilization(self) -> float:
        """Share of all cells that hold digits of weights, 0..1; 0 where there is no tile."""
        return self.digits / self.all if self.all else 0.0


@dataclass(frozen=True, eq=False)
class TileCells:
    """One tile, cell by cell. Lines are those of the crossbar that are in use (or some of them), from its first on.

    Attributes:
        place: which tile.
        row_group, col_group: int64 [rows], [cols], the group of each line, of the layer.
        row, col: int64 [rows], [cols], the line's number in the matrix of its group.
        held: bool [rows, cols], True where the cell holds a digit of a weight or, in a correction column, a one.
    """

    place: TilePlace
    row_group: Integers
    row: Integers
    col_group: Integers
    col: Integers
    held: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PartOccupancy:
    """What the cells of a part hold."""

    contents: PartContents

    @classmethod
    def of(cls, mapping: LayerMapping, number: int, accelerator: Accelerator) -> PartOccupancy:
        """Return the occupancy of a part, by its number in the mapping."""
        return cls(lay_out(mapping, mapping.parts[number], accelerator))

    @cached_property
    def taps(self) -> Integers:
        """int64 [rows, positions]: the tap of the kernel with which the row's pixel is read there, or `NO_TAP`."""
        contents, rows = self.contents, self.contents.rows
        pixels, inverse = np.unique(rows.pixel, axis=0, return_inverse=True)
        pairs = tuple((int(row), int(col)) for row, col in pixels)
        taps = _tabulate_taps(contents.grid, contents.part.window, pairs)[inverse.reshape(-1)]
        inputs = rows.channel[:, None] * contents.grid.taps + taps
        held = (taps != NO_TAP) & (inputs >= contents.part.inputs.start) & (inputs < contents.part.inputs.stop)
        return np.asarray(np.where(held, taps, NO_TAP))

    @cached_property
    def positions(self) -> Integers:
        """int64 [positions, 2]: the positions of the window, as columns count for them."""
        return self.contents.grid.positions(self.contents.part.window)

    @cached_property
    def position_of_col(self) -> Integers:
        """int64 [cols]: the number in `positions` of the one that each column counts for."""
        match = (self.contents.cols.position[:, None] == self.positions[None]).all(axis=2)
        return np.asarray(match.argmax(axis=1), dtype=np.int64)

    @cached_property
    def _bits_of_col(self) -> Integers:
        """int64 [cols]: bits of what the column holds digits of: the stored integer, its sign bit, a one."""
        mapping, cols = self.contents.mapping, self.contents.cols
        stored = count_stored_bits(mapping.values, mapping.encoding)
        return np.where((cols.output == CORRECTION) | (cols.is_sign_bit == 1), 1, stored).astype(np.int64)

    def tile(self, place: TilePlace, *, every: int = 1) -> TileCells:
        """Return one of the tiles of the part, cell by cell.

        Args:
            place: which tile.
            every: only every so many lines, from the first on: for crossbars too large to look at.
        """
        row_group, row = _lines(place.groups, place.block.row_start, place.block.row_stop, every)
        col_group, col = _lines(place.groups, place.block.col_start, place.block.col_stop, every)
        held = self.meet(row, col) & (row_group[:, None] == col_group)
        return TileCells(place, row_group, row, col_group, col, held)

    def count_tile(self, place: TilePlace) -> CellCount:
        """Count the cells of one tile."""
        crossbar = self.contents.accelerator.crossbar
        return self._count_block(place.block, len(place.groups), crossbar.rows * crossbar.cols)

    def count(self) -> CellCount:
        """Count the cells of all groups and tiles of the part."""
        crossbar, part = self.contents.accelerator.crossbar, self.contents.part
        size = part.counts.tiles * crossbar.rows * crossbar.cols
        return self._count_block(Tile(0, part.rows, 0, part.cols), len(part.groups), size)

    def _count_block(self, block: Tile, groups: int, size: int) -> CellCount:
        """Count a block of the matrices of some groups: rows that are shifted alike together."""
        rows, cols = slice(block.row_start, block.row_stop), slice(block.col_start, block.col_stop)
        held, shift = self.taps[rows] != NO_TAP, self.contents.rows.shift[rows]
        position = self.position_of_col[cols]
        is_correction = self.contents.cols.output[cols] == CORRECTION
        digits = ones = 0
        for one in np.unique(shift):
            rows_of_col = held[shift == one].sum(axis=0)[position]
            cells = np.where(self._reach(np.full(1, one))[0, cols], rows_of_col, 0)
            digits += int(cells[~is_correction].sum())
            ones += int(cells[is_correction].sum())
        return CellCount(groups * digits, groups * ones, size)

    def meet(self, row: Integers, col: Integers) -> NDArray[np.bool_]:
        """Return bool [row, col]: which cells of the matrix of one group, at these lines, hold something."""
        taps = self.taps[np.ix_(row, self.position_of_col[col])]
        return np.asarray((taps != NO_TAP) & self._reach(self.contents.rows.shift[row])[:, col])

    def _reach(self, shifts: Integers) -> NDArray[np.bool_]:
        """Tell, [shifts, cols], whether bits shifted so far reach into the digit that a column holds."""
        digit, cell_bits = self.contents.cols.digit, self.contents.accelerator.crossbar.cell_bits
        low = shifts[:, None]
        return (digit < low + self._bits_of_col) & (low < digit + cell_bits)


def _lines(groups: Range, start: int, stop: int, every: int) -> tuple[Integers, Integers]:
    """Return group and number of every so many lines of a tile: start .. stop - 1 of each group."""
    line = np.tile(np.arange(start, stop, dtype=np.int64), len(groups))
    group = np.repeat(np.arange(groups.start, groups.stop, dtype=np.int64), stop - start)
    return group[::every], line[::every]


def count_cells(mapping: LayerMapping, accelerator: Accelerator) -> CellCount:
    """Count what all cells of a layer's tiles hold."""
    counts = (PartOccupancy.of(mapping, number, accelerator).count() for number in range(len(mapping.parts)))
    return sum(counts, CellCount(0, 0, 0))


@lru_cache(maxsize=256)
def _tabulate_taps(grid: PositionGrid, window: AnyWindow, pixels: tuple[Pair, ...]) -> Integers:
    """Return int64 [pixels, positions]: the tap with which each position of a window reads each pixel, or `NO_TAP`."""
    positions = [(int(row), int(col)) for row, col in grid.positions(window)]
    found = [[grid.tap(window, pixel, position) for position in positions] for pixel in pixels]
    taps = np.array([[NO_TAP if tap is None else tap for tap in line] for line in found], dtype=np.int64)
    taps.setflags(write=False)
    return taps
