"""The contract that every search method keeps; what a method finds is the subject of its own tests."""

import copy
import dataclasses
import itertools
import warnings
from functools import cache

import jsonschema
import numpy as np
import optuna
import pytest
import torch
from search_problem import SmoothEvaluator, small_space
from small_spaces import AdcEvaluator, adc_space, objective_space

from mho.bit_search.budget import CostBudget
from mho.bit_search.evaluation import FULL, EvaluationRecord, Measurement
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import LocalMeasurer
from mho.bit_search.methods import (
    METHODS,
    SUPPORTS_FRONT,
    SUPPORTS_WARM_START,
    MethodOptions,
    method_factory,
    takers_of,
)
from mho.bit_search.objective import Objective
from mho.bit_search.runner import SearchLimits, run_search
from mho.bit_search.schemas import search_schema
from mho.bit_search.sensitivity import SensitivityPrior
from mho.errors import ConfigError
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths

every_method = pytest.mark.parametrize("method", METHODS)
BUDGET, BATCH, REPEATS = 24, 3, 2


class EventfulEvaluator(SmoothEvaluator):
    """Noisy, with other seeds too; the training of every fifth policy diverges."""

    def __init__(self, layer_names, seed=0):
        super().__init__(layer_names, seed)
        self.repeat, self.made = 0, []

    @property
    def fidelity(self):
        return f"eventful, again {self.repeat}" if self.repeat else "eventful"

    def at(self, variant):
        other = copy.copy(self)
        other.repeat = variant.repeat
        return other

    def relative_cost(self, _):
        return 1.0

    def seed_for(self, policy):
        return super().seed_for(policy) + self.repeat

    def evaluate(self, policy):
        self.made.append((self.repeat, policy))
        is_reference = set(policy.layers.values()) == {BitWidths(8, 8)}
        if (self.seed_for(policy) - self.repeat) % 5 == 1 and not is_reference:
            return Measurement.of(float("nan"), 0.5)
        return super().evaluate(policy)


class ReversingMeasurer(LocalMeasurer):
    """Measures each batch from its end."""

    def measure(self, policies, variant=FULL):
        yield from reversed(list(super().measure(policies, variant)))


@pytest.fixture(scope="module", autouse=True)
def little_learning():
    """Let the agent learn little: how well it does is for other tests, and most of the time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mho.bit_search.agent.FIRST_UPDATES", 20)
        patched.setattr("mho.bit_search.agent.UPDATES", 5)
        yield


@cache
def space_for(method):
    return small_space(prune=METHODS[method].prunes)


def search(method, *, log=None, seed=0, evaluator=None, space=None, given=(), measurer=None, prior=None, **options):
    space = space_for(method) if space is None else space
    evaluator = EventfulEvaluator(space.layer_names) if evaluator is None else evaluator
    options = {"budget": BUDGET, "batch": BATCH, "repeats": REPEATS, "allowed_drop": 4.0, **options}
    result = run_search(
        method, space, evaluator, EvaluationLog(None, evaluator.problem) if log is None else log,
        SearchLimits(**options), np.random.default_rng(seed), given=given, measurer=measurer,
        method_options=MethodOptions(prior=prior),
    )  # fmt: skip
    return result, evaluator


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Return the result of a method's search, its evaluator and the lines of its log."""

    @cache
    def run(method):
        path = tmp_path_factory.mktemp(method) / "log.jsonl"
        problem = EventfulEvaluator(space_for(method).layer_names).problem
        result, evaluator = search(method, log=EvaluationLog(path, problem))
        return result, evaluator, path.read_bytes().splitlines(keepends=True)

    return run


def timeless(records):
    return [dataclasses.replace(record, seconds=0.0, index=0) for record in records]


@every_method
def test_policies_lie_in_the_space_are_distinct_and_cost_what_the_space_says(logged, method):
    result, evaluator, _ = logged(method)
    space = space_for(method)
    assert result.records[0].policy == space.reference_policy
    assert all(space.contains(record.policy) for record in result.records[1:])
    assert len({record.policy for record in result.records}) == len(result.records)
    assert all(record.cost == space.cost_of(record.policy) for record in result.records)
    assert result.records[1].policy[space.layer_names[0]] == BitWidths(8, 8), "held"
    assert evaluator.made[:3] == [(seed, space.reference_policy) for seed in range(3)], (
        "8/8 comes first, with all seeds"
    )
    jsonschema.validate(result.to_json(), search_schema())
    read = [EvaluationRecord.from_json(record, where="here") for record in result.to_json()["records"]]
    assert tuple(read) == result.records


