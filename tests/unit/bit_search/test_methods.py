"""The list of methods: each is made by its name, with its options."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from search_problem import SmoothEvaluator, small_space

from mho.bit_search.learners import Algorithm
from mho.bit_search.log import EvaluationLog
from mho.bit_search.methods import AUTO, METHODS, MethodName, MethodOptions
from mho.bit_search.objective import Objective, ObjectiveName
from mho.bit_search.runner import SearchLimits, run_search
from mho.bit_search.sensitivity import SensitivityPrior
from mho.errors import ConfigError


def search(method, budget=6, **options):
    space = small_space()
    evaluator = SmoothEvaluator(space.layer_names)
    return run_search(
        method, space, evaluator, EvaluationLog(None, evaluator.problem), SearchLimits(budget),
        np.random.default_rng(1), method_options=MethodOptions(**options),
    )  # fmt: skip


def test_options_reach_the_method_or_are_refused():
    result = search("rl", budget=7, algorithm=Algorithm.PPO)
    assert result.agent.algorithm is Algorithm.PPO
    assert result.agent.evaluations == 7
    again = search("rl", budget=3, saved=result.agent)
    assert again.agent.algorithm is Algorithm.PPO
    with pytest.raises(ConfigError, match="exact takes no algorithm"):
        search("exact", algorithm=Algorithm.PPO)
    with pytest.raises(ConfigError, match="tpe takes no saved agent"):
        search("tpe", saved=result.agent)
    with pytest.raises(ConfigError, match="random takes no prior of sensitivities"):
        search("random", prior=SensitivityPrior.nothing(6))


def test_an_unknown_method_is_an_error_that_lists_all_with_auto():
    with pytest.raises(ConfigError, match=r"auto, rl(.|\n)*did you mean 'auto'"):
        search("autu")


def test_names_for_type_checkers_are_those_there_are():
    assert get_args(MethodName) == (AUTO, *METHODS)
    assert get_args(ObjectiveName) == tuple(Objective)


@pytest.mark.parametrize("entry", METHODS.values(), ids=METHODS)
def test_every_entry_names_a_method(entry):
    assert {"ask", "tell"} <= set(dir(entry.load()))
