"""Metrics, one record each: what is summed over samples, the value of these sums, unit, direction, kinds of tasks.

Each is a function of sums over samples, so that it is measured batch by batch, and its uncertainty follows from leaving
out one sample at a time (the jackknife: Efron and Stein, Annals of Statistics 9, 1981). A metric of the user's own is
a function of all samples together. One more metric is one more record of `METRICS`, with its functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import ConfigError
from mho.formats import NARROW_SPACE
from mho.task.kinds import TaskKind

FloatArray = NDArray[np.float64]

Rows = Callable[[NDArray[Any], NDArray[Any], NDArray[np.bool_] | None], FloatArray]
BEST_SNR_DB = 200.0
"""What is reported for outputs that equal their targets."""


@dataclass(frozen=True)
class Metric:
    """What a network is judged by, and how it is shown: of the user's own metrics, all that is known.

    Its *quality* is its value where more is better, and the negative of it where less is better: whatever compares
    networks compares qualities.

    Attributes:
        name: in configurations.
        words: for people.
        unit: of values as shown, such as "%" or "dB"; may be empty.
        is_more_better: which way is better.
        scale: values as shown over values as measured: 100 for percent.
        digits: behind the point of a value as shown; None: four significant ones.
        worst: least quality that there is; minus infinity where there is none.
    """

    name: str
    words: str
    unit: str = ""
    is_more_better: bool = True
    scale: float = 1.0
    digits: int | None = None
    worst: float = -math.inf

    @property
    def drop_unit(self) -> str:
        """Unit of differences as shown: "points" of percent."""
        return "points" if self.unit == "%" else self.unit

    def shown(self, quality: float) -> float:
        """Return the value of a quality in the metric's unit."""
        return quality * self.scale if self.is_more_better else -quality * self.scale

    def allowed(self, drop: float) -> float:
        """Return how much quality a drop in the metric's unit is."""
        return drop / self.scale

    def check_drop(self, drop: float, *, where: str) -> None:
        """Check how much may be lost, in the metric's unit. Raises `ConfigError`."""
        most = 100.0 if self.unit == "%" else math.inf
        if not 0 <= drop <= most or math.isinf(drop):
            raise ConfigError(
                f"allowed_drop is {drop}", where=where, expected="0..100 points" if self.unit == "%" else "0 or more"
            )

    def format(self, quality: float | None, *, page: bool = False) -> str:
        """Return a quality as people say it: ``97.60 %``, ``21.35 dB``; a dash for none."""
        if quality is None:
            return "\u2014"
        return self._with(self.format_number(self.shown(quality)), self.unit, page)

    def format_drop(self, drop: float) -> str:
        """Return a difference in the metric's unit: ``0.20 points``, ``0.35 dB``."""
        return self._with(self.format_number(drop), self.drop_unit, page=False)

    def format_range(self, low: float, high: float) -> str:
        """Return the values of two qualities without their unit, the lesser first: ``40.10 to 46.90``."""
        return " to ".join(self.format_number(value) for value in sorted((self.shown(low), self.shown(high))))

    def tell_side(self, drop: float) -> str:
        """Return on which side the value of the worse one lies: ``below``, or ``above`` where less is better."""
        return "below" if (drop > 0) == self.is_more_better else "above"

    def format_number(self, value: float) -> str:
        """Return a value in the metric's unit without it."""
        return f"{value:.4g}" if self.digits is None else f"{value:.{self.digits}f}"

    def _with(self, number: str, unit: str, page: bool) -> str:
        return f"{number}{NARROW_SPACE if page else ' '}{unit}" if unit else number


