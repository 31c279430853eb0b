"""How far a producer must have got before each element of a tensor exists, followed through digital operations.

The *prefix* of an element is the number of a producer's windows, in their order, that must be finished before it can be
computed; 0 where it does not depend on them. Every operation of the digital unit gives an element the largest prefix
of the elements that it reads, so each has a rule that says which those are. Constants depend on nothing.

Prefixes of a tensor are an int32 array of the tensor's rank. Along each axis it has the tensor's size or 1, which
means that they are equal all along: a convolution makes all channels of a position at once, so feature maps are
followed through a whole network as if they had one channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import Attributes, Shape, get_floats, get_int, get_ints
from mho.errors import ScheduleError
from mho.network.graph import Network, Node

Prefixes = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Step:
    """One operation, seen from one producer.

    Attributes:
        operands: prefixes of each operand; None where it does not depend on the producer. Not all are None.
        shapes: of the operands.
        constants: the operands that are constants, by number.
        shape: of the result.
        attributes: of the operation.
    """

    operands: tuple[Prefixes | None, ...]
    shapes: tuple[Shape, ...]
    constants: Mapping[int, NDArray[Any]]
    shape: Shape
    attributes: Attributes

    @property
    def first(self) -> Prefixes:
        """Prefixes of the first operand."""
        first = self.operands[0]
        return np.zeros((1,) * len(self.shapes[0]), np.int32) if first is None else first


Rule = Callable[[Step], Prefixes]


def follow(network: Network, node: Node, operands: Sequence[Prefixes | None]) -> Prefixes:
    """Return the prefixes of what a node makes.

    Args:
        network: of the node.
        node: its operation; an MVM is taken for a digital operation.
        operands: prefixes of its inputs; None for what does not depend on the producer, at least one is not None.

    Raises:
        ScheduleError: there is no rule for the operation.
    """
    if node.op not in RULES:
        raise ScheduleError(
            f"nothing says which elements {node.op!r} reads", where=f"{network.name}: {node.name}",
            expected="an operation of mho.arithmetic",
        )  # fmt: skip
    constants = {i: network.constants[name] for i, name in enumerate(node.inputs) if name in network.constants}
    shapes = tuple(constants[i].shape if i in constants else network.shapes[name] for i, name in enumerate(node.inputs))
    return RULES[node.op](Step(tuple(operands), shapes, constants, network.shapes[node.output], node.attributes))


def stretch(prefixes: Prefixes, shape: Shape, axes: Sequence[int]) -> Prefixes:
    """Return prefixes with the full sizes of `shape` along `axes` (a view)."""
    sizes = [shape[axis] if axis in axes else size for axis, size in enumerate(prefixes.shape)]
    return np.broadcast_to(prefixes, sizes)


def largest(prefixes: Prefixes, axes: int | tuple[int, ...]) -> Prefixes:
    """Return the largest prefix along `axes`, which keep size 1."""
    return np.asarray(prefixes.max(axis=axes, keepdims=True))


def slide(
    prefixes: Prefixes, axis: int, count: int, *, kernel: int, stride: int, dilation: int, padding: int
) -> Prefixes:
    """Return the largest prefix that each window of a convolution or pooling reads along one axis.

    Args:
        prefixes: full size along `axis`.
        axis: the axis that the windows move along.
        count: windows.
        kernel, stride, dilation: of the windows.
        padding: elements before the first, which depend on nothing; behind the last there are as many as it takes.
    """
    if (kernel, stride, padding, count) == (1, 1, 0, prefixes.shape[axis]):
        return prefixes
    reach = (count - 1) * stride + dilation * (kernel - 1) + 1
    kept = max(0, min(prefixes.shape[axis], reach - padding))
    padded = np.zeros((*prefixes.shape[:axis], reach, *prefixes.shape[axis + 1 :]), np.int32)
    padded[_along(axis, slice(padding, padding + kept))] = prefixes[_along(axis, slice(0, kept))]
    starts = (tap * dilation for tap in range(kernel))
    taps = (padded[_along(axis, slice(start, start + (count - 1) * stride + 1, stride))] for start in starts)
    return reduce(np.maximum, taps)


def slide_images(prefixes: Prefixes, sizes: Shape, counts: Shape, attributes: Attributes) -> Prefixes:
    """Return the largest prefix that each two-dimensional window reads, [..., oh, ow].

    Args:
        prefixes: [..., H or 1, W or 1].
        sizes: H, W.
        counts: oh, ow.
        attributes: `kernel`, `strides`, `dilations`, `pads`.
    """
    rank = prefixes.ndim
    kernel, strides, dilations, pads = (get_ints(attributes, key) for key in ("kernel", "strides", "dilations", "pads"))
    result = stretch(prefixes, (*prefixes.shape[:-2], *sizes), (rank - 2, rank - 1))
    for number in range(2):
        result = slide(
            result, rank - 2 + number, counts[number],
            kernel=kernel[number], stride=strides[number], dilation=dilations[number], padding=pads[number],
        )  # fmt: skip
    return result


def _along(axis: int, index: slice | NDArray[np.int64]) -> tuple[slice | NDArray[np.int64], ...]:
    return (*(slice(None),) * axis, index)


def _elementwise(step: Step) -> Prefixes:
    largest = reduce(np.maximum, (operand for operand in step.operands if operand is not None))
    return largest.reshape(*(1,) * (len(step.shape) - largest.ndim), *largest.shape)


def _where(step: Step) -> Prefixes:
    first, second = (np.zeros((1,) * len(step.shape), np.int32) if o is None else o for o in step.operands[:2])
    selected = np.where(step.constants[2], first, second)
    return selected.reshape(*(1,) * (len(step.shape) - selected.ndim), *selected.shape)


def _along_axis(step: Step) -> Prefixes:
    return largest(step.first, get_int(step.attributes, "axis"))


def _layer_norm(step: Step) -> Prefixes:
    return largest(step.first, tuple(range(get_int(step.attributes, "axis"), len(step.shape))))


def _reduce(step: Step) -> Prefixes:
    found = largest(step.first, get_ints(step.attributes, "axes"))
    return found if step.attributes["keepdims"] else found.squeeze(get_ints(step.attributes, "axes"))


def _pool(step: Step) -> Prefixes:
    return slide_images(step.first, step.shapes[0][2:], step.shape[2:], step.attributes)


def _conv(step: Step) -> Prefixes:
    channels, outputs, groups = step.shapes[0][1], step.shape[1], get_int(step.attributes, "groups")
    prefixes = step.first
    if prefixes.shape[1] > 1:
        grouped = prefixes.reshape(prefixes.shape[0], groups, channels // groups, *prefixes.shape[2:])
        prefixes = grouped.max(axis=2).repeat(outputs // groups, axis=1) if groups > 1 else grouped.max(axis=2)
    return slide_images(prefixes, step.shapes[0][2:], step.shape[2:], step.attributes)


def _linear(step: Step) -> Prefixes:
    return largest(step.first, -1)


def _matmul(step: Step) -> Prefixes:
    parts = [
        largest(operand, axis) for operand, axis in zip(step.operands, (-1, -2), strict=True) if operand is not None
    ]
    return reduce(np.maximum, parts)


def _reshape(step: Step) -> Prefixes:
    """Axes that are equal all along stay so; the rest are given their full sizes where they are merged or split."""
    old, new = step.shapes[0], step.shape
    full: list[int] = []
    result: list[int] = []
    for olds, news in _match_axes(old, new):
        is_equal = all(step.first.shape[axis] == 1 for axis in olds)
        full += [] if is_equal else olds
        result += [1 if is_equal else new[axis] for axis in news]
    return stretch(step.first, old, full).reshape(result)


def _match_axes(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Cut the axes of two shapes of one size into the shortest runs that hold equally many elements."""
    runs: list[tuple[list[int], list[int]]] = []
    olds: list[int] = []
    news: list[int] = []
    sizes = [1, 1]
    places = [0, 0]
    while places[0] < len(old) or places[1] < len(new):
        side = 0 if places[1] == len(new) or (sizes[0] <= sizes[1] and places[0] < len(old)) else 1
        sizes[side] *= (old, new)[side][places[side]]
        (olds, news)[side].append(places[side])
        places[side] += 1
        if sizes[0] == sizes[1]:
            runs.append((olds, news))
            olds, news, sizes = [], [], [1, 1]
    if olds or news:  # what is left has no elements to speak of
        runs.append((olds, news))
    return runs


