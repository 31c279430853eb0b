"""What bits cost in loss, learned from the policies evaluated so far: the model that searches plan in.

The excess loss of a policy over the reference is taken as a sum over layers and over the operands of a layer:
exp(sensitivity) * 4^(2 - bits), times a factor for each number of bits that all layers share (training mends much of
what quantization breaks, and binary and ternary are grids of their own), plus what no bits explain: the reference is
measured once, and where its training was lucky every other policy seems to lose.

Sensitivities have a Gaussian prior around a common mean, shifted by what is known of each layer beforehand
(`SensitivityPrior`), so the model says something sensible after a handful of evaluations, and its posterior says how
sure it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.operands import BITS, WITH_ADC, WITH_ARRAY, Operands
from mho.errors import ConfigError
from mho.policy import MAX_BITS, Policy

FloatArray = NDArray[np.float64]

_ADC_SHIFT = 3.0 * np.log(4.0)
"""How much more the logarithm of a sensitivity is for ADCs: bits of sums take three more for the same loss, about."""

_MEAN_STD, _PROFILE_STD = 2.0, 0.5
"""Standard deviations of logarithms: of the common mean, of the factors that all layers share."""
UNKNOWN_STD = 1.2
"""Standard deviation of the logarithm of a sensitivity around the mean, where nothing is known of layers."""
_OFFSET_MEAN, _OFFSET_STD = np.log(0.1), 1.5
"""Prior of the logarithm of the excess that all policies share, in units of the allowed one."""
_LARGEST_OFFSET = 0.75
"""Share of the allowed excess that the common offset may take: something is left to spend on bits."""
_NOISE = 0.25
"""Standard deviation of log(floor + excess) that bits do not explain."""
_FLOOR = 0.25
"""Added to excess losses (in units of the allowed one) before their logarithm, so that noise near 0 stays small."""
_ITERATIONS = 30
_TEMPER = 0.4
"""Share of the posterior's spread that drawn samples have: below 1, as a search has no time to try everything."""
_LARGEST_LOG = 20.0


@dataclass(frozen=True, eq=False)
class SensitivityPrior:
    """What is known of a network's sensitivities before any policy was evaluated.

    Attributes:
        offsets: float64 [layers, operands], their logarithms, of which only differences count.
        stds: float64 [layers, operands], standard deviations of the logarithms of sensitivities around `offsets`.
        slope, slope_std: how much of `offsets` is believed, and how sure that is; 1 is all of it.
        profiles: float64 [operands, 8]: logarithms of the factors of bits 1..8 that all layers share.
        source: where it comes from, for people.
    """

    offsets: FloatArray
    stds: FloatArray
    slope: float
    slope_std: float
    profiles: FloatArray
    source: str

    def __post_init__(self) -> None:
        where = f"prior from {self.source}"
        is_sound = self.offsets.ndim == 2 and self.offsets.shape[1] in (len(BITS), len(WITH_ADC), len(WITH_ARRAY))
        if not is_sound or self.stds.shape != self.offsets.shape:
            raise ConfigError(
                f"offsets have shape {list(self.offsets.shape)} and their deviations {list(self.stds.shape)}",
                where=where,
                expected=f"[layers, {len(BITS)}], or {len(WITH_ADC)} operands with ADCs, {len(WITH_ARRAY)} with arrays",
            )
        if self.profiles.shape != (self.offsets.shape[1], MAX_BITS):
            raise ConfigError(f"profiles have shape {list(self.profiles.shape)}", where=where)
        if not all(np.isfinite(part).all() for part in (self.offsets, self.stds, self.profiles)):
            raise ConfigError("a number is not finite", where=where)
        if (self.stds <= 0).any() or self.slope_std <= 0:
            raise ConfigError("a standard deviation is not above 0", where=where)

    @classmethod
    def nothing(cls, layers: int, operands: int = len(BITS)) -> SensitivityPrior:
        """Know nothing of any of the layers."""
        offsets, profiles = np.zeros((layers, operands)), np.zeros((operands, MAX_BITS))
        return cls(offsets, np.full(offsets.shape, UNKNOWN_STD), 1.0, 1.0, profiles, "nothing")

    def of_operands(self, operands: int) -> SensitivityPrior:
        """Return what is known of so many operands: nothing of those that are new."""
        known = self.offsets.shape[1]
        if operands == known:
            return self
        kept, new = slice(min(operands, known)), max(operands - known, 0)
        offsets = np.pad(self.offsets[:, kept], ((0, 0), (0, new)), constant_values=self.offsets.mean())
        stds = np.pad(self.stds[:, kept], ((0, 0), (0, new)), constant_values=UNKNOWN_STD)
        profiles = np.pad(self.profiles[kept], ((0, new), (0, 0)))
        return SensitivityPrior(offsets, stds, self.slope, self.slope_std, profiles, self.source)


