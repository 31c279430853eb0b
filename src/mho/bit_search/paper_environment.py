"""The Gymnasium environment of the search: an episode chooses the bit widths of a network, layer by layer.

Each layer takes two steps: first its weight bits, then its activation bits; where ADC bits are searched, these are a
third one. An action is one number in 0..1. The environment knows no accuracy: who makes it says how a finished policy
is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mho.bit_search.space import LayerChoices, SearchSpace
from mho.policy import MAX_BITS, BitWidths, Policy

Reward = Callable[[Policy], float]
Bits = TypeVar("Bits", int, int | None)


class Operand(Enum):
    """What a step chooses bits of; the value is what the agent sees of it."""

    WEIGHT = 1.0
    ACT = 0.0
    ADC = 0.5


def bits_from_range(action: float, minimum: int, maximum: int) -> int:
    """Map an action in 0..1 to bits as the paper does: minimal - 0.5 + action * (maximal - minimal + 1), rounded.

    Rounding is half to even; the two ends, which would fall half a bit outside, are clipped.
    """
    return min(max(round(minimum - 0.5 + action * (maximum - minimum + 1)), minimum), maximum)


def option_from_share(action: float, options: tuple[Bits, ...]) -> Bits:
    """Map an action in 0..1 to one of `options`, each of which has an equal share of 0..1."""
    return options[min(int(action * len(options)), len(options) - 1)]


def _list_options(
    layer: LayerChoices, operand: Operand, chosen: Mapping[Operand, int | None]
) -> tuple[int | None, ...]:
    """Return the bits that an operand may have with those that were chosen before it; None: the accelerator's."""
    if operand is Operand.WEIGHT:
        return layer.weight_options
    weight, act = chosen[Operand.WEIGHT], chosen.get(Operand.ACT)
    assert weight is not None, "weights come first"
    if operand is Operand.ACT:
        return layer.act_options(weight)
    assert act is not None, "activations come before ADCs"
    return layer.adc_options(weight, act)


class BitWidthEnvironment(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """An episode is one policy.

    Observations are float32 in 0..1: the 8 features of the layer; the previous action's bits / 8 (of ADCs: over the
    most that the space has); 1 where the next action is the weight's, 0 where it is the activation's, 1/2 where it is
    the ADC's. Actions are float32 [1] in 0..1. Every layer has all of its steps, also where they leave no choice.

    The last step is terminal; its reward is `reward(policy)`, all others are 0. Where `reward` is None the reward is 0
    there too and given later by whoever runs the episode. ``info["policy"]`` holds the finished policy.
    """

    def __init__(self, space: SearchSpace, reward: Reward | None = None) -> None:
        self.space = space
        self.reward = reward
        operands = tuple(Operand) if space.adc_bits else (Operand.WEIGHT, Operand.ACT)
        self.decisions = tuple((layer, operand) for layer in range(len(space.layers)) for operand in operands)
        width = space.features.shape[1] + 2
        self.observation_space = spaces.Box(0.0, 1.0, (width,), np.float32)
        self.action_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self._start()

    def _start(self) -> None:
        self._step = 0
        self._previous = 0.0
        self._bits: dict[Operand, int | None] = {}
        self._chosen: dict[str, BitWidths] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        super().reset(seed=seed, options=options)
        self._start()
        return self._observe(), {}

    def step(self, action: NDArray[np.float32]) -> Any:
        """Choose the next width."""
        layer_index, operand = self.decisions[self._step]
        layer = self.space.layers[layer_index]
        bits = self._choose(layer, operand, float(np.asarray(action).reshape(())))
        self._bits[operand] = bits
        most = self.space.adc_bits[-1] if operand is Operand.ADC else MAX_BITS
        self._previous = (most if bits is None else bits) / most
        self._step += 1
        if self._step == len(self.decisions) or self.decisions[self._step][0] != layer_index:
            self._chosen[layer.name] = self._widths(self._bits)
            self._bits = {}
        if self._step < len(self.decisions):
            return self._observe(), 0.0, False, False, {}
        policy = Policy({name: self._chosen[name] for name in self.space.layer_names})
        reward = float(self.reward(policy)) if self.reward is not None else 0.0
        return self._observe(), reward, True, False, {"policy": policy}

    def _choose(self, layer: LayerChoices, operand: Operand, action: float) -> int | None:
        options = _list_options(layer, operand, self._bits)
        first, last = options[0], options[-1]
        if first is not None and last is not None and last - first + 1 == len(options):
            return bits_from_range(action, first, last)
        return option_from_share(action, options)

    def _widths(self, bits: Mapping[Operand, int | None]) -> BitWidths:
        weight, act = bits[Operand.WEIGHT], bits[Operand.ACT]
        assert weight is not None, "only ADC bits may be the accelerator's"
        assert act is not None, "only ADC bits may be the accelerator's"
        return BitWidths(weight, act, bits.get(Operand.ADC))

    def _observe(self) -> NDArray[np.float32]:
        layer, operand = self.decisions[min(self._step, len(self.decisions) - 1)]
        parts = [*self.space.features[layer], self._previous, float(operand.value)]
        return np.array(parts, dtype=np.float32)
