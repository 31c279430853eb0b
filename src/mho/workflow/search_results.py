"""What finished searches found: their records, the effect of bits of single layers, other searches in the directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.explanation import LEAST_EVALUATIONS, BitStep, Explanation, explain_policy
from mho.bit_search.goal import Goal, select_best
from mho.bit_search.objective import Objective
from mho.bit_search.runner import SearchResult
from mho.bit_search.space import SearchSpace
from mho.bit_search.verdicts import Verdicts, find_verdicts
from mho.errors import InputFileError
from mho.evaluation.confidence import find_band, find_mean_band
from mho.formats import format_cost
from mho.input_files import read_json
from mho.policy import Policy
from mho.report.result_networks import MeasuredStep, Sensitivities
from mho.report.result_search import BestSoFar, EvaluationFigures, OperandWorth, SearchFigures, SearchSummary, StepWorth
from mho.report.result_task import TaskFigures
from mho.seeds import derive_seed
from mho.task.task import CLASSIFICATION, Task
from mho.workflow.policy_stages import FAILED, SEARCH_FILE
from mho.workflow.run_directory import StageResult, list_stages

COURSE_POINTS = 100
"""Numbers of evaluations after which the best so far is shown, at most."""


def read_records(content: Mapping[str, Any], where: str) -> tuple[EvaluationRecord, ...]:
    """Return the records of a search's file, the reference first. Raises `MhoError`."""
    records = content.get("records") if isinstance(content, Mapping) else None
    if not isinstance(records, list) or not records:
        raise InputFileError("holds no records of a search", where=where, hint="the file is damaged")
    return tuple(EvaluationRecord.from_json(record, where=where) for record in records)


def read_goal(content: Mapping[str, Any], reference: EvaluationRecord) -> Goal:
    """Return what a search was after; `reference` is its record of uniform 8/8."""
    assert reference.score is not None, "a search without its reference ends with an error"
    return Goal(
        content["reference_accuracy"],
        content["allowed_drop"] or 0.0,
        reference.cost,
        reference.score,
        Objective(content["objective"]),
        content["cost_budget"],
        content["whole_front"],
        read_task(content),
    )


def read_task(content: Mapping[str, Any]) -> Task:
    """Return what a search's accuracies are: of classification where its file says nothing."""
    return Task.from_json(content["task"], where=SEARCH_FILE) if "task" in content else CLASSIFICATION


def explain_search(space: SearchSpace, content: Mapping[str, Any], where: str, *, place: int, seed: int) -> Explanation:
    """Explain one of the policies that a search evaluated.

    Args:
        space: that was searched.
        content: of the search's file.
        where: the file, for messages.
        place: of the policy among its records.
        seed: of the run.

    Raises:
        MhoError: the search evaluated too few policies.
    """
    records = read_records(content, where)
    generator = np.random.default_rng(derive_seed(seed, "explanation"))
    return explain_policy(space, read_goal(content, records[0]), records, records[place].policy, generator)


def collect_search(stage: StageResult, found: Mapping[str, Any], budget: int) -> SearchFigures:
    """Return the evaluations of the run's search; `found` are the figures of the policy that was trained."""
    content = _read(stage)
    objective = Objective(stage.figures["objective"])
    records = read_records(content, str(stage.folder / SEARCH_FILE))
    goal = read_goal(content, records[0])
    judged = find_verdicts(goal, records, found["index"], found["finalists"])
    bands = _find_bands(content, found["validation"]["count"], goal.task)
    return SearchFigures(
        task=TaskFigures.of(goal.task),
        method=content["method"],
        objective=str(objective),
        objective_words=objective.words,
        unit=objective.unit,
        fidelity=stage.figures["fidelity"],
        budget=budget,
        space=stage.figures["space"],
        allowed_drop=content["allowed_drop"],
        target_accuracy=stage.figures["target_accuracy"],
        smoothed_target=judged.target,
        cost_budget=stage.figures["cost_budget"],
        best=found["index"],
        missed=stage.figures["missed"],
        failed=stage.figures.get(FAILED, ""),
        finalists=tuple(found["finalists"]),
        evaluations=_list_evaluations(content, stage.figures["reference_cost"], judged, bands),
    )


