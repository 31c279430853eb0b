"""Kernels of operations on one element of each operand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mho.arithmetic import requantize
from mho.arithmetic.attributes import Attributes, get_float, get_int, get_text
from mho.arithmetic.kernels import transcendental
from mho.arithmetic.kernels.adapters import binary, unary, with_attributes, with_number
from mho.arithmetic.kernels.trees import maximum


def _clip(x: Tensor, attributes: Attributes) -> Tensor:
    return x.clamp(get_float(attributes, "min"), get_float(attributes, "max"))


def _hard_sigmoid(x: Tensor, attributes: Attributes) -> Tensor:
    return (x * get_float(attributes, "alpha") + get_float(attributes, "beta")).clamp(0.0, 1.0)


def _minimum(x: Tensor, y: Tensor) -> Tensor:
    return -maximum(-x, -y)


def _quantizer(attributes: Attributes) -> tuple[float, int, int, int]:
    zero_point, qmin, qmax = (get_int(attributes, key) for key in ("zero_point", "qmin", "qmax"))
    return get_float(attributes, "scale"), zero_point, qmin, qmax


run_relu = unary(torch.relu)
run_clip = with_attributes(_clip)
run_leaky_relu = with_number(lambda x, alpha: torch.where(x >= 0, x, x * alpha), "alpha")
run_sigmoid = unary(transcendental.sigmoid)
train_sigmoid = unary(torch.sigmoid)
run_hard_sigmoid = with_attributes(_hard_sigmoid)
run_hard_swish = unary(lambda x: x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0))
run_silu = unary(transcendental.silu)
train_silu = unary(functional.silu)
run_tanh = unary(transcendental.tanh)
train_tanh = unary(torch.tanh)
run_gelu = with_attributes(lambda x, attributes: transcendental.gelu(x, get_text(attributes, "approximate")))
train_gelu = with_attributes(lambda x, attributes: functional.gelu(x, approximate=get_text(attributes, "approximate")))
run_erf = unary(transcendental.erf)
train_erf = unary(torch.erf)
run_exp = unary(transcendental.exp)
train_exp = unary(torch.exp)
run_log = unary(transcendental.log)
train_log = unary(torch.log)
run_sqrt = unary(transcendental.sqrt)
train_sqrt = unary(torch.sqrt)
run_reciprocal = unary(lambda x: torch.ones_like(x) / x)
run_neg = unary(torch.neg)
run_abs = unary(torch.abs)
run_pow = with_number(transcendental.power, "exponent")
train_pow = with_number(torch.pow, "exponent")
run_add = binary(torch.add)
run_sub = binary(torch.sub)
run_mul = binary(torch.mul)
run_div = binary(torch.div)
run_minimum = binary(_minimum)
train_minimum = binary(torch.minimum)
run_maximum = binary(maximum)
train_maximum = binary(torch.maximum)


def run_where(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Select: the first operand where the third, a constant mask (bool), is True, and the second elsewhere."""
    del attributes
    return torch.where(operands[2], operands[0], operands[1])


def run_cast(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Round to the type `to`, float16 or bfloat16: to nearest even, beyond its range to infinity."""
    to = {"float16": torch.float16, "bfloat16": torch.bfloat16}[get_text(attributes, "to")]
    return operands[0].to(to).to(torch.float32)


def run_fake_quantize(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Quantize and dequantize on one grid."""
    return requantize.fake_quantize(operands[0], *_quantizer(attributes))


def train_fake_quantize(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """The same; gradients pass where nothing is clipped."""
    scale, zero_point, qmin, qmax = _quantizer(attributes)
    x = operands[0]
    kept = x.clamp((qmin - zero_point) * scale, (qmax - zero_point) * scale)
    return kept + (requantize.fake_quantize(x, scale, zero_point, qmin, qmax) - kept).detach()
