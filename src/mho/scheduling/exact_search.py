"""Exact searches that choices of copies, options and tiles share: bisection, dealing out crossbars, and dominance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mho.scheduling.work_graph import Integers


def find_least(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """Return the least number in low .. high that fits, where all above it do; `high` where none below it does."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


def deal_out(choices: Sequence[Sequence[tuple[int, int]]], budget: int) -> list[int]:
    """Choose for each layer so that the sum of times is least, by dynamic programming over crossbars.

    Args:
        choices: of each layer, (crossbars, time); crossbars at most `budget`, and something fits.
        budget: crossbars of all layers.

    Returns:
        The number of each layer's choice; of equals the first.
    """
    best, taken = np.zeros(budget + 1, np.int64), list[Integers]()
    for layer in choices:
        times, chosen = np.full(budget + 1, np.iinfo(np.int64).max // 2), np.zeros(budget + 1, np.int64)
        for number, (cost, time) in enumerate(layer):
            reached = best[: budget + 1 - cost] + time
            better = reached < times[cost:]
            times[cost:][better], chosen[cost:][better] = reached[better], number
        best = times
        taken.append(chosen)
    numbers: list[int] = []
    for layer, chosen in zip(reversed(choices), reversed(taken), strict=True):
        numbers.append(int(chosen[budget]))
        budget -= layer[numbers[-1]][0]
    return numbers[::-1]


def list_undominated(criteria: Sequence[tuple[int, ...]]) -> list[bool]:
    """Tell for each of some candidates whether no other is as good in all of its criteria; less is better."""
    return [
        not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in criteria)
        for own in criteria
    ]
