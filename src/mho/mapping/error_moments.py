"""Moments that errors of outputs follow from: of what drives the rows of an input, and of what the cells of a weight
add to a sum.

No data is needed: weights and inputs have reference distributions. A weight is Gaussian around the middle of its range,
`WEIGHT_CLIP` deviations of which are the range; an input is a Gaussian of which `INPUT_CLIP` deviations are the range,
rectified. Measured on ResNet-20 (CIFAR-10, calibrated at 4/4): ranges are 2.1 to 3.1 deviations of weights, and 2.5 to
7 of inputs, of whose mean square 0.07 to 0.54 is the square of their mean, where the rectified Gaussian has 0.32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mho.array.converters import drive_levels
from mho.hardware.spec import Encoding
from mho.mapping.encoding import (
    StoredRange,
    count_correction_columns,
    count_sign_slices,
    count_stored_bits,
    count_weight_slices,
    first_shift,
    weight_offset,
)
from mho.mapping.slicing import ceil_divide

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

WEIGHT_CLIP = 2.7
"""Standard deviations of a weight from the middle to the end of its range."""

INPUT_CLIP = 3.5
"""Standard deviations, before rectification, of an input from zero to the end of its range."""

_MOST_VALUES = 1021
"""Values of a range that are looked at: of wider ones a sample with all kinds of digits (the number is prime)."""


@dataclass(frozen=True)
class Cells:
    """What cells hold, by level: hashable, so that what follows from it is found once.

    Attributes:
        cell_bits: of each.
        deviation: mean less the ideal level, steps.
        variance, read_variance: as of `mho.array.cell_statistics.CellStatistics`.
    """

    cell_bits: int
    deviation: tuple[float, ...]
    variance: tuple[float, ...]
    read_variance: tuple[float, ...]

    @property
    def are_ideal(self) -> bool:
        """True where each holds exactly its level."""
        return not any((*self.deviation, *self.variance, *self.read_variance))


@dataclass(frozen=True, eq=False)
class DriveMoments:
    """What drives the rows of one input with k slices at once, for each number of input slices [N].

    The drives of an input are those of its k rows, added up over steps with the weight of each, and the sum of all
    that DACs give too much: k + 1 numbers.

    Attributes:
        mean: float64 [N, k + 1].
        products: float64 [N, k + 1, k + 1], means of products of two of them.
        step_squares: float64 [N, k], squares of single drives, added up over steps with the square of each weight.
        largest_mean, largest_square: float64 [N], mean and mean square of a row's drive in the step that has the most.
        input_square: float64 [N], mean square of the input itself.
        step_weights, step_weight_squares: float64 [N], sums over steps of their weights, and of the squares.
    """

    mean: Floats
    products: Floats
    step_squares: Floats
    largest_mean: Floats
    largest_square: Floats
    input_square: Floats
    step_weights: Floats
    step_weight_squares: Floats


@dataclass(frozen=True, eq=False)
class WeightMoments:
    """What the cells of one weight add to the sum of its output, on k rows, one an input slice of a step.

    Attributes:
        mean: float64 [k + 1], mean over weights of the mean error by a unit of each drive; last: what the weight's
            digits count for, which what DACs give too much is multiplied by.
        products: float64 [k + 1, k + 1], means of products of two of them.
        variance, read_variance: float64 [k], over chips and over reads, mean over weights.
        zero_mean, zero_variance, zero_read_variance: the same of a row whose weights the output does not read.
        weight_square: mean square of the weight.
        column_weights: float64 [columns], what each conversion of the output counts for.
        column_mean, column_square: float64 [columns], mean and mean square of what is converted of a row that is read.
        zero_column_mean, zero_column_square: the same of one that is not.
        is_signed: what is converted has a sign.
    """

    mean: Floats
    products: Floats
    variance: Floats
    read_variance: Floats
    zero_mean: float
    zero_variance: float
    zero_read_variance: float
    weight_square: float
    column_weights: Floats
    column_mean: Floats
    column_square: Floats
    zero_column_mean: Floats
    zero_column_square: Floats
    is_signed: bool


@lru_cache(maxsize=256)
def drive_moments(slices: tuple[int, ...], dac_bits: int, inl_lsb: float, at_once: int) -> DriveMoments:
    """Return the moments of drives.

    Args:
        slices: numbers of input slices, each of an input as wide as they hold.
        dac_bits: of a slice.
        inl_lsb: non-linearity of DACs, as of `mho.array.converters.drive_levels`.
        at_once: slices side by side.
    """
    found = [_drive_moments(count, dac_bits, inl_lsb, at_once) for count in slices]
    return DriveMoments(*(np.stack(part) for part in zip(*found, strict=True)))


def _drive_moments(count: int, dac_bits: int, inl_lsb: float, at_once: int) -> tuple[Floats, ...]:
    mean, products, square = _slice_moments(count, dac_bits, inl_lsb)
    steps = ceil_divide(count, at_once)
    scale = np.zeros((at_once + 1, count + 1))
    step_squares, weights = np.zeros(at_once), 2.0 ** (dac_bits * at_once * np.arange(steps))
    for number in range(count):
        step, row = divmod(number, at_once)
        scale[row, number] = weights[step]
        step_squares[row] += weights[step] ** 2 * products[number, number]
    scale[at_once, count] = 1
    own = products[:-1, :-1].diagonal()
    return (
        scale @ mean,
        scale @ products @ scale.T,
        step_squares,
        np.array(mean[:-1].max()),
        np.array(own.max()),
        np.array(square),
        np.array(weights.sum()),
        np.array((weights * weights).sum()),
    )


@lru_cache(maxsize=256)
def _slice_moments(count: int, dac_bits: int, inl_lsb: float) -> tuple[Floats, Floats, float]:
    """Return means and products of the drives of all slices and of what they are too much, and the input's square."""
    top = (1 << count * dac_bits) - 1
    codes, shares = _round_gaussian(0, top, top / INPUT_CLIP, 0.0)
    digits = codes[:, None] >> (dac_bits * np.arange(count)) & ((1 << dac_bits) - 1)
    drives = drive_levels(dac_bits, inl_lsb)[digits]
    excess = ((drives - digits) * 2.0 ** (dac_bits * np.arange(count))).sum(axis=1, keepdims=True)
    all_of = np.concatenate([drives, excess], axis=1)
    return shares @ all_of, (all_of * shares[:, None]).T @ all_of, float(shares @ (codes.astype(np.float64) ** 2))