@dataclass(frozen=True, kw_only=True)
class SummedMetric(Metric):
    """A metric that is a function of sums over samples.

    Attributes:
        rows: returns what is summed, float64 [N, numbers], of outputs [N, ...] (scores of classes last: [N, positions,
            classes]), targets [N, ...] and, of classes, which positions count (bool [N, positions]; None: all).
        finish: returns values [...] of sums [..., numbers].
        usual_for: kinds of tasks that it judges where no metric is named.
        suits: other kinds of tasks that may name it.
    """

    rows: Rows
    finish: Callable[[FloatArray], FloatArray]
    usual_for: tuple[TaskKind, ...] = ()
    suits: tuple[TaskKind, ...] = ()

    def jackknife_error(self, rows: FloatArray) -> float:
        """Return the standard error of the value of rows [N, numbers], by leaving out each sample once.

        0, which is unknown, of one sample, and where a value is not finite: the signal-to-noise ratio without signal.
        """
        count = len(rows)
        with np.errstate(invalid="ignore"):  # infinite sums
            without = self.finish(rows.sum(axis=0) - rows)
        if count < 2 or not np.isfinite(without).all():
            return 0.0
        return float(math.sqrt((count - 1) / count * np.square(without - without.mean()).sum()))


def log_softmax(scores: NDArray[Any]) -> FloatArray:
    """Return logarithms of softmax over the last axis, in float64."""
    shifted = scores.astype(np.float64) - scores.max(axis=-1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def cross_entropy_rows(outputs: NDArray[Any], targets: NDArray[Any], keep: NDArray[np.bool_] | None) -> FloatArray:
    """Return sums of cross entropies (natural logarithm) and how many there are, of each sample, float64 [N, 2]."""
    true = targets if keep is None else np.where(keep, targets, 0)
    losses = -np.take_along_axis(log_softmax(outputs), true[..., None], axis=-1)[..., 0]
    return _sums_and_counts(losses, keep)


def _sums_and_counts(values: NDArray[Any], keep: NDArray[np.bool_] | None) -> FloatArray:
    """Return sums of values [N, ...] over all but the first axis and how many there are, float64 [N, 2]."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    kept = np.ones(flat.shape, dtype=bool) if keep is None else keep.reshape(flat.shape)
    return np.stack([np.where(kept, flat, 0).sum(axis=1), kept.sum(axis=1).astype(np.float64)], axis=1)


def _accuracy(outputs: NDArray[Any], targets: NDArray[Any], keep: NDArray[np.bool_] | None) -> FloatArray:
    return _sums_and_counts(outputs.argmax(axis=-1) == targets, keep)


def _mean_iou(outputs: NDArray[Any], targets: NDArray[Any], keep: NDArray[np.bool_] | None) -> FloatArray:
    classes, found = outputs.shape[-1], outputs.argmax(axis=-1)
    rows = np.zeros((len(outputs), 2 * classes))
    for one in range(classes):
        own, theirs = found == one, targets == one
        if keep is not None:
            own, theirs = own & keep, theirs & keep
        rows[:, one] = (own & theirs).reshape(len(rows), -1).sum(axis=1)
        rows[:, classes + one] = (own | theirs).reshape(len(rows), -1).sum(axis=1)
    return rows


def _f1(outputs: NDArray[Any], targets: NDArray[Any], keep: NDArray[np.bool_] | None) -> FloatArray:  # noqa: ARG001
    found, there = outputs > 0, targets > 0.5
    axes = tuple(range(1, outputs.ndim))
    return np.stack([(found & there).sum(axis=axes), (found != there).sum(axis=axes)], axis=1).astype(np.float64)


def _exact_match(outputs: NDArray[Any], targets: NDArray[Any], keep: NDArray[np.bool_] | None) -> FloatArray:
    same = ((outputs > 0) == (targets > 0.5)).reshape(len(outputs), -1).all(axis=1)
    return _sums_and_counts(same[:, None], keep)


def _squared_errors(outputs: NDArray[Any], targets: NDArray[Any], keep: NDArray[np.bool_] | None) -> FloatArray:
    return _sums_and_counts(np.square(outputs.astype(np.float64) - targets), keep)


def _absolute_errors(outputs: NDArray[Any], targets: NDArray[Any], keep: NDArray[np.bool_] | None) -> FloatArray:
    return _sums_and_counts(np.abs(outputs.astype(np.float64) - targets), keep)


def _signal_and_noise(outputs: NDArray[Any], targets: NDArray[Any], keep: NDArray[np.bool_] | None) -> FloatArray:
    signal = _sums_and_counts(np.square(targets.astype(np.float64)), keep)[:, 0]
    return np.stack([signal, _squared_errors(outputs, targets, keep)[:, 0]], axis=1)


def _mean(sums: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def _exponential_of_mean(sums: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(_mean(sums)))


def _mean_of_ratios(sums: FloatArray) -> FloatArray:
    """Return the mean over classes of intersections over unions; of sums, the first half is the intersections."""
    half = sums.shape[-1] // 2
    both, either = sums[..., :half], sums[..., half:]
    there = either > 0
    return np.asarray((np.where(there, both / np.where(there, either, 1), 0)).sum(-1) / np.maximum(1, there.sum(-1)))


def _f1_of_counts(sums: FloatArray) -> FloatArray:
    right, wrong = sums[..., 0], sums[..., 1]
    return np.asarray(2 * right / np.maximum(1, 2 * right + wrong))


def _decibels(sums: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = 10 * np.log10(sums[..., 0] / sums[..., 1])
    return np.asarray(np.where(sums[..., 1] == 0, BEST_SNR_DB, np.minimum(ratio, BEST_SNR_DB)))


_PERCENT: Mapping[str, Any] = {"unit": "%", "scale": 100.0, "digits": 2, "worst": 0.0}

METRICS: Mapping[str, SummedMetric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            SummedMetric(
                name="accuracy", words="accuracy", **_PERCENT, rows=_accuracy, finish=_mean,
                usual_for=("classification", "sequence-labelling"), suits=("segmentation", "language-modelling"),
            ),
            SummedMetric(
                name="f1", words="F1 of all labels together", **_PERCENT, rows=_f1, finish=_f1_of_counts,
                usual_for=("multi-label",),
            ),
            SummedMetric(
                name="exact-match", words="share of samples with all labels right", **_PERCENT, rows=_exact_match,
                finish=_mean, suits=("multi-label",),
            ),
            SummedMetric(
                name="mean-iou", words="mean IoU", **_PERCENT, rows=_mean_iou, finish=_mean_of_ratios,
                usual_for=("segmentation",),
            ),
            SummedMetric(
                name="mse", words="mean squared error", is_more_better=False, rows=_squared_errors, finish=_mean,
                usual_for=("regression",),
            ),
            SummedMetric(
                name="mae", words="mean absolute error", is_more_better=False, rows=_absolute_errors, finish=_mean,
                suits=("regression",),
            ),
            SummedMetric(
                name="snr", words="signal-to-noise ratio", unit="dB", digits=2, rows=_signal_and_noise,
                finish=_decibels, suits=("regression",),
            ),
            SummedMetric(
                name="perplexity", words="perplexity", is_more_better=False, digits=3, rows=cross_entropy_rows,
                finish=_exponential_of_mean, usual_for=("language-modelling",),
            ),
        )
    }
)  # fmt: skip
"""Every metric but the user's own, by name."""


def metrics_of(kind: TaskKind) -> tuple[str, ...]:
    """Return the names of metrics that suit a kind of task, the usual one first; none where it must be the user's."""
    usual = [name for name, metric in METRICS.items() if kind in metric.usual_for]
    return (*usual, *(name for name, metric in METRICS.items() if kind in metric.suits))


def list_metrics() -> str:
    """Return the metrics with their units as one sentence's part: ```accuracy` (%), `mse`, `snr` (dB)``."""
    return ", ".join(f"`{name}` ({metric.unit})" if metric.unit else f"`{name}`" for name, metric in METRICS.items())
