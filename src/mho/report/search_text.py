"""What a search found, as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from mho.bit_search.evaluation import EvaluationRecord
from mho.formats import NO_WRITES, format_cost
from mho.report.columns import Column, print_columns
from mho.task.metrics import Metric
from mho.task.task import CLASSIFICATION
from mho.terminal import Console

_BITS_WIDTH = 60


def describe_best(
    method: str,
    best: EvaluationRecord,
    reference: EvaluationRecord,
    *,
    tried: int,
    cost_budget: int | None = None,
    metric: Metric = CLASSIFICATION.metric,
) -> str:
    """Describe what the best policy costs and how accurate it is beside uniform 8/8.

    Args:
        method: which search found it.
        best, reference: the best policy and uniform 8/8.
        tried: distinct policies evaluated.
        cost_budget: what it might cost, in the objective's unit; None: what accuracy allows.
        metric: what accuracies are.
    """
    objective = best.objective
    allowed = "" if cost_budget is None else f" ({format_cost(cost_budget, objective.unit)} allowed)"
    costs = [format_cost(record.cost, objective.unit) for record in (best, reference)]
    less = "" if costs[0] == NO_WRITES else f", {reference.cost / best.cost:.2f}x less"
    return (
        f"{method}: {objective.words} {costs[0]}{allowed} instead of {costs[1]}"
        f" at uniform 8/8{less}, after {tried} policies,"
        f" {_tell(best, metric)} on validation data ({_tell(reference, metric)} at 8/8), before full training"
    )


def describe_bits(best: EvaluationRecord) -> str:
    """Tell the widths of all layers, in execution order."""
    return f"weight/activation bits: {_bits(best)}"


def print_front(
    console: Console,
    front: Sequence[EvaluationRecord],
    reference: EvaluationRecord,
    metric: Metric = CLASSIFICATION.metric,
) -> None:
    """Print the policies whose accuracy no cheaper one reaches, cheapest first."""
    unit = reference.objective.unit
    columns = [
        Column("cost", tuple(format_cost(record.cost, unit) for record in front)),
        Column("gain", tuple(f"{reference.cost / record.cost:.2f}x" for record in front)),
        Column("validation", tuple(_tell(record, metric) for record in front)),
        Column("loss", tuple("" if record.score is None else f"{record.score:.4f}" for record in front)),
        Column("weight/activation bits", tuple(_bits(record) for record in front), most=_BITS_WIDTH),
    ]
    print_columns(console, columns)


def _bits(record: EvaluationRecord) -> str:
    return " ".join(str(bits) for bits in record.policy.layers.values())


def _tell(record: EvaluationRecord, metric: Metric) -> str:
    return "failed" if record.accuracy is None else metric.format(record.accuracy)
