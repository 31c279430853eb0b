"""What a source gives before it is cut: training samples, and test and validation samples where it has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.data.dataset import check_labels
from mho.errors import DataError
from mho.task.task import CLASSIFICATION, Task

Samples = tuple[NDArray[Any], NDArray[Any]]
"""Images [N, ...] (uint8 or float32), and labels int64 [N] or targets [N, ...] of another task."""


@dataclass(frozen=True, eq=False)
class RawData:
    """Checked arrays of a source.

    Attributes:
        where: the file or folder, for messages.
        train, test, validation: images and labels; None where the source has no such part.
        class_names: one a class; none of a task without classes.
        mean, std: a channel's, for images scaled to 0..1; None where they are to be measured.
        task: what the labels are targets of.
    """

    where: str
    train: Samples
    test: Samples | None
    validation: Samples | None
    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    task: Task = CLASSIFICATION

    def __post_init__(self) -> None:
        classes = len(self.class_names)
        for name in self.class_names:
            if not name.isascii() and name != name.encode(errors="replace").decode():
                raise DataError(f"class {name!r} is not UTF-8", where=self.where)
        for part, samples in (("train", self.train), ("test", self.test), ("validation", self.validation)):
            if samples is None:
                continue
            images, labels = samples
            where = f"{self.where}, {part}"
            if len(images) == 0:
                raise DataError("no samples", where=where)
            if len(images) != len(labels):
                raise DataError(f"{len(images)} images and {len(labels)} labels", where=where)
            if images.dtype == np.float32 and not np.isfinite(images).all():
                first = int(np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(axis=1))[0])
                raise DataError(f"sample {first} holds NaN or infinity", where=where, expected="finite numbers")
            if self.task.has_classes:
                check_labels(labels, classes, where=where, ignored=self.task.ignored_label)
        if not self.task.is_classification:
            return
        counts = np.bincount(self.train[1], minlength=classes)
        if (counts == 0).any():
            empty = int(np.argmin(counts))
            raise DataError(
                f"class {empty} ({self.class_names[empty]}) has no training sample",
                where=self.where,
                expected=f"samples of each of the {classes} classes",
            )
