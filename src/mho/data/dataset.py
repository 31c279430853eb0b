"""The values that data loading ends in: a split of samples with targets, and a dataset of four splits.

They hold arrays and know how inputs are normalized. Nothing here reads a file or draws a random number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.display import Table, Tabular
from mho.errors import DataError, check_float32_range
from mho.formats import plural
from mho.task.task import CLASSIFICATION, Task

Index = slice | NDArray[np.int64]

MOST_WHOLE = 1 << 24
"""Largest magnitude up to which float32, in which networks compute, holds every whole number."""

_OPERATIONS = {"add": np.add, "sub": np.subtract, "mul": np.multiply}


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Samples with what a network should answer, and how samples are normalized.

    Attributes:
        images: uint8 (0..255) or float32, [N, C, H, W] (or [N, features]); or int32, [N, ...]: whole numbers such as
            tokens; read-only.
        labels: targets of the task: of classification, int64 [N], 0..classes-1; of others [N, ...], see
            `mho.task.task.Task.as_targets`; read-only.
        mean, std: one number a channel (axis 1). uint8 images are divided by 255 first. None: inputs are the images as
            they are, for networks that normalize them, and of whole numbers.
        task: what networks are trained on and judged by on these samples.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    task: Task = CLASSIFICATION

    def __post_init__(self) -> None:
        images, task = np.asarray(self.images), self.task
        labels = (
            np.asarray(self.labels, dtype=np.int64)
            if task.is_classification
            else task.as_targets(self.labels, where="samples")
        )
        if images.dtype not in (np.uint8, np.float32, np.int32):
            raise DataError(f"images are {images.dtype}", expected="uint8, float32, or int32 of whole numbers")
        if images.ndim < 2:
            raise DataError(f"images have shape {images.shape}", expected="[N, C, H, W] or [N, features]")
        if labels.shape[:1] != (len(images),) or (task.is_classification and labels.ndim != 1):
            raise DataError(f"{len(images)} images but labels of shape {labels.shape}", expected="one label an image")
        channels = images.shape[1]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is None:
                continue
            if len(values) not in (1, channels):
                raise DataError(f"{name} has {len(values)} numbers", expected=f"1 or {channels}, one a channel")
            if not np.isfinite(values).all() or (name == "std" and min(values) <= 0):
                raise DataError(f"{name} is {values}", expected="finite, and std above 0")
        if (self.mean is None) != (self.std is None):
            raise DataError("mean without std, or std without mean", expected="both or neither")
        if self.mean is not None and images.dtype == np.int32:
            raise DataError("mean and std for whole numbers", expected="neither: networks take tokens as they are")
        object.__setattr__(self, "images", _read_only(images))
        object.__setattr__(self, "labels", _read_only(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({plural(len(self), 'sample')}, {self.images.dtype} {list(self.sample_shape)})"

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample: [C, H, W] or [features]."""
        return tuple(self.images.shape[1:])

    @property
    def normalization(self) -> tuple[tuple[str, NDArray[np.float32]], ...]:
        """What makes inputs of images: float32 operations in their order, each with its constant [C, 1, 1] (or [C])."""
        if self.mean is None or self.std is None:
            return ()
        scale, mean = 1.0 / np.asarray(self.std, dtype=np.float64), np.asarray(self.mean, dtype=np.float64)
        is_scaled = self.images.dtype == np.uint8
        steps = (("mul", scale / 255.0), ("add", -mean * scale)) if is_scaled else (("sub", mean), ("mul", scale))
        shape = (-1,) + (1,) * (self.images.ndim - 2)
        return tuple((operation, numbers.astype(np.float32).reshape(shape)) for operation, numbers in steps)

    def inputs(self, index: Index) -> NDArray[np.float32]:
        """Return the normalized float32 inputs [n, C, H, W] of the samples that `index` picks."""
        inputs = self.images[index].astype(np.float32)
        for operation, numbers in self.normalization:
            inputs = _OPERATIONS[operation](inputs, numbers, out=inputs)
        return inputs

    def take(self, index: Index) -> Split:
        """Return the split of the samples that `index` picks, in that order."""
        return Split(self.images[index], self.labels[index], self.mean, self.std, self.task)

    def spread(self, count: int) -> Split:
        """Return `count` samples (all, where there are fewer) evenly spaced, so that sorted files give every class."""
        kept = min(count, len(self))
        return self.take(np.arange(kept, dtype=np.int64) * len(self) // kept)


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Tabular):
    """Four splits that share no sample.

    Attributes:
        name: for people.
        classes: number of classes; 0 of tasks without classes.
        train: what weights are trained on.
        calibration: fixed; ranges are calibrated and policies scored (by loss) on it.
        validation: accuracy of candidates is measured on it.
        test: the final figure; no search, no training and no choice sees it.
        class_names: one a class, or empty.
    """

    name: str
    classes: int
    train: Split
    calibration: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.classes < 2 and self.task.has_classes:
            raise DataError(f"{self.classes} classes", where=self.name, expected="at least 2")
        for name, split in self.splits.items():
            if len(split) == 0:
                raise DataError(f"the {name} split is empty", where=self.name)
            if split.sample_shape != self.train.sample_shape:
                raise DataError(
                    f"{name} samples have shape {split.sample_shape}, training samples {self.train.sample_shape}",
                    where=self.name,
                    expected="one shape for all samples",
                )
            if split.task != self.task or split.labels.shape[1:] != self.train.labels.shape[1:]:
                raise DataError(
                    f"{name} has targets of shape {list(split.labels.shape[1:])} for {split.task.kind}",
                    where=self.name,
                    expected=f"one task, and targets of one shape: {list(self.train.labels.shape[1:])} for training",
                )
            if self.task.has_classes:
                check_labels(split.labels, self.classes, where=f"{self.name}, {name}", ignored=self.task.ignored_label)

    @property
    def task(self) -> Task:
        """What networks are trained on and judged by."""
        return self.train.task

    @property
    def splits(self) -> dict[str, Split]:
        """The four splits by name."""
        return {
            "train": self.train,
            "calibration": self.calibration,
            "validation": self.validation,
            "test": self.test,
        }

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample: [C, H, W] or [features]."""
        return self.train.sample_shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of the target of one sample; () of one class a sample."""
        return tuple(self.train.labels.shape[1:])

    @property
    def outputs(self) -> int:
        """How many outputs a network has for each sample or position: classes, else numbers of a vector, else 0."""
        return self.classes or (self.target_shape[0] if len(self.target_shape) == 1 else 0)

    def __repr__(self) -> str:
        return f"Dataset({self._summary})"

    @property
    def _summary(self) -> str:
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        kind = f"{self.classes:,} classes" if self.task.has_classes else f"targets {list(self.train.labels.shape[1:])}"
        return f"{self.name}: {sizes}; samples {list(self.sample_shape)}, {kind}"

    def table(self) -> Table:
        """Return one row a split; classes are those that occur in it."""
        shape = " x ".join(map(str, self.sample_shape))
        rows = (
            (
                name,
                len(split),
                shape,
                str(split.images.dtype),
                len(np.unique(split.labels)) if self.task.has_classes else None,
            )
            for name, split in self.splits.items()
        )
        return Table(self._summary, ("split", "samples", "shape", "type", "classes"), tuple(rows))

    def unnormalized(self) -> Dataset:
        """Return the same dataset with inputs that are its samples as they are, for networks that normalize them."""
        raw = {name: replace(split, mean=None, std=None) for name, split in self.splits.items()}
        return replace(
            self, train=raw["train"], calibration=raw["calibration"], validation=raw["validation"], test=raw["test"]
        )


