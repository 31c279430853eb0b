"""One choice a layer, compared with trying all of them; and the neighbourhood of local search likewise."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mho.bit_search.knapsack import solve_knapsack
from mho.bit_search.local_search import neighbours

amounts = st.one_of(st.integers(0, 12).map(float), st.floats(1e-3, 1e6))


@st.composite
def problems(draw, least_layers=1):
    sizes = draw(st.lists(st.integers(1, 5), min_size=least_layers, max_size=4))
    values, weights = ([np.array([draw(amounts) for _ in range(size)]) for size in sizes] for _ in range(2))
    return values, weights


def sums(parts):
    return {
        chosen: float(sum(part[k] for part, k in zip(parts, chosen, strict=True)))
        for chosen in itertools.product(*(range(len(part)) for part in parts))
    }


# what is left of the capacity is, by rounding, less than the difference of weights that just fits
JUST_FITS = [np.array([1.0, 0.0]), np.array([0.0])], [np.array([0.0, 369740.701]), np.array([480418.499])]


@settings(deadline=None, max_examples=150)
@given(problems(), st.floats(0.0, 1.2))
@example(JUST_FITS, 1.0)
def test_the_program_finds_what_trying_all_choices_finds(problem, level):
    values, weights = problem
    of_values, of_weights = sums(values), sums(weights)
    capacity = min(of_weights.values()) + level * (max(of_weights.values()) - min(of_weights.values()))
    best = min(of_values[chosen] for chosen, weight in of_weights.items() if weight <= capacity)
    chosen = tuple(solve_knapsack(values, weights, capacity).tolist())
    assert of_weights[chosen] <= capacity
    assert of_values[chosen] <= best + 2e-9 * max(of_values.values())


@settings(deadline=None, max_examples=30)
@given(problems())
def test_nothing_is_chosen_where_nothing_fits(problem):
    values, weights = problem
    least = min(sums(weights).values())
    assert solve_knapsack(values, weights, least - 1e-3 * (1.0 + least)) is None
    assert solve_knapsack(values, weights, least) is not None


@settings(deadline=None, max_examples=80)
@given(problems(least_layers=2), st.data())
def test_neighbours_come_by_falling_reward_and_the_first_is_the_best_pair_of_changes(problem, data):
    increases, shares = problem
    center = np.array([data.draw(st.integers(0, len(increase) - 1)) for increase in increases])
    of_increase, of_share = sums(increases), sums(shares)

    def reward(increase, share):
        return -increase - 0.7 * share

    def count_changes(chosen):
        return sum(a != b for a, b in zip(chosen, center, strict=True))

    start = of_increase[tuple(center)], of_share[tuple(center)]
    found = [tuple(numbers.tolist()) for numbers in neighbours(center, increases, shares, start, reward, 50)]
    rewards = [reward(of_increase[chosen], of_share[chosen]) for chosen in found]
    assert all(1 <= count_changes(chosen) <= 2 for chosen in found)
    assert len(set(found)) == len(found)
    scale = 1e-9 * (1.0 + max(map(abs, rewards), default=0.0))
    assert all(a >= b - scale for a, b in itertools.pairwise(rewards))
    near = [reward(of_increase[c], of_share[c]) for c in of_increase if 1 <= count_changes(c) <= 2]
    if near:
        assert rewards[0] == pytest.approx(max(near), abs=scale)


def test_unwanted_neighbours_are_left_out():
    increases, shares = [np.array([0.0, 1.0, 2.0])] * 2, [np.array([2.0, 1.0, 0.0])] * 2

    def reward(increase, share):
        return np.where(share < 3.0, -increase, -np.inf)

    found = [tuple(k.tolist()) for k in neighbours(np.array([0, 0]), increases, shares, (0.0, 4.0), reward, 50)]
    assert sorted(found) == [(0, 2), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert {found[0], found[1], found[2]} == {(0, 2), (1, 1), (2, 0)}
