"""What could still win a search, compared with trying all policies of a small space."""

import dataclasses

import numpy as np
import pytest
from small_spaces import ArbitraryEvaluator, all_policies, drawn_space

from mho.bit_search.choice_tables import ChoiceTables
from mho.bit_search.goal import Goal, increase_unit
from mho.bit_search.incumbent import find_incumbent, neighbours_of_incumbent, promising_costs
from mho.bit_search.measurers import make_record, timed


@pytest.fixture(params=range(4))
def measured(request):
    """A space, a goal that some of its policies reach, and records of half of them."""
    space, evaluator = drawn_space(request.param, layers=3), ArbitraryEvaluator(request.param)
    chosen = [policy for k, policy in enumerate(all_policies(space)) if k % 2 or policy == space.reference_policy]
    records = [make_record(policy, timed(evaluator, policy), evaluator, space, "all") for policy in chosen]
    reference = next(record for record in records if record.policy == space.reference_policy)
    return space, Goal(reference.accuracy, 0.5, space.reference_cost, reference.score), records


def test_only_what_costs_less_than_the_incumbent_could_win(measured):
    space, goal, records = measured
    incumbent = find_incumbent(space, goal, records)
    assert incumbent is not None
    could_win = promising_costs(space, goal, records)
    assert [could_win(cost) for cost in (incumbent.cost - 1, incumbent.cost, incumbent.cost + 1)] == [
        True,
        False,
        False,
    ]
    assert promising_costs(space, goal, [])(10**15)


def test_within_a_budget_and_on_the_front_costs_below_the_incumbent_are_not_needed(measured):
    space, goal, records = measured
    within = dataclasses.replace(goal, cost_budget=space.reference_cost // 2)
    could_win = promising_costs(space, within, records)
    assert could_win(within.cost_budget)
    assert not could_win(within.cost_budget + 1)
    assert promising_costs(space, dataclasses.replace(goal, whole_front=True), records)(space.reference_cost)


def test_on_the_front_a_policy_may_have_to_cost_less_than_all_that_lose_as_little(measured):
    space, goal, records = measured
    front = dataclasses.replace(goal, whole_front=True)
    for excess in (0.0, 0.1, 1.0, 10.0):
        least = min(record.cost for record in records if record.score <= goal.reference_score + excess)
        could_win = promising_costs(space, front, records, excess)
        assert (could_win(least - 1), could_win(least)) == (True, False)
    assert promising_costs(space, front, [], 1.0)(space.reference_cost)


def test_neighbours_of_the_incumbent_are_all_cheaper_ones_in_two_layers_best_first(measured):
    space, goal, records = measured
    tables, generator = ChoiceTables(space), np.random.default_rng(1)
    increases = [np.sort(generator.random(len(layer.choices)))[::-1] for layer in space.layers]
    incumbent = find_incumbent(space, goal, records)
    measured_increase = max(incumbent.score - goal.reference_score, 0.0) / increase_unit(goal, records)
    center = tables.row(incumbent.policy)

    def worth(policy):
        row = tables.row(policy)
        steps = [increases[k][new] - increases[k][old] for k, (new, old) in enumerate(zip(row, center, strict=True))]
        share = sum(tables.shares[k][number] for k, number in enumerate(row))
        return float(tables.reward(np.maximum(measured_increase + sum(steps), 0.0), np.asarray(share)))

    found = list(neighbours_of_incumbent(tables, goal, records, increases, tables.reward, 1000))
    values = [worth(policy) for policy in found]
    assert values == sorted(values, reverse=True)
    expected = []
    for policy in all_policies(space):
        row = tables.row(policy)
        if 0 < np.count_nonzero(row != center) <= 2 and space.cost_of(policy) < incumbent.cost:
            expected.append(policy)
    assert set(found) <= set(expected)
    if expected:
        assert values[0] == pytest.approx(max(map(worth, expected)))
