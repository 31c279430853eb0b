"""`rl-paper`: the agent of arXiv 2601.21737 (DDPG as HAQ uses it) on stable-baselines3.

It sees ten features, has the paper's networks, rates, exploration and reward, and acts on the space without pruning.
It differs from the paper's published code in these points:

- Last layers start within 0.003, as in DDPG and HAQ; the code takes that bound (`init_w`) and leaves torch's defaults.
- 20 episodes act randomly; the code's condition makes them 21.
- The last feature is 1 where the next action is the weight's, as in HAQ; the code gives it for the action before.
- An episode starts from unchanged features; the code keeps what the last episode wrote into the first layer's.
- The updates of an episode, one a step, come after its last step is stored, when its reward is known; the code makes
  each after storing its step, and stores one more step of reward 0 after each episode.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DDPG
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.td3.policies import Actor, TD3Policy
from torch import nn

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal, paper_reward
from mho.bit_search.learners import SampleBuffer
from mho.bit_search.paper_environment import BitWidthEnvironment
from mho.bit_search.space import SearchSpace
from mho.bit_search.torch_isolation import isolated
from mho.errors import ConfigError
from mho.policy import Policy

HIDDEN = 300
ACTOR_RATE, CRITIC_RATE = 1e-4, 1e-3
TARGET_SMOOTHING, DISCOUNT, BATCH_SIZE, REPLAY_PER_LAYER = 0.01, 1.0, 64, 128
LAST_LAYER_BOUND = 0.003
WARM_UP_EPISODES, EXPLORATION_STD, EXPLORATION_DECAY = 20, 0.5, 0.99
BASELINE_SHARE = 0.5
"""Of the newest batch in the moving average of mean rewards."""

_Steps = list[tuple[NDArray[np.float32], NDArray[np.float32], float]]
"""Of an episode: what was seen, what was seen next, and the action."""


class SigmoidToSymmetric(nn.Module):
    """Sigmoid, then 0..1 to the -1..1 in which stable-baselines3 keeps actions."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map any real to -1..1."""
        return torch.sigmoid(values) * 2.0 - 1.0


class TwoBranchValue(nn.Module):
    """Value of a state and an action: each through a layer of its own, added, then two layers more."""

    def __init__(self, state_features: int) -> None:
        super().__init__()
        self.state = nn.Linear(state_features, HIDDEN)
        self.action = nn.Linear(1, HIDDEN)
        self.hidden = nn.Linear(HIDDEN, HIDDEN)
        self.value = _small(nn.Linear(HIDDEN, 1))

    def forward(self, joined: torch.Tensor) -> torch.Tensor:
        """Map state and action (-1..1), joined on the last axis, to a value."""
        action = (joined[..., -1:] + 1.0) / 2.0
        first = torch.relu(self.state(joined[..., :-1]) + self.action(action))
        return self.value(torch.relu(self.hidden(first)))


class PaperPolicy(TD3Policy):
    """Actor and critic of the paper, each with its own rate."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.actor.optimizer = torch.optim.Adam(self.actor.parameters(), lr=ACTOR_RATE, fused=True)
        self.critic.optimizer = torch.optim.Adam(self.critic.parameters(), lr=CRITIC_RATE, fused=True)

    def make_actor(self, features_extractor: Any = None) -> Actor:
        """Make an actor: features -> 300 -> 300 -> 1."""
        actor = super().make_actor(features_extractor)
        features = self.observation_space.shape[0]  # type: ignore[index]
        actor.mu = nn.Sequential(
            nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            _small(nn.Linear(HIDDEN, 1)), SigmoidToSymmetric(),
        )  # fmt: skip
        return actor

    def make_critic(self, features_extractor: Any = None) -> ContinuousCritic:
        """Make a critic, see `TwoBranchValue`."""
        critic = super().make_critic(features_extractor)
        critic.qf0 = TwoBranchValue(self.observation_space.shape[0])  # type: ignore[index]
        critic.q_networks = [critic.qf0]
        return critic


class FixedRateDdpg(DDPG):
    """DDPG that leaves the rates of its optimizers as the policy set them."""

    def _update_learning_rate(self, optimizers: Any) -> None:
        del optimizers


class BaselineBuffer(SampleBuffer):
    """Subtracts the moving average of the batches' mean rewards from the rewards of every batch."""

    _baseline: float | None = None

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """Draw a batch with replacement."""
        batch = super().sample(batch_size, env)
        mean = float(batch.rewards.mean())
        before = mean if self._baseline is None else self._baseline
        self._baseline = before + BASELINE_SHARE * (mean - before)
        return batch._replace(rewards=batch.rewards - self._baseline)


