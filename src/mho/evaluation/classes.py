"""How a classifier errs: the loss and the accuracy of each class, and which classes it takes for which.

Nothing here holds a matrix of classes by classes: only pairs that occur are counted, so that many classes cost little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import DataError
from mho.task.metrics import cross_entropy_rows

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier answers for labelled samples.

    Attributes:
        classes: int64 [N], the class of the largest output.
        losses: float64 [N], cross entropy of each sample, natural logarithm.
    """

    classes: Labels
    losses: NDArray[np.float64]

    @classmethod
    def of(cls, logits: NDArray[Any], labels: Labels) -> Predictions:
        """Return them of logits [N, classes]."""
        return cls(logits.argmax(axis=1).astype(np.int64), cross_entropy_rows(logits, labels, None)[:, 0])


@dataclass(frozen=True)
class ClassScore:
    """How well the samples of one class are classified.

    Attributes:
        count: its samples.
        correct: those classified correctly.
        loss: their mean cross entropy; None where there are no samples.
    """

    count: int
    correct: int
    loss: float | None


@dataclass(frozen=True)
class Confusion:
    """Samples of one class that are taken for another: `count` of class `actual`, predicted to be `predicted`."""

    actual: int
    predicted: int
    count: int


def score_classes(labels: Labels, predictions: Predictions, classes: int) -> tuple[ClassScore, ...]:
    """Return the score of each class.

    Args:
        labels: int64 [N], 0..classes - 1.
        predictions: for the same samples.
        classes: how many there are.

    Raises:
        DataError: there are other numbers of samples, or labels out of range.
    """
    _check(labels, predictions)
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(f"labels {labels.min()} to {labels.max()}", where="labels", expected=f"0..{classes - 1}")
    counts = np.bincount(labels, minlength=classes)
    correct = np.bincount(labels[labels == predictions.classes], minlength=classes)
    sums = np.bincount(labels, weights=predictions.losses, minlength=classes)
    return tuple(
        ClassScore(count, right, total / count if count else None)
        for count, right, total in zip(counts.tolist(), correct.tolist(), sums.tolist(), strict=True)
    )


def count_confusions(labels: Labels, predictions: Predictions) -> tuple[Confusion, ...]:
    """Return all pairs of classes that are confused, the most frequent first, then by class.

    Raises:
        DataError: there are other numbers of samples.
    """
    _check(labels, predictions)
    wrong = labels != predictions.classes
    pairs = np.stack([labels[wrong], predictions.classes[wrong]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple(Confusion(int(found[k, 0]), int(found[k, 1]), int(counts[k])) for k in order)


def _check(labels: Labels, predictions: Predictions) -> None:
    if not labels.shape == predictions.classes.shape == predictions.losses.shape:
        raise DataError(f"{len(predictions.classes)} predictions for {len(labels)} labels", expected="one a sample")
