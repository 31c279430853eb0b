"""Float forms of the products that run in crossbars."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mho.arithmetic.attributes import Attributes, get_int, get_ints


def run_conv(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Convolve [N, B, C, H, W]."""
    x, weight, *bias = operands
    top, left, bottom, right = get_ints(attributes, "pads")
    flat = x.flatten(0, 1)
    padding = (top, left)
    if (top, left) != (bottom, right):
        flat, padding = functional.pad(flat, (left, right, top, bottom)), (0, 0)
    result = functional.conv2d(
        flat,
        weight,
        bias[0] if bias else None,
        get_ints(attributes, "strides"),
        padding,
        get_ints(attributes, "dilations"),
        get_int(attributes, "groups"),
    )
    return result.unflatten(0, x.shape[:2])


def run_linear(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Multiply with the weight [outputs, K], then add the bias."""
    del attributes
    return functional.linear(operands[0], operands[1], operands[2] if len(operands) > 2 else None)


def run_matmul(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Multiply two activations."""
    del attributes
    return torch.matmul(operands[0], operands[1])
