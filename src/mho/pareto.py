"""The Pareto front of points that are the better, the smaller two numbers of theirs are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pareto_front(first: ArrayLike, second: ArrayLike, *ties: ArrayLike) -> NDArray[np.int64]:
    """Return the places of the points that no other point betters in one number without being worse in the other.

    Args:
        first, second: the numbers, [points] each.
        ties: what decides between points that are equal in both, [points] each; then the earlier one is taken.

    Returns:
        int64 [front], ascending in `first`, descending in `second`.
    """
    order = np.lexsort([np.asarray(key) for key in (*ties[::-1], second, first)])
    values = np.asarray(second)[order]
    least = np.minimum.accumulate(values)
    is_better = np.ones(len(order), np.bool_)
    is_better[1:] = values[1:] < least[:-1]
    return order[is_better]
