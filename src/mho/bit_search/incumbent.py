"""The incumbent, the best policy so far: what could still replace it, and its neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.choice_tables import ChoiceTables
from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal, increase_unit, select_best
from mho.bit_search.local_search import neighbours
from mho.bit_search.space import SearchSpace
from mho.policy import Policy

FloatArray = NDArray[np.float64]


def find_incumbent(space: SearchSpace, goal: Goal, records: Sequence[EvaluationRecord]) -> EvaluationRecord | None:
    """Return the record of the best policy of the space so far; None where none would."""
    return select_best(goal, [record for record in records if space.contains(record.policy)])


def promising_costs(
    space: SearchSpace, goal: Goal, records: Sequence[EvaluationRecord], excess: float | None = None
) -> Callable[[int], bool]:
    """Return what tells whether a policy of some cost could win.

    That is a cost that the goal allows and, where the cheapest policy wins, one below that of the incumbent. On the
    whole front any cost; with `excess`, one below those of all policies whose loss exceeds the reference's by no more.
    """
    if goal.cost_budget is not None:
        return goal.allows
    if goal.whole_front:
        limit = -math.inf if excess is None else goal.reference_score + excess
        inside = (record for record in records if space.contains(record.policy))
        least = min((r.cost for r in inside if r.score is not None and r.score <= limit), default=math.inf)
        return lambda cost: cost < least
    incumbent = find_incumbent(space, goal, records)
    return lambda cost: incumbent is None or cost < incumbent.cost


def neighbours_of_incumbent(
    tables: ChoiceTables,
    goal: Goal,
    records: Sequence[EvaluationRecord],
    increases: Sequence[FloatArray],
    reward: Callable[[FloatArray, FloatArray], FloatArray],
    most: int,
) -> Iterator[Policy]:
    """Yield policies that change one layer or two of the incumbent and could replace it, by falling reward.

    Args:
        tables: choices and costs.
        goal: of the search.
        records: what was measured; the incumbent's loss increase is that measured.
        increases: of all choices, float64 [choices] for each layer, in units of `increase_unit`.
        reward: of loss increases and sums of cost shares.
        most: policies to yield at most.
    """
    incumbent = find_incumbent(tables.space, goal, records)
    if incumbent is None or incumbent.score is None:
        return
    center = tables.row(incumbent.policy)
    increase = max(incumbent.score - goal.reference_score, 0.0) / increase_unit(goal, list(records))
    share = float(tables.shares[np.arange(len(center)), center].sum())

    def worth(increase: FloatArray, shares: FloatArray) -> FloatArray:
        could_win = (shares < share * (1.0 - 1e-12)) | (goal.cost_budget is not None)
        return np.where(could_win, reward(np.maximum(increase, 0.0), shares), -np.inf)

    for row in neighbours(center, increases, tables.by_layer(tables.shares), (increase, share), worth, most):
        yield tables.policy(row)
