"""Bit slicing: how many cells a weight of a nominal width takes, and how many steps an input takes.

Slice 0 is the least significant one. Counts work on numbers and, element by element, on integer arrays, so that a layer
and a whole table of layers are counted by the same line.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Count = TypeVar("Count", int, NDArray[np.int64])
"""A number, or an int64 array of them."""


def ceil_divide(number: Count, divisor: int) -> Count:
    """Return `number` / `divisor`, rounded up; exact, for `number` >= 0 and `divisor` >= 1."""
    return -(-number // divisor)


def count_nominal_slices(weight_bits: Count, cell_bits: int) -> Count:
    """Return the cells that one weight (or one sign part of it) is spread over: ceil(weight_bits / cell_bits).

    Source: arXiv 2601.21737, weight bit slicing.
    """
    return ceil_divide(weight_bits, cell_bits)


def count_input_slices(act_bits: Count, dac_bits: int) -> Count:
    """Return the steps that one input is fed in: ceil(act_bits / dac_bits).

    Source: arXiv 2601.21737, input bit slicing.
    """
    return ceil_divide(act_bits, dac_bits)
