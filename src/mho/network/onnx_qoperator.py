"""The QOperator form of quantized files, and what ONNX Runtime's dynamic quantization makes.

QLinearX is DequantizeLinear, X, QuantizeLinear. DynamicQuantizeLinear finds a scale and a zero point for each input:
these are computed digitally; its integers are whole numbers, which MatMulInteger and ConvInteger multiply on a grid of
0..255 with a scale of 1, exactly. What the zero point adds is taken off afterwards.
"""

from __future__ import annotations

import numpy as np

from mho.network.draft import Unsupported
from mho.network.onnx_composites import composed
from mho.network.onnx_graph import Converter, GraphReader
from mho.network.onnx_steps import Steps
from mho.network.onnx_values import Activation, Constant, OnnxNode, QuantizedActivation

_LEVELS = 255


def _qlinear_conv(steps: Steps) -> str:
    x, scale, zero, w, w_scale, w_zero, y_scale, y_zero, bias = (steps.operand(index) for index in range(9))
    x, w = steps("DequantizeLinear", x, scale, zero), steps("DequantizeLinear", w, w_scale, w_zero, axis=0)
    if bias:
        unit = steps("Mul", scale, w_scale)
        bias = steps("DequantizeLinear", bias, unit, axis=0)
    keys = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    made = steps(
        "Conv", x, w, bias, **{key: steps.node.attributes[key] for key in keys if key in steps.node.attributes}
    )
    return steps("QuantizeLinear", made, y_scale, y_zero)


def _qlinear_matmul(steps: Steps) -> str:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (steps.operand(index) for index in range(8))
    a, b = steps("DequantizeLinear", a, a_scale, a_zero), steps("DequantizeLinear", b, b_scale, b_zero, axis=-1)
    return steps("QuantizeLinear", steps("MatMul", a, b), y_scale, y_zero)


def _dynamic_quantize(reader: GraphReader, node: OnnxNode) -> None:
    """Scale and zero point from the smallest and the largest element, 0 among them."""
    steps = Steps(reader, node)
    x = steps.operand(0)
    zero, levels = steps.number(0.0), steps.number(float(_LEVELS))
    low = steps("Min", steps("Neg", steps("ReduceMax", steps("Neg", x), keepdims=0)), zero)
    span = steps("Sub", steps("Max", steps("ReduceMax", x, keepdims=0), zero), low)
    scale = steps("Div", span, levels)
    scale = steps("Where", steps("Equal", scale, zero), steps.number(1.0), scale)  # of zeros alone
    point = steps("Clip", steps("Round", steps("Neg", steps("Div", low, scale))), zero, levels)
    integers = steps("Clip", steps("Add", steps("Round", steps("Div", x, scale)), point), zero, levels)
    for index, (name, dtype) in enumerate(((integers, "uint8"), (scale, "float32"), (point, "uint8"))):
        value = reader.value(name)
        if index < len(node.outputs) and node.outputs[index] and isinstance(value, Activation):
            reader.bind(node.outputs[index], Activation(value.tensor, dtype))


def _integer_product(op: str) -> Converter:
    """Make the converter of MatMulInteger or ConvInteger with constant weights."""

    def compose(steps: Steps) -> str:
        reader, node = steps.reader, steps.node
        x = _as_grid(steps)
        weight = reader.value(steps.operand(1))
        if not isinstance(weight, Constant) or weight.bounds is None:
            raise Unsupported("multiplies two activations of integers")
        zero = steps.operand(3)
        w = steps("DequantizeLinear", steps.operand(1), steps.number(1.0), zero)
        keys = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
        attributes = {key: node.attributes[key] for key in keys if key in node.attributes}
        made = steps(op, x, w, **attributes)
        point = steps.operand(2)
        if not point or (reader.is_fixed(point) and not reader.constant(node, 2, "zero points").any()):
            return made
        # What a zero point of 1 adds everywhere: its own product, padding left out.
        shape = (1, steps.shape(x)[-1]) if op == "MatMul" else (1, *steps.shape(x)[1:])
        ones = steps.constant(np.ones(shape, np.float32))
        sums = steps(op, ones, w, **attributes)
        return steps("Sub", made, steps("Mul", steps("Cast", point, to=1), sums))

    def convert(reader: GraphReader, node: OnnxNode) -> None:
        steps = Steps(reader, node)
        made = reader.value(compose(steps))
        if not isinstance(made, Activation):
            raise Unsupported("multiplies constants")
        reader.bind(node.outputs[0], Activation(made.tensor, "int32"))

    return convert


