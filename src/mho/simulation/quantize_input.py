"""The codes of a layer: what `QuantizeInput` makes of a tensor, for DACs and cells."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.arithmetic import requantize
from mho.program.instructions import QuantizeInput

_BLOCK = 1 << 16


def quantize(item: QuantizeInput, source: Tensor) -> Tensor:
    """Return the integers that `item` makes of a float32 tensor, whole numbers in float32. Raises `DataError`: NaN."""
    return requantize.quantize_operand(
        source, item.scale, item.zero_point, item.qmin, item.qmax, is_binary=item.binary, where=item.source
    )


def quantize_to_bytes(item: QuantizeInput, source: Tensor) -> Tensor:
    """Return the codes, all within 0 .. 255, that `item` makes of a float32 tensor: uint8, laid out as the tensor is.

    Blocks stay in the cache, in the order that they have in memory. Raises `DataError`: NaN.

    Args:
        item: the instruction.
        source: dense, in any order of its axes.
    """
    codes = torch.empty_like(source, dtype=torch.uint8)
    flat, values = (tensor.as_strided((tensor.numel(),), (1,)) for tensor in (codes, source))
    # Conversion to signed bytes is vectorized, to unsigned ones it is not.
    shift = item.offset - 128
    moved = item if item.binary else _move(item, shift)
    for start in range(0, values.numel(), _BLOCK):
        block = slice(start, start + _BLOCK)
        integers = quantize(moved, values[block])
        flat[block].view(torch.int8).copy_(integers.add_(shift) if item.binary else integers)
        flat[block].bitwise_xor_(128)
    return codes


def _move(item: QuantizeInput, shift: int) -> QuantizeInput:
    """Return what makes integers that are larger by `shift`: those that rounding changes are beyond the last ones."""
    return replace(item, zero_point=item.zero_point + shift, qmin=item.qmin + shift, qmax=item.qmax + shift)


def make_codes(item: QuantizeInput, source: NDArray[np.float32], size: int) -> NDArray[np.int64]:
    """Return the codes that `item` makes.

    Args:
        item: the instruction.
        source: float32 [samples, *shape].
        size: of the buffer that takes the codes.

    Returns:
        int64 [size, samples]: an address is one row.
    """
    codes = quantize(item, torch.from_numpy(source)).numpy().astype(np.int64) + item.offset
    return place_codes(item, codes, size, border=item.zero_point + item.offset, rest=0)


def place_narrow_codes(item: QuantizeInput, source: NDArray[np.float32], size: int) -> Tensor:
    """Return the codes that `make_codes` makes, [size, samples]: uint8 where all that may be fit, else int64."""
    integers = quantize(item, torch.from_numpy(source))
    reach = [code + item.offset for code in (item.qmin, item.qmax, item.zero_point)]
    kind = torch.uint8 if min(reach) >= 0 and max(reach) <= 255 else torch.int64
    samples = len(source)
    flat = integers.add_(item.offset).to(kind).reshape(samples, -1).t().contiguous()
    shape = [before + length + after for (before, after), length in zip(item.pads, source.shape[1:], strict=True)]
    count = math.prod(shape)
    if count == flat.shape[0] == size:
        return flat
    whole = torch.zeros((size, samples), dtype=kind)
    padded = whole[item.start : item.start + count].view(*shape, samples)
    padded.fill_(item.zero_point + item.offset)
    for axis, ((before, _), length) in enumerate(zip(item.pads, source.shape[1:], strict=True)):
        padded = padded.narrow(axis, before, length)
    padded.copy_(flat.view(*source.shape[1:], samples))
    return whole


def place_codes(item: QuantizeInput, values: NDArray[Any], size: int, *, border: Any, rest: Any) -> NDArray[Any]:
    """Lay out values of each element of a source as its codes are.

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
