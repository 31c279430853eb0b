"""Screening: policies go through shorter trainings first, and only the best of each batch are evaluated in full.

Successive halving (Jamieson and Talwalkar, AISTATS 2016) on batches. A stage trains for fewer steps, or only
calibrates, and promotes a share of the policies by the reward that they promise. Their excess loss there is taken to
the full evaluation by the median ratio of the two over what was promoted before. A policy that is not promoted reaches
the method with the loss that it promises, and without an accuracy, so that it cannot win.

A budget counts in full evaluations. A stage counts as the share of one that it takes, in images through the network: a
trained one for three, an evaluated one for one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mho.bit_search.evaluation import SCREENED, EvaluationRecord, Evaluator, Variant
from mho.bit_search.goal import Goal, increase_unit
from mho.bit_search.measurers import variant_of
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError
from mho.policy import Policy

MIN_PAIRS = 3
"""From so many policies that were promoted on, losses of a stage are taken to the full evaluation by their ratio."""
SMALLEST = 1e-6


@dataclass(frozen=True)
class Screening:
    """Which shorter trainings policies go through.

    Attributes:
        stages: steps of each, ascending; 0 calibrates only.
        promote: the share of policies that goes on from each, above 0 and below 1.
    """

    stages: tuple[int, ...]
    promote: float = 0.5

    def __post_init__(self) -> None:
        if not self.stages or list(self.stages) != sorted(set(self.stages)) or self.stages[0] < 0:
            raise ConfigError(
                f"stages are {list(self.stages)}", where="search", expected="numbers of steps, 0 or more, ascending"
            )
        if not 0.0 < self.promote < 1.0:
            raise ConfigError(f"promote is {self.promote}", where="search", expected="above 0 and below 1")


class Promoter:
    """Promotes policies (see the module).

    Args:
        screening: by which stages.
        evaluator: of full evaluations; one that has shorter variants.
        space: tells costs.
        measure: returns the records of policies under a variant.

    Raises:
        ConfigError: the evaluator has no shorter variants, or a stage is not shorter than a full evaluation.
    """

    def __init__(
        self,
        screening: Screening,
        evaluator: Evaluator,
        space: SearchSpace,
        measure: Callable[[Variant, Sequence[Policy]], list[EvaluationRecord]],
    ) -> None:
        self._promote, self._space, self._measure = screening.promote, space, measure
        self._variants = tuple(Variant(steps=steps) for steps in screening.stages)
        self._fidelities = [variant_of(evaluator, variant).fidelity for variant in self._variants]
        self._shares = [relative_cost(evaluator, variant) for variant in self._variants]
        if self._shares[-1] >= 1.0:
            raise ConfigError(
                f"a stage of {screening.stages[-1]} steps is as long as a full evaluation",
                where="search",
                expected=f"fewer steps than {evaluator.fidelity}",
            )
        self._references: list[float] = []
        self._excess: list[dict[Policy, float]] = [{} for _ in self._variants]
        self._goal: Goal | None = None

    def start(self, goal: Goal) -> float:
        """Measure the reference at every stage; return what that costs, in full evaluations."""
        self._goal = goal
        for variant, fidelity in zip(self._variants, self._fidelities, strict=True):
            (record,) = self._measure(variant, [self._space.reference_policy])
            if record.score is None:
                raise ConfigError(f"uniform 8/8 cannot be evaluated: {record.note}", where=f"stage of {fidelity}")
            self._references.append(record.score)
        return sum(self._shares)

    def cost(self, count: int) -> float:
        """Return what a batch of so many policies costs, in full evaluations."""
        total = 0.0
        for share in self._shares:
            total += share * count
            count = self._kept(count)
        return total + count

    def promote(
        self, policies: Sequence[Policy], records: Sequence[EvaluationRecord]
    ) -> tuple[list[Policy], dict[Policy, EvaluationRecord], float]:
        """Return the policies that are worth a full evaluation, the records of the others, and what that cost.

        Args:
            policies: distinct, new to the search.
            records: of the search so far.
        """
        assert self._goal is not None, "a sieve is started first"
        left, screened, spent = list(policies), dict[Policy, EvaluationRecord](), 0.0
        for number, variant in enumerate(self._variants):
            if not left:
                break
            spent += self._shares[number] * len(left)
            promised = [self._promise(number, one, records) for one in self._measure(variant, left)]
            order = np.argsort(-self._rewards(promised, records), kind="stable")
            kept = set(order[: self._kept(len(left))].tolist())
            screened |= {policy: promised[k] for k, policy in enumerate(left) if k not in kept}
            left = [policy for k, policy in enumerate(left) if k in kept]
        return left, screened, spent

    def _kept(self, count: int) -> int:
        return min(count, max(1, math.ceil(self._promote * count - 1e-9)))

    def _promise(self, number: int, record: EvaluationRecord, records: Sequence[EvaluationRecord]) -> EvaluationRecord:
        """Return the record with the loss that it promises for a full evaluation; a failed one as it is."""
        assert self._goal is not None
        if record.score is None:
            return record
        excess = max(record.score - self._references[number], 0.0)
        ratio = self._ratio(number, records)
        self._excess[number][record.policy] = excess
        note = f"not promoted: a loss of {record.score:.4f} there predicts the score"
        score = self._goal.reference_score + ratio * excess
        return replace(record, score=score, accuracy=None, status=SCREENED, note=note)

    def _ratio(self, number: int, records: Sequence[EvaluationRecord]) -> float:
        """Return the median of full excess over that of a stage, of the policies that were promoted from it."""
        assert self._goal is not None
        known = self._excess[number]
        pairs = [(r.score - self._goal.reference_score, known[r.policy]) for r in records
                 if r.is_ok and r.score is not None and known.get(r.policy, 0.0) > SMALLEST]  # fmt: skip
        if len(pairs) < MIN_PAIRS:
            return 1.0
        return float(np.median([max(full, 0.0) / short for full, short in pairs]))

    def _rewards(self, promised: Sequence[EvaluationRecord], records: Sequence[EvaluationRecord]) -> np.ndarray:
        assert self._goal is not None
        goal, unit = self._goal, increase_unit(self._goal, records)
        increase = [math.inf if r.score is None else max(r.score - goal.reference_score, 0.0) / unit for r in promised]
        share = [self._space.cost_of(record.policy) / goal.reference_cost for record in promised]
        return np.where(np.isinf(increase), -np.inf, goal.reward(np.minimum(increase, 1e12), np.array(share)))


def relative_cost(evaluator: Evaluator, variant: Variant) -> float:
    """Return what a variant takes as a share of a full evaluation. Raises `ConfigError` where there are no variants."""
    variant_of(evaluator, variant)
    cost: float = evaluator.relative_cost(variant)  # type: ignore[attr-defined]
    return cost
