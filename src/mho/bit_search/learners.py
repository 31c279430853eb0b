"""Agents of stable-baselines3 behind one interface: they act, and learn from simulated rollouts.

Off-policy ones (DDPG, TD3, SAC) learn from samples: what every choice of a step would have been worth with all other
steps as they were, so that credit for an episode's end reaches the step that earned it (expert iteration, Anthony et
al. 2017). PPO plays whole episodes and learns from their ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DDPG, PPO, SAC, TD3
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from mho.bit_search.agent_environment import PlanningEnvironment
from mho.bit_search.torch_isolation import isolated
from mho.errors import InputFileError

HIDDEN = (128, 128)
RATE, TARGET_SMOOTHING, BATCH_SIZE = 1e-3, 0.05, 256
SAMPLES_KEPT = 20_000
PPO_LOG_STD = -0.7
PPO_EPISODES, PPO_EPOCHS, PPO_BATCHES, PPO_RATE = 16, 10, 4, 1e-3


class Algorithm(StrEnum):
    """How an agent learns.

    Attributes:
        DDPG, TD3, SAC: off-policy, from samples.
        PPO: policy gradient, from whole episodes.
    """

    DDPG = "ddpg"
    TD3 = "td3"
    SAC = "sac"
    PPO = "ppo"


@dataclass(frozen=True, eq=False)
class TrainingSamples:
    """Choices and what they were worth.

    Attributes:
        observations: float32 [N, features].
        actions: float32 [N], in -1..1.
        rewards: float64 [N], relative to the best of their step: 0 or less.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float64]

    @classmethod
    def join(cls, parts: list[TrainingSamples]) -> TrainingSamples:
        """Put samples one after the other."""
        return cls(*(np.concatenate([getattr(part, key) for part in parts]) for key in cls.__annotations__))


def make_learner(
    algorithm: Algorithm, environment: PlanningEnvironment, generator: np.random.Generator
) -> OffPolicyLearner | PpoLearner:
    """Return new networks for an environment, initialized by the generator."""
    with isolated(int(generator.integers(2**63))):
        if algorithm is Algorithm.PPO:
            return PpoLearner(environment, generator)
        return OffPolicyLearner(algorithm, environment, generator)


class SampleBuffer(ReplayBuffer):
    """The newest samples; steps after which nothing follows. Draws batches with the generator given here."""

    def __init__(self, *arguments: Any, generator: np.random.Generator, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._generator = generator

    def extend(self, samples: TrainingSamples) -> None:
        """Add samples; the oldest are forgotten where they are more than the buffer holds."""
        count = min(len(samples.rewards), self.buffer_size)
        places = (self.pos + np.arange(count)) % self.buffer_size
        self.observations[places, 0] = self.next_observations[places, 0] = samples.observations[-count:]
        self.actions[places, 0, 0] = samples.actions[-count:]
        self.rewards[places, 0] = samples.rewards[-count:]
        self.dones[places] = 1.0
        self.full = self.full or self.pos + count >= self.buffer_size
        self.pos = (self.pos + count) % self.buffer_size

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """Draw a batch with replacement."""
        filled = self.buffer_size if self.full else self.pos
        return self._get_samples(self._generator.integers(0, filled, size=batch_size), env=env)


class Learner:
    """What all agents have in common: networks that act, and are saved and loaded."""

    model: Any

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the actions of the policy, without exploration."""
        actions, _ = self.model.predict(observations, deterministic=True)
        return np.asarray(actions, dtype=np.float32).reshape(len(observations))

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by name."""
        return dict(self.model.policy.state_dict())

    def load(self, tensors: Mapping[str, Tensor], where: str) -> None:
        """Take weights. Raises `InputFileError` where they are another agent's, or not finite."""
        own = self.model.policy.state_dict()
        other = {name for name in {*own, *tensors} if name not in own or name not in tensors}
        other |= {name for name in own if name in tensors and own[name].shape != tensors[name].shape}
        if other:
            raise InputFileError(
                f"the networks of the agent are others: {min(other)!r} does not fit",
                where=where,
                hint="the agent is of another algorithm or of another version of mho",
            )
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise InputFileError("a weight of the agent is not finite", where=where)
        self.model.policy.load_state_dict(dict(tensors))


class OffPolicyLearner(Learner):
    """DDPG, TD3 or SAC on samples.

    Args:
        algorithm: which.
        environment: whose observations and actions they are.
        generator: draws batches.
    """

    needs_samples = True

    def __init__(self, algorithm: Algorithm, environment: PlanningEnvironment, generator: np.random.Generator) -> None:
        kind: Any = {Algorithm.DDPG: DDPG, Algorithm.TD3: TD3, Algorithm.SAC: SAC}[algorithm]
        self.model = kind(
            "MlpPolicy",
            environment,
            learning_rate=RATE,
            buffer_size=SAMPLES_KEPT,
            batch_size=BATCH_SIZE,
            tau=TARGET_SMOOTHING,
            gamma=1.0,
            replay_buffer_class=SampleBuffer,
            replay_buffer_kwargs={"generator": generator},
            policy_kwargs={"net_arch": list(HIDDEN), "optimizer_kwargs": {"fused": True}},
            device="cpu",
        )
        self.model.set_logger(Logger(None, []))

    def learn(self, samples: TrainingSamples | None, updates: int) -> None:
        """Add the samples and make `updates` steps."""
        if samples is not None:
            self.model.replay_buffer.extend(samples)
        self.model.train(gradient_steps=updates, batch_size=BATCH_SIZE)


class PpoLearner(Learner):
    """PPO on simulated rollouts.

    Args:
        environment: in which it plays; every reset draws a posterior sample.
        generator: unused by PPO, whose draws are torch's.
    """

    needs_samples = False

    def __init__(self, environment: PlanningEnvironment, generator: np.random.Generator) -> None:
        steps = len(environment.tables.free) * PPO_EPISODES
        self._generator, self._steps = generator, steps
        self.model = PPO(
            "MlpPolicy",
            environment,
            learning_rate=PPO_RATE,
            n_steps=steps,
            batch_size=steps // PPO_BATCHES,
            n_epochs=PPO_EPOCHS,
            gamma=1.0,
            gae_lambda=0.95,
            policy_kwargs={"net_arch": list(HIDDEN), "log_std_init": PPO_LOG_STD},
            device="cpu",
        )
        self.model.set_logger(Logger(None, []))

    def learn(self, samples: TrainingSamples | None, updates: int) -> None:
        """Play episodes and learn from them; `updates` is not looked at."""
        del samples, updates
        with isolated(int(self._generator.integers(2**63))), np.errstate(all="ignore"):
            state = np.random.get_state()  # PPO's batches come from it
            np.random.seed(int(self._generator.integers(2**32)))
            try:
                self.model.learn(self._steps, reset_num_timesteps=False)
            finally:
                np.random.set_state(state)
