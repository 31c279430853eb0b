"""What a search is after, how methods are rewarded, and how the best policy is chosen in spite of noise.

Accuracy on a thousand validation images is uncertain by about a point: as much as one allows to lose. Whoever picks the
cheapest policy that seems to reach the target picks the luckiest, and where the reference itself was measured too low,
everything seems to reach it. Hence `estimate_accuracies`: the loss on the calibration split orders policies with less
noise than accuracy does, so accuracy is smoothed along it. The best policy must lose no more than is allowed as
measured, and as smoothed, where the reference is smoothed too. What several seeds measured counts as so many
measurements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.objective import Objective
from mho.errors import ConfigError
from mho.pareto import pareto_front
from mho.task.task import CLASSIFICATION, Task

FloatArray = NDArray[np.float64]

SMALLEST_EXCESS = 1e-4
"""Differences of loss below it are taken as none."""
FAILED_INCREASE = 20.0
"""Loss increase, in units of `increase_unit`, that a policy whose training failed is taken to have."""


@dataclass(frozen=True)
class Goal:
    """What is searched: the cheapest policy within a loss of accuracy, or the most accurate one within a cost.

    Attributes:
        reference_accuracy: accuracy that drops count from, 0..1: that of the reference (uniform 8/8 by default), by
            exact integers where policies are evaluated on chips. Of other tasks than classification, accuracies are
            qualities by the task's metric (`mho.task.metrics.Metric`), here and everywhere in searches.
        allowed_drop: how much may be lost, >= 0, in the unit of the metric, such as points (percent) of accuracy;
            unused where a cost budget is given.
        reference_cost: of uniform 8/8, in the unit of `objective`.
        reference_score: loss that excess losses count from: of uniform 8/8, evaluated as policies are, but by exact
            integers where it loses more than is allowed on chips.
        objective: what costs are.
        cost_budget: what the best policy may cost, in the unit of `objective`; None: as little as accuracy allows.
        whole_front: True where policies of all costs are wanted, not one of them.
        task: what accuracies are.
    """

    reference_accuracy: float
    allowed_drop: float
    reference_cost: int
    reference_score: float
    objective: Objective = Objective.LATENCY
    cost_budget: int | None = None
    whole_front: bool = False
    task: Task = CLASSIFICATION

    def __post_init__(self) -> None:
        if self.task.metric.unit != "%":
            if not (math.isfinite(self.reference_accuracy) and 0.0 <= self.allowed_drop < math.inf):
                raise ConfigError(
                    f"{self.task.metric.name} {self.reference_accuracy} with {self.allowed_drop} allowed to lose",
                    where="search goal",
                    expected="finite numbers, and 0 or more to lose",
                )
        elif not 0.0 <= self.reference_accuracy <= 1.0 or not 0.0 <= self.allowed_drop <= 100.0:
            raise ConfigError(
                f"reference accuracy {self.reference_accuracy} with {self.allowed_drop} points allowed to lose",
                where="search goal",
                expected="an accuracy in 0..1 and 0..100 points",
            )
        if self.cost_budget is not None and self.cost_budget < 1:
            raise ConfigError(f"a cost budget of {self.cost_budget}", where="search goal", expected="1 or more")
        if self.cost_budget is not None and self.whole_front:
            raise ConfigError(
                "both a cost budget and the whole front are requested",
                where="search goal",
                expected="one of them: the front has policies of all costs",
            )

    @property
    def target_accuracy(self) -> float:
        """Smallest accuracy that the best policy may have, 0..1: the worst there is where only its cost is limited."""
        metric = self.task.metric
        if self.cost_budget is not None:
            return metric.worst
        return max(metric.worst, self.reference_accuracy - self.allowed_loss)

    @property
    def allowed_loss(self) -> float:
        """How much accuracy may be lost, in the unit of accuracies, not in that of the metric as shown."""
        return self.task.metric.allowed(self.allowed_drop)

    def allows(self, cost: int) -> bool:
        """Tell whether the best policy may cost so much."""
        return self.cost_budget is None or cost <= self.cost_budget

    def reward(self, increase: FloatArray | float, cost_share: FloatArray | float) -> FloatArray:
        """Return what policies are worth to methods: `smooth_reward`, or within a cost budget `budget_reward`.

        Args:
            increase: excess loss over the reference's in units of `increase_unit`, any shape, >= 0.
            cost_share: cost over that of uniform 8/8, > 0, same shape.
        """
        if self.cost_budget is None:
            return smooth_reward(increase, cost_share)
        return budget_reward(increase, np.asarray(cost_share) * (self.reference_cost / self.cost_budget))


def paper_reward(goal: Goal, accuracy: float, cost: int) -> float:
    """Return the reward of arXiv 2601.21737 to the letter: it jumps at the target.

    Accuracies count in percent, or in the unit of the metric. Below the target: -10 * (target - accuracy). Otherwise
    100 * (reference latency / latency - 1) + 0.1 * (accuracy - target). Under another objective its cost takes
    the place of latency. Within a cost budget, of which the paper knows nothing: the accuracy in percent over the
    reference's, and 100 * (1 - cost / budget) - 100 for policies that cost more.
    """
    scale = goal.task.metric.scale
    if goal.cost_budget is not None:
        beyond = 1.0 - cost / goal.cost_budget
        return 100.0 * beyond - 100.0 if beyond < 0 else scale * (accuracy - goal.reference_accuracy)
    margin = scale * (accuracy - goal.target_accuracy)
    if margin < 0:
        return 10.0 * margin
    return 100.0 * (goal.reference_cost / cost - 1.0) + 0.1 * margin


def smooth_reward(increase: FloatArray | float, cost_share: FloatArray | float) -> FloatArray:
    """Return a reward that is highest just within what is allowed, and has no jump.

    log2(gain) - 4 log1p(softplus(12 (increase - 1)) / 12): half the cost is worth 1, the allowed loss increase counts
    -0.2, twice it -2.8; loss increases far beyond count logarithmically, so that one failed policy does not drown all
    others.

    Args:
        increase: excess loss over the reference's in units of `allowed_excess`, any shape.
        cost_share: cost over that of uniform 8/8, > 0, same shape.
    """
    beyond = np.logaddexp(0.0, 12.0 * (np.asarray(increase) - 1.0)) / 12.0
    return -np.log2(cost_share) - 4.0 * np.log1p(beyond)


def budget_reward(increase: FloatArray | float, budget_share: FloatArray | float) -> FloatArray:
    """Return a reward within a cost budget: it falls with the loss increase, and is less beyond the budget.

    -log2(increase + 1/16) for what costs no more than the budget; beyond it, 10 less, and 10 less again for each budget
    more. Where costs are known exactly there is no reason to soften the limit; the slope tells which way it lies.

    Args:
        increase: excess loss over the reference's in units of `increase_unit`, any shape.
        budget_share: cost over the budget, > 0, same shape.
    """
    increase, share = np.asarray(increase), np.asarray(budget_share)
    beyond = np.where(share > 1.0 + 1e-12, 10.0 * share, 0.0)
    return np.asarray(-np.log2(np.maximum(increase, 0.0) + 0.0625) - beyond)


def estimate_accuracies(records: Sequence[EvaluationRecord]) -> FloatArray:
    """Smooth accuracy along the score: the non-increasing function of the score that is nearest to the accuracies.

    Isotonic least squares. With few records, or where score and accuracy agree on the order, it returns the accuracies
    as measured. Failed records get 0.

    Returns:
        float64 [records], 0..1.
    """
    return _spread(_isotonic_blocks(records), len(records))


def _spread(blocks: Sequence[_Block], count: int) -> FloatArray:
    """Return the accuracy of its block for each of `count` records, 0 where it has none."""
    estimates = np.zeros(count)
    for block in blocks:
        estimates[block.members] = block.accuracy
    return estimates


def smoothed_target(goal: Goal, records: Sequence[EvaluationRecord], estimates: FloatArray) -> float:
    """Return the smallest accuracy that the best policy may have as smoothed, 0..1: not below the goal's target.

    What may be lost counts from the smoothed accuracy of the reference, where it is among the records: policies of like
    loss contribute to it, as a single measurement may be too low by as much as may be lost. No more is required than
    the
    reference itself has: where policies of luckily low loss pull it below the target, it can still win.

    Args:
        goal: with the reference.
        records: of the search.
        estimates: their smoothed accuracies.
    """
    if goal.cost_budget is not None:
        return goal.target_accuracy
    own = (goal.reference_cost, goal.reference_score, goal.reference_accuracy)
    known = (
        float(estimate)
        for record, estimate in zip(records, estimates, strict=True)
        if (record.cost, record.score, record.accuracy) == own
    )
    if (reference := next(known, None)) is None:
        return goal.target_accuracy
    return min(reference, max(goal.target_accuracy, reference - goal.allowed_loss))


def allowed_excess(goal: Goal, records: Sequence[EvaluationRecord]) -> float:
    """Return the excess loss over the reference's at which smoothed accuracy meets the target (`smoothed_target`).

    Loss is what methods learn from: it is less noisy than accuracy. Between two levels of the smoothed accuracy it is
    interpolated; where all records reach the target it is 1.5 times the largest excess seen, where none does half the
    smallest.
    """
    blocks = _isotonic_blocks(records)
    scores = np.array([block.score for block in blocks]) - goal.reference_score
    target = smoothed_target(goal, records, _spread(blocks, len(records)))
    drops = target - np.array([block.accuracy for block in blocks])
    if not blocks or drops[-1] <= 0:
        excess = 1.5 * scores[-1] if blocks else 0.0
    elif drops[0] > 0:
        excess = 0.5 * scores[0]
    else:
        excess = float(np.interp(0.0, drops, scores))
    return max(float(excess), SMALLEST_EXCESS)


def increase_unit(goal: Goal, records: Sequence[EvaluationRecord]) -> float:
    """Return the excess loss over the reference's that loss increase is counted in.

    What may be lost (`allowed_excess`). Where nothing limits the loss: the median of the five least excesses within the
    cost budget, or of all of them where the whole front is wanted.
    """
    if goal.cost_budget is None and not goal.whole_front:
        return allowed_excess(goal, records)
    cheaper = [r for r in records if r.score is not None and r.cost < goal.reference_cost]
    within = [] if goal.whole_front else [r for r in cheaper if goal.allows(r.cost)]
    excess = sorted(r.score - goal.reference_score for r in within or cheaper if r.score is not None)
    if not excess:
        return SMALLEST_EXCESS
    return max(float(np.median(excess[:5] if within else excess)), SMALLEST_EXCESS)


def excess_losses(goal: Goal, records: Sequence[EvaluationRecord]) -> tuple[FloatArray, float]:
    """Return the excess losses over the reference's, float64 [records], and `increase_unit`."""
    unit = increase_unit(goal, records)
    failed = FAILED_INCREASE * unit
    return np.array([failed if r.score is None else r.score - goal.reference_score for r in records]), unit


