"""Records of the operations that normalize along axes: batch and layer normalization, softmax."""

from __future__ import annotations

from collections.abc import Sequence

from mho.arithmetic.attributes import Attributes, Shape, get_int
from mho.arithmetic.operation import Attribute, Operation, RequiredWindows, Use, always, unknown
from mho.arithmetic.required_windows import first_of, largest, of_aligned, of_axis
from mho.arithmetic.shapes import ShapeError, broadcast

_AXIS = {"axis": Attribute("int")}
_EPSILON = {"epsilon": Attribute("float", 1e-5)}


def _batch_norm_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x, and scale, bias, mean and variance [size of `axis`] -> the shape of x."""
    axis = get_int(attributes, "axis")
    if len(shapes) != 5 or not 0 <= axis < len(shapes[0]) or any(shape != (shapes[0][axis],) for shape in shapes[1:]):
        raise ShapeError(f"parameters {[list(shape) for shape in shapes[1:]]} for axis {axis} of {list(shapes[0])}")
    return shapes[0]


def _layer_norm_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x, and scale and optional bias, which broadcast to the axes of x from `axis` on -> the shape of x."""
    normalized = shapes[0][get_int(attributes, "axis") :]
    if any(broadcast(shape, normalized) != normalized for shape in shapes[1:]):
        raise ShapeError(f"parameters {[list(shape) for shape in shapes[1:]]} for {list(normalized)}")
    return shapes[0]


def _same_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    del attributes
    return shapes[0]


def _layer_norm_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    return largest(first_of(use, operands), tuple(range(get_int(use.attributes, "axis"), len(use.shape))))


def _is_behind_samples(use: Use) -> bool:
    return use.attributes["axis"] != 0


OPERATIONS = (
    Operation(
        name="softmax", kernels="normalizations", shape=_same_shape, attributes=_AXIS, onnx="Softmax",
        required_windows=of_axis, non_negative=always, keeps_samples=_is_behind_samples,
    ),
    Operation(
        name="log_softmax", kernels="normalizations", shape=_same_shape, attributes=_AXIS, onnx="LogSoftmax",
        required_windows=of_axis, non_negative=unknown, keeps_samples=_is_behind_samples,
    ),
    Operation(
        name="batch_norm", kernels="normalizations", shape=_batch_norm_shape, operands=(5, 5),
        attributes={"axis": Attribute("int", 1, onnx=None)} | _EPSILON, onnx="BatchNormalization",
        required_windows=of_aligned, non_negative=unknown,
        keeps_samples=_is_behind_samples, learned=("weight", "bias"),
    ),
    Operation(
        name="layer_norm", kernels="normalizations", shape=_layer_norm_shape, operands=(2, 3),
        attributes=_AXIS | _EPSILON, onnx="LayerNormalization", required_windows=_layer_norm_windows,
        non_negative=unknown, keeps_samples=_is_behind_samples, learned=("weight", "bias"),
    ),
)  # fmt: skip
