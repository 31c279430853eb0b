"""Real factors as a 32-bit multiplier and a rounding shift: what integer operations multiply with. No torch here.

A factor M becomes m = round(M * 2^n), and x * M is RS(x * m, n) with

    RS(y, n) = floor((y + 2^(n - 1)) / 2^n) for n >= 1, and y for n = 0: round half up, in 64 bits.

One shift serves all factors of an operation; it is the largest with which no multiplier, product or offset leaves its
range. Source: the fixed-point requantization of gemmlowp (Jacob et al., arXiv 1712.05877, section 2.2) in the form
with one rounding, as CMSIS-NN and TensorFlow Lite Micro offer it (single rounding).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_MULTIPLIER = (1 << 31) - 1
"""Of the magnitude of a multiplier."""
LARGEST_PRODUCT = 1 << 62
"""Of the magnitude of a sum of products, offsets left out."""
LARGEST_OFFSET = 1 << 61
"""Of the magnitude of an offset."""
LARGEST_SHIFT = 61


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Factors and offsets at one shift.

    Attributes:
        multipliers: int32, one a factor, of their shape.
        offsets: int64, of the shape of the offsets.
        shift: 0 to `LARGEST_SHIFT`.
    """

    multipliers: NDArray[np.int32]
    offsets: NDArray[np.int64]
    shift: int


def to_fixed_point(factors: Any, largest: Any, offsets: Any = 0.0) -> FixedPoint | None:
    """Return the most exact fixed-point form of `factors`; None where there is none.

    Args:
        factors: real numbers.
        largest: what multiplies each factor is no larger, in magnitude, times how many products are added up;
            broadcasts against `factors`.
        offsets: real numbers in units of the result, which are added to products.
    """
    factors, offsets = np.asarray(factors, np.float64), np.asarray(offsets, np.float64)
    limits = np.asarray(largest, np.float64) * np.abs(factors)
    bounds = (
        (float(np.abs(factors).max(initial=0)), LARGEST_MULTIPLIER),
        (float(limits.max(initial=0)), LARGEST_PRODUCT),
        (float(np.abs(offsets).max(initial=0)), LARGEST_OFFSET),
    )
    if not all(math.isfinite(value) for value, _ in bounds):
        return None
    for shift in range(min(LARGEST_SHIFT, *(_room(value, limit) for value, limit in bounds)), -1, -1):
        scaled = np.rint(np.ldexp(factors, shift))
        products = np.asarray(largest, np.float64) * np.abs(scaled)
        # A factor may be rounded up, which a shift less makes room for.
        if np.abs(scaled).max(initial=0) <= LARGEST_MULTIPLIER and products.max(initial=0) <= LARGEST_PRODUCT:
            held = np.asarray(np.rint(np.ldexp(offsets, shift)), np.int64)
            return FixedPoint(np.asarray(scaled, np.int32), held, shift)
    return None


def _room(value: float, limit: int) -> int:
    """Return by how many bits `value` may be shifted to the left at most."""
    if value == 0:
        return LARGEST_SHIFT
    return math.floor(math.log2(limit) - math.log2(value))
