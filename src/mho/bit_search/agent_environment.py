"""The Gymnasium environment of `rl`: an episode is one policy, one step a layer, where loss increases are known.

The agent sees what each choice would cause, and what is left of the budget. What it sees has no units, so that an
agent serves other budgets, accelerators and networks than it learned on.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mho.bit_search.choice_tables import ChoiceTables, FloatArray, Frontiers
from mho.errors import ConfigError

POINTS = 6
"""Points at which the frontier of a layer, and that of the layers to come, are shown."""


class PlanningEnvironment(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """An episode is one policy; every layer that has a choice is a step, in execution order.

    An action, float32 [1] in -1..1, points at one of the choices of the layer that are not dominated in loss increase
    and cost (`Frontiers`), each of which has an equal share: -1 is the least loss increase, 1 the least cost.
    Observations are float32 in 0..1: features of the layer (`bit_search.layer_features`); share of the steps done; loss
    increase and cost so far; loss increase and cost at `POINTS` places of the layer's frontier; and the same summed
    over the frontiers of the layers to come. Loss increases are in units of the allowed one and costs in those of the
    reference, x shown as x / (x + 1), of single layers as x / (x + 1 / layers).

    The last step is terminal, its reward that of the whole policy; all others are 0.

    Args:
        tables: what may be chosen.

    Raises:
        ConfigError: no layer has a choice.
    """

    def __init__(self, tables: ChoiceTables) -> None:
        if not len(tables.free):
            raise ConfigError(
                "nothing to choose: every layer is held or pinned",
                where="search constraints",
                hint="widen the ranges, or take pins away",
            )
        self.tables = tables
        self.row = np.zeros(len(tables.counts), dtype=np.int64)
        self._increases = np.zeros(tables.shares.shape)
        self._step = 0
        width = tables.space.features.shape[1] + 3 + 4 * POINTS
        self.observation_space = spaces.Box(0.0, 1.0, (width,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.enter(np.full(tables.shares.shape, 1.0 / tables.shares.size))

    def enter(self, increases: FloatArray, frontiers: Frontiers | None = None) -> None:
        """Take other loss increases of all choices, float64 [layers, choices]; `frontiers` where they are known."""
        self._increases = increases
        self.frontiers = Frontiers.of(self.tables, increases) if frontiers is None else frontiers
        places = [np.linspace(0, len(n) - 1, POINTS).round().astype(int) for n in self.frontiers.numbers]
        self._seen = np.array(
            [[h[at], s[at]] for at, h, s in zip(places, self.frontiers.increases, self.frontiers.shares, strict=True)]
        )
        behind = np.cumsum(self._seen[::-1], axis=0)[::-1]
        self._ahead = np.concatenate([behind[1:], np.zeros((1, 2, POINTS))])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode: layers without a choice have theirs."""
        super().reset(seed=seed, options=options)
        self.row = np.zeros(len(self.tables.counts), dtype=np.int64)
        self._step = 0
        held = np.setdiff1d(np.arange(len(self.row)), self.tables.free)
        self._increase = float(self._increases[held, 0].sum())
        self._share = float(self.tables.shares[held, 0].sum())
        return self._observe(), {}

    def step(self, action: NDArray[np.float32]) -> Any:
        """Choose for the next layer."""
        layer = int(self.tables.free[self._step])
        place = place_of(float(np.asarray(action).reshape(())), len(self.frontiers.numbers[layer]))
        self.row[layer] = self.frontiers.numbers[layer][place]
        self._increase += float(self.frontiers.increases[layer][place])
        self._share += float(self.frontiers.shares[layer][place])
        self._step += 1
        if self._step < len(self.tables.free):
            return self._observe(), 0.0, False, False, {}
        (increase,), (share,) = self.tables.sums(self._increases, self.row[None])
        reward = float(self.tables.reward(np.asarray(increase), np.asarray(share)))
        return self._observe(), reward, True, False, {"row": self.row.copy()}

    def action_towards(self, layer: int, number: int) -> NDArray[np.float32]:
        """Return the action that takes choice `number` of a layer, or the choice of its frontier nearest in cost."""
        numbers = self.frontiers.numbers[layer]
        place = np.flatnonzero(numbers == number)
        if not place.size:
            share = self.tables.shares[layer, number]
            place = np.array([np.abs(self.frontiers.shares[layer] - share).argmin()])
        return action_at(place[:1], len(numbers))

    def _observe(self) -> NDArray[np.float32]:
        step = min(self._step, len(self.tables.free) - 1)
        layer, layers = int(self.tables.free[step]), len(self.tables.counts)
        own, ahead = self._seen[layer], self._ahead[layer]
        so_far = np.array([self._increase, self._share])
        parts = (
            self.tables.space.features[layer],
            np.array([self._step / len(self.tables.free)]),
            so_far / (so_far + 1.0),
            (own / (own + 1.0 / layers)).ravel(),
            (ahead / (ahead + 1.0)).ravel(),
        )
        return np.concatenate(parts).astype(np.float32)


def place_of(action: float, count: int) -> int:
    """Return which of `count` choices an action in -1..1 points at."""
    return min(max(int((action + 1.0) / 2.0 * count), 0), count - 1)


def action_at(places: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Return the actions in the middle of the shares of `places`: the inverse of `place_of`."""
    return ((2.0 * places + 1.0) / count - 1.0).astype(np.float32)
