"""Learned-step-size quantizers (LSQ, Esser et al. 2020, arXiv 1902.08153) and the fake-quantized product of a layer.

A `Quantizer` holds the grid of one operand as tensors: whichever bit widths it is set to, no shape and no Python value
changes, so one compilation serves every policy. Its step is ``base_step * exp(log_ratio)``; `log_ratio` is what
training learns. The step so keeps its sign, never reaches zero, moves relative to its size, and equals `base_step`
exactly until trained.

`fake_quantized_product` is one autograd function a layer. Because a product is bilinear, the sum of gradient times
value is the same over both operands; so the gradients of both steps cost one pass over each operand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mho.network.graph import Grid
from mho.quantization.layer_noise import LayerNoise
from mho.quantization.mvm_products import Geometry, multiply, multiply_backward

ZERO_SCALE_STEP = np.float32(2.0**-80)
"""Stands for a scale of 0: small enough to count as 0, large enough that integers survive a product and a division."""


class Quantizer(nn.Module):
    """The grid of one operand, with a step that can be learned.

    Args:
        outputs: number of steps, or None for one step for the whole tensor.
        elements: values that share a step (of one sample, for an activation): the count of the LSQ gradient scale.
        per_output_bounds: bounds differ between outputs (imported weights with zero points of their own).

    Attributes:
        log_ratio: parameter, [] or [outputs].
        base_step: float32, like `log_ratio`; nonzero.
        lower, upper: bounds of q - zero_point, float32, [] (or [outputs]).
        zero_point: int64, like `base_step`.
        bits, binary: int64 and bool, [].
        gradient_scale: 1 / sqrt(elements * Q), where Q is the largest magnitude of q - zero_point. In the paper
            (section 2.2) Q is Q_P, the largest positive level: 2^(b-1) - 1 with a sign. That is the same for weights,
            which are symmetric, and for activations without a sign; for those with one ours is 2^(b-1), which has a
            value for one bit, too, where Q_P is 0.
    """

    log_ratio: nn.Parameter
    base_step: Tensor
    lower: Tensor
    upper: Tensor
    zero_point: Tensor
    bits: Tensor
    binary: Tensor
    gradient_scale: Tensor

    def __init__(self, outputs: int | None, elements: int, *, per_output_bounds: bool = False) -> None:
        super().__init__()
        shape = () if outputs is None else (outputs,)
        bounds = shape if per_output_bounds else ()
        self.elements = elements
        self.log_ratio = nn.Parameter(torch.zeros(shape))
        self.register_buffer("base_step", torch.ones(shape))
        self.register_buffer("lower", torch.full(bounds, -127.0))
        self.register_buffer("upper", torch.full(bounds, 127.0))
        self.register_buffer("zero_point", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("bits", torch.tensor(8))
        self.register_buffer("binary", torch.tensor(False))
        self.register_buffer("gradient_scale", torch.tensor(1.0))

    @torch.no_grad()
    def set_bounds(self, bits: int, qmin: int, qmax: int, step: Tensor, zero_point: int = 0) -> None:
        """Set the grid qmin..qmax with one zero point and `step` (float32, [] or [outputs], nonzero)."""
        self.base_step.copy_(step)
        self.log_ratio.zero_()
        lower, upper = qmin - zero_point, qmax - zero_point
        self.lower.fill_(lower)
        self.upper.fill_(upper)
        self.zero_point.fill_(zero_point)
        self.bits.fill_(bits)
        self.binary.fill_(bits == 1 and qmin == -1 and qmax == 1)
        self.gradient_scale.fill_(_gradient_scale(self.elements, max(-lower, upper)))

    @torch.no_grad()
    def set_grid(self, grid: Grid) -> None:
        """Take over `grid` exactly; a zero scale (a channel that BatchNorm silenced) becomes `ZERO_SCALE_STEP`."""
        scales = torch.tensor(nonzero_scales(grid.scales))
        zero_points = torch.tensor(grid.zero_points)
        first = int(zero_points.flatten()[0])
        self.set_bounds(grid.bits, grid.qmin, grid.qmax, scales.expand(self.base_step.shape), first)
        self.binary.fill_(grid.is_binary)
        self.zero_point.copy_(zero_points.expand(self.zero_point.shape))
        if self.lower.dim():
            self.lower.copy_(grid.qmin - self.zero_point)
            self.upper.copy_(grid.qmax - self.zero_point)

    @torch.no_grad()
    def to_grid(self) -> Grid:
        """Return the grid as it stands, steps as trained."""
        zero_points = self.zero_point.cpu().numpy().copy()
        shift = int(zero_points.flat[0])
        qmin, qmax = (int(bound.flatten()[0].item()) + shift for bound in (self.lower, self.upper))
        return Grid(self.step().cpu().numpy().copy(), zero_points, qmin, qmax, int(self.bits))

    def code_of_zero(self) -> int:
        """Return the code that a DAC is given for 0: codes are q, or q - qmin where qmin is negative. For one step."""
        zero_point = int(self.zero_point)
        return zero_point + max(0, -(int(self.lower) + zero_point))

    def step(self) -> Tensor:
        """Return the current step, float32 [] or [outputs]."""
        return self.base_step * torch.exp(self.log_ratio)

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the integers q of `values` ([outputs, ...], or any shape for one step), as float32 whole numbers."""
        return self.centred_codes(values) + _as_column(self.zero_point, values)

    @torch.no_grad()
    def centred_codes(self, values: Tensor) -> Tensor:
        """Return q - zero_point, the integers that products are made of; arguments as for `codes`."""
        step = _as_column(self.step(), values)
        lower, upper = _as_column(self.lower, values), _as_column(self.upper, values)
        return _round_to_grid(values, values / step, step, lower, upper, self.binary)

    def forward(self, values: Tensor) -> Tensor:
        """Return `values` fake-quantized, without a gradient (training uses `fake_quantized_product`)."""
        zero_point = _as_column(self.zero_point, values)
        return (self.codes(values) - zero_point) * _as_column(self.step(), values)


