"""How many windows of a producer must be finished before an element of a tensor can be computed.

An MVM layer finishes its windows in an order. The *required windows* of an element are how many of them, from the
first on, must be finished before it can be computed; 0 where it depends on none. Every digital operation gives an
element the largest number of the elements that it reads, so the record of each has a rule that says which those are.
Constants depend on nothing.

The numbers of a tensor are an int32 array of the tensor's rank. Along each axis it has the tensor's size or 1, which
means that they are equal all along: a convolution makes all channels of a position at once, so feature maps are
followed through a whole network as if they had one channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import Attributes, Shape, get_int, get_ints
from mho.arithmetic.operation import RequiredWindows, Use


def stretch(required: RequiredWindows, shape: Shape, axes: Sequence[int]) -> RequiredWindows:
    """Return the numbers with the full sizes of `shape` along `axes` (a view)."""
    sizes = [shape[axis] if axis in axes else size for axis, size in enumerate(required.shape)]
    return np.broadcast_to(required, sizes)


def largest(required: RequiredWindows, axes: int | tuple[int, ...]) -> RequiredWindows:
    """Return the largest number along `axes`, which keep size 1."""
    return np.asarray(required.max(axis=axes, keepdims=True))


def pad_rank(required: RequiredWindows, rank: int) -> RequiredWindows:
    """Return the numbers with leading axes of size 1 up to `rank`."""
    return required.reshape(*(1,) * (rank - required.ndim), *required.shape)


def along(axis: int, index: slice | NDArray[np.int64]) -> tuple[slice | NDArray[np.int64], ...]:
    """Return the index that takes `index` along `axis` and everything along those before it."""
    return (*(slice(None),) * axis, index)


def slide(
    required: RequiredWindows, axis: int, count: int, *, kernel: int, stride: int, dilation: int, padding: int
) -> RequiredWindows:
    """Return the largest number that each window of a convolution or pooling reads along one axis.

    Args:
        required: full size along `axis`.
        axis: the axis that the windows move along.
        count: windows.
        kernel, stride, dilation: of the windows.
        padding: elements before the first, which depend on nothing; behind the last there are as many as it takes.
    """
    if (kernel, stride, padding, count) == (1, 1, 0, required.shape[axis]):
        return required
    reach = (count - 1) * stride + dilation * (kernel - 1) + 1
    kept = max(0, min(required.shape[axis], reach - padding))
    padded = np.zeros((*required.shape[:axis], reach, *required.shape[axis + 1 :]), np.int32)
    padded[along(axis, slice(padding, padding + kept))] = required[along(axis, slice(0, kept))]
    starts = (tap * dilation for tap in range(kernel))
    taps = (padded[along(axis, slice(start, start + (count - 1) * stride + 1, stride))] for start in starts)
    return reduce(np.maximum, taps)


def slide_images(required: RequiredWindows, sizes: Shape, counts: Shape, attributes: Attributes) -> RequiredWindows:
    """Return the largest number that each two-dimensional window reads, [..., oh, ow].

    Args:
        required: [..., H or 1, W or 1].
        sizes: H, W.
        counts: oh, ow.
        attributes: `kernel`, `strides`, `dilations`, `pads`.
    """
    rank = required.ndim
    kernel, strides, dilations, pads = (get_ints(attributes, key) for key in ("kernel", "strides", "dilations", "pads"))
    result = stretch(required, (*required.shape[:-2], *sizes), (rank - 2, rank - 1))
    for number in range(2):
        result = slide(
            result, rank - 2 + number, counts[number],
            kernel=kernel[number], stride=strides[number], dilation=dilations[number], padding=pads[number],
        )  # fmt: skip
    return result


def first_of(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    """Return the numbers of the first operand."""
    first = operands[0]
    return np.zeros((1,) * len(use.shapes[0]), np.int32) if first is None else first


def of_aligned(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    """Rule of what reads the same element of each operand, by NumPy's broadcasting."""
    return pad_rank(reduce(np.maximum, (operand for operand in operands if operand is not None)), len(use.shape))


def of_axis(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    """Rule of what reads all of the first operand along `axis`."""
    return largest(first_of(use, operands), get_int(use.attributes, "axis"))
