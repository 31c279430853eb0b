"""Learned rounding of one layer: what the problem is, and that its integers leave less of it than nearest ones."""

import pytest
import torch

from mho.quantization.rounding import Integers, RoundingProblem, Vectors, learn_rounding


def _correlated(groups: int, inputs: int, samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(groups, inputs, inputs, generator=generator) @ torch.randn(
        groups, inputs, samples, generator=generator
    )
    return mixed / inputs**0.5


def _problem(groups: int = 1, outputs: int = 6, inputs: int = 20) -> tuple[torch.Tensor, Vectors, RoundingProblem]:
    weight = torch.randn(groups, outputs, inputs, generator=torch.Generator().manual_seed(9))
    vectors = _correlated(groups, inputs, 400)
    fitted, held = vectors[..., :350], vectors[..., 350:]
    return weight, Vectors(held, held), RoundingProblem.of(weight, Vectors(fitted, fitted), Vectors(held, held))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("grid", [Integers(-1, 1, is_binary=True), Integers(-1, 1), Integers(-7, 7)])
def test_learned_integers_lose_less_than_nearest_ones_on_samples_that_nothing_saw(groups, grid):
    weight, held, problem = _problem(groups)
    steps = weight.abs().amax(2) / max(1.5, grid.upper)
    integers, learned = learn_rounding(problem, steps, grid)
    nearest = grid.nearest(weight / steps[..., None]) * steps[..., None]
    assert held.output_error(integers * learned[..., None], weight) < 0.8 * held.output_error(nearest, weight)


def test_without_errors_of_inputs_the_target_is_the_weight():
    weight, _, problem = _problem()
    torch.testing.assert_close(problem.target, weight)


def test_the_target_makes_up_for_inputs_that_come_too_small():
    weight, vectors = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(1)), _correlated(1, 8, 900)
    short = Vectors(vectors, 0.8 * vectors)
    problem = RoundingProblem.of(weight, short, short)
    assert short.output_error(problem.target, weight) < 0.1 * short.output_error(weight, weight)


def test_inputs_that_other_samples_do_not_confirm_change_no_target():
    """So few samples explain any error, and mislead about others."""
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(1, 4, 64, generator=generator)
    noise = [torch.randn(1, 64, n, generator=generator) for n in (8, 8, 200, 200)]
    problem = RoundingProblem.of(weight, Vectors(noise[0], noise[0] + noise[1]), Vectors(noise[2], noise[2] + noise[3]))
    held = Vectors(noise[2], noise[2] + noise[3])
    assert held.output_error(problem.target, weight) <= held.output_error(weight, weight)


def test_steps_stay_where_they_are_to():
    weight, _, problem = _problem()
    steps = weight.abs().amax(2) / 3
    assert torch.equal(learn_rounding(problem, steps, Integers(-3, 3), keeps_steps=True)[1], steps)


def test_inputs_that_are_always_zero_leave_nearest_integers():
    weight, zeros = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(3)), torch.zeros(2, 5, 50)
    problem = RoundingProblem.of(weight, Vectors(zeros, zeros), Vectors(zeros, zeros))
    steps, grid = torch.full((2, 3), 0.25), Integers(-7, 7)
    integers, learned = learn_rounding(problem, steps, grid)
    assert torch.isfinite(learned).all()
    assert torch.equal(integers, grid.nearest(weight / 0.25))
