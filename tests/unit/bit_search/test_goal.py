from dataclasses import replace

import numpy as np
import pytest

from mho.bit_search.evaluation import FAILED, OK, EvaluationRecord
from mho.bit_search.goal import (
    Goal,
    allowed_excess,
    estimate_accuracies,
    front_of,
    paper_reward,
    select_best,
    smooth_reward,
    smoothed_target,
)
from mho.errors import ConfigError
from mho.policy import BitWidths, Policy

GOAL = Goal(reference_accuracy=0.7, allowed_drop=1.0, reference_cost=1000, reference_score=1.0)


def record(index, score, accuracy, latency_ps=500):
    return EvaluationRecord(
        policy=Policy({"a": BitWidths(8, 8)}), score=score, accuracy=accuracy, cost=latency_ps, seed=0,
        seconds=0.0, method="random", index=index, fidelity="x", status=OK if score is not None else FAILED,
    )  # fmt: skip


def test_the_papers_reward_below_the_target_is_ten_times_the_gap_in_percent():
    assert paper_reward(GOAL, 0.68, 500) == pytest.approx(-10.0)
    assert paper_reward(GOAL, 0.0, 500) == pytest.approx(-690.0)


def test_the_papers_reward_above_the_target_is_speed_and_a_little_accuracy():
    assert paper_reward(GOAL, 0.71, 400) == pytest.approx(150.0 + 0.1 * 2.0)


def test_the_smooth_reward_counts_doublings_and_has_no_jump_at_the_target():
    assert smooth_reward(0.0, 0.25) - smooth_reward(0.0, 0.5) == pytest.approx(1.0)
    costs = np.linspace(0.0, 40.0, 40_001)
    rewards = smooth_reward(costs, np.full(costs.shape, 0.5))
    assert np.all(np.diff(rewards) < 0)
    assert np.abs(np.diff(rewards)).max() < 0.01
    assert smooth_reward(20.0, 0.1) < smooth_reward(0.5, 1.0)


def test_smoothed_accuracy_never_rises_with_the_loss_and_keeps_an_order_that_fits():
    fitting = [record(k, 1.0 + k, 0.7 - 0.1 * k) for k in range(4)]
    np.testing.assert_allclose(estimate_accuracies(fitting), [0.7, 0.6, 0.5, 0.4])
    draws = np.random.default_rng(0)
    noisy = [record(k, score, 0.7 - score / 10 + 0.05 * draws.normal()) for k, score in enumerate(draws.random(50))]
    noisy.append(record(50, None, None))
    estimates = estimate_accuracies(noisy)
    order = np.argsort([r.score for r in noisy[:-1]])
    assert np.all(np.diff(estimates[:-1][order]) <= 1e-12)
    assert estimates[:-1].mean() == pytest.approx(np.mean([r.accuracy for r in noisy[:-1]]))
    assert estimates[-1] == 0.0


def test_a_lucky_accuracy_alone_does_not_win():
    honest = [record(k, 1.0 + 0.1 * k, 0.70 - 0.02 * k, 900 - k) for k in range(3)]
    lucky = record(3, 1.25, 0.695, 100)
    assert select_best(GOAL, [*honest, lucky]) is honest[0]


def test_a_reference_measured_too_low_makes_no_room_for_what_loses_more():
    """It was measured two points too low: four policies of like loss tell."""
    reference = record(0, GOAL.reference_score, GOAL.reference_accuracy, GOAL.reference_cost)
    like = [record(k, 1.0 + k / 100, 0.72, 900 - k) for k in range(1, 5)]
    loses = record(5, 1.3, 0.695, 100)
    records = [reference, *like, loses]
    estimates = estimate_accuracies(records)
    assert estimates[0] == pytest.approx(0.716)
    assert smoothed_target(GOAL, records, estimates) == pytest.approx(0.706)
    assert select_best(GOAL, records) is like[-1]
    assert allowed_excess(GOAL, records) < 0.2
    # Measured too high, what is measured counts; and where others reported the reference's accuracy, that does.
    high = record(0, 1.0, 0.74, GOAL.reference_cost)
    goal = replace(GOAL, reference_accuracy=0.74)
    assert smoothed_target(goal, [high, *like], estimate_accuracies([high, *like])) == goal.target_accuracy
    known = replace(GOAL, reference_accuracy=0.69)
    assert smoothed_target(known, records, estimates) == known.target_accuracy


def test_the_reference_itself_may_win_where_policies_of_luckily_low_loss_pull_its_smoothed_accuracy_below_the_target():
    reference = record(0, GOAL.reference_score, GOAL.reference_accuracy, GOAL.reference_cost)
    lucky = [record(k, 1.0 - k / 100, 0.66, 400 - k) for k in range(1, 5)]
    records = [reference, *lucky]
    assert estimate_accuracies(records)[0] == pytest.approx(0.668)  # the target is 0.69
    assert select_best(GOAL, records) is reference
    # A policy that keeps what is asked, as measured, is as good as the reference as smoothed.
    keeps = record(5, 0.99, 0.695, 300)
    assert select_best(GOAL, [*records, keeps]) is keeps


def test_the_fastest_that_reaches_the_target_wins_and_failures_never_do():
    records = [
        record(0, 1.0, 0.70, 1000),
        record(1, 1.1, 0.695, 300),
        record(2, None, None, 10),
        record(3, 2.0, 0.5, 20),
    ]
    assert select_best(GOAL, records) is records[1]
    assert select_best(GOAL, records[2:]) is None


def test_ties_go_by_the_order_of_the_search_not_by_that_of_a_shared_log():
    records = [record(7, 1.0, 0.70), record(2, 1.0, 0.70)]
    assert select_best(GOAL, records) is records[0]
    assert front_of(records) == (records[0],)


def test_the_front_of_holds_what_no_faster_record_reaches():
    records = [record(0, 1, 0.7, 900), record(1, 1, 0.6, 950), record(2, 1, 0.5, 100), record(3, 1, 0.5, 200)]
    assert [r.index for r in front_of([*records, record(4, None, None, 1)])] == [2, 0]


def test_the_allowed_excess_is_the_loss_at_which_smoothed_accuracy_meets_the_target():
    records = [record(0, 1.0, 0.70), record(1, 1.2, 0.68), record(2, 3.0, 0.2)]
    assert allowed_excess(GOAL, records) == pytest.approx(0.1)
    assert allowed_excess(GOAL, [*records[:1], record(1, 1.4, 0.695)]) == pytest.approx(0.6)
    assert allowed_excess(GOAL, [record(1, 1.4, 0.5)]) == pytest.approx(0.2)
    assert allowed_excess(GOAL, [record(1, 0.9, 0.5)]) > 0


@pytest.mark.parametrize(("accuracy", "drop"), [(1.2, 1.0), (-0.1, 1.0), (0.7, -1.0), (float("nan"), 1.0)])
def test_impossible_goals_are_refused(accuracy, drop):
    with pytest.raises(ConfigError, match="expected"):
        Goal(accuracy, drop, 1000, 1.0)
