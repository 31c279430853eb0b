"""Ranges of ADCs from the sums that occur: what is cut off at both ends, and how coarse the rest becomes.

Sums are seen twice: first for their ends, then counted in bins between them. Conversions with a common range form a
group.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.array.converters import make_adc
from mho.array.nonidealities import ADC, READ_NOISE, idealize
from mho.array.range_errors import RangeErrors
from mho.errors import ConfigError, DataError
from mho.hardware.spec import Accelerator

Floats = NDArray[np.float64]

BINS = 1024
_SHRINKAGES = 64
_GROUPS_AT_ONCE = 64


def without_conversion(hardware: Accelerator) -> Accelerator:
    """Return hardware whose sums are those that ranges are found for: with ideal ADCs, read without noise."""
    return idealize(hardware, (*ADC, *READ_NOISE))


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

    @property
    def counts_sums(self) -> bool:
        """False where the ends of sums tell the range."""
        return self.method is not RangeMethod.EXTREMES


class SumCounts:
    """The sums of groups of conversions: their ends, then how many lie in each bin between them.

    Attributes:
        low, high: float64 [groups], least and largest sum so far; 0 of groups that have none.
    """

    def __init__(self, groups: int) -> None:
        self.low, self.high = np.zeros(groups), np.zeros(groups)
        self._counts = np.zeros((groups, BINS), dtype=np.int64)

    def see(self, sums: Tensor, group: NDArray[np.int64], unit: float = 1.0) -> None:
        """Note the ends of sums; zero is always within them.

        Args:
            sums: [n, conversions], in units of `unit`.
            group: int64 [conversions], whose sums they are.
            unit: a power of two.
        """
        if len(sums):
            low, high = (end.to(torch.float64).numpy() * unit for end in torch.aminmax(sums, dim=0))
            np.minimum.at(self.low, group, low)
            np.maximum.at(self.high, group, high)

    def count(self, sums: Tensor, group: NDArray[np.int64], unit: float = 1.0) -> None:
        """Count sums, as for `see`, between the ends that were seen."""
        width = (self.high - self.low)[group]
        bins_a_unit = np.divide(BINS * unit, width, out=np.zeros_like(width), where=width > 0)
        by_conversion = sums.t() if sums.dtype.is_floating_point else sums.t().to(torch.float64)
        low, scale = (
            torch.from_numpy(row).to(by_conversion.dtype)[:, None] for row in (self.low[group] / unit, bins_a_unit)
        )
        bins = (by_conversion - low).mul_(scale).clamp_(0, BINS - 1).to(torch.int64)
        bins += torch.from_numpy(group * BINS)[:, None]
        self._counts += (
            torch.bincount(bins.reshape(-1), minlength=self._counts.size).numpy().reshape(self._counts.shape)
        )

    def find_ranges(self, rule: RangeRule, bits: int) -> tuple[Floats, Floats]:
        """Return lowest and highest sums of the groups' ranges, float64 [groups].

        Args:
            rule: how.
            bits: of a code.

        Raises:
            DataError: nothing was counted.
        """
        if not rule.counts_sums:
            return self.low.copy(), self.high.copy()
        if not self._counts.any():
            raise DataError("no sums were counted", expected="at least one input")
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
        """Try shrinking the extremes by equal factors; sums stand in the middle of their bins.

        Where several factors may be the best and rounding hides which, errors are added up bin by bin.
        """
        factors = np.arange(_SHRINKAGES, 0, -1) / _SHRINKAGES
        tried = make_adc(bits, *(np.outer(end, factors).ravel() for end in (self.low, self.high)))
        low, step = (part.reshape(-1, _SHRINKAGES) for part in (tried.low, tried.step))
        best = np.ones(len(self.low))
        groups = np.flatnonzero(self.high > self.low)
        for start in range(0, len(groups), _GROUPS_AT_ONCE):
            some = groups[start : start + _GROUPS_AT_ONCE]
            bin_width = ((self.high - self.low)[some] / BINS)[:, None]
            in_bins = (low[some] - self.low[some, None]) / bin_width - 0.5, step[some] / bin_width
            may_be_least = RangeErrors(self._counts[some]).find_least(*in_bins, tried.largest_code + 1)
            number = may_be_least.argmax(axis=1)
            best[some] = factors[number]
            for group in some[may_be_least.sum(axis=1) > 1].tolist():
                best[group] = factors[self._find_least(group, low[group], step[group], tried.largest_code)]
        return self.low * best, self.high * best

    def _find_least(self, group: int, low: Floats, step: Floats, largest_code: int) -> int:
        """Return which range [ranges] has the least error for a group, bin by bin."""
        edges = torch.from_numpy(np.linspace(self.low[group], self.high[group], BINS + 1))
        counts = torch.from_numpy(self._counts[group])
        some = counts.nonzero().squeeze(1)
        middle = (edges[1:] + edges[:-1])[some] / 2
        lows, steps = (torch.from_numpy(part)[:, None] for part in (low, step))
        place = (middle - lows).div_(steps)
        off = place.round().clamp_(0, largest_code).sub_(place)
        return int(((off.square_() @ counts[some].to(torch.float64)) * steps[:, 0].square()).argmin())
