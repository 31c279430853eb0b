"""The three products that crossbars compute, as plain torch functions with explicit derivatives.

A `Geometry` is a tuple of plain values, so that compilers see constants: ("linear",), ("matmul",) or
("conv", strides, pads, dilations, groups) with symmetric pads (height, width).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

Geometry = (
    tuple[str, tuple[int, int], tuple[int, int], tuple[int, int], int] | tuple[str]
)  # written out so that it stays a constant to torch.compile

_SHORT_PRODUCT = 4_000_000
"""Multiplications of a convolution below which several of them side by side cost less than one after the other."""


def multiply(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, kind: torch.dtype | None = None
) -> Tensor:
    """Return the product.

    Args:
        x: [N, C, H, W] for "conv", [..., K] for "linear", [..., M, K] for "matmul".
        weight: [O, C / groups, kh, kw], [O, K] or [..., K, P].
        bias: [O] or None; None for "matmul".
        geometry: which product it is.
        kind: the floating point to compute it in; the result is of x's. None: x's.
    """
    if kind is not None and kind != x.dtype:
        narrow = None if bias is None else bias.to(kind)
        return multiply(x.to(kind), weight.to(kind), narrow, geometry).to(x.dtype)
    if geometry[0] == "linear":
        return functional.linear(x, weight, bias)
    if geometry[0] == "matmul":
        return torch.matmul(x, weight)
    _, strides, pads, dilations, groups = geometry  # type: ignore[misc]
    return functional.conv2d(x, weight, bias, strides, pads, dilations, groups)


def multiply_parts(x: Tensor, weights: Tensor, geometry: Geometry) -> Tensor:
    """Return the products of equal parts of the samples, one after the other, with matrices of their own.

    Args:
        x: as for `multiply`, but for "matmul".
        weights: [parts, ...], each as for `multiply`.
        geometry: which product it is.
    """
    parts = len(weights)
    if parts == 1:
        return multiply(x, weights[0], None, geometry)
    if geometry[0] == "linear":
        rows = x.reshape(parts, -1, x.shape[-1])
        return torch.bmm(rows, weights.transpose(1, 2)).reshape(*x.shape[:-1], weights.shape[1])
    count, channels, height, width = len(x) // parts, *x.shape[1:]
    shape = product_shape(x, weights[0], geometry)
    if count * math.prod(shape[2:]) * weights[0].numel() > _SHORT_PRODUCT:
        some = zip(x.split(count), weights, strict=True)
        return torch.cat([multiply(part, weight, None, geometry) for part, weight in some])
    _, strides, pads, dilations, groups = geometry  # type: ignore[misc]
    beside = x.reshape(parts, count, channels, height, width).transpose(0, 1).reshape(count, -1, height, width)
    found = functional.conv2d(beside, weights.flatten(0, 1), None, strides, pads, dilations, parts * groups)
    own = found.view(count, parts, *shape[1:]).permute(1, 0, 3, 4, 2).reshape(len(x), *shape[2:], shape[1])
    return own.permute(0, 3, 1, 2)


def product_shape(x: Tensor, weight: Tensor, geometry: Geometry) -> torch.Size:
    """Return the shape of a product of operands as for `multiply`."""
    if geometry[0] == "linear":
        return torch.Size((*x.shape[:-1], weight.shape[0]))
    if geometry[0] == "matmul":
        return torch.Size((*torch.broadcast_shapes(x.shape[:-2], weight.shape[:-2]), x.shape[-2], weight.shape[-1]))
    _, strides, pads, dilations, _ = geometry  # type: ignore[misc]
    axes = zip(x.shape[2:], weight.shape[2:], strides, pads, dilations, strict=True)
    sizes = ((size + 2 * pad - gap * (kernel - 1) - 1) // stride + 1 for size, kernel, stride, pad, gap in axes)
    return torch.Size((len(x), weight.shape[0], *sizes))


def multiply_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    mask: tuple[bool, bool, bool],
    kind: torch.dtype | None = None,
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Return the gradients of x, weight and bias; None where `mask` does not ask (weight's is always made).

    They are computed in the floating point `kind` (None: as given) and of the operands' own.
    """
    if kind is not None and kind != x.dtype:
        operands = gradient.to(kind), x.to(kind), weight.to(kind)
        grad_x, grad_weight, grad_bias = multiply_backward(*operands, geometry, mask)
        wide = [None if one is None else one.to(x.dtype) for one in (grad_x, grad_bias)]
        return wide[0], grad_weight.to(weight.dtype), wide[1]
    if geometry[0] == "conv":
        _, strides, pads, dilations, groups = geometry  # type: ignore[misc]
        outputs = [weight.shape[0]] if mask[2] else None
        grads = torch.ops.aten.convolution_backward(
            gradient, x, weight, outputs, strides, pads, dilations, False, (0, 0), groups, mask
        )
        return grads[0], grads[1], grads[2]
    if geometry[0] == "matmul":
        grad_x = torch.matmul(gradient, weight.transpose(-1, -2)) if mask[0] else None
        return grad_x, torch.matmul(x.transpose(-1, -2), gradient), None
    rows = gradient.reshape(-1, gradient.shape[-1])
    grad_x = torch.matmul(gradient, weight) if mask[0] else None
    grad_weight = rows.t() @ x.reshape(-1, x.shape[-1])
    return grad_x, grad_weight, rows.sum(0) if mask[2] else None
