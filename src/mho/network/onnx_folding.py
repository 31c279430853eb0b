"""Evaluation of what depends on constants alone, by ONNX's own reference implementation, one node at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.shapes import broadcast
from mho.errors import InputFileError, MhoError
from mho.network.draft import Unsupported
from mho.network.onnx_values import Constant, OnnxNode
from mho.network.tensor_budget import TensorBudget

if TYPE_CHECKING:
    import onnx

_MAX_SIZES = 64
"""Elements of an operand that may hold sizes or axes."""
_MAX_SLOW_ELEMENTS = 1 << 18
_MAX_PRODUCTS = 1 << 32
"""Of one product of matrices of constants."""
_SLOW = ("Erf",)
"""What the reference implementation computes element by element."""

_SIZED_NAMES = """
    Abs Add And Cast CastLike Ceil Clip Concat Constant ConstantOfShape Cos CumSum Div Equal Erf Exp Expand
    Flatten Floor Gather Greater GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual Log LogSoftmax Max Mean Min
    Mod Mul Neg Not Or Pad Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape
    Round Shape Sigmoid Sign Sin Size Slice Softmax Split Sqrt Squeeze Sub Sum Tan Tanh Tile Transpose Trilu
    Unsqueeze Where Xor
"""
SIZED = frozenset(_SIZED_NAMES.split())
"""Operations that NumPy computes as a whole, and whose results are as large as `_result_size` says."""

_NEVER_NAMES = """
    Attention Bernoulli ConcatFromSequence DequantizeLinear Dropout DynamicQuantizeLinear Einsum GatherElements
    GatherND If ImageDecoder Loop Multinomial Optional OptionalGetElement OptionalHasElement QuantizeLinear
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike RegexFullMatch Scan ScatterElements ScatterND
    SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceMap SplitToSequence
    StringConcat StringNormalizer StringSplit TfIdfVectorizer
"""
_NEVER = frozenset(_NEVER_NAMES.split())
"""Operations that draw random numbers, hold graphs, texts or sequences, have scales that the reader keeps, or that
converters compose of others that are folded: element by element, or by sums without bounds, they would take long."""


def is_foldable(node: OnnxNode) -> bool:
    """Whether a node is computed when reading where all its operands are constant."""
    return node.schema is not None and node.op_type not in _NEVER


_CONSTANT_FORMS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def fold(
    node: OnnxNode, operands: Sequence[NDArray[Any] | None], where: str, budget: TensorBudget
) -> list[NDArray[Any]]:
    """Return the outputs of `node` on constant operands.

    Raises:
        Unsupported: a constant of a kind that is no array of numbers.
        InputFileError: operands that do not fit the operation.
        MemoryBudgetError: a result above what is left of `budget`, before it is computed.
    """
    try:
        if node.op_type == "Constant":
            return [_constant(node)]
        if node.op_type == "Identity" and operands[0] is not None:
            return [operands[0]]
        if node.op_type == "Transpose" and operands[0] is not None:
            return [operands[0].transpose(node.integers("perm"))]
        is_known = node.op_type in SIZED
        model, feeds = _model_of(node, operands)
        elements, itemsize = _result_size(node, operands) if is_known else (_inferred_size(model, operands), 8)
        budget.compute(
            sum(x.nbytes for x in operands if x is not None), elements * itemsize, f"{node.label}: {elements} numbers"
        )
        _check_work(node, operands, elements)
        with np.errstate(all="ignore"):
            results = _evaluate(model, feeds)
    except (Unsupported, MhoError):
        raise
    except Exception as error:  # NumPy and the reference implementation raise many kinds
        raise InputFileError(f"{node.label} cannot be computed: {error}", where=where) from error
    if any(result.dtype.kind not in "biufV" for result in results):  # V: bfloat16 and narrower
        raise Unsupported("makes something else than numbers")
    return results


def clip_integers(value: Constant, low: NDArray[Any] | None, high: NDArray[Any] | None) -> Constant:
    """Clip an integer constant: its range is what the bounds leave of it. Raises `Unsupported` for odd bounds."""
    if value.bounds is None:
        raise Unsupported("clips integers of no known type")
    bounds = narrow_bounds(value.bounds, low, high)
    return Constant(value.array.clip(*bounds).astype(value.array.dtype), value.origin, bounds)


def narrow_bounds(
    bounds: tuple[int, int], low: NDArray[Any] | float | None, high: NDArray[Any] | float | None
) -> tuple[int, int]:
    """Return what limits leave of a range of integers. Raises `Unsupported` for limits that are no whole numbers."""
    narrowed = list(bounds)
    for index, (limit, choose) in enumerate(((low, max), (high, min))):
        if limit is None:
            continue
        array = np.asarray(limit)
        if array.size != 1 or np.isnan(value := float(array.reshape(()))):
            raise Unsupported("clips to bounds that are no single numbers")
        if np.isfinite(value):
            if value != int(value):
                raise Unsupported(f"clips integers to {value}")
            narrowed[index] = choose(narrowed[index], int(value))
    if narrowed[0] >= narrowed[1]:
        raise Unsupported(f"clips integers to {narrowed[0]}..{narrowed[1]}")
    return narrowed[0], narrowed[1]


def _constant(node: OnnxNode) -> NDArray[Any]:
    value = node.attributes.get("value")
    if isinstance(value, Constant):
        return value.array
    for key, dtype in _CONSTANT_FORMS.items():
        if key in node.attributes:
            return np.array(node.attributes[key], dtype=dtype)
    raise Unsupported("a constant that is not numbers")


def _result_size(node: OnnxNode, operands: Sequence[NDArray[Any] | None]) -> tuple[int, int]:
    """Return a bound of how many elements the outputs have together, and of the bytes of each."""
    first, *others = operands
    given = [operand for operand in operands if operand is not None]
    second = others[0] if others else None
    itemsize = max((operand.itemsize for operand in given), default=8)
    elements = max((operand.size for operand in given), default=0)
    match node.op_type:
        case "Concat":
            elements = sum(operand.size for operand in given)
        case "ConstantOfShape" if first is not None:
            elements, itemsize = math.prod(first.tolist()), 8
        case "Expand" if first is not None and second is not None:
            elements = math.prod(broadcast(first.shape, tuple(second.tolist())))
        case "Tile" if first is not None and second is not None:
            elements = first.size * math.prod(second.tolist())
        case "Range":
            start, limit, delta = (float(operand.reshape(())) for operand in given)
            elements = max(0, math.ceil((limit - start) / delta))
        case "Pad" if first is not None and second is not None:
            axes = range(first.ndim) if len(operands) < 4 or operands[3] is None else operands[3].tolist()
            sizes, pads = list(first.shape), second.tolist()
            for index, axis in enumerate(axes):
                sizes[axis] += pads[index] + pads[index + len(axes)]
            elements = math.prod(sizes)
        case "Gather" if first is not None and second is not None:
            axis = node.integer("axis", 0)
            elements = second.size * (first.size // max(1, first.shape[axis]))
        case "Cast":
            from onnx import helper

            to = helper.tensor_dtype_to_np_dtype(node.integer("to", 0))
            if to.kind == "O":
                raise Unsupported("casts numbers to text")
            itemsize = to.itemsize
        case _ if node.op_type in _BROADCASTING:
            elements = math.prod(broadcast(*(operand.shape for operand in given)))
    return elements, itemsize


_BROADCASTING_NAMES = """
    Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow Sub Sum Where Xor
