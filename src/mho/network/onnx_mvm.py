"""Conv, Gemm and MatMul: what becomes an MVM layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.shapes import broadcast
from mho.network.draft import DraftNode, Unsupported
from mho.network.graph import Grid
from mho.network.onnx_graph import GraphReader
from mho.network.onnx_nodes import WEIGHT_BITS_KEY
from mho.network.onnx_steps import Steps
from mho.network.onnx_transposed import conv_3d
from mho.network.onnx_values import Constant, OnnxNode, QuantizedConstant, Value
from mho.network.onnx_windows import emit_windowed, lift_to_two_axes, read_windows

_MOST_MATRICES = 64
"""Of a constant stack, each of which is a layer."""


@dataclass(frozen=True, eq=False)
class _Weight:
    """A weight constant in the draft's axes, float or integers with their grid."""

    value: Constant | QuantizedConstant
    bits: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def _array(self) -> NDArray[np.generic]:
        return self.value.array if isinstance(self.value, Constant) else self.value.integers

    def transposed(self, perm: Sequence[int]) -> _Weight:
        if isinstance(self.value, Constant):
            return replace(self, value=replace(self.value, array=self.value.array.transpose(perm)))
        return replace(self, value=self.value.transposed(perm))

    def scaled(self, factor: float) -> _Weight:
        if factor == 1.0:
            return self
        if isinstance(self.value, Constant):
            array = (self.value.array * np.float32(factor)).astype(np.float32)
            return replace(self, value=replace(self.value, array=array))
        return replace(self, value=self.value.scaled(factor))

    def two_dimensional(self) -> _Weight:
        """Drop leading axes of size 1. Raises `Unsupported` for a stack of matrices."""
        array = self._array
        if any(size != 1 for size in array.shape[:-2]):
            raise Unsupported(f"multiplies by a constant stack of matrices {list(array.shape)}")
        if array.ndim == 2:
            return self
        dropped = array.ndim - 2
        if isinstance(self.value, Constant):
            return replace(self, value=replace(self.value, array=array.reshape(array.shape[-2:])))
        axis = None if self.value.axis is None else self.value.axis - dropped
        if axis is not None and axis < 0:
            raise Unsupported("has one scale for each of a stack of matrices")
        return replace(self, value=replace(self.value, integers=array.reshape(array.shape[-2:]), axis=axis))

    def hold(self, reader: GraphReader) -> tuple[str, Grid | None]:
        """Put the weight, outputs first, into the draft; integers where their grid suits a layer."""
        if isinstance(self.value, QuantizedConstant):
            if grid := self.value.grid(self.bits):
                return reader.draft.add_constant(self.value.origin, self.value.integers), grid
            return reader.draft.add_constant(self.value.origin, reader.dequantized(self.value)), None
        if self.value.array.dtype.kind in "iub":
            raise Unsupported(f"integer weight {self.value.origin!r} without DequantizeLinear")
        return reader.draft.add_constant(self.value.origin, self.value.array), None


def _read_weight(reader: GraphReader, node: OnnxNode, index: int) -> _Weight:
    value = reader.value(node.inputs[index])
    if not isinstance(value, Constant | QuantizedConstant):
        raise Unsupported("its weight is computed, not constant")
    bits = node.hints.get(WEIGHT_BITS_KEY)
    if bits and not (bits.isdecimal() and len(bits) < 3):
        raise Unsupported(f"{WEIGHT_BITS_KEY} is {bits[:20]!r}")
    return _Weight(value, int(bits) if bits else None)


def _annotate(made: DraftNode, weight: _Weight, grid: Grid | None) -> None:
    made.weight_grid = grid
    made.hints = {**made.hints, "weight": weight.value.origin}
    if len(made.inputs) > 2:
        made.hints = {**made.hints, "bias": made.inputs[2]}


def _hold_bias(reader: GraphReader, origin: str, bias: NDArray[np.generic]) -> list[str]:
    """Put a bias into the draft. Zeros that an exporter made up, which no initializer holds, are left out."""
    if not bias.any() and not reader.is_initializer(origin):
        return []
    return [reader.draft.add_constant(origin, bias.astype(np.float32))]


def _conv(reader: GraphReader, node: OnnxNode) -> None:
    x = reader.activation(node)
    if len(reader.shape(x)) == 5:
        conv_3d(reader, node)
        return
    weight = _read_weight(reader, node, 1)
    sizes, kernel = reader.shape(x)[2:], weight.shape[2:]
    if node.integers("kernel_shape") not in (None, kernel):
        raise Unsupported(f"has a kernel_shape of {node.integers('kernel_shape')} and weights of {list(weight.shape)}")
    attributes = read_windows(node, sizes, kernel)
    attributes["groups"] = node.integer("group", 1)
    if len(sizes) == 1:
        weight = _lift_weight(weight)
        x = lift_to_two_axes(reader, node, x)
    weight_name, grid = weight.hold(reader)
    inputs = [x, weight_name]
    if node.has_input(2):
        bias = reader.constant(node, 2, "biases")
        inputs += _hold_bias(reader, _origin(reader, node, 2), bias)
    before = len(reader.draft.nodes)
    emit_windowed(reader, node, "conv", inputs, attributes, rank=len(sizes))
    _annotate(reader.draft.nodes[before], weight, grid)


