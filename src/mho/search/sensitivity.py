"""What each layer's bits cost in loss, learned from the policies evaluated so far: the agent's model of its world.

The excess loss of a policy over the reference is taken as a sum over layers and over the two operands of a layer:
exp(sensitivity) * 4^(2 - bits), times a factor for each number of bits that all layers share (training mends much of
what quantization breaks, and binary and ternary are grids of their own), plus what no bits explain: the reference is
measured once, and where its training was lucky every other policy seems to lose. Sensitivities have a Gaussian prior
around a common mean, so the model says something sensible after a handful of evaluations, and its posterior says how
sure it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mho.quantization.policy import MAX_BITS, Policy

_PRIOR_STD, _MEAN_STD, _PROFILE_STD = 1.2, 2.0, 0.5
"""Standard deviations, all of logarithms: of sensitivities around their mean, of the mean, of the shared factors."""
_LUCK_MEAN, _LUCK_STD = np.log(0.1), 1.5
"""Prior of the logarithm of the excess that all policies share, in units of the allowed one."""
_LARGEST_LUCK = 0.75
"""Share of the allowed excess that luck may take: something is left to spend on bits."""
_NOISE = 0.25
"""Standard deviation of log(floor + excess) that bits do not explain."""
_FLOOR = 0.25
"""Added to excess losses (in units of the allowed one) before their logarithm, so that noise near 0 stays small."""
_ITERATIONS = 30
_TEMPER = 0.4
"""Share of the posterior's spread that drawn worlds have: below 1, as a search has no time to try everything."""


class SensitivityModel:
    """Bayesian regression (Laplace approximation) of excess loss on bits.

    Parameters, in this order: log sensitivity of every layer's weights, then of every layer's activations; the
    logarithm of the shared factor of weight bits 1..8, then of activation bits 1..8; the logarithm of the excess that
    all policies share; the common mean.

    Args:
        layer_names: layers in execution order.
    """

    def __init__(self, layer_names: Sequence[str]) -> None:
        self.layer_names = tuple(layer_names)
        count = len(self.layer_names)
        self._size = 2 * count + 2 * MAX_BITS + 2
        self._luck = self._size - 2
        self._center = np.zeros(self._size)
        self._center[: 2 * count] = self._center[-1] = -np.log(4.0 * count)
        self._center[self._luck] = _LUCK_MEAN
        self._mean = self._center.copy()
        self._root = np.eye(self._size)

    def fit(self, policies: Sequence[Policy], excess: NDArray[np.float64], unit: float) -> None:
        """Fit to the excess losses [policies] of evaluated policies; `unit` is the excess that may be lost, > 0."""
        bits = np.array([self._bits_of(policy) for policy in policies])
        targets = np.log(_FLOOR + np.maximum(excess / unit, 0.0))
        prior = self._prior_precision()
        value, damping = self._mean.copy(), 1e-2
        loss = self._loss(value, bits, targets, prior)
        for _ in range(_ITERATIONS):
            predicted, jacobian = self._predict(value, bits)
            curvature = jacobian.T @ jacobian / _NOISE**2 + prior
            gradient = jacobian.T @ (predicted - targets) / _NOISE**2 + prior @ (value - self._center)
            step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
            trial = self._loss(value - step, bits, targets, prior)
            if trial < loss:
                done = loss - trial < 1e-6 * (1.0 + loss)
                value, loss, damping = value - step, trial, damping / 5.0
                if done:
                    break
            else:
                damping *= 5.0
        _, jacobian = self._predict(value, bits)
        self._mean = value
        self._root = np.linalg.cholesky(np.linalg.inv(jacobian.T @ jacobian / _NOISE**2 + prior))

    def costs(self, generator: np.random.Generator | None = None) -> NDArray[np.float64]:
        """Return the excess loss that each choice causes, in units of what luck leaves of the allowed one.

        Args:
            generator: draws one plausible world from the posterior; None takes the most probable one.

        Returns:
            float64 [layers, 8, 8] by weight bits and activation bits 1..8.
        """
        value = self._mean
        if generator is not None:
            value = value + _TEMPER * (self._root @ generator.standard_normal(self._size))
        count = len(self.layer_names)
        bits = np.arange(1, MAX_BITS + 1)
        decay = (2.0 - bits) * np.log(4.0)
        profiles = value[2 * count : 2 * count + 2 * MAX_BITS].reshape(2, MAX_BITS)
        weights = np.exp(np.minimum(value[:count, None] + profiles[0] + decay, 20.0))
        acts = np.exp(np.minimum(value[count : 2 * count, None] + profiles[1] + decay, 20.0))
        left = 1.0 - min(float(np.exp(value[self._luck])), _LARGEST_LUCK)
        return (weights[:, :, None] + acts[:, None, :]) / left

    def _bits_of(self, policy: Policy) -> list[int]:
        widths = [policy[name] for name in self.layer_names]
        return [w.weight_bits for w in widths] + [w.act_bits for w in widths]

    def _prior_precision(self) -> NDArray[np.float64]:
        count = 2 * len(self.layer_names)
        precision = np.zeros((self._size, self._size))
        inside = np.arange(count)
        precision[inside, inside] = 1 / _PRIOR_STD**2
        precision[inside, -1] = precision[-1, inside] = -1 / _PRIOR_STD**2
        precision[-1, -1] = count / _PRIOR_STD**2 + 1 / _MEAN_STD**2
        profile = np.arange(count, count + 2 * MAX_BITS)
        precision[profile, profile] = 1 / _PROFILE_STD**2
        precision[self._luck, self._luck] = 1 / _LUCK_STD**2
        return precision

    def _predict(
        self, value: NDArray[np.float64], bits: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return log(_FLOOR + cost) of policies [N] and its derivatives [N, parameters]."""
        count = len(self.layer_names)
        operand = np.repeat([0, 1], count)
        where = 2 * count + operand * MAX_BITS + bits - 1
        terms = np.exp(np.minimum(value[: 2 * count] + value[where] + (2.0 - bits) * np.log(4.0), 20.0))
        luck = np.exp(min(float(value[self._luck]), 20.0))
        total = _FLOOR + luck + terms.sum(axis=1)
        jacobian = np.zeros((len(bits), self._size))
        jacobian[:, self._luck] = luck
        jacobian[:, : 2 * count] = terms
        rows = np.repeat(np.arange(len(bits)), 2 * count)
        np.add.at(jacobian, (rows, where.ravel()), terms.ravel())
        return np.log(total), jacobian / total[:, None]

    def _loss(
        self,
        value: NDArray[np.float64],
        bits: NDArray[np.int64],
        targets: NDArray[np.float64],
        prior: NDArray[np.float64],
    ) -> float:
        predicted, _ = self._predict(value, bits)
        offset = value - self._center
        return float(((predicted - targets) ** 2).sum() / _NOISE**2 + offset @ prior @ offset) / 2
