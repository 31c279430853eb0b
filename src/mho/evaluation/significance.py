"""Whether two accuracies differ by more than chance, the chance being which samples were drawn.

Intervals are those of R. G. Newcombe, Statistics in Medicine 17 (1998): Wilson's for one share (pages 857-872, method
3), method 10 for the difference of independent shares (873-890) and of paired ones (2635-2650). Tests are exact:
McNemar's for the same samples, Fisher's for different ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from mho.evaluation.confidence import CONFIDENCE

SIGNIFICANCE = 1 - CONFIDENCE
"""Probability below which a difference is called more than chance."""


@dataclass(frozen=True)
class Share:
    """A share of samples and its confidence interval, all 0..1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """The difference of two accuracies, the second less the first.

    Attributes:
        value, low, high: the difference and its confidence interval, -1..1.
        p_value: how probable so large a difference is where there is none.
    """

    value: float
    low: float
    high: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """True where chance makes so large a difference in fewer than one of twenty cases."""
        return self.p_value < SIGNIFICANCE


@dataclass(frozen=True)
class PairedCounts:
    """Samples that two classifiers saw both: those that both, one alone, or neither classified correctly."""

    both: int
    first: int
    second: int
    neither: int

    @property
    def total(self) -> int:
        """All samples."""
        return self.both + self.first + self.second + self.neither


def estimate_share(correct: int, count: int) -> Share:
    """Return the share `correct` / `count` with Wilson's interval; `count` at least 1, `correct` 0..count."""
    share, z = correct / count, NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    # At the ends rounding alone would leave the interval short of the share itself.
    return Share(share, min(share, max(0.0, (middle - half) / scale)), max(share, min(1.0, (middle + half) / scale)))


def compare_paired(counts: PairedCounts) -> Difference:
    """Return how the accuracies of two classifiers on the same samples differ, at least one sample."""
    from scipy.stats import binomtest

    total = counts.total
    first = estimate_share(counts.both + counts.first, total)
    second = estimate_share(counts.both + counts.second, total)
    discordant = counts.first + counts.second
    p_value = float(binomtest(counts.second, discordant, 0.5).pvalue) if discordant else 1.0
    return _difference(first, second, _correlation(counts), p_value)


def compare_independent(first: tuple[int, int], second: tuple[int, int]) -> Difference:
    """Return how the accuracies of two classifiers on different samples differ; each as correct and count."""
    from scipy.stats import fisher_exact

    table = [[correct, count - correct] for correct, count in (first, second)]
    p_value = float(fisher_exact(table).pvalue)
    return _difference(estimate_share(*first), estimate_share(*second), 0.0, p_value)


def compare_normal(first: tuple[float, float], second: tuple[float, float]) -> Difference:
    """Return how two values differ that are normally distributed by the choice of samples; each with its error."""
    value, error = second[0] - first[0], math.hypot(first[1], second[1])
    low, high = interval_of(value, error)
    p_value = 2 * NormalDist().cdf(-abs(value) / error) if error else float(value == 0)
    return Difference(value, low, high, p_value)


def interval_of(value: float, error: float) -> tuple[float, float]:
    """Return the ends of the confidence interval of a value with a standard error."""
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    return value - half, value + half


def compare_means(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the p-value of Welch's test that chips of two kinds have the same mean accuracy.

    None where there are fewer than two chips of a kind, or all chips of each kind are alike.
    """
    from scipy.stats import ttest_ind

    if min(len(first), len(second)) < 2 or (len(set(first)) == 1 and len(set(second)) == 1):
        return None
    return float(ttest_ind(first, second, equal_var=False).pvalue)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation of two measures of the same things, -1..1; equals share their mean rank.

    None where there are fewer than three, or one measure is the same for all.
    """
    from scipy.stats import spearmanr

    if len(first) < 3 or 1 in (len(set(first)), len(set(second))):
        return None
    return float(spearmanr(first, second).statistic)


def _correlation(counts: PairedCounts) -> float:
    """Return phi, with Newcombe's correction for continuity; 0 where a margin is empty."""
    rows = (counts.both + counts.first) * (counts.second + counts.neither)
    columns = (counts.both + counts.second) * (counts.first + counts.neither)
    excess: float = counts.both * counts.neither - counts.first * counts.second
    if excess > 0:
        excess = max(0.0, excess - counts.total / 2)
    return excess / math.sqrt(rows * columns) if rows and columns else 0.0


def _difference(first: Share, second: Share, correlation: float, p_value: float) -> Difference:
    below = _distance(second.value - second.low, first.high - first.value, correlation)
    above = _distance(second.high - second.value, first.value - first.low, correlation)
    value = second.value - first.value
    return Difference(value, max(-1.0, value - below), min(1.0, value + above), p_value)


def _distance(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))
