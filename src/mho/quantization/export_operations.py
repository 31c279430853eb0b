"""ONNX nodes of every digital operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mho.arithmetic.attributes import get_float, get_floats, get_int, get_ints, get_text
from mho.network.graph import Grid, Node
from mho.quantization.export import ModelWriter
from mho.quantization.export_grids import write_quantizer

OperationWriter = Callable[[ModelWriter, Node], None]


def _direct(op_type: str, attributes: Callable[[Node], dict[str, Any]] | None = None) -> OperationWriter:
    """Write one node with the same operands."""

    def write(writer: ModelWriter, node: Node) -> None:
        inputs = [writer.hold(name) for name in node.inputs]
        writer.emit(op_type, inputs, node.output, name=node.name, **(attributes(node) if attributes else {}))

    return write


def _clip(writer: ModelWriter, node: Node) -> None:
    bounds = [
        writer.constant(f"{node.name}/{key}", get_float(node.attributes, key), np.float32) for key in ("min", "max")
    ]
    writer.emit("Clip", [node.inputs[0], *bounds], node.output, name=node.name)


def _power(writer: ModelWriter, node: Node) -> None:
    exponent = writer.constant(f"{node.name}/exponent", get_float(node.attributes, "exponent"), np.float32)
    writer.emit("Pow", [node.inputs[0], exponent], node.output, name=node.name)


def _silu(writer: ModelWriter, node: Node) -> None:
    gate = writer.emit("Sigmoid", node.inputs, f"{node.output}/sigmoid", name=f"{node.name}/sigmoid")
    writer.emit("Mul", [node.inputs[0], gate], node.output, name=node.name)


def _batch_norm(node: Node) -> dict[str, Any]:
    assert node.attributes["axis"] == 1, "ONNX normalizes along axis 1, and so does what is read from it"
    return {"epsilon": get_float(node.attributes, "epsilon")}


def _layer_norm(node: Node) -> dict[str, Any]:
    return {"axis": get_int(node.attributes, "axis"), "epsilon": get_float(node.attributes, "epsilon")}


def _pool(node: Node) -> dict[str, Any]:
    values = node.attributes
    attributes = {
        "kernel_shape": get_ints(values, "kernel"),
        "strides": get_ints(values, "strides"),
        "pads": get_ints(values, "pads"),
        "dilations": get_ints(values, "dilations"),
        "ceil_mode": int(bool(values["ceil_mode"])),
    }
    if node.op == "average_pool":
        attributes["count_include_pad"] = int(bool(values["count_include_pad"]))
    return attributes


def _reduce(op_type: str) -> OperationWriter:
    def write(writer: ModelWriter, node: Node) -> None:
        axes = writer.constant(f"{node.name}/axes", get_ints(node.attributes, "axes"), np.int64)
        keepdims = int(bool(node.attributes["keepdims"]))
        writer.emit(op_type, [node.inputs[0], axes], node.output, name=node.name, keepdims=keepdims)

    return write


def _reshape(writer: ModelWriter, node: Node) -> None:
    shape = get_ints(node.attributes, "shape")
    if writer.is_batched:
        shape = (0, *shape[1:])  # 0 keeps what the input has there: any number of samples
    held = writer.constant(f"{node.name}/shape", shape, np.int64)
    writer.emit("Reshape", [node.inputs[0], held], node.output, name=node.name)


def _slice(writer: ModelWriter, node: Node) -> None:
    starts, ends, axes, steps = (list(get_ints(node.attributes, key)) for key in ("starts", "ends", "axes", "steps"))
    # Before index 0 is -1 here, which ONNX would count from the back.
    ends = [np.iinfo(np.int64).min if end < 0 else end for end in ends]
    operands = zip(("starts", "ends", "axes", "steps"), (starts, ends, axes, steps), strict=True)
    held = [writer.constant(f"{node.name}/{key}", value, np.int64) for key, value in operands]
    writer.emit("Slice", [node.inputs[0], *held], node.output, name=node.name)


def _expand(writer: ModelWriter, node: Node) -> None:
    shape = writer.constant(f"{node.name}/shape", get_ints(node.attributes, "shape"), np.int64)
    writer.emit("Expand", [node.inputs[0], shape], node.output, name=node.name)


def _pad(writer: ModelWriter, node: Node) -> None:
    pads = writer.constant(f"{node.name}/pads", get_ints(node.attributes, "pads"), np.int64)
    value = writer.constant(f"{node.name}/value", get_float(node.attributes, "value"), np.float32)
    writer.emit("Pad", [node.inputs[0], pads, value], node.output, name=node.name)


def _resize(writer: ModelWriter, node: Node) -> None:
    scales = writer.constant(f"{node.name}/scales", get_floats(node.attributes, "scales"), np.float32)
    writer.emit(
        "Resize",
        [node.inputs[0], "", scales],
        node.output,
        name=node.name,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _fake_quantize(writer: ModelWriter, node: Node) -> None:
    low, high, zero_point = (get_int(node.attributes, key) for key in ("qmin", "qmax", "zero_point"))
    bits = (high - low).bit_length()
    scale = np.asarray(get_float(node.attributes, "scale"), np.float32)
    grid = Grid(scale, np.asarray(zero_point, np.int64), low, high, max(bits, 2))
    write_quantizer(writer, node.inputs[0], grid, node.output, name=node.name)


def _where(writer: ModelWriter, node: Node) -> None:
    chosen, other, mask = (writer.hold(name) for name in node.inputs)
    writer.emit("Where", [mask, chosen, other], node.output, name=node.name)


def _cast(writer: ModelWriter, node: Node) -> None:
    from onnx import TensorProto

    types = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
    to = types[get_text(node.attributes, "to")]
    narrow = writer.emit("Cast", node.inputs, f"{node.output}/narrow", name=node.name, to=to)
    writer.emit("Cast", [narrow], node.output, name=f"{node.name}/widen", to=TensorProto.FLOAT)


def _axis(node: Node) -> dict[str, Any]:
    return {"axis": get_int(node.attributes, "axis")}


OPERATION_WRITERS: dict[str, OperationWriter] = {
    "relu": _direct("Relu"),
    "clip": _clip,
    "leaky_relu": _direct("LeakyRelu", lambda node: {"alpha": get_float(node.attributes, "alpha")}),
    "sigmoid": _direct("Sigmoid"),
    "hard_sigmoid": _direct(
        "HardSigmoid",
        lambda node: {"alpha": get_float(node.attributes, "alpha"), "beta": get_float(node.attributes, "beta")},
    ),
    "hard_swish": _direct("HardSwish"),
    "silu": _silu,
    "tanh": _direct("Tanh"),
    "gelu": _direct("Gelu", lambda node: {"approximate": get_text(node.attributes, "approximate")}),
    "erf": _direct("Erf"),
    "exp": _direct("Exp"),
    "log": _direct("Log"),
    "sqrt": _direct("Sqrt"),
    "reciprocal": _direct("Reciprocal"),
    "neg": _direct("Neg"),
    "abs": _direct("Abs"),
    "pow": _power,
    "softmax": _direct("Softmax", _axis),
    "log_softmax": _direct("LogSoftmax", _axis),
    "add": _direct("Add"),
    "sub": _direct("Sub"),
    "mul": _direct("Mul"),
    "div": _direct("Div"),
    "where": _where,
    "minimum": _direct("Min"),
    "maximum": _direct("Max"),
    "batch_norm": _direct("BatchNormalization", _batch_norm),
    "layer_norm": _direct("LayerNormalization", _layer_norm),
    "max_pool": _direct("MaxPool", _pool),
    "average_pool": _direct("AveragePool", _pool),
    "reduce_mean": _reduce("ReduceMean"),
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_max": _reduce("ReduceMax"),
    "reshape": _reshape,
    "transpose": _direct("Transpose", lambda node: {"perm": get_ints(node.attributes, "perm")}),
    "concat": _direct("Concat", _axis),
    "slice": _slice,
    "gather": _direct("Gather", _axis),
    "expand": _expand,
    "pad": _pad,
    "cast": _cast,
    "resize_nearest": _resize,
    "fake_quantize": _fake_quantize,
}
