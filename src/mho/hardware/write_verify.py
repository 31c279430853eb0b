"""Programming with a budget of pulses: how many a write takes, and what is left of the error, in closed form.

Pulse k of a cell lands at a Gaussian distance e_k from what was meant, of standard deviation s_k = s_1 ratio^(k-1),
independent of the pulses before. The first one within the tolerance t stays; else the last one that the budget allows.
With p_k = P(|e_k| <= t) = erf(t / (s_k sqrt(2))), the share of cells that pulse k leaves to be tried again is
S_k = (1 - p_1) ... (1 - p_k), S_0 = 1.

Programming by pulses until a read lies within a window, at most so many: W. Wan et al., "A compute-in-memory chip based
on resistive random-access memory", Nature 608, 2022. That every pulse lands independently is an assumption; what cells
do after they were accepted is `array.programming_error`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mho.hardware.array import Array

_DECIMALS = Decimal("0.000001")


@dataclass(frozen=True)
class WriteVerify:
    """A budget of pulses.

    Attributes:
        deviations: standard deviation of the error of each pulse, at least one of them; as parts of the range, or of
            the level's conductance.
        tolerance: how far a cell may be off to be left, as a part of the same.
    """

    deviations: tuple[float, ...]
    tolerance: float

    @classmethod
    def of(cls, array: Array) -> WriteVerify | None:
        """Return the budget that an array is written with; None where pulses are not counted."""
        if not array.pulse_error:
            return None
        first, ratio = float(array.pulse_error), float(array.pulse_error_ratio)
        return cls(tuple(first * ratio**pulse for pulse in range(array.verify_pulses)), float(array.verify_tolerance))

    @property
    def shares_left(self) -> tuple[float, ...]:
        """S_0 .. S_n, the shares of cells that are not within the tolerance after so many pulses."""
        refused = (math.erfc(self._reach(deviation) / math.sqrt(2)) for deviation in self.deviations)
        return tuple(itertools.accumulate(refused, lambda left, share: left * share, initial=1.0))

    @property
    def variance(self) -> float:
        """Mean squared error of a cell, in squares of what `deviations` are parts of.

        Sum over pulses of S_{k-1} E[e_k^2; |e_k| <= t], and S_{n-1} E[e_n^2; |e_n| > t] of the last, with
        E[e^2; |e| <= t] = s^2 (erf(a / sqrt(2)) - 2 a phi(a)), a = t / s and phi the density of a standard normal.
        """
        left, total = self.shares_left, 0.0
        for before, deviation in zip(left[:-1], self.deviations, strict=True):
            total += before * self._second_moment_within(deviation)
        last = self.deviations[-1]
        return total + left[-2] * (last**2 - self._second_moment_within(last))

    def count_for_row(self, cells: int) -> Decimal:
        """Return the mean number of pulses until the slowest of some cells is done, to six decimals.

        The slowest of n independent cells needs more than k pulses with probability 1 - (1 - S_k)^n. A single cell is
        the slowest of one.
        """
        more = (1.0 if left == 1 else -math.expm1(cells * math.log1p(-left)) for left in self.shares_left[:-1])
        return Decimal(math.fsum(more)).quantize(_DECIMALS)

    def _reach(self, deviation: float) -> float:
        """Return the tolerance in deviations."""
        return self.tolerance / deviation if deviation else math.inf

    def _second_moment_within(self, deviation: float) -> float:
        reach = self._reach(deviation)
        if math.isinf(reach):
            return deviation**2
        density = math.exp(-reach * reach / 2) / math.sqrt(2 * math.pi)
        return deviation**2 * (math.erf(reach / math.sqrt(2)) - 2 * reach * density)
