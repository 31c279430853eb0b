"""What is left of a search that ended with an error: what its log holds, so that the run can go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.policy import UNIFORM_REFERENCE, Policy
from mho.workflow.policy_stages import FAILED, exact_accuracy
from mho.workflow.run_directory import StageResult
from mho.workflow.search_stage import Search
from mho.workflow.stage import Figures, Report

if TYPE_CHECKING:
    from mho.bit_search.evaluation import EvaluationRecord
    from mho.bit_search.log import EvaluationLog
    from mho.bit_search.qat_evaluator import QatEvaluator
    from mho.bit_search.runner import SearchResult
    from mho.bit_search.space import SearchSpace


@dataclass(frozen=True)
class FailedSearch:
    """Take the evaluations that a failed search left, and the nearest policy to its goal: uniform 8/8 at worst.

    Attributes:
        search: that failed.
        reference: uniform 8/8 as it was made in full, for where the search did not measure it.
        reason: why it failed.
    """

    search: Search
    reference: StageResult
    reason: str
    name: str = "search"
    title: str = "Take what the failed search evaluated"

    def ingredients(self) -> Mapping[str, Any]:
        """What the search comes from, and why it failed."""
        return {**self.search.ingredients(), "reference": self.reference.digest, FAILED: self.reason}

    def make(self, folder: Path, report: Report) -> Figures:
        """Write every record."""
        space = self.search.space()
        evaluator, log, notes = self.search.open()
        report(0.5, "")
        result = self._read(log, space, evaluator)
        figures = self.search.finish(result, space, evaluator.fidelity, notes, folder)
        return figures | {FAILED: self.reason}

    def _read(self, log: EvaluationLog, space: SearchSpace, evaluator: QatEvaluator) -> SearchResult:
        from mho.bit_search.goal import front_of, select_best
        from mho.bit_search.runner import SearchResult, make_goal

        limits, fidelity = self.search.limits, evaluator.fidelity
        reference = log.find(space.reference_policy, fidelity)
        if reference is None or not reference.is_ok:
            reference = self._stand_in(fidelity)
        reference = _count(reference, space)
        others = (one for one in log.records if one.fidelity == fidelity and one.policy != reference.policy)
        records = (reference, *(_count(one, space) for one in others if space.contains(one.policy)))
        budget = None if limits.cost_budget is None else limits.cost_budget.of(space.reference_cost)
        goal = make_goal(self._full_figures(reference, log, evaluator), limits, space, budget)
        best = select_best(goal, records)
        return SearchResult(str(self.search.settings.method), goal, reference, best, records, front_of(records), FAILED)

    def _full_figures(
        self, reference: EvaluationRecord, log: EvaluationLog, evaluator: QatEvaluator
    ) -> tuple[float, float]:
        """Return accuracy and loss that drops count from, as a search does (`mho.bit_search.runner`)."""
        from mho.bit_search.evaluation import Variant
        from mho.bit_search.runner import choose_full_figures

        exact = log.find(reference.policy, evaluator.at(Variant(is_exact=True)).fidelity)
        full = exact if evaluator.is_on_chips and exact is not None and exact.is_ok else reference
        accuracy = exact_accuracy(self.reference.figures) if evaluator.is_on_chips else reference.accuracy
        assert accuracy is not None, "it was measured"
        return choose_full_figures(reference, full, accuracy, self.search.limits)

    def _stand_in(self, fidelity: str) -> EvaluationRecord:
        """Return a record of uniform 8/8 as it was made in full."""
        from mho.bit_search.evaluation import OK, EvaluationRecord

        figures = self.reference.figures
        policy = Policy.uniform(figures["policy"]["layers"], UNIFORM_REFERENCE)
        found = figures["validation"]
        return EvaluationRecord(
            policy, found["loss"], found["accuracy"], 1, self.search.seed, 0.0, "reference", 0, fidelity, OK,
            "as made in full: the search failed before it measured it",
        )  # fmt: skip

    def note(self, figures: Mapping[str, Any]) -> str:
        """What it has."""
        return f"the search failed: {figures['description']} among {figures['tried']} policies evaluated before"


def _count(record: EvaluationRecord, space: SearchSpace) -> EvaluationRecord:
    """Return a record with its cost in a space: a log is that of all objectives."""
    return replace(record, cost=space.cost_of(record.policy), objective=space.objective)
