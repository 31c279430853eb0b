"""The confidence interval of a mean over few chips: Student's t, from numbers of correctly classified samples.

Mean and deviation are computed from integers, so that equal chips give an interval of no width.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MeanBand:
    """The mean of accuracies and its confidence interval.

    Attributes:
        mean: share, 0..1; of other tasks than classification, quality by the metric.
        std: standard deviation of a chip (with n - 1), alike; None for one chip.
        low, high: ends of the confidence interval of the mean, cut to 0..1; None for one chip.
    """

    mean: float
    std: float | None
    low: float | None
    high: float | None


def find_band(correct: Sequence[int], samples: int) -> MeanBand:
    """Return the mean accuracy over chips, and its confidence interval mean -+ t s / sqrt(n) (Student, n - 1 degrees).

    The interval covers the choice of chips, not that of samples. Student's t follows from the incomplete beta function
    (Abramowitz and Stegun, 26.7.1), which versions of SciPy before 1.17 invert more exactly than t itself.

    Args:
        correct: samples that each chip classifies correctly, 0..samples, at least one chip.
        samples: of each chip, at least 1.
    """
    chips, total = len(correct), sum(correct)
    mean = total / (chips * samples)
    if chips == 1:
        return MeanBand(mean, None, None, None)
    squares = chips * sum(count * count for count in correct) - total * total
    std = math.sqrt(squares / (chips * (chips - 1))) / samples
    half = _half_width(std, chips)
    return MeanBand(mean, std, max(0.0, mean - half), min(1.0, mean + half))


def find_mean_band(values: Sequence[float], *, worst: float = -math.inf) -> MeanBand:
    """Return the mean of qualities of chips or of trainings, at least one, and its interval as `find_band` has it.

    Args:
        values: of each.
        worst: least that there is.
    """
    mean = statistics.fmean(values)
    if len(values) == 1:
        return MeanBand(mean, None, None, None)
    std = statistics.stdev(values)
    half = _half_width(std, len(values))
    return MeanBand(mean, std, max(worst, mean - half), mean + half)


def _half_width(std: float, count: int) -> float:
    from scipy.special import betaincinv

    beta = float(betaincinv((count - 1) / 2, 0.5, 1 - CONFIDENCE))
    return math.sqrt((count - 1) * (1 - beta) / beta) * std / math.sqrt(count)