def describe_result(result: SearchResult) -> SearchFigures:
    """Return the evaluations of a search that belongs to no run; the size of its space is not known any more."""
    goal, records = result.goal, result.records
    objective = goal.objective
    places = [number for number, record in enumerate(records) if record is result.best]
    judged = find_verdicts(goal, records, places[0]) if places else None
    return SearchFigures(
        task=TaskFigures.of(goal.task),
        method=result.method,
        objective=str(objective),
        objective_words=objective.words,
        unit=objective.unit,
        fidelity=result.reference.fidelity,
        budget=result.tried,
        space="",
        allowed_drop=None if goal.cost_budget is not None else goal.allowed_drop,
        target_accuracy=None if goal.cost_budget is not None else goal.target_accuracy,
        smoothed_target=None if judged is None else judged.target,
        cost_budget=goal.cost_budget,
        best=places[0] if places else -1,
        missed=result.missed,
        finalists=tuple(places),
        evaluations=_list_evaluations(result.to_json(), result.reference.cost, judged, {}),
    )


_Bands = Mapping[Policy, Mapping[str, float | None]]
"""Of a policy: ends of the interval of its mean accuracy, by their names in `EvaluationFigures`."""


def _list_evaluations(
    content: Mapping[str, Any], reference_cost: float, judged: Verdicts | None, bands: _Bands
) -> tuple[EvaluationFigures, ...]:
    """Return the policies of a search's file, in the order tried."""
    front = set(content["front"])
    evaluations = []
    for index, record in enumerate(content["records"]):
        widths = record["policy"]["layers"].values()
        evaluations.append(
            EvaluationFigures(
                index=index,
                method=record["method"],
                weight_bits=tuple(bits["weight_bits"] for bits in widths),
                act_bits=tuple(bits["act_bits"] for bits in widths),
                adc_bits=_own_adc_bits(widths),
                cost=record["cost"],
                gain=reference_cost / record["cost"],
                score=record["score"],
                accuracy=record["accuracy"],
                seconds=record["seconds"],
                note=record["note"],
                on_front=index in front,
                seeds=record.get("seeds", 1),
                smoothed=None if judged is None else judged.smoothed[index],
                verdict=None if judged is None else judged.verdicts[index],
                **bands.get(Policy.from_json(record["policy"], where=SEARCH_FILE), {}),
            )
        )
    return tuple(evaluations)


def _find_bands(content: Mapping[str, Any], samples: int, task: Task) -> _Bands:
    """Return the interval of the mean accuracy of the policies of which a search keeps every seed's."""
    noise = content["noise"]
    if noise is None:
        return {}
    bands = {}
    for name in ("best", "reference"):
        accuracies = noise[name]["accuracies"]
        if len(accuracies) > 1:
            band = (
                find_band([round(accuracy * samples) for accuracy in accuracies], samples)
                if task.is_classification
                else find_mean_band(accuracies, worst=task.metric.worst)
            )
            bands[Policy.from_json(content[name]["policy"], where=name)] = {"low": band.low, "high": band.high}
    return bands


def collect_worths(stage: StageResult, space: SearchSpace, place: int, seed: int) -> tuple[OperandWorth, ...]:
    """Return what one bit more or less of each layer of a policy costs and brings; nothing where evaluations are few.

    Args:
        stage: the search.
        space: that was searched.
        place: of the policy among its records.
        seed: of the run.
    """
    content = _read(stage)
    if len(content["records"]) < LEAST_EVALUATIONS:
        return ()
    explanation = explain_search(space, content, str(stage.folder / SEARCH_FILE), place=place, seed=seed)
    return tuple(
        OperandWorth(layer=layer.name, operand=own.operand, bits=own.bits, less=_worth(own.less), more=_worth(own.more))
        for layer in explanation.layers
        for own in layer.operands
    )


