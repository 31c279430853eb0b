"""How an array is used: what drives its rows in each step, what its columns count for, which are converted together.

It says for one array what `mho.mapping.cell_contents` says for a part of a mapping.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mho.errors import DataError
from mho.hardware.converters import ColumnDifference

Integers = NDArray[np.int64]

MAX_INPUT_BITS = 32
NO_COLUMN = -1


@dataclass(frozen=True, eq=False)
class ArrayLayout:
    """What one array computes.

    In step s = 0 .. steps - 1, row r is driven with bits [s * step_shift + row_shift[r], + dac_bits) of its code, with
    polarity row_sign[r]; column c adds (its sum << s * step_shift) * col_weight[c] to result col_output[c].

    Attributes:
        row_sign: int64 [rows], +1 or -1.
        row_shift: int64 [rows], bits, at least 0.
        col_output: int64 [cols], 0 .. outputs - 1.
        col_weight: int64 [cols], a signed power of two.
        outputs: results.
        input_bits: bits of a code, 1..32.
        dac_bits: bits that one step takes of a code.
        steps: steps of an input, at least 1.
        step_shift: bits from one step to the next.
        is_correction: bool [cols], columns that hold ones and so add inputs up; None: there are none.

    Raises:
        DataError: lengths or values do not fit.
    """

    row_sign: Integers
    row_shift: Integers
    col_output: Integers
    col_weight: Integers
    outputs: int
    input_bits: int
    dac_bits: int
    steps: int
    step_shift: int
    is_correction: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        magnitude = np.abs(self.col_weight)
        checks = {
            "rows differ in number": self.row_sign.shape == self.row_shift.shape and self.row_sign.ndim == 1,
            "columns differ in number": self.col_output.shape == self.col_weight.shape
            and self.col_output.ndim == 1
            and (self.is_correction is None or self.is_correction.shape == self.col_output.shape),
            "there are no rows or no columns": bool(self.row_sign.size and self.col_output.size),
            "signs of rows are not +1 or -1": bool((np.abs(self.row_sign) == 1).all()),
            "shifts of rows are negative": bool((self.row_shift >= 0).all()),
            "outputs of columns do not exist": bool(
                ((self.col_output >= 0) & (self.col_output < self.outputs)).all(),
            ),
            "weights of columns are not powers of two": bool(
                ((magnitude > 0) & (magnitude & (magnitude - 1) == 0)).all()
            ),
            f"codes have no bits or more than {MAX_INPUT_BITS}": 1 <= self.input_bits <= MAX_INPUT_BITS,
            "there are no steps": self.steps >= 1 and self.step_shift >= 1 and 1 <= self.dac_bits <= 8,
        }
        wrong = [text for text, is_right in checks.items() if not is_right]
        if wrong:
            raise DataError(f"an array is not laid out well: {'; '.join(wrong)}")

    @property
    def rows(self) -> int:
        """Rows of the array."""
        return len(self.row_sign)

    @property
    def cols(self) -> int:
        """Columns of the array."""
        return len(self.col_output)

    @property
    def takes_whole_codes(self) -> bool:
        """True where the steps of every row, each shifted to its place, add up to its code."""
        covers = self.steps * self.step_shift >= self.input_bits
        return covers and self.step_shift == self.dac_bits and not self.row_shift.any()

    def drive_rows(self, start: int, stop: int) -> ArrayLayout:
        """Return the layout of rows `start` .. `stop` - 1 alone, where not all are driven at once."""
        rows = slice(start, stop)
        return replace(self, row_sign=self.row_sign[rows], row_shift=self.row_shift[rows])

    def shifts(self) -> Integers:
        """Return the first bit that each step takes of the code of each row, int64 [steps, rows]."""
        steps = np.arange(self.steps, dtype=np.int64)[:, None]
        return steps * self.step_shift + self.row_shift

    def slice_codes(self, codes: NDArray[np.integer]) -> Integers:
        """Return what each step drives, int64 [steps, batch, rows], of codes [batch, rows]."""
        shifts = np.minimum(self.shifts(), 62)[:, None]
        slices: Integers = (codes.astype(np.int64)[None] >> shifts) & ((1 << self.dac_bits) - 1)
        return slices


@dataclass(frozen=True, eq=False)
class Conversions:
    """Which columns are converted, together or alone, in the order in which results are put together from them.

    Attributes:
        plus: int64 [conversions], the column.
        minus: int64 [conversions], the column that is subtracted from it before conversion, or `NO_COLUMN`.
        weight: int64 [conversions], with which the sum counts.
        output: int64 [conversions], the result that it counts for. Conversions come in blocks, in each of which outputs
            rise.
        blocks: where blocks begin and end.
    """

    plus: Integers
    minus: Integers
    weight: Integers
    output: Integers
    blocks: tuple[slice, ...]

    def subtract(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of conversions [..., conversions] of those of columns [..., cols]."""
        return values[..., self.plus] - self._of_second(values) if self.has_pairs else values[..., self.plus]

    def add(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums over the columns of each conversion, such as of variances."""
        return values[..., self.plus] + self._of_second(values) if self.has_pairs else values[..., self.plus]

    @cached_property
    def has_pairs(self) -> bool:
        """True where some columns are subtracted from others."""
        return bool((self.minus != NO_COLUMN).any())

    def _of_second(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(self.minus == NO_COLUMN, 0.0, values[..., self.minus])


def list_conversions(layout: ArrayLayout, difference: ColumnDifference) -> Conversions:
    """Return the conversions of an array.

    With `ColumnDifference.ANALOG`, the pairs of `begin_pairs` are converted as their difference.
    """
    output, weight = layout.col_output, layout.col_weight
    begins = np.zeros(layout.cols, dtype=np.bool_)
    if difference is ColumnDifference.ANALOG:
        begins = begin_pairs(output, weight)
    first = np.flatnonzero(~np.append(False, begins[:-1]))
    place = number_within(output[first])
    order = np.lexsort((output[first], place))
    first = first[order]
    second = np.where(begins[first], first + 1, NO_COLUMN)
    edges = np.searchsorted(place[order], np.arange(int(place.max()) + 2))
    blocks = tuple(slice(int(start), int(stop)) for start, stop in itertools.pairwise(edges))
    return Conversions(first, second, weight[first], output[first], blocks)


def begin_pairs(output: NDArray[np.integer], weight: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Tell which columns of an array begin a pair, bool [cols]: neighbours of one result, with weights w > 0 and -w.

    There are pairs only where all columns are in one, but for the first and the last, whose partners may lie in other
    arrays. Columns of other encodings are none: in these, columns of one result that count negatively come first.

    Args:
        output: integers [cols], the result that a column counts for.
        weight: integers [cols], with which it counts.
    """
    begins = np.zeros(len(output), dtype=np.bool_)
    fits = (output[:-1] == output[1:]) & (weight[:-1] == -weight[1:]) & (weight[:-1] > 0)
    for first in (0, 1):
        pairs = fits[first::2]
        if pairs.size and pairs.all():
            begins[first:-1:2] = True
            break
    return begins


def number_within(groups: Integers) -> Integers:
    """Return the number of each element among those of its group, in order, from 0."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sizes = np.diff(np.append(starts, len(groups)))
    numbers = np.empty(len(groups), dtype=np.int64)
    numbers[order] = np.arange(len(groups)) - np.repeat(starts, sizes)
    return numbers
