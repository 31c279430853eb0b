import numpy as np
import pytest

from mho.mapping.slicing import ceil_divide, count_input_slices, count_nominal_slices


@pytest.mark.parametrize(
    ("bits", "cell_bits", "slices"), [(8, 4, 2), (8, 3, 3), (1, 8, 1), (16, 1, 16), (5, 4, 2), (4, 4, 1)]
)
def test_a_weight_takes_as_many_cells_as_hold_its_bits(bits, cell_bits, slices):
    assert count_nominal_slices(bits, cell_bits) == slices
    assert count_input_slices(bits, cell_bits) == slices


def test_arrays_are_counted_like_numbers():
    numbers = np.arange(200, dtype=np.int64)
    counted = ceil_divide(numbers, 7)
    assert counted.dtype == np.int64
    assert counted.tolist() == [ceil_divide(number, 7) for number in range(200)]
