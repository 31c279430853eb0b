"""Kinds of tasks, one record each: what outputs and targets are, and what may be trained on.

Which metrics suit a kind is said by the metrics (`mho.task.metrics`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

TaskKind = Literal[
    "classification",
    "multi-label",
    "regression",
    "segmentation",
    "sequence-labelling",
    "language-modelling",
    "custom",
]
CROSS_ENTROPY, BINARY = "cross-entropy", "binary-cross-entropy"
SQUARED, ABSOLUTE = "mean-squared-error", "mean-absolute-error"


@dataclass(frozen=True)
class Kind:
    """What outputs and targets of a kind of task are.

    Attributes:
        losses: that suit it, the usual one first; none where the loss is the user's.
        outputs, targets: their shapes and numbers, for people.
        class_axis: of outputs [N, ...], where the scores of classes lie; None: targets are no classes.
        has_positions: true where each sample has a class at each of many positions.
    """

    losses: tuple[str, ...]
    outputs: str
    targets: str
    class_axis: int | None = None
    has_positions: bool = False


KINDS: Mapping[TaskKind, Kind] = MappingProxyType(
    {
        "classification": Kind((CROSS_ENTROPY,), "[N, classes]", "classes from 0, [N]", class_axis=1),
        "multi-label": Kind((BINARY,), "[N, labels]", "0 or 1 for each label, [N, labels]"),
        "regression": Kind((SQUARED, ABSOLUTE), "[N, ...]", "numbers, of the outputs' shape"),
        "segmentation": Kind(
            (CROSS_ENTROPY,), "[N, classes, H, W]", "classes from 0, [N, H, W]", class_axis=1, has_positions=True
        ),
        "sequence-labelling": Kind(
            (CROSS_ENTROPY,), "[N, positions, classes]", "classes from 0, [N, positions]",
            class_axis=-1, has_positions=True,
        ),
        "language-modelling": Kind(
            (CROSS_ENTROPY,), "[N, positions, tokens]", "next tokens, [N, positions]",
            class_axis=-1, has_positions=True,
        ),
        "custom": Kind((), "of any shape", "of any shape"),
    }
)  # fmt: skip
"""Every kind of task by name."""

assert set(KINDS) == set(get_args(TaskKind)), "every kind has a record"
