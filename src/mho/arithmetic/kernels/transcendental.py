"""exp, log, erf and what is made of them, the same on every machine.

A library's vectorised exp differs in its last bit from its scalar one, so its result depends on where in a tensor a
number lies, on threads and on the processor. Here each function is a fixed sequence of additions, multiplications and
divisions in float64, which IEEE 754 rounds in one way only; the result, off by less than 1e-11 relative, is rounded
to float32. Work goes through blocks that stay in the cache. These are for running; training takes torch's own, which
can be differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_BLOCK = 16_384

_LN2_HIGH = 0.6931471804855391
"""Upper bits of ln 2: k * _LN2_HIGH is exact for |k| < 2^20."""
_LN2_LOW = 7.440617110012397e-11
_LOG2_E = 1.4426950408889634
_EXP_COEFFICIENTS = tuple(1.0 / math.factorial(n) for n in range(11, -1, -1))
_MAX_EXPONENT = 708.0

_HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
"""pi / 2 in three parts; the first two have 33 bits: their products with whole numbers below 2^20 are exact."""
_SIN_COEFFICIENTS = tuple((-1.0) ** n / math.factorial(2 * n + 1) for n in range(9, -1, -1))
_COS_COEFFICIENTS = tuple((-1.0) ** n / math.factorial(2 * n) for n in range(9, -1, -1))

_TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)
_ERF_COEFFICIENTS = tuple((-1.0) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(16, -1, -1))
_ERFC_LIMIT = 6.0
"""erfc(6) is 2e-17: beyond it erf is 1 in float64."""
_ERFCX_COEFFICIENTS = (
    -2.0247581559591565e-10, 2.385410181036406e-09, -6.695640676907735e-10, -6.975553829607929e-08,
    1.6354781835066055e-07, 1.9793834679039903e-06, -7.340532216431452e-06, -8.079215228970009e-05,
    0.00019713917956181017, 0.005588816275344411, 0.03856057042511225, 0.16189356804125732, 0.22142954022993191,
)  # fmt: skip
"""exp(x^2) erfc(x) for 1 <= x <= 6 as a polynomial in u, where t = 1 / (1 + x / 2) = 0.25 + (u + 1) / 2 * (2/3 - 0.25);
interpolated at Chebyshev nodes by this project, off by 3e-13."""


def in_float64(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply an elementwise function of float64 in blocks and round its results to float32."""
    flat = x.contiguous().reshape(-1)
    result = torch.empty_like(flat, dtype=torch.float32)
    for start in range(0, flat.numel(), _BLOCK):
        block = slice(start, start + _BLOCK)
        result[block] = function(flat[block].double())
    return result.reshape(x.shape)


