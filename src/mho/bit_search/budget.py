"""What the best policy may cost: a share of the cost of uniform 8/8, or an amount with its unit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from mho.bit_search.objective import Objective
from mho.errors import ConfigError
from mho.scheduling.cost_objective import WRITE_WEIGHT

MEASURED_REPEATS = 4
"""With which the methods were measured (docs/search.md)."""


def default_repeats(budget: int, *, is_trained: bool) -> int:
    """Return with how many other seeds policies are measured by default before they may win.

    Args:
        budget: evaluations of the search, repeated ones counted in.
        is_trained: candidates are trained, so that a seed changes them.

    Returns:
        4, as the methods were measured with, but at most a tenth of the budget; 0 where candidates are only calibrated.
    """
    return min(MEASURED_REPEATS, budget // 10) if is_trained else 0


@dataclass(frozen=True)
class CostBudget:
    """One of a share and an amount.

    Attributes:
        share: of the cost of uniform 8/8, above 0 and at most 1.
        amount: in the unit of the objective, 1 or more.
    """

    share: float | None = None
    amount: int | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.amount is None):
            raise ConfigError("a cost budget is either a share or an amount", where="cost_budget")
        if self.share is not None and not 0.0 < self.share <= 1.0:
            raise _wrong(str(self.share))
        if self.amount is not None and self.amount < 1:
            raise _wrong(str(self.amount))

    @classmethod
    def parse(cls, budget: float | str, objective: Objective) -> CostBudget:
        """Read a share such as 0.4 or "0.4", or an amount: "250 us", "3.5 nJ", "1.2 nJ us", "96 crossbars", "3 writes".

        Raises:
            ConfigError: it is neither, or its unit is not one of the objective.
        """
        if not isinstance(budget, str) or re.fullmatch(r"\d*\.?\d+", budget):
            return cls(share=float(budget))
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(.*?)\s*", budget)
        units = _UNITS[objective.unit]
        if match is None or (unit := match[2].replace("µ", "u")) not in units:
            raise _wrong(repr(budget), f"a number and one of {', '.join(units)} under the objective {objective}")
        return cls(amount=round(Fraction(match[1]) * units[unit]))

    def of(self, reference_cost: int) -> int:
        """Return the budget in the objective's unit; a share is rounded down."""
        if self.amount is not None:
            return self.amount
        assert self.share is not None
        return max(1, math.floor(self.share * reference_cost))

    def __str__(self) -> str:
        return f"{self.amount}" if self.share is None else f"{self.share:g} of uniform 8/8"


def _wrong(given: str, amount: str = 'an amount with its unit such as "250 us"') -> ConfigError:
    return ConfigError(
        f"the cost budget is {given}",
        where="cost_budget",
        expected=f"a share of the cost of uniform 8/8, above 0 and at most 1, or {amount}",
    )


_TIMES = {"ps": 1, "ns": 10**3, "us": 10**6, "ms": 10**9, "s": 10**12}
_ENERGIES = {"aJ": 1, "fJ": 10**3, "pJ": 10**6, "nJ": 10**9, "uJ": 10**12, "mJ": 10**15}
_UNITS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "ps": _TIMES,
        "aJ": _ENERGIES,
        "aJ ps": {f"{e} {t}": of_e * of_t for e, of_e in _ENERGIES.items() for t, of_t in _TIMES.items()},
        "crossbars": {"crossbars": 1},
        "writes": {"writes": WRITE_WEIGHT},
    }
)
