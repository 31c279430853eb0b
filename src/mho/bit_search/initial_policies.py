"""Policies to start from: what costs, and what is known of sensitivities, tell before any policy was evaluated."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.choice_tables import ChoiceTables
from mho.bit_search.goal import Goal
from mho.bit_search.knapsack import solve_knapsack
from mho.bit_search.sensitivity import SensitivityModel, SensitivityPrior
from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import draw_within, is_within
from mho.policy import Policy

FloatArray = NDArray[np.float64]


def spread_policies(
    tables: ChoiceTables,
    goal: Goal,
    model: SensitivityModel,
    count: int,
    generator: np.random.Generator | None = None,
) -> list[Policy]:
    """Return policies at levels of cost, expensive to cheap, each of the least loss increase in a sample.

    Before any evaluation a model that knows nothing holds all layers to be about alike. Still, costs are known, so such
    policies are nearer to good ones than draws are, and finding them takes no evaluation.

    Args:
        tables: of the space.
        goal: levels lie near below its cost budget, where there is one; nothing beyond it is returned.
        model: of sensitivities.
        count: how many levels; fewer policies where two levels give the same.
        generator: draws a sample of its own for each, so that the policies teach more; None takes the mode.
    """
    shares = tables.by_layer(tables.shares)
    policies = []
    highest = math.inf
    if goal.cost_budget is not None:
        highest = (goal.cost_budget / tables.space.reference_cost) ** (1.0 / tables.space.objective.exponent)
    for level in np.linspace(*((0.9, 0.1) if goal.cost_budget is None else (1.0, 0.6)), count):
        increases = tables.by_layer(tables.increases(model.increases(generator)))
        least = sum(float(share.min()) for share in shares)
        most = sum(float(share[increase.argmin()]) for share, increase in zip(shares, increases, strict=True))
        limit = least + level * max(0.0, min(most, highest) - least)
        chosen = solve_knapsack(increases, shares, limit)
        if chosen is not None:  # the cheapest policy always fits, but for the rounding of sums
            policies.append(tables.policy(chosen))
    return [policy for policy in dict.fromkeys(policies) if is_within(tables.space, goal, policy)]


def first_policies(
    space: SearchSpace,
    goal: Goal,
    count: int,
    generator: np.random.Generator,
    prior: SensitivityPrior | None = None,
) -> list[Policy]:
    """Return up to `count` policies for methods that need many: half by what is known, half drawn over all costs.

    They count for the budget when they are evaluated, as any other.
    """
    tables = ChoiceTables(space)
    model = SensitivityModel(space.layer_names, prior, tables.operands)
    known = spread_policies(tables, goal, model, (count + 1) // 2)
    drawn = [draw_within(space, goal, generator, spread=True) for _ in range(count - len(known))]
    return list(dict.fromkeys([*known, *drawn]))
