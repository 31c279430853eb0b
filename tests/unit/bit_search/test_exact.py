import itertools
import math

import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_layers, resnet18_space, search

from mho.bit_search.choice_tables import ChoiceTables
from mho.bit_search.evaluation import OK, EvaluationRecord, Measurement
from mho.bit_search.exact import ExactSearch
from mho.bit_search.goal import Goal, select_best
from mho.bit_search.initial_policies import spread_policies
from mho.bit_search.knapsack import solve_knapsack
from mho.bit_search.log import EvaluationLog
from mho.bit_search.runner import SearchOptions, run_search
from mho.bit_search.sensitivity import SensitivityModel, SensitivityPrior
from mho.policy import BitWidths, Policy

SMALL = ("layer2.0.conv1", "layer3.0.conv2", "layer3.1.conv2")
GOAL = Goal(0.7, 1.0, resnet18_space().reference_cost, 1.2)


def small_space(names=SMALL):
    """ResNet-18 whose layers are pinned, but for a few: 5 bits or more leave some dozens of policies."""
    pins = {layer.name: BitWidths(8, 8) for layer in resnet18_layers() if layer.name not in names}
    return resnet18_space(pins=pins, min_weight_bits=4, min_act_bits=5)


def all_policies(space):
    names = space.layer_names
    chosen = itertools.product(*(layer.choices for layer in space.layers))
    return [Policy(dict(zip(names, bits, strict=True))) for bits in chosen]


class Arbitrary:
    """Accuracy that follows nothing: drawn for each policy. The score orders policies as accuracy does."""

    fidelity = "arbitrary"

    def __init__(self, seed):
        self.seed, self.problem = seed, {"kind": "arbitrary", "seed": seed}

    def seed_for(self, policy):
        widths = [(b.weight_bits, b.act_bits) for _, b in sorted(policy.layers.items())]
        return int(np.random.default_rng([self.seed, *itertools.chain(*widths)]).integers(2**31))

    def evaluate(self, policy):
        loss = 0.4 if set(policy.layers.values()) == {BitWidths(8, 8)} else 0.38 + 0.05 * self.draw(policy)
        return Measurement.of(loss, math.exp(-loss))

    def draw(self, policy):
        return np.random.default_rng(self.seed_for(policy)).random()


@pytest.mark.parametrize("seed", range(4))
def test_a_small_space_is_searched_to_the_proven_optimum_whatever_accuracy_does(seed):
    space, evaluator = small_space(), Arbitrary(seed)
    result = run_search(
        "exact", space, evaluator, EvaluationLog(None, {}), SearchOptions(space.size + 1, 1.0),
        np.random.default_rng(seed),
    )  # fmt: skip
    target = result.goal.target_accuracy
    fit = [space.cost_of(p) for p in all_policies(space) if evaluator.evaluate(p).accuracy >= target]
    assert space.size > 30
    assert result.require_best().cost == min(fit)
    assert result.ended == "exhausted" or len(result.records) == space.size + 1


def test_the_search_of_a_small_space_ends_when_nothing_cheaper_is_left():
    space = small_space()
    result = search("exact", space.size + 1, space=space, noise=0.0)
    best = result.require_best()
    evaluated = {record.policy for record in result.records}
    cheaper = {policy for policy in all_policies(space) if space.cost_of(policy) < best.cost}
    assert result.ended == "exhausted"
    assert cheaper <= evaluated
    assert len(evaluated) < space.size


def optimum(space, evaluator):
    """Return the gain of the fastest policy that truly loses no more than one point, by an additive damage."""
    allowed = -math.log((evaluator.true_accuracy(space.reference_policy) - 0.01) / 0.7)
    increases = [
        np.array([evaluator.damage(Policy({layer.name: bits})) for bits in layer.choices]) for layer in space.layers
    ]
    chosen = solve_knapsack([np.array(layer.costs, float) for layer in space.layers], increases, allowed)
    return space.reference_cost / space.cost_of(ChoiceTables(space).policy(chosen))


def test_few_evaluations_come_near_the_optimum():
    shares = []
    for seed in range(2):
        space = resnet18_space()
        result = search("exact", 25, seed=seed, space=space)
        gain = result.goal.reference_cost / result.require_best().cost
        shares.append(gain / optimum(space, SmoothEvaluator(space.layer_names, seed)))
    assert np.mean(shares) > 0.88


def test_known_sensitivities_need_fewer_evaluations():
    space = resnet18_space()
    evaluator = SmoothEvaluator(space.layer_names, 0)
    offsets = np.log([[evaluator.weights[name], evaluator.acts[name]] for name in space.layer_names])
    prior = SensitivityPrior(offsets, np.full(offsets.shape, 0.1), 1.0, 0.05, np.zeros((2, 8)), "the evaluator")
    reached = {}
    for name, known in (("nothing", None), ("known", prior)):
        goal = Goal(evaluator.true_accuracy(space.reference_policy), 1.0, space.reference_cost, 1.2)
        method = ExactSearch(space, goal, 12, np.random.default_rng(0), prior=known)
        gains = [1.0]
        for _ in range(12):
            policy = method.ask()
            method.tell(record_of(evaluator, space, policy))
            if evaluator.true_accuracy(policy) >= goal.target_accuracy:
                gains.append(space.reference_cost / space.cost_of(policy))
        reached[name] = max(gains)
    assert reached["known"] > reached["nothing"]
    assert reached["known"] > 0.95 * optimum(space, evaluator)


def record_of(evaluator, space, policy):
    measured = evaluator.evaluate(policy)
    cost = space.cost_of(policy)
    return EvaluationRecord(policy, measured.score, measured.accuracy, cost, 0, 0.0, "m", 0, "f", OK)


def test_spread_policies_go_from_dear_to_cheap_and_are_the_least_harmful_of_their_cost():
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


def test_a_drawn_world_makes_other_spread_policies():
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
