"""The file of what a run's networks predict for its test samples, from which classes and runs are compared."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mho.array_files import read_arrays
from mho.cache_folder import write_atomically
from mho.errors import InputFileError
from mho.evaluation.classes import Labels, Predictions

PREDICTIONS_FILE = "predictions.npz"
_LABELS, _CLASSES, _LOSSES = "labels", "_classes", "_losses"


def write_predictions(path: Path, labels: Labels, predictions: Mapping[str, Predictions]) -> None:
    """Write labels, and predicted classes and losses of each network by its name, as .npz, atomically.

    The arrays are `labels`, `NAME_classes` and `NAME_losses`, all [N].
    """
    arrays: dict[str, Any] = {_LABELS: labels}
    for name, one in predictions.items():
        arrays |= {f"{name}{_CLASSES}": one.classes, f"{name}{_LOSSES}": one.losses}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def read_predictions(path: Path) -> tuple[Labels, dict[str, Predictions]]:
    """Return labels [N], and what each network predicts, by its name.

    Raises:
        InputFileError: the file is missing or damaged, or its arrays do not fit each other.
    """
    arrays = read_arrays(path)
    names = [name.removesuffix(_CLASSES) for name in arrays if name.endswith(_CLASSES)]
    labels, found = arrays.get(_LABELS), {}
    for name in names:
        classes, losses = arrays[f"{name}{_CLASSES}"], arrays.get(f"{name}{_LOSSES}")
        if labels is None or losses is None or not labels.shape == classes.shape == losses.shape == (labels.size,):
            raise InputFileError(
                f"{name}: classes, losses and labels do not fit each other", where=str(path), expected="arrays [N]"
            )
        if {labels.dtype.kind, classes.dtype.kind} != {"i"} or losses.dtype.kind != "f":
            raise InputFileError(f"{name}: arrays of other types", where=str(path), expected="integers and losses")
        found[name] = Predictions(classes.astype(np.int64), losses.astype(np.float64))
    if labels is None or not found:
        raise InputFileError("holds no predictions", where=str(path), expected="predictions of a run")
    return labels.astype(np.int64), found
