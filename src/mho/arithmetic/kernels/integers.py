"""The definition of the integer-only digital unit: kernels of operations on centred integers v = code - zero point.

Tensors are float32 and hold whole numbers, of magnitude 2^20 at most; every kernel computes in int64, where nothing
overflows by the limits of `mho.arithmetic.fixed_point`. What is not a number stays so, and so does all that follows
from it: schedules run digital operations on tensors of which a part is there. docs/integer-arithmetic.md gives the
formulas, and bounds of their errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.arithmetic.attributes import Attributes, get_float, get_int, get_ints
from mho.arithmetic.kernels.adapters import Kernel, with_attributes
from mho.arithmetic.kernels.movement import run_embed
from mho.arithmetic.kernels.pooling import sum_windows
from mho.arithmetic.kernels.trees import merge_axes
from mho.arithmetic.operation import Operation

PROBABILITY_BITS = 30
"""Fractional bits of powers and of probabilities."""
NORMAL_BITS = 20
"""Fractional bits of normalized numbers."""
_ROOT_BITS = 62


def evaluate_function(record: Operation, attributes: Attributes, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what an operation on one number gives for each of `values`, [n]: for its table."""
    result = record.run([torch.from_numpy(values)[None]], attributes)[0]
    return np.asarray(result.numpy(), np.float64)


def rounding_shift(x: Tensor, shift: int) -> Tensor:
    """Return x / 2^shift, rounded to nearest, half up: int64 to int64."""
    return (x + (1 << (shift - 1))) >> shift if shift else x


def rescale(x: Tensor, attributes: Attributes) -> Tensor:
    """Return clamp(RS(x, shift), low, high) of int64, as float32."""
    low, high = get_int(attributes, "low"), get_int(attributes, "high")
    return rounding_shift(x, get_int(attributes, "shift")).clamp_(low, high).to(torch.float32)


