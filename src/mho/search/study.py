"""The records of one search: which policies were asked for, what was measured of them, and what that took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mho.errors import MhoError
from mho.quantization.policy import Policy
from mho.search.evaluation import EvaluationRecord, Evaluator, Variant, pool
from mho.search.goal import Goal, select_best
from mho.search.log import EvaluationLog
from mho.search.measuring import Measurer, Timed, make_record, variant_of
from mho.search.screening import Screening, Sieve
from mho.search.space import SearchSpace
from mho.search.spread import Noise, Spread


@dataclass(frozen=True)
class SearchProgress:
    """How far a search is.

    Attributes:
        done: distinct policies tried.
        budget: how many may be evaluated; spent: how many that was worth so far, see `mho.search.screening`.
        record: the latest one; best: the winner so far, or None.
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


class Study:
    """What a search has asked for, see the module.

    Args:
        method: who asks.
        space: tells costs.
        evaluator: tells fidelity and seeds.
        log: keeps measurements.
        budget: evaluations that the search may take.
        on_progress: told of every policy.
        measurer: measures.
        screening: shorter trainings that policies go through first; None: none.
        repeats: with how many other seeds a policy is measured before it may win.
    """

    def __init__(
        self,
        method: str,
        space: SearchSpace,
        evaluator: Evaluator,
        log: EvaluationLog,
        budget: int,
        on_progress: Callable[[SearchProgress], None] | None,
        measurer: Measurer,
        screening: Screening | None = None,
        repeats: int = 0,
    ) -> None:
        self.method, self.space, self.evaluator, self.log = method, space, evaluator, log
        self.budget, self.on_progress, self.measurer, self.repeats = budget, on_progress, measurer, repeats
        self.records: list[EvaluationRecord] = []
        self.given: list[EvaluationRecord] = []
        self.spent = 0.0
        self._by_policy: dict[Policy, EvaluationRecord] = {}
        self._measured: dict[Policy, list[EvaluationRecord]] = {}
        self._goal: Goal | None = None
        self._has_ended = False
        self._sieve = None if screening is None else Sieve(screening, evaluator, space, self.measure_as)

    @property
    def tried(self) -> int:
        """Distinct policies that were asked for."""
        return len(self.records) - len(self.given)

    def room(self, batch: int) -> int:
        """Return how many policies, up to a batch, the rest of the budget is enough for."""
        left = self.budget - self.spent + 1e-9
        return next((count for count in range(batch, 0, -1) if self._cost(count) <= left), 0)

    def start(self, goal: Goal, given: Sequence[EvaluationRecord]) -> None:
        """Take in records of earlier searches, and begin to report."""
        self._goal = goal
        if self._sieve is not None:
            self.spent += self._sieve.start(goal)
        for record in given:
            if self._by_policy.setdefault(record.policy, record) is record:
                self.given.append(record)
        self.records += self.given
        self._report(self.records[0])

    def best(self) -> EvaluationRecord | None:
        """Return the winner so far: one that was measured with as many seeds as by now, where there is one."""
        return self._contender(self._seeds)

    def measure_again(self, record: EvaluationRecord) -> EvaluationRecord:
        """Measure a policy with the next seed; return its record, now the mean of its seeds."""
        measured = self._measured.setdefault(record.policy, [record])
        measured += self.measure_as(Variant(repeat=len(measured)), [record.policy])
        self.spent += 1.0
        pooled = pool(measured)
        self.records[self.records.index(record)] = self._by_policy[record.policy] = pooled
        if self._goal is not None:
            self._report(pooled)
        return pooled

    def settle(self) -> Iterator[EvaluationRecord]:
        """Measure whoever would win again until one has stood as many seeds as by now; yield the records that change.

        After every measurement it is asked anew who would win: most that owe it to luck fall at the first.
        """
        while self.room(1) and (contender := self._contender(1)) is not None and contender.seeds < self._seeds:
            yield self.measure_again(contender)

    def end(self) -> Iterator[EvaluationRecord]:
        """Ask all seeds of a winner from now on, as the method proposes no more; yield the records that change."""
        self._has_ended = True
        yield from self.settle()

    @property
    def _seeds(self) -> int:
        """With how many seeds a winner must have been measured by now.

        All of them once half of the budget is spent, and fewer before: early winners are replaced soon.
        """
        share = 1.0 if self._has_ended else min(1.0, 2.0 * self.spent / self.budget)
        return 1 + int(share * self.repeats)

    def noise_of(self, best: EvaluationRecord, reference: EvaluationRecord) -> Noise | None:
        """Return the spread of winner and reference over seeds; None where none are repeated."""
        if self.repeats == 0:
            return None
        winners, references = (self._measured.get(record.policy, [record]) for record in (best, reference))
        return Noise(Spread.of(winners), Spread.of(references))

    def _contender(self, seeds: int) -> EvaluationRecord | None:
        """Return who would win, of those that were measured with so many seeds where there is one."""
        inside = [r for r in self.records if self.space.contains(r.policy)]
        return None if self._goal is None else select_best(self._goal, inside, seeds=seeds)

    def evaluate(self, policies: Sequence[Policy]) -> Iterator[EvaluationRecord]:
        """Yield the record of each policy, in order. What is measured is logged as it comes, in any order."""
        new = [policy for policy in dict.fromkeys(policies) if policy not in self._by_policy]
        screened: dict[Policy, EvaluationRecord] = {}
        if self._sieve is not None and self._goal is not None:
            new, screened, spent = self._sieve.sift(new, self.records)
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
        return float(count) if self._sieve is None else self._sieve.cost(count)

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
        seconds = sum(r.seconds for r in own) / self.spent * (self.budget - self.spent)
        records, best = tuple(self.records), self.best()
        self.on_progress(SearchProgress(len(own), self.budget, self.spent, record, best, seconds, self._goal, records))