def _as_grid(steps: Steps) -> str:
    """Return the integers of the first operand as real numbers on a grid of a scale of 1."""
    reader, dtype = steps.reader, steps.reader.type_of(steps.operand(0))
    if dtype not in ("uint8", "int8"):
        raise Unsupported("multiplies integers that DynamicQuantizeLinear did not make")
    bounds = (0, 255) if dtype == "uint8" else (-128, 127)
    name = steps.number(0.0)
    reader.bind(name, QuantizedActivation(reader.activation(steps.node, 0, "numbers"), 1.0, 0, bounds))
    kind = np.uint8 if dtype == "uint8" else np.int8
    return steps("DequantizeLinear", name, steps.number(1.0), steps.constant(np.zeros((), kind)))


def _unary(op: str, *keys: str) -> Converter:
    """Make the converter of operand, scale, zero point, and scale and zero point of the result."""

    def compose(steps: Steps) -> str:
        x, scale, zero, y_scale, y_zero = (steps.operand(index) for index in range(5))
        attributes = {key: steps.node.attributes[key] for key in keys if key in steps.node.attributes}
        if steps.node.flag("channels_last", 0):
            raise Unsupported("has its channels last")
        made = steps(op, steps("DequantizeLinear", x, scale, zero), **attributes)
        return steps("QuantizeLinear", made, y_scale, y_zero)

    return composed(compose)


def _binary(op: str) -> Converter:
    def compose(steps: Steps) -> str:
        a, b = (steps("DequantizeLinear", *(steps.operand(first + i) for i in range(3))) for first in (0, 3))
        return steps("QuantizeLinear", steps(op, a, b), steps.operand(6), steps.operand(7))

    return composed(compose)


def _concat(steps: Steps) -> str:
    count = len(steps.node.inputs)
    parts = [steps("DequantizeLinear", *(steps.operand(at + i) for i in range(3))) for at in range(2, count, 3)]
    joined = steps("Concat", *parts, axis=steps.node.integer("axis", 0))
    return steps("QuantizeLinear", joined, steps.operand(0), steps.operand(1))


def _gemm(steps: Steps) -> str:
    a, a_scale, a_zero, b, b_scale, b_zero, bias, y_scale, y_zero = (steps.operand(index) for index in range(9))
    node = steps.node
    axis = 0 if node.flag("transB", 0) else 1
    a, b = steps("DequantizeLinear", a, a_scale, a_zero), steps("DequantizeLinear", b, b_scale, b_zero, axis=axis)
    if bias:
        bias = steps("DequantizeLinear", bias, steps("Mul", a_scale, b_scale), axis=0)
    keys = ("alpha", "transA", "transB")
    made = steps("Gemm", a, b, bias, **{key: node.attributes[key] for key in keys if key in node.attributes})
    return steps("QuantizeLinear", made, y_scale, y_zero) if y_scale else made


_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")

CONTRIBUTED: dict[str, Converter] = {
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearLeakyRelu": _unary("LeakyRelu", "alpha"),
    "QLinearSoftmax": _unary("Softmax", "axis"),
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearAveragePool": _unary("AveragePool", *_POOL),
    "QLinearConcat": composed(_concat),
    "QGemm": composed(_gemm),
}
"""Of ONNX Runtime's own domain."""

CONVERTERS: dict[str, Converter] = {
    **CONTRIBUTED,
    "QLinearConv": composed(_qlinear_conv),
    "QLinearMatMul": composed(_qlinear_matmul),
    "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _integer_product("MatMul"),
    "ConvInteger": _integer_product("Conv"),
}
