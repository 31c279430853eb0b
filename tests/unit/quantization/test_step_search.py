from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from mho.quantization.quantizers import weight_bounds
from mho.quantization.step_search import (
    ZERO_POINT_GAIN,
    Sign,
    StreamedGrid,
    StreamedValues,
    find_binary_steps,
    find_steps,
)


def _error(values: torch.Tensor, step: torch.Tensor, lower: int, upper: int) -> torch.Tensor:
    step = step.double()[:, None]
    return ((values.double() / step).round().clamp(lower, upper) * step - values.double()).square().sum(1)


def _values(tail: float, rows: int = 3) -> torch.Tensor:
    values = torch.randn(rows, 700, generator=torch.Generator().manual_seed(1))
    return values.sign() * values.abs() ** tail


def _dense(values: torch.Tensor, largest: torch.Tensor, lower: int, upper: int) -> torch.Tensor:
    shares = torch.linspace(0.005, 1, 400)
    return torch.stack([_error(values, largest * share, lower, upper) for share in shares]).amin(0)


@pytest.mark.parametrize("largest", [1, 3, 7, 127])
@pytest.mark.parametrize("tail", [1.0, 3.0])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_the_steps_of_weights_are_as_good_as_a_dense_search(largest: int, tail: float, scale: float) -> None:
    values = _values(tail)
    found = _error(values, find_steps(values * scale, -largest, largest) / scale, -largest, largest)
    assert (found <= _dense(values, values.abs().amax(1) / largest, -largest, largest) * 1.05).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("tail", [1.0, 3.0])
@pytest.mark.parametrize("non_negative", [True, False])
def test_the_grid_of_an_activation_is_as_good_as_a_dense_search(bits: int, tail: float, non_negative: bool) -> None:
    values = _values(tail, rows=1)
    values = values.clamp_min(0) if non_negative else values
    grid = StreamedValues(values[0]).find_grid(bits, Sign.NON_NEGATIVE if non_negative else Sign.UNKNOWN)
    plain = 0 if non_negative else 1 << (bits - 1)
    lower, upper = -plain, (1 << bits) - 1 - plain
    dense = _dense(values, values.abs().amax(1) / max(upper, -lower), lower, upper)
    found = _error(values, torch.tensor([grid.step]), -grid.zero_point, (1 << bits) - 1 - grid.zero_point)
    assert (found <= dense * 1.05 + 1e-9).all()
    assert grid.zero_point == plain


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("function", [functional.silu, functional.hardswish, functional.gelu, functional.leaky_relu])
def test_zero_points_are_as_good_as_trying_them_all(
    bits: int, function: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    values = function(2 * _values(1.0, rows=1))
    grid = StreamedValues(values[0]).find_grid(bits, Sign.MEASURED)
    codes = range(1 << bits) if bits < 8 else range(0, 40)
    largest = values.abs().amax(1) / (1 << (bits - 1))
    dense = torch.stack([_dense(values, largest, -zero, (1 << bits) - 1 - zero) for zero in codes]).amin(0)
    found = _error(values, torch.tensor([grid.step]), -grid.zero_point, (1 << bits) - 1 - grid.zero_point)
    assert (found <= dense * (1 + ZERO_POINT_GAIN) * 1.05).all()
    assert grid.zero_point < 1 << (bits - 1)


def test_symmetric_activations_keep_the_signed_grid() -> None:
    values = torch.cat((_values(1.0)[0], -_values(1.0)[0]))
    for bits in (2, 4, 8):
        assert StreamedValues(values).find_grid(bits, Sign.MEASURED).zero_point == 1 << (bits - 1)
    assert StreamedValues(values).find_grid(16, Sign.MEASURED).zero_point == 1 << 15
    assert StreamedValues(torch.zeros(5)).find_grid(4, Sign.MEASURED) == StreamedGrid(1.0, 8)


def test_rows_are_searched_independently() -> None:
    values = torch.randn(4, 60)
    together = find_steps(values, -7, 7)
    apart = torch.cat([find_steps(row[None], -7, 7) for row in values])
    assert torch.equal(together, apart)


def test_a_row_of_zeros_gets_the_others_mean_step() -> None:
    values = torch.randn(3, 40)
    values[1] = 0
    steps = find_steps(values, -7, 7)
    assert steps[1] == pytest.approx(float((steps[0] + steps[2]) / 2))
    assert torch.equal(find_steps(torch.zeros(2, 5), -7, 7), torch.ones(2))
    assert torch.equal(find_binary_steps(torch.zeros(2, 5)), torch.ones(2))


def test_binary_steps_are_mean_magnitudes() -> None:
    values = torch.randn(3, 40)
    torch.testing.assert_close(find_binary_steps(values), values.abs().mean(1))


def test_values_that_lie_on_a_grid_are_found_exactly() -> None:
    codes = torch.randint(-7, 8, (5, 300)).float()
    step = torch.tensor([0.1, 0.37, 1.0, 4.5, 0.02])
    values = codes * step[:, None]
    torch.testing.assert_close(find_steps(values, *weight_bounds(4)), step)
