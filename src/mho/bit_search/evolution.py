"""`evolution`: generations of policies that are crossed and mutated, with Optuna's NSGA-II.

Optuna gets each policy with two values, the logarithm of its cost and its loss. Parents are drawn as NSGA-II
draws them (Deb et al., IEEE Transactions on Evolutionary Computation 6(2), 2002): of two, the one that is better in
both goes first. Who survives a generation is the policies of the highest reward (`bit_search.goal`), by all that
is known by then, so the population gathers where the goal lies; where the whole front is wanted, NSGA-II's own choice
by rank and crowding. Mutation moves a width to the next one, up or down, as
a width drawn anew destroys most policies.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import optuna
from optuna.samplers import NSGAIISampler
from optuna.samplers.nsgaii import BaseMutation
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal, increase_unit
from mho.bit_search.initial_policies import first_policies
from mho.bit_search.optuna_space import PolicyCodec, quiet
from mho.bit_search.sensitivity import SensitivityPrior
from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import draw_new, is_within
from mho.policy import Policy

POPULATION = 10
CROSSOVER_SHARE, MUTATION_SHARE = 0.5, 0.08
"""Of children, how many have two parents; of their widths, how many are moved."""
MAX_ASKS = 50
"""Children that are drawn until one is new."""


class EvolutionSearch:
    """The evolutionary method (see the module); `prior`: of the layers' sensitivities, for the first generation."""

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
        self._trials: dict[Policy, Trial] = {}
        self._population = min(POPULATION, max(2, budget // 2))
        with quiet():
            sampler = _Generations(
                population_size=self._population,
                mutation=_Step(),
                mutation_prob=MUTATION_SHARE,
                crossover_prob=CROSSOVER_SHARE,
                seed=int(generator.integers(2**31)),
                elite_population_selection_strategy=None if goal.whole_front else self._survive,
            )
            self._study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
            for policy in first_policies(space, goal, self._population, generator, prior):
                self._study.enqueue_trial(self._codec.encode(policy))

    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        """Return a child that was not evaluated before; None where all policies were that may be."""
        known = {*self._records, *pending}
        if self._space.is_exhausted(known):
            return None
        with quiet():
            for _ in range(MAX_ASKS):
                trial = self._study.ask(self._codec.distributions)
                policy = self._codec.decode(trial.params)
                if policy not in known and is_within(self._space, self._goal, policy):
                    self._trials[policy] = trial
                    return policy
                self._study.tell(trial, state=TrialState.FAIL)
        return draw_new(self._space, self._goal, self._generator, known)

    def tell(self, record: EvaluationRecord) -> None:
        """Tell Optuna the cost and the loss of a policy; a failed one has none and no descendants."""
        is_new = record.policy not in self._records
        self._records[record.policy] = record
        trial = self._trials.pop(record.policy, None)
        if not is_new:
            return
        values = None
        if record.score is not None:
            values = [math.log(record.cost / self._space.reference_cost), record.score - self._goal.reference_score]
        with quiet():
            if trial is not None:
                self._study.tell(trial, values, TrialState.FAIL if values is None else TrialState.COMPLETE)
            elif values is not None and self._may_descend(record.policy):
                parameters, ranges = self._codec.encode(record.policy), self._codec.distributions
                self._study.add_trial(create_trial(params=parameters, distributions=ranges, values=values))

    def _may_descend(self, policy: Policy) -> bool:
        """Tell whether a policy of an earlier search, not proposed here, may have descendants."""
        return policy != self._space.reference_policy and self._space.contains(policy)

    def _survive(self, study: Study, population: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return the trials of the highest reward, as many as a generation has.

        A policy that several seeds measured counts with their mean, not with the value that its trial got.
        """
        del study
        unit = increase_unit(self._goal, list(self._records.values()))

        def reward(trial: FrozenTrial) -> float:
            record = self._records[self._codec.decode(trial.params)]
            if record.score is None:
                return -math.inf
            excess = max(record.score - self._goal.reference_score, 0.0)
            return float(self._goal.reward(excess / unit, record.cost / self._space.reference_cost))

        return sorted(population, key=reward, reverse=True)[: self._population]


class _Generations(NSGAIISampler):
    """NSGA-II whose generations are the finished trials in their order, those that were given beforehand included.

    Optuna leaves trials that were enqueued out of every generation.
    """

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        del trial
        return len(_finished(study)) // self._size

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        return _finished(study)[generation * self._size : (generation + 1) * self._size]

    @property
    def _size(self) -> int:
        assert self.population_size is not None
        return self.population_size


def _finished(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


class _Step(BaseMutation):
    """Moves a parameter by one, up or down; Optuna holds it within its range."""

    def mutation(
        self, param: float, rng: np.random.RandomState, study: Study, search_space_bounds: np.ndarray
    ) -> float:
        del study, search_space_bounds
        return param + (1.0 if rng.random_sample() < 0.5 else -1.0)
