"""One block of memory for all buffers of a program: which live at the same time must not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_TRIES = 400
"""Random changes of the best order, where that has a gap to the lower bound."""


@dataclass(frozen=True)
class Lifetime:
    """A block that is needed from step `first` to step `last`, both included, of `size` bytes."""

    first: int
    last: int
    size: int


@dataclass(frozen=True)
class Arena:
    """Where blocks lie.

    Attributes:
        offsets: of each block.
        size: bytes of the arena: its peak.
        lower_bound: the most bytes that are alive in one step; no arena is smaller.
    """

    offsets: tuple[int, ...]
    size: int
    lower_bound: int


def plan_arena(blocks: Sequence[Lifetime]) -> Arena:
    """Place blocks by first fit, in several orders and random changes of the best of them (of a fixed seed).

    After the greedy orders of Pisarchyk and Lee, "Efficient memory management for deep neural net inference" (2020).
    """
    bound = find_lower_bound(blocks)
    indices = range(len(blocks))
    orders = [
        sorted(indices, key=lambda i: (-blocks[i].size, blocks[i].first)),
        sorted(indices, key=lambda i: (-blocks[i].size * (blocks[i].last - blocks[i].first + 1), blocks[i].first)),
        sorted(indices, key=lambda i: (blocks[i].first, -blocks[i].size)),
        sorted(indices, key=lambda i: (-_load(blocks, blocks[i]), -blocks[i].size)),
    ]
    placed = [(_place(blocks, order), order) for order in orders]
    (offsets, size), order = min(placed, key=lambda found: found[0][1])
    generator = np.random.default_rng(0)
    for _ in range(_TRIES if len(blocks) > 1 else 0):
        if size <= bound:
            break
        changed = list(order)
        one, other = generator.integers(len(order), size=2).tolist()
        changed.insert(other, changed.pop(one))
        found = _place(blocks, changed)
        if found[1] <= size:
            (offsets, size), order = found, changed
    return Arena(tuple(offsets), size, bound)


def find_lower_bound(blocks: Sequence[Lifetime]) -> int:
    """Return the most bytes that are alive in one step."""
    return max((_load(blocks, block, at_start=True) for block in blocks), default=0)


def _load(blocks: Sequence[Lifetime], block: Lifetime, *, at_start: bool = False) -> int:
    """Return how many bytes live in the step in which a block begins, or in any in which it lives."""
    last = block.first if at_start else block.last
    return sum(other.size for other in blocks if other.first <= last and block.first <= other.last)


def _place(blocks: Sequence[Lifetime], order: Sequence[int]) -> tuple[list[int], int]:
    """Place each block at the lowest offset at which it overlaps none of those before it."""
    offsets = [0] * len(blocks)
    done: list[int] = []
    for index in order:
        block = blocks[index]
        others = sorted(
            (offsets[i], offsets[i] + blocks[i].size)
            for i in done
            if blocks[i].first <= block.last and block.first <= blocks[i].last
        )
        offset = 0
        for start, stop in others:
            if start - offset >= block.size:
                break
            offset = max(offset, stop)
        offsets[index] = offset
        done.append(index)
    return offsets, max((offset + block.size for offset, block in zip(offsets, blocks, strict=True)), default=0)
