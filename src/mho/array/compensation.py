"""Digits of good cells that make up for stuck ones: cells that count for the same weight can stand in for each other.

Cells of a weight are all that meet the same codes and count for the same result: slices of it, its positive and its
negative part. What a stuck cell takes from their sum, the others may add, as far as their digits reach: so a cell that
is stuck in the highest level is made up for by one that counts with the opposite sign, and a lost high digit in part by
lower ones.

Of each weight, digits are changed from the highest significance down: each takes what brings the rest into the reach of
the lower ones, or as near to it as it can. That is the nearest sum where lower digits reach every whole number between
their ends, as slices do whose neighbours are 2^cell_bits apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.array.placement import FaultCosts

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NO_WEIGHT = -1


@dataclass(frozen=True, eq=False)
class WeightCells:
    """Which cells count for the same weights.

    Attributes:
        weight: int64 [rows, cols], number of the weight that a cell counts for, or `NO_WEIGHT`.
        coefficient: int64 [rows, cols], a signed power of two: what a level step of the cell counts for in the weight.
        significance: float64 [rows, cols], 0..1, what a level step of a cell counts for, as a part of the most that any
            does: of one weight, in proportion to coefficients.
    """

    weight: Integers
    coefficient: Integers
    significance: Floats

    def weigh(self, digits: NDArray[np.integer], span: int) -> FaultCosts:
        """Return what each stuck cell costs that is the only one of its weight, after the others made up for it.

        Args:
            digits: [rows, cols], what is written.
            span: the highest digit; levels are linear.
        """
        cells = np.nonzero(self.weight != NO_WEIGHT)
        owner, exponent = self.weight[cells], _exponents(self.coefficient[cells])
        coefficient, held = self.coefficient[cells], digits[cells].astype(np.int64)
        scale = self.significance[cells] / (np.abs(coefficient) * span)
        up, down = _reaches(coefficient, held, span)
        reach_up, reach_down = (_add_up(owner, exponent, reach) for reach in (up, down))
        costs = []
        for stuck_at in (span, 0):
            own_up, own_down = reach_up[owner], reach_down[owner]
            places = np.arange(len(owner)), exponent
            own_up[places] -= up
            own_down[places] -= down
            left = _make_up(coefficient * (held - stuck_at), own_up, own_down)[1]
            cost = np.zeros(digits.shape)
            cost[cells] = (left * scale) ** 2
            costs.append(cost)
        return FaultCosts.rounded(*costs)

    def compensate(
        self, digits: NDArray[np.integer], stuck: NDArray[np.int8], span: int
    ) -> tuple[Integers, int, float]:
        """Return digits that make up for stuck cells, the deviating cells that none made up for, and what is left.

        Args:
            digits: [rows, cols], what is meant.
            stuck: int8 [rows, cols], of the cells on which they lie, as for `FaultCosts.measure`.
            span: the highest digit; levels are linear.

        Returns:
            int64 [rows, cols]; digits of stuck cells are as they were. The cost is the sum over weights of the squares
            of what is left, in parts of the most that a cell makes.
        """
        held, (wrong, weights, position, missing) = digits.astype(np.int64), self._find(digits, stuck, span)
        if not len(weights):
            return held, 0, 0.0
        number = np.full(int(self.weight.max()) + 2, NO_WEIGHT)
        number[weights] = np.arange(len(weights))
        cells = np.nonzero((number[self.weight] != NO_WEIGHT) & (stuck == 0))
        owner, coefficient = number[self.weight[cells]], self.coefficient[cells]
        exponent, (up, down) = _exponents(coefficient), _reaches(coefficient, held[cells], span)
        levels = int(exponent.max(initial=0)) + 1
        reaches = (_add_up(owner, exponent, reach, (len(weights), levels)) for reach in (up, down))
        change, left = _make_up(missing, *reaches)
        held[cells] += _share_out(change, owner, exponent, coefficient, up, down)
        return held, *self._weigh_rest(wrong, position, left, span)

    def measure(self, digits: NDArray[np.integer], stuck: NDArray[np.int8], span: int) -> tuple[int, float]:
        """Return the cells of weights that deviate, and the cost, as `compensate` does, where nothing makes up."""
        wrong, _, position, missing = self._find(digits, stuck, span)
        return self._weigh_rest(wrong, position, missing, span)

    def _find(
        self, digits: NDArray[np.integer], stuck: NDArray[np.int8], span: int
    ) -> tuple[NDArray[np.bool_], Integers, Integers, Integers]:
        """Return the cells that deviate, their weights, the place of each cell's among these, and what these miss."""
        held = digits.astype(np.int64)
        lost = np.where(stuck > 0, held - span, np.where(stuck < 0, held, 0))
        wrong = (lost != 0) & (self.weight != NO_WEIGHT)
        weights, position = np.unique(self.weight[wrong], return_inverse=True)
        missing = np.zeros(len(weights), dtype=np.int64)
        np.add.at(missing, position, (self.coefficient * lost)[wrong])
        return wrong, weights, position, missing

    def _weigh_rest(self, wrong: NDArray[np.bool_], position: Integers, left: Integers, span: int) -> tuple[int, float]:
        """Return how many of the cells that deviate are of weights of which something is left, and its cost."""
        scale = np.zeros(len(left))
        scale[position] = self.significance[wrong] / (np.abs(self.coefficient[wrong]) * span)
        return int((left[position] != 0).sum()), float(((left * scale) ** 2).sum())


