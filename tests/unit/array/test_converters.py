import math

import numpy as np
import pytest

from mho.array.converters import Adc, add_errors, drive_levels, make_adc
from mho.errors import ConfigError
from mho.hardware.converters import Converters


def range_of(bits, low, high):
    adc = make_adc(bits, np.array([float(low)]), np.array([float(high)]))
    return adc, float(adc.low[0]), float(adc.step[0])


def read(adc, *sums):
    values = np.array(sums, dtype=float)[:, None]
    return adc.read(adc.convert(values))[:, 0].tolist()


def test_a_linear_dac_drives_its_codes():
    assert drive_levels(3, 0).tolist() == list(range(8))


def test_a_dac_deviates_most_in_the_middle_and_not_at_its_ends():
    levels = drive_levels(8, -0.7)
    deviation = levels - np.arange(256)
    assert (deviation[0], deviation[255]) == (0, 0)
    np.testing.assert_allclose(deviation[[127, 128]], -0.7, rtol=1e-4)
    assert (deviation >= -0.7).all()
    assert drive_levels(1, 5).tolist() == [0, 1]


@pytest.mark.parametrize("share", [-0.25, 0.25])
@pytest.mark.parametrize("bits", range(2, 9))
def test_the_largest_deviation_that_may_be_specified_keeps_voltages_rising(bits, share):
    levels = drive_levels(bits, share * ((1 << bits) - 1))
    assert (np.diff(levels) > 0).all()
    assert Converters(dac_bits=bits, adc_bits=4, dac_inl_lsb=share * ((1 << bits) - 1))


def test_sums_without_a_sign_use_all_codes_from_zero():
    adc, low, step = range_of(3, 0, 70)
    assert (low, step) == (0, 10)
    assert read(adc, -5, 4.9, 5.1, 69, 1000) == [0, 0, 10, 70, 70]


def test_sums_with_a_sign_have_the_codes_of_twos_complement():
    adc, low, step = range_of(3, -20, 30)
    assert (low, step) == (-40, 10)
    assert read(adc, -1000, -34, 0, 4, 31, 1000) == [-40, -30, 0, 0, 30, 30]


def test_halves_go_to_the_even_code():
    adc, _, _ = range_of(3, 0, 70)
    assert read(adc, 5, 15, 25) == [0, 20, 20]


def test_one_bit_reads_both_ends():
    adc, _, _ = range_of(1, -6, 6)
    assert read(adc, -9, -1, 1, 9) == [-6, -6, 6, 6]
    assert read(range_of(1, 0, 6)[0], -1, 2, 4) == [0, 0, 6]


@pytest.mark.parametrize(("bits", "low", "high"), [(4, 0, 15), (4, 0, 3), (4, -7, 7), (4, -2, 3), (8, 0, 0)])
def test_where_codes_suffice_whole_sums_are_read_exactly(bits, low, high):
    adc, _, step = range_of(bits, low, high)
    assert step == 1
    assert adc.only_clips
    assert read(adc, *range(low, high + 1)) == list(range(low, high + 1))


def test_a_code_short_of_enough_they_are_not():
    for bits, low, high in ((4, 0, 16), (4, -8, 8)):
        adc, _, step = range_of(bits, low, high)
        assert step > 1
        assert not adc.only_clips


@pytest.mark.parametrize(("low", "high"), [(1, 0), (0, math.inf), (math.nan, 0)])
def test_impossible_ranges_are_errors(low, high):
    with pytest.raises(ConfigError, match="range"):
        range_of(4, low, high)


def test_ranges_of_other_numbers_of_conversions_and_steps_of_nothing_are_errors():
    one = np.ones(1)
    with pytest.raises(ConfigError, match="one a conversion"):
        Adc(4, one, np.ones(2), one, one)
    with pytest.raises(ConfigError, match="above 0"):
        Adc(4, one, 0 * one, one, one)


def test_gain_comes_before_offset_and_both_before_the_range():
    adc = Adc(8, np.array([-2.0]), np.array([0.5]), np.array([2.0]), np.array([1.0]))
    assert adc.convert(np.array([[3.0]])).tolist() == [[(2 * 3 + 1 + 2) / 0.5]]
    assert not adc.only_clips


def test_errors_have_their_deviations_and_are_those_of_the_converter():
    converters = Converters(dac_bits=1, adc_bits=6, adc_offset_lsb=0.5, adc_gain_error=0.02, columns_per_adc=2)
    count = 20_000
    plain = make_adc(6, np.zeros(2 * count), np.full(2 * count, 630.0))
    number = np.arange(2 * count) // 2
    adc = add_errors(plain, converters, number, np.random.default_rng(3).standard_normal((2, count)))
    for values, std in ((adc.gain - 1, 0.02), (adc.offset, 0.5 * 10)):
        assert (values[::2] == values[1::2]).all()
        own = values[::2]
        assert abs(own.mean()) < 4 * std / math.sqrt(count)
        assert abs(own.std() / std - 1) < 4 / math.sqrt(2 * count)
    assert adc.has_errors
    assert abs(np.corrcoef(adc.gain, adc.offset)[0, 1]) < 4 / math.sqrt(count)
