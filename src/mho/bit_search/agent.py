"""`rl`: an agent that learns in a model of the loss and looks ahead in it, because real evaluations are expensive.

Each evaluation teaches a small Bayesian model what every layer's bits cost in loss (`mho.bit_search.sensitivity`); what
they cost in time or energy is known. On samples of its posterior the agent, of stable-baselines3, simulates rollouts
that cost nothing (Dyna, Sutton 1990). Look-ahead improves them one choice, then two, at a time, and the agent learns
from the improved ones (`bit_search.learners`). What is evaluated next is the best of a few improved rollouts under one
sample of the model's posterior (Thompson sampling): where the model is unsure, choices get tried; where it is sure,
they get used.

The agent sees loss increases and costs of choices without units, and learns under many budgets and on jittered costs,
so that what it learned holds for other budgets, accelerators and networks (`mho.bit_search.agent_file`).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.agent_environment import PlanningEnvironment, action_at
from mho.bit_search.agent_file import SavedAgent
from mho.bit_search.choice_tables import ChoiceTables, FloatArray, Frontiers, Rows
from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal, excess_losses, increase_unit
from mho.bit_search.incumbent import neighbours_of_incumbent, promising_costs
from mho.bit_search.learners import Algorithm, TrainingSamples, make_learner
from mho.bit_search.local_search import exchange, improve, trade
from mho.bit_search.operands import BITS, WITH_ADC
from mho.bit_search.sensitivity import SensitivityModel, SensitivityPrior
from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import draw_new, draw_within
from mho.bit_search.torch_isolation import isolated
from mho.errors import ConfigError
from mho.policy import Policy

MIN_WARM_UP, MAX_WARM_UP = 4, 6
CANDIDATES, CANDIDATE_NOISE = 8, 0.4
INCUMBENTS = 2
"""How many of the best evaluated policies under a posterior sample look-ahead starts from, besides the rollouts."""
NEIGHBOURS = 400
"""Of the incumbent, how many neighbours are gone through for one that is new."""
EXCHANGED = 2
"""How many of the best candidates are improved by pairs of choices."""
MAX_REDRAWS = 5
ROLLOUTS, ROLLOUT_NOISE = 6, 1.0
FRONT_SPAN = 8.0
"""Where the whole front is wanted, allowed loss increases lie within this factor of the median of those measured."""
BUDGETS = 4.0
"""Budgets of simulated rollouts lie within this factor of the real one, either way."""
JITTER = 0.5
"""Standard deviation of the logarithm of the factor on each layer's cost in simulated rollouts."""
FIRST_UPDATES, UPDATES = 150, 20
MAX_ROUNDS = 4
"""How often the agent plays and learns, at most, for records that came together."""
LARGEST_LOSS = 1.0
"""Losses of reward beyond this count alike: one failed rollout would drown all others."""
LARGEST_FALL = 2.0
FIRST_LEVELS = (0.7, 0.4)
"""Where sensitivities are known beforehand: cost shares of the first policies, which show what the budget is worth."""