def _lift_weight(weight: _Weight) -> _Weight:
    outputs, inputs, length = weight.shape
    shape = (outputs, inputs, 1, length)
    if isinstance(weight.value, Constant):
        return replace(weight, value=replace(weight.value, array=weight.value.array.reshape(shape)))
    if weight.value.axis not in (None, 0):
        raise Unsupported("has weight scales along another axis than the outputs")
    return replace(weight, value=replace(weight.value, integers=weight.value.integers.reshape(shape)))


def _origin(reader: GraphReader, node: OnnxNode, index: int) -> str:
    value = reader.value(node.inputs[index])
    return value.origin if isinstance(value, Constant | QuantizedConstant) else node.inputs[index]


def _is_fixed(value: Value) -> bool:
    return isinstance(value, Constant | QuantizedConstant)


def _gemm(reader: GraphReader, node: OnnxNode) -> None:
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    swaps = [node.flag(key, 0) for key in ("transA", "transB")]
    fixed = [_is_fixed(reader.value(node.inputs[i])) for i in range(2)]
    is_computed = node.has_input(2) and not reader.is_fixed(node.inputs[2])
    if fixed[0] or is_computed or (not fixed[1] and (alpha != 1.0 or node.has_input(2))):
        _gemm_by_steps(Steps(reader, node), alpha, beta, swaps)
        return
    a = reader.activation(node, 0)
    if swaps[0]:
        a = reader.emit(node, "transpose", [a], {"perm": (1, 0)}, step="transpose_a").output
    if not fixed[1]:
        b = reader.activation(node, 1)
        if swaps[1]:
            b = reader.emit(node, "transpose", [b], {"perm": (1, 0)}, step="transpose_b").output
        reader.bind_result(node, reader.emit(node, "matmul", [a, b]))
        return
    weight = _read_weight(reader, node, 1)
    bias = _gemm_bias(reader, node, beta) if node.has_input(2) and beta != 0.0 else None
    if len(weight.shape) != 2:
        raise Unsupported(f"multiplies by a constant {list(weight.shape)}")
    weight = (weight if swaps[1] else weight.transposed((1, 0))).scaled(alpha)
    weight_name, grid = weight.hold(reader)
    fused = bias is not None and bias.shape == (weight.shape[0],)
    inputs = [a, weight_name]
    if bias is not None and fused:
        inputs += _hold_bias(reader, _origin(reader, node, 2), bias)
    made = reader.emit(node, "linear", inputs, step="" if bias is None or fused else "product")
    _annotate(made, weight, grid)
    if bias is not None and not fused:
        held = reader.draft.add_constant(_origin(reader, node, 2), bias)
        made = reader.emit(node, "add", [made.output, held])
    reader.bind_result(node, made)


def _gemm_bias(reader: GraphReader, node: OnnxNode, beta: float) -> NDArray[np.float32]:
    bias = (reader.constant(node, 2, "biases") * np.float32(beta)).astype(np.float32)
    weight = reader.value(node.inputs[1])
    if isinstance(weight, Constant | QuantizedConstant):
        shape = weight.array.shape if isinstance(weight, Constant) else weight.integers.shape
        if len(shape) != 2:
            raise Unsupported(f"multiplies by a constant {list(shape)}")
        outputs = shape[0 if node.flag("transB", 0) else 1]
        if (bias.ndim < 2 or bias.shape[0] == 1) and bias.size in (1, outputs):
            return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (outputs,)))
    return bias


def _gemm_by_steps(steps: Steps, alpha: float, beta: float, swaps: list[int]) -> None:
    a, b = (
        steps("Transpose", name, perm=(1, 0)) if is_swapped else name
        for name, is_swapped in zip(steps.node.inputs[:2], swaps, strict=True)
    )
    made = steps("MatMul", a, b)
    made = made if alpha == 1.0 else steps("Mul", made, steps.number(alpha))
    if bias := steps.operand(2):
        made = steps("Add", made, bias if beta == 1.0 else steps("Mul", bias, steps.number(beta)))
    steps.finish(made)


