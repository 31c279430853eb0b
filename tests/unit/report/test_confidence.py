"""Bands of means over chips: closed forms, and how they follow from counts."""

from __future__ import annotations

import math

import pytest

from mho.report.confidence import find_band, student_quantile


def test_with_one_degree_of_freedom_the_quantile_is_that_of_cauchys_distribution():
    for confidence in (0.5, 0.9, 0.95, 0.999):
        assert student_quantile(1, confidence) == pytest.approx(math.tan(math.pi * confidence / 2), rel=1e-12)


def test_with_two_degrees_of_freedom_the_quantile_has_a_closed_form():
    for confidence in (0.5, 0.9, 0.95, 0.999):
        expected = confidence * math.sqrt(2 / (1 - confidence**2))
        assert student_quantile(2, confidence) == pytest.approx(expected, rel=1e-12)


def test_with_many_degrees_of_freedom_the_quantile_nears_that_of_the_normal_distribution():
    assert student_quantile(9999, 0.95) == pytest.approx(1.959964, rel=2e-4)
    assert student_quantile(9999, 0.95) > 1.959964


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
