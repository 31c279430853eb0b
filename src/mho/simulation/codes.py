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
    padded: NDArray[Any] = np.pad(codes, ((0, 0), *item.pads), constant_values=item.zero_point + item.offset)
    flat = padded.reshape(len(source), -1).T
    whole = np.zeros((size, len(source)), np.int64)
    whole[item.start : item.start + len(flat)] = flat
    return whole
