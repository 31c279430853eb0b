"""The search benchmark's own parts: the log's order, surrogates, noise, what is left to find, and tables."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from search_problem import SmoothEvaluator

from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.log import EvaluationLog
from mho.bit_search.space import SearchSpace
from mho.policy import BitWidths, Policy

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from search_log import fill
from search_models import MODELS, cross_validate, judge
from search_optimum import find_optimum
from search_surrogate import Log, Surrogate, bits_of, measure_noise
from search_tables import Run, median
from search_winners import paired_loss

NAMES = [f"fc{k}" for k in range(5)]


class SmallProblem:
    """Five layers whose latency is bits times bits; the paper's space is every width here."""

    name = "small"

    def space(self, constraints, *, prune):
        bits = np.arange(1, 9)
        table = np.array([[[(k + 1) * 1000 * w * a for a in bits] for w in bits] for k in range(len(NAMES))])
        features = np.random.default_rng(0).random((len(NAMES), 8)).astype(np.float32)
        return SearchSpace.build(NAMES, table, features, constraints, prune=prune)


def lines_of(path):
    """Return the log without the time that evaluations took."""
    log = EvaluationLog(path, SmoothEvaluator(NAMES).problem)
    return [(r.policy, r.score, r.accuracy, r.cost, r.method) for r in log.records]


def fill_log(path, count):
    evaluator = SmoothEvaluator(NAMES)
    fill(SmallProblem(), evaluator, EvaluationLog(path, evaluator.problem), count)


def draw_log(count, *, noise=0.0, seed=0):
    """Return measurements of random policies, whose log loss is an index of their bits, plus noise."""
    draws = np.random.default_rng(0)
    sensitivities = draws.lognormal(-1.5, 1.0, 2 * len(NAMES))
    bits = draws.integers(2, 9, (count, 2 * len(NAMES)))
    values = -1.5 + 0.6 * np.log1p((sensitivities * 4.0 ** (2 - bits)).sum(axis=1))
    errors = np.random.default_rng([1, seed]).normal(0, 1, (2, count)) * noise
    score, accuracy = np.exp(values + errors[0]), 1.0 - np.exp(values - 1.0 + errors[1])
    return Log(tuple(NAMES), bits, score, accuracy, ("drawn",) * count, np.ones(count))


def policy_of(bits):
    count = len(NAMES)
    return Policy({n: BitWidths(int(bits[k]), int(bits[count + k])) for k, n in enumerate(NAMES)})


def test_a_log_that_was_interrupted_ends_as_one_that_was_not(tmp_path):
    fill_log(tmp_path / "whole.jsonl", 24)
    for count in (3, 13, 24):
        fill_log(tmp_path / "parts.jsonl", count)
        text = (tmp_path / "parts.jsonl").read_bytes()
        (tmp_path / "parts.jsonl").write_bytes(text[:-30])  # as a kill in the middle of a line leaves it
    fill_log(tmp_path / "parts.jsonl", 24)
    assert lines_of(tmp_path / "parts.jsonl") == lines_of(tmp_path / "whole.jsonl")


def test_a_log_holds_distinct_policies_of_every_source_and_8_8_first(tmp_path):
    fill_log(tmp_path / "log.jsonl", 30)
    lines = lines_of(tmp_path / "log.jsonl")
    assert len({line[0] for line in lines}) == len(lines) == 30
    assert lines[0][0] == Policy.uniform(NAMES, BitWidths(8, 8))
    sources = {line[4] for line in lines}
    assert {"spread", "spread-full", "independent", "near-front", "near-uniform", "visited:rl-paper"} <= sources


@pytest.mark.parametrize("model", MODELS)
def test_models_predict_policies_that_they_have_not_seen(model):
    log = draw_log(150, noise=0.02)
    found = judge(cross_validate(MODELS[model], log.bits, log.log_score), log.log_score)
    assert found.r2 > {"additive": 0.5, "boosting": 0.7}.get(model, 0.9)
    assert found.tau > 0.6


def test_the_error_of_guessing_the_mean_explains_nothing():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    found = judge(np.full(4, 2.5), values)
    assert (found.r2, found.mae, found.rmse) == (0.0, 1.0, pytest.approx(np.sqrt(1.25)))


def test_noise_is_what_seeds_do_to_single_policies_not_to_all_alike():
    one, others = draw_log(400, noise=0.05, seed=1), [draw_log(400, noise=0.05, seed=seed) for seed in (2, 3)]
    shifted = [Log(o.layer_names, o.bits, o.score * 1.5, o.accuracy, o.sources, o.seconds) for o in others]
    noise = measure_noise(one, shifted)
    assert noise.score == pytest.approx(0.05, rel=0.15)
    assert measure_noise(one, others).score == pytest.approx(noise.score)
    assert abs(noise.correlation) < 0.2


