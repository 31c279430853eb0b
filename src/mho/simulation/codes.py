"""The codes of a layer: what `QuantizeInput` makes of a tensor, for DACs and cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.arithmetic import requantize
from mho.program.instructions import QuantizeInput


def make_codes(item: QuantizeInput, source: NDArray[np.float32], size: int) -> NDArray[np.int64]:
    """Return the codes that `item` makes.

    Args:
        item: the instruction.
        source: float32 [samples, *shape].
        size: of the buffer that takes the codes.

    Returns:
        int64 [size, samples]: an address is one row.
    """
    tensor = torch.from_numpy(source)
    if item.binary:
        integers = requantize.quantize_binary(tensor)
    else:
        integers = requantize.quantize_linear(tensor, item.scale, item.zero_point, item.qmin, item.qmax)
    codes = integers.numpy().astype(np.int64) + item.offset
    return place_codes(item, codes, size, border=item.zero_point + item.offset, rest=0)


def place_codes(item: QuantizeInput, values: NDArray[Any], size: int, *, border: Any, rest: Any) -> NDArray[Any]:
    """Lay out something that is told of each element of a source as its codes are.

    Args:
        item: the instruction.
        values: [samples, *shape].
        size: of the buffer that takes the codes.
        border, rest: what stands for the codes of the border, and at all other addresses.

    Returns:
        [size, samples], of the type of `values`.
    """
    padded: NDArray[Any] = np.pad(values, ((0, 0), *item.pads), constant_values=border)
    flat = padded.reshape(len(values), -1).T
    whole = np.full((size, len(values)), rest, values.dtype)
    whole[item.start : item.start + len(flat)] = flat
    return whole