class SensitivityModel:
    """Bayesian regression (Laplace approximation) of excess loss on bits.

    Parameters, in this order: log sensitivity of every layer's weights, then of every layer's activations and of its
    other operands; the logarithm of the shared factor of weight bits 1..8, then of the others' bits; the logarithm of
    the excess that all policies share; the slope of what is known beforehand; the common mean.

    Args:
        layer_names: layers in execution order.
        prior: of these layers; None: nothing.
        operands: that layers have bits of; those of the space.

    Raises:
        ConfigError: the prior is of another number of layers.
    """

    def __init__(
        self, layer_names: Sequence[str], prior: SensitivityPrior | None = None, operands: Operands | None = None
    ) -> None:
        self.layer_names, self.operands = tuple(layer_names), Operands() if operands is None else operands
        count = len(self.operands)
        nothing = SensitivityPrior.nothing(len(self.layer_names), count)
        self.prior = nothing if prior is None else prior.of_operands(count)
        if len(self.prior.offsets) != len(self.layer_names):
            raise ConfigError(
                f"prior of {len(self.prior.offsets)} layers",
                where=f"prior from {self.prior.source}",
                expected=f"{len(self.layer_names)} layers",
            )
        self._terms = count * len(self.layer_names)
        self._size = self._terms + count * MAX_BITS + 3
        self._offset, self._slope, self._common = self._size - 3, self._size - 2, self._size - 1
        offsets = self.prior.offsets - self.prior.offsets.mean()
        self._offsets: FloatArray = offsets.T.reshape(-1)
        self._center = np.zeros(self._size)
        self._center[self._common] = -np.log(2.0 * self._terms)
        self._center[self._slope] = self.prior.slope
        self._center[: self._terms] = self._center[self._common] + self.prior.slope * self._offsets
        adcs = slice(len(BITS) * len(self.layer_names), len(WITH_ADC) * len(self.layer_names))
        self._center[: self._terms][adcs] += _ADC_SHIFT
        self._center[self._terms : self._offset] = self.prior.profiles.reshape(-1)
        self._center[self._offset] = _OFFSET_MEAN
        self._precision = self._prior_precision()
        self._mean = self._center.copy()
        self._root = np.linalg.cholesky(np.linalg.inv(self._precision))

    @property
    def log_sensitivities(self) -> FloatArray:
        """Most probable logarithms of sensitivities, [layers, operands]: of the excess at 2 bits, in allowed ones.

        Of ADCs it is that at 5 bits.
        """
        found = self._mean[: self._terms].reshape(len(self.operands), -1).T.copy()
        found[:, len(BITS) : len(WITH_ADC)] -= _ADC_SHIFT
        return found

    @property
    def deviations(self) -> FloatArray:
        """Standard deviations of `log_sensitivities` [layers, operands]."""
        variances = (self._root[: self._terms] ** 2).sum(axis=1)
        return np.sqrt(variances).reshape(len(self.operands), -1).T

    @property
    def profiles(self) -> FloatArray:
        """Most probable logarithms of the factors that all layers share, [operands, 8]."""
        return self._mean[self._terms : self._offset].reshape(len(self.operands), MAX_BITS).copy()

    def fit(self, policies: Sequence[Policy], excess: FloatArray, unit: float) -> None:
        """Fit to the excess losses [policies] of evaluated policies; `unit` is the excess that may be lost, > 0."""
        bits = np.array([self._bits_of(policy) for policy in policies])
        targets = np.log(_FLOOR + np.maximum(excess / unit, 0.0))
        value, damping = self._mean.copy(), 1e-2
        loss = self._loss(value, bits, targets)
        for _ in range(_ITERATIONS):
            predicted, jacobian = self._predict(value, bits)
            curvature = jacobian.T @ jacobian / _NOISE**2 + self._precision
            gradient = jacobian.T @ (predicted - targets) / _NOISE**2 + self._precision @ (value - self._center)
            step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
            trial = self._loss(value - step, bits, targets)
            if trial < loss:
                done = loss - trial < 1e-6 * (1.0 + loss)
                value, loss, damping = value - step, trial, damping / 5.0
                if done:
                    break
            else:
                damping *= 5.0
        _, jacobian = self._predict(value, bits)
        self._mean = value
        self._root = np.linalg.cholesky(np.linalg.inv(jacobian.T @ jacobian / _NOISE**2 + self._precision))

    def increases(self, generator: np.random.Generator | None = None) -> FloatArray:
        """Return the excess loss of each operand's bits, in units of what the common offset leaves of the allowed one.

        Args:
            generator: draws one sample from the posterior; None takes its mode.

        Returns:
            float64 [layers, operands, 8] by bits 1..8; a policy's loss increase is the sum over its layers and
            operands.
        """
        value = self._mean
        if generator is not None:
            value = value + _TEMPER * (self._root @ generator.standard_normal(self._size))
        return self._excess(value) / (1.0 - min(float(np.exp(value[self._offset])), _LARGEST_OFFSET))

    def excess(self, generator: np.random.Generator | None = None) -> FloatArray:
        """Return the excess loss of each operand's bits, in units of the allowed one, without the common offset.

        Args:
            generator: draws a sample from the posterior in its full spread; None takes its mode.

        Returns:
            float64 [layers, operands, 8] by bits 1..8.
        """
        value = self._mean
        return self._excess(value if generator is None else value + self._root @ generator.standard_normal(self._size))

    def _excess(self, value: FloatArray) -> FloatArray:
        shared = value[self._terms : self._offset].reshape(len(self.operands), MAX_BITS)
        decay = shared + (2.0 - np.arange(1, MAX_BITS + 1)) * np.log(4.0)
        logs = value[: self._terms].reshape(len(self.operands), -1).T[:, :, None] + decay
        found: FloatArray = np.exp(np.minimum(logs, _LARGEST_LOG))
        return found

    def _bits_of(self, policy: Policy) -> list[int]:
        places = [self.operands.places_of(name, policy[name]) for name in self.layer_names]
        return [place for operand in zip(*places, strict=True) for place in operand]

    def _prior_precision(self) -> FloatArray:
        precision = np.zeros((self._size, self._size))
        # Of each sensitivity, what neither the mean nor prior prior explains: a linear form of the parameters.
        forms = np.zeros((self._terms, self._size))
        forms[:, : self._terms] = np.eye(self._terms)
        forms[:, self._slope], forms[:, self._common] = -self._offsets, -1.0
        weights = 1 / self.prior.stds.T.reshape(-1) ** 2
        precision += forms.T @ (weights[:, None] * forms)
        profile = np.arange(self._terms, self._offset)
        precision[profile, profile] += 1 / _PROFILE_STD**2
        for place, std in (
            (self._offset, _OFFSET_STD),
            (self._slope, self.prior.slope_std),
            (self._common, _MEAN_STD),
        ):
            precision[place, place] += 1 / std**2
        return precision

    def _predict(self, value: FloatArray, bits: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Return log(_FLOOR + excess) of policies [N] and its derivatives [N, parameters]."""
        operand = np.repeat(np.arange(len(self.operands)), len(self.layer_names))
        where = self._terms + operand * MAX_BITS + bits - 1
        logs = value[: self._terms] + value[where] + (2.0 - bits) * np.log(4.0)
        terms = np.exp(np.minimum(logs, _LARGEST_LOG))
        offset = np.exp(min(float(value[self._offset]), _LARGEST_LOG))
        total = _FLOOR + offset + terms.sum(axis=1)
        jacobian = np.zeros((len(bits), self._size))
        jacobian[:, self._offset] = offset
        jacobian[:, : self._terms] = terms
        rows = np.repeat(np.arange(len(bits)), self._terms)
        np.add.at(jacobian, (rows, where.ravel()), terms.ravel())
        return np.log(total), jacobian / total[:, None]

    def _loss(self, value: FloatArray, bits: NDArray[np.int64], targets: FloatArray) -> float:
        predicted, _ = self._predict(value, bits)
        offset = value - self._center
        return float(((predicted - targets) ** 2).sum() / _NOISE**2 + offset @ self._precision @ offset) / 2
