"""Operations that the digital unit computes: activations, arithmetic, normalization, pooling, reductions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mho.arithmetic.operation import Attribute as RecordAttribute
from mho.arithmetic.operation import Operation
from mho.arithmetic.operations import OPERATIONS
from mho.network.draft import Unsupported
from mho.network.graph import Attribute
from mho.network.onnx_folding import narrow_bounds
from mho.network.onnx_graph import NUMBERS, REAL, Converter, GraphReader
from mho.network.onnx_transposed import pool_3d
from mho.network.onnx_values import Activation, OnnxNode, QuantizedActivation, normalize_axes, normalize_axis
from mho.network.onnx_windows import emit_windowed, lift_to_two_axes, read_windows

_ON_WHOLE = ("Abs", "Add", "Equal", "Less", "LessOrEqual", "Mul", "Neg", "Relu", "Sign", "Sub")
"""Elementwise operations that give the same on integers as on real numbers."""
_FLOAT_MAX = float(np.finfo(np.float32).max)


def align_ranks(reader: GraphReader, node: OnnxNode, operands: list[str]) -> list[str]:
    """Give activations of lower rank leading axes of size 1, so that NumPy's rules need no help beside the samples."""
    rank = max(len(reader.shape(tensor)) for tensor in operands)
    aligned = []
    for index, tensor in enumerate(operands):
        shape = reader.shape(tensor)
        if len(shape) < rank and tensor not in reader.draft.constants:
            full = (*(1,) * (rank - len(shape)), *shape)
            tensor = reader.emit(node, "reshape", [tensor], {"shape": full}, step=f"align_{index}").output
        aligned.append(tensor)
    return aligned


def _by_record(operation: Operation) -> Converter:
    """Make the converter of an elementwise operation that ONNX has with the same operands and attributes."""

    def convert(reader: GraphReader, node: OnnxNode) -> None:
        values = {name: _read(node, item.onnx or name, item) for name, item in operation.attributes.items()}
        kinds = NUMBERS if node.op_type in _ON_WHOLE else REAL
        if operation.operands == (1, 1):
            operands = [reader.activation(node, kinds=kinds)]
        else:
            given = [reader.tensor(node, index, kinds) for index in range(len(node.inputs))]
            operands = align_ranks(reader, node, given)
        reader.bind_result(node, reader.emit(node, operation.name, operands, values))

    return convert


def _read(node: OnnxNode, key: str, attribute: RecordAttribute) -> Attribute:
    default = attribute.default
    if isinstance(default, str):
        text = node.text(key, default)
        if text not in attribute.choices:
            raise Unsupported(f"its {key} is {text!r}; mho has {' and '.join(attribute.choices)}")
        return text
    assert default is not None, "what has no default is an operand of its own reader"
    return node.number(key, default)


def _variadic(op: str, *, mean: bool = False) -> Converter:
    def convert(reader: GraphReader, node: OnnxNode) -> None:
        operands = [reader.tensor(node, i, REAL if mean else NUMBERS) for i in range(len(node.inputs))]
        total = operands[0]
        for index, operand in enumerate(operands[1:], start=1):
            last = index == len(operands) - 1 and not mean
            pair = align_ranks(reader, node, [total, operand])
            total = reader.emit(node, op, pair, step="" if last else f"step_{index}").output
        if mean and len(operands) > 1:
            count = reader.draft.add_constant(f"{node.outputs[0]}.count", np.array(len(operands), np.float32))
            total = reader.emit(node, "div", [total, count]).output
        reader.bind_result(node, total)

    return convert


