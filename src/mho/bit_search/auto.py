"""`auto`: which search method suits a space and a budget.

The rule rests on measurements: docs/search.md has them in its table of distances from the optimum, made by
``benchmarks/search_small.py``. Whoever changes one changes the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from mho.bit_search.methods import MethodOptions
from mho.bit_search.objective import Objective
from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import searches_all


@dataclass(frozen=True)
class MethodChoice:
    """The method that was chosen, and why, for people."""

    method: str
    reason: str

    def __str__(self) -> str:
        return f"auto took {self.method}: {self.reason}."


def choose_method(space: SearchSpace, budget: int, options: MethodOptions | None = None) -> MethodChoice:
    """Choose a method: `rl` where only it takes the options or for intervals of chips, else `exact`.

    Args:
        space: what may be proposed, pruned.
        budget: distinct evaluations.
        options: options of the method.
    """
    free = sum(len(layer.choices) > 1 for layer in space.layers)
    if options is not None and (options.saved is not None or options.algorithm is not None):
        return MethodChoice("rl", "only it has an agent to start from or to choose an algorithm of")
    if searches_all(space, budget):
        return MethodChoice("exact", f"it proves the optimum of a space of {space.size:,} policies")
    if space.objective is Objective.INTERVAL:
        return MethodChoice("rl", "intervals do not add up over layers, as exact takes costs to")
    measured = "" if space.adds_up else "; costs that do not add up over layers were not part of it"
    return MethodChoice(
        "exact",
        "in the benchmark of methods, on 19 free layers, it was nearest to the optimum at every budget measured;"
        f" here are {free} free layers and {budget} policies{measured}",
    )
