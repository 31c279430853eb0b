import numpy as np
import pytest
from search_problem import resnet18_space, search
from small_spaces import ArbitraryEvaluator, drawn_space

from mho.bit_search.auto import choose_method
from mho.bit_search.learners import Algorithm
from mho.bit_search.log import EvaluationLog
from mho.bit_search.methods import MethodOptions
from mho.bit_search.runner import SearchLimits, run_search


def test_small_spaces_are_searched_to_the_proven_optimum():
    choice = choose_method(drawn_space(0), 40)
    assert choice.method == "exact"
    assert "proves the optimum" in str(choice)
    assert "proves the optimum" not in choose_method(drawn_space(0), 2).reason


def test_large_spaces_are_searched_by_what_the_benchmark_shows_best():
    choice = choose_method(resnet18_space(), 60)
    assert choice.method == "exact"
    assert "19 free layers and 60 policies" in str(choice)


def test_what_only_the_agent_takes_leads_to_the_agent():
    choice = choose_method(resnet18_space(), 60, MethodOptions(algorithm=Algorithm.PPO))
    assert (choice.method, str(choice)[:12]) == ("rl", "auto took rl")


@pytest.mark.parametrize("space", [drawn_space(1), None])
def test_auto_finds_what_its_choice_finds_and_says_why(space):
    def run(method):
        if space is None:
            return search(method, 12)
        evaluator = ArbitraryEvaluator(1)
        options = SearchLimits(40, 1.0)
        return run_search(method, space, evaluator, EvaluationLog(None, {}), options, np.random.default_rng(0))

    by_itself, by_name = run("auto"), run("exact")
    assert by_itself.method == by_name.method == "exact"
    assert [record.policy for record in by_itself.records] == [record.policy for record in by_name.records]
    assert by_itself.choice is not None
    assert by_name.choice is None