def _clip(reader: GraphReader, node: OnnxNode) -> None:
    low, high = (_clip_bound(reader, node, index, key) for index, key in ((1, "min"), (2, "max")))
    value = reader.value(node.inputs[0])
    if isinstance(value, QuantizedActivation):
        bounds = narrow_bounds(value.bounds, low, high)
        reader.bind(node.outputs[0], replace(value, bounds=bounds))
        return
    x = reader.activation(node, kinds=NUMBERS)
    if high is None and low == 0.0:
        reader.bind_result(node, reader.emit(node, "relu", [x]))
        return
    attributes: dict[str, Attribute] = {
        "min": -_FLOAT_MAX if low is None else max(low, -_FLOAT_MAX),
        "max": _FLOAT_MAX if high is None else min(high, _FLOAT_MAX),
    }
    reader.bind_result(node, reader.emit(node, "clip", [x], attributes))


def _clip_bound(reader: GraphReader, node: OnnxNode, index: int, key: str) -> float | None:
    if node.has_input(index):
        return reader.number(node, index, "bounds")
    return node.number(key, 0.0) if key in node.attributes else None


def _power(reader: GraphReader, node: OnnxNode) -> None:
    exponent = reader.number(node, 1, "exponents")
    if not math.isfinite(exponent):
        raise Unsupported(f"its exponent is {exponent}")
    attributes: dict[str, Attribute] = {"exponent": exponent}
    reader.bind_result(node, reader.emit(node, "pow", [reader.activation(node)], attributes))


def _softmax(op: str) -> Converter:
    def convert(reader: GraphReader, node: OnnxNode) -> None:
        x = reader.activation(node)
        shape = reader.shape(x)
        axis = normalize_axis(node.integer("axis", -1 if node.opset >= 13 else 1), len(shape))
        if node.opset >= 13 or axis == len(shape) - 1:
            reader.bind_result(node, reader.emit(node, op, [x], {"axis": axis}))
            return
        # Before opset 13 all axes from `axis` on are one.
        flat = reader.emit(node, "reshape", [x], {"shape": (*shape[:axis], int(np.prod(shape[axis:])))}, step="flat")
        made = reader.emit(node, op, [flat.output], {"axis": axis}, step="last")
        reader.bind_result(node, reader.emit(node, "reshape", [made.output], {"shape": shape}))

    return convert


def _hold(reader: GraphReader, node: OnnxNode, index: int, what: str) -> str:
    reader.constant(node, index, what)
    return reader.tensor(node, index)


def _batch_norm(reader: GraphReader, node: OnnxNode) -> None:
    if node.flag("training_mode", 0):
        raise Unsupported("is in training mode")
    constants = [_hold(reader, node, index, "parameters") for index in range(1, 5)]
    attributes: dict[str, Attribute] = {"axis": 1, "epsilon": node.number("epsilon", 1e-5)}
    reader.bind_result(node, reader.emit(node, "batch_norm", [reader.activation(node), *constants], attributes))


def _layer_norm(reader: GraphReader, node: OnnxNode) -> None:
    x = reader.activation(node)
    axis = normalize_axis(node.integer("axis", -1), len(reader.shape(x)))
    constants = [_hold(reader, node, i, "parameters") for i in range(1, len(node.inputs)) if node.inputs[i]]
    attributes: dict[str, Attribute] = {"axis": axis, "epsilon": node.number("epsilon", 1e-5)}
    reader.bind_result(node, reader.emit(node, "layer_norm", [x, *constants], attributes))


def _pool(op: str) -> Converter:
    def convert(reader: GraphReader, node: OnnxNode) -> None:
        value = reader.value(node.inputs[0])
        on_grid = isinstance(value, QuantizedActivation) and value.scale is not None and op == "max_pool"
        x = value.tensor if isinstance(value, QuantizedActivation) and on_grid else reader.activation(node)
        sizes = reader.shape(x)[2:]
        if len(sizes) == 3:
            pool_3d(reader, node)
            return
        attributes = read_windows(node, sizes, node.integers("kernel_shape") or ())
        if not on_grid and _is_identity(attributes):
            reader.bind_result(node, x)
            return
        attributes["ceil_mode"] = node.flag("ceil_mode", 0)
        if op == "average_pool":
            attributes["count_include_pad"] = node.flag("count_include_pad", 0)
        x = lift_to_two_axes(reader, node, x)
        emit_windowed(reader, node, op, [x], attributes, rank=len(sizes))
        if isinstance(value, QuantizedActivation):
            pooled = reader.tensor_of(reader.value(node.outputs[0]))
            reader.bind(node.outputs[0], replace(value, tensor=pooled))

    return convert