def _exact(compute: Callable[..., Tensor], reach: Callable[[Sequence[Tensor], Attributes], Tensor]) -> Kernel:
    """Return a kernel that computes on int64; `reach` tells from which elements are missing which results are."""

    def run(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        missing = [x.isnan() if x.is_floating_point() else torch.zeros((), dtype=torch.bool) for x in operands]
        is_whole = not any(bool(one.any()) for one in missing)
        known = operands if is_whole else [torch.where(m, 0, x) for m, x in zip(missing, operands, strict=True)]
        result = compute(*(x.to(torch.int64) for x in known), attributes)
        return result if is_whole else torch.where(reach(missing, attributes), torch.nan, result)

    return run


def _any_operand(missing: Sequence[Tensor], attributes: Attributes) -> Tensor:
    del attributes
    first, *others = missing
    for other in others:
        first = first | other
    return first


def _any_along(missing: Sequence[Tensor], attributes: Attributes) -> Tensor:
    return missing[0].any(get_int(attributes, "axis") + 1, keepdim=True).expand_as(missing[0])


def _any_behind(missing: Sequence[Tensor], attributes: Attributes) -> Tensor:
    rows = missing[0].flatten(get_int(attributes, "axis") + 1)
    return rows.any(-1, keepdim=True).expand_as(rows).reshape(missing[0].shape)


def _any_of_axes(missing: Sequence[Tensor], attributes: Attributes) -> Tensor:
    return _keep_axes(missing[0], merge_axes(missing[0], get_ints(attributes, "axes")).any(-1), attributes)


def _any_of_window(missing: Sequence[Tensor], attributes: Attributes) -> Tensor:
    return sum_windows(missing[0].to(torch.int64), attributes) > 0


def _quantize(x: Tensor, attributes: Attributes) -> Tensor:
    divisor = torch.full((1,), get_float(attributes, "scale"), dtype=torch.float32, device=x.device)
    # Adding 0 makes -0 the integer's +0.
    return torch.round(x / divisor).clamp_(get_int(attributes, "low"), get_int(attributes, "high")).add_(0.0)


def _scale(x: Tensor, multiplier: Tensor, offset: Tensor, attributes: Attributes) -> Tensor:
    return rescale(x * multiplier + offset, attributes)


def _add(*operands: Any) -> Tensor:
    *tensors, attributes = operands
    total = sum(m * x for m, x in zip(get_ints(attributes, "multipliers"), tensors, strict=True))
    assert isinstance(total, Tensor), "there is an operand"
    return rescale(total, attributes)


def _multiply(x: Tensor, y: Tensor, attributes: Attributes) -> Tensor:
    return rescale(x * y * get_int(attributes, "multiplier"), attributes)


def _divide(x: Tensor, y: Tensor, attributes: Attributes) -> Tensor:
    """x multiplier / (y 2^shift), rounded to nearest, half up; the last of the range where y is 0, by the sign of x."""
    low, high = get_int(attributes, "low"), get_int(attributes, "high")
    divisor = (y.abs() << get_int(attributes, "shift")).clamp(min=1)
    twice = 2 * x * get_int(attributes, "multiplier") * y.sign() + divisor
    quotient = torch.div(twice, 2 * divisor, rounding_mode="floor")
    by_sign = torch.where(x == 0, 0, torch.where(x > 0, high, low))
    return torch.where(y == 0, by_sign, quotient).clamp_(low, high).to(torch.float32)


def _look_up(x: Tensor, table: Tensor, attributes: Attributes) -> Tensor:
    return table[(x - get_int(attributes, "first")).clamp_(0, table.numel() - 1)].to(torch.float32)


def _average_pool(x: Tensor, multiplier: Tensor, attributes: Attributes) -> Tensor:
    return rescale(sum_windows(x, attributes) * multiplier, attributes)


def _keep_axes(x: Tensor, reduced: Tensor, attributes: Attributes) -> Tensor:
    axes = get_ints(attributes, "axes")
    if not attributes["keepdims"]:
        return reduced
    return reduced.reshape([1 if dim - 1 in axes else size for dim, size in enumerate(x.shape)])


def _reduce_sum(x: Tensor, attributes: Attributes) -> Tensor:
    sums = merge_axes(x, get_ints(attributes, "axes")).sum(-1)
    return rescale(_keep_axes(x, sums, attributes) * get_int(attributes, "multiplier"), attributes)


def _softmax(x: Tensor, fine: Tensor, coarse: Tensor, attributes: Attributes) -> Tensor:
    axis = get_int(attributes, "axis") + 1
    below = x.amax(axis, keepdim=True) - x
    steps = (below >> 8).clamp_(max=coarse.numel() - 1)
    powers = (fine[below & 255] * coarse[steps]) >> PROBABILITY_BITS
    shares = torch.div(powers << PROBABILITY_BITS, powers.sum(axis, keepdim=True), rounding_mode="floor")
    return rescale(shares * get_int(attributes, "multiplier"), attributes)


def integer_root(x: Tensor) -> Tensor:
    """Return floor(sqrt(x)) of int64 from 0 to 2^62, exactly."""
    root = x.to(torch.float64).sqrt().to(torch.int64)
    root = torch.where(root * root > x, root - 1, root)
    return torch.where((root + 1) * (root + 1) <= x, root + 1, root)


def _even_room(x: Tensor) -> Tensor:
    """Return the largest k with x * 4^k < 2^62, of int64 above 0."""
    room = torch.zeros_like(x)
    for step in (16, 8, 4, 2, 1):
        fits = x < (1 << (_ROOT_BITS - 2 * step))
        x, room = torch.where(fits, x << (2 * step), x), torch.where(fits, room + step, room)
    return room


def _layer_norm(x: Tensor, multiplier: Tensor, offset: Tensor, attributes: Attributes) -> Tensor:
    total = x.flatten(get_int(attributes, "axis") + 1).sum(-1, keepdim=True)
    return _normalize(x, total, multiplier, offset, attributes)


def _rms_norm(x: Tensor, multiplier: Tensor, offset: Tensor, attributes: Attributes) -> Tensor:
    return _normalize(x, torch.zeros((), dtype=torch.int64, device=x.device), multiplier, offset, attributes)


def _normalize(x: Tensor, total: Tensor, multiplier: Tensor, offset: Tensor, attributes: Attributes) -> Tensor:
    rows = x.flatten(get_int(attributes, "axis") + 1)
    count = rows.shape[-1]
    variance = count * (rows * rows).sum(-1, keepdim=True) - total * total + get_int(attributes, "epsilon")
    positive = variance.clamp(min=1)
    room = _even_room(positive)
    reciprocal = torch.div(1 << 61, integer_root(positive << (2 * room)), rounding_mode="floor")
    products, shift = (count * rows - total) * reciprocal, 61 - NORMAL_BITS - room
    normal = torch.where(variance == 0, 0, (products + (1 << (shift - 1))) >> shift)
    return rescale(normal.reshape(x.shape) * multiplier + offset, attributes)


def run_int_embed(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Look rows of a table of integers up; a row whose index is missing is missing.

    Raises:
        DataError: an index lies outside of the table; -1 is its last row.
    """
    indices, table = operands
    missing = indices.isnan()
    rows = run_embed((torch.where(missing, 0, indices), table), attributes).to(torch.float32)
    return torch.where(missing.reshape(*missing.shape, *(1,) * (rows.dim() - missing.dim())), torch.nan, rows)


run_int_quantize = with_attributes(_quantize)
run_int_dequantize = with_attributes(
    lambda x, attributes: x * torch.full((1,), get_float(attributes, "scale"), dtype=torch.float32, device=x.device)
)
run_int_scale = _exact(_scale, _any_operand)
run_int_add = _exact(_add, _any_operand)
run_int_mul = _exact(_multiply, _any_operand)
run_int_div = _exact(_divide, _any_operand)
run_int_table = _exact(_look_up, lambda missing, _: missing[0])
run_int_average_pool = _exact(_average_pool, _any_of_window)
run_int_reduce_sum = _exact(_reduce_sum, _any_of_axes)
run_int_softmax = _exact(_softmax, _any_along)
run_int_layer_norm = _exact(_layer_norm, _any_behind)
run_int_rms_norm = _exact(_rms_norm, _any_behind)
