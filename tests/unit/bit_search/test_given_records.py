"""Searches that are given records of earlier ones, and methods that are told more than space and goal."""

from __future__ import annotations

import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_space

from mho.bit_search.learners import Algorithm
from mho.bit_search.log import EvaluationLog
from mho.bit_search.methods import METHODS, SUPPORTS_WARM_START, MethodOptions
from mho.bit_search.runner import SearchOptions, run_search
from mho.bit_search.sensitivity import SensitivityPrior
from mho.bit_search.warm_start import known_records
from mho.errors import ConfigError


@pytest.fixture(scope="module")
def space():
    return resnet18_space()


@pytest.fixture(scope="module")
def earlier(space):
    return measure_at_random(space, 0)


def measure_at_random(space, seed):
    """What a random search measured."""
    evaluator = SmoothEvaluator(space.layer_names, seed)
    log = EvaluationLog(None, evaluator.problem)
    run_search("random", space, evaluator, log, SearchOptions(40), np.random.default_rng(seed))
    return known_records(log, evaluator, space, where="log")


def go_on(method, space, earlier, budget=6, seed=0, **options):
    evaluator = SmoothEvaluator(space.layer_names, seed)
    return run_search(
        method, space, evaluator, EvaluationLog(None, evaluator.problem), SearchOptions(budget),
        np.random.default_rng(seed + 1), method_options=MethodOptions(**options), given=earlier,
    ), evaluator  # fmt: skip


def shrink(told, untold, space):
    """By what factor damage times cost of the policies that a search proposes is smaller, over pairs of searches.

    A claim about a method: one drawn pair proves little, as the last bit of a library changes what is drawn.
    """

    def log_mean(result, seed):
        true, new = SmoothEvaluator(space.layer_names, seed), result.records[1 - result.tried :]
        return np.log(np.mean([true.damage(record.policy) * record.cost for record in new]))

    pairs = zip(told, untold, strict=True)
    return np.exp(np.mean([log_mean(one, seed) - log_mean(other, seed) for seed, (one, other) in enumerate(pairs)]))


@pytest.mark.parametrize("method", SUPPORTS_WARM_START)
def test_what_was_measured_before_is_known_and_does_not_count(space, earlier, method):
    result, evaluator = go_on(method, space, earlier)
    assert len(earlier) == result.given == 39
    assert result.records[1:40] == earlier
    assert (result.tried, evaluator.calls) == (6, 6)
    new = {record.policy for record in result.records[40:]}
    assert len(new) == 5
    assert new.isdisjoint(record.policy for record in earlier)
    assert result.require_best().cost <= min(r.cost for r in earlier if r.accuracy >= result.goal.target_accuracy)


@pytest.mark.parametrize(("method", "pairs"), [("rl", 3), ("exact", 6)])
def test_models_learn_from_what_they_are_given(space, method, pairs):
    """Searches that are given 39 earlier evaluations propose far better policies."""
    given = [measure_at_random(space, seed) for seed in range(pairs)]
    told = [go_on(method, space, given[seed], seed=seed)[0] for seed in range(pairs)]
    untold = [go_on(method, space, (), seed=seed)[0] for seed in range(pairs)]
    assert shrink(told, untold, space) < 0.5


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(SUPPORTS_WARM_START)))
def test_methods_that_learn_from_themselves_alone_say_so(space, earlier, method):
    with pytest.raises(ConfigError, match=f"{method} learns from nothing but"):
        go_on(method, space, earlier)


def test_options_reach_the_method_or_are_refused(space):
    result, _ = go_on("rl", space, (), budget=7, algorithm=Algorithm.PPO)
    assert result.agent.algorithm is Algorithm.PPO
    assert result.agent.evaluations == 7
    again, _ = go_on("rl", space, (), budget=3, saved=result.agent)
    assert again.agent.algorithm is Algorithm.PPO
    with pytest.raises(ConfigError, match="exact takes no algorithm"):
        go_on("exact", space, (), algorithm=Algorithm.PPO)
    with pytest.raises(ConfigError, match="tpe takes no saved agent"):
        go_on("tpe", space, (), saved=result.agent)
    with pytest.raises(ConfigError, match="random takes no prior of sensitivities"):
        go_on("random", space, (), prior=SensitivityPrior.nothing(len(space.layers)))


def known_of(true, space):
    logs = np.log([[true.weights[name], true.acts[name]] for name in space.layer_names])
    return SensitivityPrior(logs, np.full(logs.shape, 0.2), 1.0, 0.1, np.zeros((2, 8)), "the truth")


@pytest.mark.parametrize(("method", "pairs"), [("rl", 3), ("exact", 6), ("evolution", 6), ("tpe", 6)])
def test_right_knowledge_helps(space, method, pairs):
    """Searches that know the true sensitivities propose better policies."""
    known = [known_of(SmoothEvaluator(space.layer_names, seed), space) for seed in range(pairs)]
    told = [go_on(method, space, (), seed=seed, prior=known[seed])[0] for seed in range(pairs)]
    untold = [go_on(method, space, (), seed=seed)[0] for seed in range(pairs)]
    assert shrink(told, untold, space) < 0.95


def test_one_search_of_the_whole_front_by_the_agent_has_policies_of_many_costs(space):
    evaluator = SmoothEvaluator(space.layer_names, noise=0.0)
    result = run_search(
        "rl", space, evaluator, EvaluationLog(None, evaluator.problem), SearchOptions(24, whole_front=True),
        np.random.default_rng(0),
    )  # fmt: skip
    gains = [result.goal.reference_cost / record.cost for record in result.records[6:]]
    assert max(gains) > 1.5 * min(gains)
    assert result.require_best() in result.records
