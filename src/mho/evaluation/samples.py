"""Samples with labels, which classifications are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.array_files import read_arrays
from mho.data.dataset import hint_of_labels
from mho.errors import DataError

Inputs = Mapping[str, NDArray[Any]] | NDArray[Any]

LABELS = "labels"
"""Name of the labels in a file of samples."""


@dataclass(frozen=True, eq=False)
class LabelledSamples:
    """Samples and their classes.

    Attributes:
        inputs: arrays [N, ...] by the names of the network's inputs, or the only one.
        labels: the class of each sample, integers [N], from 0.

    Raises:
        DataError: labels are no integers from 0, [N], or there is none.
    """

    inputs: Inputs
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or not labels.size or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise DataError(
                f"labels of shape {list(labels.shape)} and type {labels.dtype}",
                where=LABELS,
                expected="integers from 0, one a sample, at least one",
            )
        # Unsigned labels from 2^63 on stay as they are: int64 would make them negative, and `check` refuses them.
        fits = int(labels.max()) <= np.iinfo(np.int64).max
        object.__setattr__(self, "labels", labels.astype(np.int64) if fits else labels)

    def __len__(self) -> int:
        return len(self.labels)

    def accuracy(self, outputs: Mapping[str, NDArray[np.float32]]) -> float:
        """Return the share of samples whose largest output is that of their class.

        Args:
            outputs: of a network with one output, [N, classes].

        Raises:
            DataError: there are more outputs, of another shape, or other samples or classes.
        """
        return self.count_correct(outputs) / len(self)

    def count_correct(self, outputs: Mapping[str, NDArray[np.float32]]) -> int:
        """Return the number of these samples. Arguments and errors are those of `accuracy`."""
        self.check({name: array.shape for name, array in outputs.items()})
        found = next(iter(outputs.values()))
        return int((found.argmax(axis=1) == self.labels).sum())

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Check labels against the shapes of outputs [N, ...], by name.

        Raises:
            DataError: as `accuracy`.
        """
        shape = next(iter(shapes.values()))
        if len(shapes) != 1 or len(shape) != 2 or shape[1] < 2:
            listed = ", ".join(f"{name} {list(one)}" for name, one in shapes.items())
            raise DataError(f"outputs {listed} are no scores of classes", expected="one output [N, classes]")
        if shape[0] != len(self.labels):
            raise DataError(f"{len(self.labels)} labels for {shape[0]} samples", where=LABELS, expected="one a sample")
        if (largest := int(self.labels.max())) >= shape[1]:
            hint = hint_of_labels(largest, shape[1])
            raise DataError(f"a label is {largest}", where=LABELS, expected=f"0..{shape[1] - 1}", hint=hint)


def read_samples(path: str | Path) -> LabelledSamples:
    """Read samples and their labels from an .npz file: arrays by the names of inputs, and ``labels``.

    Raises:
        InputFileError: the file cannot be read.
        DataError: it holds no labels or no inputs.
    """
    arrays = read_arrays(path)
    if LABELS not in arrays or len(arrays) < 2:
        raise DataError(
            f"holds {', '.join(arrays) or 'nothing'}",
            where=str(path),
            expected=f"arrays [N, ...] by the names of the inputs, and {LABELS!r}, integers [N]",
        )
    labels = arrays.pop(LABELS)
    return LabelledSamples(arrays, labels)


def read_inputs(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read samples from an .npz file, arrays by the names of inputs; labels beside them are left out.

    Raises:
        InputFileError: the file cannot be read.
        DataError: it holds no inputs.
    """
    arrays = {name: array for name, array in read_arrays(path).items() if name != LABELS}
    if not arrays:
        raise DataError("holds no inputs", where=str(path), expected="arrays [N, ...] by the names of the inputs")
    return arrays
