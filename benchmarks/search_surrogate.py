"""A surrogate of short trainings: loss and accuracy of a policy, learned from a log of `search_log.py`.

    python benchmarks/search_surrogate.py [--problem resnet20] [--log FILE]

It shows the error on held-out policies of every model (5-fold cross-validation), by source of the policies, and the
noise that a measurement has by itself (the same policies under other seeds). In the manner of NAS-Bench-301
(arXiv 2008.09777), but for bit widths.

Models, all of log loss and of log error rate, on the bits of every layer's weights and activations:

- additive: ridge regression on one indicator for each operand and width;
- index: c + a log(1 + sum over operands of exp(sensitivity + factor of the width)), much like the search's own model of
  its world (`mho.search.sensitivity`);
- boosting: gradient-boosted trees that never get better with fewer bits;
- process: a Gaussian process on noise terms 2^-bits, one length scale for all;
- index+process: a Gaussian process on what the index leaves.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import kendalltau
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import RidgeCV

from mho.quantization.policy import Policy
from mho.search.evaluation import EvaluationRecord, Measurement

FloatArray = NDArray[np.float64]
BitArray = NDArray[np.int64]

DATA = Path(__file__).resolve().parent / "data"
MIN_BITS, MAX_BITS = 2, 8
FOLDS, SEED = 5, 1
LEAST_ERROR = 1e-3
"""Added to error rates before their logarithm: two of two thousand images."""


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
class Log:
    """Measured policies of one problem.

    Attributes:
        bits: int64 [N, 2 * layers]: weight bits of all layers, then activation bits.
        score, accuracy: float64 [N]; sources: [N].
    """

    layer_names: tuple[str, ...]
    bits: BitArray
    score: FloatArray
    accuracy: FloatArray
    sources: tuple[str, ...]
    seconds: FloatArray

    @classmethod
    def read(cls, path: Path) -> Log:
        """Read a log of `search_log.py`, .jsonl or .jsonl.gz; a torn last line is left out."""
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        lines = [json.loads(line) for line in text[: text.rfind("\n")].splitlines()]
        records = [EvaluationRecord.from_json(line, where=str(path)) for line in lines[1:]]
        return cls.of([record for record in records if record.is_ok])

    @classmethod
    def of(cls, records: Sequence[EvaluationRecord]) -> Log:
        names = tuple(records[0].policy.layers)
        return cls(
            names,
            np.stack([bits_of(names, record.policy) for record in records]),
            np.array([record.score for record in records], np.float64),
            np.array([record.accuracy for record in records], np.float64),
            tuple(record.method for record in records),
            np.array([record.seconds for record in records]),
        )

    def __len__(self) -> int:
        return len(self.score)

    @property
    def log_score(self) -> FloatArray:
        return np.log(self.score)

    @property
    def log_error(self) -> FloatArray:
        return np.log(1.0 - self.accuracy + LEAST_ERROR)


def bits_of(names: Sequence[str], policy: Policy) -> BitArray:
    """Return weight bits of all layers, then activation bits."""
    return np.array([policy[n].weight_bits for n in names] + [policy[n].act_bits for n in names])


@dataclass(frozen=True)
class Noise:
    """Standard deviations of log loss and of log error rate of one measurement, and their correlation."""

    score: float
    error: float
    correlation: float


def measure_noise(log: Log, others: Sequence[Log]) -> Noise:
    """Estimate the noise of a measurement from policies that other seeds measured too.

    What a seed does to all policies alike is no noise of a comparison and is taken out (two-way analysis of variance).
    """
    place = {bits.tobytes(): k for k, bits in enumerate(log.bits)}
    shared = [bits.tobytes() for bits in others[0].bits if all(bits.tobytes() in _places(o) for o in others)]
    rows = []
    for one in (log, *others):
        where = place if one is log else _places(one)
        rows.append([(one.log_score[where[key]], one.log_error[where[key]]) for key in shared])
    table = np.array(rows)  # [seeds, policies, 2]
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean(axis=(0, 1))
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    covariance = np.einsum("spi,spj->ij", rest, rest) / freedom
    std = np.sqrt(np.diag(covariance))
    return Noise(float(std[0]), float(std[1]), float(covariance[0, 1] / (std[0] * std[1])))


def _places(log: Log) -> dict[bytes, int]:
    return {bits.tobytes(): k for k, bits in enumerate(log.bits)}


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


class Surrogate:
    """Loss and accuracy of policies; an `mho.search.evaluation.Evaluator`.

    Measurements have the noise of real ones, drawn from the seed and the policy: the same policy gets the same noise
    whenever a search with this seed asks, as in a log.

    Args:
        log: what to learn from.
        noise: of measurements; None: none.
        seed: of the noise.
        model: of `MODELS`.
    """

    def __init__(self, log: Log, noise: Noise | None, *, seed: int, model: str) -> None:
        self.layer_names, self._noise, self._seed, self._model = log.layer_names, noise, seed, model
        self._score = MODELS[model]().fit(log.bits, log.log_score)
        self._error = MODELS[model]().fit(log.bits, log.log_error)
        self._size = len(log)

    def with_seed(self, seed: int) -> Surrogate:
        """Return the same surrogate under other noise."""
        other = object.__new__(Surrogate)
        other.__dict__ |= self.__dict__ | {"_seed": seed}
        return other

    @property
    def fidelity(self) -> str:
        return "surrogate"

    @property
    def problem(self) -> Mapping[str, Any]:
        noise = None if self._noise is None else vars(self._noise)
        return {"surrogate": self._model, "policies": self._size, "noise": noise, "seed": self._seed}

    def seed_for(self, policy: Policy) -> int:  # noqa: ARG002 - the protocol's
        return self._seed

    def means(self, policies: Sequence[Policy]) -> tuple[FloatArray, FloatArray]:
        """Return losses and accuracies [N] without noise."""
        bits = np.stack([bits_of(self.layer_names, policy) for policy in policies])
        return np.exp(self._score.predict(bits)), self._accuracy(self._error.predict(bits))

    def evaluate(self, policy: Policy) -> Measurement:
        bits = bits_of(self.layer_names, policy)
        log_score, log_error = float(self._score.predict(bits[None])[0]), float(self._error.predict(bits[None])[0])
        if self._noise is not None:
            digest = hashlib.sha256(bits.tobytes() + str(self._seed).encode()).digest()
            first, second = np.random.default_rng(int.from_bytes(digest[:8], "big")).standard_normal(2)
            shared = self._noise.correlation
            log_score += self._noise.score * first
            log_error += self._noise.error * (shared * first + np.sqrt(1.0 - shared**2) * second)
        return Measurement.of(float(np.exp(log_score)), float(self._accuracy(np.array(log_error))))

    def _accuracy(self, log_error: FloatArray) -> FloatArray:
        return np.clip(1.0 + LEAST_ERROR - np.exp(log_error), 0.0, 1.0)


def log_path(problem: str, folder: Path | None = None) -> Path:
    """Return where the log of a problem lies: in `folder` as `search_log.py` writes it, or the published one."""
    return DATA / f"search_{problem}.jsonl.gz" if folder is None else folder / f"{problem}.jsonl"


def read_repeats(path: Path) -> list[Log]:
    """Return the logs of other seeds that lie beside a log."""
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
    return [Log.read(found) for found in sorted(path.parent.glob(f"{stem}.seed*.jsonl*")) if ".steps" not in found.name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", default="resnet20")
    parser.add_argument("--log", type=Path, help="of the problem (the published one)")
    options = parser.parse_args()
    path = options.log or log_path(options.problem)
    log = Log.read(path)
    print(f"{path.name}: {len(log)} policies, {len(log.layer_names)} layers, {FOLDS}-fold cross-validation")
    show_models(log)
    show_noise(log, path)


def show_models(log: Log) -> None:
    print("model           of            RMSE    MAE     R2    tau | accuracy, points: RMSE   MAE")
    for name, make in MODELS.items():
        for title, values in (("log loss", log.log_score), ("log error", log.log_error)):
            predicted = cross_validate(make, log.bits, values)
            found = judge(predicted, values)
            line = f"{name:15} {title:10} {found.rmse:7.4f} {found.mae:6.4f} {found.r2:6.3f} {found.tau:6.3f}"
            if title == "log error":
                rest = 100 * (np.exp(values) - np.exp(predicted))
                line += f" | {np.sqrt((rest**2).mean()):22.2f} {np.abs(rest).mean():5.2f}"
            print(line, flush=True)


def show_noise(log: Log, path: Path) -> None:
    others = read_repeats(path)
    if not others:
        print("no policies were measured under other seeds")
        return
    noise = measure_noise(log, others)
    print(
        f"noise of a measurement ({len(others)} other seeds): log loss {noise.score:.4f}, log error {noise.error:.4f}, "
        f"correlation {noise.correlation:.2f}"
    )


if __name__ == "__main__":
    main()
