"""The records of one search: which policies were proposed, what was measured of them, what that took, and how far
measurements can be trusted."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mho.bit_search.budget import CostBudget
from mho.bit_search.evaluation import EvaluationRecord, Evaluator, Variant, pool
from mho.bit_search.goal import Goal, rank_fit, select_best
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import Measurer, Timed, make_record, variant_of
from mho.bit_search.screening import Promoter, Screening
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError, MhoError
from mho.policy import Policy
from mho.task.task import CLASSIFICATION, Task


@dataclass(frozen=True)
class SearchLimits:
    """How long a search lasts and what it may lose.

    Attributes:
        budget: evaluations, those of the reference and repeated ones counted in; the same count for every method,
            whether an evaluation was made now or comes from the log.
        allowed_drop: how much the best policy may lose against the reference, >= 0, in the unit of the task's metric,
            such as points (percent) of accuracy.
        reference_accuracy: accuracy that drops count from, 0..1; None: that of uniform 8/8, evaluated first: by exact
            integers, where policies are evaluated on chips too.
        cost_budget: what the best policy may cost; with it the most accurate policy within it is searched, and
            `allowed_drop` is unused. None: the cheapest policy within the allowed loss.
        batch: how many policies the method proposes before any of them is evaluated. It is part of what the search
            is: other batches lead to other proposals; by how many processes they are evaluated changes nothing. As
            many are measured again at a time.
        screening: shorter trainings that policies of a batch go through first; None: all are evaluated in full.
        repeats: with how many other seeds a policy is measured before it may win, and the reference before anything
            is compared with it; with fewer while less than half of the budget is spent. What counts is the mean over
            seeds, so that the best policy is not just the luckiest of many.
        whole_front: search policies of all costs, not only near the incumbent
            (`mho.bit_search.methods.SUPPORTS_FRONT`).
        task: what networks are judged by.
    """

    budget: int
    allowed_drop: float = 1.0
    reference_accuracy: float | None = None
    cost_budget: CostBudget | None = None
    whole_front: bool = False
    batch: int = 1
    screening: Screening | None = None
    repeats: int = 0
    task: Task = CLASSIFICATION

    def __post_init__(self) -> None:
        if self.budget < 2:
            raise ConfigError(f"budget is {self.budget}", where="search: budget", expected="2 or more: one is for 8/8")
        if self.batch < 1:
            raise ConfigError(f"batch is {self.batch}", where="search: batch", expected="1 or more")
        if self.screening is not None and (self.batch < 2 or self.whole_front):
            raise ConfigError(
                "stages, and " + ("a batch of one" if self.batch < 2 else "the whole front"),
                where="search: screening",
                expected="a batch of 2 policies or more, of which some are promoted, and a goal that tells which",
            )
        if self.repeats < 0:
            raise ConfigError(f"repeats is {self.repeats}", where="search: repeats", expected="0 or more")
        if self.repeats > self.budget - 2:
            raise ConfigError(
                f"{self.repeats} repeats within a budget of {self.budget}",
                where="search: repeats",
                expected="a budget of 2 more, or larger: 8/8 is measured with every seed, and something else once",
            )
        self.task.metric.check_drop(self.allowed_drop, where="search: allowed_drop")


@dataclass(frozen=True)
class SearchProgress:
    """How far a search is.

    Attributes:
        done: distinct policies tried.
        budget: how many may be evaluated.
        spent: how many full evaluations that was worth so far, see `mho.bit_search.screening`.
        record: the latest one.
        best: the incumbent; None where no policy reaches the target yet.
        seconds_left: estimate from the mean time of evaluations; None before there is one.
        goal: what is searched.
        records: all so far.
    """

    done: int
    budget: int
    spent: float
    record: EvaluationRecord
    best: EvaluationRecord | None
    seconds_left: float | None
    goal: Goal
    records: Sequence[EvaluationRecord]

    @property
    def fraction(self) -> float:
        """How much of the budget is spent, 0..1."""
        return min(1.0, self.spent / self.budget)


OnPolicy = Callable[[SearchProgress], bool | None]
"""Called after every policy, in the thread of the search; True ends the search with what it has found."""


@dataclass(frozen=True)
class Spread:
    """What several seeds make of one policy.

    Attributes:
        scores, accuracies: of the seeds, the search's own first; of those that did not fail.
        failed: how many seeds failed.
    """

    scores: tuple[float, ...]
    accuracies: tuple[float, ...]
    failed: int = 0

    @classmethod
    def of(cls, records: Sequence[EvaluationRecord]) -> Spread:
        """Take records of one policy, the search's own first."""
        known = [(r.score, r.accuracy) for r in records if r.score is not None and r.accuracy is not None]
        return cls(tuple(score for score, _ in known), tuple(a for _, a in known), len(records) - len(known))

    @property
    def score_deviation(self) -> float | None:
        """Standard deviation of the scores; None below two."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def accuracy_deviation(self) -> float | None:
        """Standard deviation of the accuracies, 0..1; None below two."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "scores": list(self.scores),
            "accuracies": list(self.accuracies),
            "score_deviation": self.score_deviation,
            "accuracy_deviation": self.accuracy_deviation,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class Noise:
    """The spread of the best policy and the reference over seeds."""

    best: Spread
    reference: Spread
    task: Task = CLASSIFICATION

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"best": self.best.to_json(), "reference": self.reference.to_json()}

    def __str__(self) -> str:
        """Describe it in a sentence."""
        seeds = len(self.best.scores) + self.best.failed
        metric = self.task.metric
        best, reference = (
            "an unknown number of" if one is None else metric.format_number(metric.scale * one)
            for one in (self.best.accuracy_deviation, self.reference.accuracy_deviation)
        )
        unit = f" {metric.drop_unit}" if metric.drop_unit else ""
        what = "accuracies" if self.task.is_classification else f"values of {metric.words}"
        return (
            f"Over {seeds} seeds, {what} on validation data vary by {best}{unit} for the best policy"
            f" and by {reference} for uniform 8/8 (standard deviation)."
        )


