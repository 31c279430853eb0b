"""Measurements with other seeds: who has to stand them, what they cost, and that luck does not win."""

import copy
import dataclasses

import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_space

from mho.bit_search.budget import CostBudget
from mho.bit_search.evaluation import FAILED, FULL, OK, EvaluationRecord, Measurement, pool
from mho.bit_search.goal import Goal, allowed_excess, estimate_accuracies, select_best
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import LocalMeasurer
from mho.bit_search.runner import SearchLimits, run_search
from mho.bit_search.space_policies import list_policies
from mho.errors import ConfigError, MhoError
from mho.policy import BitWidths, Policy

SPACE, WHOLE = resnet18_space(), resnet18_space(prune=False)
GOAL = Goal(reference_accuracy=0.7, allowed_drop=1.0, reference_cost=1000, reference_score=1.0)


class NoisyEvaluator(SmoothEvaluator):
    """Accuracies of single seeds are off by about a point; `ruined` fail with every seed but the search's own."""

    def __init__(self, seed=0, *, noise=0.01, ruined=()):
        super().__init__(SPACE.layer_names, noise=noise)
        self.problem = {"kind": "noisy", "seed": seed}
        self.own, self.repeat, self.ruined, self.made = seed, 0, ruined, []

    @property
    def fidelity(self):
        return f"noisy, again {self.repeat}" if self.repeat else "noisy"

    def seed_for(self, policy):
        return super().seed_for(policy) + 1000 * self.own + self.repeat

    def at(self, variant):
        other = copy.copy(self)
        other.repeat = variant.repeat
        return other

    def relative_cost(self, _):
        return 1.0

    def evaluate(self, policy):
        self.made.append((self.repeat, policy))
        found = super().evaluate(policy)
        return Measurement(None, None, "diverged") if self.repeat and policy in self.ruined else found


def search(budget=40, *, method="exact", repeats=3, evaluator=None, log=None, given=(), measurer=None, **options):
    evaluator = evaluator or NoisyEvaluator()
    log = EvaluationLog(None, evaluator.problem) if log is None else log
    options = SearchLimits(budget, repeats=repeats, **options)
    generator = np.random.default_rng(0)
    space = WHOLE if method == "rl-paper" else SPACE
    return run_search(method, space, evaluator, log, options, generator, given=given, measurer=measurer), evaluator


class LuckyEvaluator(NoisyEvaluator):
    """With the search's own seed, and no other, the policies of fewest bits lose nothing."""

    def evaluate(self, policy):
        found = super().evaluate(policy)
        free = [bits for bits in policy.layers.values() if bits != BitWidths(8, 8)]
        if self.repeat == 0 and free and all(bits.act_bits < 4 for bits in free):
            return Measurement(1.2, 0.7)
        return found


def test_policies_that_were_lucky_once_do_not_win():
    lucky, evaluator = search(60, method="uniform", repeats=0, evaluator=LuckyEvaluator(noise=1e-4))
    assert lucky.best.accuracy == 0.7
    truth = evaluator.true_accuracy(SPACE.reference_policy) - evaluator.true_accuracy(lucky.best.policy)
    assert truth > 0.1, "one point may be lost"
    honest, _ = search(60, method="uniform", repeats=2, evaluator=LuckyEvaluator(noise=1e-4))
    fallen = next(r for r in honest.records if r.policy == lucky.best.policy)
    assert (fallen.seeds, fallen.accuracy < 0.69) == (2, True)
    lost = evaluator.true_accuracy(SPACE.reference_policy) - evaluator.true_accuracy(honest.require_best().policy)
    assert lost < 0.0101
    assert honest.best.seeds == 3


def test_whoever_falls_at_the_first_repeat_is_not_measured_further():
    result, evaluator = search(60, repeats=8)
    times = {policy: sum(policy == one for _, one in evaluator.made) for _, policy in evaluator.made}
    assert {record.policy: record.seeds for record in result.records} == times
    assert times[result.best.policy] == 9
    assert result.tried + result.repeats == sum(times.values())
    assert f"{sum(times.values())} evaluations: {result.tried} policies, {result.repeats} repeats" in repr(result)
    assert any(2 <= count < 9 for count in times.values())


class CountingMeasurer(LocalMeasurer):
    """Keeps which policies it was given at a time, and in which variant."""

    def __init__(self, evaluator):
        super().__init__(evaluator)
        self.given = []

    def measure(self, policies, variant=FULL):
        self.given.append((variant.repeat, len(policies)))
        return super().measure(policies, variant)


@pytest.mark.parametrize("method", ["exact", "random"])
def test_a_batch_is_measured_again_at_a_time(method):
    evaluator = NoisyEvaluator()
    measurer = CountingMeasurer(evaluator)
    result, _ = search(60, method=method, evaluator=evaluator, measurer=measurer, batch=4)
    again = [count for repeat, count in measurer.given[4:] if repeat]
    assert max(again) > 1
    assert max(again) <= 4
    times = {policy: sum(policy == one for _, one in evaluator.made) for _, policy in evaluator.made}
    assert {record.policy: record.seeds for record in result.records} == times
    assert result.spent == len(evaluator.made) <= 60
    assert result.best.seeds == 4


def test_the_rest_of_the_budget_is_not_exceeded_by_a_batch_of_repeats():
    for budget in range(6, 16):
        result, evaluator = search(budget, method="random", repeats=2, batch=5)
        assert result.spent == len(evaluator.made) <= budget


