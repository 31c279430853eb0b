"""Policies of a space: drawn at random, listed, or the cheapest of all."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

import numpy as np

from mho.bit_search.goal import Goal
from mho.bit_search.space import SearchSpace
from mho.policy import Policy

MAX_DRAWS = 100
"""Policies that are drawn until one costs no more than it may, or is new."""
MAX_LISTED = 4096
"""Spaces of so many policies are gone through where draws find nothing new."""
LISTED_PER_EVALUATION = 4
"""Policies for each evaluation of the budget that a space may have, to be searched to the optimum."""


def searches_all(space: SearchSpace, budget: int) -> bool:
    """Tell whether a space is so small that `exact` searches it to its proven optimum."""
    return space.size <= min(MAX_LISTED, LISTED_PER_EVALUATION * budget)


def draw_policy(space: SearchSpace, generator: np.random.Generator, *, spread: bool) -> Policy:
    """Draw a policy; `spread` over levels of cost, else each layer's choice uniformly."""
    level = generator.random()
    layers = {}
    for layer in space.layers:
        by_cost = np.argsort(layer.costs, kind="stable")
        share = generator.random()
        if spread:
            share = min(max(level + 0.5 * (share - 0.5), 0.0), 1.0)
        layers[layer.name] = layer.choices[by_cost[min(int(share * len(by_cost)), len(by_cost) - 1)]]
    return Policy(layers)


def draw_within(space: SearchSpace, goal: Goal, generator: np.random.Generator, *, spread: bool) -> Policy:
    """Draw a policy that costs no more than the goal's cost budget, as `draw_policy`; in the end the cheapest.

    Where budgets are so tight that such draws fail, layers take their cheapest choice more and more often.
    """
    for number in range(MAX_DRAWS):
        policy = _draw_cheaper(space, generator, number / MAX_DRAWS, spread=spread)
        if is_within(space, goal, policy):
            return policy
    return space.cheapest_policy


def draw_new(
    space: SearchSpace, goal: Goal, generator: np.random.Generator, known: Collection[Policy]
) -> Policy | None:
    """Draw a policy that is not known and costs no more than the goal's cost budget; None where none is found.

    None means that there is none where the space has at most `MAX_LISTED` policies, and else that a hundred draws
    found none.
    """
    share = 0.0 if goal.cost_budget is None else 1.0 / MAX_DRAWS
    for number in range(MAX_DRAWS):
        policy = _draw_cheaper(space, generator, number * share, spread=False)
        if policy not in known and is_within(space, goal, policy):
            return policy
    listed = list_policies(space) if space.size <= MAX_LISTED else ()
    return next((policy for policy in listed if policy not in known and is_within(space, goal, policy)), None)


def list_policies(space: SearchSpace) -> Iterator[Policy]:
    """Yield every policy of a space."""
    for chosen in itertools.product(*(layer.choices for layer in space.layers)):
        yield Policy(dict(zip(space.layer_names, chosen, strict=True)))


def _draw_cheaper(space: SearchSpace, generator: np.random.Generator, share: float, *, spread: bool) -> Policy:
    """Draw a policy, then give a share of its layers, drawn too, their cheapest choices."""
    policy = draw_policy(space, generator, spread=spread)
    if share == 0.0:
        return policy
    cheapest = space.cheapest_policy
    return Policy({name: cheapest[name] if generator.random() < share else policy[name] for name in space.layer_names})


def is_within(space: SearchSpace, goal: Goal, policy: Policy) -> bool:
    """Tell whether a policy costs no more than the goal's cost budget; without one, any cost is allowed."""
    return goal.cost_budget is None or goal.allows(space.cost_of(policy))
