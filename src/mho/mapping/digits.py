"""How many cells an integer weight takes, and what each column of cells counts for.

Cells hold digits of `cell_bits` bits. An input slice that is fed side by side with less significant ones meets the
weight shifted left by the slice's weight, so the columns of an output hold the digits of the *shifted* weight: n bits
shifted by at most t bits take ceil((n + t) / cell_bits) columns, whatever the number of slices in between. Slices are
counted by the integers that a layer may hold, not by a nominal width.
"""

from __future__ import annotations

from mho.hardware.spec import Encoding
from mho.mapping.encoding import StoredRange
from mho.mapping.slicing import ceil_divide
from mho.network.layers import MvmLayer

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
    signs = 2 if encoding is Encoding.DIFFERENTIAL_COLUMNS else 1
    return slices * signs + count_sign_slices(values, encoding, cell_bits, shift_bits)


def count_correction_columns(values: StoredRange, encoding: Encoding, cell_bits: int, shift_bits: int = 0) -> int:
    """Return the columns that give the sum of the inputs of one position: ones, shifted as the weights are."""
    if encoding is not Encoding.OFFSET or not weight_offset(values, encoding):
        return 0
    return ceil_divide(1 + shift_bits, cell_bits)


def count_input_rows(encoding: Encoding) -> int:
    """Return the rows of one input slice."""
    return 2 if encoding is Encoding.DIFFERENTIAL_ROWS else 1
