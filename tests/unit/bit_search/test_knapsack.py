"""The knapsack's optimum is that of all policies, also where costs are only about the sums of weights."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mho.bit_search.knapsack import add_up, solve_knapsack, solve_within_cost

OPTIONS = (3, 4, 2, 3, 4)


def _problem(seed):
    generator = np.random.default_rng(seed)
    weights = [np.sort(generator.uniform(1.0, 4.0, count)) for count in OPTIONS]
    values = [np.sort(generator.uniform(0.0, 1.0, count))[::-1] for count in OPTIONS]
    return values, weights


def _all_choices():
    return (np.array(chosen) for chosen in itertools.product(*(range(count) for count in OPTIONS)))


@pytest.mark.parametrize("seed", range(5))
def test_the_least_sum_within_the_capacity_is_found(seed):
    values, weights = _problem(seed)
    within = (chosen for chosen in _all_choices() if add_up(weights, chosen) <= 11.0)
    best = min(add_up(values, chosen) for chosen in within)
    assert add_up(values, solve_knapsack(values, weights, 11.0)) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_costs_beside_the_sums_are_kept_within_the_budget(seed):
    values, weights = _problem(seed)

    def cost_of(chosen):
        return round(100.0 * add_up(weights, chosen) ** 2 * (1.0 + 0.1 * np.sin(chosen.sum())))

    budget = 11_000
    chosen = solve_within_cost(values, weights, budget, cost_of, capacity=13.0, power=0.5)
    assert cost_of(chosen) <= budget
    best = min(add_up(values, other) for other in _all_choices() if cost_of(other) <= budget)
    assert add_up(values, chosen) <= best + 0.7  # of sums up to 5; one program may miss the best by a layer


def test_nothing_fits_a_budget_below_the_cheapest_choice():
    values, weights = _problem(0)
    assert solve_within_cost(values, weights, 1, lambda chosen: 100 + int(chosen.sum()), capacity=1.0) is None