def _horner(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    total = torch.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total.mul_(x).add_(coefficient)
    return total


def _power_of_two(exponent: Tensor) -> Tensor:
    return ((exponent.to(torch.int64) + 1023) << 52).view(torch.float64)


def exp64(x: Tensor) -> Tensor:
    """e^x of float64; beyond 708 as at 708."""
    clamped = x.clamp(-_MAX_EXPONENT, _MAX_EXPONENT)
    exponent = torch.round(clamped * _LOG2_E)
    exponent = torch.where(exponent.isnan(), torch.zeros_like(exponent), exponent)
    remainder = clamped - exponent * _LN2_HIGH
    remainder -= exponent * _LN2_LOW
    return _horner(remainder, _EXP_COEFFICIENTS) * _power_of_two(exponent)


def log64(x: Tensor) -> Tensor:
    """Natural logarithm of normal float64: -infinity at 0, NaN below."""
    bits = x.contiguous().view(torch.int64)
    exponent = (bits >> 52) - 1023
    mantissa = ((bits & ((1 << 52) - 1)) | (1023 << 52)).view(torch.float64)
    high = mantissa > math.sqrt(2.0)
    mantissa = torch.where(high, mantissa * 0.5, mantissa)
    exponent = (exponent + high).double()
    s = (mantissa - 1.0) / (mantissa + 1.0)
    series = _horner(s * s, tuple(2.0 / (2 * n + 1) for n in range(10, -1, -1)))
    result = exponent * _LN2_LOW + s * series
    result = exponent * _LN2_HIGH + result
    result = torch.where(x == 0, torch.full_like(x, -math.inf), result)
    result = torch.where(x == math.inf, x, result)
    return torch.where((x < 0) | x.isnan(), torch.full_like(x, math.nan), result)


def _erf64(x: Tensor) -> Tensor:
    square = x * x
    near = _horner(square.clamp(max=1.0), _ERF_COEFFICIENTS).mul_(x).mul_(_TWO_OVER_SQRT_PI)
    size = x.abs().clamp(1.0, _ERFC_LIMIT)
    t = 1.0 / (1.0 + 0.5 * size)
    u = (t - 0.25) * (24.0 / 5.0) - 1.0
    complement = _horner(u, _ERFCX_COEFFICIENTS) * exp64(-(size * size))
    far = torch.copysign(1.0 - complement, x)
    far = torch.where(x.abs() > _ERFC_LIMIT, torch.sign(x), far)
    return torch.where(square <= 1.0, near, far)


def _sigmoid64(x: Tensor) -> Tensor:
    return 1.0 / (1.0 + exp64(-x))


def _tanh64(x: Tensor) -> Tensor:
    decay = exp64(-2.0 * x.abs())
    far = torch.copysign((1.0 - decay) / (1.0 + decay), x)
    square = x * x
    near = x * (1.0 - square * (1.0 / 3.0) + square * square * (2.0 / 15.0))
    return torch.where(square < 1e-6, near, far)


def _gelu64(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + _erf64(x * math.sqrt(0.5)))


def _gelu_tanh64(x: Tensor) -> Tensor:
    inner = (x * x * x * 0.044715 + x) * math.sqrt(2.0 / math.pi)
    return 0.5 * x * (1.0 + _tanh64(inner))


def _sin64(x: Tensor, quarters: int) -> Tensor:
    """Return sin(x + quarters * pi / 2) of float64: NaN where x is infinite."""
    turns = torch.round(x * (2.0 / math.pi))
    rest = ((x - turns * _HALF_PI[0]) - turns * _HALF_PI[1]) - turns * _HALF_PI[2]
    square = rest * rest
    sine, cosine = rest * _horner(square, _SIN_COEFFICIENTS), _horner(square, _COS_COEFFICIENTS)
    quadrant = torch.remainder(turns + quarters, 4.0)
    value = torch.where(torch.remainder(quadrant, 2.0) == 1.0, cosine, sine)
    return torch.where(quadrant >= 2.0, -value, value)


def sin(x: Tensor) -> Tensor:
    """Sine in float32; beyond 2^20 of the nearest angle that float64 can reduce."""
    return in_float64(x, lambda block: _sin64(block, 0))


def cos(x: Tensor) -> Tensor:
    """Cosine in float32; beyond 2^20 as `sin`."""
    return in_float64(x, lambda block: _sin64(block, 1))


def exp(x: Tensor) -> Tensor:
    """e^x in float32; overflows to infinity."""
    return in_float64(x, exp64)


def log(x: Tensor) -> Tensor:
    """Natural logarithm in float32: -infinity at 0, NaN below."""
    return in_float64(x, log64)


def erf(x: Tensor) -> Tensor:
    """Error function in float32."""
    return in_float64(x, _erf64)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x) in float32."""
    return in_float64(x, _sigmoid64)


def silu(x: Tensor) -> Tensor:
    """x / (1 + e^-x) in float32."""
    return in_float64(x, lambda block: block * _sigmoid64(block))


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent in float32."""
    return in_float64(x, _tanh64)


def gelu(x: Tensor, approximate: str) -> Tensor:
    """x times the normal distribution's cumulative function, or its approximation by tanh ("tanh")."""
    return in_float64(x, _gelu_tanh64 if approximate == "tanh" else _gelu64)


def sqrt(x: Tensor) -> Tensor:
    """Square root in float32: correctly rounded, as from float64 it always is."""
    return in_float64(x, torch.sqrt)


def power(x: Tensor, exponent: float) -> Tensor:
    """x^exponent in float32.

    Whole exponents up to 64 by repeated multiplication, larger ones as e^(exponent log |x|), with the sign of x where
    they are odd; others as e^(exponent log x), NaN for x < 0.
    """
    if float(exponent).is_integer():
        if abs(exponent) <= 64:
            return in_float64(x, lambda block: _whole_power64(block, int(exponent)))
        return in_float64(x, lambda block: _large_power64(block, exponent))
    if exponent == 0.5:
        return sqrt(x)
    return in_float64(x, lambda block: exp64(exponent * log64(block)))


def _large_power64(x: Tensor, exponent: float) -> Tensor:
    size = exp64(exponent * log64(x.abs()))
    return torch.copysign(size, x) if exponent % 2 else size


def _whole_power64(x: Tensor, exponent: int) -> Tensor:
    result, factor, left = torch.ones_like(x), x, abs(exponent)
    while left:
        if left & 1:
            result = result * factor
        factor = factor * factor
        left >>= 1
    return 1.0 / result if exponent < 0 else result
