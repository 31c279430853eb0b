import json

import jsonschema
import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_space, search

from mho.bit_search.explanation import BitStep, Explanation, explain_policy, explanation_schema
from mho.errors import MhoError
from mho.policy import BitWidths, Policy


@pytest.fixture(scope="module")
def space():
    return resnet18_space()


@pytest.fixture(scope="module")
def result(space):
    return search("random", 60, space=space)


@pytest.fixture(scope="module")
def explanation(space, result) -> Explanation:
    return explain(space, result, result.require_best().policy)


def explain(space, result, policy):
    return explain_policy(space, result.goal, result.records, policy, np.random.default_rng(0))


def steps(explanation: Explanation) -> list[tuple[str, str, BitStep]]:
    return [
        (layer.name, own.operand, step)
        for layer in explanation.layers
        for own in layer.operands
        for step in (own.less, own.more)
        if step is not None
    ]


def test_costs_of_steps_are_those_of_the_changed_policies(space, explanation):
    found = steps(explanation)
    assert len(found) > 60
    for name, operand, step in found:
        bits = explanation.policy[name]
        pair = (step.bits, bits.act_bits) if operand == "weight" else (bits.weight_bits, step.bits)
        changed = explanation.policy.replace({name: BitWidths(*pair)})
        assert step.cost == space.cost_of(changed) - space.cost_of(explanation.policy)


def test_every_layer_steps_by_one_bit_each_way_as_far_as_there_are_bits(explanation):
    for layer in explanation.layers:
        for own in layer.operands:
            assert (own.less is None) == (own.bits == 1)
            assert (own.more is None) == (own.bits == 8)
            assert own.less is None or own.less.bits == own.bits - 1
            assert own.more is None or own.more.bits == own.bits + 1


def test_losses_lie_within_their_ranges_and_most_ranges_hold_the_truth(space, explanation):
    """Excess of loss is twice the damage that the evaluator's layers add up."""
    evaluator = SmoothEvaluator(space.layer_names)
    base, held = evaluator.damage(explanation.policy), []
    for name, operand, step in steps(explanation):
        assert step.loss.low <= step.loss.likely <= step.loss.high
        bits = explanation.policy[name]
        pair = (step.bits, bits.act_bits) if operand == "weight" else (bits.weight_bits, step.bits)
        truth = 2.0 * (evaluator.damage(explanation.policy.replace({name: BitWidths(*pair)})) - base)
        held.append(step.loss.low <= truth <= step.loss.high)
    assert np.mean(held) > 0.6


def test_fewer_bits_lose_and_the_loss_of_the_best_policy_is_the_measured_one(result, explanation):
    losses = [own.less.loss.likely for layer in explanation.layers for own in layer.operands if own.less is not None]
    assert np.mean(np.array(losses) > 0) > 0.9
    assert explanation.loss == result.require_best().score - result.goal.reference_score
    assert explanation.evaluations == 60


def test_a_policy_that_was_not_evaluated_is_explained_without_a_measured_loss(space, result):
    other = Policy.uniform(space.layer_names, BitWidths(3, 7))
    assert explain(space, result, other).loss is None


def test_few_evaluations_explain_nothing(space, result):
    with pytest.raises(MhoError, match="3 evaluations tell nothing"):
        explain_policy(space, result.goal, result.records[:3], space.reference_policy, np.random.default_rng(0))


def test_the_json_fits_its_schema(explanation):
    jsonschema.validate(json.loads(json.dumps(explanation.to_json())), explanation_schema())
