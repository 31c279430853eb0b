"""`rl`: a DDPG agent that learns in a model of its world and looks ahead in it, because real evaluations are dear.

Each evaluation teaches a small Bayesian model what every layer's bits cost in loss (`mho.search.sensitivity`); what
they cost in time or energy is known: exactly where that adds up over layers, else by sums that are near it, and
exactly again where one of several finished policies is taken. In that world the agent, DDPG of stable-baselines3 on
the pruned space, plays episodes that cost nothing (Dyna, Sutton 1990). Look-ahead improves them one choice at a time,
and the agent learns from the improved ones what every choice at every step would have been worth, so that credit for
an episode's end reaches the step that earned it (as in expert iteration, Anthony et al. 2017). What is evaluated next
is the best of a few improved episodes in a world drawn from the model's posterior (Thompson sampling): where the model
is unsure, choices get tried; where it is sure, they get used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DDPG
from stable_baselines3.common.logger import Logger

from mho.quantization.policy import MAX_BITS, BitWidths, Policy
from mho.search.environment import BitWidthEnvironment
from mho.search.evaluation import EvaluationRecord
from mho.search.goal import Goal, allowed_excess, smooth_reward
from mho.search.isolation import isolated
from mho.search.methods import draw_policy
from mho.search.replay import ImaginedReplayBuffer
from mho.search.sensitivity import SensitivityModel
from mho.search.space import SearchSpace

FloatArray = NDArray[np.float64]
Episode = tuple[NDArray[np.float32], Policy]
KeptEpisode = tuple[NDArray[np.float32], Policy, FloatArray, FloatArray]
"""An episode, and what shared writes save where one of its layers takes other weight or activation bits."""

HIDDEN = (128, 128)
RATE, TARGET_SMOOTHING, BATCH_SIZE = 1e-3, 0.05, 256
MIN_WARM_UP, MAX_WARM_UP = 4, 6
CANDIDATES, CANDIDATE_NOISE, MAX_SWEEPS = 8, 0.2, 8
MAX_REDRAWS, MAX_DRAWS = 5, 100
IMAGINED_EPISODES, IMAGINED_NOISE, KEPT_EPISODES = 8, 0.6, 32
FIRST_UPDATES, UPDATES = 150, 20
RUINED = 20.0
"""Cost, in units of what is allowed, that a policy whose training failed is taken to have."""


class ImprovedAgent:
    """The improved reinforcement-learning method (see the module).

    The first policies (4 to 6, by the budget) are drawn at random over all speeds; from then on the agent proposes.

    Args:
        space: what may be proposed; pruned.
        goal: what the search is after.
        budget: distinct evaluations.
        generator: all randomness, of networks and draws.
    """

    def __init__(self, space: SearchSpace, goal: Goal, budget: int, generator: np.random.Generator) -> None:
        self._space, self._goal, self._generator = space, goal, generator
        self._warm_up = min(max(budget // 5, MIN_WARM_UP), MAX_WARM_UP)
        self._records: dict[Policy, EvaluationRecord] = {}
        self._environments = [BitWidthEnvironment(space) for _ in range(CANDIDATES)]
        self._layers = np.arange(len(space.layers))
        self._shares = space.layer_costs / space.reference_sum
        self._exponent = space.objective.exponent
        self._episodes: list[KeptEpisode] = []
        self._free_layers = [k for k, layer in enumerate(space.layers) if len(layer.choices) > 1]
        pairs = [np.array([(b.weight_bits - 1, b.act_bits - 1) for b in layer.choices]) for layer in space.layers]
        self._choices = [(pair[:, 0], pair[:, 1]) for pair in pairs]
        self.world = SensitivityModel(space.layer_names)
        with isolated(int(generator.integers(2**63))):
            self.model = DDPG(
                "MlpPolicy",
                self._environments[0],
                learning_rate=RATE,
                buffer_size=KEPT_EPISODES * len(self._environments[0].decisions) * MAX_BITS,
                batch_size=BATCH_SIZE,
                tau=TARGET_SMOOTHING,
                gamma=1.0,
                replay_buffer_class=ImaginedReplayBuffer,
                replay_buffer_kwargs={"generator": generator},
                policy_kwargs={"net_arch": list(HIDDEN), "optimizer_kwargs": {"fused": True}},
                device="cpu",
            )
        self.model.set_logger(Logger(None, []))

    @isolated()
    def ask(self) -> Policy | None:
        """Return the most promising of the agent's episodes that was not evaluated before; None when all were."""
        if sum(self._space.contains(policy) for policy in self._records) == self._space.size:
            return None
        if not self._is_warm:
            return draw_policy(self._space, self._generator, spread=True)
        for attempt in range(1, MAX_REDRAWS + 1):
            costs = self.world.costs(self._generator)
            played = self._improve(costs, [policy for _, policy in self._play(CANDIDATES, CANDIDATE_NOISE * attempt)])
            if new := [policy for policy in played if policy not in self._records]:
                return max(new, key=lambda policy: self._value(costs, policy))
        drawn = [draw_policy(self._space, self._generator, spread=False) for _ in range(MAX_DRAWS)]
        return next((policy for policy in drawn if policy not in self._records), drawn[0])

    @isolated()
    def tell(self, record: EvaluationRecord) -> None:
        """Learn from a record: first the model of the world, then, in it, the agent."""
        if record.policy in self._records:
            return
        self._records[record.policy] = record
        if not self._is_warm:
            return
        records = list(self._records.values())
        unit = allowed_excess(self._goal, records)
        ruined = RUINED * unit
        excess = [ruined if r.score is None else r.score - self._goal.reference_score for r in records]
        self.world.fit([r.policy for r in records], np.array(excess), unit)
        self._learn()

    @property
    def _is_warm(self) -> bool:
        return len(self._records) >= self._warm_up

    def _play(self, count: int, noise: float) -> list[Episode]:
        """Play `count` episodes side by side: observations [steps, features] and the policy of each.

        Each has noise of its own strength, so that some stay near what the agent would do.
        """
        environments = self._environments[:count]
        observations = np.stack([environment.reset()[0] for environment in environments])
        strengths = noise * self._generator.random((count, 1))
        seen: list[NDArray[np.float32]] = []
        infos: list[dict[str, Any]] = []
        for _ in environments[0].decisions:
            seen.append(observations)
            with torch.no_grad():
                actions = (self.model.actor(torch.from_numpy(observations)).numpy() + 1.0) / 2.0
            actions = actions + strengths * self._generator.standard_normal((count, 1))
            actions = np.clip(actions, 0.0, 1.0).astype(np.float32)
            results = [environment.step(action) for environment, action in zip(environments, actions, strict=True)]
            observations = np.stack([result[0] for result in results])
            infos = [result[4] for result in results]
        return [(np.stack([step[k] for step in seen]), infos[k]["policy"]) for k in range(count)]

    def _replay(self, policy: Policy) -> Episode:
        """Return the episode that leads to `policy`."""
        environment = self._environments[0]
        observation, _ = environment.reset()
        seen = []
        for action in environment.actions_for(policy):
            seen.append(observation)
            observation = environment.step(action)[0]
        return np.stack(seen), policy

    def _improve(self, costs: FloatArray, policies: list[Policy]) -> list[Policy]:
        """Change one layer after the other, in random order, to its best choice in a world, until none gets better."""
        widths = np.array([self._widths(policy) for policy in policies])
        rows, weights, acts = self._layers, widths[:, 0], widths[:, 1]
        cost, share = costs[rows, weights, acts], self._shares[rows, weights, acts]
        for _ in range(MAX_SWEEPS):
            before = widths.copy()
            for layer in self._generator.permutation(self._free_layers):
                w, a = self._choices[layer]
                other_cost, other_share = cost.sum(1) - cost[:, layer], share.sum(1) - share[:, layer]
                tried = np.repeat(widths[:, :, None], len(w), axis=2)
                tried[:, 0, :, layer], tried[:, 1, :, layer] = w, a
                values = self._reward(
                    other_cost[:, None] + costs[layer, w, a],
                    other_share[:, None] + self._shares[layer, w, a] - self._saved(tried[:, 0], tried[:, 1]),
                )
                best = values.argmax(axis=1)
                weights[:, layer], acts[:, layer] = w[best], a[best]
                cost[:, layer], share[:, layer] = costs[layer, w, a][best], self._shares[layer, w, a][best]
            if np.array_equal(before, widths):
                break
        names = self._space.layer_names
        return [
            Policy({n: BitWidths(int(w) + 1, int(a) + 1) for n, w, a in zip(names, *pair, strict=True)})
            for pair in widths
        ]

    def _learn(self) -> None:
        """Play in the most probable world and update on every choice of the episodes kept."""
        updates = UPDATES if self._episodes else FIRST_UPDATES
        costs = self.world.costs()
        dreamt = [policy for _, policy in self._play(IMAGINED_EPISODES, IMAGINED_NOISE)]
        improved = [(*self._replay(policy), *self._savings(policy)) for policy in self._improve(costs, dreamt)]
        self._episodes = [*self._episodes, *improved][-KEPT_EPISODES:]
        lessons = [self._lessons(costs, *episode) for episode in self._episodes]
        observations, actions, rewards = (np.concatenate(parts) for parts in zip(*lessons, strict=True))
        buffer: Any = self.model.replay_buffer
        buffer.refill(observations, actions, rewards)
        self.model.train(gradient_steps=updates, batch_size=BATCH_SIZE)

    def _lessons(
        self,
        costs: FloatArray,
        observations: NDArray[np.float32],
        policy: Policy,
        saved_by_weight: FloatArray,
        saved_by_act: FloatArray,
    ) -> tuple[NDArray[np.float32], FloatArray, FloatArray]:
        """Return what every choice of every step would have been worth, all other steps as they were.

        Returns:
            observations [N, features], actions [N] in -1..1, rewards [N] relative to the mean of their step.
        """
        weights, acts = self._widths(policy)
        rows = self._layers
        cost, share = costs[rows, weights, acts], self._shares[rows, weights, acts]
        other_cost, other_share = (cost.sum() - cost)[:, None], (share.sum() - share)[:, None]
        by_weight = self._reward(
            other_cost + costs[rows, :, acts], other_share + self._shares[rows, :, acts] - saved_by_weight
        )
        by_act = self._reward(
            other_cost + costs[rows, weights], other_share + self._shares[rows, weights] - saved_by_act
        )
        steps, actions, rewards = [], [], []
        for step, (layer, is_weight) in enumerate(self._environments[0].decisions):
            choices = self._space.layers[layer]
            options = choices.weight_options if is_weight else choices.act_options(int(weights[layer]) + 1)
            values = (by_weight if is_weight else by_act)[layer, np.array(options) - 1]
            steps += [step] * len(options)
            actions.append((np.arange(len(options)) + self._generator.random(len(options))) / len(options))
            rewards.append(values - values.mean())
        return observations[steps], 2.0 * np.concatenate(actions) - 1.0, np.concatenate(rewards)

    def _value(self, costs: FloatArray, policy: Policy) -> float:
        weights, acts = self._widths(policy)
        share = self._space.cost_of(policy) / self._space.reference_cost
        return float(smooth_reward(costs[self._layers, weights, acts].sum(), share))

    def _reward(self, harm: FloatArray, share: FloatArray) -> FloatArray:
        """Return the reward of policies whose layers' costs add up to `share` of the reference's."""
        return smooth_reward(harm, share**self._exponent)

    def _savings(self, policy: Policy) -> tuple[FloatArray, FloatArray]:
        """Return `_saved` where one layer takes each of the weight bits, or of the activation bits: [layers, bits]."""
        weights, acts = self._widths(policy)
        changed, option = np.eye(len(weights), dtype=bool)[:, None], np.arange(MAX_BITS)[None, :, None]
        by_weight, by_act = np.where(changed, option, weights), np.where(changed, option, acts)
        return self._saved(by_weight, acts), self._saved(weights, by_act)

    def _saved(self, weights: NDArray[np.int64], acts: NDArray[np.int64]) -> FloatArray:
        """Return what writes that layers share save, over the cost of uniform 8/8, [...].

        Args:
            weights, acts: indices as `_widths` tells them, [..., layers] together.
        """
        if self._space.shared is None:
            return np.zeros(())
        saved = self._space.shared.saved_ps(*np.broadcast_arrays(weights, acts))
        return np.asarray(saved / self._space.reference_cost)

    def _widths(self, policy: Policy) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return weight bits - 1 and activation bits - 1 of every layer: indices into tables of harm and costs."""
        widths = np.array([(policy[n].weight_bits - 1, policy[n].act_bits - 1) for n in self._space.layer_names])
        return widths[:, 0], widths[:, 1]