"""
_BROADCASTING = frozenset(_BROADCASTING_NAMES.split())


def _inferred_size(model: onnx.ModelProto, operands: Sequence[NDArray[Any] | None]) -> int:
    """Return how many elements the outputs have together, by ONNX's shape inference. Raises `Unsupported`."""
    from onnx import numpy_helper, shape_inference

    for index, operand in enumerate(operands):
        if operand is not None and operand.size <= _MAX_SIZES:
            model.graph.initializer.append(numpy_helper.from_array(operand, f"i{index}"))
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    del model.graph.initializer[:]
    total = 0
    for output in inferred.graph.output:
        tensor = output.type.tensor_type
        sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
        if not tensor.HasField("shape") or min(sizes, default=0) < 0:
            raise Unsupported("makes a constant whose size is not known before")
        total += math.prod(sizes)
    return total


def _check_work(node: OnnxNode, operands: Sequence[NDArray[Any] | None], elements: int) -> None:
    """Refuse what would take minutes. Raises `Unsupported`."""
    taps = math.prod(node.integers("kernel_shape") or ())
    if len(operands) > 1 and operands[1] is not None:
        if node.op_type in ("MatMul", "Gemm"):
            taps = max(x.shape[-1] if x is not None and x.ndim else 1 for x in operands[:2])
        elif "Conv" in node.op_type:
            taps = math.prod(operands[1].shape[1:])
    if elements * taps > _MAX_PRODUCTS:
        raise Unsupported(f"takes {elements * taps} products of constants")
    if node.op_type in ("MatMul", "Gemm"):
        return
    numbers = max(elements, *(x.size for x in operands if x is not None))
    if (node.op_type in _SLOW or node.op_type not in SIZED) and numbers > _MAX_SLOW_ELEMENTS:
        raise Unsupported(f"makes a constant of {elements} numbers, each by itself")


def _model_of(
    node: OnnxNode, operands: Sequence[NDArray[Any] | None]
) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """Return a model of the node alone, and what its inputs are."""
    from onnx import helper, numpy_helper

    attributes = {
        key: numpy_helper.from_array(value.array) if isinstance(value, Constant) else value
        for key, value in node.attributes.items()
    }
    names = [f"i{index}" if operand is not None else "" for index, operand in enumerate(operands)]
    outputs = [f"o{index}" for index in range(len(node.outputs))]
    proto = helper.make_node(node.op_type, names, outputs, **attributes)
    types = [helper.np_dtype_to_tensor_dtype(operand.dtype) if operand is not None else 0 for operand in operands]
    shapes = [operand.shape if operand is not None else () for operand in operands]
    infos = [helper.make_tensor_value_info(n, t, s) for n, t, s in zip(names, types, shapes, strict=True) if n]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([proto], "constant", infos, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.opset)])
    feeds = {name: operand for name, operand in zip(names, operands, strict=True) if operand is not None}
    return model, feeds


def _evaluate(model: onnx.ModelProto, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    from onnx.reference import ReferenceEvaluator

    return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, feeds)]
