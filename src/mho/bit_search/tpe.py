"""`tpe`: the tree-structured Parzen estimator of Optuna, on the reward.

Two densities of widths are fitted, one to the best policies and one to the others; what is proposed is likely under the
first and unlikely under the second (Bergstra et al., NeurIPS 2011). What an evaluation is worth depends on the loss
that may be allowed, which is known better the more was evaluated; so before each proposal all records are valued anew.
Where the whole front is wanted, policies have two values, cost and loss, and the best are those of the least rank.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import create_trial

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal, excess_losses
from mho.bit_search.initial_policies import first_policies
from mho.bit_search.optuna_space import PolicyCodec, quiet
from mho.bit_search.sensitivity import SensitivityPrior
from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import draw_new, is_within
from mho.policy import Policy

FIRST = 10
MAX_ASKS = 50
"""Proposals that are drawn until one is new."""


class TpeSearch:
    """The Parzen estimator (see the module); `prior`: of the layers' sensitivities, for the first policies."""

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
        self._records: dict[Policy, EvaluationRecord] = {}
        self._codec = PolicyCodec(space)
        self._first = first_policies(space, goal, min(FIRST, max(2, budget // 2)), generator, prior)
        with quiet():
            self._sampler = TPESampler(n_startup_trials=len(self._first), seed=int(generator.integers(2**31)))

    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        """Return the first proposal that was not evaluated before; None where all policies were.

        Pending policies count as bad as the worst, so that proposals keep away from them.
        """
        known = {*self._records, *pending}
        if self._space.is_exhausted(known):
            return None
        self._first = [policy for policy in self._first if policy not in known]
        if self._first:
            return self._first.pop(0)
        with quiet():
            directions = [StudyDirection.MAXIMIZE] * (2 if self._goal.whole_front else 1)
            study = optuna.create_study(directions=directions, sampler=self._sampler)
            worths = self._values_of(pending)
            study.add_trials([self._as_trial(policy, worth) for policy, worth in worths.items()])
            for _ in range(MAX_ASKS):
                trial = study.ask(self._codec.distributions)
                policy = self._codec.decode(trial.params)
                if policy not in known and is_within(self._space, self._goal, policy):
                    return policy
                study.tell(trial, worths[policy] if policy in worths else self._values(policy, 0.0))
        return draw_new(self._space, self._goal, self._generator, known)

    def tell(self, record: EvaluationRecord) -> None:
        """Keep the record."""
        self._records[record.policy] = record

    def _values_of(self, pending: Collection[Policy]) -> dict[Policy, list[float]]:
        """Return what every policy of the space is worth that was evaluated, or is pending: the more, the better."""
        losses, unit = excess_losses(self._goal, list(self._records.values()))
        worths = {
            policy: self._values(policy, max(excess, 0.0) / unit)
            for policy, excess in zip(self._records, losses.tolist(), strict=True)
            if self._space.contains(policy)
        }
        worst = [min(values) for values in zip(*worths.values(), strict=True)]
        return worths | {policy: worst for policy in pending if worst and self._space.contains(policy)}

    def _values(self, policy: Policy, increase: float) -> list[float]:
        """Return the reward of a policy; on the whole front its cost and its loss increase, both turned round."""
        share = self._space.cost_of(policy) / self._space.reference_cost
        return [-math.log(share), -increase] if self._goal.whole_front else [float(self._goal.reward(increase, share))]

    def _as_trial(self, policy: Policy, worth: list[float]) -> optuna.trial.FrozenTrial:
        return create_trial(params=self._codec.encode(policy), distributions=self._codec.distributions, values=worth)