class SearchState:
    """What a search has proposed and measured, see the module.

    Args:
        method: who asks.
        space: tells costs.
        evaluator: tells fidelity and seeds.
        log: keeps measurements.
        limits: how long it lasts, and how policies are measured.
        on_progress: called after every policy; True stops.
        measurer: measures.
    """

    def __init__(
        self,
        method: str,
        space: SearchSpace,
        evaluator: Evaluator,
        log: EvaluationLog,
        limits: SearchLimits,
        on_progress: OnPolicy | None,
        measurer: Measurer,
    ) -> None:
        self.method, self.space, self.evaluator, self.log = method, space, evaluator, log
        self.limits, self.on_progress, self.measurer = limits, on_progress, measurer
        self.records: list[EvaluationRecord] = []
        self.given: list[EvaluationRecord] = []
        self.spent = 0.0
        self.is_stopped = False
        self._by_policy: dict[Policy, EvaluationRecord] = {}
        self._measured: dict[Policy, list[EvaluationRecord]] = {}
        self._goal: Goal | None = None
        self._has_ended = False
        screening = limits.screening
        self._promoter = None if screening is None else Promoter(screening, evaluator, space, self.measure_as)

    @property
    def tried(self) -> int:
        """Distinct policies that were proposed."""
        return len(self.records) - len(self.given)

    def room(self, batch: int) -> int:
        """Return how many policies, up to a batch, the rest of the budget is enough for."""
        left = self.limits.budget - self.spent + 1e-9
        return next((count for count in range(batch, 0, -1) if self._cost(count) <= left), 0)

    def start(self, goal: Goal, given: Sequence[EvaluationRecord]) -> None:
        """Take in records of earlier searches, and begin to report."""
        self._goal = goal
        if self._promoter is not None:
            self.spent += self._promoter.start(goal)
        for record in given:
            if self._by_policy.setdefault(record.policy, record) is record:
                self.given.append(record)
        self.records += self.given
        self._report(self.records[0])

    def best(self) -> EvaluationRecord | None:
        """Return the incumbent: one that was measured with as many seeds as by now, where there is one."""
        return None if self._goal is None else select_best(self._goal, self._inside(), seeds=self._seeds)

    def measure_again(self, records: Sequence[EvaluationRecord]) -> Iterator[EvaluationRecord]:
        """Measure policies with the next seed, which is the same for all; yield the means of their seeds."""
        policies = [record.policy for record in records]
        repeat = len(self._measured.setdefault(policies[0], [records[0]]))
        again = self.measure_as(Variant(repeat=repeat), policies)
        for record, measurement in zip(records, again, strict=True):
            measured = self._measured.setdefault(record.policy, [record])
            measured.append(measurement)
            self.spent += 1.0
            pooled = pool(measured)
            self.records[self.records.index(record)] = self._by_policy[record.policy] = pooled
            if self._goal is not None:
                self._report(pooled)
            yield pooled

    def settle(self) -> Iterator[EvaluationRecord]:
        """Measure whoever would win again until one has stood as many seeds as by now; yield the records that change.

        After every batch of measurements the incumbent is determined anew: most that owe it to luck fall at the
        first.
        """
        while candidates := self._list_candidates():
            yield from self.measure_again(candidates)

    def _list_candidates(self) -> list[EvaluationRecord]:
        """Return who is measured again next: who would win, and in a batch those who would if the ones before fell.

        All of them stood as many seeds. Empty where who would win has stood enough of them, or the budget is spent.
        """
        if self._goal is None or not (room := min(self.limits.batch, int(self.limits.budget - self.spent + 1e-9))):
            return []
        ranked = rank_fit(self._goal, self._inside())[:room]
        seeds = ranked[0].seeds if ranked else 1
        alike = itertools.takewhile(lambda record: record.seeds == seeds, ranked)
        return list(alike) if seeds < self._seeds else []

    def end(self) -> Iterator[EvaluationRecord]:
        """Measure incumbents with all seeds, as the method proposes no more; yield the records that change."""
        self._has_ended = True
        yield from self.settle()

    @property
    def _seeds(self) -> int:
        """With how many seeds an incumbent must have been measured by now.

        All of them once half of the budget is spent, and fewer before: early ones are replaced soon.
        """
        share = 1.0 if self._has_ended else min(1.0, 2.0 * self.spent / self.limits.budget)
        return 1 + int(share * self.limits.repeats)

    def noise_of(self, best: EvaluationRecord, reference: EvaluationRecord) -> Noise | None:
        """Return the spread of the best policy and the reference over seeds; None where none are repeated."""
        if self.limits.repeats == 0:
            return None
        measured, references = (self._measured.get(record.policy, [record]) for record in (best, reference))
        return Noise(Spread.of(measured), Spread.of(references), self.limits.task)

    def _inside(self) -> list[EvaluationRecord]:
        """Return the records of policies of the space: those that may win."""
        return [record for record in self.records if self.space.contains(record.policy)]

    def evaluate(self, policies: Sequence[Policy]) -> Iterator[EvaluationRecord]:
        """Yield the record of each policy, in order. What is measured is logged as it comes, in any order."""
        new = [policy for policy in dict.fromkeys(policies) if policy not in self._by_policy]
        screened: dict[Policy, EvaluationRecord] = {}
        if self._promoter is not None and self._goal is not None:
            new, screened, spent = self._promoter.promote(new, self.records)
            self.spent += spent
        unknown = [policy for policy in new if self.log.find(policy, self.evaluator.fidelity) is None]
        coming = self.measurer.measure(unknown)
        for policy in policies:
            while (found := self._find(policy, screened)) is None:
                number, timed = next(coming)
                self.measurer.keep(self.log.append(self._record(unknown[number], timed, self.evaluator)))
            yield self._take(policy, found)

    def measure_as(self, variant: Variant, policies: Sequence[Policy]) -> list[EvaluationRecord]:
        """Return what a variant of the evaluation makes of policies: records of the log, which belong to no budget."""
        evaluator = variant_of(self.evaluator, variant)
        unknown = [policy for policy in policies if self.log.find(policy, evaluator.fidelity) is None]
        for number, timed in self.measurer.measure(unknown, variant):
            self.log.append(self._record(unknown[number], timed, evaluator))
        found = (self.log.find(policy, evaluator.fidelity) for policy in policies)
        return [record for record in found if record is not None]

    def _cost(self, count: int) -> float:
        return float(count) if self._promoter is None else self._promoter.cost(count)

    def _find(self, policy: Policy, screened: dict[Policy, EvaluationRecord]) -> EvaluationRecord | None:
        known = self._by_policy.get(policy) or screened.get(policy)
        return known or self.log.find(policy, self.evaluator.fidelity)

    def _take(self, policy: Policy, found: EvaluationRecord) -> EvaluationRecord:
        if policy in self._by_policy:
            return self._by_policy[policy]
        # Evaluations do not depend on the objective, costs do.
        record = replace(found, cost=self.space.cost_of(policy), objective=self.space.objective)
        self.records.append(record)
        self._by_policy[policy] = record
        self.spent += float(record.fidelity == self.evaluator.fidelity)
        if self._goal is not None:
            self._report(record)
        return record

    def _record(self, policy: Policy, timed: Timed, evaluator: Evaluator) -> EvaluationRecord:
        if timed.is_lost and self._goal is None:  # no policy can be evaluated: nothing is known of this one
            raise MhoError(
                f"{timed.measurement.note}: the reference policy could not be evaluated",
                where=f"search by {self.method}",
                hint="is there enough memory for so many processes?",
            )
        return make_record(policy, timed, evaluator, self.space, self.method)

    def _report(self, record: EvaluationRecord) -> None:
        if self.on_progress is None or self._goal is None:
            return
        own = self.records[:1] + self.records[1 + len(self.given) :]
        budget, records, best = self.limits.budget, tuple(self.records), self.best()
        seconds = sum(r.seconds for r in own) / self.spent * (budget - self.spent)
        now = SearchProgress(len(own), budget, self.spent, record, best, seconds, self._goal, records)
        self.is_stopped |= self.on_progress(now) is True
