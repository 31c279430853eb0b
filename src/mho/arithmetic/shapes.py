"""Per-sample output shapes of every operation: pure integers, no torch, so that a model is costed without loading it.

Each function takes the shapes of the operands (activations without their sample axis, constants as they are) and the
node's attributes, and returns the shape of the output. A `ShapeError` says what does not fit; the reader adds the node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from mho.arithmetic.attributes import Attributes, Shape, get_floats, get_int, get_ints

_LARGEST = (1 << 31) - 1
"""Of what describes windows: kernels of processors count in 32 bits."""

_MAX_TAPS = 1 << 14
"""Elements of a window: they are enumerated, and take lines of code each in a program."""


class ShapeError(ValueError):
    """Operands' shapes do not fit the operation."""


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape that `shapes` broadcast to by NumPy's rules. Raises `ShapeError`."""
    rank = max((len(shape) for shape in shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, start=rank - len(shape)):
            if size != 1 and result[axis] not in (1, size):
                raise ShapeError(f"shapes {', '.join(str(list(s)) for s in shapes)} do not broadcast")
            result[axis] = size if size != 1 else result[axis]
    return tuple(result)


def window_extent(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int, ceil: bool) -> int:
    """Return how many windows fit along one axis of a convolution or pooling.

    With `ceil` a last, partly empty window counts if it starts inside the input or its leading padding (ONNX).
    """
    if min(kernel, stride, dilation) < 1 or min(pads) < 0:
        raise ShapeError(f"a window of {kernel} with stride {stride}, dilation {dilation} and padding {list(pads)}")
    room = size + sum(pads) - dilation * (kernel - 1) - 1
    if room < 0:
        raise ShapeError(f"a window of {dilation * (kernel - 1) + 1} does not fit {size} + padding {sum(pads)}")
    extent = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (extent - 1) * stride >= size + pads[0]:
        extent -= 1
    return extent


def infer_conv(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x[B, C, H, W], weight[O, C / groups, kh, kw], optional bias[O] -> [B, O, oh, ow]."""
    (batch, channels, *sizes), (outputs, per_group, *kernel) = shapes[0], shapes[1]
    groups = get_int(attributes, "groups")
    if len(sizes) != 2 or len(kernel) != 2:
        raise ShapeError(f"input {list(shapes[0])} and weight {list(shapes[1])} are not two-dimensional")
    if per_group * groups != channels or outputs % groups:
        raise ShapeError(f"{channels} channels and {outputs} outputs do not fit {groups} groups of {per_group}")
    _check_bias(shapes, outputs)
    return (batch, outputs, *_windows(sizes, attributes, ceil=False))


def infer_linear(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x[..., K], weight[outputs, K], optional bias[outputs] -> [..., outputs]."""
    del attributes
    outputs, inputs = shapes[1]
    if not shapes[0] or shapes[0][-1] != inputs:
        raise ShapeError(f"input {list(shapes[0])} does not meet {inputs} rows")
    _check_bias(shapes, outputs)
    return (*shapes[0][:-1], outputs)


def infer_matmul(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """a[..., M, K], b[..., K, N] -> [..., M, N]; leading axes equal."""
    del attributes
    a, b = shapes
    if len(a) < 2 or len(a) != len(b) or a[:-2] != b[:-2] or a[-1] != b[-2]:
        raise ShapeError(f"{list(a)} and {list(b)} do not multiply")
    return (*a[:-1], b[-1])


def infer_same(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Elementwise on the first operand: its shape."""
    del attributes
    return shapes[0]


def infer_broadcast(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Elementwise on several operands: their broadcast shape."""
    del attributes
    return broadcast(*shapes)


def infer_cast(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Elementwise; `to` is float16 or bfloat16."""
    if attributes["to"] not in ("float16", "bfloat16"):
        raise ShapeError(f"no type {attributes['to']!r}")
    return shapes[0]


def infer_batch_norm(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x, and scale, bias, mean and variance [size of `axis`] -> the shape of x."""
    axis = get_int(attributes, "axis")
    if len(shapes) != 5 or not 0 <= axis < len(shapes[0]) or any(shape != (shapes[0][axis],) for shape in shapes[1:]):
        raise ShapeError(f"parameters {[list(shape) for shape in shapes[1:]]} for axis {axis} of {list(shapes[0])}")
    return shapes[0]


def infer_layer_norm(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x, and scale and optional bias, which broadcast to the axes of x from `axis` on -> the shape of x."""
    normalized = shapes[0][get_int(attributes, "axis") :]
    if any(broadcast(shape, normalized) != normalized for shape in shapes[1:]):
        raise ShapeError(f"parameters {[list(shape) for shape in shapes[1:]]} for {list(normalized)}")
    return shapes[0]


def infer_pool(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x[B, C, H, W] -> [B, C, oh, ow]."""
    batch, channels, *sizes = shapes[0]
    if len(sizes) != 2:
        raise ShapeError(f"input {list(shapes[0])} is not two-dimensional")
    kernel, pads, dilations = (get_ints(attributes, key) for key in ("kernel", "pads", "dilations"))
    extents = _windows(sizes, attributes, ceil=bool(attributes["ceil_mode"]))
    for i, size in enumerate(sizes):
        if max(pads[i], pads[i + 2]) > dilations[i] * (kernel[i] - 1) or (pads[i] and dilations[i] > size):
            raise ShapeError(f"pads {list(pads)} hold whole windows of {kernel[i]} with dilation {dilations[i]}")
    return (batch, channels, *extents)


def infer_reduce(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Drop `axes`, or keep them with size 1."""
    axes = get_ints(attributes, "axes")
    if attributes["keepdims"]:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shapes[0]))
    return tuple(size for axis, size in enumerate(shapes[0]) if axis not in axes)


def infer_reshape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """The attribute `shape`, complete and of the same size."""
    shape = get_ints(attributes, "shape")
    if math.prod(shape) != math.prod(shapes[0]):
        raise ShapeError(f"{list(shapes[0])} does not reshape to {list(shape)}")
    return shape


def infer_transpose(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Axis i of the output is axis perm[i] of the input."""
    perm = get_ints(attributes, "perm")
    if sorted(perm) != list(range(len(shapes[0]))):
        raise ShapeError(f"{list(perm)} is no permutation of the axes of {list(shapes[0])}")
    return tuple(shapes[0][axis] for axis in perm)


def infer_concat(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Operands side by side along `axis`."""
    axis = get_int(attributes, "axis")
    first = shapes[0]
    for shape in shapes:
        if len(shape) != len(first) or shape[:axis] != first[:axis] or shape[axis + 1 :] != first[axis + 1 :]:
            raise ShapeError(f"{list(first)} and {list(shape)} do not stack along axis {axis}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def infer_slice(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Along axes[i]: from starts[i] to ends[i] (exclusive; -1 stands before index 0 where the step is negative)."""
    shape = list(shapes[0])
    triples = zip(
        get_ints(attributes, "starts"), get_ints(attributes, "ends"), get_ints(attributes, "steps"), strict=True
    )
    for axis, (start, end, step) in zip(get_ints(attributes, "axes"), triples, strict=True):
        shape[axis] = len(range(start, end, step))
    return tuple(shape)


def infer_gather(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x, constant indices (any shape): the indices' axes take the place of `axis`."""
    axis = get_int(attributes, "axis")
    return (*shapes[0][:axis], *shapes[1], *shapes[0][axis + 1 :])


def infer_expand(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """The attribute `shape`, which the input broadcasts to."""
    shape = get_ints(attributes, "shape")
    if broadcast(shapes[0], shape) != shape:
        raise ShapeError(f"{list(shapes[0])} does not expand to {list(shape)}")
    return shape


def infer_pad(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """`pads` holds what goes before each axis, then what goes after each axis; all >= 0."""
    pads = get_ints(attributes, "pads")
    rank = len(shapes[0])
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        raise ShapeError(f"pads {list(pads)} for {list(shapes[0])}")
    return tuple(size + before + after for size, before, after in zip(shapes[0], pads[:rank], pads[rank:], strict=True))


def infer_resize(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Whole-numbered `scales`, one an axis."""
    scales = get_floats(attributes, "scales")
    if len(scales) != len(shapes[0]):
        raise ShapeError(f"scales {list(scales)} for {list(shapes[0])}")
    return tuple(int(size * scale) for size, scale in zip(shapes[0], scales, strict=True))


def _windows(sizes: Sequence[int], attributes: Attributes, *, ceil: bool) -> Shape:
    kernel, strides = get_ints(attributes, "kernel"), get_ints(attributes, "strides")
    pads, dilations = get_ints(attributes, "pads"), get_ints(attributes, "dilations")
    if (len(kernel), len(strides), len(pads), len(dilations)) != (2, 2, 4, 2):
        raise ShapeError(f"kernel {kernel}, strides {strides}, pads {pads}, dilations {dilations} over two axes")
    if max(*kernel, *strides, *pads, *dilations) > _LARGEST or math.prod(kernel) > _MAX_TAPS:
        raise ShapeError(f"kernel {list(kernel)}, strides {list(strides)}, pads {list(pads)}: at most {_MAX_TAPS} taps")
    return tuple(
        window_extent(sizes[i], kernel[i], strides[i], (pads[i], pads[i + 2]), dilations[i], ceil) for i in range(2)
    )


def _check_bias(shapes: Sequence[Shape], outputs: int) -> None:
    if len(shapes) > 2 and shapes[2] != (outputs,):
        raise ShapeError(f"bias {list(shapes[2])} for {outputs} outputs")


ShapeRule = Callable[[Sequence[Shape], Attributes], Shape]

_SAME = """relu clip leaky_relu sigmoid hard_sigmoid hard_swish silu tanh gelu erf exp log sqrt reciprocal neg abs pow
softmax log_softmax fake_quantize"""
_BROADCAST = "add sub mul div minimum maximum where"

SHAPE_RULES: Mapping[str, ShapeRule] = MappingProxyType(
    {
        "conv": infer_conv,
        "linear": infer_linear,
        "matmul": infer_matmul,
        **dict.fromkeys(_SAME.split(), infer_same),
        **dict.fromkeys(_BROADCAST.split(), infer_broadcast),
        "cast": infer_cast,
        "batch_norm": infer_batch_norm,
        "layer_norm": infer_layer_norm,
        "max_pool": infer_pool,
        "average_pool": infer_pool,
        "reduce_mean": infer_reduce,
        "reduce_sum": infer_reduce,
        "reduce_max": infer_reduce,
        "reshape": infer_reshape,
        "transpose": infer_transpose,
        "concat": infer_concat,
        "slice": infer_slice,
        "gather": infer_gather,
        "expand": infer_expand,
        "pad": infer_pad,
        "resize_nearest": infer_resize,
    }
)
"""Shape rule of every operation by name: what a `Network` may hold."""


def infer_shape(op: str, shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Return the per-sample output shape of operation `op`. Raises `ShapeError` or `KeyError` for an unknown one."""
    return SHAPE_RULES[op](shapes, attributes)