@lru_cache(maxsize=1024)
def weight_moments(
    values: StoredRange, encoding: Encoding, cells: Cells, at_once: int, dac_bits: int, *, is_difference: bool
) -> WeightMoments:
    """Return the moments of what the cells of a weight add.

    Args:
        values: what weights may be.
        encoding: how they are held.
        cells: that hold them.
        at_once: input slices side by side: k rows, that hold the weight shifted.
        dac_bits: by which each shifts it further.
        is_difference: differences of two columns are converted.
    """
    weights, shares = _list_weights(values)
    columns = _list_columns(values, encoding, cells.cell_bits, (at_once - 1) * dac_bits)
    shifts = dac_bits * np.arange(at_once)
    digits = np.stack([column.digits(weights[:, None], shifts, cells.cell_bits) for column in columns])
    counts = np.array([column.weight for column in columns], dtype=np.float64)
    deviation, variance, read_variance = (
        np.array(part) for part in (cells.deviation, cells.variance, cells.read_variance)
    )
    squares = counts * counts
    errors = np.tensordot(counts, deviation[digits], 1)
    held = weights + (weight_offset(values, encoding) if encoding is Encoding.OFFSET_DIGITAL else 0)
    both = np.concatenate([errors, held[:, None]], axis=1)
    middle = (values.qmin + values.qmax) / 2 if values.qmin >= 0 else 0.0
    has_pairs = is_difference or encoding is Encoding.DIFFERENTIAL_ROWS
    converted = _Converted.of(columns, digits, deviation, shares, has_pairs=has_pairs)
    return WeightMoments(
        mean=shares @ both,
        products=(both * shares[:, None]).T @ both,
        variance=shares @ np.tensordot(squares, variance[digits], 1),
        read_variance=shares @ np.tensordot(squares, read_variance[digits], 1),
        zero_mean=float(counts.sum() * deviation[0]),
        zero_variance=float(squares.sum() * variance[0]),
        zero_read_variance=float(squares.sum() * read_variance[0]),
        weight_square=float(shares @ (weights - middle) ** 2),
        **vars(converted),
    )


