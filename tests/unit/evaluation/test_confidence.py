"""Confidence intervals of means over chips: closed forms, and how they follow from counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mho.evaluation.confidence import find_band


def test_the_band_of_two_chips_is_worked_out_by_hand():
    band = find_band([90, 94], 100)
    # Mean 0.92, s = 0.04 / sqrt(2), t(1) = tan(0.475 pi): the half width is t * 0.02.
    half = math.tan(0.475 * math.pi) * 0.02
    assert band.mean == 0.92
    assert band.std == pytest.approx(0.04 / math.sqrt(2), rel=1e-14)
    assert band.low == pytest.approx(0.92 - half, rel=1e-12)
    assert band.high == 1.0  # cut: 0.92 + half is above 1


def test_equal_chips_have_a_band_of_no_width():
    band = find_band([67] * 7, 90)
    assert (band.std, band.low, band.high) == (0.0, band.mean, band.mean)


def test_one_chip_has_no_band():
    band = find_band([5], 10)
    assert (band.mean, band.std, band.low, band.high) == (0.5, None, None, None)


def test_a_band_does_not_leave_what_shares_may_be():
    band = find_band([0, 1, 0], 10)
    assert band.low == 0.0
    assert band.high is not None
    assert band.mean < band.high < 1


def test_bands_hold_the_mean_as_often_as_they_say():
    """Of 2000 studies of five chips with normal accuracies, 95 % of the bands hold the true mean (within 4 sigma)."""
    generator = np.random.default_rng(0)
    counts = np.rint(generator.normal(500_000, 20_000, (2000, 5))).astype(int).tolist()
    bands = [find_band(row, 1_000_000) for row in counts]
    held = np.mean([band.low <= 0.5 <= band.high for band in bands])
    assert abs(held - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)
