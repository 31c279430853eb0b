import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_space, search

from mho.bit_search.evaluation import Measurement
from mho.bit_search.log import EvaluationLog
from mho.bit_search.runner import SearchLimits, run_search
from mho.errors import ConfigError, MhoError


def test_what_the_log_holds_is_not_evaluated_again_but_counts():
    space = resnet18_space()
    evaluator = SmoothEvaluator(space.layer_names)
    log = EvaluationLog(None, evaluator.problem)

    def run(method, budget):
        return run_search(method, space, evaluator, log, SearchLimits(budget), np.random.default_rng(0))

    first = run("random", 10)
    assert evaluator.calls == 10
    assert run("random", 10).records == first.records
    assert evaluator.calls == 10
    assert run("random", 15).records[:10] == first.records
    assert evaluator.calls == 15


def test_a_reference_that_cannot_be_evaluated_is_an_error():
    class Broken(SmoothEvaluator):
        def evaluate(self, _):
            return Measurement.of(float("nan"), float("nan"))

    space = resnet18_space()
    with pytest.raises(MhoError, match="reference policy could not be evaluated"):
        run_search(
            "random", space, Broken(space.layer_names), EvaluationLog(None, {}), SearchLimits(5),
            np.random.default_rng(0),
        )  # fmt: skip


def test_progress_tells_what_is_done_and_what_is_left():
    seen = []
    search("random", 6, on_progress=seen.append, seconds=0.002)
    assert [step.done for step in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[0].seconds_left > seen[-1].seconds_left == 0.0
    assert seen[-1].best is not None


def test_the_caller_may_stop_a_search_after_any_policy():
    seen = []

    def stop_at_three(progress):
        seen.append(progress.record)
        return len(seen) == 3

    result = search("random", 20, on_progress=stop_at_three)
    assert (result.ended, result.tried, len(seen)) == ("stopped", 3, 3)
    records = search("random", 20).records[:3]
    assert [record.policy for record in result.records] == [record.policy for record in records]


def test_no_best_policy_is_an_error_that_says_what_to_do():
    space = resnet18_space(max_act_bits=1, max_weight_bits=1)
    result = search("random", 2, space=space)
    assert result.best is None
    with pytest.raises(MhoError, match="allow a larger drop"):
        result.require_best()


def test_unknown_methods_and_impossible_budgets_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'random'"):
        search("randm", 5)
    with pytest.raises(ConfigError, match="budget is 1"):
        SearchLimits(1)
