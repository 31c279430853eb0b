"""Errors of ranges from sums over bins: those that adding up bin by bin gives."""

import numpy as np
import pytest

from mho.array.range_errors import RangeErrors

BINS, RANGES = 200, 40


def error_of(counts, low, step, codes):
    """Return the error of one range for the counts [bins] of one group, in squared bins."""
    place = np.arange(len(counts))
    code = np.clip(np.rint((place - low) / step), 0, codes - 1)
    return float((counts * (low + step * code - place) ** 2).sum())


@pytest.mark.parametrize("codes", [2, 3, 16, 300])
@pytest.mark.parametrize("is_signed", [False, True])
def test_the_range_that_is_found_has_the_least_error(codes, is_signed):
    """Ranges shrink from all bins on, towards the first bin or towards the middle; one in three has no sums."""
    draws = np.random.default_rng(codes)
    counts = draws.poisson(3 * np.exp(-((np.arange(BINS) - 90) ** 2) / draws.uniform(20, 2000, (30, 1))))
    counts[:, draws.integers(BINS, size=30)] = 0
    parts = np.arange(RANGES, 0, -1) / RANGES
    low = np.tile(-BINS / 2 * parts + BINS / 2 if is_signed else -0.5 * parts, (30, 1))
    step = np.tile(BINS / (codes - 1) * parts, (30, 1))
    may_be_least = RangeErrors(counts).find_least(low, step, codes)
    assert may_be_least.any(axis=1).all()
    for group, maybe in enumerate(may_be_least):
        errors = np.array([error_of(counts[group], *pair, codes) for pair in zip(low[group], step[group], strict=True)])
        assert maybe[errors.argmin()]
        assert errors[maybe].max() <= errors.min() + 1e-6 * counts[group].sum()


def test_of_the_same_ranges_the_first_is_found_and_of_others_as_good_ones_all():
    counts = np.zeros((1, BINS), dtype=np.int64)
    counts[0, 10] = counts[0, 30] = 7
    low, step = np.array([[10.0, 10.0, 10.0, 0.0, 5.0]]), np.array([[20.0, 20.0, 5.0, 10.0, 20.0]])
    assert RangeErrors(counts).find_least(low, step, 5).tolist() == [[True, False, True, True, False]]
