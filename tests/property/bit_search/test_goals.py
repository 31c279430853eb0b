"""Every goal on spaces that can be listed: the proven optimum, budgets that are kept, fronts that nothing betters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_spaces import ArbitraryEvaluator, all_policies, drawn_space

from mho.bit_search.budget import CostBudget
from mho.bit_search.log import EvaluationLog
from mho.bit_search.runner import SearchOptions, SearchResult, run_search

seeds = st.integers(0, 2**20)


def run(method: str, seed: int, options: SearchOptions) -> SearchResult:
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
    result = run("exact", seed, SearchOptions(40, drop))
    costs = [cost for cost, accuracy in measured(seed) if accuracy >= result.goal.target_accuracy - 1e-12]
    assert (None if result.best is None else result.best.cost) == min(costs, default=None)


@settings(deadline=None, max_examples=8)
@given(seeds, st.floats(0.0, 1.0))
def test_exact_finds_the_most_accurate_within_a_cost_budget(seed, level):
    budget = budget_within(seed, level)
    best = run("exact", seed, SearchOptions(40, cost_budget=budget)).require_best()
    assert best.accuracy == max(accuracy for cost, accuracy in measured(seed) if cost <= budget.amount)


@settings(deadline=None, max_examples=5)
@given(seeds)
def test_exact_finds_the_whole_front(seed):
    result = run("exact", seed, SearchOptions(40, whole_front=True))
    space = drawn_space(seed)
    everything = [*measured(seed), (result.reference.cost, result.reference.accuracy)]
    true_front = {
        (cost, accuracy) for cost, accuracy in everything
        if not any((c <= cost and a > accuracy) or (c < cost and a >= accuracy) for c, a in everything)
    }  # fmt: skip
    assert {(record.cost, record.accuracy) for record in result.front} == true_front
    assert all(space.contains(record.policy) or record is result.reference for record in result.front)


@pytest.mark.parametrize("method", ["exact", "evolution", "tpe", "uniform", "random"])
@settings(deadline=None, max_examples=3)
@given(seed=seeds, level=st.floats(0.0, 1.0))
def test_within_a_cost_budget_nothing_dearer_is_evaluated_but_uniform_8_8(method, seed, level):
    budget = budget_within(seed, level)
    result = run(method, seed, SearchOptions(10, cost_budget=budget))
    assert all(record.cost <= budget.amount for record in result.records[1:])
    if result.best is not None:  # of the same widths for all layers, none may be cheap enough
        assert result.best.cost <= budget.amount
        assert result.best.score == min(r.score for r in result.records if r.cost <= budget.amount)
    assert result.best is not None or method == "uniform"


@pytest.mark.parametrize("method", ["exact", "evolution", "tpe"])
@settings(deadline=None, max_examples=3)
@given(seed=seeds)
def test_no_record_betters_one_of_the_front(method, seed):
    result = run(method, seed, SearchOptions(14, whole_front=True))
    for one in result.front:
        for other in result.records:
            assert not (other.cost <= one.cost and other.accuracy > one.accuracy)
            assert not (other.cost < one.cost and other.accuracy >= one.accuracy)
    costs = [record.cost for record in result.front]
    assert costs == sorted(set(costs))


def test_the_agent_evaluates_nothing_beyond_a_cost_budget():
    budget = budget_within(5, 0.4)
    result = run("rl", 5, SearchOptions(7, cost_budget=budget))
    assert all(record.cost <= budget.amount for record in result.records[1:])
    assert result.require_best().cost <= budget.amount


def test_the_papers_agent_may_look_beyond_a_budget_but_never_wins_there():
    budget = budget_within(3, 0.5)
    result = run("rl-paper", 3, SearchOptions(15, cost_budget=budget))
    assert result.require_best().cost <= budget.amount