def test_early_incumbents_need_fewer_seeds():
    early, _ = search(80, method="random", repeats=8)
    times = [record.seeds for record in early.records[1:]]
    where = [k for k, seeds in enumerate(times) if seeds > 1]
    assert times[where[0]] < 9, "the first incumbent is measured again, but not with all seeds"
    assert early.best.seeds == 9
    # A method that has nothing more to propose early measures its incumbent with all seeds nevertheless.
    short, _ = search(1000, method="uniform", repeats=8)
    assert (short.ended, short.best.seeds) == ("exhausted", 9)
    assert short.spent < 500


class FickleEvaluator(NoisyEvaluator):
    """With the search's own seed, every policy loses nothing; with others, all that is true."""

    def evaluate(self, policy):
        found = super().evaluate(policy)
        return found if self.repeat else Measurement(found.score, 0.7)


def test_a_small_space_is_searched_on_after_its_incumbent_fell():
    """`exact` ends where no cheaper policy is left; once the incumbent falls, there are others that may win."""
    space = resnet18_space(pins={name: BitWidths(8, 8) for name in SPACE.layer_names[1:-3]})
    assert space.size == 256
    evaluator = FickleEvaluator(noise=1e-5)
    found = run_search(
        "exact", space, evaluator, EvaluationLog(None, evaluator.problem), SearchLimits(400, 0.2, repeats=1),
        np.random.default_rng(0),
    )  # fmt: skip
    truth = {policy: evaluator.true_accuracy(policy) for policy in list_policies(space)}
    # The mean of both seeds loses half of what is true.
    fit = [p for p, accuracy in truth.items() if accuracy >= truth[space.reference_policy] - 0.004]
    assert found.ended == "exhausted"
    assert found.require_best().cost == min(map(space.cost_of, fit))


def test_a_policy_that_fails_with_another_seed_has_failed():
    first, _ = search(method="evolution")
    lost = first.best.policy
    result, _ = search(method="evolution", evaluator=NoisyEvaluator(ruined=(lost,)))
    record = next(r for r in result.records if r.policy == lost)
    assert (record.status, record.seeds, record.note) == (FAILED, 2, "diverged (noisy, again 1)")
    assert result.best.policy != lost


def test_policies_of_earlier_searches_are_measured_with_the_seeds_too():
    earlier, _ = search(30, repeats=0, method="random")
    result, evaluator = search(8, repeats=3, given=earlier.records[1:])
    assert result.best.seeds == 4
    assert len(evaluator.made) == 8 == result.spent


def test_within_a_cost_budget_the_best_policy_is_measured_with_the_seeds_too():
    result, _ = search(30, cost_budget=CostBudget(share=0.5))
    assert result.require_best().seeds == 4
    best = [r for r in result.records if r.seeds == 4 and result.goal.allows(r.cost)]
    assert result.best == min(best, key=lambda r: r.score)


def test_a_budget_has_room_for_the_repeats():
    with pytest.raises(ConfigError, match="3 repeats within a budget of 4"):
        search(4)
    result, evaluator = search(5)
    assert [repeat for repeat, _ in evaluator.made] == [0, 1, 2, 3, 0]
    assert result.best == result.reference or not SPACE.contains(SPACE.reference_policy)


def record(score, accuracy, *, seeds=1, cost=500, seconds=1.0):
    return EvaluationRecord(
        Policy({"a": BitWidths(8, 8)}), score, accuracy, cost, 0, seconds, "m", 0, "x", OK, seeds=seeds
    )


def test_means_take_all_seconds_and_fail_with_any():
    pooled = pool([record(1.0, 0.7, seconds=2.0), record(2.0, 0.6)])
    assert (pooled.score, pooled.accuracy, pooled.seconds, pooled.seeds) == (1.5, pytest.approx(0.65), 3.0, 2)
    failed = dataclasses.replace(record(None, None), status=FAILED, note="diverged")
    assert (pool([record(1.0, 0.7), failed]).status, pool([record(1.0, 0.7), failed]).seeds) == (FAILED, 2)


def test_what_more_seeds_measured_weighs_more():
    pair = [record(1.0, 0.60, seeds=1), record(1.1, 0.70, seeds=4)]  # the order is wrong: both get their mean
    np.testing.assert_allclose(estimate_accuracies(pair), 0.68)
    steep = [record(1.0, 0.72, seeds=4), *pair[1:], record(2.0, 0.2)]
    assert allowed_excess(GOAL, steep) == pytest.approx(0.1 + 0.9 * 0.01 / 0.5)


def test_fewer_seeds_win_only_where_nobody_has_all():
    twice, once = record(1.0, 0.70, seeds=2, cost=600), record(1.05, 0.70, cost=300)
    assert select_best(GOAL, [twice, once]) is once
    assert select_best(GOAL, [twice, once], seeds=2) is twice
    assert select_best(GOAL, [twice, once], seeds=3) is once


@pytest.mark.parametrize("seeds", [0, True, "2", 1.5])
def test_seeds_of_a_record_are_a_number(seeds):
    with pytest.raises(MhoError, match="'seeds'"):
        EvaluationRecord.from_json({**record(1.0, 0.7).to_json(), "seeds": seeds}, where="here")
