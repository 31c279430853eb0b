from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mho.arithmetic.requantize import quantize
from mho.network.graph import Grid
from mho.quantization.mvm_products import multiply
from mho.quantization.quantizers import Quantizer, activation_bounds, fake_quantized_product, weight_bounds

CONV = ("conv", (1, 1), (1, 1), (1, 1), 1)


def _lsq(x: torch.Tensor, step: torch.Tensor, lower: float, upper: float, scale: float) -> torch.Tensor:
    """LSQ as its paper writes it, for torch to differentiate."""
    step = step * scale + (step - step * scale).detach()
    ratio = x / step
    inside = (ratio > lower) & (ratio < upper)
    clamped = torch.where(inside, ratio, ratio.detach().clamp(lower, upper))
    return (clamped + (clamped.round() - clamped).detach()) * step


def _quantizer(bits: int, qmin: int, qmax: int, step: torch.Tensor, elements: int) -> Quantizer:
    quantizer = Quantizer(None if step.dim() == 0 else len(step), elements)
    quantizer.set_bounds(bits, qmin, qmax, step)
    return quantizer


@pytest.mark.parametrize(("weight_bits", "act_bits"), [(2, 1), (3, 2), (4, 4), (8, 8)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_are_those_of_the_papers_formula(weight_bits: int, act_bits: int, channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(weight_bits)
    x = torch.rand(3, 4, 6, 6, generator=generator)
    weight = torch.randn(5, 4, 3, 3, generator=generator)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    bias = torch.randn(5, generator=generator)
    act = activation_bounds(act_bits, True)
    wide = weight_bounds(weight_bits)
    input_q = _quantizer(act_bits, *act, torch.tensor(0.8 / act[1]), 144)
    weight_q = _quantizer(weight_bits, *wide, torch.rand(5, generator=generator) / wide[1] + 0.3 / wide[1], 36)
    upstream = torch.randn(3, 5, 6, 6, generator=generator)

    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    fake_quantized_product(*leaves, input_q, weight_q, CONV).backward(upstream)

    plain = [t.clone().requires_grad_() for t in (x, weight, bias)]
    steps = [q.base_step.clone().requires_grad_() for q in (input_q, weight_q)]
    x_hat = _lsq(plain[0], steps[0], *act, 1 / math.sqrt(144 * act[1]))
    w_hat = _lsq(plain[1], steps[1].reshape(-1, 1, 1, 1), *wide, 1 / math.sqrt(36 * wide[1]))
    multiply(x_hat, w_hat, plain[2], CONV).backward(upstream)

    for ours, theirs in zip(leaves, plain, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for quantizer, step in zip((input_q, weight_q), steps, strict=True):
        # The parameter is the logarithm of the step: d/dlog = step * d/dstep.
        expected = step.grad * quantizer.base_step
        torch.testing.assert_close(quantizer.log_ratio.grad, expected, rtol=2e-3, atol=1e-5)


def test_binary_weights_pass_their_gradient_straight_through() -> None:
    weight = torch.randn(3, 7).requires_grad_()
    x = torch.rand(5, 7)
    input_q = _quantizer(8, 0, 255, torch.tensor(1 / 255), 7)
    weight_q = _quantizer(1, -1, 1, torch.tensor([0.5, 1.0, 2.0]), 7)
    fake_quantized_product(x, weight, None, input_q, weight_q, ("linear",)).sum().backward()
    torch.testing.assert_close(weight.grad, input_q(x).sum(0).expand(3, 7))
    signs = torch.where(weight >= 0, 1.0, -1.0)
    expected = (weight.grad * signs).sum(1) * weight_q.base_step * weight_q.gradient_scale
    torch.testing.assert_close(weight_q.log_ratio.grad, expected)


@pytest.mark.parametrize("bits", [*range(1, 9), 16])
@pytest.mark.parametrize("stored", [False, True])
def test_codes_are_those_of_the_shared_arithmetic(bits: int, stored: bool) -> None:
    qmin, qmax = weight_bounds(bits) if stored else activation_bounds(bits, False)
    step = torch.tensor(0.0371)
    quantizer = _quantizer(bits, qmin, qmax, step, 1)
    halves = (torch.arange(-300, 300) + 0.5) * step
    values = torch.cat((halves, torch.randn(5000) * step * qmax, torch.zeros(1), -torch.zeros(1)))
    expected = quantize(values, quantizer.to_grid())
    assert torch.equal(quantizer.codes(values), expected)


def test_fake_quantized_values_are_codes_times_step_to_the_bit() -> None:
    step = torch.rand(6) + 0.01
    quantizer = _quantizer(4, -7, 7, step, 50)
    weight = torch.randn(6, 50)
    identity = torch.eye(50)
    input_q = _quantizer(8, 0, 255, torch.tensor(1.0), 50)
    product = fake_quantized_product(identity, weight, None, input_q, quantizer, ("linear",)).t()
    assert torch.equal(product, quantizer.codes(weight) * step[:, None])


def test_a_grid_with_zero_points_survives_the_round_trip() -> None:
    grid = Grid(np.float32([0.5, -0.25, 0.0]), np.int64([3, -1, 0]), -128, 127, 8)
    quantizer = Quantizer(3, 10, per_output_bounds=True)
    quantizer.set_grid(grid)
    back = quantizer.to_grid()
    assert (back.qmin, back.qmax, back.bits) == (-128, 127, 8)
    np.testing.assert_array_equal(back.zero_points, grid.zero_points)
    np.testing.assert_array_equal(back.scales[:2], grid.scales[:2])
    assert 0 < back.scales[2] < 1e-20
    integers = torch.randint(-128, 128, (3, 10)).float()
    values = (integers - torch.tensor(grid.zero_points)[:, None]) * torch.tensor(back.scales)[:, None]
    assert torch.equal(quantizer.codes(values), integers)


def test_the_products_gradients_agree_with_finite_differences() -> None:
    """At 16 bits the staircase is fine enough to look like a line, so the straight-through gradient is the true one."""
    draw = torch.Generator().manual_seed(0)
    x, weight = 0.1 + 0.8 * torch.rand(2, 6, generator=draw), torch.randn(3, 6, generator=draw).clamp(-3, 3)
    input_q = _quantizer(16, 0, 65535, torch.tensor(2.0 / 65535), 6)
    weight_q = _quantizer(16, -32767, 32767, torch.full((3,), 4.0 / 32767), 6)
    x.requires_grad_()
    fake_quantized_product(x, weight, None, input_q, weight_q, ("linear",)).square().sum().backward()
    move = torch.zeros(2, 6)
    move[1, 2] = 0.01
    with torch.no_grad():
        before, after = (
            fake_quantized_product(v, weight, None, input_q, weight_q, ("linear",)).square().sum()
            for v in (x - move, x + move)
        )
    assert float(after - before) / 0.02 == pytest.approx(float(x.grad[1, 2]), rel=0.02, abs=0.02)
