"""`exact`: a model of the loss that bits cost, its best policy by a mixed-integer program, then local search.

Every evaluation refits the Bayesian model of `bit_search.sensitivity`. What costs is known, so the policy that is best
in the model is found exactly (`bit_search.knapsack`). It is evaluated, which mends the model where it was wrong.
Turns take the posterior mode and posterior samples (Thompson sampling) alternately; after
`LOCAL_FROM` evaluations every third turn changes one or two layers of the best policy so far instead, whose loss
increase was measured, so that what the model cannot express (layers that act together) does not mislead the end of a
search.

Within a cost budget the program's parts change places: least loss increase within the budget. Where the whole front is
wanted, each turn draws a budget of its own.

Where costs do not add up over layers, the program takes the sums that are near them, several times with costs that are
a little off; of these and their neighbours the true cost decides. The sum that may be spent within a budget is found by
trying.

A space of few policies is searched to its proven optimum: the method ends when every policy that could win was
evaluated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.choice_tables import ChoiceTables
from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal, budget_reward, excess_losses
from mho.bit_search.incumbent import neighbours_of_incumbent, promising_costs
from mho.bit_search.initial_policies import spread_policies
from mho.bit_search.knapsack import BUDGET_TRIES, add_up, solve_knapsack, solve_within_cost
from mho.bit_search.local_search import neighbours
from mho.bit_search.sensitivity import SensitivityModel, SensitivityPrior
from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import draw_new, is_within, searches_all
from mho.policy import Policy

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FIRST = 6
"""Policies that are evaluated before the model proposes any."""
FIT_FROM = 4
LOCAL_FROM = 40
NEIGHBOURS, TRUE_NEIGHBOURS, NEAR_PROGRAMS, COST_JITTER = 4000, 16, 4, 0.1


class ExactSearch:
    """The exact method (see the module); `prior`: of the layers' sensitivities, for the model to start from."""

    def __init__(
        self,
        space: SearchSpace,
        goal: Goal,
        budget: int,
        generator: np.random.Generator,
        *,
        prior: SensitivityPrior | None = None,
    ) -> None:
        self._space, self._goal, self._generator = space, goal, generator
        self._tables = ChoiceTables(space)
        self._shares = self._tables.by_layer(self._tables.shares)
        self._is_additive = space.adds_up
        self._model = SensitivityModel(space.layer_names, prior, self._tables.operands)
        self._records: dict[Policy, EvaluationRecord] = {}
        self._first = spread_policies(self._tables, goal, self._model, min(FIRST, max(1, budget // 3)), generator)
        self._known: set[Policy] = set()
        self._turn, self._level, self._is_fitted = 0, 1.0, True
        self._all = _AllPolicies(self._tables) if searches_all(space, budget) else None

    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        """Return the next policy; None where none is left that could win."""
        self._known = {*self._records, *pending}
        self._first = [policy for policy in self._first if policy not in self._known]
        if self._first and len(self._records) <= FIRST:
            return self._first.pop(0)
        self._turn += 1
        self._refit()
        increases = self._increases(self._generator if self._turn % 2 else None)
        if self._goal.whole_front:
            self._level = self._draw_level()
        records = list(self._records.values())
        if self._all is not None:
            return self._all.pick(
                self._worth, increases, self._known, promising_costs(self._space, self._goal, records)
            )
        candidates = self._best_in_model(increases)
        if len(records) >= LOCAL_FROM and self._turn % 3 == 0 and not self._goal.whole_front:
            near = neighbours_of_incumbent(self._tables, self._goal, records, increases, self._reward, NEIGHBOURS)
            candidates = itertools.chain(near, candidates)
        new = (p for p in candidates if p not in self._known and is_within(self._space, self._goal, p))
        few = list(itertools.islice(new, 1 if self._is_additive else NEAR_PROGRAMS + TRUE_NEIGHBOURS))
        return self._best_of(few, increases) if few else self._draw()

    def tell(self, record: EvaluationRecord) -> None:
        """Keep a record, of any method; the model is refitted before the next proposal."""
        self._records[record.policy] = record
        self._is_fitted = False

    def _refit(self) -> None:
        """Fit the model to all records, where there are new ones."""
        if not self._is_fitted and len(self._records) >= FIT_FROM:
            self._is_fitted = True
            records = list(self._records.values())
            self._model.fit([record.policy for record in records], *excess_losses(self._goal, records))

    def _increases(self, generator: np.random.Generator | None) -> list[FloatArray]:
        return self._tables.by_layer(self._tables.increases(self._model.increases(generator)))

    def _best_in_model(self, increases: list[FloatArray]) -> Iterator[Policy]:
        """Yield the best policy in the model, others that are best if costs are a little off, then its neighbours."""
        chosen = self._solve(increases, self._shares)
        yield self._tables.policy(chosen)
        for _ in range(0 if self._is_additive else NEAR_PROGRAMS - 1):
            jittered = [share * self._generator.lognormal(0.0, COST_JITTER, len(share)) for share in self._shares]
            yield self._tables.policy(self._solve(increases, jittered))
        start = add_up(increases, chosen), add_up(self._shares, chosen)
        for numbers in neighbours(chosen, increases, self._shares, start, self._reward, NEIGHBOURS):
            yield self._tables.policy(numbers)

    def _solve(self, increases: list[FloatArray], shares: list[FloatArray]) -> IntArray:
        """Return the cheapest choices within the allowed loss increase, or the best ones within the budget."""
        if self._goal.whole_front:
            chosen = solve_knapsack(increases, shares, self._level ** (1.0 / self._space.objective.exponent))
        elif self._goal.cost_budget is not None:
            chosen = self._solve_within_budget(increases, shares)
        else:
            chosen = solve_knapsack(shares, increases, 1.0)
        if chosen is not None:
            return chosen
        scarce = shares if self._goal.whole_front or self._goal.cost_budget is not None else increases
        return np.array([part.argmin() for part in scarce])

    def _solve_within_budget(self, increases: list[FloatArray], shares: list[FloatArray]) -> IntArray | None:
        """Return the choices of the least loss increase whose true cost is within the budget, if any are found."""
        assert self._goal.cost_budget is not None
        power, budget = 1.0 / self._space.objective.exponent, self._goal.cost_budget
        return solve_within_cost(
            increases, shares, budget, lambda chosen: self._space.cost_of(self._tables.policy(chosen)),
            capacity=(budget / self._space.reference_cost) ** power, power=power,
            tries=1 if self._is_additive else BUDGET_TRIES,
        )  # fmt: skip

    def _best_of(self, policies: Sequence[Policy], increases: list[FloatArray]) -> Policy:
        """Return the policy of the highest reward by true cost; a single one is returned as it is."""
        if len(policies) == 1:
            return policies[0]
        increase = np.array([add_up(increases, self._tables.row(policy)) for policy in policies])
        share = np.array([self._space.cost_of(policy) / self._space.reference_cost for policy in policies])
        return policies[int(np.argmax(self._worth(increase, share)))]

    def _worth(self, increase: FloatArray, share: FloatArray) -> FloatArray:
        """Return the reward of loss increases and true cost shares; on the whole front that of this turn."""
        return (
            budget_reward(increase, share / self._level)
            if self._goal.whole_front
            else self._goal.reward(increase, share)
        )

    def _reward(self, increase: FloatArray, share: FloatArray) -> FloatArray:
        """Return the reward of loss increases and sums of shares."""
        return self._worth(np.maximum(increase, 0.0), np.maximum(share, 1e-12) ** self._space.objective.exponent)

    def _draw_level(self) -> float:
        """Draw a cost share between those of the cheapest and the most expensive policy, log-uniformly."""
        least, most = (sum(float(pick(share)) for share in self._shares) for pick in (np.min, np.max))
        level = least * (most / least) ** self._generator.random()
        return float(level**self._space.objective.exponent)

    def _draw(self) -> Policy | None:
        """Return a policy that was not evaluated, if a few draws find one; None where there is none."""
        if self._space.is_exhausted(self._known):
            return None
        return draw_new(self._space, self._goal, self._generator, self._known)


class _AllPolicies:
    """Every policy of a small space with its cost."""

    def __init__(self, tables: ChoiceTables) -> None:
        counts = (range(len(layer.choices)) for layer in tables.space.layers)
        self._numbers = np.array(list(itertools.product(*counts)))
        self._policies = [tables.policy(chosen) for chosen in self._numbers]
        self._costs = np.array([tables.space.cost_of(policy) for policy in self._policies])
        self._shares = self._costs / tables.space.reference_cost

    def pick(
        self,
        worth: Callable[[FloatArray, FloatArray], FloatArray],
        increases: list[FloatArray],
        known: Collection[Policy],
        could_win: Callable[[int], bool],
    ) -> Policy | None:
        """Return, of the policies that may win, the one of most worth in the model; None: no such."""
        increase = np.sum([part[numbers] for part, numbers in zip(increases, self._numbers.T, strict=True)], axis=0)
        places = np.argsort(-worth(increase, self._shares), kind="stable")
        promising = (self._policies[k] for k in places if could_win(int(self._costs[k])))
        return next((policy for policy in promising if policy not in known), None)
