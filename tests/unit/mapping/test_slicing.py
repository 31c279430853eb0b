import numpy as np
import pytest

from mho.mapping.slicing import ceil_divide, count_input_slices, count_weight_slices, slice_inputs


@pytest.mark.parametrize(
    ("bits", "cell_bits", "slices"), [(8, 4, 2), (8, 3, 3), (1, 8, 1), (16, 1, 16), (5, 4, 2), (4, 4, 1)]
)
def test_a_weight_takes_as_many_cells_as_hold_its_bits(bits, cell_bits, slices):
    assert count_weight_slices(bits, cell_bits) == slices
    assert count_input_slices(bits, cell_bits) == slices


def test_arrays_are_counted_like_numbers():
    numbers = np.arange(200, dtype=np.int64)
    counted = ceil_divide(numbers, 7)
    assert counted.dtype == np.int64
    assert counted.tolist() == [ceil_divide(number, 7) for number in range(200)]


@pytest.mark.parametrize("dac_bits", range(1, 9))
@pytest.mark.parametrize("act_bits", [1, 2, 5, 8, 16])
def test_slices_of_an_input_add_up_to_it_least_significant_first(dac_bits, act_bits):
    codes = np.random.default_rng(0).integers(0, 2**act_bits, (3, 5))
    count = count_input_slices(act_bits, dac_bits)
    slices = slice_inputs(codes, count, dac_bits)
    assert slices.shape == (count, 3, 5)
    assert slices.min() >= 0
    assert slices.max() < 2**dac_bits
    assert (sum(slices[index] << (index * dac_bits) for index in range(count)) == codes).all()
