"""Intervals and tests, with the worked examples of Newcombe's papers."""

from __future__ import annotations

import pytest

from mho.evaluation.significance import (
    PairedCounts,
    compare_independent,
    compare_means,
    compare_paired,
    estimate_share,
    rank_correlation,
)


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_a_share_has_the_interval_of_wilson(correct, count, low, high):
    found = estimate_share(correct, count)
    assert (found.value, found.low, found.high) == pytest.approx((correct / count, low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"), [((48, 80), (56, 70), 0.0524, 0.3339), ((0, 10), (0, 20), -0.2775, 0.1611)]
)
def test_independent_shares_have_the_interval_of_method_10(first, second, low, high):
    found = compare_independent(first, second)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_paired_shares_have_the_interval_of_method_10():
    found = compare_paired(PairedCounts(36, 2, 12, 0))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0569, 0.3404), abs=5e-5)
    assert found.p_value == pytest.approx(2 * (1 + 14 + 91) / 2**14), "McNemar, exact"
    assert found.is_significant


def test_equal_answers_do_not_differ():
    found = compare_paired(PairedCounts(90, 0, 0, 10))
    assert (found.value, found.p_value, found.is_significant) == (0.0, 1.0, False)
    assert found.low <= 0.0 <= found.high
    assert compare_independent((90, 100), (90, 100)).p_value == pytest.approx(1.0)


def test_pairs_tell_apart_what_separate_samples_do_not():
    """One that is right wherever the other is, and eight times more, is better by more than chance."""
    paired = compare_paired(PairedCounts(450, 0, 8, 42))
    separate = compare_independent((450, 500), (458, 500))
    assert paired.value == separate.value
    assert paired.is_significant
    assert not separate.is_significant


def test_chips_of_two_kinds_are_compared_by_their_means():
    assert compare_means([0.5, 0.6, 0.55], [0.8, 0.81, 0.79]) < 0.05
    assert compare_means([0.5, 0.6, 0.55], [0.56, 0.51, 0.61]) > 0.5
    assert compare_means([0.5], [0.8, 0.9]) is None
    assert compare_means([0.5, 0.5], [0.8, 0.8]) is None


def test_rank_correlation_goes_by_order_and_needs_three_and_differences():
    assert rank_correlation((1, 2, 3, 4), (10, 20, 90, 1000)) == pytest.approx(1)
    assert rank_correlation((1, 2, 3, 4), (1, 2, 4, 3)) == pytest.approx(1 - 6 * 2 / (4 * 15)), (
        "1 - 6 d / (n (n^2 - 1))"
    )
    assert rank_correlation((1, 2), (1, 2)) is None
    assert rank_correlation((1, 2, 3), (5, 5, 5)) is None
