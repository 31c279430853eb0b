"""The Gymnasium environment of the search: an episode chooses the bit widths of a network, layer by layer.

Each layer takes two steps: first its weight bits, then its activation bits. An action is one number in 0..1. The
environment knows no accuracy: who makes it says how a finished policy is judged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mho.errors import ConfigError
from mho.quantization.policy import MAX_BITS, BitWidths, Policy
from mho.search.space import LayerChoices, SearchSpace

Judge = Callable[[Policy], float]

PROGRESS_FEATURES = ("layer_share", "cost_so_far", "share_left")
"""What the agent sees besides the paper's features where the space is pruned: the layer's share of the reference cost
(over the largest share), cost chosen so far over the reference cost of the same layers, and the share of the reference
cost that later layers (this one included) hold. Costs are those of layers by themselves (`SearchSpace.layer_costs`):
near enough for what is seen."""


def bits_from_range(action: float, minimum: int, maximum: int) -> int:
    """Map an action in 0..1 to bits as the paper does: minimal - 0.5 + action * (maximal - minimal + 1), rounded.

    Rounding is half to even; the two ends, which would fall half a bit outside, are held inside.
    """
    return min(max(round(minimum - 0.5 + action * (maximum - minimum + 1)), minimum), maximum)


def option_from_share(action: float, options: tuple[int, ...]) -> int:
    """Map an action in 0..1 to one of `options`, each of which has an equal share of 0..1."""
    return options[min(int(action * len(options)), len(options) - 1)]


def share_from_option(option: int, options: tuple[int, ...]) -> float:
    """Return the action in the middle of the share of `option`: the inverse of `option_from_share`."""
    return (options.index(option) + 0.5) / len(options)


class BitWidthEnvironment(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """An episode is one policy.

    Observations are float32 in 0..1: the 8 features of the layer, the previous action's bits / 8, 1 where the next
    action is the weight's and 0 where it is the activation's; for a pruned space also `PROGRESS_FEATURES`. Actions are
    float32 [1] in 0..1. A pruned space has no steps for layers that leave no choice; otherwise every layer has its two.

    The last step is terminal; its reward is `judge(policy)`, all others are 0. Where `judge` is None the reward is 0
    there too and given later by whoever runs the episode. ``info["policy"]`` holds the finished policy.
    """

    def __init__(self, space: SearchSpace, judge: Judge | None = None) -> None:
        self.space = space
        self.judge = judge
        self.decisions = self._decisions()
        if not self.decisions:
            raise ConfigError(
                "nothing to choose: every layer is held or pinned",
                where="search constraints",
                hint="widen the ranges, or take pins away",
            )
        width = space.features.shape[1] + 2 + (len(PROGRESS_FEATURES) if space.pruned else 0)
        self.observation_space = spaces.Box(0.0, 1.0, (width,), np.float32)
        self.action_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        reference = space.layer_costs[:, MAX_BITS - 1, MAX_BITS - 1].astype(np.float64)
        self._reference = reference
        self._start()

    def _decisions(self) -> tuple[tuple[int, bool], ...]:
        """Return (layer, is it the weight's step) of every step."""
        layers = range(len(self.space.layers))
        if self.space.pruned:
            layers = [k for k in layers if len(self.space.layers[k].choices) > 1]  # type: ignore[assignment]
        return tuple((layer, is_weight) for layer in layers for is_weight in (True, False))

    def _start(self) -> None:
        self._step = 0
        self._previous_bits = 0
        self._weight_bits = 0
        self._chosen: dict[str, BitWidths] = {
            layer.name: layer.choices[0] for layer in self.space.layers if len(layer.choices) == 1
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        super().reset(seed=seed, options=options)
        self._start()
        return self._observe(), {}

    def step(self, action: NDArray[np.float32]) -> Any:
        """Choose the next width."""
        layer_index, is_weight = self.decisions[self._step]
        layer = self.space.layers[layer_index]
        bits = self._bits(layer, float(np.asarray(action).reshape(())), is_weight=is_weight)
        if is_weight:
            self._weight_bits = bits
        else:
            self._chosen[layer.name] = BitWidths(self._weight_bits, bits)
        self._previous_bits = bits
        self._step += 1
        if self._step < len(self.decisions):
            return self._observe(), 0.0, False, False, {}
        policy = Policy({name: self._chosen[name] for name in self.space.layer_names})
        reward = float(self.judge(policy)) if self.judge is not None else 0.0
        return self._observe(), reward, True, False, {"policy": policy}

    def actions_for(self, policy: Policy) -> NDArray[np.float32]:
        """Return the actions, float32 [steps], that lead to `policy` (which must lie in the space)."""
        actions = []
        for layer_index, is_weight in self.decisions:
            layer = self.space.layers[layer_index]
            bits = policy[layer.name]
            options = layer.weight_options if is_weight else layer.act_options(bits.weight_bits)
            actions.append(share_from_option(bits.weight_bits if is_weight else bits.act_bits, options))
        return np.array(actions, dtype=np.float32)

    def _bits(self, layer: LayerChoices, action: float, *, is_weight: bool) -> int:
        options = layer.weight_options if is_weight else layer.act_options(self._weight_bits)
        is_range = options[-1] - options[0] + 1 == len(options)
        if is_range and not self.space.pruned:
            return bits_from_range(action, options[0], options[-1])
        return option_from_share(action, options)

    def _observe(self) -> NDArray[np.float32]:
        layer, is_weight = self.decisions[min(self._step, len(self.decisions) - 1)]
        parts = [*self.space.features[layer], self._previous_bits / MAX_BITS, float(is_weight)]
        if self.space.pruned:
            parts += self._progress(layer)
        return np.array(parts, dtype=np.float32)

    def _progress(self, layer: int) -> list[float]:
        total = self._reference.sum()
        spent = sum(
            self.space.layer_costs[k, self._chosen[name].weight_bits - 1, self._chosen[name].act_bits - 1]
            for k, name in enumerate(self.space.layer_names[:layer])
        )
        passed = self._reference[:layer].sum()
        so_far = min(spent / passed, 1.0) if layer else 1.0
        left = self._reference[layer:].sum() / total
        return [self._reference[layer] / self._reference.max(), so_far, left]
