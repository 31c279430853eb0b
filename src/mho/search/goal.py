"""What a search is after, how methods are rewarded, and how the winner is chosen in spite of noise.

Accuracy on a thousand validation images is uncertain by about a point: as much as one allows to lose. Whoever picks the
cheapest policy that seems to reach the target picks the luckiest. Hence `estimate_accuracies`: the loss on the
calibration split orders policies with less noise than accuracy does, so accuracy is smoothed along it, and a winner
must reach the target both as measured and as smoothed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.errors import ConfigError
from mho.search.evaluation import EvaluationRecord
from mho.search.objective import Objective

FloatArray = NDArray[np.float64]

SMALLEST_EXCESS = 1e-4
"""Differences of loss below it are taken as none."""


@dataclass(frozen=True)
class Goal:
    """The cheapest policy that loses no more than `allowed_drop_points` against a reference.

    Attributes:
        reference_accuracy: accuracy of the reference (uniform 8/8 unless told otherwise), 0..1.
        allowed_drop_points: points (percent) of accuracy that may be lost, >= 0.
        reference_cost: of uniform 8/8, in the unit of `objective`.
        reference_score: loss of uniform 8/8.
        objective: what costs are.
    """

    reference_accuracy: float
    allowed_drop_points: float
    reference_cost: int
    reference_score: float
    objective: Objective = Objective.LATENCY

    def __post_init__(self) -> None:
        if not 0.0 <= self.reference_accuracy <= 1.0 or not 0.0 <= self.allowed_drop_points <= 100.0:
            raise ConfigError(
                f"reference accuracy {self.reference_accuracy} with {self.allowed_drop_points} points allowed to lose",
                where="search goal",
                expected="an accuracy in 0..1 and 0..100 points",
            )

    @property
    def target_accuracy(self) -> float:
        """Smallest accuracy that a winner may have, 0..1."""
        return self.reference_accuracy - self.allowed_drop_points / 100.0


def paper_reward(goal: Goal, accuracy: float, cost: int) -> float:
    """Return the reward of arXiv 2601.21737 to the letter: it jumps at the target.

    Accuracies count in percent. Below the target: -10 * (target - accuracy). Otherwise
    100 * (reference latency / latency - 1) + 0.1 * (accuracy - target). Under another objective its cost takes
    the place of latency.
    """
    margin = 100.0 * (accuracy - goal.target_accuracy)
    if margin < 0:
        return 10.0 * margin
    return 100.0 * (goal.reference_cost / cost - 1.0) + 0.1 * margin


def smooth_reward(harm: FloatArray | float, cost_share: FloatArray | float) -> FloatArray:
    """Return a reward that is highest just within what is allowed, and has no jump.

    log2(gain) - 4 log1p(softplus(12 (harm - 1)) / 12): half the cost is worth 1, the allowed harm counts -0.2, twice it
    -2.8; harms far beyond count logarithmically, so that one ruined policy does not drown all others.

    Args:
        harm: excess loss over the reference's in units of `allowed_excess`, any shape.
        cost_share: cost over that of uniform 8/8, > 0, same shape.
    """
    beyond = np.logaddexp(0.0, 12.0 * (np.asarray(harm) - 1.0)) / 12.0
    return -np.log2(cost_share) - 4.0 * np.log1p(beyond)


def estimate_accuracies(records: Sequence[EvaluationRecord]) -> FloatArray:
    """Smooth accuracy along the score: the non-increasing function of the score that is nearest to the accuracies.

    Isotonic least squares. With few records, or where score and accuracy agree on the order, it returns the accuracies
    as measured. Failed records get 0.

    Returns:
        float64 [records], 0..1.
    """
    estimates = np.zeros(len(records))
    for block in _isotonic_blocks(records):
        estimates[block.members] = block.accuracy
    return estimates


def allowed_excess(goal: Goal, records: Sequence[EvaluationRecord]) -> float:
    """Return the excess loss over the reference's at which smoothed accuracy meets the target.

    Loss is what methods learn from: it is less noisy than accuracy. Between two levels of the smoothed accuracy it is
    interpolated; where all records reach the target it is 1.5 times the largest excess seen, where none does half the
    smallest.
    """
    blocks = _isotonic_blocks(records)
    scores = np.array([block.score for block in blocks]) - goal.reference_score
    drops = goal.target_accuracy - np.array([block.accuracy for block in blocks])
    if not blocks or drops[-1] <= 0:
        excess = 1.5 * scores[-1] if blocks else 0.0
    elif drops[0] > 0:
        excess = 0.5 * scores[0]
    else:
        excess = float(np.interp(0.0, drops, scores))
    return max(float(excess), SMALLEST_EXCESS)


@dataclass(frozen=True)
class _Block:
    accuracy: float
    score: float
    members: list[int]

    def merge(self, other: _Block) -> _Block:
        mine, theirs = len(self.members), len(other.members)
        total = mine + theirs
        return _Block(
            (self.accuracy * mine + other.accuracy * theirs) / total,
            (self.score * mine + other.score * theirs) / total,
            self.members + other.members,
        )


def _isotonic_blocks(records: Sequence[EvaluationRecord]) -> list[_Block]:
    """Pool adjacent violators: blocks of records by ascending score, whose mean accuracies descend."""
    known = [(r.score, k, r.accuracy) for k, r in enumerate(records) if r.score is not None and r.accuracy is not None]
    blocks: list[_Block] = []
    for score, k, accuracy in sorted(known):
        block = _Block(accuracy, score, [k])
        while blocks and blocks[-1].accuracy <= block.accuracy:
            block = blocks.pop().merge(block)
        blocks.append(block)
    return blocks


def select_best(goal: Goal, records: Sequence[EvaluationRecord]) -> EvaluationRecord | None:
    """Return the cheapest record whose accuracy, as measured and as smoothed, reaches the target; None where none does.

    Of equally cheap ones the one with the lower score (loss) is taken, then the earlier one in `records` (not in
    the log, whose order other searches shape).
    """
    estimates = estimate_accuracies(records)
    target = goal.target_accuracy - 1e-12
    fit = [
        record
        for record, estimate in zip(records, estimates, strict=True)
        if record.is_ok and record.accuracy is not None and min(record.accuracy, float(estimate)) >= target
    ]
    return min(fit, key=lambda record: (record.cost, record.score), default=None)


def pareto_front(records: Sequence[EvaluationRecord]) -> tuple[EvaluationRecord, ...]:
    """Return the records whose accuracy as measured no cheaper one reaches, cheapest first."""
    ordered = sorted((r for r in records if r.is_ok), key=lambda r: (r.cost, -(r.accuracy or 0.0)))
    front: list[EvaluationRecord] = []
    for record in ordered:
        if not front or (record.accuracy or 0.0) > (front[-1].accuracy or 0.0):
            front.append(record)
    return tuple(front)
