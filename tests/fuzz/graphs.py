"""Small random ONNX graphs of all operations that mho reads, float or with quantizers before their layers.

Every node is drawn with attributes that are mostly right; what ONNX's own shape inference refuses is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from graph_drawer import Drawer, Tensor
from graph_layers import LAYERS, draw_window
from onnx import TensorProto
from random_networks import Chooser


def draw_graph(chooser: Chooser, *, is_quantized: bool, most: int = 6) -> onnx.ModelProto:
    """Return a model of one to `most` drawn steps, at least one of them a layer where it is quantized."""
    drawer = Drawer(chooser, is_quantized=is_quantized)
    steps = chooser.integer(1, most)
    for number in range(steps):
        source = drawer.last if chooser.integer(0, 3) else chooser.choice(drawer.maps)
        is_layer = chooser.integer(0, 3) == 0 or (is_quantized and number == 0)
        made = chooser.choice(LAYERS if is_layer else _STEPS)(drawer, source)
        drawer.maps += [made] if made is not None else []
    if len(drawer.maps) == 1:
        made = drawer.one("Relu", drawer.input)
        assert made is not None
        drawer.maps.append(made)
    return drawer.finish()


def _unary(*names: str, **attributes: Sequence[Any]) -> Callable[[Drawer, Tensor], Tensor | None]:
    def draw(drawer: Drawer, x: Tensor) -> Tensor | None:
        op = drawer.chooser.choice(names)
        return drawer.one(op, x, **{key: drawer.chooser.choice(values) for key, values in attributes.items()})

    return draw


def _of_positive(*names: str) -> Callable[[Drawer, Tensor], Tensor | None]:
    """Operations that take numbers above 0."""

    def draw(drawer: Drawer, x: Tensor) -> Tensor | None:
        positive = drawer.one("Abs", x)
        moved = positive and drawer.one("Add", positive, drawer.hold(np.float32(0.5)))
        return moved and drawer.one(drawer.chooser.choice(names), moved)

    return draw


def _clip(drawer: Drawer, x: Tensor) -> Tensor | None:
    low, high = (drawer.hold(np.float32(one)) for one in drawer.chooser.choice(((0, 6), (-1, 1), (-0.5, 2.5))))
    bounds = drawer.chooser.choice(((low, high), (low,), (None, high)))
    return drawer.one("Clip", x, *bounds)


def _binary(drawer: Drawer, x: Tensor) -> Tensor | None:
    chooser, op = drawer.chooser, drawer.chooser.choice(("Add", "Sub", "Mul", "Min", "Max", "Sum", "Mean", "Div"))
    alike = [one for one in drawer.maps if one.shape == x.shape]
    shape = tuple(size if chooser.integer(0, 1) else 1 for size in x.shape)
    shape = shape[chooser.integer(0, len(shape)) :] if chooser.integer(0, 1) else shape
    other = chooser.choice(alike) if chooser.integer(0, 1) else drawer.hold(drawer.array(*shape, low=0.3))
    if op == "Div" and other.name[0] != "c":
        op = "Add"
    pair = (other, x) if chooser.integer(0, 3) == 0 and op != "Div" else (x, other)
    return drawer.one(op, *pair)


def _prelu(drawer: Drawer, x: Tensor) -> Tensor | None:
    shape = x.shape[drawer.chooser.integer(0, len(x.shape)) :]
    return drawer.one("PRelu", x, drawer.hold(drawer.array(*shape)))


def _power(drawer: Drawer, x: Tensor) -> Tensor | None:
    return drawer.one("Pow", x, drawer.hold(np.float32(drawer.chooser.choice((1, 2, 3)))))


def _along_axis(drawer: Drawer, x: Tensor) -> Tensor | None:
    axis = drawer.chooser.integer(-len(x.shape) if drawer.opset >= 13 else 0, len(x.shape) - 1)
    return drawer.one(drawer.chooser.choice(("Softmax", "Softmax", "LogSoftmax")), x, axis=axis)


def _batch_norm(drawer: Drawer, x: Tensor) -> Tensor | None:
    if len(x.shape) < 2:
        return None
    held = [drawer.hold(drawer.array(x.shape[1], low=low)) for low in (0.5, None, None, 0.5)]
    return drawer.one("BatchNormalization", x, *held, epsilon=drawer.chooser.choice((1e-5, 0.1)))


def _layer_norm(drawer: Drawer, x: Tensor) -> Tensor | None:
    if drawer.opset < 17:
        return None
    scale, bias = (drawer.hold(drawer.array(x.shape[-1])) for _ in range(2))
    return drawer.one("LayerNormalization", x, scale, *([bias] if drawer.chooser.integer(0, 1) else []), axis=-1)


def _pool(drawer: Drawer, x: Tensor) -> Tensor | None:
    chooser, rank = drawer.chooser, len(x.shape) - 2
    if rank < 1 or chooser.integer(0, 4) == 0:
        return drawer.one(chooser.choice(("GlobalAveragePool", "GlobalMaxPool")), x) if rank > 0 else None
    op = chooser.choice(("MaxPool", "AveragePool"))
    attributes = {"kernel_shape": [chooser.integer(2, 3) for _ in range(rank)], **draw_window(chooser, rank)}
    if op == "AveragePool":
        attributes["count_include_pad"] = chooser.integer(0, 1)
        if drawer.opset < 19:
            attributes.pop("dilations", None)
    attributes["ceil_mode"] = chooser.integer(0, 1) if "auto_pad" not in attributes else 0
    return drawer.one(op, x, **attributes)


def _reduce(drawer: Drawer, x: Tensor) -> Tensor | None:
    chooser = drawer.chooser
    op = chooser.choice(
        ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceLogSumExp")
    )
    axes = sorted({drawer.axis(x) for _ in range(2)})
    keep = {"keepdims": chooser.integer(0, 1)}
    if drawer.opset >= (13 if op == "ReduceSum" else 18):
        return drawer.one(op, x, drawer.integers(*axes), **keep)
    return drawer.one(op, x, axes=axes, **keep)


# -- movement --------------------------------------------------------------------------------------


def _reshape(drawer: Drawer, x: Tensor) -> Tensor | None:
    size = int(np.prod(x.shape[1:]))
    divisors = [one for one in range(1, size + 1) if size % one == 0]
    one = drawer.chooser.choice(divisors)
    shape = drawer.chooser.choice(
        ((x.shape[0], -1), (0, one, -1), (x.shape[0], one, size // one), (x.shape[0], -1, one, 1))
    )
    if drawer.chooser.integer(0, 3) == 0:
        return drawer.one("Flatten", x, axis=1)
    return drawer.one("Reshape", x, drawer.integers(*shape))


def _squeeze(drawer: Drawer, x: Tensor) -> Tensor | None:
    chooser = drawer.chooser
    axis = chooser.integer(1, len(x.shape))
    op = chooser.choice(("Squeeze", "Unsqueeze"))
    if op == "Squeeze":
        singles = [index for index, size in enumerate(x.shape) if size == 1 and index]
        if not singles:
            return None
        axis = chooser.choice(singles)
    return drawer.one(op, x, drawer.integers(axis)) if drawer.opset >= 13 else drawer.one(op, x, axes=[axis])


def _transpose(drawer: Drawer, x: Tensor) -> Tensor | None:
    perm = [0, *(1 + index for index in drawer.generator.permutation(len(x.shape) - 1))]
    return drawer.one("Transpose", x, perm=[int(axis) for axis in perm])


def _repeat(drawer: Drawer, x: Tensor) -> Tensor | None:
    chooser = drawer.chooser
    if chooser.integer(0, 1):
        repeats = [1, *(chooser.integer(1, 2) for _ in x.shape[1:])]
        return drawer.one("Tile", x, drawer.integers(*repeats))
    shape = [size if size > 1 or not index else chooser.integer(1, 3) for index, size in enumerate(x.shape)]
    return drawer.one("Expand", x, drawer.integers(*shape))


def _slice(drawer: Drawer, x: Tensor) -> Tensor | None:
    chooser, axis = drawer.chooser, drawer.axis(x)
    start, end = chooser.choice(((0, 1), (1, 1000), (-2, 1000), (0, -1), (-1, -1000)))
    step = -1 if end < -999 else chooser.choice((1, 1, 2))
    return drawer.one("Slice", x, *(drawer.integers(one) for one in (start, end, axis, step)))


def _gather(drawer: Drawer, x: Tensor) -> Tensor | None:
    axis = drawer.axis(x)
    indices = drawer.generator.integers(-x.shape[axis], x.shape[axis], drawer.chooser.choice(((), (1,), (3,), (2, 2))))
    return drawer.one("Gather", x, drawer.hold(indices, np.int64), axis=axis)


def _split(drawer: Drawer, x: Tensor) -> Tensor | None:
    axis = drawer.axis(x)
    size = x.shape[axis]
    if size < 2 or drawer.opset < 13:
        return None
    first = drawer.chooser.integer(1, size - 1)
    parts = drawer.emit("Split", [x, drawer.integers(first, size - first)], 2, axis=axis)
    return drawer.chooser.choice(parts) if parts else None


def _concat(drawer: Drawer, x: Tensor) -> Tensor | None:
    axis = drawer.axis(x)
    rest = (*x.shape[:axis], *x.shape[axis + 1 :])
    fitting = [
        one
        for one in drawer.maps
        if len(one.shape) == len(x.shape) and (*one.shape[:axis], *one.shape[axis + 1 :]) == rest
    ]
    return drawer.one("Concat", x, drawer.chooser.choice(fitting), axis=axis)


def _pad(drawer: Drawer, x: Tensor) -> Tensor | None:
    ends = [drawer.chooser.integer(0, 2) if index % len(x.shape) else 0 for index in range(2 * len(x.shape))]
    value = [drawer.hold(np.float32(drawer.chooser.choice((0, -1, 0.5))))] if drawer.chooser.integer(0, 1) else []
    if drawer.chooser.integer(0, 2) == 0 and all(size > 2 for size in x.shape[1:]):
        return drawer.one("Pad", x, drawer.integers(*ends), mode=drawer.chooser.choice(("reflect", "edge")))
    return drawer.one("Pad", x, drawer.integers(*ends), *value)


def _resize(drawer: Drawer, x: Tensor) -> Tensor | None:
    chooser = drawer.chooser
    if len(x.shape) != 4:
        return None
    scales = [1.0, 1.0, *(float(chooser.integer(1, 3)) for _ in range(2))]
    attributes: dict[str, Any] = {
        "mode": "nearest",
        "coordinate_transformation_mode": chooser.choice(("asymmetric", "asymmetric", "half_pixel")),
        "nearest_mode": chooser.choice(("floor", "floor", "round_prefer_floor")),
    }
    if drawer.opset < 13 or chooser.integer(0, 1):
        roi = drawer.hold(np.zeros(0, np.float32))
        return drawer.one("Resize", x, roi, drawer.hold(scales, np.float32), **attributes)
    if drawer.opset >= 18 and chooser.integer(0, 1):
        attributes["keep_aspect_ratio_policy"] = chooser.choice(("stretch", "not_larger", "not_smaller"))
    sizes = drawer.integers(*(round(size * scale) for size, scale in zip(x.shape, scales, strict=True)))
    return drawer.one("Resize", x, None, None, sizes, **attributes)


def _interpolate(drawer: Drawer, x: Tensor) -> Tensor | None:
    chooser = drawer.chooser
    if len(x.shape) != 4 or drawer.opset < 13:
        return None
    scales = drawer.hold([1.0, 1.0, *(chooser.choice((0.5, 0.8, 1.5, 2.0)) for _ in range(2))], np.float32)
    coordinates = chooser.choice(("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"))
    # Weights of 0 make NaN of infinities, and where they are 0 depends on the order of axes.
    bounded = drawer.one("Clip", x, *(drawer.hold(np.float32(one)) for one in (-1e4, 1e4)))
    keys = {"mode": "linear", "coordinate_transformation_mode": coordinates}
    return bounded and drawer.one("Resize", bounded, None, scales, **keys)


def _instance_norm(drawer: Drawer, x: Tensor) -> Tensor | None:
    if len(x.shape) < 3:
        return None
    scale, bias = (drawer.hold(drawer.array(x.shape[1])) for _ in range(2))
    return drawer.one("InstanceNormalization", x, scale, bias, epsilon=0.1)


def _cumulate(drawer: Drawer, x: Tensor) -> Tensor | None:
    keys = {key: drawer.chooser.integer(0, 1) for key in ("exclusive", "reverse")}
    return drawer.one("CumSum", x, drawer.hold(drawer.axis(x), np.int64), **keys)


def _triangle(drawer: Drawer, x: Tensor) -> Tensor | None:
    if len(x.shape) < 2 or drawer.opset < 14:
        return None
    return drawer.one(
        "Trilu", x, drawer.hold(drawer.chooser.integer(-1, 1), np.int64), upper=drawer.chooser.integer(0, 1)
    )


def _blocks(drawer: Drawer, x: Tensor) -> Tensor | None:
    if len(x.shape) != 4:
        return None
    if x.shape[1] % 4 == 0:
        return drawer.one("DepthToSpace", x, blocksize=2, mode=drawer.chooser.choice(("DCR", "CRD")))
    return drawer.one("SpaceToDepth", x, blocksize=2) if x.shape[2] % 2 == x.shape[3] % 2 == 0 else None


def _pick(drawer: Drawer, x: Tensor) -> Tensor | None:
    axis = drawer.axis(x)
    indices = drawer.generator.integers(-x.shape[axis], x.shape[axis], x.shape)
    return drawer.one("GatherElements", x, drawer.hold(indices, np.int64), axis=axis)


def _largest(drawer: Drawer, x: Tensor) -> Tensor | None:
    axis = drawer.axis(x)
    count = drawer.integers(drawer.chooser.integer(1, x.shape[axis]))
    parts = drawer.emit("TopK", [x, count], 2, axis=axis, largest=drawer.chooser.integer(0, 1))
    return parts[0] if parts else None


def _smaller(drawer: Drawer, x: Tensor) -> Tensor | None:
    """The smaller of two numbers, by a comparison."""
    limit = drawer.hold(drawer.array(x.shape[-1]))
    less = drawer.one(drawer.chooser.choice(("Less", "LessOrEqual") if drawer.opset >= 13 else ("Less",)), x, limit)
    return less and drawer.one("Where", less, x, limit)


def _where(drawer: Drawer, x: Tensor) -> Tensor | None:
    chooser = drawer.chooser
    mask = drawer.hold(drawer.generator.integers(0, 2, x.shape[chooser.integer(0, len(x.shape) - 1) :]), bool)
    alike = [one for one in drawer.maps if one.shape == x.shape]
    other = (
        drawer.hold(np.float32(chooser.choice((0, 1, -1e9, -np.inf))))
        if chooser.integer(0, 1)
        else chooser.choice(alike)
    )
    return drawer.one("Where", mask, *((x, other) if chooser.integer(0, 1) else (other, x)))


def _masked_softmax(drawer: Drawer, x: Tensor) -> Tensor | None:
    """Softmax behind one or two masks that leave the first index of the last axis."""
    for _ in range(drawer.chooser.integer(1, 2)):
        mask = drawer.generator.integers(0, 2, x.shape[-1]).astype(bool)
        mask[0] = True
        masked = drawer.one("Where", drawer.hold(mask), x, drawer.hold(np.float32(-np.inf)))
        assert masked is not None
        x = masked
    return drawer.one("Softmax", x, axis=len(x.shape) - 1)


def _cast(drawer: Drawer, x: Tensor) -> Tensor | None:
    kind = drawer.chooser.choice((TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT))
    made = drawer.one("Cast", x, to=kind)
    return made and drawer.one("Cast", made, to=TensorProto.FLOAT)


_STEPS = (
    _unary("Relu", "Sigmoid", "Tanh", "Erf", "Neg", "Abs", "Identity", "Exp"),
    _unary("Relu", "Sigmoid", "Tanh", "Erf", "Neg", "Abs", "Identity", "HardSwish"),
    _unary("LeakyRelu", "Elu", "Celu", "ThresholdedRelu", alpha=(0.01, 0.5)),
    _unary("Selu", "Softplus", "Softsign", "Mish", "Sin", "Cos"),
    _prelu,
    _unary("HardSigmoid", alpha=(0.2, 1 / 6)),
    _unary("Gelu", approximate=("none", "tanh")),
    _of_positive("Log", "Sqrt", "Reciprocal"),
    _clip, _binary, _binary, _power, _along_axis, _batch_norm, _layer_norm, _pool, _pool, _reduce, _reshape, _squeeze,
    _transpose, _repeat, _slice, _gather, _split, _concat, _pad, _resize, _where, _masked_softmax, _cast,
    _interpolate, _instance_norm, _cumulate, _triangle, _blocks, _pick, _largest, _smaller,
)  # fmt: skip
