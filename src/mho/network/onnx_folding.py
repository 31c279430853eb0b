"""Evaluation of what depends on constants alone, by ONNX's own reference implementation, one node at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import InputFileError
from mho.network.draft import Unsupported
from mho.network.onnx_values import Constant, OnnxNode

_MAX_ELEMENTS = 1 << 28

_FOLDABLE_NAMES = """
    Abs Add And Cast CastLike Ceil Clip Concat Constant ConstantOfShape Cos Div Equal Erf Exp Expand Flatten Floor
    Gather GatherND Greater GreaterOrEqual Identity Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pad Pow Range
    Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round ScatterND Shape Sigmoid Sign Sin
    Size Slice Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Trilu Unsqueeze Where Xor
"""
FOLDABLE = frozenset(_FOLDABLE_NAMES.split())
"""Operations that are folded where all their operands are constant. None draws random numbers or reads files."""

_CONSTANT_FORMS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def fold(node: OnnxNode, operands: Sequence[NDArray[Any] | None], where: str) -> list[NDArray[Any]]:
    """Return the outputs of `node` on constant operands.

    Raises:
        Unsupported: a constant of a kind that is no array of numbers, or a result beyond 2^28 elements.
        InputFileError: operands that do not fit the operation.
    """
    if node.op_type == "Constant":
        return [_constant(node)]
    if node.op_type == "Identity" and operands[0] is not None:
        return [operands[0]]
    if node.op_type == "Transpose" and operands[0] is not None:
        return [operands[0].transpose(node.integers("perm"))]
    _check_size(node, operands)
    try:
        return _evaluate(node, operands)
    except Exception as error:  # NumPy and the reference implementation raise many kinds
        raise InputFileError(f"{node.label} cannot be computed: {error}", where=where) from error


def clip_integers(value: Constant, low: NDArray[Any] | None, high: NDArray[Any] | None) -> Constant:
    """Clip an integer constant: its range is what the bounds leave of it."""
    bounds = value.bounds or (int(value.array.min()), int(value.array.max()))
    bounds = (
        bounds[0] if low is None else max(bounds[0], int(low.reshape(()))),
        bounds[1] if high is None else min(bounds[1], int(high.reshape(()))),
    )
    return Constant(value.array.clip(*bounds).astype(value.array.dtype), value.origin, bounds)


def _constant(node: OnnxNode) -> NDArray[Any]:
    value = node.attributes.get("value")
    if isinstance(value, Constant):
        return value.array
    for key, dtype in _CONSTANT_FORMS.items():
        if key in node.attributes:
            return np.array(node.attributes[key], dtype=dtype)
    raise Unsupported("a constant that is not numbers")


def _check_size(node: OnnxNode, operands: Sequence[NDArray[Any] | None]) -> None:
    shape: Sequence[int] = ()
    if node.op_type == "ConstantOfShape" and operands[0] is not None:
        shape = operands[0].tolist()
    elif node.op_type == "Expand" and operands[1] is not None:
        shape = operands[1].tolist()
    elif node.op_type == "Tile" and operands[0] is not None and operands[1] is not None:
        shape = [operands[0].size, *operands[1].tolist()]
    elif node.op_type == "Range":
        start, limit, delta = (float(item) for item in operands if item is not None)
        shape = [int((limit - start) / delta) if delta else 0]
    if math.prod(shape) > _MAX_ELEMENTS:
        raise Unsupported(f"makes a constant of {math.prod(shape)} elements")


def _evaluate(node: OnnxNode, operands: Sequence[NDArray[Any] | None]) -> list[NDArray[Any]]:
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    attributes = {
        key: numpy_helper.from_array(value.array) if isinstance(value, Constant) else value
        for key, value in node.attributes.items()
    }
    names = [f"i{index}" if operand is not None else "" for index, operand in enumerate(operands)]
    outputs = [f"o{index}" for index in range(len(node.outputs))]
    proto = helper.make_node(node.op_type, names, outputs, **attributes)
    types = [helper.np_dtype_to_tensor_dtype(operand.dtype) if operand is not None else 0 for operand in operands]
    infos = [helper.make_tensor_value_info(n, t, None) for n, t in zip(names, types, strict=True) if n]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([proto], "constant", infos, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.opset)])
    feeds = {name: operand for name, operand in zip(names, operands, strict=True) if operand is not None}
    return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, feeds)]
