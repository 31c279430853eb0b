"""Mean squared errors of many ranges of ADCs for the same counted sums, in a time that bins do not enter.

Counts of bins are summed up once; what a range costs then follows from the sums at the edges of its codes. With bins
j, c of them each, codes at v, v + d, .. and F(x) = sum of c (j - x) over j < x, which is linear between bins,

    error = sum of c (j - last code)^2 + 2 d sum over edges x of F(x).

Every edge takes what lies below it one code further down. Bins beyond the first and the last code are at their own
distance, whatever is between: where that alone is more than another range costs, edges are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TRIED_FIRST = 8
"""Every 8th range is tried before others are left out."""
_EDGES_AT_ONCE = 1 << 16
_ROUNDING = 1e-7
"""Errors are known to so much of a squared bin, times the number of sums."""


class RangeErrors:
    """Errors of ranges for the counts of groups; positions are in bins, from the middle of the first one."""

    def __init__(self, counts: NDArray[np.int64]) -> None:
        """Sum up `counts` [groups, bins]."""
        groups, self._bins = counts.shape
        place = np.arange(self._bins, dtype=np.float64)
        weighted = np.stack([counts, counts * place, counts * place**2])
        self._sums = np.zeros((3, groups, self._bins + 1))
        np.cumsum(weighted, axis=2, out=self._sums[:, :, 1:])

    def find_least(self, low: Floats, step: Floats, codes: int) -> NDArray[np.bool_]:
        """Return which ranges may have the least error of a group, as far as rounding lets it be known.

        Of neighbours that are the same, only the first is tried.

        Args:
            low, step: [groups, ranges], of code 0, and of one code more.
            codes: of a range.
        """
        last = low + step * (codes - 1)
        beyond = self._below(low) + self._above(last)
        errors = np.full(low.shape, np.inf)
        unsure = _ROUNDING * self._sums[0, :, -1:]
        is_new = np.ones(low.shape, dtype=np.bool_)
        is_new[:, 1:] = (low[:, 1:] != low[:, :-1]) | (step[:, 1:] != step[:, :-1])
        is_first = np.zeros(low.shape, dtype=np.bool_)
        is_first[:, ::_TRIED_FIRST] = True
        self._fill(errors, is_new & is_first, low, step, codes)
        may_be_less = beyond <= errors.min(axis=1, keepdims=True) + unsure
        self._fill(errors, is_new & ~is_first & may_be_less, low, step, codes)
        may_be_least: NDArray[np.bool_] = errors <= errors.min(axis=1, keepdims=True) + unsure
        return may_be_least

    def _fill(self, errors: Floats, wanted: NDArray[np.bool_], low: Floats, step: Floats, codes: int) -> None:
        """Put the errors of wanted ranges in their places."""
        group, number = np.nonzero(wanted)
        first, width = low[group, number], step[group, number]
        of_edges, size = np.empty(len(group)), max(1, _EDGES_AT_ONCE // codes)
        numbers = np.arange(codes - 1) + 0.5
        for start in range(0, len(group), size):
            some = slice(start, start + size)
            edges = first[some, None] + width[some, None] * numbers
            whole = np.clip(np.ceil(edges), 0, self._bins).astype(np.int64)
            whole += (group[some] * (self._bins + 1))[:, None]
            count, total = (self._sums[power].reshape(-1).take(whole) for power in (0, 1))
            of_edges[some] = (total - edges * count).sum(axis=1)
        last = low + step * (codes - 1)
        errors[group, number] = self._whole(last)[group, number] + 2 * width * of_edges

    def _whole(self, x: Floats) -> Floats:
        """Return the sum of squared distances of all bins from positions [groups, n]."""
        count, total, squares = self._sums[:, :, -1:]
        found: Floats = squares - 2 * x * total + x**2 * count
        return found

    def _below(self, x: Floats) -> Floats:
        """Return the sum of squared distances of bins below positions [groups, n] from these."""
        whole = np.clip(np.ceil(x), 0, self._bins).astype(np.int64)
        count, total, squares = (np.take_along_axis(sums, whole, axis=1) for sums in self._sums)
        found: Floats = squares - 2 * x * total + x**2 * count
        return found

    def _above(self, x: Floats) -> Floats:
        return self._whole(x) - self._below(x)
