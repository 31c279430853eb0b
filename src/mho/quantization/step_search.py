"""Quantization steps of least squared error, for many rows and one grid at once.

For rows sorted once, the error of a step needs only where the grid's decision points fall among the values: with
C_j values (of sum P_j) below the decision point between integers j and j + 1,

    error = sum of x^2 - 2 step (upper * P - sum_j P_j) + step^2 (upper^2 * K - sum_j (2 j + 1) C_j)

(summation by parts), so its cost grows with the number of levels, not of values. Candidates are spaced evenly in the
logarithm, first widely, then closely around the best one; the last refinement is the closed form: the step that is best
for the integers found.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_COARSE, _FINE, _SMALLEST_SHARE = 24, 9, 0.004
_MAX_LEVELS = 255
"""Grids with more levels get the full range: clipping gains nothing there."""

_QUERIES_AT_ONCE = 4_000_000


class SortedRows:
    """Values of each row, sorted, with the sums that the search needs.

    Args:
        values: [rows, K], finite; K >= 1.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values.detach().to(torch.float32).sort(dim=1).values.contiguous()
        exact = self.values.to(torch.float64)
        self.prefix = torch.cat((torch.zeros(len(exact), 1, dtype=torch.float64), exact.cumsum(1)), dim=1)
        self.square_sum = exact.square().sum(1)
        self.largest = self.values.abs().amax(1)

    def optimal_steps(self, lower: int, upper: int) -> Tensor:
        """Return the step of least squared error of each row, float32 [rows], for integers lower..upper.

        A row of zeros, which every step represents, gets the mean of the others' steps (1 where all rows are zero).
        """
        full_range = self._full_range_steps(lower, upper)
        if upper - lower <= _MAX_LEVELS:
            rows_at_once = max(1, _QUERIES_AT_ONCE // ((upper - lower) * _COARSE))
            chunks = range(0, len(self.values), rows_at_once)
            parts = [self._search(slice(i, i + rows_at_once), full_range, lower, upper) for i in chunks]
            steps = torch.cat(parts)
        else:
            steps = full_range
        return _fill_zero_rows(steps, self.largest)

    def optimal_binary_steps(self) -> Tensor:
        """Return the mean magnitude of each row: the step of least squared error of {-1, +1} (arXiv 1603.05279)."""
        steps = self.values.to(torch.float64).abs().mean(1)
        return _fill_zero_rows(steps, self.largest)

    def _full_range_steps(self, lower: int, upper: int) -> Tensor:
        """The smallest step that clips nothing."""
        steps = self.values[:, -1].to(torch.float64).clamp_min(0) / max(upper, 1)
        if lower < 0:
            steps = torch.maximum(steps, -self.values[:, 0].to(torch.float64) / -lower)
        # On one-sided grids such as -1..0 every value may lie on the wrong side.
        return torch.where(steps > 0, steps, self.largest.to(torch.float64).clamp_min(torch.finfo(torch.float32).tiny))

    def _search(self, rows: slice, full_range: Tensor, lower: int, upper: int) -> Tensor:
        start = full_range[rows, None]
        shares = torch.logspace(math.log10(_SMALLEST_SHARE), 0.0, _COARSE, dtype=torch.float64)
        best = self._best(rows, start * shares, lower, upper)
        gap = -math.log10(_SMALLEST_SHARE) / (_COARSE - 1)
        near = torch.logspace(-gap, gap, _FINE, dtype=torch.float64)
        best = self._best(rows, torch.minimum(best[:, None] * near, start), lower, upper)
        products, squares = self._moments(rows, best[:, None], lower, upper)
        refined = torch.where((squares > 0) & (products > 0), products / squares.clamp_min(1), best[:, None])
        return self._best(rows, torch.cat((best[:, None], refined), dim=1), lower, upper)

    def _best(self, rows: slice, steps: Tensor, lower: int, upper: int) -> Tensor:
        products, squares = self._moments(rows, steps, lower, upper)
        errors = self.square_sum[rows, None] - 2 * steps * products + steps.square() * squares
        return steps.gather(1, errors.argmin(1, keepdim=True))[:, 0]

    def _moments(self, rows: slice, steps: Tensor, lower: int, upper: int) -> tuple[Tensor, Tensor]:
        """Return sum of q x and sum of q^2 for each row and candidate step, float64 [rows, candidates]."""
        values, prefix = self.values[rows], self.prefix[rows]
        levels = torch.arange(lower, upper, dtype=torch.float64)
        points = (steps[:, :, None] * (levels + 0.5)).to(torch.float32).flatten(1)
        counts = torch.searchsorted(values, points)
        sums = prefix.gather(1, counts).reshape(*steps.shape, -1)
        counts = counts.reshape(*steps.shape, -1).to(torch.float64)
        products = upper * prefix[:, -1:] - sums.sum(2)
        squares = upper**2 * values.shape[1] - (counts * (2 * levels + 1)).sum(2)
        return products, squares


def _fill_zero_rows(steps: Tensor, largest: Tensor) -> Tensor:
    """Return float32 steps: those of rows of zeros as the others' mean, none below float32's full precision."""
    steps = steps.to(torch.float32).clamp_min(torch.finfo(torch.float32).tiny)
    is_zero = largest == 0
    others = steps[~is_zero]
    return torch.where(is_zero, others.mean() if len(others) else torch.tensor(1.0), steps)
