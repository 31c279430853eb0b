"""What methods find, over several seeds and with a margin: one drawn search proves little.

The last bit of a library changes what is drawn. Larger comparisons are benchmarks (`benchmarks/search.py`).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_space, small_space

from mho.bit_search.choice_tables import ChoiceTables
from mho.bit_search.knapsack import solve_knapsack
from mho.bit_search.learners import Algorithm
from mho.bit_search.log import EvaluationLog
from mho.bit_search.methods import MethodOptions
from mho.bit_search.runner import SearchLimits, run_search
from mho.bit_search.sensitivity import SensitivityPrior
from mho.bit_search.warm_start import known_records
from mho.policy import Policy

pytestmark = pytest.mark.figures

SPACE, LARGE = small_space(), resnet18_space()


def search(method, seed, budget, *, space=SPACE, given=(), drop=3.0, **options):
    evaluator = SmoothEvaluator(space.layer_names, seed)
    return run_search(
        method, space, evaluator, EvaluationLog(None, evaluator.problem), SearchLimits(budget, drop),
        np.random.default_rng(seed + 1), method_options=MethodOptions(**options), given=given,
    )  # fmt: skip


@cache
def optimum(seed, drop=3.0):
    """Return the gain of the cheapest policy that truly loses no more than is allowed; the damage adds up."""
    evaluator = SmoothEvaluator(SPACE.layer_names, seed)
    allowed = -math.log((evaluator.true_accuracy(SPACE.reference_policy) - drop / 100) / 0.7)
    damages = [np.array([evaluator.damage(Policy({layer.name: b})) for b in layer.choices]) for layer in SPACE.layers]
    chosen = solve_knapsack([np.array(layer.costs, float) for layer in SPACE.layers], damages, allowed)
    return SPACE.reference_cost / SPACE.cost_of(ChoiceTables(SPACE).policy(chosen))


def share_of_optimum(method, seeds, budget, **options):
    """Return the mean over seeds of the best true gain within the allowed drop, over the optimum's."""
    shares = []
    for seed in range(seeds):
        true = SmoothEvaluator(SPACE.layer_names, seed)
        target = true.true_accuracy(SPACE.reference_policy) - 0.03
        found = search(method, seed, budget, **options).records
        gains = [SPACE.reference_cost / r.cost for r in found if true.true_accuracy(r.policy) >= target]
        shares.append(max([1.0, *gains]) / optimum(seed))
    return np.mean(shares)


@pytest.mark.parametrize(
    ("method", "seeds", "budget", "least"),
    [("exact", 8, 20, 0.95), ("rl", 2, 12, 0.93), ("tpe", 8, 40, 0.92), ("evolution", 8, 60, 0.89)],
)
def test_few_evaluations_come_near_the_optimum(method, seeds, budget, least):
    """`random` reaches 0.88 in 40 evaluations."""
    assert share_of_optimum(method, seeds, budget) > least


@pytest.mark.parametrize("algorithm", sorted(set(Algorithm) - {Algorithm.DDPG}))
def test_every_algorithm_of_the_agent_comes_near_the_optimum(algorithm):
    assert share_of_optimum("rl", 1, 12, algorithm=algorithm) > 0.9


def shrink(informed, plain):
    """By what factor damage times cost of the policies that a search proposes is smaller, over pairs of searches."""

    def log_mean(result, seed):
        true, new = SmoothEvaluator(LARGE.layer_names, seed), result.records[1 - result.tried :]
        return np.log(np.mean([true.damage(record.policy) * record.cost for record in new]))

    pairs = enumerate(zip(informed, plain, strict=True))
    return np.exp(np.mean([log_mean(one, seed) - log_mean(other, seed) for seed, (one, other) in pairs]))


@pytest.mark.parametrize(("method", "pairs"), [("rl", 3), ("exact", 6)])
def test_models_learn_from_earlier_evaluations(method, pairs):
    """Searches that are given 39 earlier evaluations propose far better policies."""
    given = []
    for seed in range(pairs):
        evaluator = SmoothEvaluator(LARGE.layer_names, seed)
        log = EvaluationLog(None, evaluator.problem)
        run_search("random", LARGE, evaluator, log, SearchLimits(40), np.random.default_rng(seed))
        given.append(known_records(log, evaluator, LARGE, where="log"))
    informed = [search(method, seed, 6, space=LARGE, drop=1.0, given=given[seed]) for seed in range(pairs)]
    assert shrink(informed, [search(method, seed, 6, space=LARGE, drop=1.0) for seed in range(pairs)]) < 0.5


@pytest.mark.parametrize(("method", "pairs"), [("rl", 3), ("exact", 6), ("evolution", 6), ("tpe", 6)])
def test_a_right_prior_helps(method, pairs):
    """Searches that know the true sensitivities propose better policies."""
    priors = []
    for seed in range(pairs):
        true = SmoothEvaluator(LARGE.layer_names, seed)
        logs = np.log([[true.weights[name], true.acts[name]] for name in LARGE.layer_names])
        priors.append(SensitivityPrior(logs, np.full(logs.shape, 0.2), 1.0, 0.1, np.zeros((2, 8)), "the truth"))
    informed = [search(method, seed, 6, space=LARGE, drop=1.0, prior=priors[seed]) for seed in range(pairs)]
    assert shrink(informed, [search(method, seed, 6, space=LARGE, drop=1.0) for seed in range(pairs)]) < 0.95
