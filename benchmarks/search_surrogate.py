"""A surrogate of short trainings: loss and accuracy of a policy, learned from a log of `search_log.py`.

    python benchmarks/search_surrogate.py [--problem resnet20] [--log FILE]

It shows the error on held-out policies of every model (5-fold cross-validation), by source of the policies, and the
noise that a measurement has by itself (the same policies under other seeds). In the manner of NAS-Bench-301
(arXiv 2008.09777), but for bit widths.

The models are those of `search_models.py`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr
from search_models import FOLDS, MODELS, BitArray, FloatArray, cross_validate, judge

from mho.bit_search.evaluation import EvaluationRecord, Measurement, Variant
from mho.errors import InputFileError
from mho.policy import Policy

DATA = Path(__file__).resolve().parent / "data"
NEAR_POINTS = 3.0
LEAST_ERROR = 1e-3
"""Added to error rates before their logarithm: two of two thousand images."""


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
        if not path.is_file():
            raise InputFileError(
                "there is no such log", where=str(path), hint="benchmarks/data/README.md tells how logs are made"
            )
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


class Surrogate:
    """Loss and accuracy of policies; an `mho.bit_search.evaluation.Evaluator`.

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
        self._size, self._repeat = len(log), 0

    def with_seed(self, seed: int) -> Surrogate:
        """Return the same surrogate under other noise."""
        other = object.__new__(Surrogate)
        other.__dict__ |= self.__dict__ | {"_seed": seed}
        return other

    def at(self, variant: Variant) -> Surrogate:
        """Return what measures with another seed."""
        other = self.with_seed(self._seed)
        other.__dict__ |= {"_repeat": variant.repeat}
        return other

    def relative_cost(self, variant: Variant) -> float:  # noqa: ARG002 - the protocol's
        return 1.0

    @property
    def fidelity(self) -> str:
        return f"surrogate, again with seed {self._repeat}" if self._repeat else "surrogate"

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
            digest = hashlib.sha256(bits.tobytes() + str(self._seed).encode() + b"again" * self._repeat).digest()
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
    return [log for name, log in _beside(path).items() if name.startswith("seed") and "steps" not in name]


def read_longer(path: Path) -> dict[str, Log]:
    """Return the logs of longer trainings that lie beside a log, by what they are called."""
    return {name: log for name, log in _beside(path).items() if name.startswith("steps")}


def _beside(path: Path) -> dict[str, Log]:
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
    found = sorted(path.parent.glob(f"{stem}.*.jsonl{'.gz' if path.suffix == '.gz' else ''}"))
    logs = {one.name.removeprefix(f"{stem}.").removesuffix(".gz").removesuffix(".jsonl"): one for one in found}
    return {name: Log.read(one) for name, one in logs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", default="resnet20")
    parser.add_argument("--log", type=Path, help="of the problem (the published one)")
    options = parser.parse_args()
    path = options.log or log_path(options.problem)
    try:
        log = Log.read(path)
    except InputFileError as error:
        sys.exit(f"error: {error}")
    print(f"{path.name}: {len(log)} policies, {len(log.layer_names)} layers, {FOLDS}-fold cross-validation")
    show_models(log)
    show_sources(log, "index+process")
    show_noise(log, path)
    show_longer(log, path)


def show_models(log: Log) -> None:
    """Print errors of every model on held-out policies: over all, and near uniform 8/8, where searches end."""
    near = log.accuracy >= log.accuracy[0] - NEAR_POINTS / 100
    title = f"within {NEAR_POINTS:g} points of 8/8 ({near.sum()}): RMSE   MAE     R2    tau"
    print(
        f"{'model':15} {'of':10} {'RMSE':>7} {'MAE':>6} {'R2':>6} {'tau':>6} | accuracy, points: RMSE   MAE | {title}"
    )
    for name, make in MODELS.items():
        for title, values in (("log loss", log.log_score), ("log error", log.log_error)):
            predicted = cross_validate(make, log.bits, values)
            found, close = judge(predicted, values), judge(predicted[near], values[near])
            line = f"{name:15} {title:10} {found.rmse:7.4f} {found.mae:6.4f} {found.r2:6.3f} {found.tau:6.3f}"
            if title == "log error":
                rest = 100 * (np.exp(values) - np.exp(predicted))
                line += f" | {root_mean_square(rest):22.2f} {np.abs(rest).mean():5.2f}"
                line += f" | {root_mean_square(rest[near]):34.2f} {np.abs(rest[near]).mean():5.2f}"
            else:
                line += f" | {'':22} {'':5} | {close.rmse:34.4f} {close.mae:5.3f}"
            print(f"{line} {close.r2:6.3f} {close.tau:6.3f}", flush=True)


def show_sources(log: Log, model: str) -> None:
    """Print the errors of one model by where the policies come from."""
    predicted = [cross_validate(MODELS[model], log.bits, values) for values in (log.log_score, log.log_error)]
    print(f"{model} by source:")
    for source in sorted(set(log.sources)):
        inside = np.array([name == source for name in log.sources])
        loss = predicted[0][inside] - log.log_score[inside]
        points = 100 * (np.exp(log.log_error[inside]) - np.exp(predicted[1][inside]))
        line = f"  {source:18} {inside.sum():4} policies, RMSE {root_mean_square(loss):.4f} of log loss, "
        print(f"{line}{root_mean_square(points):.2f} points of accuracy")


def root_mean_square(values: FloatArray) -> float:
    return float(np.sqrt((values**2).mean()))


def show_noise(log: Log, path: Path) -> None:
    others = read_repeats(path)
    if not others:
        print("no policies were measured under other seeds")
        return
    noise = measure_noise(log, others)
    points = 100 * noise.error * (1.0 - log.accuracy[0])
    print(
        f"noise of a measurement ({len(others)} other seeds of {len(others[0])} policies): log loss {noise.score:.4f}, "
        f"log error {noise.error:.4f} ({points:.2f} points at 8/8), correlation {noise.correlation:.2f}"
    )


def show_longer(log: Log, path: Path) -> None:
    """Print how far short trainings order policies as longer ones do."""
    places = _places(log)
    for name, longer in read_longer(path).items():
        short = np.array([places[bits.tobytes()] for bits in longer.bits])
        pairs = ((log.score[short], longer.score), (log.accuracy[short], longer.accuracy))
        ranks = [(spearmanr(*pair).statistic, kendalltau(*pair).statistic) for pair in pairs]
        listed = ", ".join(
            f"{title} {rho:.3f} (Kendall {tau:.3f})"
            for title, (rho, tau) in zip(("loss", "accuracy"), ranks, strict=True)
        )
        print(f"rank correlation with {name}, {len(longer)} policies: {listed}")


if __name__ == "__main__":
    main()
