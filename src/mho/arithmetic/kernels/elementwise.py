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
from mho.arithmetic.kernels.transcendental import exp64, in_float64, log64
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


def _expm1(x: Tensor) -> Tensor:
    """e^x - 1 in float64; near 0 by its series, where the difference would lose digits."""
    return torch.where(x.abs() < 1e-4, x * (1.0 + x * (0.5 + x * (1.0 / 6.0))), exp64(x) - 1.0)


def _train_elu(x: Tensor, alpha: float, scale: float = 1.0) -> Tensor:
    """x, or alpha (e^(x / scale) - 1) where x is negative; the clamp keeps what is not taken from overflowing."""
    return torch.where(x < 0, alpha * torch.expm1(x.clamp(max=0.0) / scale), x)


def _selu(x: Tensor, attributes: Attributes) -> Tensor:
    alpha, gamma = get_float(attributes, "alpha"), get_float(attributes, "gamma")
    return in_float64(x, lambda v: gamma * torch.where(v < 0, alpha * _expm1(v), v))


def _softplus(x: Tensor) -> Tensor:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|) in float64; log(1 + y) of a small y by its series."""
    y = exp64(-x.abs())
    return x.clamp(min=0.0) + torch.where(y < 1e-4, y * (1.0 - y * (0.5 - y * (1.0 / 3.0))), log64(1.0 + y))


def _mish(x: Tensor) -> Tensor:
    """x tanh(log(1 + e^x)) in float64: tanh(log(1 + y)) is z / (z + 2) with z = y (y + 2), and 1 from x = 40 on."""
    y = exp64(x.clamp(max=40.0))
    z = y * (y + 2.0)
    return x * (z / (z + 2.0))


def run_prelu(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """x, or slope times x where x is negative."""
    del attributes
    x, slope = operands
    return torch.where(x < 0, x * slope, x)


run_relu = unary(torch.relu)
run_clip = with_attributes(_clip)
run_leaky_relu = with_number(lambda x, alpha: torch.where(x >= 0, x, x * alpha), "alpha")
run_thresholded_relu = with_number(lambda x, alpha: torch.where(x <= alpha, 0.0, x), "alpha")
run_elu = with_number(lambda x, alpha: in_float64(x, lambda v: torch.where(v < 0, alpha * _expm1(v), v)), "alpha")
train_elu = with_number(_train_elu, "alpha")
run_celu = with_number(
    lambda x, alpha: in_float64(x, lambda v: torch.where(v < 0, alpha * _expm1(v / alpha), v)), "alpha"
)
train_celu = with_number(lambda x, alpha: _train_elu(x, alpha, alpha), "alpha")
run_selu = with_attributes(_selu)
train_selu = with_attributes(
    lambda x, attributes: get_float(attributes, "gamma") * _train_elu(x, get_float(attributes, "alpha"))
)
run_softplus = unary(lambda x: in_float64(x, _softplus))
train_softplus = unary(functional.softplus)
run_softsign = unary(lambda x: x / (1.0 + x.abs()))
run_mish = unary(lambda x: in_float64(x, _mish))
train_mish = unary(functional.mish)
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


run_equal = binary(lambda x, y: (x == y).to(torch.float32))
run_less = binary(lambda x, y: (x < y).to(torch.float32))
run_less_or_equal = binary(lambda x, y: (x <= y).to(torch.float32))
run_is_nan = unary(lambda x: x.isnan().to(torch.float32))
run_floor = unary(torch.floor)
run_ceil = unary(torch.ceil)
run_round = unary(torch.round)
run_sign = unary(torch.sign)
run_sin = unary(transcendental.sin)
train_sin = unary(torch.sin)
run_cos = unary(transcendental.cos)
train_cos = unary(torch.cos)


def run_where(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Select: the first operand where the third (a constant mask, or 0 and 1) is true, and the second elsewhere."""
    del attributes
    return torch.where(operands[2].to(torch.bool), operands[0], operands[1])


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
