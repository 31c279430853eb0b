"""The stage that searches bit widths, its space, and which policies are worth training in full."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mho.bit_search.goal import select_nearest
from mho.bit_search.methods import GIVEN
from mho.bit_search.objective import Objective
from mho.cache_folder import write_atomically
from mho.formats import NO_WRITES, format_cost
from mho.policy import BitWidths, Policy
from mho.seeds import derive_seed
from mho.task.task import Task
from mho.workflow.config import EvaluationSettings
from mho.workflow.material import Material
from mho.workflow.network_stages import FLOAT_FILE
from mho.workflow.policy_stages import SEARCH_FILE, evaluator_ingredients
from mho.workflow.prepared import Prepared
from mho.workflow.search_execution import SearchExecution
from mho.workflow.search_settings import EXECUTION, SearchSettings, StartSettings
from mho.workflow.search_start import AGENT_FILE, read_given, read_options
from mho.workflow.stage import Figures, Report

if TYPE_CHECKING:
    from mho.bit_search.budget import CostBudget
    from mho.bit_search.evaluation import EvaluationRecord
    from mho.bit_search.log import EvaluationLog
    from mho.bit_search.own_method import OwnMethod
    from mho.bit_search.qat_evaluator import QatEvaluator
    from mho.bit_search.runner import SearchLimits, SearchResult
    from mho.bit_search.screening import Screening
    from mho.bit_search.space import SearchSpace

TRACKING = "tracking"
"""Folder of what shows searches while they run."""

ROUGH = (
    "rough: the interconnect would be near saturation, even on the fewest crossbars; mho schedule simulates the policy."
)


@dataclass(frozen=True)
class Search:
    """Search for the policy that the settings describe.

    Attributes:
        execution: who evaluates.
    """

    prepared: Prepared
    settings: SearchSettings
    evaluation: EvaluationSettings
    seed: int
    log_folder: Path
    execution: SearchExecution = field(default_factory=SearchExecution)
    name: str = "search"
    title: str = "Search bit widths"

    def ingredients(self) -> Mapping[str, Any]:
        """Network, data, hardware, settings, seed."""
        return {
            **self.prepared.digests,
            "accelerator": self.prepared.material.accelerator.to_json(),
            "mapping": str(self.prepared.material.mapping),
            "augmentation": self.prepared.material.augmentation,
            "compile": self.prepared.material.compile,
            "search": self.settings.model_dump(mode="json", exclude={"finalists", "last_budget", "start", *EXECUTION}),
            **({} if self.settings.start == StartSettings() else {"start": self.settings.start.ingredients()}),
            "evaluation": self.evaluation.model_dump(mode="json"),
            "seed": self.seed,
            **evaluator_ingredients(self.prepared.evaluators(self.evaluation, self.seed).candidates),
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Search, and write every record."""
        import numpy as np

        from mho.bit_search.search_state import SearchProgress
        from mho.bit_search.tracking import tracked

        space = self.space()
        evaluator, log, notes = self.open()

        def show(progress: SearchProgress) -> None:
            best = "" if progress.best is None else f", {self._tell(progress.best, space)} so far"
            effort = "" if progress.spent == progress.done else f", worth {progress.spent:.1f}"
            done = f"policy {progress.done}{effort} of {progress.budget}"
            report(min(progress.spent / progress.budget, 1.0), f"{done}{best}")

        report(0.0, "policy 1")
        with tracked(self.settings.trackers, self.log_folder.parent / TRACKING, self.name, show) as tell:
            result = self.execution.carry_out(
                self._method(),
                space,
                evaluator,
                log,
                self.limits,
                np.random.default_rng(derive_seed(self.seed, "search")),
                tell,
                storage=self.settings.storage,
                method_options=read_options(self.settings.start, self.prepared, folder, report),
                given=read_given(self.settings.start, log, evaluator, space, folder),
            )
        if result.agent is not None:
            result.agent.save(folder / AGENT_FILE)
        return self.finish(result, space, evaluator.fidelity, notes, folder)

    @property
    def limits(self) -> SearchLimits:
        """How long it lasts and what it looks for."""
        repeats = self.evaluation.repeats_within(self.settings.budget)
        return make_options(
            self.settings, repeats, self.prepared.material.dataset.task, read_screening(self.evaluation)
        )

    def _method(self) -> str | OwnMethod:
        from mho.bit_search.baselines import UniformSearch
        from mho.bit_search.own_method import OwnMethod

        return OwnMethod(GIVEN, UniformSearch) if self.settings.policy else self.settings.method

    def open(self) -> tuple[QatEvaluator, EvaluationLog, list[str]]:
        """Return what measures policies, the log of what it measured, and notes.

        The log outlives the stage: another method or budget goes on from the same evaluations.
        """
        from mho.bit_search.evaluation import problem_hash
        from mho.bit_search.log import EvaluationLog

        evaluator, notes = self.prepared.make_evaluator(self.evaluation, self.settings.budget, self.seed)
        file = self.log_folder / f"{problem_hash(evaluator.problem)[:16]}.jsonl"
        return evaluator, EvaluationLog(file, evaluator.problem), notes

    def finish(
        self, result: SearchResult, space: SearchSpace, fidelity: str, notes: Sequence[str], folder: Path
    ) -> Figures:
        """Write every record, and return the figures."""
        write_atomically(folder / SEARCH_FILE, (json.dumps(result.to_json(), indent=1) + "\n").encode())
        rough = [name for name, one in (("found policy", result.best), ("uniform 8/8", result.reference))
                 if one is not None and space.is_rough(one.policy)]  # fmt: skip
        notes = [*notes, *(f"The cost of {name} that the search saw is {ROUGH}" for name in rough)]
        notes += [str(why) for why in (result.choice, result.noise) if why is not None]
        return self._figures(result, space, fidelity) | {"notes": notes}

    def space(self) -> SearchSpace:
        """Return what the search may propose."""
        network_file = self.prepared.float_network.folder / FLOAT_FILE
        return make_space(network_file, self.settings, self.prepared.material, self.evaluation)

    def _figures(self, result: SearchResult, space: SearchSpace, fidelity: str) -> Figures:
        return {
            "fidelity": fidelity,
            "space": str(space.size),
            "target_accuracy": None if result.goal.cost_budget is not None else result.goal.target_accuracy,
            "cost_budget": result.goal.cost_budget,
            "objective": str(space.objective),
            "reference_cost": space.reference_cost,
            "order": order_finalists(result, space),
            "description": self._describe(result, space),
            "missed": "" if self.settings.policy else result.missed,
            "tried": result.tried,
        }

    def _describe(self, result: SearchResult, space: SearchSpace) -> str:
        if self.settings.policy:
            return self._tell(result.records[-1], space)
        return "no policy that keeps the goal" if result.best is None else self._tell(result.best, space)

    def _tell(self, best: EvaluationRecord, space: SearchSpace) -> str:
        """Tell what a policy gains: less of the objective, or accuracy where its cost is limited."""
        if self.settings.cost_budget is not None:
            metric = self.prepared.material.dataset.task.metric
            return f"{metric.format(best.accuracy)} within {self.settings.cost_budget}"
        if format_cost(best.cost, space.objective.unit) == NO_WRITES:
            return f"no {space.objective.words}"
        return f"{space.reference_cost / best.cost:.2f}x less {space.objective.words}"

    def note(self, figures: Mapping[str, Any]) -> str:
        """Gain and effort."""
        if self.settings.policy:
            return f"none: the given policy has {figures['description']}"
        return f"{figures['description']} after {figures['tried']} policies"


