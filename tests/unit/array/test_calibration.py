import numpy as np
import pytest
import torch

from mho.array.calibration import BINS, RangeMethod, RangeRule, SumCounts
from mho.array.converters import make_adc
from mho.errors import ConfigError, DataError


def counted(sums, group=None, unit=1.0):
    group = np.zeros(sums.shape[1], dtype=np.int64) if group is None else group
    counts = SumCounts(int(group.max()) + 1)
    parts = [torch.from_numpy(part) for part in np.array_split(sums / unit, 3)]
    for part in parts:
        counts.see(part, group, unit)
    for part in parts:
        counts.count(part, group, unit)
    return counts


def gaussian(mean=0.0, std=100.0):
    return np.random.default_rng(0).normal(mean, std, (20_000, 3))


def error_of(sums, bits, low, high):
    adc = make_adc(bits, np.array([low]), np.array([high]))
    values = sums.reshape(-1, 1)
    return float(((adc.read(adc.convert(values)) - values) ** 2).mean())


def test_extremes_are_those_that_occur_and_hold_zero():
    sums = np.array([[3.0, 7.0], [-2.0, 9.0]])
    low, high = counted(sums, np.array([0, 1])).find_ranges(RangeRule(RangeMethod.EXTREMES), 4)
    assert (low.tolist(), high.tolist()) == ([-2, 0], [3, 9])


def test_a_percentile_cuts_its_share_off_at_both_ends():
    sums = gaussian()
    low, high = counted(sums).find_ranges(RangeRule(RangeMethod.PERCENTILE, 0.9), 4)
    width = np.ptp(sums) / BINS
    assert np.abs([low[0] - np.quantile(sums, 0.05), high[0] - np.quantile(sums, 0.95)]).max() <= width
    assert (sums < low[0]).mean() <= 0.05
    assert (sums > high[0]).mean() <= 0.05
    everything = counted(sums).find_ranges(RangeRule(RangeMethod.PERCENTILE, 1), 4)
    np.testing.assert_allclose(everything, [[sums.min()], [sums.max()]])


def test_zero_stays_within_a_percentile():
    low, high = counted(gaussian(500, 10)).find_ranges(RangeRule(RangeMethod.PERCENTILE, 0.9), 4)
    assert low[0] == 0
    assert high[0] == pytest.approx(516, abs=2)


@pytest.mark.parametrize("bits", [3, 4, 6])
def test_the_least_error_is_that_of_the_best_part_of_the_extremes(bits):
    sums = gaussian(std=400.0)
    low, high = counted(sums).find_ranges(RangeRule(), bits)
    found = error_of(sums, bits, low[0], high[0])
    tried = [error_of(sums, bits, sums.min() * part, sums.max() * part) for part in np.arange(1, 65) / 64]
    assert found <= 1.02 * min(tried)
    assert found < 0.9 * tried[-1]
    assert 0 < high[0] < sums.max()


def test_of_ranges_as_good_as_each_other_the_widest_is_taken():
    """A step is one count at least: 8 bits read all parts of 0 .. 48 by the same codes."""
    sums = np.tile([[0.0], [48.0]], (50, 1))
    low, high = counted(sums).find_ranges(RangeRule(), 8)
    assert (low[0], high[0]) == (0, 48)


def test_groups_have_ranges_of_their_own():
    sums = np.concatenate([gaussian(std=20.0), gaussian(std=2000.0)], axis=1)
    _, high = counted(sums, np.array([0, 0, 0, 1, 1, 1])).find_ranges(RangeRule(), 4)
    alone = [counted(sums[:, part]).find_ranges(RangeRule(), 4)[1][0] for part in (slice(3), slice(3, 6))]
    assert high.tolist() == alone
    assert high[1] > 50 * high[0]


def test_sums_in_other_units_and_types_are_the_same_sums():
    sums = np.rint(gaussian())
    wanted = counted(sums).find_ranges(RangeRule(), 4)
    assert counted(sums, unit=0.25).find_ranges(RangeRule(), 4) == wanted
    for kind in (np.int32, np.float32):
        found = counted((8 * sums).astype(kind), unit=1.0).find_ranges(RangeRule(), 4)
        np.testing.assert_allclose(found, 8 * np.array(wanted), rtol=0.02)


def test_columns_that_are_always_zero_have_the_range_of_nothing():
    low, high = counted(np.zeros((5, 2))).find_ranges(RangeRule(), 4)
    assert (low[0], high[0]) == (0, 0)


@pytest.mark.parametrize("share", [0, 1.1, -1, float("nan")])
def test_impossible_shares_are_errors(share):
    with pytest.raises(ConfigError, match="share"):
        RangeRule(RangeMethod.PERCENTILE, share)


def test_ranges_of_nothing_are_an_error():
    with pytest.raises(DataError, match="no sums"):
        SumCounts(2).find_ranges(RangeRule(), 4)
