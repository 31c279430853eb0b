"""Policies that differ from one in two layers, best first: the neighbourhood of local search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mho.pareto import pareto_front

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_CHANGES = 1500
"""Changes of one layer that are paired: the best ones. A pair takes some ten bytes."""


def neighbours(
    center: IntArray,
    harms: Sequence[FloatArray],
    shares: Sequence[FloatArray],
    start: tuple[float, float],
    reward: Callable[[FloatArray, FloatArray], FloatArray],
    most: int,
) -> Iterator[IntArray]:
    """Yield the policies that change one or two layers of `center`, by falling reward.

    Of a layer's changes, those are left out that another change betters in harm and share.

    Args:
        center: int64 [layers], numbers of choices.
        harms, shares: float64 [choices] for each layer; both add up over layers.
        start: harm and share of `center`; where they were measured, they need not be the sums.
        reward: of arrays of harm and share; -inf where a policy is not wanted.
        most: policies to yield at most.
    """
    layers, options, harm_steps, share_steps = _list_changes(center, harms, shares)
    if not len(layers):
        return
    single = reward(start[0] + harm_steps, start[1] + share_steps)
    kept = np.sort(np.argsort(-single, kind="stable")[:MOST_CHANGES])
    layers, options, harm_steps, share_steps = layers[kept], options[kept], harm_steps[kept], share_steps[kept]
    first, second = np.triu_indices(len(layers))
    is_pair = (layers[first] != layers[second]) | (first == second)
    first, second = first[is_pair], second[is_pair]
    both = (first != second).astype(np.float64)  # a change paired with itself stands for that change alone
    values = reward(
        start[0] + harm_steps[first] + both * harm_steps[second],
        start[1] + share_steps[first] + both * share_steps[second],
    )
    count = min(most, len(values))
    best = np.argpartition(-values, count - 1)[:count]
    for place in best[np.lexsort((best, -values[best]))]:
        if values[place] == -np.inf:
            return
        changed = center.copy()
        changed[layers[[first[place], second[place]]]] = options[[first[place], second[place]]]
        yield changed


def _list_changes(
    center: IntArray, harms: Sequence[FloatArray], shares: Sequence[FloatArray]
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Return layer, new choice, and steps of harm and share of the changes of one layer that no other one betters."""
    layers, options, harm_steps, share_steps = [], [], [], []
    for layer, (harm, share) in enumerate(zip(harms, shares, strict=True)):
        others = np.flatnonzero(np.arange(len(harm)) != center[layer])
        kept = others[pareto_front(share[others], harm[others])]
        if not len(kept):
            continue
        layers.append(np.full(len(kept), layer))
        options.append(kept)
        harm_steps.append(harm[kept] - harm[center[layer]])
        share_steps.append(share[kept] - share[center[layer]])
    if not layers:
        nothing = np.zeros(0)
        return nothing.astype(np.int64), nothing.astype(np.int64), nothing, nothing
    return np.concatenate(layers), np.concatenate(options), np.concatenate(harm_steps), np.concatenate(share_steps)
