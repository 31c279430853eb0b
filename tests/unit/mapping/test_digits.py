import pytest

from mho.hardware.spec import Encoding
from mho.mapping.encoding import (
    StoredRange,
    count_output_columns,
    count_stored_bits,
    stored_range_of_width,
    weight_offset,
)

COLUMNS, ROWS = Encoding.DIFFERENTIAL_COLUMNS, Encoding.DIFFERENTIAL_ROWS
OFFSET, DIGITAL, TWOS = Encoding.OFFSET, Encoding.OFFSET_DIGITAL, Encoding.TWOS_COMPLEMENT


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