@every_method
def test_the_budget_is_kept_and_counts_every_measurement(logged, method):
    result, evaluator, _ = logged(method)
    assert result.spent == len(evaluator.made) == len(set(evaluator.made)) <= BUDGET
    assert result.ended == ("budget" if result.spent == BUDGET else "exhausted")


@every_method
def test_the_best_policy_keeps_the_goal_with_all_seeds_and_failed_trainings_are_no_obstacle(logged, method):
    result, evaluator, _ = logged(method)
    best = result.require_best()
    assert any(not record.is_ok for record in result.records)
    assert best.is_ok
    assert all(record.is_ok for record in result.front)
    assert best.accuracy >= result.goal.target_accuracy
    assert best.seeds == result.reference.seeds == REPEATS + 1
    evaluators = [evaluator, *(evaluator.at(dataclasses.replace(FULL, repeat=k + 1)) for k in range(REPEATS))]
    measured = [one.evaluate(best.policy) for one in evaluators]
    assert best.score == pytest.approx(np.mean([one.score for one in measured]))
    assert result.noise.best.accuracies == tuple(one.accuracy for one in measured)


@every_method
def test_a_search_that_goes_on_from_its_log_ends_the_same_and_measures_nothing_twice(logged, method, tmp_path):
    whole, evaluator, lines = logged(method)
    for kept in (1, len(lines) * 2 // 3):
        path = tmp_path / f"{kept}.jsonl"
        path.write_bytes(b"".join(lines[:kept]))
        again, rest = search(method, log=EvaluationLog(path, evaluator.problem))
        assert timeless(again.records) == timeless(whole.records)
        assert again.spent == whole.spent
        assert len(rest.made) == len(lines) - kept


@every_method
def test_in_which_order_a_batch_is_evaluated_changes_nothing(logged, method):
    evaluator = EventfulEvaluator(space_for(method).layer_names)
    backwards, _ = search(method, evaluator=evaluator, measurer=ReversingMeasurer(evaluator))
    assert timeless(backwards.records) == timeless(logged(method)[0].records)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"greedy", "uniform"}))
def test_another_seed_gives_another_search(logged, method):
    other, _ = search(method, seed=99, budget=12)
    assert [r.policy for r in other.records[1:4]] != [r.policy for r in logged(method)[0].records[1:4]]


@every_method
def test_a_search_of_a_small_space_ends_when_there_is_nothing_new_to_propose(method, monkeypatch):
    monkeypatch.setattr("mho.bit_search.runner.MAX_REPEATS", 25)
    _, free, *others = small_space().layer_names
    pins = {name: BitWidths(8, 8) for name in others}
    space = small_space(prune=METHODS[method].prunes, min_weight_bits=8, min_act_bits=6, pins=pins)
    assert space.size == 3
    assert space.contains(space.reference_policy)
    result, _ = search(method, space=space, budget=100, repeats=0, batch=1)
    assert result.ended == "exhausted"
    assert len(result.records) == 3 or method == "exact", "which ends when nothing cheaper is left"
    assert {record.policy[free].act_bits for record in result.records} <= {6, 7, 8}


@pytest.mark.parametrize("method", [*METHODS, "auto"])
def test_the_only_policy_of_a_space_is_evaluated(method):
    pins = {name: BitWidths(6, 5) for name in small_space().layer_names}
    result, _ = search(method, space=small_space(pins=pins), repeats=0)
    assert result.ended == "exhausted"
    assert [set(record.policy.layers.values()) for record in result.records[1:]] == [{BitWidths(6, 5)}]


@every_method
def test_within_a_cost_budget_nothing_above_it_is_evaluated_and_the_most_accurate_policy_wins(method):
    result, _ = search(method, budget=12, repeats=0, cost_budget=CostBudget(share=0.6))
    if method != "rl-paper":  # which knows no budgets
        assert all(record.cost <= result.goal.cost_budget for record in result.records[1:])
    best = result.require_best()
    allowed = [record for record in result.records if record.is_ok and record.cost <= result.goal.cost_budget]
    assert best.score == min(record.score for record in allowed)


