"""How sure a mean over few chips is: Student's t, from whole numbers of right answers.

Everything is computed from integers as far as it goes, so that equal chips give a band of no width, and the same counts
the same figures everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

CONFIDENCE = 0.95
_HALVINGS = 64


@dataclass(frozen=True)
class MeanBand:
    """The mean of accuracies and how sure it is.

    Attributes:
        mean: share, 0..1.
        std: standard deviation of a chip (with n - 1), a share; None for one chip.
        low, high: ends of the band of the mean, cut to 0..1; None for one chip.
    """

    mean: float
    std: float | None
    low: float | None
    high: float | None


def find_band(correct: Sequence[int], samples: int, confidence: float = CONFIDENCE) -> MeanBand:
    """Return the mean share of right answers over chips, and its band mean -+ t s / sqrt(n) (Student, n - 1 degrees).

    The band tells how far the mean of all chips may be from that of these; that other samples may give other shares
    is not in it.

    Args:
        correct: right answers of each chip, 0..samples, at least one chip.
        samples: that each was asked, at least 1.
        confidence: of the band, above 0, below 1.
    """
    chips, total = len(correct), sum(correct)
    mean = total / (chips * samples)
    if chips == 1:
        return MeanBand(mean, None, None, None)
    squares = chips * sum(count * count for count in correct) - total * total
    std = math.sqrt(squares / (chips * (chips - 1))) / samples
    half = student_quantile(chips - 1, confidence) * std / math.sqrt(chips)
    return MeanBand(mean, std, max(0.0, mean - half), min(1.0, mean + half))


@lru_cache(maxsize=64)
def student_quantile(degrees: int, confidence: float) -> float:
    """Return t such that a variable with Student's distribution lies within -t..t with a probability of `confidence`.

    Args:
        degrees: of freedom, at least 1.
        confidence: above 0, below 1.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _share_within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _share_within(angle: float, degrees: int) -> float:
    """Return the probability of -t..t with t = sqrt(degrees) tan(angle).

    Source: M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.
    """
    sine, square = math.sin(angle), math.cos(angle) ** 2
    if degrees % 2:
        term, total = math.cos(angle), 0.0
        for number in range(1, degrees - 1, 2):
            total += term
            term *= square * (number + 1) / (number + 2)
        return 2 / math.pi * (angle + sine * total)
    term, total = 1.0, 0.0
    for number in range(0, degrees - 1, 2):
        total += term
        term *= square * (number + 1) / (number + 2)
    return sine * total