@dataclass(frozen=True)
class _Block:
    accuracy: float
    score: float
    seeds: int
    members: list[int]

    def merge(self, other: _Block) -> _Block:
        mine, theirs = self.seeds, other.seeds
        total = mine + theirs
        return _Block(
            (self.accuracy * mine + other.accuracy * theirs) / total,
            (self.score * mine + other.score * theirs) / total,
            total,
            self.members + other.members,
        )


def _isotonic_blocks(records: Sequence[EvaluationRecord]) -> list[_Block]:
    """Pool adjacent violators: blocks of records by ascending score, whose mean accuracies descend."""
    known = [(r.score, k, r.accuracy) for k, r in enumerate(records) if r.score is not None and r.accuracy is not None]
    blocks: list[_Block] = []
    for score, k, accuracy in sorted(known):
        block = _Block(accuracy, score, records[k].seeds, [k])
        while blocks and blocks[-1].accuracy <= block.accuracy:
            block = blocks.pop().merge(block)
        blocks.append(block)
    return blocks


def select_best(goal: Goal, records: Sequence[EvaluationRecord], *, seeds: int = 1) -> EvaluationRecord | None:
    """Return the record of the best policy; None where no policy keeps the goal.

    The cheapest record whose accuracy as measured reaches the target, and as smoothed `smoothed_target`. Of equally
    cheap ones the one with the lower score (loss) is taken, then the earlier one in `records` (not in the log, whose
    order other searches shape). Within a cost budget: the record of the highest smoothed accuracy, which is that of the
    lowest score; of equals the cheaper one.

    Args:
        goal: what is searched.
        records: what was measured.
        seeds: whoever was measured with fewer seeds wins only where nobody else does.
    """
    ranked = rank_fit(goal, records)
    return next((record for record in ranked if record.seeds >= seeds), ranked[0] if ranked else None)


