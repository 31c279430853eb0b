"""For any layer and any grid: learned integers are on the grid and leave no larger error than nearest ones do."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.quantization.quantizers import weight_bounds
from mho.quantization.rounding import Integers, RoundingProblem, Vectors, learn_rounding


@settings(deadline=None, max_examples=40)
@given(
    groups=st.integers(1, 3),
    outputs=st.integers(1, 5),
    inputs=st.integers(1, 70),
    samples=st.integers(2, 40),
    bits=st.integers(1, 8),
    noise=st.sampled_from([0.0, 0.1, 3.0]),
    seed=st.integers(0, 2**31),
)
def test_integers_are_on_the_grid_and_no_row_is_worse(groups, outputs, inputs, samples, bits, noise, seed):
    generator = torch.Generator().manual_seed(seed)
    weight, wanted, errors = (
        torch.randn(groups, *shape, generator=generator)
        for shape in ((outputs, inputs), (inputs, samples), (inputs, samples))
    )
    vectors = Vectors(wanted, wanted + noise * errors)
    problem = RoundingProblem.of(weight, vectors, vectors)
    lower, upper = weight_bounds(bits)
    grid = Integers(lower, upper, is_binary=bits == 1)
    steps = weight.abs().amax(2) / max(1, upper) + 0.01
    integers, learned = learn_rounding(problem, steps, grid)
    assert torch.equal(integers, integers.round())
    assert torch.equal(integers, integers.clamp(lower, upper))
    assert bits > 1 or (integers != 0).all()
    assert (learned > 0).all()
    nearest = grid.nearest(problem.target / steps[..., None]) * steps[..., None]
    assert (problem.error(integers * learned[..., None]) <= problem.error(nearest)).all()
