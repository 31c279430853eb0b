"""Screening: which policies of a batch are evaluated in full, what methods learn of the others, what it costs."""

import copy
import dataclasses

import jsonschema
import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_space

from mho.bit_search.evaluation import FULL, OK, SCREENED, EvaluationRecord, Measurement, Variant
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import LocalMeasurer
from mho.bit_search.runner import SearchLimits, run_search
from mho.bit_search.schemas import search_schema
from mho.bit_search.screening import Promoter, Screening
from mho.errors import ConfigError

SPACE = resnet18_space()


class ShortEvaluator(SmoothEvaluator):
    """Full evaluations take 10 steps; with fewer, losses are so many times as far from the reference's, and noisier."""

    def __init__(self, *, hides=()):
        super().__init__(SPACE.layer_names, noise=1e-4)
        self.steps, self.repeat, self.hides, self.made = 10, 0, hides, []

    @property
    def fidelity(self):
        return f"{self.steps} steps" + (f", again {self.repeat}" if self.repeat else "")

    def at(self, variant):
        other = copy.copy(self)
        other.steps = 10 if variant.steps is None else variant.steps
        other.repeat = variant.repeat
        other.seed = self.seed + variant.repeat
        return other

    def relative_cost(self, variant):
        return (1 + (10 if variant.steps is None else variant.steps)) / 11

    def evaluate(self, policy):
        self.made.append((self.fidelity, policy))
        if self.steps == 0 and policy in self.hides:
            return Measurement(None, None, "diverged")
        found = super().evaluate(policy)
        return dataclasses.replace(found, score=1.2 + (found.score - 1.2) * (11 - self.steps))


def search(budget=12, *, stages=(0,), promote=0.5, batch=4, evaluator=None, log=None, method="random", **options):
    evaluator = evaluator or ShortEvaluator()
    log = EvaluationLog(None, evaluator.problem) if log is None else log
    screening = Screening(stages, promote) if stages else None
    options = SearchLimits(budget, batch=batch, screening=screening, **options)
    return run_search(method, SPACE, evaluator, log, options, np.random.default_rng(0)), evaluator, log


def test_of_each_batch_the_most_promising_half_is_evaluated_in_full():
    result, evaluator, log = search()
    full = [policy for fidelity, policy in evaluator.made if fidelity == "10 steps"]
    short = [policy for fidelity, policy in evaluator.made if fidelity == "0 steps"]
    assert len(short) == len(result.records), "the reference too"
    assert [r.policy for r in result.records if r.status == OK] == full
    screened = [r for r in result.records if r.status == SCREENED]
    assert len(screened) > 8
    assert all(r.accuracy is None and r.score is not None and "not promoted" in r.note for r in screened)
    assert len(log) == len(full) + len(short), "each fidelity once"
    assert result.best.status == OK
    assert all(r.status == OK for r in result.front)


def test_the_budget_counts_full_evaluations_and_shares_of_them():
    result, evaluator, _ = search(budget=12, stages=(0, 2))
    counts = {steps: sum(fidelity == f"{steps} steps" for fidelity, _ in evaluator.made) for steps in (0, 2, 10)}
    assert counts[0] > counts[2] > counts[10]
    assert result.spent == pytest.approx(counts[0] * 1 / 11 + counts[2] * 3 / 11 + counts[10])
    assert 12.0 - (1 / 11 + 3 / 11 + 1) < result.spent <= 12.0, "what is left is not enough for one more"
    plain, _, _ = search(budget=12, stages=())
    assert plain.spent == len(plain.records) == 12


def test_promised_losses_are_taken_to_the_full_evaluation_by_what_was_promoted():
    result, evaluator, _ = search(budget=30, batch=8)
    late = [r for r in result.records[30:] if r.status == SCREENED]
    assert late
    for record in late:
        truth = 1.2 + 2.0 * evaluator.damage(record.policy)
        assert record.score == pytest.approx(truth, rel=0.01), "the loss there is eleven times as far off"


def test_what_fails_at_a_stage_has_failed_and_is_not_promoted():
    first, _, _ = search()
    lost = next(r.policy for r in first.records[1:] if r.status == OK)
    result, evaluator, _ = search(evaluator=ShortEvaluator(hides=(lost,)))
    record = next(r for r in result.records if r.policy == lost)
    assert (record.status, record.note, record.fidelity) == ("failed", "diverged", "0 steps")
    assert ("10 steps", lost) not in evaluator.made


def test_a_search_that_goes_on_from_its_log_ends_the_same(tmp_path):
    whole, _, _ = search(method="evolution")
    problem = ShortEvaluator().problem
    for lines in (7,):
        path = tmp_path / f"{lines}.jsonl"
        search(method="evolution", log=EvaluationLog(path, problem))
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
        again, evaluator, log = search(method="evolution", log=EvaluationLog(path, problem))
        assert [plain(r) for r in again.records] == [plain(r) for r in whole.records]
        assert again.spent == whole.spent
        assert len(evaluator.made) == len(log) - (lines - 1), "nothing is measured twice"


def plain(record):
    return dataclasses.replace(record, seconds=0.0, index=0)


def test_repeated_measurements_are_full_evaluations_of_what_was_promoted():
    result, evaluator, _ = search(budget=20, repeats=2)
    full = [fidelity for fidelity, _ in evaluator.made if "10 steps" in fidelity]
    assert full.count("10 steps, again 2") >= 2
    assert result.best.seeds == result.reference.seeds == 3
    assert result.spent == pytest.approx(len(full) + (len(evaluator.made) - len(full)) / 11)
    noise = result.noise
    assert len(noise.best.accuracies) == len(noise.reference.scores) == 3
    assert noise.best.accuracy_deviation == pytest.approx(float(np.std(noise.best.accuracies, ddof=1)))
    assert "Over 3 seeds" in str(noise)
    jsonschema.validate(result.to_json(), search_schema())


def test_results_with_screened_policies_fit_their_schema_and_are_read_again():
    result, _, _ = search()
    content = result.to_json()
    jsonschema.validate(content, search_schema())
    assert content["noise"] is None
    read = [EvaluationRecord.from_json(record, where="here") for record in content["records"]]
    assert tuple(read) == result.records


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Screening(()), "stages are"),
        (lambda: Screening((5, 2)), "ascending"),
        (lambda: Screening((2,), 1.0), "promote is 1.0"),
        (lambda: search(batch=1), "a batch of one"),
        (lambda: search(method="exact", whole_front=True), "the whole front"),
        (lambda: search(stages=(2, 10)), "as long as a full evaluation"),
        (lambda: search(evaluator=SmoothEvaluator(SPACE.layer_names)), "no shorter or repeated variants"),
        (lambda: search(stages=(), repeats=-1), "repeats is -1"),
    ],
)
def test_what_cannot_be_screened_is_refused(act, message):
    with pytest.raises(ConfigError, match=message):
        act()


def test_a_batch_costs_what_its_stages_cost():
    evaluator = ShortEvaluator()
    promoter = Promoter(Screening((0, 2), 0.5), evaluator, SPACE, lambda *_: [])
    assert promoter.cost(8) == pytest.approx(8 / 11 + 4 * 3 / 11 + 2)
    assert promoter.cost(1) == pytest.approx(1 / 11 + 3 / 11 + 1), "one of a batch is always promoted"
    assert list(LocalMeasurer(evaluator).measure([SPACE.reference_policy], FULL))
    assert evaluator.at(Variant(steps=2)).fidelity == "2 steps"
