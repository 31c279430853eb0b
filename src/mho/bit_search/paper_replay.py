"""A replay buffer for rewards that are known only when an episode is over."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples


class EpisodeReplayBuffer(ReplayBuffer):
    """Holds the steps of an episode back until it ends, then stores each of them with the last step's reward.

    Batches are drawn with the generator given here, so that nothing depends on process-wide random state.

    Args:
        generator: draws the batches.
        baseline_share: where not None, the moving average of the batches' mean rewards is subtracted from every batch;
            this is the share that the newest batch has in it, 0..1.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "cpu",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        generator: np.random.Generator,
        baseline_share: float | None = None,
    ) -> None:
        super().__init__(
            buffer_size, observation_space, action_space, device, n_envs, optimize_memory_usage,
            handle_timeout_termination,
        )  # fmt: skip
        self._generator = generator
        self._baseline_share = baseline_share
        self._baseline: float | None = None
        self._episode: list[tuple[Any, ...]] = []

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Add a step; `done` ends the episode (of a single environment)."""
        self._episode.append((np.array(obs), np.array(next_obs), np.array(action), np.array(done), infos))
        if not np.all(done):
            return
        for step_obs, step_next, step_action, step_done, step_infos in self._episode:
            super().add(step_obs, step_next, step_action, reward, step_done, step_infos)
        self._episode.clear()

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """Draw a batch with replacement."""
        filled = self.buffer_size if self.full else self.pos
        batch = self._get_samples(self._generator.integers(0, filled, size=batch_size), env=env)
        if self._baseline_share is None:
            return batch
        mean = float(batch.rewards.mean())
        before = mean if self._baseline is None else self._baseline
        self._baseline = before + self._baseline_share * (mean - before)
        return batch._replace(rewards=batch.rewards - self._baseline)
