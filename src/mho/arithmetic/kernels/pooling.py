"""Kernels of max and average pooling on [N, B, C, H, W], with ONNX's padding, dilation, ceil mode and counting."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.arithmetic.attributes import Attributes, get_ints
from mho.arithmetic.kernels.adapters import with_attributes
from mho.arithmetic.kernels.trees import tree_sum_of
from mho.arithmetic.shapes import window_extent

_VECTOR = 8
"""Channels from which on pooling with channels last in memory is faster, the moves included."""


class _Windows:
    """Geometry of a pooling over an input of some height and width."""

    def __init__(self, sizes: tuple[int, int], attributes: Attributes) -> None:
        self.sizes = sizes
        self.kernel = get_ints(attributes, "kernel")
        self.strides = get_ints(attributes, "strides")
        self.pads = get_ints(attributes, "pads")
        self.dilations = get_ints(attributes, "dilations")
        ceil = bool(attributes["ceil_mode"])
        self.counts = [
            window_extent(sizes[i], self.kernel[i], self.strides[i], self._pads(i), self.dilations[i], ceil)
            for i in range(2)
        ]

    def _pads(self, axis: int) -> tuple[int, int]:
        return self.pads[axis], self.pads[axis + 2]

    def _reach(self, axis: int) -> int:
        """Length of padded input that the windows touch."""
        return (self.counts[axis] - 1) * self.strides[axis] + self.dilations[axis] * (self.kernel[axis] - 1) + 1

    def pad(self, x: Tensor, value: float) -> Tensor:
        """Pad with `value` (or crop) so that exactly what the windows touch is left."""
        before = [self.pads[0], self.pads[1]]
        after = [self._reach(i) - before[i] - self.sizes[i] for i in range(2)]
        if not any(before + after):
            return x
        return functional.pad(x, (before[1], after[1], before[0], after[0]), value=value)

    def taps(self, padded: Tensor) -> list[Tensor]:
        """Return the input under each element of the window, row by row."""
        return [
            padded[..., self._stride(0, i), self._stride(1, j)]
            for i in range(self.kernel[0])
            for j in range(self.kernel[1])
        ]

    def _stride(self, axis: int, tap: int) -> slice:
        start = tap * self.dilations[axis]
        return slice(start, start + (self.counts[axis] - 1) * self.strides[axis] + 1, self.strides[axis])

    def divisors(self, include_padding: bool, device: torch.device) -> Tensor:
        """Return how many elements each window averages, float32 [oh, ow]."""
        per_axis = []
        for i in range(2):
            low = -self.pads[i] if include_padding else 0
            high = self.sizes[i] + (self.pads[i + 2] if include_padding else 0)
            starts = [n * self.strides[i] - self.pads[i] for n in range(self.counts[i])]
            inside = [sum(low <= s + k * self.dilations[i] < high for k in range(self.kernel[i])) for s in starts]
            per_axis.append(torch.tensor(inside, dtype=torch.float32, device=device))
        return per_axis[0][:, None] * per_axis[1][None, :]


def _max_pool(x: Tensor, attributes: Attributes) -> Tensor:
    """Maximum of each window; of zeros +0 where one is, as `maximum` has it, which torch leaves to the processor."""
    if _has_channels_first(x) and x.shape[2] >= _VECTOR:
        # torch compares many channels at once where they are last, and one number at a time where they are first.
        moved = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])
        return _max_pool(moved, attributes).contiguous()
    pooled = _max_pool_by_torch(x, attributes)
    if not _is_negative_zero(pooled).any():
        return pooled
    has_zero = _max_pool_by_torch(((x == 0) & ~_is_negative_zero(x)).float(), attributes) > 0
    return torch.where((pooled == 0) & has_zero, 0.0, pooled)


def _has_channels_first(x: Tensor) -> bool:
    return not x.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def _is_negative_zero(x: Tensor) -> Tensor:
    return x.view(torch.int32) == torch.iinfo(torch.int32).min


def _max_pool_by_torch(x: Tensor, attributes: Attributes) -> Tensor:
    windows = _Windows((x.shape[-2], x.shape[-1]), attributes)
    padded = windows.pad(x.flatten(0, 1), -math.inf)
    pooled = functional.max_pool2d(padded, windows.kernel, windows.strides, 0, windows.dilations)
    return pooled.unflatten(0, x.shape[:2])


def _average_pool(x: Tensor, attributes: Attributes) -> Tensor:
    """Mean of each window, summed by a fixed-order tree over the window's elements."""
    windows = _Windows((x.shape[-2], x.shape[-1]), attributes)
    total = tree_sum_of(windows.taps(windows.pad(x, 0.0)))
    return total / windows.divisors(bool(attributes["count_include_pad"]), x.device)


def sum_windows(x: Tensor, attributes: Attributes) -> Tensor:
    """Return the sum of each window, of whole numbers in int64; nothing stands for padding."""
    windows = _Windows((x.shape[-2], x.shape[-1]), attributes)
    first, *others = windows.taps(windows.pad(x, 0))
    for tap in others:
        first = first + tap
    return first


def count_taps(sizes: tuple[int, int], attributes: Attributes) -> NDArray[np.int64]:
    """Return how many elements each window of an input of `sizes` averages, int64 [oh, ow]."""
    divisors = _Windows(sizes, attributes).divisors(bool(attributes["count_include_pad"]), torch.device("cpu"))
    return divisors.numpy().astype(np.int64)


def _average_pool_for_training(x: Tensor, attributes: Attributes) -> Tensor:
    """The same mean by torch's pooling where that exists for these attributes (sums in another order)."""
    pads, plain = get_ints(attributes, "pads"), not attributes["ceil_mode"]
    kernel, strides = get_ints(attributes, "kernel"), get_ints(attributes, "strides")
    fits = pads[0] == pads[2] and pads[1] == pads[3] and 2 * pads[0] <= kernel[0] and 2 * pads[1] <= kernel[1]
    if not (plain and fits and set(get_ints(attributes, "dilations")) == {1}):
        return _average_pool(x, attributes)
    pooled = functional.avg_pool2d(
        x.flatten(0, 1), kernel, strides, pads[:2], False, bool(attributes["count_include_pad"])
    )
    return pooled.unflatten(0, x.shape[:2])


run_max_pool = with_attributes(_max_pool)
train_max_pool = with_attributes(_max_pool_by_torch)
run_average_pool = with_attributes(_average_pool)
train_average_pool = with_attributes(_average_pool_for_training)
