"""Records of the reductions of axes."""

from __future__ import annotations

from collections.abc import Sequence

from mho.arithmetic.attributes import Attributes, Shape, get_ints
from mho.arithmetic.operation import Attribute, Operation, RequiredWindows, Use, as_operands
from mho.arithmetic.required_windows import first_of, largest


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


OPERATIONS = (
    _reduction("reduce_mean", "ReduceMean"),
    _reduction("reduce_sum", "ReduceSum"),
    _reduction("reduce_max", "ReduceMax", takes_integers=True),
)