class PaperAgent:
    """The paper's search method (see the module).

    Raises:
        ConfigError: the space is pruned: this method follows the paper, which does not prune.
    """

    def __init__(self, space: SearchSpace, goal: Goal, budget: int, generator: np.random.Generator) -> None:
        del budget
        if space.pruned:
            raise ConfigError(
                "the space is pruned", where="search method rl-paper", expected="a space built with prune=False"
            )
        self._goal, self._generator = goal, generator
        self._environment = BitWidthEnvironment(space)
        self._episode = 0
        self._asked: dict[Policy, list[_Steps]] = {}
        with isolated(int(generator.integers(2**63))):
            self.model = FixedRateDdpg(
                PaperPolicy,
                self._environment,
                buffer_size=REPLAY_PER_LAYER * len(space.layers),
                batch_size=BATCH_SIZE,
                tau=TARGET_SMOOTHING,
                gamma=DISCOUNT,
                replay_buffer_class=BaselineBuffer,
                replay_buffer_kwargs={"generator": generator},
                policy_kwargs={"net_arch": [1]},
                device="cpu",
            )
        self.model.set_logger(Logger(None, []))

    @isolated()
    def ask(self, pending: Collection[Policy] = ()) -> Policy:
        """Run an episode and return its policy; as in the paper, it may be one that was evaluated, or is pending."""
        del pending
        steps: _Steps = []
        observation, _ = self._environment.reset()
        while True:
            action = self._act(observation)
            following, _, done, _, info = self._environment.step(np.array([action], dtype=np.float32))
            steps.append((observation, following, action))
            observation = following
            if done:
                policy: Policy = info["policy"]
                self._asked.setdefault(policy, []).append(steps)
                return policy

    @isolated()
    def tell(self, record: EvaluationRecord) -> None:
        """Store the episode with its reward and, after the warm-up, update once for each of its steps."""
        if not (episodes := self._asked.get(record.policy)):  # such as the reference, which no episode led to
            return
        steps = episodes.pop(0)
        metric, accuracy = self._goal.task.metric, record.accuracy
        if not record.is_ok or accuracy is None:
            accuracy = (
                metric.worst if math.isfinite(metric.worst) else self._goal.reference_accuracy - 100 / metric.scale
            )
        reward = np.array([paper_reward(self._goal, accuracy, record.cost)])
        buffer: Any = self.model.replay_buffer
        for number, (observation, following, action) in enumerate(steps, start=1):
            done = np.array([number == len(steps)])
            stored = np.array([[2.0 * action - 1.0]], dtype=np.float32)
            buffer.add(observation[None], following[None], stored, reward, done, [{}])
        self._episode += 1
        if self._episode > WARM_UP_EPISODES:
            self.model.train(gradient_steps=len(steps), batch_size=BATCH_SIZE)

    def _act(self, observation: NDArray[np.float32]) -> float:
        if self._episode < WARM_UP_EPISODES:
            return float(self._generator.random())
        action, _ = self.model.predict(observation, deterministic=True)
        std = EXPLORATION_STD * EXPLORATION_DECAY ** (self._episode - WARM_UP_EPISODES)
        return draw_truncated_normal(float(action[0]), std, self._generator)


def draw_truncated_normal(mean: float, std: float, generator: np.random.Generator) -> float:
    """Draw from a normal distribution cut to 0..1 by rejection; `mean` in 0..1, `std` > 0."""
    while True:
        value = generator.normal(mean, std)
        if 0.0 <= value <= 1.0:
            return float(value)


def _small(layer: nn.Linear) -> nn.Linear:
    nn.init.uniform_(layer.weight, -LAST_LAYER_BOUND, LAST_LAYER_BOUND)
    nn.init.uniform_(layer.bias, -LAST_LAYER_BOUND, LAST_LAYER_BOUND)
    return layer
