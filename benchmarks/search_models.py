"""What learns the loss or the error rate of policies from their bits, and its error on policies that it did not see.

Models, all of a logarithm, on the bits of every layer's weights and activations:

- additive: ridge regression on one indicator for each operand and width;
- index: c + a log(1 + sum over operands of exp(sensitivity + factor of the width)), much like the search's own model of
  its sample (`mho.bit_search.sensitivity`);
- boosting: gradient-boosted trees that never get better with fewer bits;
- process: a Gaussian process on noise terms 2^-bits, one length scale for all;
- index+process: a Gaussian process on what the index leaves.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import kendalltau
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import RidgeCV

FloatArray = NDArray[np.float64]
BitArray = NDArray[np.int64]

MIN_BITS, MAX_BITS = 2, 8
FOLDS, SEED = 5, 1


class Regressor(Protocol):
    """Predicts one number a policy from its bits, int64 [N, 2 * layers]: of all weights, then of all activations."""

    def fit(self, bits: BitArray, values: FloatArray) -> Regressor: ...

    def predict(self, bits: BitArray) -> FloatArray: ...


class Additive:
    def fit(self, bits: BitArray, values: FloatArray) -> Additive:
        self._model = RidgeCV(np.logspace(-3, 3, 13)).fit(self._features(bits), values)
        return self

    def predict(self, bits: BitArray) -> FloatArray:
        return self._model.predict(self._features(bits))

    def _features(self, bits: BitArray) -> FloatArray:
        return (bits[:, :, None] == np.arange(MIN_BITS, MAX_BITS)).reshape(len(bits), -1).astype(np.float64)


class Index:
    """Parameters: log sensitivity of every operand, factors of weight and of activation bits, c, log a."""

    prior_std, factor_std = 1.5, 0.7

    def fit(self, bits: BitArray, values: FloatArray) -> Index:
        operands, widths = bits.shape[1], MAX_BITS - MIN_BITS + 1
        start = np.zeros(operands + 2 * widths + 2)
        start[:operands] = -2.0
        start[-2], start[-1] = np.quantile(values, 0.02), np.log(0.5)
        spread = max(float(values.std()), 1e-9)

        def residuals(value: FloatArray) -> FloatArray:
            sensitivities, factors = value[:operands], value[operands:-2]
            prior = np.concatenate([(sensitivities - sensitivities.mean()) / self.prior_std, factors / self.factor_std])
            return np.concatenate([(self._predict(value, bits) - values) / (0.25 * spread), prior])

        self._value = least_squares(residuals, start, method="trf", max_nfev=60).x
        return self

    def predict(self, bits: BitArray) -> FloatArray:
        return self._predict(self._value, bits)

    def _predict(self, value: FloatArray, bits: BitArray) -> FloatArray:
        operands, widths = bits.shape[1], MAX_BITS - MIN_BITS + 1
        factors = value[operands:-2].reshape(2, widths)
        kind = np.repeat([0, 1], operands // 2)
        powers = value[:operands] + factors[kind, bits - MIN_BITS] + (MIN_BITS - bits) * np.log(4.0)
        noise = np.exp(np.minimum(powers, 20.0)).sum(axis=1)
        return value[-2] + np.exp(np.minimum(value[-1], 3.0)) * np.log1p(noise)


class Boosting:
    def fit(self, bits: BitArray, values: FloatArray) -> Boosting:
        self._model = HistGradientBoostingRegressor(
            max_iter=400, learning_rate=0.05, max_leaf_nodes=6, min_samples_leaf=5, l2_regularization=1.0,
            monotonic_cst=[-1] * bits.shape[1], early_stopping=False, random_state=SEED,
        ).fit(bits, values)  # fmt: skip
        return self

    def predict(self, bits: BitArray) -> FloatArray:
        return self._model.predict(bits)


class Process:
    def fit(self, bits: BitArray, values: FloatArray) -> Process:
        kernel = ConstantKernel(1.0, (1e-3, 1e3)) * Matern(8.0, (0.5, 1e3), nu=2.5) + WhiteKernel(0.1, (1e-5, 2.0))
        features = 2.0 ** (MIN_BITS - bits)
        self._mean, self._std = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
        self._model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=SEED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a parameter at the end of its range
            self._model.fit(self._features(bits), values)
        return self

    def predict(self, bits: BitArray) -> FloatArray:
        return self._model.predict(self._features(bits))

    def _features(self, bits: BitArray) -> FloatArray:
        return (2.0 ** (MIN_BITS - bits) - self._mean) / self._std


class IndexProcess:
    def fit(self, bits: BitArray, values: FloatArray) -> IndexProcess:
        self._index = Index().fit(bits, values)
        self._rest = Process().fit(bits, values - self._index.predict(bits))
        return self

    def predict(self, bits: BitArray) -> FloatArray:
        return self._index.predict(bits) + self._rest.predict(bits)


MODELS: Mapping[str, Callable[[], Regressor]] = {
    "additive": Additive,
    "index": Index,
    "boosting": Boosting,
    "process": Process,
    "index+process": IndexProcess,
}


@dataclass(frozen=True)
class HeldOut:
    """Errors on held-out policies: of the log of what is predicted, and of the thing itself."""

    rmse: float
    mae: float
    r2: float
    tau: float


def cross_validate(make: Callable[[], Regressor], bits: BitArray, values: FloatArray) -> FloatArray:
    """Return predictions of every policy by a model that did not see it."""
    folds = np.random.default_rng(SEED).permutation(len(values)) % FOLDS
    predicted = np.zeros(len(values))
    for fold in range(FOLDS):
        inside = folds != fold
        predicted[~inside] = make().fit(bits[inside], values[inside]).predict(bits[~inside])
    return predicted


def judge(predicted: FloatArray, values: FloatArray) -> HeldOut:
    rest = predicted - values
    return HeldOut(
        float(np.sqrt((rest**2).mean())),
        float(np.abs(rest).mean()),
        1.0 - float((rest**2).mean() / values.var()),
        float(kendalltau(predicted, values).statistic),
    )
