import numpy as np
import pytest

from mho.errors import MappingError
from mho.hardware.spec import Encoding
from mho.mapping.encoding import (
    StoredRange,
    count_cols,
    count_correction_cols,
    count_output_columns,
    count_rows,
    count_stored_bits,
    stored_range_of_width,
    weight_offset,
)

COLUMNS, ROWS = Encoding.DIFFERENTIAL_COLUMNS, Encoding.DIFFERENTIAL_ROWS
OFFSET, DIGITAL, TWOS = Encoding.OFFSET, Encoding.OFFSET_DIGITAL, Encoding.TWOS_COMPLEMENT
NARROW, BINARY = StoredRange(-127, 127), StoredRange(-1, 1, 2)


def test_ternary_is_not_binary():
    assert StoredRange.of_grid(-1, 1, 2).step == 1
    assert StoredRange.of_grid(-1, 1, 1).step == 2
    assert StoredRange.of_grid(0, 1, 1).step == 1


def test_the_magnitude_is_that_of_the_furthest_end():
    assert [StoredRange(*limits).magnitude for limits in ((-8, 7), (-7, 7), (0, 15), (-3, 200))] == [8, 7, 15, 200]


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (-(2**30), 0), (0, 2**30), (-1, 1, 3), (-1, 1, 0)])
def test_an_impossible_range_is_an_error(limits):
    with pytest.raises(MappingError):
        StoredRange(*limits)


@pytest.mark.parametrize(
    ("values", "bad", "reach"),
    [
        (NARROW, -128, "-128 to 127"),
        (NARROW, 128, "-127 to 128"),
        (StoredRange(0, 15), -1, "-1 to 15"),
        (BINARY, 0, "in steps of 2"),
    ],
)
def test_an_integer_outside_of_its_range_is_an_error_and_never_clipped(values, bad, reach):
    weights = np.full((2, 3, 4), values.qmax)
    values.check(weights)
    weights[1, 2, 3] = bad
    with pytest.raises(MappingError, match=rf"{reach}[\s\S]*expected: |expected: [\s\S]*{reach}"):
        values.check(weights)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
def test_a_check_depends_on_values_and_not_on_their_type(dtype):
    StoredRange(-127, 127).check(np.array([0, 1, 127], dtype))
    with pytest.raises(MappingError):
        StoredRange(-3, 100).check(np.array([0, 101], dtype))


def test_nothing_is_in_every_range():
    BINARY.check(np.zeros((0, 3), np.int64))


@pytest.mark.parametrize(
    ("encoding", "rows", "cols"),
    [(Encoding.DIFFERENTIAL_COLUMNS, 10, 40), (Encoding.DIFFERENTIAL_ROWS, 20, 20), (Encoding.OFFSET, 10, 21)],
)
def test_lines_are_counted_as_in_the_paper(encoding, rows, cols):
    assert (count_rows(10, encoding), count_cols(10, 2, encoding)) == (rows, cols)
    assert count_correction_cols(encoding) == (encoding is Encoding.OFFSET)
    sizes = np.array([10, 1, 7])
    assert count_rows(sizes, encoding).tolist() == [count_rows(size, encoding) for size in (10, 1, 7)]
    assert count_cols(sizes, 2, encoding).tolist() == [count_cols(size, 2, encoding) for size in (10, 1, 7)]


@pytest.mark.parametrize("weight_bits", [1, 2, 3, 4, 5, 8, 16])
@pytest.mark.parametrize("cell_bits", [1, 2, 4, 8])
def test_slices_of_narrow_weights_are_counted_by_what_cells_hold(weight_bits, cell_bits):
    values = stored_range_of_width(weight_bits)
    magnitude = max(1, -(-(weight_bits - 1) // cell_bits))
    assert count_output_columns(values, COLUMNS, cell_bits) == 2 * magnitude
    assert count_output_columns(values, ROWS, cell_bits) == magnitude
    assert count_output_columns(values, DIGITAL, cell_bits) == -(-weight_bits // cell_bits)
    assert count_output_columns(values, OFFSET, cell_bits) == -(-weight_bits // cell_bits)
    assert count_output_columns(values, TWOS, cell_bits) == 1 + magnitude


def test_full_range_and_unsigned_weights_are_counted_as_they_are():
    full, unsigned = StoredRange(-128, 127), StoredRange(0, 255)
    assert [count_stored_bits(full, encoding) for encoding in (COLUMNS, DIGITAL, TWOS)] == [8, 8, 7]
    assert [count_stored_bits(unsigned, encoding) for encoding in (COLUMNS, DIGITAL, TWOS)] == [8, 8, 8]
    assert (weight_offset(full, DIGITAL), weight_offset(unsigned, DIGITAL), weight_offset(full, TWOS)) == (128, 0, 0)
    assert count_output_columns(unsigned, TWOS, 4) == 2


def test_five_slices_of_a_4_bit_weight_take_two_columns_of_4_bit_cells():
    values = stored_range_of_width(4)
    assert [count_output_columns(values, DIGITAL, 4, shift) for shift in range(6)] == [1, 2, 2, 2, 2, 3]
