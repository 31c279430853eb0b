"""Grids of least squared error: steps of many rows of weights at once, and step and zero point of one operand.

Candidate steps are spaced evenly in the logarithm, first widely, then closely around the best one; the last refinement
is the closed form: the step that is best for the integers found. Weights are rounded to each candidate, a part of them
that fits the processor's cache at a time, which takes as long for 8 bits as for 2. Zero points need no search of their
own: they are whole numbers, so grids of one step have the same points, and what a zero point decides is where the grid
ends. For values sorted once, the errors of all of them follow from three running sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from mho.quantization.quantizers import Quantizer, activation_bounds

ZERO_POINT_GAIN = 0.1
"""Share of the squared error that a zero point must save; else an operand keeps its signed grid."""

_COARSE, _FINE, _SMALLEST_SHARE = 24, 9, 0.004
_MAX_LEVELS = 255
"""Grids with more levels get the full range: clipping gains nothing there."""

_VALUES_AT_ONCE = 1 << 16
_LEAST_EXPONENT = -120


class Sign(Enum):
    """What is known of the sign of a streamed operand."""

    NON_NEGATIVE = "codes are 0 and up, without a zero point"
    UNKNOWN = "a signed grid: too few samples tell"
    MEASURED = "a signed grid, or one with a zero point where that saves `ZERO_POINT_GAIN` of the squared error"


@dataclass(frozen=True)
class StreamedGrid:
    """The grid of a streamed operand: value = step * (q - zero_point).

    Attributes:
        step: positive.
        zero_point: of codes 0 .. 2^bits - 1; 2^(bits - 1) is the plain signed grid, 0 the plain unsigned one.
    """

    step: float
    zero_point: int


def find_steps(rows: Tensor, lower: int, upper: int) -> Tensor:
    """Return the step of least squared error of each row, float32 [rows], for integers lower..upper.

    A row of zeros, which every step represents, gets the mean of the others' steps (1 where all rows are zero).

    Args:
        rows: float32 [rows, K], finite; K >= 1.
        lower, upper: -n and n.
    """
    if upper - lower <= _MAX_LEVELS:
        parts = rows.split(max(1, _VALUES_AT_ONCE // rows.shape[1]))
        return _fill_zero_rows(torch.cat([_RowSearch(part, lower, upper).best() for part in parts]), rows)
    return _fill_zero_rows(rows.abs().amax(1) / upper, rows)


def find_binary_steps(rows: Tensor) -> Tensor:
    """Return the mean magnitude of each row: the step of least squared error of {-1, +1} (arXiv 1603.05279)."""
    return _fill_zero_rows(rows.abs().mean(1, dtype=torch.float64), rows)


class _RowSearch:
    """The search for the steps of a few rows, each from the smallest step that clips nothing downwards."""

    def __init__(self, rows: Tensor, lower: int, upper: int) -> None:
        largest = rows.abs().amax(1)
        # Rows of magnitude 1: squares of very small or large weights are not to leave float32.
        self._unit = torch.exp2(torch.frexp(largest).exponent.clamp_min(_LEAST_EXPONENT).to(torch.float32))
        self._rows, self._bounds = rows / self._unit[:, None], (lower, upper)
        self._full = (largest / self._unit).clamp_min(torch.finfo(torch.float32).tiny) / upper
        self._codes = torch.empty_like(self._rows)
        self._steps = self._full
        self._errors = torch.full_like(self._full, math.inf)

    def best(self) -> Tensor:
        """Return the best steps found, [rows]."""
        for share in _coarse_shares():
            self._try(self._full * share)
        around = self._steps
        for share in _fine_shares():
            self._try(torch.minimum(around * share, self._full))
        self._round(self._steps)
        products, squares = (self._codes * self._rows).sum(1), self._codes.square().sum(1)
        self._try(torch.where(products > 0, products / squares.clamp_min(1), self._steps))
        return self._steps * self._unit

    def _round(self, steps: Tensor) -> Tensor:
        return torch.div(self._rows, steps[:, None], out=self._codes).round_().clamp_(*self._bounds)

    def _try(self, steps: Tensor) -> None:
        errors = self._round(steps).mul_(steps[:, None]).sub_(self._rows).square_().sum(1)
        better = errors < self._errors
        self._steps, self._errors = (
            torch.where(better, steps, self._steps),
            torch.where(better, errors, self._errors),
        )


class StreamedValues:
    """Values of a streamed operand, from which the grids of all widths follow.

    Args:
        values: float32 [K], finite; K >= 1.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values.sort().values.to(torch.float64)
        zero = torch.zeros(1, dtype=torch.float64)
        self._sums = torch.cat((zero, self._values.cumsum(0)))
        self._squares = torch.cat((zero, self._values.square().cumsum(0)))
        self._least, self._greatest = min(0.0, float(self._values[0])), max(0.0, float(self._values[-1]))

    def find_grid(self, bits: int, sign: Sign) -> StreamedGrid:
        """Return the grid of least squared error that `sign` allows, with codes of 1 to 16 bits."""
        plain = 0 if sign is Sign.NON_NEGATIVE else 1 << (bits - 1)
        if (1 << bits) - 1 > _MAX_LEVELS:
            return StreamedGrid(self._full_range(bits, plain) or 1.0, plain)
        error, found = self._search(bits, torch.tensor([plain], dtype=torch.float64))
        if sign is not Sign.MEASURED:
            return found
        error_with_zero, with_zero = self._search(bits, torch.arange(1 << bits, dtype=torch.float64))
        return with_zero if error_with_zero < (1 - ZERO_POINT_GAIN) * error else found

    def _full_range(self, bits: int, zero_point: int) -> float:
        """Return the smallest step that clips nothing; on a grid of one side, nothing of the side that it has."""
        lower, upper = -zero_point, (1 << bits) - 1 - zero_point
        steps = [bound / levels for bound, levels in ((self._greatest, upper), (self._least, lower)) if levels]
        return max(steps) or max(self._greatest, -self._least)

    def _search(self, bits: int, zero_points: Tensor) -> tuple[float, StreamedGrid]:
        """Return the best grid with one of `zero_points`, and its squared error."""
        full = self._full_range(bits, int(zero_points[0]) if len(zero_points) == 1 else 1 << (bits - 1))
        if full == 0:
            return 0.0, StreamedGrid(1.0, int(zero_points[len(zero_points) // 2]))
        candidates = [self._best_zero_point(full * share, bits, zero_points) for share in _coarse_shares()]
        around = min(candidates, key=_error_of)[1].step
        for share in _fine_shares():
            candidates.append(self._best_zero_point(min(around * share, full), bits, zero_points))
        best = min(candidates, key=_error_of)
        refined = self._refine(best[1], bits)
        return min(
            best,
            self._best_zero_point(refined, bits, torch.tensor([best[1].zero_point], dtype=torch.float64)),
            key=_error_of,
        )

    def _best_zero_point(self, step: float, bits: int, zero_points: Tensor) -> tuple[float, StreamedGrid]:
        """Return the grid with that step whose zero point is best, and its squared error.

        Where the grid ends values are clipped, elsewhere they are rounded to multiples of the step. A value is clipped
        at its end where it is closer to no other multiple; so both errors are continuous there.
        """
        rounded = (self._values / step).round_().mul_(-step).add_(self._values).square_().cumsum(0)
        low, high = -step * zero_points, step * ((1 << bits) - 1 - zero_points)
        below, to = (torch.searchsorted(self._values, ends) for ends in (low, high))
        count = len(self._values)
        running = torch.cat((torch.zeros(1, dtype=torch.float64), rounded))
        errors = running[to] - running[below]
        errors += self._squares[below] - 2 * low * self._sums[below] + low.square() * below
        squares, sums = self._squares[-1] - self._squares[to], self._sums[-1] - self._sums[to]
        errors += squares - 2 * high * sums + high.square() * (count - to)
        index = int(errors.argmin())
        return float(errors[index]), StreamedGrid(step, int(zero_points[index]))

    def _refine(self, grid: StreamedGrid, bits: int) -> float:
        """Return the step that is best for the integers of `grid`."""
        low, high = -grid.zero_point, (1 << bits) - 1 - grid.zero_point
        codes = (self._values / grid.step).round_().clamp_(low, high)
        products, squares = float(codes @ self._values), float(codes @ codes)
        return products / squares if products > 0 and squares > 0 else grid.step


def set_streamed_grid(quantizer: Quantizer, bits: int, grid: StreamedGrid) -> None:
    """Set `quantizer` to `grid`: the signed codes without a zero point where it is the plain signed one."""
    is_signed = grid.zero_point == 1 << (bits - 1)
    bounds = activation_bounds(bits, non_negative=not is_signed)
    quantizer.set_bounds(bits, *bounds, torch.tensor(grid.step), 0 if is_signed else grid.zero_point)


def _error_of(found: tuple[float, StreamedGrid]) -> float:
    return found[0]


def _coarse_shares() -> list[float]:
    return torch.logspace(math.log10(_SMALLEST_SHARE), 0.0, _COARSE, dtype=torch.float64).tolist()


def _fine_shares() -> list[float]:
    gap = -math.log10(_SMALLEST_SHARE) / (_COARSE - 1)
    return torch.logspace(-gap, gap, _FINE, dtype=torch.float64).tolist()


def _fill_zero_rows(steps: Tensor, rows: Tensor) -> Tensor:
    """Return float32 steps: those of rows of zeros as the others' mean, none below float32's full precision."""
    steps = steps.to(torch.float32).clamp_min(torch.finfo(torch.float32).tiny)
    is_zero = rows.abs().amax(1) == 0
    others = steps[~is_zero]
    return torch.where(is_zero, others.mean() if len(others) else torch.tensor(1.0), steps)
