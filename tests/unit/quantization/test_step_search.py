from __future__ import annotations

import pytest
import torch

from mho.quantization.quantizers import weight_bounds
from mho.quantization.step_search import SortedRows


def _error(values: torch.Tensor, step: torch.Tensor, lower: int, upper: int) -> torch.Tensor:
    step = step.double()[:, None]
    return ((values.double() / step).round().clamp(lower, upper) * step - values.double()).square().sum(1)


@pytest.mark.parametrize("bounds", [(-1, 1), (-3, 3), (-7, 7), (-127, 127), (0, 1), (0, 15), (-8, 7), (-1, 0)])
@pytest.mark.parametrize("tail", [1.0, 3.0])
def test_the_step_is_as_good_as_a_dense_search(bounds: tuple[int, int], tail: float) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(3, 700, generator=generator)
    values = values.sign() * values.abs() ** tail
    if bounds[0] == 0:
        values = values.clamp_min(0)
    found = _error(values, SortedRows(values).optimal_steps(*bounds), *bounds)
    largest = values.abs().amax(1) / max(bounds[1], -bounds[0])
    dense = torch.stack([_error(values, largest * share, *bounds) for share in torch.linspace(0.005, 1.0, 800)])
    assert (found <= dense.amin(0) * 1.05 + 1e-9).all()


def test_rows_are_searched_independently() -> None:
    values = torch.randn(4, 60)
    together = SortedRows(values).optimal_steps(-7, 7)
    apart = torch.cat([SortedRows(row[None]).optimal_steps(-7, 7) for row in values])
    assert torch.equal(together, apart)


def test_a_row_of_zeros_gets_the_others_mean_step() -> None:
    values = torch.randn(3, 40)
    values[1] = 0
    steps = SortedRows(values).optimal_steps(-7, 7)
    assert steps[1] == pytest.approx(float((steps[0] + steps[2]) / 2))
    assert torch.equal(SortedRows(torch.zeros(2, 5)).optimal_steps(-7, 7), torch.ones(2))
    assert torch.equal(SortedRows(torch.zeros(2, 5)).optimal_binary_steps(), torch.ones(2))


def test_binary_steps_are_mean_magnitudes() -> None:
    values = torch.randn(3, 40)
    torch.testing.assert_close(SortedRows(values).optimal_binary_steps(), values.abs().mean(1))


def test_values_that_lie_on_a_grid_are_found_exactly() -> None:
    codes = torch.randint(-7, 8, (5, 300)).float()
    step = torch.tensor([0.1, 0.37, 1.0, 4.5, 0.02])
    values = codes * step[:, None]
    torch.testing.assert_close(SortedRows(values).optimal_steps(*weight_bounds(4)), step)
