"""The stage that chooses how much error mappings may cause: the fastest that loses no more than is allowed on chips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mho.errors import ConfigError
from mho.hardware.mapping_rules import ErrorBound
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.policy import UNIFORM_REFERENCE, Policy
from mho.task.metrics import Metric
from mho.workflow.config import EvaluationSettings
from mho.workflow.material import Material
from mho.workflow.network_stages import FLOAT_FILE
from mho.workflow.prepared import Prepared
from mho.workflow.search_settings import EXECUTION, SearchSettings
from mho.workflow.stage import Figures, Report

if TYPE_CHECKING:
    from pathlib import Path

    from mho.bit_search.objective import Objective
    from mho.network.graph import Network

BOUNDS: tuple[ErrorBound, ...] = (
    "none",
    *(Decimal(one) for one in ("1", "0.5", "0.3", "0.2", "0.1", "0.05", "0.02")),
    "least",
)
"""Values of `mapping.max_error` that are tried, the fastest mappings first."""

SAMPLED = 200
"""Validation samples on which every bound is evaluated, at most, where that is on sampled chips."""


def is_bound_open(material: Material, evaluation: EvaluationSettings) -> bool:
    """Tell whether a run chooses the bound: it is left to it, and accuracies of chips count."""
    return (
        material.accelerator.mapping.max_error == "auto"
        and material.mapping is MappingModel.BEST
        and material.chips is not None
        and evaluation.accuracy_of != "exact"
    )


@dataclass(frozen=True)
class ChooseMapping:
    """Choose `mapping.max_error` at uniform 8/8: the cheapest mapping within the allowed drop, else the most accurate.

    Bounds under which every policy costs more than the search's budget are passed over.

    Attributes:
        layer_names: of the network.
        search: its objective, what accuracy on chips may lose against exact integers, what policies may cost.
    """

    prepared: Prepared
    layer_names: tuple[str, ...]
    evaluation: EvaluationSettings
    search: SearchSettings
    seed: int
    name: str = "mapping"
    title: str = "Choose the mapping"

    def ingredients(self) -> Mapping[str, Any]:
        """Network, data, hardware, chips, what is allowed."""
        from mho.workflow.policy_stages import evaluator_ingredients

        material = self.prepared.material
        return {
            **self.prepared.digests,
            "accelerator": material.accelerator.to_json(),
            "bounds": [str(bound) for bound in BOUNDS],
            "objective": str(self.objective),
            "allowed_drop": self.search.allowed_drop,
            **self._budget_ingredients,
            "evaluation": self.evaluation.model_dump(mode="json"),
            **evaluator_ingredients(self.prepared.evaluators(self.evaluation, self.seed).candidates),
        }

    @property
    def _metric(self) -> Metric:
        return self.prepared.material.dataset.task.metric

    def make(self, folder: Path, report: Report) -> Figures:  # noqa: ARG002 - it makes no files
        """Measure uniform 8/8 under the mappings of every bound."""
        from mho.cost_model.latency import cost_network
        from mho.evaluation.networks import evaluate_network

        module, validation = self.prepared.trainable(), self.prepared.material.dataset.validation
        if not self.prepared.evaluators(self.evaluation, self.seed).has_model:  # sampled chips take long
            validation = validation.spread(min(SAMPLED, len(validation)))
        policy = Policy.uniform(self.layer_names, UNIFORM_REFERENCE)
        module.set_policy(policy)
        exact = evaluate_network(module, validation)["accuracy"]
        tried: list[dict[str, Any]] = []
        seen: list[Any] = []
        costly: list[str] = []
        for number, bound in enumerate(BOUNDS):
            report(number / len(BOUNDS), f"error of at most {bound}")
            prepared = self._bounded(bound)
            hardware = prepared.material.accelerator
            mapped = cost_network(module.network, policy, hardware, model=MappingModel.BEST)
            cost = self._cost(module.network, policy, hardware, mapped.latency_ps)
            if (mapped.mapping.layers, cost) in seen:
                continue
            seen.append((mapped.mapping.layers, cost))
            if not self._affords(prepared.material):
                costly.append(str(bound))
                continue
            evaluator = prepared.evaluators(self.evaluation, self.seed).candidates
            found = evaluate_network(module, validation, evaluator)
            tried.append({"max_error": str(bound), "cost": cost, "accuracy": found["accuracy"]})
        target = exact - self._metric.allowed(self.search.allowed_drop)
        return {
            "exact_accuracy": exact,
            "target_accuracy": target,
            "tried": tried,
            "beyond_budget": costly,
            "chosen": _choose(tried, target),
            "unit": self.objective.unit,
        }

    @property
    def _budget_ingredients(self) -> dict[str, Any]:
        """What it depends on through a cost budget: whatever limits policies."""
        if self.search.cost_budget is None:
            return {}
        unused = {"finalists", "last_budget", "start", *EXECUTION}
        return {"search": self.search.model_dump(mode="json", exclude=unused)}

    @property
    def objective(self) -> Objective:
        """What is cheap."""
        from mho.bit_search.objective import Objective

        return Objective(self.search.objective)

    def _affords(self, material: Material) -> bool:
        """Return whether some policy costs no more than the budget on hardware with a bound."""
        from mho.workflow.search_stage import make_space

        if self.search.cost_budget is None:
            return True
        try:
            make_space(self.prepared.float_network.folder / FLOAT_FILE, self.search, material, self.evaluation)
        except ConfigError:  # all else that may be wrong was refused before the run began
            return False
        return True

    def _cost(self, network: Network, policy: Policy, hardware: Accelerator, crossbar_ps: int) -> int:
        """Return what the objective is on the whole accelerator, as the search counts it; `crossbar_ps`: on one."""
        from mho.bit_search.objective import Objective
        from mho.bit_search.policy_costs import make_costs

        if self.objective is Objective.LATENCY and hardware.chip.crossbars == 1:
            return crossbar_ps
        return make_costs(network, hardware, self.objective, MappingModel.BEST).cost_of(policy)

    def note(self, figures: Mapping[str, Any]) -> str:
        """Bound, accuracy, and what it costs."""
        chosen, cheapest = figures["tried"][figures["chosen"]], min(one["cost"] for one in figures["tried"])
        bound = chosen["max_error"]
        words = {"none": "any error", "least": "about the least error"}
        rule = words.get(bound, f"errors of at most {bound} of a layer's output")
        return (
            f"{rule}: {self._metric.format(chosen['accuracy'])} on chips at 8/8, "
            f"{chosen['cost'] / cheapest:.2f}x the cost of the cheapest{self._tell_costly(figures)}"
        )

    def _tell_costly(self, figures: Mapping[str, Any]) -> str:
        costly = figures["beyond_budget"]
        return f"; beyond the cost budget whatever the policy: {', '.join(costly)}" if costly else ""

    def apply(self, figures: Mapping[str, Any]) -> Prepared:
        """Return what a run goes on with: its accelerator has the bound that was chosen."""
        bound = figures["tried"][figures["chosen"]]["max_error"]
        return self._bounded(_read_bound(bound))

    def _bounded(self, bound: ErrorBound) -> Prepared:
        """Return the same on hardware whose mappings cause no more error than `bound`, at the age of the chips."""
        accelerator, chips = self.prepared.material.accelerator, self.prepared.material.chips
        assert chips is not None, "accuracies are those of chips"
        elapsed_s = chips.conditions.effective_on(chips.hardware.array).elapsed_s
        if elapsed_s is not None and accelerator.mapping.elapsed_s is None:
            rules = accelerator.mapping.model_copy(update={"elapsed_s": Decimal(str(elapsed_s))})
            accelerator = accelerator.model_copy(update={"mapping": rules})
        return self.prepared.on(accelerator.with_max_error(bound))


def _read_bound(text: str) -> ErrorBound:
    return "none" if text == "none" else "least" if text == "least" else Decimal(text)


def _choose(tried: list[dict[str, Any]], target: float) -> int:
    """Return the place of the cheapest mapping that reaches the target, else of the most accurate."""
    places = range(len(tried))
    within = [place for place in places if tried[place]["accuracy"] >= target - 1e-12]
    if within:
        return min(within, key=lambda place: tried[place]["cost"])
    return max(places, key=lambda place: (tried[place]["accuracy"], -tried[place]["cost"]))
