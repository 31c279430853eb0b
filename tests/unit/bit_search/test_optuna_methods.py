from dataclasses import replace

import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_space, search

from mho.bit_search.evaluation import FAILED, OK, EvaluationRecord
from mho.bit_search.evolution import POPULATION, EvolutionSearch
from mho.bit_search.goal import Goal
from mho.bit_search.optuna_space import PolicyCodec
from mho.bit_search.space import LayerChoices, SearchSpace
from mho.bit_search.space_policies import draw_policy
from mho.bit_search.tpe import TpeSearch
from mho.policy import BitWidths, Policy

GOAL = Goal(0.7, 1.0, 10**12, 1.2)


def report(method, space, policy, evaluator=None):
    """Tell what the evaluator says of a policy, or without one that it failed."""
    found = None if evaluator is None else evaluator.evaluate(policy)
    score, accuracy, status = (None, None, FAILED) if found is None else (found.score, found.accuracy, OK)
    method.tell(EvaluationRecord(policy, score, accuracy, space.cost_of(policy), 0, 0.0, "m", 0, "f", status))


def test_policies_survive_being_written_as_parameters():
    space = resnet18_space(weight_bits_multiple=2)
    codec, draws = PolicyCodec(space), np.random.default_rng(0)
    for _ in range(50):
        policy = draw_policy(space, draws, spread=False)
        parameters = codec.encode(policy)
        assert codec.decode(parameters) == policy
        assert set(parameters) == set(codec.distributions)


def test_layers_without_a_choice_and_widths_without_one_have_no_parameters():
    space = resnet18_space(max_act_bits=1)
    names = set(PolicyCodec(space).distributions)
    assert names == {f"{layer.name}:weight" for layer in space.layers if len(layer.weight_options) > 1}
    assert "conv1:weight" not in names


def test_parameters_that_no_choice_has_stand_for_the_nearest_one_and_bits_of_converters_count_too():
    choices = (BitWidths(4, 8, 5), BitWidths(4, 8), BitWidths(8, 4, 5), BitWidths(8, 6, 5))
    layer = LayerChoices("a", choices, (1.0, 2.0, 3.0, 4.0))
    codec = PolicyCodec(SearchSpace((layer,), np.ones((1, 8, 8)), np.zeros((1, 8), np.float32), pruned=True))
    assert {name: d.high for name, d in codec.distributions.items()} == {"a:weight": 1, "a:act": 2, "a:adc": 1}
    assert codec.decode({"a:weight": 0, "a:act": 0, "a:adc": 1}) == Policy({"a": BitWidths(4, 8)})
    assert codec.decode({"a:weight": 1, "a:act": 2, "a:adc": 1}) == Policy({"a": BitWidths(8, 6, 5)})
    assert [codec.decode(codec.encode(Policy({"a": bits})))["a"] for bits in choices] == list(choices)


@pytest.mark.parametrize("method", [EvolutionSearch, TpeSearch])
def test_the_first_policies_are_those_that_costs_tell_and_draws(method):
    space = resnet18_space()
    made = method(space, GOAL, 100, np.random.default_rng(0))
    evaluator, costs = SmoothEvaluator(space.layer_names), []
    for _ in range(10):
        policy = made.ask()
        costs.append(space.cost_of(policy))
        report(made, space, policy, evaluator)
    assert costs[:5] == sorted(costs[:5], reverse=True)
    assert costs[0] > 2 * costs[4]


def test_children_inherit_nearly_all_widths_from_the_best_parents():
    space = resnet18_space()
    evaluator = SmoothEvaluator(space.layer_names)
    method = EvolutionSearch(space, GOAL, 100, np.random.default_rng(0))
    parents = []
    for _ in range(POPULATION):
        parents.append(method.ask())
        report(method, space, parents[-1], evaluator)
    for _ in range(POPULATION):
        child = method.ask()
        inherited = [any(child[name] == parent[name] for parent in parents) for name in space.layer_names]
        assert np.mean(inherited) > 0.6
        report(method, space, child, evaluator)


def test_a_policy_that_falls_to_other_seeds_has_no_descendants_any_longer():
    space = resnet18_space()
    evaluator = SmoothEvaluator(space.layer_names)

    def count_inherited(has_fallen):
        method = EvolutionSearch(space, GOAL, 100, np.random.default_rng(0))
        first = []
        for _ in range(POPULATION):
            first.append(method.ask(first))
        star = min(first, key=space.cost_of)  # is said to lose nothing at first
        record = EvaluationRecord(star, 1.2, 0.7, space.cost_of(star), 0, 0.0, "m", 0, "f", OK)
        method.tell(record)
        for policy in first:
            if policy != star:
                report(method, space, policy, evaluator)
        if has_fallen:
            method.tell(replace(record, score=9.0, accuracy=0.1, seeds=2))
        children = []
        for _ in range(2 * POPULATION):
            children.append(method.ask())
            report(method, space, children[-1], evaluator)
        # Whose first half descends from all of the first, and the second from whoever survived.
        late = children[POPULATION:]
        return np.mean([child[name] == star[name] for child in late for name in space.layer_names])

    assert count_inherited(has_fallen=True) < count_inherited(has_fallen=False) - 0.1


def test_evolution_gets_better_from_generation_to_generation():
    records = search("evolution", 101).records[1:]
    reference = resnet18_space().reference_cost
    losses = [record.score - 0.3 * np.log(reference / record.cost) for record in records]
    assert np.median(losses[80:]) < np.median(losses[20:40]) < np.median(losses[:20])


@pytest.mark.parametrize("method", [EvolutionSearch, TpeSearch])
def test_failed_trainings_do_not_end_a_search_and_have_no_descendants(method):
    space = resnet18_space()
    evaluator = SmoothEvaluator(space.layer_names)
    made = method(space, GOAL, 40, np.random.default_rng(0))
    report(made, space, space.reference_policy, evaluator)
    policies = []
    for turn in range(24):
        policies.append(made.ask())
        report(made, space, policies[-1], None if turn % 2 else evaluator)
    assert len(set(policies)) == 24