@every_method
def test_the_whole_front_is_searched_or_refused(method):
    if method not in SUPPORTS_FRONT:
        with pytest.raises(ConfigError, match="not for the whole front"):
            search(method, whole_front=True)
        return
    result, _ = search(method, budget=14, repeats=0, whole_front=True)
    for one in result.front:
        for other in result.records:
            assert not other.is_ok or other.cost > one.cost or other.accuracy <= one.accuracy
    costs = [record.cost for record in result.front]
    assert costs == sorted(set(costs))


@every_method
def test_earlier_records_are_known_and_do_not_count_or_are_refused(method):
    evaluator = SmoothEvaluator(space_for(method).layer_names)
    earlier = search("random", evaluator=evaluator, space=space_for(method), budget=20, repeats=0)[0].records[1:]
    if method not in SUPPORTS_WARM_START:
        with pytest.raises(ConfigError, match=f"{method} learns from nothing but"):
            search(method, given=earlier)
        return
    evaluator.calls = 0
    result, _ = search(method, evaluator=evaluator, given=earlier, budget=6, repeats=0)
    assert result.given == len(earlier)
    assert result.records[1 : 1 + len(earlier)] == earlier
    assert (result.tried, evaluator.calls) == (6, 6)
    assert not {record.policy for record in result.records[1 + len(earlier) :]} & {record.policy for record in earlier}
    assert result.require_best().cost <= min(r.cost for r in earlier if r.accuracy >= result.goal.target_accuracy)


@pytest.mark.parametrize("method", SUPPORTS_WARM_START)
def test_neither_what_is_known_nor_what_is_pending_is_proposed_again(logged, method):
    result = logged(method)[0]
    proposer = method_factory(method)(space_for(method), result.goal, 40, np.random.default_rng(1))
    for record in result.records:
        proposer.tell(record)
    pending = []
    for _ in range(6):
        pending.append(proposer.ask(pending))
    assert len({*pending, *(record.policy for record in result.records)}) == 6 + len(result.records)


@every_method
def test_a_prior_of_sensitivities_changes_proposals_or_is_refused(method):
    evaluator = SmoothEvaluator(space_for(method).layer_names)
    logs = np.log([[evaluator.weights[name], evaluator.acts[name]] for name in evaluator.weights])
    prior = SensitivityPrior(logs, np.full(logs.shape, 0.1), 1.0, 0.1, np.zeros((2, 8)), "the truth")
    if method not in takers_of("prior"):
        with pytest.raises(ConfigError, match=f"{method} takes no prior of sensitivities"):
            search(method, prior=prior)
        return
    informed, plain = (search(method, budget=6, repeats=0, prior=one)[0] for one in (prior, None))
    assert [record.policy for record in informed.records] != [record.policy for record in plain.records]


@pytest.mark.parametrize(("method", "objective"), zip(METHODS, itertools.cycle(Objective), strict=False))
def test_under_every_objective_the_least_true_cost_wins(method, objective):
    space = objective_space(objective, prune=METHODS[method].prunes)
    evaluator = SmoothEvaluator(space.layer_names, 3, noise=0.0)
    result, _ = search(method, space=space, evaluator=evaluator, budget=9, repeats=0)
    assert {record.objective for record in result.records} == {objective}
    assert all(record.cost == space.cost_of(record.policy) for record in result.records)
    allowed = [r for r in result.records[1:] if space.contains(r.policy) and r.accuracy >= result.goal.target_accuracy]
    assert result.require_best().cost == min(record.cost for record in allowed)
    assert result.to_json()["objective"] == str(objective)


@every_method
def test_bits_of_adcs_are_chosen_too(method):
    limits = {"adc_bits": (3, 4, 5, 6, 8), "min_weight_bits": 6}
    space = adc_space(prune=METHODS[method].prunes, mapping=MappingModel.PAPER, **limits)
    result, _ = search(method, space=space, evaluator=AdcEvaluator(), budget=14, repeats=0, allowed_drop=2.0)
    tried = [record.policy for record in result.records[1:]]
    assert all(space.contains(policy) for policy in tried)
    assert len({bits.adc_bits for policy in tried for bits in policy.layers.values()}) > 2


@every_method
def test_the_process_is_left_as_it_was_and_nothing_is_printed(method, capfd):
    before = torch.get_num_threads(), optuna.logging.get_verbosity()
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(method, budget=8, repeats=0)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])
    assert (torch.get_num_threads(), optuna.logging.get_verbosity()) == before
    assert capfd.readouterr() == ("", "")
