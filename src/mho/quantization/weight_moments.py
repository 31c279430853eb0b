"""What the cells of one weight make of it, for every integer that it may be: mean and variances, from those of levels.

A weight's cells depend on its integer alone, so one table serves all weights of a part of a mapping. Where input slices
lie side by side, each meets cells of its own: then a weight has no single value, and the moments are those of results,
over evenly distributed codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.array.cell_statistics import CellStatistics
from mho.array.converters import drive_levels
from mho.mapping.layer_arrays import WeightCells

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of values that cells stand for, in steps of integers, float64 of any shape.

    Attributes:
        mean: over chips.
        variance: over chips.
        read: variance from read to read; it counts with the squares of drives (`WeightMoments.squares`).
    """

    mean: Floats
    variance: Floats
    read: Floats


@dataclass(frozen=True, eq=False)
class WeightMoments:
    """Of the weights of a part.

    Attributes:
        lowest, step: the integers of the table: lowest, lowest + step, ...
        weight: [integers], of what cells stand for, offset included.
        one: [], of the column of ones; 0 variances and a mean of 1 where there is none.
        idle: [], of what the cells of other positions and groups make of one of their inputs.
        idle_one: [], the same of the column of ones.
        idle_inputs: how many of these there are.
        squares: float64 [2^input_bits], what each code's steps drive, squared, times 4^shift, and added.
        stuck: float64 [2, integers, cells], what a cell that is stuck in the highest or in the lowest level changes;
            None where moments have all cells in them.
    """

    lowest: int
    step: int
    weight: Moments
    one: Moments
    idle: Moments
    idle_one: Moments
    idle_inputs: float
    squares: Floats
    stuck: Floats | None = None


def find_moments(
    cells: WeightCells,
    statistics: CellStatistics,
    input_bits: int,
    dac_bits: int,
    *,
    good: CellStatistics | None = None,
    stuck_counts: tuple[float, float] = (0.0, 0.0),
) -> WeightMoments:
    """Return the moments of the weights of a part.

    Args:
        cells: of one weight.
        statistics: of the levels of a cell.
        input_bits: of a code.
        dac_bits: that one step takes of a code.
        good: those of cells that are not stuck, where weights are to have stuck cells apart.
        stuck_counts: what cells hold that are stuck in the highest and in the lowest level.
    """
    digits = len(cells.col_weight) - cells.correction_cols
    codes = _DrivenCodes(cells, input_bits, dac_bits, statistics)
    own, stuck = (cells.digits[..., :digits], cells.col_weight[:digits]), None
    held = _combine(cells, *own, statistics if good is None else good, codes)
    if good is not None:
        stuck = np.stack([_of_stuck(cells, *own, good, codes, count) for count in stuck_counts])
    none = np.zeros_like(cells.digits[:1])
    idle = _combine(cells, none[..., :digits], cells.col_weight[:digits], statistics, codes)
    ones = Moments(np.ones(1), np.zeros(1), np.zeros(1))
    idle_ones = Moments(np.zeros(1), np.zeros(1), np.zeros(1))
    if cells.correction_cols:
        weights = cells.col_weight[digits:]
        ones = _combine(cells, cells.digits[:1, :, digits:], weights, statistics, codes)
        idle_ones = _combine(cells, none[..., digits:], weights, statistics, codes)
    integers = cells.integers
    step = int(integers[1] - integers[0])
    return WeightMoments(int(integers[0]), step, held, ones, idle, idle_ones, cells.idle_inputs, codes.squares, stuck)


class _DrivenCodes:
    """How the slices of evenly distributed codes, which rows of other shifts take, add up to the code.

    Attributes:
        shift_of_row: int64 [rows], which of `mean`, `square` is a row's.
        mean: float64 [shifts], what a unit in such rows counts for, as part of a weight.
        square: float64 [shifts], its square as part of the square of a weight.
        squares: see `WeightMoments`.
    """

    def __init__(self, cells: WeightCells, input_bits: int, dac_bits: int, statistics: CellStatistics) -> None:
        shifts, self.shift_of_row = np.unique(cells.row_shift, return_inverse=True)
        codes, levels = np.arange(1 << input_bits), drive_levels(dac_bits, 0)
        steps = -(-input_bits // cells.step_shift)
        driven = np.zeros((len(shifts), len(codes)))
        squares = np.zeros_like(driven)
        for step in range(steps):
            slices = levels[(codes >> (step * cells.step_shift + shifts[:, None])) & ((1 << dac_bits) - 1)]
            driven += slices * 2.0 ** (step * cells.step_shift)
            squares += slices**2 * 4.0 ** (step * cells.step_shift)
        self.mean = driven.mean(axis=1) / codes.mean()
        self.square = np.square(driven).mean(axis=1) / np.square(codes).mean()
        reads = statistics.read_variance[cells.digits].mean(axis=(0, 2))
        shares = np.bincount(self.shift_of_row, weights=reads)
        self.squares = (shares / shares.sum() if shares.any() else np.full(len(shifts), 1 / len(shifts))) @ squares


def _combine(
    cells: WeightCells,
    digits: NDArray[np.uint8],
    col_weight: NDArray[np.int64],
    of: CellStatistics,
    codes: _DrivenCodes,
) -> Moments:
    """Add up what cells [integers, rows, cols] stand for."""
    weight = col_weight.astype(np.float64)
    share = codes.mean[codes.shift_of_row] * cells.row_sign
    mean = (of.mean[digits] @ weight) @ share
    variance = (of.variance[digits] @ weight**2) @ codes.square[codes.shift_of_row]
    return Moments(mean, variance, (of.read_variance[digits] @ weight**2).sum(axis=1))


def _of_stuck(
    cells: WeightCells,
    digits: NDArray[np.uint8],
    col_weight: NDArray[np.int64],
    good: CellStatistics,
    codes: _DrivenCodes,
    count: float,
) -> Floats:
    """Return what each cell changes that holds `count` instead, float64 [integers, cells]."""
    share = codes.mean[codes.shift_of_row] * cells.row_sign
    changes = (count - good.mean[digits]) * col_weight * share[:, None]
    return changes.reshape(len(digits), -1)
