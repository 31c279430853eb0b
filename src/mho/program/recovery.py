"""The integers of a layer, taken back from the cells of its tiles: all that anybody knows of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.program.region import Integers

_BLOCK_CELLS = 1 << 22

Lines = slice | Integers


@dataclass(frozen=True)
class Rank:
    """Lines (rows or columns) of an encoded matrix of which no two belong to the same element.

    Attributes:
        lines, elements: numbers of the lines, and of the element that each belongs to.
        weights: float [lines].
    """

    lines: Lines
    elements: Lines
    weights: NDArray[Any]


def rank_lines(lines: Integers, elements: Integers, weights: Integers, dtype: type[np.floating[Any]]) -> list[Rank]:
    """Sort lines into ranks: the first of every element, the second of every element, and so on."""
    order = np.argsort(elements, kind="stable")
    starts = np.flatnonzero(np.diff(elements[order], prepend=-1))
    rank = np.arange(order.size) - np.repeat(starts, np.diff(starts, append=order.size))
    ranks = []
    for value in range(int(rank.max(initial=-1)) + 1):
        of_rank = order[rank == value]
        ranks.append(Rank(as_lines(lines[of_rank]), as_lines(elements[of_rank]), weights[of_rank].astype(dtype)))
    return ranks


def recombine(cells: NDArray[np.uint8], rows: list[Rank], columns: list[Rank], shape: tuple[int, int]) -> NDArray[Any]:
    """Return what cells hold: the sum over the rows of an input and the columns of an output of weight times cell.

    Args:
        cells: [matrices, rows, cols].
        rows, columns: which element, 0 .. shape - 1, each line belongs to.
        shape: outputs and inputs.

    Returns:
        [matrices, outputs, inputs], in the type of the weights.
    """
    dtype = columns[0].weights.dtype
    total = np.zeros((cells.shape[0], *shape), dtype)
    step = max(1, _BLOCK_CELLS // (cells.shape[0] * cells.shape[2]))
    for row in rows:
        for start in range(0, len(row.weights), step):
            block, weights = cells[:, part_of(row.lines, start, step)], row.weights[start : start + step]
            partial = np.zeros((*block.shape[:2], shape[0]), dtype)
            for column in columns:
                partial[:, :, column.elements] += block[:, :, column.lines] * column.weights
            partial *= weights[:, None]
            total[:, :, part_of(row.elements, start, step)] += partial.swapaxes(1, 2)
    return total


def as_lines(indices: Integers) -> Lines:
    """Return evenly spaced ascending indices as a slice, which NumPy reads without gathering."""
    if indices.size == 1:
        return slice(int(indices[0]), int(indices[0]) + 1)
    step = int(indices[1] - indices[0]) if indices.size else 0
    is_even = step > 0 and bool((np.diff(indices) == step).all())
    return slice(int(indices[0]), int(indices[-1]) + 1, step) if is_even else indices


def part_of(lines: Lines, start: int, count: int) -> Lines:
    """Return `count` of the lines, from number `start` on."""
    if not isinstance(lines, slice):
        return lines[start : start + count]
    step = lines.step or 1
    return slice(lines.start + start * step, min(lines.start + (start + count) * step, lines.stop), step)
