"""Kernels of softmax and of batch and layer normalization; each step is rounded to float32."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mho.arithmetic.attributes import Attributes, get_float, get_int
from mho.arithmetic.kernels import transcendental
from mho.arithmetic.kernels.reductions import mean, reduce_axes
from mho.arithmetic.kernels.trees import reduce_tree, tree_sum


def _below_largest(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Return x - max along `axis`, which is moved to the end; the sign of a zero maximum makes no difference."""
    values = operands[0].movedim(get_int(attributes, "axis") + 1, -1)
    return values - reduce_tree(values, -1, torch.maximum, -math.inf).unsqueeze(-1)


def run_softmax(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """e^(x - max) / sum of e^(x - max) along `axis` of the sample."""
    powers = transcendental.exp(_below_largest(operands, attributes))
    return (powers / tree_sum(powers).unsqueeze(-1)).movedim(-1, get_int(attributes, "axis") + 1)


def train_softmax(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """The same by torch."""
    return torch.softmax(operands[0], get_int(attributes, "axis") + 1)


def run_log_softmax(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """(x - max) - log(sum of e^(x - max)) along `axis` of the sample."""
    shifted = _below_largest(operands, attributes)
    total = tree_sum(transcendental.exp(shifted))
    return (shifted - transcendental.log(total).unsqueeze(-1)).movedim(-1, get_int(attributes, "axis") + 1)


def train_log_softmax(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """The same by torch."""
    return torch.log_softmax(operands[0], get_int(attributes, "axis") + 1)


def _batch_norm_factors(
    operands: Sequence[Tensor], attributes: Attributes, root: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    x, scale, bias, mean, _ = operands
    shape = [1] * x.dim()
    shape[get_int(attributes, "axis") + 1] = -1
    return (scale / root).reshape(shape), mean.reshape(shape), bias.reshape(shape)


def run_batch_norm(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """(x - mean) * (scale / sqrt(variance + epsilon)) + bias along `axis`."""
    root = transcendental.sqrt(operands[4] + get_float(attributes, "epsilon"))
    factor, mean, bias = _batch_norm_factors(operands, attributes, root)
    return (operands[0] - mean) * factor + bias


def train_batch_norm(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """The same as one product and one sum."""
    root = torch.sqrt(operands[4] + get_float(attributes, "epsilon"))
    factor, mean, bias = _batch_norm_factors(operands, attributes, root)
    return operands[0] * factor + (bias - mean * factor)


def run_layer_norm(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the axes of the sample from `axis` on."""
    x, scale, *bias = operands
    axes = range(get_int(attributes, "axis"), x.dim() - 1)
    centred = x - reduce_axes(x, axes, True, mean)
    variance = reduce_axes(centred * centred, axes, True, mean)
    result = centred / transcendental.sqrt(variance + get_float(attributes, "epsilon")) * scale
    return result + bias[0] if bias else result


def train_layer_norm(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """The same by torch."""
    x, scale, *bias = operands
    shape = x.shape[get_int(attributes, "axis") + 1 :]
    offset = bias[0].expand(shape) if bias else None
    return functional.layer_norm(x, shape, scale.expand(shape), offset, get_float(attributes, "epsilon"))
