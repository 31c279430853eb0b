"""Student's distribution and bands of means against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mho.report.confidence import find_band, student_quantile


@given(degrees=st.integers(1, 400), confidence=st.floats(0.05, 0.999))
@settings(max_examples=60, deadline=None)
def test_quantiles_are_scipys(degrees, confidence):
    assert student_quantile(degrees, confidence) == pytest.approx(stats.t.ppf((1 + confidence) / 2, degrees), rel=1e-10)


@given(correct=st.lists(st.integers(0, 50), min_size=2, max_size=30), confidence=st.floats(0.5, 0.99))
@settings(max_examples=60, deadline=None)
def test_bands_are_scipys(correct, confidence):
    shares = np.array(correct) / 50
    band = find_band(correct, 50, confidence)
    assert band.mean == pytest.approx(shares.mean(), abs=1e-12)
    assert band.std == pytest.approx(shares.std(ddof=1), abs=1e-9)
    if band.std:
        low, high = stats.t.interval(confidence, len(correct) - 1, shares.mean(), stats.sem(shares))
        assert band.low == pytest.approx(max(low, 0), abs=1e-9)
        assert band.high == pytest.approx(min(high, 1), abs=1e-9)


def test_bands_hold_the_mean_as_often_as_they_say():
    """Of 2000 studies of five chips with normal accuracies, 95 % of the bands hold the true mean (within 4 sigma)."""
    generator = np.random.default_rng(0)
    counts = np.rint(generator.normal(500_000, 20_000, (2000, 5))).astype(int).tolist()
    bands = [find_band(row, 1_000_000) for row in counts]
    held = np.mean([band.low <= 0.5 <= band.high for band in bands])
    assert abs(held - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)
