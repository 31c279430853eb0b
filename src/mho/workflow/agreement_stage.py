"""The stage that tells how well the model that evaluated candidates orders policies as sampled chips do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mho.input_files import read_json
from mho.policy import Policy
from mho.workflow.config import EvaluationSettings
from mho.workflow.policy_stages import SEARCH_FILE, evaluator_ingredients
from mho.workflow.prepared import Prepared
from mho.workflow.run_directory import StageResult
from mho.workflow.stage import Figures, Report

POLICIES = 8
"""Policies that both evaluate: uniform 8/8, the finalists, and others of the search from the best to the worst."""
SAMPLES = 200
"""Validation samples on which both evaluate them, at most."""


@dataclass(frozen=True)
class CompareEvaluators:
    """Evaluate some policies of the search by the statistical model and on sampled chips, calibrated, not trained."""

    prepared: Prepared
    search: StageResult
    found: StageResult
    evaluation: EvaluationSettings
    seed: int
    name: str = "agreement"
    title: str = "Compare the statistical model with sampled chips"

    def ingredients(self) -> Mapping[str, Any]:
        """Network, data, policies, both evaluators."""
        evaluators = self.prepared.evaluators(self.evaluation, self.seed)
        return {
            **self.prepared.digests,
            "policies": [policy.to_json() for _, policy in self._list_policies()],
            "candidates": evaluator_ingredients(evaluators.candidates),
            "finalists": evaluator_ingredients(evaluators.finalists),
            "samples": SAMPLES,
        }

    def make(self, folder: Path, report: Report) -> Figures:  # noqa: ARG002 - it makes no files
        """Evaluate them."""
        from mho.evaluation.networks import evaluate_network
        from mho.evaluation.significance import rank_correlation

        evaluators = self.prepared.evaluators(self.evaluation, self.seed)
        validation = self.prepared.material.dataset.validation
        samples = validation.spread(min(SAMPLES, len(validation)))
        compared, policies = [], self._list_policies()
        for number, (index, policy) in enumerate(policies):
            report(number / len(policies), f"policy {number + 1} of {len(policies)}")
            module = self.prepared.trainable()
            module.set_policy(policy)
            model, chips = (
                evaluate_network(module, samples, one) for one in (evaluators.candidates, evaluators.finalists)
            )
            compared.append({"index": index, "model": model["accuracy"], "chips": chips["accuracy"]})
        pairs = [[one[kind] for one in compared] for kind in ("model", "chips")]
        differences = [abs(one - other) for one, other in zip(*pairs, strict=True)]
        return {
            "policies": compared,
            "samples": len(samples),
            "rank_correlation": rank_correlation(*pairs),
            "mean_difference": sum(differences) / len(differences),
        }

    def _list_policies(self) -> list[tuple[int, Policy]]:
        """Return policies with their places in the search: those of interest, and others spread over accuracies."""
        source = self.search.folder / SEARCH_FILE
        records = read_json(source, expected="a search")["records"]
        first = list(dict.fromkeys([0, *self.found.figures["finalists"]]))
        known = [place for place, record in enumerate(records) if record["accuracy"] is not None and place not in first]
        known.sort(key=lambda place: (-records[place]["accuracy"], place))
        wanted = min(len(known), max(0, POLICIES - len(first)))
        spread = [known[number * (len(known) - 1) // max(1, wanted - 1)] for number in range(wanted)]
        return [
            (place, Policy.from_json(records[place]["policy"], where=str(source)))
            for place in dict.fromkeys([*first, *spread])
        ]

    def note(self, figures: Mapping[str, Any]) -> str:
        """Rank correlation and difference."""
        metric, correlation = self.prepared.material.dataset.task.metric, figures["rank_correlation"]
        text = (
            "no rank correlation: accuracies are all alike"
            if correlation is None
            else f"rank correlation {correlation:.2f}"
        )
        return (
            f"{text} over {len(figures['policies'])} policies, accuracies differ by "
            f"{metric.format_drop(metric.scale * figures['mean_difference'])} on average"
        )
