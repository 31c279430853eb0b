"""Records of the products that run in crossbars: convolution, dense layer, product of two activations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from mho.arithmetic.attributes import Attributes, Shape, get_int
from mho.arithmetic.operation import Attribute, Operation, RequiredWindows, Use, each_apart, unknown
from mho.arithmetic.pooling import WINDOW_ATTRIBUTES, padded_shape
from mho.arithmetic.required_windows import first_of, largest, slide_images
from mho.arithmetic.shapes import ShapeError, window_counts


def _conv_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x[B, C, H, W], weight[O, C / groups, kh, kw], optional bias[O] -> [B, O, oh, ow]."""
    (batch, channels, *sizes), (outputs, per_group, *kernel) = shapes[0], shapes[1]
    groups = get_int(attributes, "groups")
    if len(sizes) != 2 or len(kernel) != 2:
        raise ShapeError(f"input {list(shapes[0])} and weight {list(shapes[1])} are not two-dimensional")
    if per_group * groups != channels or outputs % groups:
        raise ShapeError(f"{channels} channels and {outputs} outputs do not fit {groups} groups of {per_group}")
    _check_bias(shapes, outputs)
    return (batch, outputs, *window_counts(sizes, attributes, ceil=False))


def _linear_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x[..., K], weight[outputs, K], optional bias[outputs] -> [..., outputs]."""
    del attributes
    outputs, inputs = shapes[1]
    if not shapes[0] or shapes[0][-1] != inputs:
        raise ShapeError(f"input {list(shapes[0])} does not meet {inputs} rows")
    _check_bias(shapes, outputs)
    return (*shapes[0][:-1], outputs)


def _matmul_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """a[..., M, K], b[..., K, N] -> [..., M, N]; leading axes equal."""
    del attributes
    a, b = shapes
    if len(a) < 2 or len(a) != len(b) or a[:-2] != b[:-2] or a[-1] != b[-2]:
        raise ShapeError(f"{list(a)} and {list(b)} do not multiply")
    return (*a[:-1], b[-1])


def _check_bias(shapes: Sequence[Shape], outputs: int) -> None:
    if len(shapes) > 2 and shapes[2] != (outputs,):
        raise ShapeError(f"bias {list(shapes[2])} for {outputs} outputs")


def _conv_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    channels, outputs, groups = use.shapes[0][1], use.shape[1], get_int(use.attributes, "groups")
    required = first_of(use, operands)
    if required.shape[1] > 1:
        grouped = required.reshape(required.shape[0], groups, channels // groups, *required.shape[2:])
        required = grouped.max(axis=2).repeat(outputs // groups, axis=1) if groups > 1 else grouped.max(axis=2)
    return slide_images(required, use.shapes[0][2:], use.shape[2:], use.attributes)


def _linear_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    return largest(first_of(use, operands), -1)


def _matmul_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    del use
    parts = [largest(operand, axis) for operand, axis in zip(operands, (-1, -2), strict=True) if operand is not None]
    return reduce(np.maximum, parts)


OPERATIONS = (
    Operation(
        name="conv", kernels="products", onnx="Conv", is_mvm=True, operands=(2, 3), shape=_conv_shape,
        attributes={**WINDOW_ATTRIBUTES, "groups": Attribute("int", 1, onnx="group")},
        required_windows=_conv_windows, non_negative=unknown, keeps_samples=each_apart, scratch=padded_shape,
    ),
    Operation(
        name="linear", kernels="products", is_mvm=True, operands=(2, 3), shape=_linear_shape,
        required_windows=_linear_windows, non_negative=unknown, keeps_samples=lambda use: len(use.shape) > 1,
    ),
    Operation(
        name="matmul", kernels="products", is_mvm=True, operands=(2, 2), shape=_matmul_shape,
        required_windows=_matmul_windows, non_negative=unknown, keeps_samples=lambda use: len(use.shape) > 2,
    ),
)  # fmt: skip
