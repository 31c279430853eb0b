"""Normalizations, reductions and the like that are composed of operations that mho has."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mho.network.draft import Unsupported
from mho.network.onnx_graph import Converter, GraphReader
from mho.network.onnx_steps import Steps
from mho.network.onnx_values import OnnxNode, normalize_axes, normalize_axis

Compose = Callable[[Steps], str]

_MOST_FACTORS = 256
_MOST_SUMMED = 1 << 22
"""Elements of all partial sums of CumSum."""


def composed(compose: Compose) -> Converter:
    """Make the converter of a node with one output, which `compose` returns the name of."""

    def convert(reader: GraphReader, node: OnnxNode) -> None:
        steps = Steps(reader, node)
        steps.finish(compose(steps))

    return convert


def _normalized(steps: Steps, x: str, axis: int, epsilon: float) -> str:
    """Return (x - mean) / sqrt(variance + epsilon) over the axes from `axis` on."""
    ones = steps.constant(np.ones(1, np.float32))
    return steps("LayerNormalization", x, ones, axis=axis, epsilon=epsilon)


def _per_channel(steps: Steps, name: str, rank: int) -> str:
    return steps.reshape(name, -1, *(1,) * (rank - 2))


def _instance_norm(steps: Steps) -> str:
    x, scale, bias = (steps.operand(index) for index in range(3))
    shape = steps.shape(x)
    flat = steps.reshape(x, *shape[:2], -1)
    made = steps.reshape(_normalized(steps, flat, 2, steps.node.number("epsilon", 1e-5)), *shape)
    scaled = steps("Mul", made, _per_channel(steps, scale, len(shape)))
    return steps("Add", scaled, _per_channel(steps, bias, len(shape)))


def _group_norm(steps: Steps) -> str:
    x, scale, bias = (steps.operand(index) for index in range(3))
    shape, groups = steps.shape(x), steps.node.integer("num_groups", 1)
    if groups < 1 or shape[1] % groups:
        raise Unsupported(f"has {groups} groups of {shape[1]} channels")
    flat = steps.reshape(x, shape[0], groups, -1)
    made = _normalized(steps, flat, 2, steps.node.number("epsilon", 1e-5))
    if steps.shape(scale) != (shape[1],):  # before opset 21: one a group
        scale, bias = (
            steps.reshape(steps("Expand", steps.reshape(name, -1, 1), steps.whole(groups, shape[1] // groups)), -1)
            for name in (scale, bias)
        )
    scaled = steps("Mul", steps.reshape(made, *shape), _per_channel(steps, scale, len(shape)))
    return steps("Add", scaled, _per_channel(steps, bias, len(shape)))


def _rms_norm(steps: Steps) -> str:
    x, scale = steps.operand(0), steps.operand(1)
    rank = len(steps.shape(x))
    axes = tuple(range(normalize_axis(steps.node.integer("axis", -1), rank), rank))
    mean = steps("ReduceMean", steps("Mul", x, x), axes=axes, keepdims=1)
    root = steps("Sqrt", steps("Add", mean, steps.number(steps.node.number("epsilon", 1e-5))))
    return steps("Mul", steps("Div", x, root), scale)


def _mean_variance_norm(steps: Steps) -> str:
    x, axes = steps.operand(0), steps.node.integers("axes") or (0, 2, 3)
    centred = steps("Sub", x, steps("ReduceMean", x, axes=axes, keepdims=1))
    variance = steps("ReduceMean", steps("Mul", centred, centred), axes=axes, keepdims=1)
    return steps("Div", centred, steps("Add", steps("Sqrt", variance), steps.number(1e-9)))


def _lp_norm(steps: Steps) -> str:
    x, axis, order = steps.operand(0), steps.node.integer("axis", -1), steps.node.integer("p", 2)
    if order not in (1, 2):
        raise Unsupported(f"normalizes by the norm of order {order}")
    return steps("Div", x, steps(f"ReduceL{order}", x, axes=(axis,), keepdims=1))


def _local_response_norm(steps: Steps) -> str:
    x, size = steps.operand(0), steps.node.integer("size", 1)
    shape = steps.shape(x)
    squares = steps.reshape(steps("Mul", x, x), shape[0], 1, shape[1], -1)
    mean = steps(
        "AveragePool", squares, kernel_shape=(size, 1), pads=((size - 1) // 2, 0, size - 1 - (size - 1) // 2, 0),
        count_include_pad=1,
    )  # fmt: skip
    scaled = steps("Mul", steps.reshape(mean, *shape), steps.number(steps.node.number("alpha", 1e-4)))
    base = steps("Add", scaled, steps.number(steps.node.number("bias", 1.0)))
    return steps("Div", x, steps("Pow", base, steps.number(steps.node.number("beta", 0.75))))


def _reduced(before: Callable[[Steps, str], str] | None, op: str, after: str = "") -> Converter:
    """Make the converter of a reduction: something elementwise before it, and after it."""

    def compose(steps: Steps) -> str:
        x = steps.operand(0)
        axes, keepdims = _axes(steps, x), steps.node.flag("keepdims", 1)
        made = steps(op, before(steps, x) if before else x, axes=axes, keepdims=keepdims)
        return steps(after, made) if after else made

    return composed(compose)


def _axes(steps: Steps, x: str) -> tuple[int, ...]:
    node, rank = steps.node, len(steps.shape(x))
    axes = node.integers("axes") or steps.reader.whole_numbers(node, 1, "axes")
    if not axes and node.flag("noop_with_empty_axes", 0):
        raise Unsupported("reduces no axes")
    return tuple(sorted(normalize_axes(axes or tuple(range(rank)), rank)))


def _square(steps: Steps, x: str) -> str:
    return steps("Mul", x, x)


def _log_sum_exp(steps: Steps) -> str:
    """log of the sum of e^x, from which the largest x is taken off and added again."""
    x = steps.operand(0)
    axes, keepdims = _axes(steps, x), steps.node.flag("keepdims", 1)
    largest = steps("ReduceMax", x, axes=axes, keepdims=1)
    total = steps("ReduceSum", steps("Exp", steps("Sub", x, largest)), axes=axes, keepdims=1)
    result = steps("Add", steps("Log", total), largest)
    return result if keepdims else steps.reshape(result, *_without(steps.shape(x), axes))


def _without(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _product(steps: Steps) -> str:
    x = steps.operand(0)
    axes, shape = _axes(steps, x), steps.shape(x)
    if math.prod(shape[axis] for axis in axes) > _MOST_FACTORS:
        raise Unsupported(f"multiplies more than {_MOST_FACTORS} elements")
    for axis in axes:
        parts = [steps("Slice", x, *(steps.whole(v) for v in (i, i + 1, axis))) for i in range(shape[axis])]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=False)
            parts = [steps("Mul", *pair) for pair in pairs] + parts[len(parts) - len(parts) % 2 :]
        x = parts[0]
    return x if steps.node.flag("keepdims", 1) else steps.reshape(x, *_without(shape, axes))


def _cumulative_sum(steps: Steps) -> str:
    """Sums of masked copies: element i is the sum of those that the mask of row i keeps."""
    x, node = steps.operand(0), steps.node
    shape = steps.shape(x)
    axis = normalize_axis(int(steps.reader.number(node, 1, "axes")), len(shape))
    size, exclusive = shape[axis], node.flag("exclusive", 0)
    if math.prod(shape) * size > _MOST_SUMMED:
        raise Unsupported(f"sums up {list(shape)} along an axis of {size}")
    places = np.arange(size)
    mask = places[None] + exclusive <= places[:, None]
    if node.flag("reverse", 0):
        mask = mask[::-1, ::-1]
    mask = mask.reshape(size, size, *(1,) * (len(shape) - axis - 1))
    copies = steps.reshape(x, *shape[:axis], 1, *shape[axis:])
    zero = steps.constant(np.zeros((), np.dtype(steps.reader.type_of(x))))
    kept = steps("Where", steps.constant(np.ascontiguousarray(mask)), copies, zero)
    return steps("ReduceSum", kept, axes=(axis + 1,), keepdims=0)


def _triangle(steps: Steps) -> str:
    x, node = steps.operand(0), steps.node
    offset = int(steps.reader.number(node, 1, "diagonals")) if node.has_input(1) else 0
    ones = np.ones(steps.shape(x)[-2:], np.bool_)
    mask = np.triu(ones, offset) if node.integer("upper", 1) else np.tril(ones, offset)
    zero = steps.constant(np.zeros((), np.dtype(steps.reader.type_of(x))))
    return steps("Where", steps.constant(mask), x, zero)


def _swish(steps: Steps) -> str:
    x, alpha = steps.operand(0), steps.node.number("alpha", 1.0)
    return steps("Mul", x, steps("Sigmoid", x if alpha == 1.0 else steps("Mul", x, steps.number(alpha))))


def _shrink(steps: Steps) -> str:
    x, limit, bias = steps.operand(0), steps.node.number("lambd", 0.5), steps.node.number("bias", 0.0)
    above = steps(
        "Where", steps("Greater", x, steps.number(limit)), steps("Sub", x, steps.number(bias)), steps.number(0)
    )
    return steps("Where", steps("Less", x, steps.number(-limit)), steps("Add", x, steps.number(bias)), above)


def _tangent(steps: Steps) -> str:
    return steps("Div", steps("Sin", steps.operand(0)), steps("Cos", steps.operand(0)))


def _one_hot(steps: Steps) -> str:
    """1 where an index along a new axis is that of the operand: the values are off and on."""
    indices, node = steps.operand(0), steps.node
    depth, values = int(steps.reader.number(node, 1, "depths")), steps.reader.constant(node, 2, "values")
    rank = len(steps.shape(indices))
    axis = normalize_axis(node.integer("axis", -1), rank + 1)
    places = np.arange(depth).reshape(depth, *(1,) * (rank - axis))
    shape = list(steps.shape(indices))
    shape.insert(axis, 1)
    indices = steps("Cast", steps.reshape(indices, *shape), to=7)
    indices = steps("Where", steps("Less", indices, steps.whole(0)), steps("Add", indices, steps.whole(depth)), indices)
    hot = steps("Equal", indices, steps.constant(places))
    return steps("Where", hot, steps.constant(values[1]), steps.constant(values[0]))


CONVERTERS: dict[str, Converter] = {
    "InstanceNormalization": composed(_instance_norm),
    "GroupNormalization": composed(_group_norm),
    "RMSNormalization": composed(_rms_norm),
    "MeanVarianceNormalization": composed(_mean_variance_norm),
    "LpNormalization": composed(_lp_norm),
    "LRN": composed(_local_response_norm),
    "ReduceL1": _reduced(lambda steps, x: steps("Abs", x), "ReduceSum"),
    "ReduceL2": _reduced(_square, "ReduceSum", "Sqrt"),
    "ReduceSumSquare": _reduced(_square, "ReduceSum"),
    "ReduceLogSum": _reduced(None, "ReduceSum", "Log"),
    "ReduceLogSumExp": composed(_log_sum_exp),
    "ReduceMin": _reduced(lambda steps, x: steps("Neg", x), "ReduceMax", "Neg"),
    "ReduceProd": composed(_product),
    "CumSum": composed(_cumulative_sum),
    "Trilu": composed(_triangle),
    "Swish": composed(_swish),
    "Shrink": composed(_shrink),
    "Tan": composed(_tangent),
    "OneHot": composed(_one_hot),
}