def price_sensitivities(found: Sensitivities, policy: Policy, space: SearchSpace) -> Sensitivities:
    """Return measured sensitivities with what each step changes of the policy's cost.

    Args:
        found: without costs.
        policy: that they are of.
        space: that was searched.
    """
    cost = space.cost_of(policy)

    def price(layer: str, operand: str, step: MeasuredStep | None) -> MeasuredStep | None:
        if step is None:
            return None
        widths = replace(policy[layer], **{_WIDTHS[operand]: step.bits})
        changed = Policy({**policy.layers, layer: widths})
        return step.model_copy(update={"cost": space.cost_of(changed) / cost - 1})

    operands = tuple(
        one.model_copy(update={side: price(one.layer, one.operand, getattr(one, side)) for side in ("less", "more")})
        for one in found.operands
    )
    return found.model_copy(update={"operands": operands})


_WIDTHS = {"weight": "weight_bits", "activation": "act_bits"}


def _worth(step: BitStep | None) -> StepWorth | None:
    if step is None:
        return None
    loss = step.loss
    return StepWorth(bits=step.bits, cost=step.cost, loss=loss.likely, low=loss.low, high=loss.high)


def collect_searches(stage: StageResult, directory: Path) -> tuple[SearchSummary, ...]:
    """Return the run's search, then those of `mho search` in its directory that measured policies alike."""
    own = _read(stage)
    found = [_summarize(stage, own)]
    for other in list_stages(directory, "search-"):
        content = _read(other)
        if _measures_alike(content["reference"], own["reference"]):
            found.append(_summarize(other, content))
    return tuple(found)


def _measures_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether uniform 8/8 got the same measure: of other networks, data or trainings it gets another."""
    return all(one[key] == other[key] for key in ("score", "accuracy", "fidelity", "seed"))


def _summarize(stage: StageResult, content: Mapping[str, Any]) -> SearchSummary:
    records = read_records(content, str(stage.folder / SEARCH_FILE))
    goal, objective = read_goal(content, records[0]), Objective(content["objective"])
    best = content["best"]
    return SearchSummary(
        name=stage.name,
        method=content["method"],
        objective=str(objective),
        unit=objective.unit,
        goal=_describe_goal(goal),
        evaluated=len(records),
        cost=None if best is None else best["cost"],
        gain=None if best is None else goal.reference_cost / best["cost"],
        accuracy=None if best is None else best["accuracy"],
        course=tuple(_follow(goal, records)),
    )


def _describe_goal(goal: Goal) -> str:
    if goal.cost_budget is not None:
        return f"within {format_cost(goal.cost_budget, goal.objective.unit)}"
    return f"{'whole front, ' if goal.whole_front else ''}{goal.task.metric.format_drop(goal.allowed_drop)} allowed"


def _follow(goal: Goal, records: tuple[EvaluationRecord, ...]) -> Iterator[BestSoFar]:
    every = max(1, -(-len(records) // COURSE_POINTS))
    for count in sorted({*range(1, len(records), every), len(records)}):
        best = select_best(goal, records[:count], seeds=records[0].seeds)  # the reference has all
        if best is not None and best.accuracy is not None:
            yield BestSoFar(evaluated=count, gain=goal.reference_cost / best.cost, accuracy=best.accuracy)


def _own_adc_bits(widths: Iterable[Mapping[str, int]]) -> tuple[int | None, ...] | None:
    """Return the ADC bits of each layer's widths; None where no layer has its own."""
    own = tuple(bits.get("adc_bits") for bits in widths)
    return own if any(bits is not None for bits in own) else None


def _read(stage: StageResult) -> dict[str, Any]:
    content: dict[str, Any] = read_json(stage.folder / SEARCH_FILE, expected="a search")
    return content
