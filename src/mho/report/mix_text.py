"""What the search of a mix found, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from mho.bit_search.mix import MixPart
from mho.bit_search.runner import SearchResult
from mho.formats import format_cost
from mho.report.columns import Column, print_columns
from mho.terminal import Console


def print_mix(console: Console, result: SearchResult, parts: Mapping[str, MixPart]) -> None:
    """Print what each network of a mix costs and gets right with the found policy, beside uniform 8/8.

    Args:
        console: where to.
        result: of the search.
        parts: of the best policies, by network; empty where there is none.
    """
    goal, best, unit = result.goal, result.best, result.goal.objective.unit
    metric = goal.task.metric
    outcome = "no policy keeps the allowed loss"
    if best is not None:
        outcome = (
            f"{format_cost(best.cost, unit)} instead of {format_cost(goal.reference_cost, unit)} at uniform 8/8,"
            f" {goal.reference_cost / best.cost:.2f}x less"
        )
        outcome += "" if goal.cost_budget is None else f" ({format_cost(goal.cost_budget, unit)} allowed)"
    outcome += f", after {result.tried} policies, before full training"
    console.print(f"{result.method}, {goal.objective.words}, all networks: {outcome}", soft_wrap=True)
    if parts:
        columns = [
            Column("network", tuple(parts)),
            Column("cost", tuple(format_cost(part.cost, unit) for part in parts.values())),
            Column("at 8/8", tuple(format_cost(part.reference_cost, unit) for part in parts.values())),
            Column("validation", tuple(metric.format(part.accuracy) for part in parts.values())),
            Column("at 8/8", tuple(metric.format(part.reference_accuracy) for part in parts.values())),
        ]
        print_columns(console, columns)