def _exponents(coefficient: Integers) -> Integers:
    """Return log2 of the magnitudes of powers of two, int64."""
    return np.frexp(np.abs(coefficient).astype(np.float64))[1].astype(np.int64) - 1


def _reaches(coefficient: Integers, held: Integers, span: int) -> tuple[Integers, Integers]:
    """Return how far cells can raise and lower the sum, in steps of their significance."""
    more, less = span - held, held
    return np.where(coefficient > 0, more, less), np.where(coefficient > 0, less, more)


def _add_up(owner: Integers, exponent: Integers, reach: Integers, shape: tuple[int, int] | None = None) -> Integers:
    """Return the reach of all cells of a weight with the same significance, int64 [weights, exponents]."""
    sizes = (int(owner.max(initial=-1)) + 1, int(exponent.max(initial=0)) + 1) if shape is None else shape
    total = np.zeros(sizes, dtype=np.int64)
    np.add.at(total, (owner, exponent), reach)
    return total


def _make_up(missing: Integers, up: Integers, down: Integers) -> tuple[Integers, Integers]:
    """Return the changes by significance that add up to what is missing, and what is left of it.

    Args:
        missing: int64 [weights].
        up, down: int64 [weights, exponents], how far each significance can raise and lower the sum, in its steps.

    Returns:
        int64 [weights, exponents], in steps, and [weights].
    """
    left, change = missing.copy(), np.zeros_like(up)
    steps = np.int64(1) << np.arange(up.shape[1], dtype=np.int64)
    above = np.cumsum(up * steps, axis=1) - up * steps  # what all lower ones can raise
    below = np.cumsum(down * steps, axis=1) - down * steps
    for exponent in range(up.shape[1] - 1, -1, -1):
        step, higher, lower = steps[exponent], above[:, exponent], below[:, exponent]
        # From `least` to `most`, lower ones reach the rest; where no change does, one of these two comes nearest.
        least, most = -((higher - left) // step), (left + lower) // step
        is_reached = least <= most
        first = np.where(is_reached, np.clip(0, least, np.maximum(least, most)), most)
        tried = [
            np.clip(one, -down[:, exponent], up[:, exponent]) for one in (first, np.where(is_reached, first, least))
        ]
        beyond = [np.maximum(left - step * one - higher, step * one - left - lower) for one in tried]
        change[:, exponent] = np.where(beyond[0] <= beyond[1], *tried)
        left = left - change[:, exponent] * step
    return change, left


def _share_out(
    change: Integers, owner: Integers, exponent: Integers, coefficient: Integers, up: Integers, down: Integers
) -> Integers:
    """Return how the digit of each cell changes, int64 [cells], cells of a weight in turn."""
    order = np.lexsort((np.arange(len(owner)), exponent, owner))
    wanted = change[owner[order], exponent[order]]
    reach = np.where(wanted > 0, up[order], down[order])
    key = owner[order] * (change.shape[1] + 1) + exponent[order]
    before = np.cumsum(reach) - reach
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.zeros(0, dtype=np.int64)
    sizes = np.diff(np.append(starts, len(key)))
    before -= np.repeat(before[starts], sizes)
    taken = np.sign(wanted) * np.clip(np.abs(wanted) - before, 0, reach)
    changes = np.zeros(len(owner), dtype=np.int64)
    changes[order] = taken * np.sign(coefficient[order])
    return changes
