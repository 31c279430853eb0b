"""Real factors as multipliers and a shift: as exact as their limits allow, and within them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from mho.arithmetic.fixed_point import LARGEST_MULTIPLIER, LARGEST_OFFSET, LARGEST_PRODUCT, to_fixed_point


@pytest.mark.parametrize("seed", range(20))
def test_multipliers_are_the_nearest_at_the_largest_shift_that_keeps_the_limits(seed: int) -> None:
    random = np.random.default_rng(seed)
    factors = random.standard_normal(5) * 2.0 ** random.integers(-40, 12)
    largest, offsets = 2.0 ** random.integers(1, 40), random.standard_normal(5) * 2.0 ** random.integers(-10, 20)
    fixed = to_fixed_point(factors, largest, offsets)
    assert fixed is not None
    assert fixed.multipliers.dtype == np.int32
    for factor, multiplier in zip(factors, fixed.multipliers.tolist(), strict=True):
        assert abs(Fraction(float(factor)) * 2**fixed.shift - multiplier) <= Fraction(1, 2)
        assert abs(multiplier) * Fraction(largest) <= LARGEST_PRODUCT
    assert np.abs(fixed.offsets.astype(object)).max() <= LARGEST_OFFSET
    if fixed.shift < 61:
        doubled = 2.0 ** (fixed.shift + 1)
        beyond = (
            np.abs(np.rint(factors * doubled)).max() > LARGEST_MULTIPLIER,
            np.abs(np.rint(factors * doubled)).max() * largest > LARGEST_PRODUCT,
            np.abs(offsets * doubled).max() > LARGEST_OFFSET,
        )
        assert any(beyond)


def test_one_keeps_its_value_and_nothing_stands_for_what_passes_32_bits() -> None:
    one = to_fixed_point(1.0, 255)
    assert one is not None
    assert int(one.multipliers) == 2**one.shift
    assert to_fixed_point(2.0**32, 255) is None
    assert to_fixed_point(np.inf, 255) is None
    assert to_fixed_point(0.0, 255) is not None
