"""Cutting a physical matrix into tiles that fit one crossbar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.hardware.spec import Accelerator, Crossbar, Encoding
from mho.mapping.adc_resolution import converts_differences
from mho.mapping.slicing import Count, ceil_divide

Lines = slice | NDArray[np.int64]
"""Numbers of rows or columns."""


@dataclass(frozen=True)
class Tile:
    """A block of a physical matrix (after encoding): rows `row_start` .. `row_stop` - 1, columns alike."""

    row_start: int
    row_stop: int
    col_start: int
    col_stop: int

    @property
    def rows(self) -> int:
        """Rows of the crossbar that the tile takes."""
        return self.row_stop - self.row_start

    @property
    def cols(self) -> int:
        """Columns of the crossbar that the tile takes."""
        return self.col_stop - self.col_start


def count_row_tiles(rows: Count, crossbar: Crossbar) -> Count:
    """Return how many crossbars lie above each other to hold `rows` physical rows."""
    return ceil_divide(rows, crossbar.rows)


def count_col_tiles(cols: Count, crossbar: Crossbar) -> Count:
    """Return how many crossbars lie beside each other to hold `cols` physical columns."""
    return ceil_divide(cols, crossbar.cols)


def count_row_reads(rows: Count, crossbar: Crossbar, rows_at_once: int) -> Count:
    """Return the MVMs of one input slice over all tiles above each other, where each may drive `rows_at_once` rows."""
    reads_of_full_tile = ceil_divide(crossbar.rows, rows_at_once)
    return rows // crossbar.rows * reads_of_full_tile + ceil_divide(rows % crossbar.rows, rows_at_once)


def count_conversions(cols: Count, accelerator: Accelerator, encoding: Encoding) -> Count:
    """Return the sums that are converted, shifted and added in one MVM over all tiles beside each other.

    They are the columns; where differences are converted, the pairs of columns, and those that a tile's edge parts from
    their partner.
    """
    columns = 2 if converts_differences(accelerator, encoding) else 1
    width = accelerator.crossbar.cols
    return cols // width * ceil_divide(width, columns) + ceil_divide(cols % width, columns)


def count_conversion_rounds(cols: Count, accelerator: Accelerator, encoding: Encoding) -> Count:
    """Return the rounds of conversion of one MVM over all tiles beside each other: ceil(conversions / ADCs) a tile."""
    width = accelerator.crossbar.cols
    adcs = accelerator.converters.count_adcs(width)
    full = count_conversions(width, accelerator, encoding)
    last = count_conversions(cols % width, accelerator, encoding)
    return cols // width * ceil_divide(full, adcs) + ceil_divide(last, adcs)


def split_tiles(rows: int, cols: int, crossbar: Crossbar) -> tuple[Tile, ...]:
    """Cut a physical matrix into tiles, each as large as the crossbar but the last of a row or column.

    Returns:
        count_row_tiles * count_col_tiles tiles, those of the first block of columns first, top to bottom: tiles whose
        sums add up to the same outputs follow each other.
    """
    return tuple(
        Tile(row, min(row + crossbar.rows, rows), col, min(col + crossbar.cols, cols))
        for col in range(0, cols, crossbar.cols)
        for row in range(0, rows, crossbar.rows)
    )


def as_lines(indices: NDArray[np.int64]) -> Lines:
    """Return evenly spaced ascending indices as a slice, which NumPy reads without gathering."""
    if indices.size == 1:
        return slice(int(indices[0]), int(indices[0]) + 1)
    step = int(indices[1] - indices[0]) if indices.size else 0
    is_even = step > 0 and bool((np.diff(indices) == step).all())
    return slice(int(indices[0]), int(indices[-1]) + 1, step) if is_even else indices
