import numpy as np
from search_problem import SmoothEvaluator, resnet18_space
from small_spaces import ArbitraryEvaluator, all_policies, drawn_space

from mho.bit_search.choice_tables import ChoiceTables
from mho.bit_search.evaluation import OK, EvaluationRecord
from mho.bit_search.exact import ExactSearch
from mho.bit_search.goal import Goal, select_best
from mho.bit_search.initial_policies import spread_policies
from mho.bit_search.log import EvaluationLog
from mho.bit_search.runner import SearchLimits, run_search
from mho.bit_search.sensitivity import SensitivityModel

GOAL = Goal(0.7, 1.0, resnet18_space().reference_cost, 1.2)


def test_the_search_of_a_small_space_ends_when_nothing_cheaper_is_left():
    """That it then has the optimum is a property test's subject."""
    for seed in range(4):
        space, evaluator = drawn_space(seed, layers=3), ArbitraryEvaluator(seed)
        result = run_search(
            "exact", space, evaluator, EvaluationLog(None, {}), SearchLimits(space.size + 1), np.random.default_rng(0)
        )
        best, evaluated = result.require_best(), {record.policy for record in result.records}
        assert result.ended == "exhausted"
        assert {policy for policy in all_policies(space) if space.cost_of(policy) < best.cost} <= evaluated
        assert len(evaluated) < space.size


def record_of(evaluator, space, policy):
    measured = evaluator.evaluate(policy)
    cost = space.cost_of(policy)
    return EvaluationRecord(policy, measured.score, measured.accuracy, cost, 0, 0.0, "m", 0, "f", OK)


def test_spread_policies_go_from_expensive_to_cheap_and_have_the_least_increase_of_their_cost():
    space = resnet18_space()
    tables, model = ChoiceTables(space), SensitivityModel(space.layer_names)
    policies = spread_policies(tables, GOAL, model, 5)
    costs = [space.cost_of(policy) for policy in policies]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 2 * costs[-1]
    increases = tables.increases(model.increases())
    rows = np.array([tables.row(policy) for policy in policies])
    found = tables.sums(increases, rows)[0]
    draws = np.random.default_rng(0)
    random = np.array([[draws.integers(count) for count in tables.counts] for _ in range(500)])
    increase, share = tables.sums(increases, random)
    for row, own in zip(rows, found, strict=True):
        cheaper = share <= tables.shares[np.arange(len(row)), row].sum()
        assert not cheaper.any() or own <= increase[cheaper].min()


def test_a_posterior_sample_makes_other_spread_policies():
    space = resnet18_space()
    model = SensitivityModel(space.layer_names)
    fixed = spread_policies(ChoiceTables(space), GOAL, model, 4)
    assert fixed == spread_policies(ChoiceTables(space), GOAL, model, 4)
    assert fixed != spread_policies(ChoiceTables(space), GOAL, model, 4, np.random.default_rng(0))


def test_local_search_makes_the_best_policy_cheaper_by_one_or_two_layers(monkeypatch):
    monkeypatch.setattr("mho.bit_search.exact.LOCAL_FROM", 12)
    space = resnet18_space()
    evaluator = SmoothEvaluator(space.layer_names, 0)
    goal = Goal(evaluator.true_accuracy(space.reference_policy), 1.0, space.reference_cost, 1.2)
    method, steps, records = ExactSearch(space, goal, 30, np.random.default_rng(0)), 0, []
    for _ in range(20):
        best, policy = select_best(goal, records), method.ask()
        changed = 99 if best is None else sum(policy[n] != best.policy[n] for n in space.layer_names)
        steps += changed <= 2 and space.cost_of(policy) < best.cost
        records.append(record_of(evaluator, space, policy))
        method.tell(records[-1])
    assert steps >= 2
