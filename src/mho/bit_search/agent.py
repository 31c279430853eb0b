"""`rl`: an agent that learns in a model of its world and looks ahead in it, because real evaluations are dear.

Each evaluation teaches a small Bayesian model what every layer's bits cost in loss (`mho.bit_search.sensitivity`); what
they cost in time or energy is known. In worlds drawn from that model the agent, of stable-baselines3, plays episodes
that cost nothing (Dyna, Sutton 1990). Look-ahead improves them one choice, then two, at a time, and the agent learns
from the improved ones (`bit_search.learners`). What is evaluated next is the best of a few improved episodes in a world
drawn from the model's posterior (Thompson sampling): where the model is unsure, choices get tried; where it is sure,
they get used.

The agent sees harms and costs of choices without units, and learns under many budgets and on jittered costs, so that
what it learned holds for other budgets, accelerators and networks (`mho.bit_search.agent_file`).
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
from mho.bit_search.draws import draw_new, draw_within
from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal, harm_unit
from mho.bit_search.incumbent import neighbours_of_incumbent, promising_costs
from mho.bit_search.learners import Algorithm, Lessons, make_learner
from mho.bit_search.local_search import exchange, improve, trade
from mho.bit_search.sensitivity import Knowledge, SensitivityModel
from mho.bit_search.space import SearchSpace
from mho.bit_search.torch_isolation import isolated
from mho.errors import ConfigError
from mho.policy import Policy

MIN_WARM_UP, MAX_WARM_UP = 4, 6
CANDIDATES, CANDIDATE_NOISE = 8, 0.4
INCUMBENTS = 2
"""Of the policies evaluated so far, how many of the best in a world look-ahead starts from, besides the episodes."""
NEIGHBOURS = 400
"""Of the winner, how many are gone through for one that is new."""
EXCHANGED = 2
"""How many of the best candidates are improved by pairs of choices."""
MAX_REDRAWS = 5
IMAGINED_EPISODES, IMAGINED_NOISE = 6, 1.0
FRONT_SPAN = 8.0
"""Where the whole front is wanted, allowed harms lie within this factor of the median of those measured."""
BUDGETS = 4.0
"""Imagined budgets lie within this factor of the real one, either way."""
JITTER = 0.5
"""Standard deviation of the logarithm of what an imagined accelerator makes of each layer's cost."""
FIRST_UPDATES, UPDATES = 150, 20
MAX_ROUNDS = 4
"""How often the agent plays and learns, at most, for records that were told together."""
LARGEST_LOSS = 1.0
"""Lessons do not tell losses of reward beyond this apart: a ruined episode would drown all others."""
LARGEST_FALL = 2.0
RUINED = 20.0
"""Harm, in units of what is allowed, that a policy whose training failed is taken to have."""
FIRST_LEVELS = (0.7, 0.4)
"""Where sensitivities are known beforehand: cost shares of the first policies, which show what the budget is worth."""