def rank_fit(goal: Goal, records: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
    """Return the records that may win, in the order of `select_best`, whatever their seeds."""
    if goal.cost_budget is None:
        return sorted(_within_drop(goal, records), key=lambda record: (record.cost, record.score))
    fit = [record for record in records if record.is_ok and goal.allows(record.cost)]
    return sorted(fit, key=lambda record: (record.score, record.cost))


def select_nearest(goal: Goal, records: Sequence[EvaluationRecord]) -> EvaluationRecord | None:
    """Return the policy that comes nearest to the goal, for where none keeps it; None where none was measured.

    Within a cost budget the cheapest one, else the one of the highest accuracy as smoothed; of equals, the cheaper one.
    """
    estimates = estimate_accuracies(records)
    known = [(record, float(one)) for record, one in zip(records, estimates, strict=True) if record.is_ok]
    if goal.cost_budget is not None:
        return min((record for record, _ in known), key=lambda record: record.cost, default=None)
    found = max(known, key=lambda pair: (pair[1], pair[0].accuracy or 0.0, -pair[0].cost), default=None)
    return None if found is None else found[0]


def _within_drop(goal: Goal, records: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
    """Return the records that reach the target, as measured and as smoothed."""
    estimates = estimate_accuracies(records)
    measured, smoothed = goal.target_accuracy - 1e-12, smoothed_target(goal, records, estimates) - 1e-12
    return [
        record
        for record, estimate in zip(records, estimates, strict=True)
        if record.is_ok and (record.accuracy or 0.0) >= measured and estimate >= smoothed
    ]


def front_of(records: Sequence[EvaluationRecord]) -> tuple[EvaluationRecord, ...]:
    """Return the records whose accuracy as measured no cheaper one reaches, cheapest first."""
    known = [record for record in records if record.is_ok]
    ranks = {cost: rank for rank, cost in enumerate(sorted({record.cost for record in known}))}  # costs pass 64 bits
    places = pareto_front([ranks[record.cost] for record in known], [-(record.accuracy or 0.0) for record in known])
    return tuple(known[place] for place in places)
