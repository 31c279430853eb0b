"""One choice for every layer, so that one sum is least and another stays within a limit: a mixed-integer program.

The multiple-choice knapsack problem (Sinha and Zoltners, Operations Research 27(3), 1979), solved by HiGHS to the
optimum. Whether costs are made least within a loss, or the loss within costs, is a matter of which is handed in as
what.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mho.errors import MhoError
from mho.linear_programs import UNBOUNDED, minimize
from mho.pareto import pareto_front

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BUDGET_TRIES = 5
"""Programs that find which sum of layers' costs a budget is worth."""
_SCALE = 1e3
"""What the largest possible sum of values becomes for the solver: its tolerances are absolute, 1e-7 and less."""
_ROUNDING = 1e-12
"""Share of the capacity that sums may be off by rounding; what was chosen is added up again."""
_SOLVER_OPTIONS = {"random_seed": 0, "mip_rel_gap": 0.0, "mip_abs_gap": 1e-6, "time_limit": 60.0}
"""A program takes a fraction of a second; a solver that ran for a minute would be stuck."""


def solve_knapsack(values: Sequence[FloatArray], weights: Sequence[FloatArray], capacity: float) -> IntArray | None:
    """Choose one option of every layer: the least sum of values whose sum of weights is no more than `capacity`.

    Args:
        values: float64 [options] for each layer, >= 0: what is made least.
        weights: float64 [options] for each layer, >= 0: what is limited.
        capacity: the limit, inclusive.

    Returns:
        int64 [layers], the option of each layer; None where nothing fits. It is the optimum, up to 1e-9 of the
        largest possible sum of values.

    Raises:
        MhoError: the solver ended without an answer.
    """
    slack = capacity - sum(float(weight.min()) for weight in weights)
    if slack < 0.0:
        return None
    kept = [pareto_front(weight, value) for value, weight in zip(values, weights, strict=True)]
    slack += _ROUNDING * capacity
    kept = [k[weight[k] - weight.min() <= slack] for k, weight in zip(kept, weights, strict=True)]
    kept_values = [value[k] for value, k in zip(values, kept, strict=True)]
    kept_weights = [weight[k] for weight, k in zip(weights, kept, strict=True)]
    excluded: list[IntArray] = []
    while (chosen := _solve(kept_values, kept_weights, slack, excluded)) is not None:
        total = sum(float(weight[k]) for weight, k in zip(kept_weights, chosen, strict=True))
        if total <= capacity:
            return np.array([k[option] for k, option in zip(kept, chosen, strict=True)])
        excluded.append(chosen)  # only within the solver's tolerance
    return None


def solve_within_cost(
    values: Sequence[FloatArray],
    weights: Sequence[FloatArray],
    budget: int,
    cost_of: Callable[[IntArray], int],
    *,
    capacity: float,
    power: float = 1.0,
    tries: int = BUDGET_TRIES,
) -> IntArray | None:
    """Choose one option of every layer: the least sum of values whose cost is within a budget.

    The sum of weights is near the cost, or its power; which sum the budget is worth is found by trying.

    Args:
        values, weights: as for `solve_knapsack`.
        budget: the limit of the cost, inclusive, above 0.
        cost_of: cost of one option of each layer, int64 [layers]; above 0.
        capacity: of the first program: what the budget is worth if sums of weights are in proportion to costs.
        power: a sum of weights is in proportion to the cost to the power of it.
        tries: programs; 1 where sums of weights are exactly in proportion to costs.

    Returns:
        int64 [layers], the option of each layer; None where none was found that fits.

    Raises:
        MhoError: the solver ended without an answer.
    """
    best: tuple[float, IntArray] | None = None
    for _ in range(tries):
        chosen = solve_knapsack(values, weights, capacity)
        if chosen is None:
            break
        cost, total = cost_of(chosen), add_up(values, chosen)
        if cost <= budget and (best is None or total < best[0]):
            best = total, chosen
        # A little more than fits shows where the limit lies; a little less will fit.
        capacity *= (budget / cost) ** power * (1.01 if cost <= budget else 0.995)
    return None if best is None else best[1]


def add_up(parts: Sequence[FloatArray], chosen: IntArray) -> float:
    """Return the sum of what the chosen options of the layers have."""
    return float(sum(part[number] for part, number in zip(parts, chosen, strict=True)))


def _solve(
    values: Sequence[FloatArray], weights: Sequence[FloatArray], slack: float, excluded: Sequence[IntArray]
) -> IntArray | None:
    """Solve once; `slack` is what the least weights leave of the capacity."""
    sizes = [len(value) for value in values]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    columns, layers = int(starts[-1]), len(sizes)
    matrix = np.zeros((layers + 1 + len(excluded), columns))
    matrix[np.repeat(np.arange(layers), sizes), np.arange(columns)] = 1.0
    unit = slack if slack > 0.0 else 1.0
    matrix[layers] = np.concatenate([weight - weight.min() for weight in weights]) / unit
    for row, chosen in enumerate(excluded, start=layers + 1):
        matrix[row, starts[:-1] + chosen] = 1.0
    lower = np.concatenate([np.ones(layers), np.full(1 + len(excluded), -UNBOUNDED)])
    upper = np.concatenate([np.ones(layers), [slack / unit], np.full(len(excluded), layers - 1.0)])
    largest = sum(float(value.max()) for value in values) or 1.0
    objective = np.concatenate(list(values)) * (_SCALE / largest)
    found = minimize(
        objective, matrix, (lower, upper), most=1.0, integer=np.ones(columns, np.bool_), options=_SOLVER_OPTIONS
    )
    if not found.is_feasible:
        return None
    if not found.is_optimal:
        raise MhoError(
            f"the solver ended with {found.status!r}",
            where="exact search",
            hint="use another method, and report this with the configuration",
        )
    return np.array([int(found.values[a:b].argmax()) for a, b in itertools.pairwise(starts)])
