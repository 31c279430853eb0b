"""Bit slicing: how many cells a weight needs, how many steps an input needs, and which bits each step takes.

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


def count_weight_slices(weight_bits: Count, cell_bits: int) -> Count:
    """Return the cells that one weight (or one sign part of it) is spread over: ceil(weight_bits / cell_bits).

    Source: arXiv 2601.21737, weight bit slicing.
    """
    return ceil_divide(weight_bits, cell_bits)


def count_input_slices(act_bits: Count, dac_bits: int) -> Count:
    """Return the steps that one input is fed in: ceil(act_bits / dac_bits).

    Source: arXiv 2601.21737, input bit slicing.
    """
    return ceil_divide(act_bits, dac_bits)


def slice_inputs(codes: NDArray[np.int64], num_input_slices: int, dac_bits: int) -> NDArray[np.int64]:
    """Cut unsigned input codes into the steps that the DACs take.

    Args:
        codes: any shape, 0 <= codes < 2^(num_input_slices * dac_bits).
        num_input_slices: steps, at least 1.
        dac_bits: bits a step.

    Returns:
        [num_input_slices, *codes.shape], values 0 .. 2^dac_bits - 1; codes = sum over s of slice s * 2^(s * dac_bits).
    """
    shifts = np.arange(num_input_slices, dtype=np.int64) * dac_bits
    steps: NDArray[np.int64] = (codes[None] >> shifts.reshape(-1, *(1,) * codes.ndim)) & ((1 << dac_bits) - 1)
    return steps
