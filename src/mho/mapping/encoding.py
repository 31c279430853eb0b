"""What encodings are counted by: the integers that cells must hold, rows an input, columns an output.

Which cell holds which digit is in `mho.mapping.cell_contents`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.errors import MappingError
from mho.hardware.spec import Encoding
from mho.mapping.slicing import Count, ceil_divide
from mho.network.layers import MvmLayer

CORRECTION = -1
"""Instead of an output: the column gives the sum of the inputs."""

_MAX_MAGNITUDE = 1 << 24


@dataclass(frozen=True)
class StoredRange:
    """The integers that a stored operand may take: qmin, qmin + step, ..., qmax."""

    qmin: int
    qmax: int
    step: int = 1

    def __post_init__(self) -> None:
        if not -_MAX_MAGNITUDE <= self.qmin < self.qmax <= _MAX_MAGNITUDE or self.step not in (1, 2):
            raise MappingError(
                f"stored integers {self.qmin}..{self.qmax} in steps of {self.step} cannot be encoded",
                expected=f"qmin < qmax, within +-{_MAX_MAGNITUDE}, step 1 or 2",
            )

    @classmethod
    def of_grid(cls, qmin: int, qmax: int, bits: int) -> StoredRange:
        """Return the range of a quantization grid; one bit from -1 to 1 is {-1, +1}, without zero."""
        return cls(qmin, qmax, 2 if bits == 1 and (qmin, qmax) == (-1, 1) else 1)

    @property
    def magnitude(self) -> int:
        """Largest absolute value."""
        return max(-self.qmin, self.qmax)

    def check(self, weights: NDArray[np.integer]) -> None:
        """Check integers. Raises `MappingError` where one is out of range."""
        if not weights.size:
            return
        low, high = min(int(weights.min()), self.qmin), max(int(weights.max()), self.qmax)
        on_grid = self.step == 1 or bool((weights % self.step == self.qmin % self.step).all())
        if low < self.qmin or high > self.qmax or not on_grid:
            raise MappingError(
                f"stored integers reach from {low} to {high}",
                expected=f"{self.qmin}..{self.qmax}" + (f" in steps of {self.step}" if self.step > 1 else ""),
            )


def count_rows(inputs: Count, encoding: Encoding) -> Count:
    """Return the physical rows of a matrix with `inputs` logical inputs. Source: arXiv 2601.21737."""
    return inputs * count_input_rows(encoding)


def count_cols(outputs: Count, num_weight_slices: Count, encoding: Encoding) -> Count:
    """Return the physical columns of a matrix with `outputs` logical outputs. Source: arXiv 2601.21737."""
    columns = outputs * num_weight_slices * _signs_per_column(encoding)
    return columns + count_correction_cols(encoding)


def count_correction_cols(encoding: Encoding) -> int:
    """Return the columns of ones of one matrix, one position an MVM. Source: arXiv 2601.21737."""
    return int(encoding is Encoding.OFFSET)


def _signs_per_column(encoding: Encoding) -> int:
    return 2 if encoding is Encoding.DIFFERENTIAL_COLUMNS else 1


_DIFFERENTIAL = (Encoding.DIFFERENTIAL_COLUMNS, Encoding.DIFFERENTIAL_ROWS)


def stored_range_of_width(weight_bits: int) -> StoredRange:
    """Return the integers that a policy's `weight_bits` means: {-1, +1}, {-1, 0, 1} or the narrow symmetric range."""
    limit = max(1, (1 << (weight_bits - 1)) - 1)
    return StoredRange(-limit, limit, 2 if weight_bits == 1 else 1)


def stored_range(layer: MvmLayer, weight_bits: int) -> StoredRange:
    """Return the integers that a layer stores at `weight_bits`: of its own grid, or those that a policy means."""
    own = layer.integers
    if own is None or own.weight_bits != weight_bits:
        return stored_range_of_width(weight_bits)
    return StoredRange.of_grid(own.qmin, own.qmax, own.weight_bits)


def count_digital_sums(layer: MvmLayer, weight_bits: int, *, takes_input_sums: bool) -> int:
    """Return the additions of the digital unit that sum up input vectors and stored vectors.

    Args:
        layer: the logical layer.
        weight_bits: of the mapping.
        takes_input_sums: True where the encoding needs sums of inputs that no column gives.
    """
    own = layer.integers if layer.integers and layer.integers.weight_bits == weight_bits else None
    of_inputs = layer.inputs * layer.positions * layer.repeat if takes_input_sums else 0
    of_stored = layer.inputs * layer.outputs * layer.repeat if own and own.takes_stored_sums else 0
    return of_inputs + of_stored


def takes_zero_points(layer: MvmLayer, weight_bits: int) -> bool:
    """Tell whether zero points of the stored operand need sums of inputs, in any encoding."""
    return layer.integers is not None and layer.integers.weight_bits == weight_bits and layer.integers.takes_input_sums


def weight_offset(values: StoredRange, encoding: Encoding) -> int:
    """Return what an offset encoding adds to every weight; 0 for other encodings and for weights without a sign."""
    return max(0, -values.qmin) if encoding in (Encoding.OFFSET, Encoding.OFFSET_DIGITAL) else 0


def count_stored_bits(values: StoredRange, encoding: Encoding) -> int:
    """Return the bits that the cells of one weight (of one sign part; below the sign in two's complement) must hold."""
    if encoding in _DIFFERENTIAL:
        return values.magnitude.bit_length()
    if encoding is Encoding.TWOS_COMPLEMENT:
        return max(values.qmax, -values.qmin - 1).bit_length()
    return ((values.qmax + weight_offset(values, encoding)) // values.step).bit_length()


def first_shift(values: StoredRange, encoding: Encoding) -> int:
    """Return the power of two that a unit of the stored integer counts for: 1 for {-1, +1} moved to {0, 2}, else 0."""
    return values.step.bit_length() - 1 if weight_offset(values, encoding) else 0


def count_weight_slices(values: StoredRange, encoding: Encoding, cell_bits: int, shift_bits: int = 0) -> int:
    """Return the columns of digits that one weight (one sign part) takes where the last input slice shifts it by
    `shift_bits`.

    At least one, also where every weight is -1 or 0 in two's complement and only the sign bit is held.
    """
    return max(1, ceil_divide(count_stored_bits(values, encoding) + shift_bits, cell_bits))


def count_sign_slices(values: StoredRange, encoding: Encoding, cell_bits: int, shift_bits: int = 0) -> int:
    """Return the columns of the sign bit in two's complement; 0 elsewhere."""
    if encoding is not Encoding.TWOS_COMPLEMENT or values.qmin >= 0:
        return 0
    return ceil_divide(1 + shift_bits, cell_bits)


def count_output_columns(values: StoredRange, encoding: Encoding, cell_bits: int, shift_bits: int = 0) -> int:
    """Return all columns of one output at one position."""
    slices = count_weight_slices(values, encoding, cell_bits, shift_bits)
    return slices * _signs_per_column(encoding) + count_sign_slices(values, encoding, cell_bits, shift_bits)


def count_correction_columns(values: StoredRange, encoding: Encoding, cell_bits: int, shift_bits: int = 0) -> int:
    """Return the columns that give the sum of the inputs of one position: ones, shifted as the weights are."""
    if encoding is not Encoding.OFFSET or not weight_offset(values, encoding):
        return 0
    return ceil_divide(1 + shift_bits, cell_bits)


def count_input_rows(encoding: Encoding) -> int:
    """Return the rows of one input slice."""
    return 2 if encoding is Encoding.DIFFERENTIAL_ROWS else 1
