"""The linear relaxation of choosing copies: a bound in exact integers from the paths of a pool.

Weigh the paths with w >= 0 and put a price m >= 0 on crossbars. For all copies d that fit on C crossbars, the longest
path is at least the weighted mean of paths, and

    sum(w) makespan >= sum over layers of min over d_l of (sum over paths w t(d_l) + m c_l d_l)  +  w fixed  -  m C,

because what was added, m (sum c d - C), is never positive. A linear program finds good weights and a good price in
floating point; they are rounded to integers, and the bound is evaluated in integers: it holds for *any* weights, so
that no tolerance of the solver enters it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.linear_programs import UNBOUNDED, minimize
from mho.scheduling.critical_path import PathPool
from mho.scheduling.heads_and_tails import CopyRange
from mho.scheduling.work_graph import Integers

Floats = NDArray[np.float64]

_WEIGHT_BITS = 24
"""Bits of the weights of paths, where 62 bits hold all sums."""

_MOST_ROUNDS = 40
"""Linear programs for one bound: few are needed; a bound that is not the best is a bound all the same."""

_MOST_COLUMNS = 2500
"""Columns of an integer program that is tried."""

_TREE_OPTIONS = {
    "mip_rel_gap": 5e-4,
    "mip_heuristic_effort": 0.0,
    "mip_allow_restart": False,
    "mip_detect_symmetry": False,
}
"""Of the solver, for branch and bound."""

_INTEGER_MARGIN = 1e-4
"""What is taken off the bound of branch and bound for its tolerances, as a share of the makespan."""

_TOLERANCE = 1e-7
"""Columns that lower the makespan by less, as a share of it, are not added."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The solution of the relaxation over a range of copies.

    Attributes:
        bound_ps: no schedule with copies in the range is shorter; exact.
        copies: float64 [layers], the mean of the copies that the program mixes.
        narrower: the part of the range in which a schedule may have at most the given length.
    """

    bound_ps: int
    copies: Floats
    narrower: CopyRange


@dataclass(frozen=True, eq=False)
class _Choices:
    """The possible numbers of copies of one layer: int64 [choices], their crossbars, and times [paths, choices], ps."""

    copies: Integers
    costs: Integers
    times: Integers


@dataclass(frozen=True, eq=False)
class _Solution:
    """Of a program: weights of paths, price of all crossbars, what layers pay, mean copies, bound on the minimum."""

    weights: Floats
    price: float
    paid: Floats
    copies: Floats
    bound: float


class Relaxation:
    """The relaxation of one graph on one chip; keeps the columns that it has generated.

    Args:
        pool: paths; may grow between calls.
        crossbars: of the chip.
    """

    def __init__(self, pool: PathPool, crossbars: int) -> None:
        self._pool, self._crossbars = pool, crossbars
        self._taken: list[Integers] = [np.zeros(0, np.int64) for _ in pool.names]

    def bound(self, within: CopyRange, length_ps: int) -> Relaxed:
        """Bound the makespan of all copies in a range that is not empty, and narrow it.

        Args:
            within: copies of each layer.
            length_ps: schedules that are longer do not matter.
        """
        choices = _list_choices(self._pool, within)
        solution = self._weigh(choices, length_ps)
        return _evaluate(self._pool, within, choices, solution, self._crossbars, length_ps)

    def bound_in_integers(self, within: CopyRange, length_ps: int, most_nodes: int) -> tuple[int, Integers] | None:
        """Bound the makespan of all copies in a range, one whole number for each layer, by branch and bound.

        The solver works in floating point with tolerances near 1e-6; a ten-thousandth is taken off what it proves.

        Args:
            within: copies of each layer.
            length_ps: schedules that are longer do not matter; where no copies fit, it is the bound.
            most_nodes: of the tree.

        Returns:
            The bound, ps, and the copies of the best solution, within the range; None where it has too many numbers.
        """
        choices = _list_choices(self._pool, within)
        useful = [_list_useful(choice) for choice in choices]
        if sum(map(len, useful)) > _MOST_COLUMNS:
            return None
        solution = _solve(self._pool, choices, useful, self._crossbars, length_ps, most_nodes)
        copies = np.clip(np.rint(solution.copies).astype(np.int64), within.least, within.most)
        if not np.isfinite(solution.bound):
            return (length_ps if solution.bound > 0 else 0), copies
        return max(0, int(np.ceil((solution.bound - _INTEGER_MARGIN) * length_ps))), copies

    def _weigh(self, choices: list[_Choices], length_ps: int) -> _Solution:
        """Solve the linear program by generating columns.

        Its columns are a few numbers of copies of each layer at first, then those that the prices of the last solution
        ask for.
        """
        for layer, choice in enumerate(choices):
            least, most = choice.copies[[0, -1]]
            kept = self._taken[layer][(self._taken[layer] >= least) & (self._taken[layer] <= most)]
            self._taken[layer] = np.union1d(kept, choice.copies[_list_first(len(choice.copies))])
        for _ in range(_MOST_ROUNDS):
            taken = [copies - choice.copies[0] for copies, choice in zip(self._taken, choices, strict=True)]
            solution = _solve(self._pool, choices, taken, self._crossbars, length_ps)
            fresh = False
            for layer, choice in enumerate(choices):
                costs = solution.weights @ choice.times / length_ps + solution.price * choice.costs / self._crossbars
                cheapest = int(np.argmin(costs))
                if costs[cheapest] < solution.paid[layer] - _TOLERANCE:
                    self._taken[layer], fresh = np.union1d(self._taken[layer], choice.copies[[cheapest]]), True
            if not fresh:
                break
        return solution


def _evaluate(
    pool: PathPool, within: CopyRange, choices: list[_Choices], solution: _Solution, crossbars: int, length_ps: int
) -> Relaxed:
    """Evaluate the bound in integers, for the weights and the price of a solution, rounded; narrow the range by it."""
    longest = int((pool.time_steps(within.least).sum(axis=1) + pool.fixed_ps).max())
    largest = longest + int(solution.price * length_ps)
    scale = 2 ** max(0, min(_WEIGHT_BITS, 61 - largest.bit_length())) / max(1.0, solution.weights.sum())
    weights: Integers = np.rint(solution.weights * scale).astype(np.int64)
    price = round(solution.price * length_ps / crossbars * scale)
    total = int(weights.sum())
    if not total:
        return Relaxed(0, solution.copies, within)
    costs = [weights @ choice.times + price * choice.costs for choice in choices]
    cheapest = [int(cost.min()) for cost in costs]
    value = sum(cheapest) + int(weights @ pool.fixed_ps) - price * crossbars
    slack = length_ps * total - value
    least, most = within.least.copy(), within.most.copy()
    for layer, (cost, low) in enumerate(zip(costs, cheapest, strict=True)):
        possible = np.flatnonzero(cost - low <= slack)
        if not len(possible):
            return Relaxed(-(-value // total), solution.copies, CopyRange(most + 1, most))
        least[layer], most[layer] = choices[layer].copies[possible[[0, -1]]]
    return Relaxed(-(-value // total), solution.copies, CopyRange(least, most))


def _list_choices(pool: PathPool, within: CopyRange) -> list[_Choices]:
    choices = []
    for layer, (least, most) in enumerate(zip(within.least, within.most, strict=True)):
        copies = np.arange(least, most + 1, dtype=np.int64)
        times = -(-pool.counts[:, layer, None] // copies) * pool.window_ps[layer]
        choices.append(_Choices(copies, copies * pool.graph.layers[layer].crossbars, times))
    return choices


def _list_useful(choice: _Choices) -> Integers:
    """List the columns that shorten some step in comparison with fewer copies."""
    better = np.concatenate([[True], (np.diff(choice.times, axis=1) != 0).any(axis=0)])
    return np.flatnonzero(better)


def _list_first(size: int) -> Integers:
    """List some of `size` columns: the first, the last, and between them steps that double."""
    return np.unique(np.append(2 ** np.arange(size.bit_length(), dtype=np.int64) - 1, size - 1))


def _solve(
    pool: PathPool, choices: list[_Choices], taken: list[Integers], crossbars: int, length_ps: int, most_nodes: int = 0
) -> _Solution:
    """Solve the program over some columns, in shares of `length_ps` and `crossbars`; in integers where nodes are given.

    Its rows are the paths, the budget, and one choice for each layer; its columns the choices and the makespan.
    """
    paths, sizes = len(pool), [len(columns) for columns in taken]
    layer_of = np.repeat(np.arange(len(choices)), sizes)
    times = np.concatenate([choice.times[:, columns] for choice, columns in zip(choices, taken, strict=True)], axis=1)
    costs = np.concatenate([choice.costs[columns] for choice, columns in zip(choices, taken, strict=True)])
    copies = np.concatenate([choice.copies[columns] for choice, columns in zip(choices, taken, strict=True)])
    matrix = np.zeros((paths + 1 + len(choices), len(layer_of) + 1))
    matrix[:paths, :-1], matrix[:paths, -1] = times / length_ps, -1.0
    matrix[paths, :-1] = costs / crossbars
    matrix[paths + 1 + layer_of, np.arange(len(layer_of))] = 1.0
    upper = np.concatenate([-pool.fixed_ps / length_ps, [1.0], np.ones(len(choices))])
    lower = np.concatenate([np.full(paths + 1, -UNBOUNDED), np.ones(len(choices))])
    is_makespan = np.arange(matrix.shape[1]) == len(layer_of)
    integer, options = (~is_makespan, _TREE_OPTIONS | {"mip_max_nodes": most_nodes}) if most_nodes else (None, None)
    found = minimize(is_makespan.astype(np.float64), matrix, (lower, upper), integer=integer, options=options)
    duals = found.duals
    mean = np.bincount(layer_of, weights=found.values[:-1] * copies, minlength=len(choices)).astype(np.float64)
    price = max(float(-duals[paths]), 0.0)
    return _Solution(np.maximum(-duals[:paths], 0.0), price, duals[paths + 1 :], mean, found.bound)
