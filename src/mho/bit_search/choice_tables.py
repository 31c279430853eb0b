"""The choices of every layer as arrays, and which of them no other betters.

A policy is a row of choice numbers, one a layer. Loss increase and cost add up over layers (cost but for writes that
layers share); the reward of a policy is that of `mho.bit_search.goal.Goal`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.goal import smooth_reward
from mho.bit_search.operands import Operands
from mho.bit_search.space import SearchSpace
from mho.pareto import pareto_front
from mho.policy import Policy

FloatArray = NDArray[np.float64]
Rows = NDArray[np.int64]
"""Numbers of choices, [policies, layers]."""


class ChoiceTables:
    """The choices of every layer as arrays; layers with fewer choices repeat their last one.

    Attributes:
        widths: int64 [layers, choices, operands]: bits of each operand, as `Operands.places_of` tells them.
        shares: float64 [layers, choices]: cost of the layer by itself over that of the whole reference.
        operands: what layers have bits of in the space.
        counts: int64 [layers]: choices of each layer.
        free: layers that have a choice.
        has_savings: True where layers may share writes.

    Args:
        space: whose choices.
        reward: of loss increases and cost shares, see `mho.bit_search.goal.Goal.reward`.
    """

    def __init__(
        self, space: SearchSpace, reward: Callable[[FloatArray, FloatArray], FloatArray] = smooth_reward
    ) -> None:
        self.space, self._reward = space, reward
        self.counts = np.array([len(layer.choices) for layer in space.layers])
        most = int(self.counts.max())
        padded = [[*layer.choices, *([layer.choices[-1]] * (most - len(layer.choices)))] for layer in space.layers]
        costs = [[*layer.costs, *([layer.costs[-1]] * (most - len(layer.costs)))] for layer in space.layers]
        self.operands = Operands.of(space)
        pairs = zip(space.layer_names, padded, strict=True)
        self.widths = np.array([[self.operands.places_of(name, bits) for bits in row] for name, row in pairs])
        self._index = np.array([[space.index_of(bits) for bits in row] for row in padded])
        self.shares = np.array(costs, dtype=np.float64) / space.reference_sum
        self.free = np.flatnonzero(self.counts > 1)
        self._exponent = space.objective.exponent
        self._layers = np.arange(len(space.layers))
        self.has_savings = space.shared is not None
        self._numbers = [{bits: k for k, bits in enumerate(layer.choices)} for layer in space.layers]

    def with_shares(self, shares: FloatArray) -> ChoiceTables:
        """Return the same choices at other costs, float64 [layers, choices], that layers do not share."""
        other = copy.copy(self)
        other.shares, other.has_savings = shares, False
        return other

    def by_layer(self, values: FloatArray) -> list[FloatArray]:
        """Return the values [layers, choices] of each layer's own choices: without those that only fill the table."""
        return [row[:count] for row, count in zip(values, self.counts, strict=True)]

    def increases(self, increases: FloatArray) -> FloatArray:
        """Return loss increases of choices [layers, choices], from those of operands' bits [layers, operands, 8]."""
        operands = np.arange(self.widths.shape[2])
        found: FloatArray = increases[self._layers[:, None, None], operands, self.widths - 1].sum(axis=2)
        return found

    def policy(self, row: NDArray[np.int64]) -> Policy:
        """Return the policy of a row of choice numbers [layers]."""
        pairs = zip(self.space.layers, row.tolist(), strict=True)
        return Policy({layer.name: layer.choices[number] for layer, number in pairs})

    def row(self, policy: Policy) -> NDArray[np.int64]:
        """Return the choice numbers [layers] of a policy of the space."""
        pairs = zip(self.space.layer_names, self._numbers, strict=True)
        return np.array([numbers[policy[name]] for name, numbers in pairs])

    def saved(self, rows: Rows) -> FloatArray:
        """Return what shared writes save, as a share of the reference's cost, [...], of rows [..., layers]."""
        if self.space.shared is None or not self.has_savings:
            return np.zeros(rows.shape[:-1])
        index = np.moveaxis(self._index[self._layers, rows], -1, 0)
        return np.asarray(self.space.saved_ps(index) / self.space.reference_cost)

    def reward(self, increase: FloatArray, share: FloatArray) -> FloatArray:
        """Return the reward of loss increases and sums of layers' costs, as shares of the reference's."""
        return self._reward(increase, np.maximum(share, 1e-12) ** self._exponent)

    def value(self, increases: FloatArray, row: NDArray[np.int64]) -> float:
        """Return the reward of a policy by its true cost; `increases` [layers, choices]."""
        share = self.space.cost_of(self.policy(row)) / self.space.reference_cost
        return float(self._reward(np.asarray(increases[self._layers, row].sum()), np.asarray(share)))

    def sums(self, increases: FloatArray, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Return loss increase and cost share of rows [N, layers], [N] each."""
        return increases[self._layers, rows].sum(axis=1), self.shares[self._layers, rows].sum(axis=1) - self.saved(rows)


@dataclass(frozen=True, eq=False)
class Frontiers:
    """Of every layer, the choices that no other choice betters in loss increase and cost, by rising loss increase.

    Attributes:
        numbers: of these choices, int64 [frontier] a layer.
        increases, shares: of them, float64 [frontier] a layer, rising and falling.
    """

    numbers: tuple[NDArray[np.int64], ...]
    increases: tuple[FloatArray, ...]
    shares: tuple[FloatArray, ...]

    @classmethod
    def of(cls, tables: ChoiceTables, increases: FloatArray) -> Frontiers:
        """Find them; `increases` [layers, choices]."""
        numbers = [
            pareto_front(increases[layer, :count], tables.shares[layer, :count])
            for layer, count in enumerate(tables.counts)
        ]
        return cls(
            tuple(numbers),
            tuple(increases[layer, chosen] for layer, chosen in enumerate(numbers)),
            tuple(tables.shares[layer, chosen] for layer, chosen in enumerate(numbers)),
        )
