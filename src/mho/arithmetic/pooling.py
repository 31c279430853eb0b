"""Records of max and average pooling over [B, C, H, W]."""

from __future__ import annotations

from collections.abc import Sequence

from mho.arithmetic.attributes import Attributes, Shape, get_ints
from mho.arithmetic.operation import Attribute, Operation, RequiredWindows, Use, as_operands, each_apart
from mho.arithmetic.required_windows import first_of, slide_images
from mho.arithmetic.shapes import ShapeError, window_counts

WINDOW_ATTRIBUTES = {
    "kernel": Attribute("ints", onnx="kernel_shape"),
    "strides": Attribute("ints"),
    "pads": Attribute("ints"),
    "dilations": Attribute("ints"),
}
"""Of convolutions and poolings; pads are top, left, bottom, right."""
_POOL_ATTRIBUTES = {**WINDOW_ATTRIBUTES, "ceil_mode": Attribute("int", 0)}


def padded_shape(shapes: Sequence[Shape], result: Shape, attributes: Attributes) -> Shape:
    """Return the shape of the padded first operand [B, C, H, W]."""
    del result
    top, left, bottom, right = get_ints(attributes, "pads")
    *leading, height, width = shapes[0]
    return (*leading, height + top + bottom, width + left + right)


def _taps_shape(shapes: Sequence[Shape], result: Shape, attributes: Attributes) -> Shape:
    del shapes
    return (*result, *get_ints(attributes, "kernel"))


def _pool_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x[B, C, H, W] -> [B, C, oh, ow]."""
    batch, channels, *sizes = shapes[0]
    if len(sizes) != 2:
        raise ShapeError(f"input {list(shapes[0])} is not two-dimensional")
    kernel, pads, dilations = (get_ints(attributes, key) for key in ("kernel", "pads", "dilations"))
    extents = window_counts(sizes, attributes, ceil=bool(attributes["ceil_mode"]))
    for i, size in enumerate(sizes):
        if max(pads[i], pads[i + 2]) > dilations[i] * (kernel[i] - 1) or (pads[i] and dilations[i] > size):
            raise ShapeError(f"pads {list(pads)} hold whole windows of {kernel[i]} with dilation {dilations[i]}")
    return (batch, channels, *extents)


def _pool_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    return slide_images(first_of(use, operands), use.shapes[0][2:], use.shape[2:], use.attributes)


OPERATIONS = (
    Operation(
        name="max_pool", kernels="pooling", shape=_pool_shape, attributes=_POOL_ATTRIBUTES, onnx="MaxPool",
        required_windows=_pool_windows, non_negative=as_operands, keeps_samples=each_apart,
        scratch=padded_shape, moves=True,
    ),
    Operation(
        name="average_pool", kernels="pooling", shape=_pool_shape, onnx="AveragePool",
        attributes={**_POOL_ATTRIBUTES, "count_include_pad": Attribute("int", 0)},
        required_windows=_pool_windows, non_negative=as_operands, keeps_samples=each_apart, scratch=_taps_shape,
    ),
)  # fmt: skip
