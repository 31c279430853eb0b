"""Why a search's policy was chosen over each of the others that it tried: the rules of `goal.select_best`, in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mho.bit_search.evaluation import SCREENED, EvaluationRecord
from mho.bit_search.goal import Goal, estimate_accuracies, smoothed_target


class Verdict(StrEnum):
    """What became of a policy."""

    FOUND = "found"
    """Chosen: trained and compiled."""
    REFERENCE = "reference"
    """Uniform 8/8, with which all are compared."""
    FAILED = "failed"
    """Its evaluation failed."""
    SCREENED = "screened"
    """A shorter training promised too little for a full evaluation."""
    OVER_BUDGET = "over-budget"
    """It costs more than the policy may."""
    INACCURATE = "inaccurate"
    """Its accuracy as measured is below the target."""
    SMOOTHED = "smoothed"
    """Its accuracy is below the target once smoothed along the loss: policies of like loss are less accurate."""
    FINALIST = "finalist"
    """It was trained fully, and another one was taken."""
    FEW_SEEDS = "few-seeds"
    """It is cheaper, or of lower loss, but was measured with too few seeds to win."""
    COSTLIER = "costlier"
    """It keeps the target at a higher cost."""
    HIGHER_LOSS = "higher-loss"
    """It keeps the goal, with a higher loss on the calibration split."""
    NOT_TRAINED = "not-trained"
    """It keeps the goal, but was no finalist: only the best policy and more accurate, more expensive ones are."""


@dataclass(frozen=True)
class Verdicts:
    """What became of each policy of a search.

    Attributes:
        verdicts: of each record.
        smoothed: accuracy of each record as smoothed, 0..1; None where it has none.
        target: the smallest smoothed accuracy that is accepted, 0..1; None within a cost budget.
    """

    verdicts: tuple[Verdict, ...]
    smoothed: tuple[float | None, ...]
    target: float | None


def find_verdicts(
    goal: Goal, records: Sequence[EvaluationRecord], found: int, finalists: Collection[int] = ()
) -> Verdicts:
    """Return why each policy was not chosen.

    Args:
        goal: what was searched.
        records: what was measured, the reference first.
        found: place of the chosen one.
        finalists: places of those that were trained fully.
    """
    estimates = [float(one) for one in estimate_accuracies(records)]
    target = smoothed_target(goal, records, estimate_accuracies(records))

    def judge(place: int) -> Verdict:
        own = _find_fixed(records, place, found)
        if own is not None:
            return own
        record, chosen = records[place], records[found]
        if goal.cost_budget is None:
            if (record.accuracy or 0.0) < goal.target_accuracy - 1e-12:
                return Verdict.INACCURATE
            if estimates[place] < target - 1e-12:
                return Verdict.SMOOTHED
        elif not goal.allows(record.cost):
            return Verdict.OVER_BUDGET
        if place in finalists:
            return Verdict.FINALIST
        return _compare(goal, record, chosen, records[0].seeds)

    return Verdicts(
        tuple(judge(place) for place in range(len(records))),
        tuple(one if record.is_ok else None for one, record in zip(estimates, records, strict=True)),
        None if goal.cost_budget is not None else target,
    )


def _find_fixed(records: Sequence[EvaluationRecord], place: int, found: int) -> Verdict | None:
    """Return the verdict of a record that no comparison decides; None for others."""
    if place == found:
        return Verdict.FOUND
    if place == 0:
        return Verdict.REFERENCE
    if records[place].is_ok:
        return None
    return Verdict.SCREENED if records[place].status == SCREENED else Verdict.FAILED


def _compare(goal: Goal, record: EvaluationRecord, chosen: EvaluationRecord, seeds: int) -> Verdict:
    """Return why a policy that keeps the goal was not taken."""
    assert record.score is not None, "it is measured"
    costs, losses = (record.cost, chosen.cost), (record.score, chosen.score or 0.0)
    first, second = (costs, losses) if goal.cost_budget is None else (losses, costs)
    if (first[0], second[0]) > (first[1], second[1]):
        return Verdict.COSTLIER if goal.cost_budget is None and record.cost > chosen.cost else Verdict.HIGHER_LOSS
    return Verdict.FEW_SEEDS if record.seeds < seeds else Verdict.NOT_TRAINED
