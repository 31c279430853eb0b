"""The last step of a layer, of which all engines that hold sums have one: from sums to its output, see `LastStep`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.arithmetic import requantize
from mho.program.instructions import LastStep, Requantize
from mho.program.program import Program


def dequantize(program: Program, item: LastStep, read: Callable[[str], NDArray[Any]]) -> NDArray[np.float32]:
    """Return float32(total) * multiplier + bias, each rounded; or integers, as `item` says.

    Args:
        program: whose constants are meant.
        item: the instruction.
        read: returns the sums of a buffer by its name, [samples, size], int64 or float64.

    Returns:
        float32 [samples, batch, groups, lines, channels, rows, columns], contiguous.
    """
    constants, layout = program.constants, item.layout
    own = read(item.accumulators)
    sums = own.reshape(len(own), *layout.shape)
    images, groups, lines, _, rows, columns = layout.inside
    total = sums[(slice(None), *layout.inside)] + _per_channel(constants[item.correction])
    if item.sum_factors:
        of_inputs = sums[:, images, groups, lines, layout.channels :, rows, columns]
        total = total + _per_channel(constants[item.sum_factors]) * of_inputs
    if item.stored_sums:
        stored = read(item.stored_sums).reshape(-1, 1, layout.groups, 1, layout.channels, 1, 1)
        total = total + item.stored_factor * stored
    if isinstance(item, Requantize):
        factors, offsets = (
            torch.from_numpy(_per_channel(constants[name].astype(np.int64))) for name in (item.multiplier, item.offset)
        )
        whole = requantize.requantize(torch.from_numpy(np.ascontiguousarray(total)), factors, offsets, item)
        return _put_samples_first(whole.numpy())
    result = total.astype(np.float32) * _per_channel(constants[item.multiplier])
    if item.bias:
        result = result + _per_channel(constants[item.bias])
    return _put_samples_first(result.astype(np.float32, copy=False))


def _put_samples_first(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values [samples, ...] contiguous, whatever their memory order."""
    last = np.moveaxis(values, 0, -1)
    if values.flags.c_contiguous or not last.flags.c_contiguous:
        return np.ascontiguousarray(values)
    turned = torch.from_numpy(last.reshape(-1, len(values))).t().contiguous()
    return turned.numpy().reshape(values.shape)


def _per_channel(constant: NDArray[Any]) -> NDArray[Any]:
    """[groups, channels] beside sums [samples, batch, groups, lines, channels, rows, columns]."""
    return constant[None, None, :, None, :, None, None]
