"""Searches that are given records of earlier ones, and methods that are told more than space and goal."""

from __future__ import annotations

import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_space, search

from mho.errors import ConfigError
from mho.search.learners import Algorithm
from mho.search.log import EvaluationLog
from mho.search.method_options import MethodOptions
from mho.search.methods import METHODS, TAUGHT
from mho.search.runner import SearchOptions, run_search
from mho.search.sensitivity import Knowledge
from mho.search.warm_start import known_records


@pytest.fixture(scope="module")
def space():
    return resnet18_space()


@pytest.fixture(scope="module")
def earlier(space):
    """What a random search measured."""
    log, evaluator = EvaluationLog(None, {"kind": "smooth", "seed": 0}), SmoothEvaluator(space.layer_names)
    run_search("random", space, evaluator, log, SearchOptions(40), np.random.default_rng(0))
    return known_records(log, evaluator, space, where="log")


def go_on(method, space, earlier, budget=6, **options):
    evaluator = SmoothEvaluator(space.layer_names)
    return run_search(
        method, space, evaluator, EvaluationLog(None, evaluator.problem), SearchOptions(budget),
        np.random.default_rng(1), method_options=MethodOptions(**options), given=earlier,
    ), evaluator  # fmt: skip


@pytest.mark.parametrize("method", TAUGHT)
def test_what_was_measured_before_is_known_and_does_not_count(space, earlier, method):
    result, evaluator = go_on(method, space, earlier)
    assert len(earlier) == result.given == 39
    assert result.records[1:40] == earlier
    assert (result.tried, evaluator.calls) == (6, 6)
    new = {record.policy for record in result.records[40:]}
    assert len(new) == 5
    assert new.isdisjoint(record.policy for record in earlier)
    assert result.require_best().cost <= min(r.cost for r in earlier if r.accuracy >= result.goal.target_accuracy)


@pytest.mark.parametrize("method", ["rl", "exact"])
def test_models_learn_from_what_they_are_given(space, earlier, method):
    """After six evaluations a search that was told of 39 others is ahead of one that was not."""
    told, _ = go_on(method, space, earlier)
    alone = search(method, 6, seed=0)
    assert told.require_best().cost < 0.9 * alone.require_best().cost
    assert told.require_best() not in earlier


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(TAUGHT)))
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
    with pytest.raises(ConfigError, match="random takes no knowledge of sensitivities"):
        go_on("random", space, (), knowledge=Knowledge.nothing(len(space.layers)))


def known_of(true, space):
    logs = np.log([[true.weights[name], true.acts[name]] for name in space.layer_names])
    return Knowledge(logs, np.full(logs.shape, 0.2), 1.0, 0.1, np.zeros((2, 8)), "the truth")


@pytest.mark.parametrize(("method", "budget"), [("rl", 5), ("exact", 8)])
def test_right_knowledge_helps(space, method, budget):
    """Knowing the true sensitivities, a few evaluations end where not knowing them does not."""
    known = known_of(SmoothEvaluator(space.layer_names), space)
    told, untold = (go_on(method, space, (), budget=budget, knowledge=knowledge)[0] for knowledge in (known, None))
    assert told.require_best().cost < 0.95 * untold.require_best().cost


@pytest.mark.parametrize("method", ["evolution", "tpe"])
def test_first_policies_come_of_knowledge(space, method):
    true = SmoothEvaluator(space.layer_names)
    told, untold = (go_on(method, space, (), budget=6, knowledge=k)[0] for k in (known_of(true, space), None))
    harm = [np.mean([true.damage(r.policy) * r.cost for r in result.records[1:]]) for result in (told, untold)]
    assert harm[0] < harm[1]


def test_one_search_of_the_whole_front_by_the_agent_has_policies_of_many_costs(space):
    evaluator = SmoothEvaluator(space.layer_names, noise=0.0)
    result = run_search(
        "rl", space, evaluator, EvaluationLog(None, evaluator.problem), SearchOptions(24, whole_front=True),
        np.random.default_rng(0),
    )  # fmt: skip
    gains = [result.goal.reference_cost / record.cost for record in result.records[6:]]
    assert max(gains) > 1.5 * min(gains)
    assert result.require_best() in result.records
