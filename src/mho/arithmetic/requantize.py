"""Between integers and float32: the one definition that reference, engines, training and export obey.

    quantize     q = clamp(round_half_even(x / scale) + zero_point, qmin, qmax), the division in float32 (ONNX
                 QuantizeLinear), so that infinities saturate; on a binary grid q = +1 where x >= 0, else -1.
                 An operand of a layer that holds NaN is refused: no integer stands for it
    dequantize   y = float32(accumulator) * float32(input scale * weight scale), then + bias: each step rounded to
                 float32, never fused
    requantize   v = clamp(RS(accumulator * multiplier + offset, shift), low, high) in int64, for an integer-only
                 digital unit (`mho.arithmetic.fixed_point`)

Integers of at most 17 bits are exact in float32, so `quantize` returns float32 tensors of whole numbers and callers
choose their integer type.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.errors import DataError


class TensorGrid(Protocol):
    """A grid with one scale for the tensor: `mho.network.graph.Grid`, or what a program keeps of it."""

    @property
    def scales(self) -> NDArray[np.float32]:
        """One float32 scale, shape ()."""

    @property
    def zero_points(self) -> NDArray[np.int64]:
        """One integer, shape ()."""

    @property
    def qmin(self) -> int:
        """Smallest integer."""

    @property
    def qmax(self) -> int:
        """Largest integer."""

    @property
    def is_binary(self) -> bool:
        """True for {-1, +1}."""


def quantize(x: Tensor, grid: TensorGrid, *, where: str = "") -> Tensor:
    """Quantize the operand `x` of a layer on `grid` (one scale); see `quantize_operand`."""
    scale, zero_point = float(grid.scales), int(grid.zero_points)
    return quantize_operand(x, scale, zero_point, grid.qmin, grid.qmax, is_binary=grid.is_binary, where=where)


def quantize_operand(
    x: Tensor, scale: float, zero_point: int, qmin: int, qmax: int, *, is_binary: bool, where: str
) -> Tensor:
    """Quantize float32 `x`, an operand of a layer.

    Args:
        x: any shape.
        scale: a float32 value.
        zero_point, qmin, qmax: of the grid.
        is_binary: whether the grid is {-1, +1}.
        where: the tensor, for the error.

    Returns:
        Whole numbers as float32, of the same shape.

    Raises:
        DataError: `x` holds NaN.
    """
    integers = torch.where(x >= 0, 1.0, -1.0) if is_binary else quantize_linear(x, scale, zero_point, qmin, qmax)
    # One sum is cheaper than a test of each element; integers are finite and NaN stays in them, not in signs.
    if bool((x if is_binary else integers).sum().isnan()) and bool(x.isnan().any()):
        raise DataError(
            "NaN is to be quantized",
            where=where and f"tensor {where!r}",
            expected="numbers or infinities",
            hint="find the division by 0, logarithm of a negative number or difference of infinities that makes it",
        )
    return integers


def quantize_linear(x: Tensor, scale: float, zero_point: int, qmin: int, qmax: int) -> Tensor:
    """Quantize with plain numbers; `scale` is a float32 value."""
    # A one-element tensor: torch may turn a division by a Python number into a product with its reciprocal.
    divisor = torch.full((1,), scale, dtype=torch.float32, device=x.device)
    return (x / divisor).round_().add_(zero_point).clamp_(qmin, qmax)


def fake_quantize(x: Tensor, scale: float, zero_point: int, qmin: int, qmax: int) -> Tensor:
    """Quantize and dequantize at once: the values of a Q/DQ pair that feeds no MVM layer."""
    q = quantize_linear(x, scale, zero_point, qmin, qmax)
    return (q - zero_point) * torch.full((1,), scale, dtype=torch.float32, device=x.device)


def combined_scales(input_scale: Any, weight_scales: Any) -> NDArray[np.float32]:
    """Return float32(input scale * weight scales): what one unit of the accumulator is worth, shape of the weight's."""
    return np.multiply(np.float32(input_scale), np.asarray(weight_scales, np.float32), dtype=np.float32)


def dequantize(accumulator: Tensor, multipliers: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    """Turn exact integer sums into float32 outputs.

    Args:
        accumulator: whole numbers, int64, int32 or float64 (exact below 2^53).
        multipliers: `combined_scales`, float32, [] or [outputs].
        bias: float32 [outputs] or None.
        dim: axis of `accumulator` that holds the outputs.
    """
    # int64 and float64 both round once, to nearest even.
    result = accumulator.to(torch.float32)
    shape = [1] * result.dim()
    shape[dim] = -1
    result = result * multipliers.reshape(shape if multipliers.dim() else ())
    return result if bias is None else result + bias.reshape(shape)


class SumScaling(Protocol):
    """What `requantize` takes: `mho.network.graph.Requantization`, or the numbers of a program's instruction."""

    @property
    def shift(self) -> int:
        """Of the rounding shift."""

    @property
    def limit(self) -> int:
        """What sums are limited to, both ways."""

    @property
    def low(self) -> int:
        """Smallest result."""

    @property
    def high(self) -> int:
        """Largest result."""


def requantize(accumulator: Tensor, multipliers: Tensor, offsets: Tensor, scaling: SumScaling) -> Tensor:
    """Turn sums into centred integers, whole numbers in float32.

    Args:
        accumulator: whole numbers, int64, int32 or float64; others, of calibrated ADCs, are rounded half to even first.
        multipliers, offsets: int64, which broadcast to the accumulator.
        scaling: shift and limits.
    """
    if accumulator.is_floating_point():
        accumulator = accumulator.to(torch.float64).round()
    total = accumulator.clamp(-scaling.limit, scaling.limit).to(torch.int64) * multipliers + offsets
    if scaling.shift:
        total = (total + (1 << (scaling.shift - 1))) >> scaling.shift
    return total.clamp_(scaling.low, scaling.high).to(torch.float32)
