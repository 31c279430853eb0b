import dataclasses
import subprocess
import sys
import time

import numpy as np
import pytest
import search_problem
from search_problem import SmoothEvaluator, resnet18_space, search

from mho.bit_search.evaluation import Measurement
from mho.bit_search.log import EvaluationLog
from mho.bit_search.methods import METHODS
from mho.bit_search.runner import SearchOptions, run_search
from mho.errors import ConfigError, MhoError
from mho.policy import BitWidths


def timeless(records):
    return [dataclasses.replace(record, seconds=0.0) for record in records]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_starts_with_8_8_stays_in_its_space_and_keeps_the_budget(method):
    result = search(method, 12)
    space = resnet18_space(prune=method != "rl-paper")
    assert result.records[0].policy == space.reference_policy
    assert all(space.contains(record.policy) for record in result.records[1:])
    assert len({record.policy for record in result.records}) == len(result.records) <= 12
    assert result.ended == ("budget" if len(result.records) == 12 else "exhausted")
    assert result.require_best().accuracy >= result.goal.target_accuracy


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_search_and_another_seed_another(method):
    first, again = search(method, 14), search(method, 14)
    assert timeless(first.records) == timeless(again.records)
    if method != "uniform":
        other = run_search(
            method,
            resnet18_space(prune=method != "rl-paper"),
            SmoothEvaluator(resnet18_space().layer_names),
            EvaluationLog(None, {}),
            SearchOptions(14),
            np.random.default_rng(99),
        )
        assert [r.policy for r in other.records] != [r.policy for r in first.records]


def test_what_the_log_holds_is_not_evaluated_again_but_counts():
    space = resnet18_space()
    evaluator = SmoothEvaluator(space.layer_names)
    log = EvaluationLog(None, evaluator.problem)

    def run(method, budget):
        return run_search(method, space, evaluator, log, SearchOptions(budget), np.random.default_rng(0))

    first = run("random", 10)
    assert evaluator.calls == 10
    assert run("random", 10).records == first.records
    assert evaluator.calls == 10
    assert run("random", 15).records[:10] == first.records
    assert evaluator.calls == 15


@pytest.mark.parametrize("method", ["random", "rl"])
def test_a_killed_search_goes_on_and_ends_as_if_it_had_never_been_killed(tmp_path, method):
    path = tmp_path / "log.jsonl"
    command = [sys.executable, search_problem.__file__, method, "16", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and (not path.exists() or path.read_bytes().count(b"\n") < 9):
        time.sleep(0.01)
    process.kill()
    process.wait()
    with path.open("ab") as file:
        file.write(b'{"index": 9, "policy": {"lay')
    done = EvaluationLog(path, SmoothEvaluator(resnet18_space().layer_names).problem).records
    assert 8 <= len(done) < 16
    resumed, uninterrupted = search(method, 16, log_path=path), search(method, 16)
    assert resumed.records[: len(done)] == done
    assert timeless(resumed.records) == timeless(uninterrupted.records)
    assert resumed.require_best().policy == uninterrupted.require_best().policy


class Diverging(SmoothEvaluator):
    """Training diverges where a layer's activations have fewer than five bits."""

    def evaluate(self, policy):
        if min(bits.act_bits for bits in policy.layers.values()) < 5:
            return Measurement.of(float("nan"), 0.1)
        return super().evaluate(policy)


@pytest.mark.parametrize("method", METHODS)
def test_a_diverged_training_is_a_failed_record_and_the_search_goes_on(method):
    space = resnet18_space(prune=method != "rl-paper", min_weight_bits=4)
    evaluator = Diverging(space.layer_names)
    result = run_search(
        method, space, evaluator, EvaluationLog(None, {}), SearchOptions(25, 5.0), np.random.default_rng(0)
    )
    assert any(not record.is_ok for record in result.records)
    assert result.require_best().is_ok
    assert all(record.is_ok for record in result.front)


def test_a_reference_that_cannot_be_evaluated_is_an_error():
    class Broken(SmoothEvaluator):
        def evaluate(self, _):
            return Measurement.of(float("nan"), float("nan"))

    space = resnet18_space()
    with pytest.raises(MhoError, match="reference policy could not be evaluated"):
        run_search(
            "random", space, Broken(space.layer_names), EvaluationLog(None, {}), SearchOptions(5),
            np.random.default_rng(0),
        )  # fmt: skip


def test_progress_tells_what_is_done_and_what_is_left():
    seen = []
    search("random", 6, on_progress=seen.append, seconds=0.002)
    assert [step.done for step in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[0].seconds_left > seen[-1].seconds_left == 0.0
    assert seen[-1].best is not None


def test_a_space_is_exhausted_when_all_of_it_was_evaluated():
    space = resnet18_space(
        min_weight_bits=4, pins={n: BitWidths(8, 8) for n in resnet18_space().layer_names if n != "layer1.0.conv1"}
    )
    for method in ("rl", "random"):
        result = search(method, 100, space=space)
        assert result.ended == "exhausted"
        assert len(result.records) == space.size


def test_no_winner_is_told_with_what_would_mend_it():
    space = resnet18_space(max_act_bits=1, max_weight_bits=1)
    result = search("random", 2, space=space)
    assert result.best is None
    with pytest.raises(MhoError, match="allow a larger drop"):
        result.require_best()


def test_unknown_methods_and_impossible_budgets_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'random'"):
        search("randm", 5)
    with pytest.raises(ConfigError, match="budget is 1"):
        SearchOptions(1)
