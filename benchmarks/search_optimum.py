"""The fastest policy that a surrogate says keeps a target, by local search: what is left to find for a method.

Nobody knows that it is the optimum, as a surrogate is no sum over layers; it is the best known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import draw_policy
from mho.policy import Policy

FloatArray = NDArray[np.float64]
Accuracies = Callable[[Sequence[Policy]], FloatArray]

STARTS, SEED = 6, 1
PAIRS_FROM = 40
"""Single changes, by least accuracy lost for the time that they save, of which pairs are tried."""


def find_optimum(space: SearchSpace, accuracies: Accuracies, target: float) -> Policy:
    """Return the cheapest policy of the space found whose accuracy reaches `target`; 8/8 or nearest to it reaches it.

    Every start goes down greedily, then changes one layer or two as long as that makes the policy cheaper.
    """
    widest = Policy({layer.name: layer.choices[-1] for layer in space.layers})
    generator = np.random.default_rng(SEED)
    starts = [widest] + [draw_policy(space, generator, spread=True) for _ in range(STARTS - 1)]
    return min((descend(space, accuracies, target, start) for start in starts), key=space.cost_of)


def descend(space: SearchSpace, accuracies: Accuracies, target: float, policy: Policy) -> Policy:
    """Return the end of one local search."""
    policy = _repair(space, accuracies, target, policy)
    while True:
        better = _best_single(space, accuracies, target, policy)
        if better is None:
            better = _best_pair(space, accuracies, target, policy)
        if better is None:
            return policy
        policy = better


def _neighbours(space: SearchSpace, policy: Policy) -> list[Policy]:
    return [
        _with(policy, layer.name, bits)
        for layer in space.layers
        for bits in layer.choices
        if bits != policy[layer.name]
    ]


def _with(policy: Policy, name: str, bits: object) -> Policy:
    return Policy({**policy.layers, name: bits})  # type: ignore[dict-item]


def _repair(space: SearchSpace, accuracies: Accuracies, target: float, policy: Policy) -> Policy:
    """Take the most accurate neighbour until the target is reached."""
    while float(accuracies([policy])[0]) < target:
        near = _neighbours(space, policy)
        values = accuracies(near)
        best = int(values.argmax())
        if values[best] <= accuracies([policy])[0]:
            return Policy({layer.name: layer.choices[-1] for layer in space.layers})
        policy = near[best]
    return policy


def _best_single(space: SearchSpace, accuracies: Accuracies, target: float, policy: Policy) -> Policy | None:
    """Return the change that loses the least accuracy for the time that it saves, among those that keep the target."""
    cost, accuracy = space.cost_of(policy), float(accuracies([policy])[0])
    near = [other for other in _neighbours(space, policy) if space.cost_of(other) < cost]
    if not near:
        return None
    values = accuracies(near)
    price = np.maximum(accuracy - values, 1e-9) / np.array([cost - space.cost_of(other) for other in near])
    price[values < target] = np.inf
    best = int(price.argmin())
    return near[best] if np.isfinite(price[best]) else None


def _best_pair(space: SearchSpace, accuracies: Accuracies, target: float, policy: Policy) -> Policy | None:
    """Return the cheapest policy that two changes reach, where it is cheaper and keeps the target."""
    cost, accuracy = space.cost_of(policy), float(accuracies([policy])[0])
    near = _neighbours(space, policy)
    saved = np.array([cost - space.cost_of(other) for other in near], np.float64)
    lost = accuracy - accuracies(near)
    down = np.argsort(np.where(saved > 0, lost / np.maximum(saved, 1), np.inf))[:PAIRS_FROM]
    up = np.argsort(np.where(lost < 0, -saved / np.maximum(-lost, 1e-9), np.inf))[:PAIRS_FROM]
    pairs = {
        joined: space.cost_of(joined)
        for first in down
        for second in np.concatenate([up, down])
        if (joined := _join(policy, near[first], near[second])) is not None
    }
    cheaper = [other for other, price in pairs.items() if price < cost]
    if not cheaper:
        return None
    reaching = [other for other, value in zip(cheaper, accuracies(cheaper), strict=True) if value >= target]
    return min(reaching, key=lambda other: pairs[other], default=None)


def _join(policy: Policy, first: Policy, second: Policy) -> Policy | None:
    """Return the policy with both changes; None where they are of one layer."""
    changed = [{n for n in policy.layers if other[n] != policy[n]} for other in (first, second)]
    if changed[0] & changed[1]:
        return None
    return Policy({n: first[n] if n in changed[0] else second[n] for n in policy.layers})