def read_screening(evaluation: EvaluationSettings) -> Screening | None:
    """Return the shorter trainings that candidates go through first; None: none."""
    from mho.bit_search.screening import Screening

    return Screening(evaluation.stages, evaluation.promote) if evaluation.stages else None


def make_options(
    settings: SearchSettings, repeats: int, task: Task, screening: Screening | None = None
) -> SearchLimits:
    """Return how long a search lasts and what it looks for."""
    from mho.bit_search.runner import SearchLimits

    return SearchLimits(
        settings.budget,
        settings.allowed_drop,
        cost_budget=read_cost_budget(settings),
        whole_front=settings.whole_front,
        batch=settings.batch,
        screening=screening,
        repeats=repeats,
        task=task,
    )


def read_cost_budget(settings: SearchSettings) -> CostBudget | None:
    """Return what the best policy may cost; None where only accuracy limits it."""
    from mho.bit_search.budget import CostBudget

    if settings.cost_budget is None:
        return None
    return CostBudget.parse(settings.cost_budget, Objective(settings.objective))


def _read_held(held: str) -> BitWidths | Literal["auto"] | None:
    """Return at which widths the first and the last layer are held, as `SearchConstraints` takes it."""
    if held == "auto":
        return "auto"
    return None if held == "none" else BitWidths.parse(held)