def as_samples(array: NDArray[Any], task: Task, *, where: str) -> NDArray[Any]:
    """Return samples [N, ...] in the type in which splits hold them.

    uint8 are pixels, scaled and normalized; other whole numbers, and all of language modelling, are taken as they are,
    as int32.

    Args:
        array: of numbers.
        task: what the samples have targets of.
        where: what they are, for errors.

    Raises:
        DataError: other than real numbers, whole ones beyond 2^24 and -2^24, or others beyond float32.
    """
    is_language = task.kind == "language-modelling"
    if array.dtype.kind not in ("iu" if is_language else "fiub"):
        wanted = "tokens: whole numbers" if is_language else "real numbers"
        raise DataError(f"samples of type {array.dtype}", where=where, expected=wanted)
    if array.dtype.kind in "fb":
        with np.errstate(over="ignore"):
            samples = array.astype(np.float32)
        if array.itemsize > samples.itemsize and np.isinf(samples).any():  # infinities are refused with the rest
            check_float32_range(array, where=where)
        return samples
    if array.dtype == np.uint8 and not is_language:
        return array
    if array.size and not (int(array.min()) >= -MOST_WHOLE and int(array.max()) <= MOST_WHOLE):
        raise DataError(
            f"whole numbers from {array.min()} to {array.max()}", where=where,
            expected=f"{-MOST_WHOLE}..{MOST_WHOLE}, which float32 holds exactly", hint="give other numbers as float32",
        )  # fmt: skip
    return array.astype(np.int32)


def check_labels(labels: NDArray[np.int64], classes: int, *, where: str, ignored: int | None = None) -> None:
    """Raise `DataError` unless all labels [N, ...] but the ignored one are in 0..classes-1."""
    wrong = (labels < 0) | (labels >= classes)
    bad = np.argwhere(wrong if ignored is None else wrong & (labels != ignored))
    if len(bad):
        first = tuple(bad[0])
        raise DataError(
            f"label {labels[first]} of sample {first[0]} is out of range", where=where,
            expected=f"0..{classes - 1}", hint=hint_of_labels(int(labels.max()), classes),
        )  # fmt: skip


def hint_of_labels(largest: int, classes: int) -> str:
    """Return what helps where the largest label is as many as there are classes; else ""."""
    return f"labels count from 0: 0..{classes - 1}" if largest == classes else ""


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.setflags(write=False)
    return view
