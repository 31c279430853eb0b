"""The confidence interval of a mean over few chips: Student's t, from numbers of correctly classified samples.

Mean and deviation are computed from integers, so that equal chips give an interval of no width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MeanBand:
    """The mean of accuracies and its confidence interval.

    Attributes:
        mean: share, 0..1.
        std: standard deviation of a chip (with n - 1), a share; None for one chip.
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
    from scipy.special import betaincinv

    chips, total = len(correct), sum(correct)
    mean = total / (chips * samples)
    if chips == 1:
        return MeanBand(mean, None, None, None)
    squares = chips * sum(count * count for count in correct) - total * total
    std = math.sqrt(squares / (chips * (chips - 1))) / samples
    beta = float(betaincinv((chips - 1) / 2, 0.5, 1 - CONFIDENCE))
    half = math.sqrt((chips - 1) * (1 - beta) / beta) * std / math.sqrt(chips)
    return MeanBand(mean, std, max(0.0, mean - half), min(1.0, mean + half))