def make_space(
    network_file: Path, settings: SearchSettings, material: Material, evaluation: EvaluationSettings
) -> SearchSpace:
    """Return what a search of the network in `network_file` may propose; its weights do not matter.

    Args:
        network_file: the network, in float.
        settings: what may be proposed.
        material: hardware, and whose chips count.
        evaluation: whether they do.

    Raises:
        ConfigError: the settings leave no widths, or nothing as cheap as the cost budget, or the accelerator does
            not suit the objective.
        MappingError: the accelerator cannot hold a layer.
        PolicyError: a pin names an unknown layer, or the given policy not all layers.
    """
    from mho.bit_search.api import make_space as derive_space
    from mho.bit_search.api import useful_multiple
    from mho.bit_search.constraints import BitRange, SearchConstraints
    from mho.bit_search.methods import check_goal, prunes
    from mho.network.onnx_reader import read_onnx

    accelerator, held, multiple = material.accelerator, settings.hold_first_last, settings.weight_bits_multiple
    if multiple == "auto":
        multiple = useful_multiple(accelerator, material.mapping)
    constraints = SearchConstraints(
        min_weight_bits=settings.min_weight_bits,
        max_weight_bits=settings.max_weight_bits,
        min_act_bits=settings.min_act_bits,
        max_act_bits=settings.max_act_bits,
        hold_first_last=_read_held(held),
        weight_bits_multiple=accelerator.crossbar.cell_bits if multiple == "cell" else multiple,
        pins={name: BitWidths.parse(widths) for name, widths in (settings.policy or settings.pins).items()},
        ranges={name: BitRange(own.weights, own.acts) for name, own in settings.ranges.items()},
        adc_bits=settings.adc_bits,
    )
    prune = prunes(settings.method) if settings.prune is None else settings.prune
    network = read_onnx(network_file)
    if settings.policy is not None:
        Policy.of(settings.policy).check_against(network.layer_names, where="search.policy")
    space = derive_space(
        network,
        accelerator,
        constraints,
        mapping=material.mapping,
        prune=prune,
        objective=Objective(settings.objective),
        chips=None if evaluation.accuracy_of == "exact" else material.chips,
    )
    budget = read_cost_budget(settings)
    limit = None if budget is None else budget.of(space.reference_cost)
    check_goal(settings.method, space, cost_budget=limit, whole_front=settings.whole_front)
    return space


def order_finalists(result: SearchResult, space: SearchSpace) -> list[int]:
    """Return indices into a search's records: the best policy, then more expensive and more accurate ones on the front.

    Where none keeps the goal: the nearest one. Within a cost budget: the policies that keep it, that of the lowest loss
    first. Only policies of the space: uniform 8/8, which every search measures, may break its limits.
    """
    best = result.best
    if best is None:
        inside = [record for record in result.records if space.contains(record.policy)]
        best = select_nearest(result.goal, inside) or result.reference
        return [_place(result, best)]
    if result.goal.cost_budget is not None:
        within = [record for record in result.records if record.is_ok and result.goal.allows(record.cost)]
        within = sorted(within, key=lambda record: (record.score, record.cost))
        return [_place(result, record) for record in within if space.contains(record.policy)]
    order = [_place(result, best)]
    for record in result.front:
        if record.cost > best.cost and record.policy != best.policy and space.contains(record.policy):
            order.append(_place(result, record))
    return order


def _place(result: SearchResult, wanted: EvaluationRecord) -> int:
    return next(k for k, record in enumerate(result.records) if record.policy == wanted.policy)
