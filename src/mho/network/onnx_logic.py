"""Comparisons, logic and whole numbers: booleans are 0 and 1, and integers whole numbers, in float32."""

from __future__ import annotations

import numpy as np

from mho.network.draft import Unsupported
from mho.network.naming import WHOLE_KEY
from mho.network.onnx_digital import align_ranks
from mho.network.onnx_graph import NUMBERS, Converter, GraphReader
from mho.network.onnx_values import Activation, Constant, OnnxNode, SignTest


def cast_to_whole(reader: GraphReader, node: OnnxNode, dtype: str) -> str:
    """Return the first operand, an activation, as integers (what lies behind the point is dropped) or as 0 and 1."""
    x = reader.activation(node, kinds=NUMBERS)
    held = reader.whole_tensors.get(x)
    if WHOLE_KEY in node.hints or held == "bool" or (held and dtype != "bool"):
        return x
    if dtype == "bool":
        zero = _number(reader, node, 0.0)
        return _negate(reader, node, reader.emit(node, "equal", [x, zero], step="is_zero").output)
    return truncate(reader, node, x)


def truncate(reader: GraphReader, node: OnnxNode, x: str) -> str:
    """Return the whole numbers between `x` and 0: its sign times the floor of its magnitude."""
    size = reader.emit(node, "abs", [x], step="size").output
    size = reader.emit(node, "floor", [size], step="whole_size").output
    return reader.emit(node, "mul", [reader.emit(node, "sign", [x], step="sign").output, size]).output


def _number(reader: GraphReader, node: OnnxNode, value: float) -> str:
    return reader.draft.add_constant(f"{node.outputs[0]}.{value:g}", np.array(value, np.float32))


def _negate(reader: GraphReader, node: OnnxNode, x: str) -> str:
    """Return 1 - x: the opposite of a truth."""
    return reader.emit(node, "sub", [_number(reader, node, 1.0), x]).output


def _pair(reader: GraphReader, node: OnnxNode) -> list[str]:
    return align_ranks(reader, node, [reader.tensor(node, index, NUMBERS) for index in range(2)])


def _by_operation(op: str, *, swaps: bool = False) -> Converter:
    """Make the converter of two operands, in the other order where it `swaps` them."""

    def convert(reader: GraphReader, node: OnnxNode) -> None:
        pair = _pair(reader, node)
        reader.bind_result(node, reader.emit(node, op, pair[::-1] if swaps else pair))

    return convert


def _greater_or_equal(reader: GraphReader, node: OnnxNode) -> None:
    """A comparison; with 0, what a binary quantizer may begin with."""
    threshold, value = reader.value(node.inputs[1]), reader.value(node.inputs[0])
    is_zero = isinstance(threshold, Constant) and threshold.array.size == 1 and not threshold.array.any()
    if is_zero and isinstance(value, Activation) and not value.is_whole:
        reader.bind(node.outputs[0], SignTest(reader.activation(node)))
        return
    _by_operation("less_or_equal", swaps=True)(reader, node)


def _xor(reader: GraphReader, node: OnnxNode) -> None:
    apart = reader.emit(node, "sub", _pair(reader, node), step="difference").output
    reader.bind_result(node, reader.emit(node, "abs", [apart]))


def _not(reader: GraphReader, node: OnnxNode) -> None:
    reader.bind_result(node, _negate(reader, node, reader.activation(node, kinds=NUMBERS)))


def _is_infinite(reader: GraphReader, node: OnnxNode) -> None:
    if not (node.flag("detect_negative", 1) and node.flag("detect_positive", 1)):
        raise Unsupported("detects infinities of one sign")
    size = reader.emit(node, "abs", [reader.activation(node)], step="size").output
    largest = _number(reader, node, float(np.finfo(np.float32).max))
    reader.bind_result(node, reader.emit(node, "less", [largest, size]))


def _divide(reader: GraphReader, node: OnnxNode) -> None:
    """A quotient; of integers without what lies behind the point."""
    pair = _pair(reader, node)
    is_whole = node.result_type([reader.type_of(name) for name in node.inputs]) not in ("float32", "float64")
    quotient = reader.emit(node, "div", pair, step="quotient" if is_whole else "").output
    reader.bind_result(node, truncate(reader, node, quotient) if is_whole else quotient)


def _modulo(reader: GraphReader, node: OnnxNode) -> None:
    """x - y floor(x / y) of integers."""
    if node.flag("fmod", 0) or not reader.type_of(node.inputs[0]).startswith(("int", "uint")):
        raise Unsupported("takes remainders of real numbers")
    x, y = _pair(reader, node)
    quotient = reader.emit(node, "div", [x, y], step="quotient").output
    whole = reader.emit(node, "floor", [quotient], step="whole").output
    reader.bind_result(node, reader.emit(node, "sub", [x, reader.emit(node, "mul", [whole, y], step="taken").output]))


CONVERTERS: dict[str, Converter] = {
    "Greater": _by_operation("less", swaps=True),
    "GreaterOrEqual": _greater_or_equal,
    "And": _by_operation("mul"),
    "Or": _by_operation("maximum"),
    "Xor": _xor,
    "Not": _not,
    "IsInf": _is_infinite,
    "Div": _divide,
    "Mod": _modulo,
}