def test_a_surrogate_measures_a_policy_always_alike_and_otherwise_under_another_seed():
    log = draw_log(80, noise=0.05)
    noise = measure_noise(log, [draw_log(80, noise=0.05, seed=7)])
    surrogate = Surrogate(log, noise, seed=1, model="index")
    policy = policy_of(log.bits[0])
    assert surrogate.evaluate(policy) == surrogate.evaluate(policy) == surrogate.with_seed(1).evaluate(policy)
    assert surrogate.evaluate(policy) != surrogate.with_seed(2).evaluate(policy)
    seeds = [surrogate.with_seed(seed).evaluate(policy) for seed in range(400)]
    (loss,), (accuracy,) = surrogate.means([policy])
    logs = np.log([found.score for found in seeds])
    assert logs.mean() == pytest.approx(np.log(loss), abs=4 * noise.score / np.sqrt(400))
    assert logs.std() == pytest.approx(noise.score, rel=0.15)
    assert np.median([found.accuracy for found in seeds]) == pytest.approx(accuracy, abs=0.01)


def test_bits_of_a_policy_are_all_weights_then_all_activations():
    policy = Policy({"a": BitWidths(2, 3), "b": BitWidths(4, 5)})
    assert bits_of(["b", "a"], policy).tolist() == [4, 2, 5, 3]


def test_the_optimum_of_a_small_space_is_that_of_brute_force():
    space = SmallProblem().space(
        SearchConstraints(4, 7, 4, 7, hold_first_last=None, weight_bits_multiple=2), prune=True
    )
    truth = Surrogate(draw_log(60), None, seed=0, model="index")
    every = [
        Policy(dict(zip(NAMES, widths, strict=True)))
        for widths in itertools.product(*(layer.choices for layer in space.layers))
    ]
    accuracies = truth.means(every)[1]
    for target in np.quantile(accuracies, [0.3, 0.8]):
        best = min(space.cost_of(p) for p, a in zip(every, accuracies, strict=True) if a >= target)
        found = find_optimum(space, lambda policies: truth.means(policies)[1], float(target))
        assert truth.means([found])[1][0] >= target
        assert space.cost_of(found) <= 1.01 * best


def run_of(costs, accuracies, picked, at=(1, 2, 3, 4), evaluations=4):
    task = {"method": "rl", "budget": evaluations, "seed": 1, "allowed_drop": 1.0}
    return Run.of({"task": task, "reference_cost": 100, "target": 0.9, "costs": costs, "accuracies": accuracies,
                   "evaluations": evaluations, "evaluated_at": list(at), "picked": picked, "seconds": 0.5})  # fmt: skip


def test_only_policies_that_truly_keep_the_target_count_as_found():
    run = run_of([100, 40, 50, 20], [0.91, 0.89, 0.90, 0.5], {"4": 1})
    assert run.speedups.tolist() == [1.0, 1.0, 2.0, 2.0]
    assert (run.found(2), run.found(3), run.found(99)) == (1.0, 2.0, 2.0)
    assert (run.reaches(1.5), run.reaches(2.1)) == (3.0, np.inf)
    assert run.picked(4) == (2.5, pytest.approx(2.0))
    assert run.ms_per_evaluation == 125.0


def test_repeated_measurements_count_as_evaluations_that_find_nothing():
    run = run_of([100, 40, 50, 20], [0.91, 0.89, 0.90, 0.5], {"10": 2}, at=(1, 4, 5, 8), evaluations=10)
    assert run.speedups.tolist() == [1.0] * 4 + [2.0] * 6
    assert (run.found(4), run.found(5), run.reaches(1.5)) == (1.0, 2.0, 5.0)
    assert run.picked(10) == (2.0, pytest.approx(1.0))
    assert run.ms_per_evaluation == 50.0


def test_a_median_with_searches_that_never_arrive_is_a_number_of_evaluations_or_infinite():
    assert median([3.0, np.inf, 5.0]) == 5.0
    assert median([3.0, np.inf]) == np.inf


def test_a_paired_loss_is_that_of_images_not_of_networks():
    reference = np.array([[True] * 90 + [False] * 10] * 3)
    same = paired_loss(reference, reference)
    assert same == (0.0, 0.0)
    other = reference.copy()
    other[:, :5] = False
    lost, half = paired_loss(reference, other)
    assert lost == pytest.approx(5.0)
    assert half == pytest.approx(1.96 * 100 * np.sqrt(0.05 * 0.95 / 99))
