"""Ranges of ADCs from the sums that occur: what is cut off at both ends, and how coarse the rest becomes.

Sums are seen twice: first for their ends, then counted in bins between them. Conversions with a common range form a
group.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mho.array.converters import make_adc
from mho.errors import ConfigError, DataError

Floats = NDArray[np.float64]

BINS = 1024
_SHRINKAGES = 64


class RangeMethod(StrEnum):
    """How a range follows from the sums that occur.

    Attributes:
        EXTREMES: nothing that occurs is cut off.
        PERCENTILE: the same share of sums is cut off at both ends.
        MSE: the part of the extremes with the least mean squared error of what is read.
    """

    EXTREMES = "extremes"
    PERCENTILE = "percentile"
    MSE = "mse"


@dataclass(frozen=True)
class RangeRule:
    """How ranges are found.

    Attributes:
        method: see `RangeMethod`.
        share: for percentiles, the share of sums that is kept, above 0, up to 1.

    Raises:
        ConfigError: an impossible share.
    """

    method: RangeMethod = RangeMethod.MSE
    share: float = 0.9999

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"share is {self.share}", expected="above 0, up to 1")


class SumCounts:
    """The sums of groups of conversions: their ends, then how many lie in each bin between them.

    Attributes:
        low, high: float64 [groups], least and largest sum so far; 0 of groups that have none.
    """

    def __init__(self, groups: int) -> None:
        self.low, self.high = np.zeros(groups), np.zeros(groups)
        self._counts = np.zeros((groups, BINS), dtype=np.int64)

    def see(self, sums: Floats, group: NDArray[np.int64]) -> None:
        """Note the ends of sums [n, conversions], whose groups are int64 [conversions]; zero is always within them."""
        if len(sums):
            np.minimum.at(self.low, group, sums.min(axis=0))
            np.maximum.at(self.high, group, sums.max(axis=0))

    def count(self, sums: Floats, group: NDArray[np.int64]) -> None:
        """Count sums between the ends that were seen."""
        width = self.high - self.low
        bins_a_count = np.divide(BINS, width, out=np.zeros_like(width), where=width > 0)
        place = (sums - self.low[group]) * bins_a_count[group]
        bins = np.clip(place.astype(np.int64), 0, BINS - 1) + group * BINS
        self._counts += np.bincount(bins.ravel(), minlength=self._counts.size).reshape(self._counts.shape)

    def find_ranges(self, rule: RangeRule, bits: int) -> tuple[Floats, Floats]:
        """Return lowest and highest sums of the groups' ranges, float64 [groups].

        Args:
            rule: how.
            bits: of a code.

        Raises:
            DataError: nothing was counted.
        """
        if not self._counts.any():
            raise DataError("no sums were counted", expected="at least one input")
        if rule.method is RangeMethod.EXTREMES:
            return self.low.copy(), self.high.copy()
        if rule.method is RangeMethod.PERCENTILE:
            return self._cut_off((1 - rule.share) / 2)
        return self._minimize_error(bits)

    @property
    def _edges(self) -> Floats:
        """Edges of bins, float64 [groups, BINS + 1]."""
        return np.linspace(self.low, self.high, BINS + 1, axis=1)

    def _cut_off(self, share: float) -> tuple[Floats, Floats]:
        """Return the bins' edges beyond which at most `share` of the sums lie, at either end."""
        allowed = share * self._counts.sum(axis=1, keepdims=True)
        below = (np.cumsum(self._counts, axis=1) <= allowed).sum(axis=1)
        above = (np.cumsum(self._counts[:, ::-1], axis=1) <= allowed).sum(axis=1)
        groups, edges = np.arange(len(below)), self._edges
        # Zero stays within: it is a code of its own.
        lowest = np.minimum(edges[groups, np.minimum(below, BINS)], 0.0)
        return lowest, np.maximum(edges[groups, BINS - np.minimum(above, BINS)], 0.0)

    def _minimize_error(self, bits: int) -> tuple[Floats, Floats]:
        """Try shrinking the extremes by equal factors; sums stand in the middle of their bins."""
        edges = self._edges
        middle = ((edges[:, 1:] + edges[:, :-1]) / 2).T
        best, factor = np.full(len(self.low), np.inf), np.ones(len(self.low))
        for tried in np.arange(_SHRINKAGES, 0, -1) / _SHRINKAGES:
            adc = make_adc(bits, self.low * tried, self.high * tried)
            error = (((adc.read(adc.convert(middle)) - middle) ** 2).T * self._counts).sum(axis=1)
            is_better = error < best
            best, factor = np.where(is_better, error, best), np.where(is_better, tried, factor)
        return self.low * factor, self.high * factor
