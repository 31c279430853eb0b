"""Why policies were not chosen: what `select_best` and the order of finalists say, in words."""

from dataclasses import replace

import numpy as np

from mho.bit_search.evaluation import FAILED, OK, SCREENED, EvaluationRecord
from mho.bit_search.goal import Goal, rank_fit, select_best
from mho.bit_search.verdicts import Verdict, find_verdicts
from mho.policy import BitWidths, Policy

GOAL = Goal(reference_accuracy=0.7, allowed_drop=1.0, reference_cost=1000, reference_score=1.0)


def record(index, score, accuracy, cost):
    return EvaluationRecord(
        policy=Policy({"a": BitWidths(8, 8)}), score=score, accuracy=accuracy, cost=cost, seed=0,
        seconds=0.0, method="random", index=index, fidelity="x", status=OK if score is not None else FAILED,
    )  # fmt: skip


REFERENCE = replace(record(0, 1.0, 0.7, 1000), seeds=3)


def judge(goal, records, found, finalists=()):
    return find_verdicts(goal, records, found, finalists).verdicts


def test_every_reason_has_its_verdict():
    found = replace(record(1, 1.05, 0.695, 500), seeds=3)
    others = [
        record(2, None, None, 100),
        replace(record(3, 2.0, None, 90), status=SCREENED),
        record(4, 1.5, 0.5, 200),
        record(5, 1.02, 0.7, 300),
        replace(record(6, 1.02, 0.7, 350), seeds=3),
        record(7, 1.01, 0.7, 800),
        replace(record(8, 1.04, 0.7, 450), seeds=3),
    ]
    assert judge(GOAL, [REFERENCE, found, *others], 1, finalists=(1, 8)) == (
        Verdict.REFERENCE, Verdict.FOUND, Verdict.FAILED, Verdict.SCREENED, Verdict.INACCURATE, Verdict.FEW_SEEDS,
        Verdict.NOT_TRAINED, Verdict.COSTLIER, Verdict.FINALIST,
    )  # fmt: skip


def test_a_lucky_accuracy_is_reported_as_such():
    honest = [record(k, 1.0 + 0.1 * k, 0.70 - 0.02 * k, 900 - k) for k in range(3)]
    records = [*honest, record(3, 1.25, 0.695, 100)]
    verdicts = find_verdicts(GOAL, records, 0)
    assert verdicts.verdicts[3] is Verdict.SMOOTHED
    assert verdicts.smoothed[3] < verdicts.target <= 0.7


def test_within_a_budget_loss_decides():
    goal = replace(GOAL, cost_budget=600)
    records = [
        REFERENCE,
        *(replace(record(k, 1.0 + k / 10, 0.7, cost), seeds=3) for k, cost in ((1, 500), (2, 400), (0.5, 700))),
    ]
    verdicts = find_verdicts(goal, records, 1)
    assert verdicts.verdicts[1:] == (Verdict.FOUND, Verdict.HIGHER_LOSS, Verdict.OVER_BUDGET)
    assert verdicts.target is None


def test_verdicts_agree_with_the_choice_on_random_searches():
    """Whoever ranks before the chosen one has too few seeds; all others are rejected, or rank after it."""
    before = {Verdict.FEW_SEEDS}
    after = {Verdict.COSTLIER, Verdict.HIGHER_LOSS, Verdict.REFERENCE}
    for seed in range(30):
        draws = np.random.default_rng(seed)
        scores, accuracies = draws.uniform(0.9, 1.5, 30), draws.uniform(0.6, 0.75, 30)
        records = [REFERENCE] + [
            replace(
                record(k, scores[k], accuracies[k], int(draws.integers(100, 1000))), seeds=int(draws.integers(1, 4))
            )
            for k in range(30)
        ]
        for goal in (GOAL, replace(GOAL, cost_budget=500)):
            best = select_best(goal, records, seeds=3)
            if best is None:
                continue
            places = {id(one): place for place, one in enumerate(records)}
            verdicts = judge(goal, records, places[id(best)])
            ranked = [places[id(one)] for one in rank_fit(goal, records)]
            at = ranked.index(places[id(best)])
            assert {verdicts[place] for place in ranked[:at]} <= before | {Verdict.REFERENCE}
            assert {verdicts[place] for place in ranked[at + 1 :]} <= after
            rejected = set(range(31)) - set(ranked) - {0}
            wrong = {Verdict.INACCURATE, Verdict.SMOOTHED, Verdict.OVER_BUDGET}
            assert {verdicts[place] for place in rejected} <= wrong
