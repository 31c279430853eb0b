"""The table `[task]` of a configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mho.errors import MhoError
from mho.frozen_model import FrozenModel
from mho.task.kinds import TaskKind
from mho.task.metrics import list_metrics
from mho.task.task import Task


class TaskSettings(FrozenModel):
    """What the network is for: what it is trained on and judged by."""

    kind: TaskKind = "classification"
    """What outputs and targets are. `classification`: one class a sample; `multi-label`: any number of labels;
    `regression`: numbers of the outputs' shape; `segmentation`: a class for each pixel; `sequence-labelling`: a class
    for each position; `language-modelling`: the next token at each position; `custom`: loss and metric are yours."""
    loss: str | None = Field(default=None, min_length=1)
    """What training makes least, and what scores candidates on the calibration split: `cross-entropy`,
    `binary-cross-entropy`, `mean-squared-error`, `mean-absolute-error`, or a function of yours, `file.py:function`,
    called with tensors (outputs, targets), which returns the mean over samples. Left out: the kind's usual one."""
    metric: str | None = Field(
        default=None,
        min_length=1,
        description=f"What networks are judged by: {list_metrics()}, or a function of yours, `file.py:function`,\n"
        "called with arrays (outputs, targets) of all samples, which returns a number. Left out: the kind's usual one.",
    )
    unit: str = ""
    """Unit of your own metric, for people."""
    better: Literal["more", "less"] | None = None
    """Whether more or less of your own metric is better; given for it alone."""
    ignored_label: int | None = None
    """A class whose pixels or positions do not count. Left out: all count."""

    @model_validator(mode="after")
    def _fits_together(self) -> TaskSettings:
        try:
            self.task()
        except MhoError as error:
            raise ValueError("; ".join(part for part in (error.what, error.expected, error.hint) if part)) from error
        return self

    def task(self) -> Task:
        """Return what they say."""
        return Task(
            self.kind, self.loss or "", self.metric or "", self.unit, self.better, self.ignored_label
        )  # fmt: skip