class PlanningAgent:
    """The improved reinforcement-learning method (see the module).

    The first policies (4 to 6, by the budget; 2 where something is known) are spread over costs; from then on the agent
    proposes.

    Args:
        space, goal, budget, generator: as of every method; the space is pruned.
        algorithm: how the agent learns; None: as the saved one, or DDPG.
        prior: of the layers' sensitivities; None: what the saved agent knows, or nothing.
        saved: an agent to start from.

    Raises:
        ConfigError: nothing is left to choose, or the saved agent learned in another way.
    """

    def __init__(
        self,
        space: SearchSpace,
        goal: Goal,
        budget: int,
        generator: np.random.Generator,
        *,
        algorithm: Algorithm | None = None,
        prior: SensitivityPrior | None = None,
        saved: SavedAgent | None = None,
    ) -> None:
        self._space, self._goal, self._generator = space, goal, generator
        if saved is not None:
            if algorithm not in (None, saved.algorithm):
                raise ConfigError(
                    f"the saved agent learned by {saved.algorithm}, and {algorithm} is requested",
                    where="search",
                    hint="leave the algorithm out, or start without the saved agent",
                )
            algorithm, prior = saved.algorithm, prior or saved.prior_for(space)
        self.algorithm = algorithm or Algorithm.DDPG
        self._is_informed = prior is not None
        self._warm_up = min(max(budget // 5, MIN_WARM_UP), MAX_WARM_UP)
        if self._is_informed:
            self._warm_up = 1 + len(FIRST_LEVELS)
        self._records: dict[Policy, EvaluationRecord] = {}
        self._news = 0
        self.tables = ChoiceTables(space, goal.reward)
        self.model = SensitivityModel(space.layer_names, prior, self.tables.operands)
        self._environments = [PlanningEnvironment(self.tables) for _ in range(CANDIDATES)]
        self.learner = make_learner(self.algorithm, _RolloutEnvironment(self), generator)
        self._has_learned = saved is not None
        if saved is not None:
            self.learner.load(saved.networks, "saved agent")

    @isolated()
    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        """Return the most promising new policy that could win; None when all policies of the space were evaluated.

        It is one of the agent's episodes, improved; where all of them are known, a neighbour of the incumbent.
        """
        known = {*self._records, *pending}
        if self._space.is_exhausted(known):
            return None
        if len(self._records) < self._warm_up:
            return self._first(known)
        self._catch_up()
        records = list(self._records.values())
        # Of every two proposals one is to beat the incumbent, which may owe its place to noise.
        rivals, unit = records if len(known) % 2 else [], increase_unit(self._goal, records)
        for attempt in range(1, MAX_REDRAWS + 1):
            budget = self._draw_budget()
            could_win = promising_costs(self._space, self._goal, rivals, budget * unit)
            increases = self.tables.increases(self.model.increases(self._generator)) / budget
            candidates = map(self.tables.policy, self._candidates(increases, CANDIDATE_NOISE * attempt))
            own = self.tables.by_layer(increases)
            near = neighbours_of_incumbent(self.tables, self._goal, records, own, self.tables.reward, NEIGHBOURS)
            for policy in itertools.chain(candidates, () if self._goal.whole_front else near):
                if policy not in known and could_win(self._space.cost_of(policy)):
                    return policy
        return draw_new(self._space, self._goal, self._generator, known)

    def tell(self, record: EvaluationRecord) -> None:
        """Keep a record, of any method; what it teaches is learned before the next proposal."""
        self._news += record.policy not in self._records
        self._records[record.policy] = record

    @isolated()
    def save(self) -> SavedAgent:
        """Return what the agent has learned so far; what it learned of an array holds for that array only."""
        self._catch_up()
        kept = len(WITH_ADC if self._space.adc_bits else BITS)
        return SavedAgent(
            self.algorithm,
            {name: tensor.detach().clone() for name, tensor in self.learner.tensors().items()},
            self._space.layer_names,
            self._space.features,
            self.model.log_sensitivities[:, :kept],
            self.model.deviations[:, :kept],
            self.model.profiles[:kept],
            len(self._records),
        )

    def sample_rollout(self) -> tuple[FloatArray, FloatArray]:
        """Return loss increases and cost shares [layers, choices] of a sample, a budget and an accelerator."""
        increases = self.tables.increases(self.model.increases(self._generator))
        budget = BUDGETS ** self._generator.uniform(-1.0, 1.0)
        jitter = np.exp(JITTER * self._generator.standard_normal(len(increases)))
        return increases / budget, self.tables.shares * jitter[:, None]

    def _draw_budget(self) -> float:
        """Return the loss increase, in units, that this proposal may have: 1, or a number drawn for the whole front."""
        return float(FRONT_SPAN ** self._generator.uniform(-1.0, 1.0)) if self._goal.whole_front else 1.0

    def _first(self, known: Collection[Policy]) -> Policy:
        """Return one of the policies that come before there is anything to plan with."""
        if not self._is_informed or len(known) > len(FIRST_LEVELS):
            return draw_within(self._space, self._goal, self._generator, spread=True)
        wanted = FIRST_LEVELS[len(known) - 1]
        frontiers = Frontiers.of(self.tables, self.tables.increases(self.model.increases()))
        rows = np.array([trade(frontiers, price) for price in np.geomspace(1e-4, 1e4, 60)])
        shares = self.tables.shares[np.arange(rows.shape[1]), rows].sum(axis=1)
        for number in np.argsort(np.abs(np.log(shares / wanted)), kind="stable"):
            if (policy := self.tables.policy(rows[number])) not in known:
                return policy
        return draw_within(self._space, self._goal, self._generator, spread=True)

    def _candidates(self, increases: FloatArray, noise: float) -> list[NDArray[np.int64]]:
        """Return rows of choice numbers, the most valuable first, for the given loss increases [layers, choices]."""
        frontiers = Frontiers.of(self.tables, increases)
        for environment in self._environments:
            environment.enter(increases, frontiers)
        # Noise of its own strength for each: some stay near what the agent would do.
        played = self._play(self._environments, noise * self._generator.random(CANDIDATES))
        rows = np.concatenate([played, self._incumbents(increases)])
        rows = np.unique(improve(self.tables, increases, rows, self._generator), axis=0)
        increase, share = self.tables.sums(increases, rows)
        order = np.argsort(-self.tables.reward(increase, share), kind="stable")
        found = [exchange(self.tables, increases, rows[k], frontiers) for k in order[:EXCHANGED]]
        found += list(rows[order])
        values = [self.tables.value(increases, row) for row in found]
        return [found[k] for k in np.argsort(-np.array(values), kind="stable")]

    def _incumbents(self, increases: FloatArray) -> Rows:
        inside = [policy for policy in self._records if self._space.contains(policy)]
        rows = np.array([self.tables.row(policy) for policy in inside], dtype=np.int64)
        rows = rows.reshape(-1, len(self.tables.counts))
        increase, share = self.tables.sums(increases, rows)
        best: Rows = rows[np.argsort(-self.tables.reward(increase, share), kind="stable")[:INCUMBENTS]]
        return best

    def _play(self, environments: Sequence[PlanningEnvironment], noise: FloatArray) -> Rows:
        """Play episodes side by side; `noise` [episodes] is its standard deviation on the actions of each."""
        observations = np.stack([environment.reset()[0] for environment in environments])
        for _ in self.tables.free:
            actions = self.learner.act(observations) + noise * self._generator.standard_normal(len(environments))
            pairs = zip(environments, actions, strict=True)
            observations = np.stack([environment.step(action)[0] for environment, action in pairs])
        return np.stack([environment.row for environment in environments])

    def _catch_up(self) -> None:
        """Learn from new records: first the model of sensitivities, then, in it, the agent."""
        if self._news == 0 or len(self._records) < self._warm_up:
            return
        records = list(self._records.values())
        self.model.fit([record.policy for record in records], *excess_losses(self._goal, records))
        rounds = min(self._news, MAX_ROUNDS) if self._has_learned else 1
        self._news = 0
        for _ in range(rounds):
            self._learn()

    def _learn(self) -> None:
        updates = UPDATES if self._has_learned else FIRST_UPDATES
        self._has_learned = True
        self.learner.learn(self._simulate_rollouts() if self.learner.needs_samples else None, updates)

    def _simulate_rollouts(self) -> TrainingSamples:
        """Simulate rollouts, improve them, and label every choice of their steps with its worth."""
        environments, drawn = [], []
        for _ in range(ROLLOUTS):
            increases, shares = self.sample_rollout()
            environments.append(PlanningEnvironment(self.tables.with_shares(shares)))
            environments[-1].enter(increases)
            drawn.append(increases)
        rows = self._play(environments, ROLLOUT_NOISE * self._generator.random(ROLLOUTS))
        samples = []
        for environment, increases, row in zip(environments, drawn, rows, strict=True):
            (improved,) = improve(environment.tables, increases, row[None], self._generator)
            samples.append(_label_choices(environment, increases, improved, self._generator))
        return TrainingSamples.join(samples)


class _RolloutEnvironment(PlanningEnvironment):
    """The environment in which PPO plays: every reset draws a posterior sample."""

    def __init__(self, agent: PlanningAgent) -> None:
        super().__init__(agent.tables)
        self._agent = agent

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Draw a posterior sample, then start an episode."""
        increases, shares = self._agent.sample_rollout()
        self.tables = self._agent.tables.with_shares(shares)
        self.enter(increases)
        return super().reset(seed=seed, options=options)

    def step(self, action: NDArray[np.float32]) -> Any:
        """Choose; no rollout is worth less than `-LARGEST_FALL`: failures count alike."""
        observation, reward, done, truncated, info = super().step(action)
        return observation, max(reward, -LARGEST_FALL), done, truncated, info


def _label_choices(
    environment: PlanningEnvironment, increases: FloatArray, row: NDArray[np.int64], generator: np.random.Generator
) -> TrainingSamples:
    """Replay a policy; tell what each choice of every step would have been worth, all other steps as they were."""
    tables, layers = environment.tables, np.arange(len(row))
    (increase,), (share,) = tables.sums(increases, row[None])
    own_increase, own_share = increases[layers, row], tables.shares[layers, row]
    observation, _ = environment.reset()
    parts = []
    for layer in tables.free:
        numbers = environment.frontiers.numbers[layer]
        values = tables.reward(
            increase - own_increase[layer] + environment.frontiers.increases[layer],
            share - own_share[layer] + environment.frontiers.shares[layer],
        )
        seen = np.repeat(observation[None], len(numbers), axis=0)
        actions = action_at(np.arange(len(numbers)), len(numbers))
        actions += ((2.0 * generator.random(len(numbers)) - 1.0) / len(numbers)).astype(np.float32)
        parts.append(TrainingSamples(seen, actions, np.maximum(values - values.max(), -LARGEST_LOSS) / LARGEST_LOSS))
        observation = environment.step(environment.action_towards(int(layer), int(row[layer])))[0]
    return TrainingSamples.join(parts)