def _is_identity(attributes: dict[str, Attribute]) -> bool:
    return attributes["kernel"] == attributes["strides"] == (1, 1) and attributes["pads"] == (0, 0, 0, 0)


def _reduce(op: str) -> Converter:
    def convert(reader: GraphReader, node: OnnxNode) -> None:
        x = reader.activation(node, kinds=REAL if op == "reduce_mean" else NUMBERS)
        rank = len(reader.shape(x))
        axes = node.integers("axes") or reader.whole_numbers(node, 1, "axes") or ()
        if not axes:
            if node.flag("noop_with_empty_axes", 0):
                reader.bind_result(node, x)
                return
            axes = tuple(range(rank))
        attributes: dict[str, Attribute] = {
            "axes": tuple(sorted(normalize_axes(axes, rank))),
            "keepdims": node.flag("keepdims", 1),
        }
        reader.bind_result(node, reader.emit(node, op, [x], attributes))

    return convert


def _arg_max(*, negate: bool) -> Converter:
    def convert(reader: GraphReader, node: OnnxNode) -> None:
        x = reader.activation(node, kinds=NUMBERS)
        attributes: dict[str, Attribute] = {
            "axis": normalize_axis(node.integer("axis", 0), len(reader.shape(x))),
            **{key: node.flag(key, default) for key, default in (("keepdims", 1), ("select_last_index", 0))},
        }
        x = reader.emit(node, "neg", [x], step="negative").output if negate else x
        reader.bind_result(node, reader.emit(node, "arg_max", [x], attributes))

    return convert


def _top_k(reader: GraphReader, node: OnnxNode) -> None:
    x, k = reader.activation(node, kinds=NUMBERS), reader.whole_numbers(node, 1, "numbers of elements") or ()
    if len(k) != 1:
        raise Unsupported(f"takes the first {list(k)}")
    attributes: dict[str, Attribute] = {
        "axis": normalize_axis(node.integer("axis", -1), len(reader.shape(x))), "k": k[0],
        "largest": node.flag("largest", 1),
    }  # fmt: skip
    reader.bind_result(node, reader.emit(node, "top_k", [x], attributes))
    if len(node.outputs) > 1 and node.outputs[1]:
        indices = reader.emit(node, "top_k_indices", [x], attributes, step="indices").output
        reader.bind(node.outputs[1], Activation(indices, "int64"))


def _reduce_spatial(op: str) -> Converter:
    def convert(reader: GraphReader, node: OnnxNode) -> None:
        x = reader.activation(node)
        axes = tuple(range(2, len(reader.shape(x))))
        reader.bind_result(node, reader.emit(node, op, [x], {"axes": axes, "keepdims": 1}))

    return convert


_OWN: dict[str, Converter] = {
    "Clip": _clip,
    "Pow": _power,
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    "Min": _variadic("minimum"),
    "Max": _variadic("maximum"),
    "Sum": _variadic("add"),
    "Mean": _variadic("add", mean=True),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "MaxPool": _pool("max_pool"),
    "AveragePool": _pool("average_pool"),
    "GlobalAveragePool": _reduce_spatial("reduce_mean"),
    "GlobalMaxPool": _reduce_spatial("reduce_max"),
    "ReduceMean": _reduce("reduce_mean"),
    "ReduceSum": _reduce("reduce_sum"),
    "ReduceMax": _reduce("reduce_max"),
    "ArgMax": _arg_max(negate=False),
    "ArgMin": _arg_max(negate=True),
    "TopK": _top_k,
}
CONVERTERS = {
    operation.onnx: _by_record(operation)
    for operation in OPERATIONS.values()
    if operation.is_elementwise and operation.onnx not in ("", *_OWN)
} | _OWN