def _transpose(step: Step) -> Prefixes:
    return step.first.transpose(get_ints(step.attributes, "perm"))


def _concat(step: Step) -> Prefixes:
    axis = get_int(step.attributes, "axis")
    known = [operand for operand in step.operands if operand is not None]
    common = np.broadcast_shapes(*((*o.shape[:axis], 1, *o.shape[axis + 1 :]) for o in known))
    parts = [
        np.broadcast_to(np.int32(0) if o is None else o, (*common[:axis], shape[axis], *common[axis + 1 :]))
        for o, shape in zip(step.operands, step.shapes, strict=True)
    ]
    return np.concatenate(parts, axis=axis)


def _slice(step: Step) -> Prefixes:
    prefixes = step.first
    keys = ("axes", "starts", "ends", "steps")
    for axis, start, end, stride in zip(*(get_ints(step.attributes, key) for key in keys), strict=True):
        if prefixes.shape[axis] > 1:
            prefixes = prefixes[_along(axis, np.arange(start, end, stride))]
    return prefixes


def _gather(step: Step) -> Prefixes:
    axis, indices = get_int(step.attributes, "axis"), step.constants[1].astype(np.int64)
    if step.first.shape[axis] == 1:
        indices = np.zeros((1,) * indices.ndim, np.int64)
    return step.first.take(indices, axis=axis)


def _expand(step: Step) -> Prefixes:
    return step.first.reshape(*(1,) * (len(step.shape) - step.first.ndim), *step.first.shape)


def _pad(step: Step) -> Prefixes:
    pads = get_ints(step.attributes, "pads")
    widths = list(zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True))
    axes = [axis for axis, width in enumerate(widths) if any(width)]
    return np.pad(stretch(step.first, step.shapes[0], axes), widths)


def _resize(step: Step) -> Prefixes:
    prefixes = step.first
    for axis, scale in enumerate(get_floats(step.attributes, "scales")):
        if prefixes.shape[axis] > 1:
            prefixes = prefixes.repeat(int(scale), axis=axis)
    return prefixes


_ELEMENTWISE = """relu clip leaky_relu sigmoid hard_sigmoid hard_swish silu tanh gelu erf exp log sqrt reciprocal neg
abs pow add sub mul div minimum maximum batch_norm fake_quantize cast"""

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
        **dict.fromkeys(("softmax", "log_softmax"), _along_axis),
        "layer_norm": _layer_norm,
        **dict.fromkeys(("reduce_mean", "reduce_sum", "reduce_max"), _reduce),
        **dict.fromkeys(("max_pool", "average_pool"), _pool),
        "conv": _conv,
        "linear": _linear,
        "matmul": _matmul,
        "reshape": _reshape,
        "transpose": _transpose,
        "concat": _concat,
        "slice": _slice,
        "gather": _gather,
        "expand": _expand,
        "pad": _pad,
        "resize_nearest": _resize,
        "where": _where,
    }
)
"""Rule of every operation by name."""
