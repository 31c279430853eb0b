"""QuantizeLinear and DequantizeLinear: grids of weights and activations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mho.network.draft import BINARY, Unsupported
from mho.network.graph import Attribute
from mho.network.onnx_file import integer_type_bounds
from mho.network.onnx_graph import Converter, GraphReader
from mho.network.onnx_values import (
    Activation,
    Constant,
    OnnxNode,
    QuantizedActivation,
    QuantizedConstant,
    in_blocks,
    normalize_axis,
)


def _bounds_of_type(reader: GraphReader, node: OnnxNode) -> tuple[int, int]:
    """Return the range of the integers that QuantizeLinear makes: those of its zero point's type, else uint8."""
    if node.has_input(2):
        zero_point = reader.value(node.inputs[2])
        if not isinstance(zero_point, Constant) or zero_point.bounds is None:
            raise Unsupported("its zero point is no constant integer")
        return zero_point.bounds
    output = node.integer("output_dtype", 0)
    if not output:
        return 0, 255
    from onnx import TensorProto

    name = TensorProto.DataType.Name(output) if output in TensorProto.DataType.values() else str(output)
    bounds = integer_type_bounds(name)
    if bounds is None:
        raise Unsupported(f"quantizes to {name}")
    return bounds


def _parameters(
    reader: GraphReader, node: OnnxNode, shape: tuple[int, ...], *, one_an_axis: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64], int | None]:
    """Return scales, zero points and their axis (None: one for the tensor).

    A list of one scale is the tensor's, or where `one_an_axis` and the axis has one index, that index's.
    """
    if node.integer("block_size", 0):
        raise Unsupported("has one scale a block; mho has one a tensor or an axis")
    scales = np.asarray(reader.constant(node, 1, "scales"), np.float32)
    if not np.isfinite(scales).all():
        raise Unsupported("has a scale that is not finite")
    zero_points = np.zeros(scales.shape, np.int64)
    if node.has_input(2):
        zero_points = reader.constant(node, 2, "zero points")
        if zero_points.dtype.kind not in "iu":
            raise Unsupported(f"zero points of {zero_points.dtype}")
        zero_points = zero_points.astype(np.int64)
        if zero_points.size != scales.size:
            raise Unsupported(f"{zero_points.size} zero points for {scales.size} scales")
        zero_points = zero_points.reshape(scales.shape)
    axis = node.integer("axis", 1)
    fits = scales.ndim == 1 and -len(shape) <= axis < len(shape)
    if scales.size == 1 and not (one_an_axis and fits and shape[axis] == 1):
        return scales.reshape(()), zero_points.reshape(()), None
    axis = normalize_axis(axis, len(shape))
    if scales.shape != (shape[axis],):
        raise Unsupported(f"{list(scales.shape)} scales for axis {axis} of {list(shape)}")
    return scales, zero_points, axis


def _quantize(reader: GraphReader, node: OnnxNode) -> None:
    value, bounds = reader.value(node.inputs[0]), _bounds_of_type(reader, node)
    if isinstance(value, Constant | QuantizedConstant):
        array = np.asarray(reader.constant(node, 0, "numbers"), np.float32)
        scales, zero_points, axis = _parameters(reader, node, array.shape, one_an_axis=True)
        if not scales.all():
            raise Unsupported("divides by a scale of zero")
        if not np.isfinite(array).all():
            raise Unsupported("quantizes numbers that are not finite")
        shape = [1] * array.ndim
        if axis is not None:
            shape[axis] = -1
        integers = in_blocks(
            lambda values, steps, zeros: (np.rint(values / steps).astype(np.float64) + zeros).clip(*bounds),
            _narrowest(bounds) or np.int64,
            array,
            scales.reshape(shape),
            zero_points.reshape(shape),
        )
        reader.bind(node.outputs[0], Constant(integers, value.origin, bounds))
        return
    tensor = reader.activation(node)
    scales, zero_points, axis = _parameters(reader, node, reader.shape(tensor), one_an_axis=False)
    if axis is not None:
        raise Unsupported("has one scale a channel of an activation; mho has one a tensor")
    if scales <= 0:
        raise Unsupported(f"has scale {float(scales)}")
    reader.bind(node.outputs[0], QuantizedActivation(tensor, float(scales), int(zero_points), bounds))


def _dequantize(reader: GraphReader, node: OnnxNode) -> None:
    value = reader.value(node.inputs[0])
    if isinstance(value, Constant):
        if value.bounds is None or max(-value.bounds[0], value.bounds[1]) > 1 << 31:
            raise Unsupported(f"dequantizes {value.array.dtype} constants")
        scales, zero_points, axis = _parameters(reader, node, value.array.shape, one_an_axis=True)
        integers = value.array.astype(_narrowest(value.bounds) or value.array.dtype, copy=False)
        quantized = QuantizedConstant(integers, scales, zero_points, axis, value.bounds, value.origin)
        reader.bind(node.outputs[0], quantized)
        return
    if not isinstance(value, QuantizedActivation):
        raise Unsupported("dequantizes something that QuantizeLinear did not make")
    _dequantize_activation(reader, node, value)


def _dequantize_activation(reader: GraphReader, node: OnnxNode, value: QuantizedActivation) -> None:
    scales, zero_points, axis = _parameters(reader, node, reader.shape(value.tensor), one_an_axis=False)
    if axis is not None:
        raise Unsupported("has one scale a channel of an activation; mho has one a tensor")
    is_sign = value.scale is None
    if is_sign:
        value = replace(value, scale=float(scales))
    if (value.scale, value.zero_point) != (float(scales), int(zero_points)):
        raise Unsupported("has another scale or zero point than its QuantizeLinear")
    if value.bounds[0] >= value.bounds[1]:
        raise Unsupported(f"has the integers {value.bounds[0]}..{value.bounds[1]}")
    attributes: dict[str, Attribute] = {
        "scale": float(scales),
        "zero_point": value.zero_point,
        "qmin": value.bounds[0],
        "qmax": value.bounds[1],
    }
    if is_sign:
        attributes[BINARY] = True
    made = reader.emit(node, "fake_quantize", [value.tensor], attributes)
    reader.bind(node.outputs[0], Activation(made.output))


def _narrowest(bounds: tuple[int, int]) -> type[np.generic] | None:
    """Return the narrowest integer type that holds a range, None where it takes more than 16 bits."""
    for dtype in (np.int8, np.uint8, np.int16, np.uint16):
        limits = np.iinfo(dtype)
        if limits.min <= bounds[0] and bounds[1] <= limits.max:
            return dtype
    return None


CONVERTERS: dict[str, Converter] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}