@dataclass(frozen=True)
class _Column:
    """A column (or one of two rows of opposite signs) of the output of a weight.

    Attributes:
        weight: what its sum counts for in the output; of columns of ones, the offset and its sign included.
        digit: power of two of the digit that it holds.
        part: which integer it holds digits of, by the weight.
        offset, bits: what is added to the weight first, and by how many bits it is shifted or cut.
    """

    weight: int
    digit: int
    part: str
    offset: int = 0
    bits: int = 0

    def digits(self, weights: Integers, shifts: Integers, cell_bits: int) -> Integers:
        """Return the digit that it holds, of weights and shifts that broadcast."""
        if self.part == "positive":
            held = np.maximum(weights, 0)
        elif self.part == "negative":
            held = np.maximum(-weights, 0)
        elif self.part == "offset":
            held = (weights + self.offset) >> self.bits
        elif self.part == "low bits":
            held = weights & ((1 << self.bits) - 1)
        elif self.part == "sign bit":
            held = (weights >> self.bits) & 1
        else:
            held = np.ones_like(weights)
        return np.asarray(((held << shifts) >> self.digit) & ((1 << cell_bits) - 1))


def _list_columns(values: StoredRange, encoding: Encoding, cell_bits: int, last_shift: int) -> list[_Column]:
    """List the columns of one output, as `mho.mapping.cell_contents` lays them out."""
    offset, unit, bits = (
        weight_offset(values, encoding),
        first_shift(values, encoding),
        count_stored_bits(values, encoding),
    )
    digits = [number * cell_bits for number in range(count_weight_slices(values, encoding, cell_bits, last_shift))]
    if encoding in (Encoding.DIFFERENTIAL_COLUMNS, Encoding.DIFFERENTIAL_ROWS):
        pairs = [(sign, digit, part) for digit in digits for sign, part in ((1, "positive"), (-1, "negative"))]
        return [_Column(sign << digit, digit, part) for sign, digit, part in pairs]
    if encoding is Encoding.TWOS_COMPLEMENT:
        signs = [number * cell_bits for number in range(count_sign_slices(values, encoding, cell_bits, last_shift))]
        columns = [_Column(1 << digit, digit, "low bits", bits=bits) for digit in digits]
        return [*columns, *(_Column(-1 << (bits + digit), digit, "sign bit", bits=bits) for digit in signs)]
    columns = [_Column(1 << (unit + digit), digit, "offset", offset, unit) for digit in digits]
    ones = range(count_correction_columns(values, encoding, cell_bits, last_shift))
    return [*columns, *(_Column(-offset << number * cell_bits, number * cell_bits, "one") for number in ones)]


@dataclass(frozen=True, eq=False)
class _Converted:
    """What is converted: the fields of `WeightMoments` of columns."""

    column_weights: Floats
    column_mean: Floats
    column_square: Floats
    zero_column_mean: Floats
    zero_column_square: Floats
    is_signed: bool

    @classmethod
    def of(
        cls, columns: list[_Column], digits: Integers, deviation: Floats, shares: Floats, *, has_pairs: bool
    ) -> _Converted:
        """Return the moments of columns, or of the pairs (two columns, or the two rows of an input) of differences."""
        counts = np.abs([column.weight for column in columns]).astype(np.float64)
        held, empty = digits + deviation[digits], np.full(len(columns), deviation[0])
        if has_pairs:
            counts, held, empty = counts[::2], held[::2] - held[1::2], empty[::2] - empty[1::2]
        return cls(
            column_weights=counts,
            column_mean=np.tensordot(held.mean(axis=2), shares, 1),
            column_square=np.tensordot((held * held).mean(axis=2), shares, 1),
            zero_column_mean=empty,
            zero_column_square=empty * empty,
            is_signed=has_pairs,
        )


@lru_cache(maxsize=64)
def _list_weights(values: StoredRange) -> tuple[Integers, Floats]:
    """Return what weights are and their shares. One bit takes both values equally often."""
    middle = (values.qmin + values.qmax) / 2 if values.qmin >= 0 else 0.0
    if values.step > 1:
        return np.array([values.qmin, values.qmax], dtype=np.int64), np.array([0.5, 0.5])
    reach = max(values.qmax - middle, middle - values.qmin)
    return _round_gaussian(values.qmin, values.qmax, reach / WEIGHT_CLIP, middle)


def _round_gaussian(low: int, high: int, std: float, middle: float) -> tuple[Integers, Floats]:
    """Return integers low .. high and their shares where a Gaussian is rounded to them and clipped."""
    count = high - low + 1
    found = np.arange(low, high + 1, dtype=np.int64)
    if count > _MOST_VALUES:
        found = low + np.arange(_MOST_VALUES, dtype=np.int64) * (count - 1) // (_MOST_VALUES - 1)
    edges = np.concatenate([[-np.inf], (found[1:] + found[:-1]) / 2, [np.inf]])
    return found, np.diff([0.5 * (1 + math.erf(edge / math.sqrt(2))) for edge in (edges - middle) / std])
