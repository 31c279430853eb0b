"""The task of a network: one value that says what it is trained on, judged by, and in which unit.

Everything that judges asks it: calibration or training, search, finalists, chips, headline, report, comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mho.argument_checks import check_fields
from mho.errors import ConfigError, DataError, suggest
from mho.input_files import hash_file
from mho.task.kinds import CROSS_ENTROPY, KINDS, TaskKind
from mho.task.metrics import METRICS, FloatArray, Metric, metrics_of
from mho.user_code import load_function, short_name, user_errors

if TYPE_CHECKING:
    from torch import Tensor

_OWN = "file.py:function"


@dataclass(frozen=True)
class Task:
    """What a network is trained on and judged by.

    Attributes:
        kind: of task; it says what outputs and targets are.
        loss: "cross-entropy", "binary-cross-entropy", "mean-squared-error", "mean-absolute-error", or a function of the
            user's, ``file.py:function``, called with two tensors, outputs and targets, whose result is the mean over
            samples. Empty: the kind's usual one.
        metric_name: one of `mho.task.metrics.METRICS` that suits the kind, or a function of the user's, called with two
            arrays, outputs and targets of all samples, whose result is a number. Empty: the kind's usual one.
        unit: of the user's own metric, for people.
        better: "more" or "less": which is better of the user's own metric.
        ignored_label: of segmentation and of sequences: a class whose positions do not count; None: all count.

    Raises:
        ConfigError: an unknown kind, or a loss or metric that does not suit it.
    """

    kind: TaskKind = "classification"
    loss: str = ""
    metric_name: str = ""
    unit: str = ""
    better: Literal["more", "less"] | None = None
    ignored_label: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, "kind")
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise ConfigError(
                f"unknown kind of task {self.kind!r:.80}", expected=", ".join(KINDS), hint=suggest(self.kind, KINDS)
            )
        choices = (("loss", "loss", KINDS[self.kind].losses), ("metric_name", "metric", metrics_of(self.kind)))
        for field, what, known in choices:
            value = getattr(self, field) or (known[0] if known else "")
            object.__setattr__(self, field, value)
            if value not in known and ":" not in value:
                raise ConfigError(
                    f"{what} {value!r} for {self.kind}" if value else f"no {what}",
                    where=f"task.{what}",
                    expected=", ".join((*known, _OWN)),
                    hint=suggest(value, known),
                )
        if self.has_own_metric != (self.better is not None):
            raise ConfigError(
                f"task.better is {self.better!r} for the metric {self.metric_name}",
                where="task.better",
                expected='"more" or "less" for a metric of your own, and nothing for others',
            )
        if self.unit and not self.has_own_metric:
            raise ConfigError(
                f"task.unit is {self.unit!r} for the metric {self.metric_name}, which has its own", where="task.unit"
            )
        if self.ignored_label is not None and not self.has_positions:
            raise ConfigError(
                f"task.ignored_label for {self.kind}",
                where="task.ignored_label",
                expected="segmentation, sequence-labelling or language-modelling",
            )

    @property
    def has_own_metric(self) -> bool:
        """True where the metric is a function of the user's."""
        return ":" in self.metric_name

    @property
    def has_own_loss(self) -> bool:
        """True where the loss is a function of the user's."""
        return ":" in self.loss

    @property
    def is_classification(self) -> bool:
        """True where each sample has one class, so that errors are counted class by class."""
        return self.kind == "classification"

    @property
    def has_positions(self) -> bool:
        """True where each sample has a class at each of many positions."""
        return KINDS[self.kind].has_positions

    @property
    def has_classes(self) -> bool:
        """True where targets are numbers of classes."""
        return self.class_axis is not None

    @property
    def class_axis(self) -> int | None:
        """The axis of outputs [N, ...] where the scores of classes lie; None of tasks without classes."""
        return KINDS[self.kind].class_axis

    @cached_property
    def metric(self) -> Metric:
        """What networks are judged by."""
        if not self.has_own_metric:
            return METRICS[self.metric_name]
        words = self.metric_name.rpartition(":")[2].replace("_", " ")
        return Metric(self.metric_name, words, self.unit, self.better == "more")

    def to_json(self) -> dict[str, Any]:
        """Return plain names, and the content of the user's files as hashes: what results depend on."""
        document = {"kind": self.kind, "loss": short_name(self.loss), "metric": short_name(self.metric_name)}
        extra = {"unit": self.unit, "better": self.better, "ignored_label": self.ignored_label}
        files = {
            name: hash_file(name.rpartition(":")[0])
            for name in (self.loss, self.metric_name)
            if name.rpartition(":")[0].endswith(".py")
        }
        return {**document, **{key: value for key, value in extra.items() if value not in (None, "")},
                **({"files": list(files.values())} if files else {})}  # fmt: skip

    @classmethod
    def from_json(cls, content: Any, *, where: str) -> Task:
        """Read what `to_json` gives, to tell of what was measured: files of the user's are not read.

        Raises:
            ConfigError: it is something else.
        """
        keys = {"kind": "kind", "loss": "loss", "metric": "metric_name", "unit": "unit", "better": "better",
                "ignored_label": "ignored_label"}  # fmt: skip
        try:
            return cls(**{keys[key]: value for key, value in content.items() if key != "files"})
        except (AttributeError, KeyError, TypeError) as error:
            raise ConfigError(f"no task: {error}", where=where, expected="kind, loss and metric") from error

    def resolved(self, base: Path) -> Task:
        """Return the same with the user's files relative to a folder."""
        found: dict[str, Any] = {}
        for field in ("loss", "metric_name"):
            place, colon, function = getattr(self, field).rpartition(":")
            if place.endswith(".py"):
                found[field] = f"{base / Path(place).expanduser()}{colon}{function}"
        return replace(self, **found)

    # Targets and outputs

    def as_targets(self, targets: NDArray[Any], *, where: str) -> NDArray[Any]:
        """Return targets [N, ...] in the type that the task computes with: int64 of classes, else float32 or int64.

        Raises:
            DataError: they have another shape or type than the kind's.
        """
        targets, wanted = np.asarray(targets), KINDS[self.kind].targets
        if targets.dtype.kind not in "fiub" or (targets.ndim == 0):
            raise DataError(f"targets of type {targets.dtype}", where=where, expected=wanted)
        if self.has_classes:
            if targets.dtype.kind not in "iu" or (targets.ndim > 1) != self.has_positions:
                raise DataError(
                    f"targets of type {targets.dtype} and shape {list(targets.shape)} for {self.kind}",
                    where=where,
                    expected=wanted,
                )
            return targets.astype(np.int64)
        if self.kind == "custom" and targets.dtype.kind in "iub":
            return targets.astype(np.int64)
        with np.errstate(over="ignore"):  # what is beyond float32 is refused here
            numbers = targets.astype(np.float32)
        if not np.isfinite(numbers).all():
            raise DataError("targets hold NaN or infinity", where=where, expected=wanted)
        if self.kind == "multi-label" and not np.isin(numbers, (0, 1)).all():
            raise DataError("targets are not 0 or 1 alone", where=where, expected=wanted)
        return numbers

    def check_outputs(self, outputs: tuple[int, ...], targets: tuple[int, ...], *, where: str) -> None:
        """Check the shape of outputs [N, ...] against that of targets [N, ...]. Raises `DataError`."""
        if self.class_axis is not None:
            axis = self.class_axis % len(outputs)
            fits = len(outputs) == len(targets) + 1 and outputs[:axis] + outputs[axis + 1 :] == targets
        elif self.kind == "custom":
            fits = outputs[:1] == targets[:1]
        else:
            fits = outputs == targets
        if not fits:
            wanted = KINDS[self.kind]
            raise DataError(
                f"outputs have shape {list(outputs)}, targets {list(targets)}",
                where=where,
                expected=f"for {self.kind}: outputs {wanted.outputs}, targets {wanted.targets}",
            )

    def count_classes(self, outputs: tuple[int, ...]) -> int:
        """Return how many classes outputs [N, ...] have scores of; 0 of tasks without classes."""
        return 0 if self.class_axis is None else outputs[self.class_axis]

    def class_rows(self, outputs: Tensor) -> Tensor:
        """Return scores of classes [N, ...] as a tensor [N * positions, classes]."""
        assert self.class_axis is not None, "only tasks of classes have scores of classes"
        return outputs.movedim(self.class_axis, -1).flatten(0, -2)

    # What is measured

    def measure(self, outputs: NDArray[Any], targets: NDArray[Any]) -> Measures:
        """Measure a batch or all samples: outputs [N, ...], targets [N, ...]."""
        if self.has_own_metric:
            return Measures(self, None, ((np.array(outputs), np.array(targets)),))
        rows = METRICS[self.metric_name].rows(self.scores_last(outputs), targets, self.counted(targets))
        return Measures(self, rows)

    def scores_last(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return outputs [N, ...] with the scores of classes on the last axis; those of other tasks as they are."""
        return outputs if self.class_axis is None else np.moveaxis(outputs, self.class_axis, -1)

    def counted(self, targets: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return which of the targets [N, ...] count, bool of their shape; None: all."""
        return None if self.ignored_label is None else targets != self.ignored_label

    def count(self, targets: Any) -> int:
        """Return how many samples of a batch count in the mean loss; where labels are ignored, how many positions."""
        return len(targets) if self.ignored_label is None else int((targets != self.ignored_label).sum())

    def check_smoothing(self, label_smoothing: float) -> None:
        """Check that labels are not to be smoothed where the loss has none. Raises `ConfigError`."""
        if label_smoothing and self.loss != CROSS_ENTROPY:
            raise ConfigError(
                f"label_smoothing is {label_smoothing}, and the loss is {self.loss}",
                where="training",
                expected=f"label_smoothing with the loss {CROSS_ENTROPY}",
            )

    def call_own_metric(self, outputs: NDArray[Any], targets: NDArray[Any]) -> float:
        """Return what the user's metric tells of all samples. Raises `ConfigError` where it fails or is no number."""
        function = load_function(self.metric_name, "outputs, targets")
        with user_errors(self.metric_name):
            found = np.asarray(function(outputs, targets))
        if found.dtype.kind not in "fiub" or found.size != 1:
            given = f"{found.dtype} of shape {list(found.shape)}" if found.ndim else f"{found.item()!r:.80}"
            raise ConfigError(f"returned {given}", where=self.metric_name, expected="a finite number")
        if not math.isfinite(value := float(found.item())):
            raise ConfigError(f"returned {value}", where=self.metric_name, expected="a finite number")
        return value


@dataclass(frozen=True, eq=False)
class Measures:
    """What a task's metric needs of some samples; of several batches, they add.

    Attributes:
        task: whose metric.
        rows: what the metric sums over samples, float64 [N, numbers]; None for a metric of the user's own.
        parts: for that: outputs and targets, batch by batch.
    """

    task: Task
    rows: FloatArray | None
    parts: tuple[tuple[NDArray[Any], NDArray[Any]], ...] = ()

    @classmethod
    def join(cls, parts: list[Measures]) -> Measures:
        """Return those of all samples together."""
        rows = [part.rows for part in parts if part.rows is not None]
        return cls(
            parts[0].task, np.concatenate(rows) if rows else None, tuple(one for part in parts for one in part.parts)
        )

    @cached_property
    def quality(self) -> float:
        """The metric's value, or its negative where less is better: more is better."""
        sign = 1.0 if self.task.metric.is_more_better else -1.0
        if self.rows is None:
            outputs, targets = (np.concatenate(arrays) for arrays in zip(*self.parts, strict=True))
            return sign * self.task.call_own_metric(outputs, targets)
        return sign * float(METRICS[self.task.metric_name].finish(self.rows.sum(axis=0)))

    @property
    def standard_error(self) -> float:
        """Standard error of the quality, by the choice of samples; 0 for a metric of the user's own: unknown."""
        if self.rows is None:
            return 0.0
        if self.task.is_classification:
            return math.sqrt(self.quality * (1 - self.quality) / len(self.rows))
        return METRICS[self.task.metric_name].jackknife_error(self.rows)

    @property
    def correct(self) -> int | None:
        """Samples classified correctly; None of other tasks."""
        return int(self.rows[:, 0].sum()) if self.task.is_classification and self.rows is not None else None


CLASSIFICATION = Task()
"""One class a sample, cross entropy, accuracy."""
