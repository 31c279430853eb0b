"""Spans of equal neighbours in arrays, so that one box is drawn for many cells."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def find_equal_spans(keys: NDArray[np.integer]) -> list[tuple[int, int]]:
    """Return first entry and entry after the last of all spans of equal entries.

    Args:
        keys: [entries] or [entries, numbers], at least one entry.
    """
    change = np.diff(keys, axis=0) != 0
    if change.ndim > 1:
        change = change.any(axis=1)
    return list(pairwise([0, *(np.flatnonzero(change) + 1).tolist(), len(keys)]))
