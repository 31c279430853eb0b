"""Records of the reductions of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mho.arithmetic.attributes import Attributes, Shape, get_int, get_ints
from mho.arithmetic.operation import Attribute, Operation, RequiredWindows, ShapeRule, Use, always, as_operands
from mho.arithmetic.required_windows import first_of, largest, of_axis
from mho.arithmetic.shapes import ShapeError


def _reduced_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Drop `axes`, or keep them with size 1."""
    axes = get_ints(attributes, "axes")
    if attributes["keepdims"]:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shapes[0]))
    return tuple(size for axis, size in enumerate(shapes[0]) if axis not in axes)


def _reduced_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    axes = get_ints(use.attributes, "axes")
    found = largest(first_of(use, operands), axes)
    return found if use.attributes["keepdims"] else found.squeeze(axes)


def _reduction(name: str, onnx: str, *, takes_integers: bool = False) -> Operation:
    return Operation(
        name=name, kernels="reductions", shape=_reduced_shape, onnx=onnx,
        attributes={"axes": Attribute("ints", is_operand=True), "keepdims": Attribute("int", 1)},
        required_windows=_reduced_windows,
        non_negative=as_operands,
        keeps_samples=lambda use: 0 not in get_ints(use.attributes, "axes"), takes_integers=takes_integers,
    )  # fmt: skip


def _axis_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Drop `axis`, or keep it with size 1."""
    axis, shape = get_int(attributes, "axis"), shapes[0]
    if not 0 <= axis < len(shape):
        raise ShapeError(f"axis {axis} of {list(shape)}")
    return (*shape[:axis], *(1,) * bool(attributes["keepdims"]), *shape[axis + 1 :])


def _top_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """`k` elements are left along `axis`."""
    axis, k, shape = get_int(attributes, "axis"), get_int(attributes, "k"), shapes[0]
    if not 0 <= axis < len(shape) or not 1 <= k <= shape[axis]:
        raise ShapeError(f"the first {k} along axis {axis} of {list(shape)}")
    return (*shape[:axis], k, *shape[axis + 1 :])


def _axis_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    found = of_axis(use, operands)
    return found if len(use.shape) == found.ndim else found.squeeze(get_int(use.attributes, "axis"))


def _along_axis(name: str, shape: ShapeRule, attributes: dict[str, Attribute], onnx: str, **facts: Any) -> Operation:
    return Operation(
        name=name, kernels="reductions", shape=shape, onnx=onnx, required_windows=_axis_windows,
        attributes={"axis": Attribute("int", 0), **attributes},
        keeps_samples=lambda use: use.attributes["axis"] != 0, **{"non_negative": always, **facts},
    )  # fmt: skip


_TOP = {"k": Attribute("int", is_operand=True), "largest": Attribute("int", 1)}

OPERATIONS = (
    _along_axis(
        "arg_max", _axis_shape, {"keepdims": Attribute("int", 1), "select_last_index": Attribute("int", 0)}, "ArgMax"
    ),
    _along_axis("top_k", _top_shape, _TOP, "TopK", non_negative=as_operands),
    _along_axis("top_k_indices", _top_shape, _TOP, "TopK"),
    _reduction("reduce_mean", "ReduceMean"),
    _reduction("reduce_sum", "ReduceSum"),
    _reduction("reduce_max", "ReduceMax", takes_integers=True),
)
