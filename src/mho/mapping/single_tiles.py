"""Whole layers in a single tile: what of a crossbar they take, and how long they are read, in every way there is.

Layers that share a crossbar each take a block of it. Which blocks a layer has in one encoding is found here; who shares
a crossbar with whom is decided in `mho.mapping.stacks`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mho.mapping.candidates import Array, Candidates, Times


@dataclass(frozen=True, eq=False)
class SingleTiles:
    """Every candidate that holds a whole layer in a single tile.

    Attributes:
        candidate: int64 [K], which candidate.
        rows, cols: int64 [K], of the tile.
        times: float64 [N, K], time of a batch's reads for each number of input slices, whole numbers in the unit of
            the prices; infinite where the error passes its bound.
    """

    candidate: Array
    rows: Array
    cols: Array
    times: Times

    def within(self, rows: int, cols: int) -> Array:
        """Return which of them take at most so many rows and columns, int64 [...]."""
        return np.flatnonzero((self.rows <= rows) & (self.cols <= cols))

    def least_times(self, lines: Array, unit: int, count: int) -> Times:
        """Return the least times of blocks that take at most 0 .. count units of `lines`, float64 [N, count + 1].

        Args:
            lines: int64 [K], what is measured: `rows` or `cols`.
            unit: lines of one unit.
            count: units that there are.
        """
        least = np.full((count + 1, len(self.times)), np.inf)
        units = -(-lines // unit)
        fits = units <= count
        np.minimum.at(least, units[fits], self.times.T[fits])
        return np.minimum.accumulate(least, axis=0).T


def find_single_tiles(candidates: Candidates, *, inputs: int, outputs: int, groups: int) -> SingleTiles:
    """Find the blocks of a layer in one encoding.

    Args:
        candidates: every way to map a piece.
        inputs, outputs, groups: the whole layer.

    Returns:
        None of them where tiles are written for every sample: what lies beside them would be written again.
    """
    crossbar = candidates.accelerator.crossbar
    if (
        candidates.is_stored_dynamically
        or groups > candidates.accelerator.mapping.allowed.groups_per_tile
        or groups * inputs * outputs > crossbar.rows * crossbar.cols
    ):
        nothing = np.zeros(0, dtype=np.int64)
        return SingleTiles(nothing, nothing, nothing, np.zeros((len(candidates.input_slices), 0)))
    rows = groups * candidates.rows(0, inputs)
    cols = groups * candidates.cols(np.array([outputs]), has_correction=True)[0]
    found = np.flatnonzero((rows <= crossbar.rows) & (cols <= crossbar.cols) & (candidates.kinds == 1))
    rows, cols = rows[found], cols[found]
    one_pass = candidates.count_tiling(1, np.ones_like(rows), rows, cols)
    reading = candidates.prices.reading_ps(one_pass).astype(np.float64)
    times = np.full((len(candidates.input_slices), len(candidates.shape)), np.inf)
    times[:, found] = reading * candidates.passes[:, found]
    times = candidates.refuse(times, np.full(len(candidates.shape), groups))
    return SingleTiles(found, rows, cols, times[:, found])