def _matmul(reader: GraphReader, node: OnnxNode) -> None:
    fixed = [_is_fixed(reader.value(node.inputs[i])) for i in range(2)]
    steps = Steps(reader, node)
    ranks = [len(steps.shape(name)) for name in node.inputs]
    if min(ranks) == 1 and (fixed[ranks.index(1)] or not any(fixed)):
        _matmul_of_vectors(steps, ranks)
    elif any(fixed) and math.prod(steps.shape(node.inputs[fixed.index(True)])[:-2]) > 1:
        _matmul_of_stack(steps)
    elif fixed[1]:
        _matmul_by_right(reader, node)
    elif fixed[0]:
        _matmul_by_left(reader, node)
    else:
        _matmul_of_activations(reader, node)


def _matmul_of_vectors(steps: Steps, ranks: list[int]) -> None:
    """Multiply with a vector as with a matrix of one row or column."""
    (a, b), shapes = steps.node.inputs, [steps.shape(name) for name in steps.node.inputs]
    a = steps.reshape(a, 1, *shapes[0]) if ranks[0] == 1 else a
    b = steps.reshape(b, *shapes[1], 1) if ranks[1] == 1 else b
    made = steps("MatMul", a, b)
    kept = list(steps.shape(made))
    if ranks[1] == 1:
        del kept[-1]
    if ranks[0] == 1:
        del kept[-1 if ranks[1] == 1 else -2]
    steps.finish(steps.reshape(made, *kept))


def _matmul_of_stack(steps: Steps) -> None:
    """Multiply with a constant stack of matrices: a layer each."""
    shapes = [steps.shape(name) for name in steps.node.inputs]
    leading = broadcast(shapes[0][:-2], shapes[1][:-2])
    count = math.prod(leading)
    if count > _MOST_MATRICES:
        raise Unsupported(
            f"multiplies by a constant stack of matrices: {count} layers, mho makes at most {_MOST_MATRICES}"
        )
    operands = [
        steps.reshape(steps("Expand", name, steps.whole(*leading, *shape[-2:])), count, *shape[-2:])
        for name, shape in zip(steps.node.inputs, shapes, strict=True)
    ]
    rows = [
        steps("MatMul", *(steps("Gather", name, steps.constant(np.array(index)), axis=0) for name in operands))
        for index in range(count)
    ]
    sides = [steps.reshape(row, 1, *steps.shape(row)) for row in rows]
    joined = steps("Concat", *sides, axis=0)
    steps.finish(steps.reshape(joined, *leading, *steps.shape(joined)[1:]))


def _matmul_by_right(reader: GraphReader, node: OnnxNode) -> None:
    x, weight = reader.activation(node, 0), _read_weight(reader, node, 1)
    if len(weight.shape) < 2:
        raise Unsupported("multiplies by a constant vector")
    missing = len(weight.shape) - max(2, len(reader.shape(x)))
    weight = weight.two_dimensional().transposed((1, 0))
    if missing > 0:
        shape = (*(1,) * missing, *reader.shape(x))
        x = reader.emit(node, "reshape", [x], {"shape": shape}, step="raise").output
    weight_name, grid = weight.hold(reader)
    made = reader.emit(node, "linear", [x, weight_name])
    _annotate(made, weight, grid)
    reader.bind_result(node, made)


def _matmul_by_left(reader: GraphReader, node: OnnxNode) -> None:
    weight, x = _read_weight(reader, node, 0), reader.activation(node, 1)
    if len(weight.shape) < 2:
        raise Unsupported("multiplies by a constant vector")
    rank = len(reader.shape(x))
    if rank < len(weight.shape) and rank > 1:
        raise Unsupported(f"multiplies a constant {list(weight.shape)} by {list(reader.shape(x))}")
    weight = weight.two_dimensional()
    weight_name, grid = weight.hold(reader)
    if rank == 1:
        made = reader.emit(node, "linear", [x, weight_name])
        _annotate(made, weight, grid)
        reader.bind_result(node, made)
        return
    perm = (*range(rank - 2), rank - 1, rank - 2)
    columns = reader.emit(node, "transpose", [x], {"perm": perm}, step="columns")
    made = reader.emit(node, "linear", [columns.output, weight_name], step="product")
    _annotate(made, weight, grid)
    made.hints = {**made.hints, "node": node.name}
    reader.bind_result(node, reader.emit(node, "transpose", [made.output], {"perm": perm}))


def _matmul_of_activations(reader: GraphReader, node: OnnxNode) -> None:
    a, b = reader.activation(node, 0), reader.activation(node, 1)
    shapes = [reader.shape(a), reader.shape(b)]
    if min(len(shape) for shape in shapes) < 2:
        raise Unsupported("multiplies vectors")
    leading = broadcast(shapes[0][:-2], shapes[1][:-2])
    operands = []
    for tensor, shape, step in zip((a, b), shapes, ("a", "b"), strict=True):
        full = (*leading, *shape[-2:])
        if shape != full:
            tensor = reader.emit(node, "expand", [tensor], {"shape": full}, step=f"expand_{step}").output
        operands.append(tensor)
    reader.bind_result(node, reader.emit(node, "matmul", operands))


CONVERTERS = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}
