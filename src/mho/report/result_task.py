"""What a result says of the task, so that whoever reads it can tell what its accuracies are."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from mho.frozen_model import FrozenModel
from mho.task.metrics import METRICS, Metric
from mho.task.task import CLASSIFICATION, Task


class TaskFigures(FrozenModel):
    """What the network was trained on and judged by.

    Accuracies of a result are qualities by this metric: its value, where more is better, over `scale`; the negative of
    it, where less is better.
    """

    kind: str = CLASSIFICATION.kind
    """Kind of task."""
    loss: str = CLASSIFICATION.loss
    """What training made least."""
    metric: str = CLASSIFICATION.metric_name
    """What networks were judged by."""
    words: str = CLASSIFICATION.metric.words
    """The same for people."""
    unit: str = CLASSIFICATION.metric.unit
    """Of its values."""
    better: Literal["more", "less"] = "more"
    """Which is better."""
    scale: float = CLASSIFICATION.metric.scale
    """Values in `unit` over qualities: 100 for percent."""

    @classmethod
    def of(cls, task: Task) -> TaskFigures:
        """Describe a task."""
        metric, content = task.metric, task.to_json()
        return cls(
            kind=task.kind, loss=content["loss"], metric=content["metric"], words=metric.words, unit=metric.unit,
            better="more" if metric.is_more_better else "less", scale=metric.scale,
        )  # fmt: skip

    @property
    def title(self) -> str:
        """Name of the metric, to begin a sentence."""
        return f"{self.words[0].upper()}{self.words[1:]}"

    def with_unit(self, title: str) -> str:
        """Return the title of an axis with the metric's unit."""
        return f"{title}, {self.unit}" if self.unit else title

    def chart_value(self, quality: float | None) -> float | None:
        """Return a quality in the metric's unit: percent with four digits behind the point, others with six in all."""
        if quality is None:
            return None
        value = self.judged_by.shown(quality)
        return round(value, 4) if self.unit == "%" else float(f"{value:.6g}")

    @property
    def is_classification(self) -> bool:
        """True where accuracies are shares of samples that are classified correctly."""
        return self.kind == CLASSIFICATION.kind and self.metric == CLASSIFICATION.metric_name

    @cached_property
    def judged_by(self) -> Metric:
        """The metric, which formats its values."""
        if (known := METRICS.get(self.metric)) is not None:
            return known
        return Metric(self.metric, self.words, self.unit, self.better == "more", self.scale)
