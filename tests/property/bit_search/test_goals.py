"""Every goal on spaces that can be listed: the proven optimum, budgets that are kept, fronts that nothing betters."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_spaces import ArbitraryEvaluator, all_policies, drawn_space

from mho.bit_search.budget import CostBudget
from mho.bit_search.log import EvaluationLog
from mho.bit_search.runner import SearchLimits, SearchResult, run_search

seeds = st.integers(0, 2**20)


def run(method: str, seed: int, options: SearchLimits) -> SearchResult:
    space = drawn_space(seed, prune=method != "rl-paper")
    return run_search(
        method, space, ArbitraryEvaluator(seed), EvaluationLog(None, {}), options, np.random.default_rng(seed)
    )


def measured(seed):
    """Return cost and accuracy of every policy of the space."""
    space, evaluator = drawn_space(seed), ArbitraryEvaluator(seed)
    return [(space.cost_of(policy), evaluator.evaluate(policy).accuracy) for policy in all_policies(space)]


def budget_within(seed, level):
    """Return a cost budget that some policy of the space keeps: the cheapest at level 0, uniform 8/8 at 1."""
    space = drawn_space(seed)
    least = space.cost_of(space.cheapest_policy)
    return CostBudget(amount=int(least + level * (space.reference_cost - least)))


@settings(deadline=None, max_examples=8)
@given(seeds, st.sampled_from([0.0, 0.5, 1.5, 5.0]))
def test_exact_finds_the_cheapest_within_an_allowed_drop(seed, drop):
    result = run("exact", seed, SearchLimits(40, drop))
    costs = [cost for cost, accuracy in measured(seed) if accuracy >= result.goal.target_accuracy - 1e-12]
    assert (None if result.best is None else result.best.cost) == min(costs, default=None)


@settings(deadline=None, max_examples=8)
@given(seeds, st.floats(0.0, 1.0))
def test_exact_finds_the_most_accurate_within_a_cost_budget(seed, level):
    budget = budget_within(seed, level)
    best = run("exact", seed, SearchLimits(40, cost_budget=budget)).require_best()
    assert best.accuracy == max(accuracy for cost, accuracy in measured(seed) if cost <= budget.amount)


@settings(deadline=None, max_examples=5)
@given(seeds)
def test_exact_finds_the_whole_front(seed):
    result = run("exact", seed, SearchLimits(40, whole_front=True))
    space = drawn_space(seed)
    everything = [*measured(seed), (result.reference.cost, result.reference.accuracy)]
    true_front = {
        (cost, accuracy) for cost, accuracy in everything
        if not any((c <= cost and a > accuracy) or (c < cost and a >= accuracy) for c, a in everything)
    }  # fmt: skip
    assert {(record.cost, record.accuracy) for record in result.front} == true_front
    assert all(space.contains(record.policy) or record is result.reference for record in result.front)