def nonzero_scales(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `scales` with `ZERO_SCALE_STEP` for every 0."""
    return np.where(scales == 0, ZERO_SCALE_STEP, scales)


def weight_bounds(bits: int) -> tuple[int, int]:
    """Return qmin and qmax of stored operands: {-1, +1} for 1 bit, else narrow symmetric (ternary for 2 bits)."""
    largest = max(1, 2 ** (bits - 1) - 1)
    return -largest, largest


def activation_bounds(bits: int, non_negative: bool) -> tuple[int, int]:
    """Return qmin and qmax of streamed operands: unsigned where never negative, else the full signed range."""
    return (0, 2**bits - 1) if non_negative else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def fake_quantized_product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    input_q: Quantizer,
    weight_q: Quantizer,
    geometry: Geometry,
    arrays: LayerNoise | None = None,
    kind: torch.dtype | None = None,
) -> Tensor:
    """Return the product of `x` and `weight`, both rounded to their grids, plus `bias`.

    Differentiable in x, weight, bias and both `log_ratio`s: straight-through inside the bounds, zero outside (binary
    weights: straight-through everywhere).

    Args:
        x: streamed operand, one step.
        weight: stored operand, [outputs, ...] or, for a product of activations, any shape with one step.
        bias: [outputs] or None.
        input_q, weight_q: their quantizers.
        geometry: what product it is; see `mho.quantization.mvm_products`.
        arrays: what arrays make of the integers of a layer, straight through: in integers it does not
            depend on the operands, but it counts in the product of their steps. Results follow the operands as far as
            they are not clipped. None for exact integers.
    """
    result: Tensor = _FakeQuantizedProduct.apply(
        x,
        weight,
        bias,
        input_q.log_ratio,
        weight_q.log_ratio,
        input_q.base_step,
        weight_q.base_step,
        (input_q.lower, input_q.upper, input_q.gradient_scale),
        (weight_q.lower, weight_q.upper, weight_q.gradient_scale, weight_q.binary),
        geometry,
        None if arrays is None else (arrays, input_q.code_of_zero()),
        kind,
    )
    return result


class _FakeQuantizedProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        input_log: Tensor,
        weight_log: Tensor,
        input_base: Tensor,
        weight_base: Tensor,
        input_grid: tuple[Tensor, ...],
        weight_grid: tuple[Tensor, ...],
        geometry: Geometry,
        on_arrays: tuple[LayerNoise, int] | None,
        kind: torch.dtype | None,
    ) -> Tensor:
        input_step = input_base * torch.exp(input_log)
        weight_step = _as_column(weight_base * torch.exp(weight_log), weight)
        lower, upper, binary = _as_column(weight_grid[0], weight), _as_column(weight_grid[1], weight), weight_grid[3]
        x_hat = _clamp_(torch.div(x, input_step).round_(), input_grid[0], input_grid[1]).mul_(input_step)
        ratio = weight / weight_step
        integers = _round_to_grid(weight, ratio, weight_step, lower, upper, binary)
        passed = None
        if on_arrays is None:
            weight_hat, residual = integers.mul_(weight_step), None
        else:
            arrays, offset = on_arrays
            streamed = torch.div(x_hat, input_step).round_()
            arrays.observe(streamed, integers, geometry, offset)
            weight_hat = arrays.weights(integers) * weight_step
            residual = _residual(arrays, streamed, integers, geometry, offset, input_step * weight_step)
            passed = arrays.passed()
        ctx.geometry, ctx.kind = geometry, kind
        ctx.has_bias = bias is not None
        product = multiply(x_hat, weight_hat, None if passed is not None else bias, geometry, kind)
        constant = residual
        if residual is not None and passed is not None:  # what is clipped follows no operand
            constant = residual + (1 - passed) * product
        grids = *input_grid, *weight_grid
        ctx.save_for_backward(x, x_hat, ratio, weight_hat, constant, passed, input_step, weight_step, *grids)
        result = product if residual is None else product.add_(residual)
        if passed is None or bias is None:
            return result
        return result.add_(bias[:, None, None] if geometry[0] == "conv" else bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, x_hat, ratio, weight_hat, constant, passed, input_step, weight_step, *grids = ctx.saved_tensors
        (x_lower, x_upper, x_scale), (w_lower, w_upper, w_scale, binary) = grids[:3], grids[3:]
        wants_x, wants_bias = ctx.needs_input_grad[0] or ctx.needs_input_grad[3], ctx.needs_input_grad[2]
        mask = (wants_x, True, wants_bias and ctx.has_bias)
        others = [dim for dim in range(gradient.dim()) if dim != _output_axis(ctx.geometry, gradient)]
        followed = gradient if passed is None else gradient * passed
        grad_x, grad_weight, grad_bias = multiply_backward(followed, x_hat, weight_hat, ctx.geometry, mask, ctx.kind)
        if passed is not None and mask[2]:
            grad_bias = gradient.sum(others)
        per_output = weight_step.dim() > 0
        moment = _inner(grad_weight, weight_hat, per_output)
        if constant is not None:  # it counts in both steps, as the product does
            moment = moment + (gradient * constant).sum(others if per_output else None)
        lower, upper = _as_column(w_lower, ratio), _as_column(w_upper, ratio)
        grad_weight = _pass_inside(grad_weight, ratio, lower, upper, binary)
        spent = _inner(grad_weight, ratio, per_output) * weight_step.reshape(moment.shape)
        grad_weight_log = w_scale * torch.where(binary, moment, moment - spent)
        grad_input_log = None
        if grad_x is not None:
            grad_x = _pass_inside(grad_x, x, x_lower * input_step, x_upper * input_step, None)
            grad_input_log = x_scale * (moment.sum() - _inner(grad_x, x, False))
        return grad_x, grad_weight, grad_bias, grad_input_log, grad_weight_log, *[None] * 7


def _residual(
    arrays: LayerNoise, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int, steps: Tensor
) -> Tensor | None:
    """Return what arrays add to a product, in the layer's own numbers; None for nothing."""
    found = arrays.residual(streamed, integers, geometry, offset)
    if found is None:
        return None
    return found * (steps.flatten()[:, None, None] if geometry[0] == "conv" else steps.flatten())


def _output_axis(geometry: Geometry, values: Tensor) -> int:
    return 1 if geometry[0] == "conv" else values.dim() - 1


def _gradient_scale(elements: int, largest: int) -> float:
    return 1.0 / math.sqrt(elements * largest)


def _as_column(per_output: Tensor, values: Tensor) -> Tensor:
    """Line up [] or [outputs] with [outputs, ...]."""
    return per_output if per_output.dim() == 0 else per_output.reshape(-1, *(1,) * (values.dim() - 1))


def _by_numbers(*bounds: Tensor) -> bool:
    """Whether plain numbers may stand for the bounds: quicker than 0-dim tensors in eager mode on the processor."""
    return not torch.compiler.is_compiling() and all(bound.dim() == 0 and bound.is_cpu for bound in bounds)


def _clamp_(values: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    if _by_numbers(lower, upper):
        return values.clamp_(lower.item(), upper.item())
    return torch.minimum(torch.maximum(values, lower), upper)


def _round_to_grid(values: Tensor, ratio: Tensor, step: Tensor, lower: Tensor, upper: Tensor, binary: Tensor) -> Tensor:
    """Return the centred integers of ratio = values / step: rounded and clamped, or +-1 on the binary grid."""
    if _by_numbers(binary):
        return _sign(values, step) if binary.item() else _clamp_(torch.round(ratio), lower, upper)
    return torch.where(binary, _sign(values, step), _clamp_(torch.round(ratio), lower, upper))


def _sign(values: Tensor, step: Tensor) -> Tensor:
    """+1 where values >= 0, else -1; the other way round under a negative step (an imported one)."""
    return torch.where((values >= 0) == (step > 0), 1.0, -1.0)


def _pass_inside(gradient: Tensor, values: Tensor, lower: Tensor, upper: Tensor, binary: Tensor | None) -> Tensor:
    """Return the gradient where lower < values < upper, zero elsewhere; all of it on the binary grid."""
    if _by_numbers(lower, upper):
        if binary is not None and binary.item():
            return gradient
        return torch.ops.aten.hardtanh_backward(gradient, values, lower.item(), upper.item())
    inside = (values > lower) & (values < upper)
    if binary is not None:
        inside = inside | binary
    return torch.where(inside, gradient, torch.zeros_like(gradient))


def _inner(a: Tensor, b: Tensor, per_output: bool) -> Tensor:
    """Return the sum of products, over everything or for each output."""
    if torch.compiler.is_compiling():
        # Channel by channel, without flattening: this fuses with BatchNorm's own sums in any memory format.
        kept = 0 if per_output else 1
        sums = (a * b).sum([dim for dim in range(a.dim()) if dim != kept])
        return sums if per_output else sums.sum()
    if per_output:
        return torch.linalg.vecdot(a.flatten(1), b.flatten(1))
    if a.stride() == b.stride() and _is_dense(a) and _is_dense(b):
        size = (a.numel(),)
        return torch.dot(a.as_strided(size, (1,)), b.as_strided(size, (1,)))
    return (a * b).sum()


def _is_dense(values: Tensor) -> bool:
    return values.is_contiguous() or (values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last))