class PlanningAgent:
    """The improved reinforcement-learning method (see the module).

    The first policies (4 to 6, by the budget; 2 where something is known) are spread over costs; from then on the agent
    proposes.

    Args:
        space: what may be proposed; pruned.
        goal: what the search is after.
        budget: distinct evaluations.
        generator: all randomness, of networks and draws.
        algorithm: how the agent learns; None: as the saved one, or DDPG.
        knowledge: of the layers' sensitivities; None: what the saved agent knows, or nothing.
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
        knowledge: Knowledge | None = None,
        saved: SavedAgent | None = None,
    ) -> None:
        self._space, self._goal, self._generator = space, goal, generator
        if saved is not None:
            if algorithm not in (None, saved.algorithm):
                raise ConfigError(
                    f"the saved agent learned by {saved.algorithm}, and {algorithm} is asked for",
                    where="search",
                    hint="leave the algorithm out, or start without the saved agent",
                )
            algorithm, knowledge = saved.algorithm, knowledge or saved.knowledge_of(space)
        self.algorithm = algorithm or Algorithm.DDPG
        self._is_informed = knowledge is not None
        self._warm_up = min(max(budget // 5, MIN_WARM_UP), MAX_WARM_UP)
        if self._is_informed:
            self._warm_up = 1 + len(FIRST_LEVELS)
        self._records: dict[Policy, EvaluationRecord] = {}
        self._news = 0
        self.tables = ChoiceTables(space, goal.reward)
        self.world = SensitivityModel(space.layer_names, knowledge, self.tables.operands)
        self._environments = [PlanningEnvironment(self.tables) for _ in range(CANDIDATES)]
        self.learner = make_learner(self.algorithm, _Dreams(self), generator)
        self._has_learned = saved is not None
        if saved is not None:
            self.learner.load(saved.networks, "saved agent")

    @isolated()
    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        """Return the most promising new policy that could win; None when all policies of the space were evaluated.

        It is one of the agent's episodes, improved; where all of them are known, one next to the winner so far.
        """
        known = {*self._records, *pending}
        if sum(self._space.contains(policy) for policy in known) == self._space.size:
            return None
        if len(self._records) < self._warm_up:
            return self._first(known)
        self._catch_up()
        records = list(self._records.values())
        # Of every two proposals one is to beat the winner. Measurements are noisy, so who wins may be luck.
        rivals, unit = records if len(known) % 2 else [], harm_unit(self._goal, records)
        for attempt in range(1, MAX_REDRAWS + 1):
            budget = self._draw_budget()
            could_win = promising_costs(self._space, self._goal, rivals, budget * unit)
            harms = self.tables.harms(self.world.harms(self._generator)) / budget
            candidates = map(self.tables.policy, self._candidates(harms, CANDIDATE_NOISE * attempt))
            own = self.tables.by_layer(harms)
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
        """Return what the agent has learned so far."""
        self._catch_up()
        return SavedAgent(
            self.algorithm,
            {name: tensor.detach().clone() for name, tensor in self.learner.tensors().items()},
            self._space.layer_names,
            self._space.features,
            self.world.log_sensitivities,
            self.world.deviations,
            self.world.profiles,
            len(self._records),
        )

    def dream(self) -> tuple[FloatArray, FloatArray]:
        """Return harms and cost shares [layers, choices] of an imagined world: another budget and accelerator."""
        harms = self.tables.harms(self.world.harms(self._generator))
        budget = BUDGETS ** self._generator.uniform(-1.0, 1.0)
        jitter = np.exp(JITTER * self._generator.standard_normal(len(harms)))
        return harms / budget, self.tables.shares * jitter[:, None]

    def _draw_budget(self) -> float:
        """Return how many units of harm this proposal may do: 1, or where the whole front is wanted a number drawn."""
        return float(FRONT_SPAN ** self._generator.uniform(-1.0, 1.0)) if self._goal.whole_front else 1.0

    def _first(self, known: Collection[Policy]) -> Policy:
        """Return one of the policies that come before there is anything to plan with."""
        if not self._is_informed or len(known) > len(FIRST_LEVELS):
            return draw_within(self._space, self._goal, self._generator, spread=True)
        wanted = FIRST_LEVELS[len(known) - 1]
        frontiers = Frontiers.of(self.tables, self.tables.harms(self.world.harms()))
        rows = np.array([trade(frontiers, price) for price in np.geomspace(1e-4, 1e4, 60)])
        shares = self.tables.shares[np.arange(rows.shape[1]), rows].sum(axis=1)
        for number in np.argsort(np.abs(np.log(shares / wanted)), kind="stable"):
            if (policy := self.tables.policy(rows[number])) not in known:
                return policy
        return draw_within(self._space, self._goal, self._generator, spread=True)

    def _candidates(self, harms: FloatArray, noise: float) -> list[NDArray[np.int64]]:
        """Return rows of choice numbers, the most valuable first, in a world of the given harms [layers, choices]."""
        frontiers = Frontiers.of(self.tables, harms)
        for environment in self._environments:
            environment.enter(harms, frontiers)
        # Noise of its own strength for each: some stay near what the agent would do.
        played = self._play(self._environments, noise * self._generator.random(CANDIDATES))
        rows = np.concatenate([played, self._incumbents(harms)])
        rows = np.unique(improve(self.tables, harms, rows, self._generator), axis=0)
        harm, share = self.tables.sums(harms, rows)
        order = np.argsort(-self.tables.reward(harm, share), kind="stable")
        found = [exchange(self.tables, harms, rows[k], frontiers) for k in order[:EXCHANGED]]
        found += list(rows[order])
        values = [self.tables.value(harms, row) for row in found]
        return [found[k] for k in np.argsort(-np.array(values), kind="stable")]

    def _incumbents(self, harms: FloatArray) -> Rows:
        inside = [policy for policy in self._records if self._space.contains(policy)]
        rows = np.array([self.tables.row(policy) for policy in inside], dtype=np.int64)
        rows = rows.reshape(-1, len(self.tables.counts))
        harm, share = self.tables.sums(harms, rows)
        best: Rows = rows[np.argsort(-self.tables.reward(harm, share), kind="stable")[:INCUMBENTS]]
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
        """Learn from new records: first the model of the world, then, in it, the agent."""
        if self._news == 0 or len(self._records) < self._warm_up:
            return
        records = list(self._records.values())
        unit = harm_unit(self._goal, records)
        ruined = RUINED * unit
        excess = [ruined if r.score is None else r.score - self._goal.reference_score for r in records]
        self.world.fit([r.policy for r in records], np.array(excess), unit)
        rounds = min(self._news, MAX_ROUNDS) if self._has_learned else 1
        self._news = 0
        for _ in range(rounds):
            self._learn()

    def _learn(self) -> None:
        updates = UPDATES if self._has_learned else FIRST_UPDATES
        self._has_learned = True
        self.learner.learn(self._imagine() if self.learner.needs_lessons else None, updates)

    def _imagine(self) -> Lessons:
        """Play in imagined worlds, improve the episodes, and tell what every choice of their steps is worth."""
        environments, worlds = [], []
        for _ in range(IMAGINED_EPISODES):
            harms, shares = self.dream()
            environments.append(PlanningEnvironment(self.tables.with_shares(shares)))
            environments[-1].enter(harms)
            worlds.append(harms)
        rows = self._play(environments, IMAGINED_NOISE * self._generator.random(IMAGINED_EPISODES))
        lessons = []
        for environment, harms, row in zip(environments, worlds, rows, strict=True):
            (improved,) = improve(environment.tables, harms, row[None], self._generator)
            lessons.append(_lessons(environment, harms, improved, self._generator))
        return Lessons.join(lessons)


class _Dreams(PlanningEnvironment):
    """The environment in which PPO plays: every reset draws a world."""

    def __init__(self, agent: PlanningAgent) -> None:
        super().__init__(agent.tables)
        self._agent = agent

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Draw a world, then start an episode."""
        harms, shares = self._agent.dream()
        self.tables = self._agent.tables.with_shares(shares)
        self.enter(harms)
        return super().reset(seed=seed, options=options)

    def step(self, action: NDArray[np.float32]) -> Any:
        """Choose; no episode is worth less than `-LARGEST_FALL`: what is ruined is ruined."""
        observation, reward, done, truncated, info = super().step(action)
        return observation, max(reward, -LARGEST_FALL), done, truncated, info


def _lessons(
    environment: PlanningEnvironment, harms: FloatArray, row: NDArray[np.int64], generator: np.random.Generator
) -> Lessons:
    """Replay a policy; tell what each choice of every step would have been worth, all other steps as they were."""
    tables, layers = environment.tables, np.arange(len(row))
    (harm,), (share,) = tables.sums(harms, row[None])
    own_harm, own_share = harms[layers, row], tables.shares[layers, row]
    observation, _ = environment.reset()
    parts = []
    for layer in tables.free:
        numbers = environment.frontiers.numbers[layer]
        values = tables.reward(
            harm - own_harm[layer] + environment.frontiers.harms[layer],
            share - own_share[layer] + environment.frontiers.shares[layer],
        )
        seen = np.repeat(observation[None], len(numbers), axis=0)
        actions = action_at(np.arange(len(numbers)), len(numbers))
        actions += ((2.0 * generator.random(len(numbers)) - 1.0) / len(numbers)).astype(np.float32)
        parts.append(Lessons(seen, actions, np.maximum(values - values.max(), -LARGEST_LOSS) / LARGEST_LOSS))
        observation = environment.step(environment.action_towards(int(layer), int(row[layer])))[0]
    return Lessons.join(parts)
