"""Local search where loss increases and costs are known: one layer at a time, pairs of layers, and by a price.

What is found depends on the loss increases and costs that are given; no policy is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.choice_tables import ChoiceTables, FloatArray, Frontiers, Rows
from mho.pareto import pareto_front

IntArray = NDArray[np.int64]

MAX_SWEEPS, MAX_PAIRS = 8, 40
MOST_CHANGES = 1500
"""Changes of one layer that are paired: the best ones. A pair takes some ten bytes."""


def improve(tables: ChoiceTables, increases: FloatArray, rows: Rows, generator: np.random.Generator) -> Rows:
    """Change one layer after the other, in random order, to its best choice, until no row gets better.

    Args:
        tables: choices and costs.
        increases: of all choices, float64 [layers, choices].
        rows: where to start, [N, layers].
        generator: draws the orders.
    """
    rows, layers = rows.copy(), np.arange(rows.shape[1])
    increase, share = increases[layers, rows], tables.shares[layers, rows]
    for _ in range(MAX_SWEEPS):
        before = rows.copy()
        for layer in generator.permutation(tables.free):
            others = increase.sum(1) - increase[:, layer], share.sum(1) - share[:, layer]
            saved: FloatArray = np.zeros(())
            if tables.has_savings:
                tried = np.repeat(rows[:, None], increases.shape[1], axis=1)
                tried[:, :, layer] = np.arange(increases.shape[1])
                saved = tables.saved(tried)
            values = tables.reward(
                others[0][:, None] + increases[layer], others[1][:, None] + tables.shares[layer] - saved
            )
            best = values.argmax(axis=1)
            rows[:, layer] = best
            increase[:, layer], share[:, layer] = increases[layer, best], tables.shares[layer, best]
        if np.array_equal(before, rows):
            break
    return rows


def exchange(tables: ChoiceTables, increases: FloatArray, row: NDArray[np.int64], frontiers: Frontiers) -> Rows:
    """Change two layers at a time, as long as that makes one policy better: bits move from one layer to another.

    Args:
        tables, increases: as for `improve`.
        row: where to start, [layers].
        frontiers: of the layers; only these choices are tried.

    Returns:
        int64 [layers].
    """
    owner = np.concatenate([np.full(len(frontiers.numbers[k]), k) for k in tables.free])
    number = np.concatenate([frontiers.numbers[k] for k in tables.free])
    pairs = owner[:, None] < owner[None, :]
    row = row.copy()
    for _ in range(MAX_PAIRS):
        (increase,), (share,) = tables.sums(increases, row[None])
        now = float(tables.reward(np.asarray(increase), np.asarray(share)))
        more_increase = increases[owner, number] - increases[owner, row[owner]]
        more_share = tables.shares[owner, number] - tables.shares[owner, row[owner]]
        values = tables.reward(
            increase + more_increase[:, None] + more_increase, share + more_share[:, None] + more_share
        )
        values[~pairs] = -np.inf
        first, second = np.unravel_index(int(values.argmax()), values.shape)
        tried = row.copy()
        tried[owner[first]], tried[owner[second]] = number[first], number[second]
        found = float(tables.reward(*(part[0] for part in map(np.asarray, tables.sums(increases, tried[None])))))
        if found <= now + 1e-9:
            return row
        row = tried
    return row


def trade(frontiers: Frontiers, price: float) -> NDArray[np.int64]:
    """Return the choices [layers] that make loss increase + `price` times cost share least, layer by layer."""
    picks: Sequence[int] = [
        int(numbers[np.argmin(increases + price * shares)])
        for numbers, increases, shares in zip(frontiers.numbers, frontiers.increases, frontiers.shares, strict=True)
    ]
    return np.array(picks, dtype=np.int64)


def neighbours(
    center: IntArray,
    increases: Sequence[FloatArray],
    shares: Sequence[FloatArray],
    start: tuple[float, float],
    reward: Callable[[FloatArray, FloatArray], FloatArray],
    most: int,
) -> Iterator[IntArray]:
    """Yield the policies that change one or two layers of `center`, by falling reward.

    Of a layer's changes, those are left out that another change betters in loss increase and share.

    Args:
        center: int64 [layers], numbers of choices.
        increases, shares: float64 [choices] for each layer; both add up over layers.
        start: loss increase and share of `center`; where they were measured, they need not be the sums.
        reward: of arrays of loss increase and share; -inf where a policy is not wanted.
        most: policies to yield at most.
    """
    layers, options, increase_steps, share_steps = _list_changes(center, increases, shares)
    if not len(layers):
        return
    single = reward(start[0] + increase_steps, start[1] + share_steps)
    kept = np.sort(np.argsort(-single, kind="stable")[:MOST_CHANGES])
    layers, options, increase_steps, share_steps = layers[kept], options[kept], increase_steps[kept], share_steps[kept]
    first, second = np.triu_indices(len(layers))
    is_pair = (layers[first] != layers[second]) | (first == second)
    first, second = first[is_pair], second[is_pair]
    both = (first != second).astype(np.float64)  # a change paired with itself stands for that change alone
    values = reward(
        start[0] + increase_steps[first] + both * increase_steps[second],
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
    center: IntArray, increases: Sequence[FloatArray], shares: Sequence[FloatArray]
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Return layer, new choice, and steps of loss increase and share of the undominated changes of one layer."""
    layers, options, increase_steps, share_steps = [], [], [], []
    for layer, (increase, share) in enumerate(zip(increases, shares, strict=True)):
        others = np.flatnonzero(np.arange(len(increase)) != center[layer])
        kept = others[pareto_front(share[others], increase[others])]
        if not len(kept):
            continue
        layers.append(np.full(len(kept), layer))
        options.append(kept)
        increase_steps.append(increase[kept] - increase[center[layer]])
        share_steps.append(share[kept] - share[center[layer]])
    if not layers:
        nothing = np.zeros(0)
        return nothing.astype(np.int64), nothing.astype(np.int64), nothing, nothing
    return np.concatenate(layers), np.concatenate(options), np.concatenate(increase_steps), np.concatenate(share_steps)
