"""Data that a user brings: class folders of images (or an archive of them) and `.npz` arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.array_files import check_kinds, read_arrays, write_arrays
from mho.data.dataset import as_samples
from mho.data.images import PARTS, Entry, ImageOptions, decode_parts, fingerprint, list_archive, list_folder
from mho.data.raw import RawData, Samples
from mho.data.spec import DataSpec
from mho.errors import DataError, MhoError
from mho.input_files import check_memory, is_folder
from mho.task.task import CLASSIFICATION, Task


def read_image_folder(root: Path, spec: DataSpec, cache: Path) -> RawData:
    """Read `train/`, and `val/` and `test/` where they exist, each with one folder a class. See `DataSpec`."""
    return read_labelled_images(root, cache, channels=spec.channels, resize=spec.resize, crop=spec.crop)


def read_labelled_images(
    root: Path, cache: Path, *, channels: int, resize: int | None = None, crop: int | None = None
) -> RawData:
    """Read images in class folders from a folder or a tar archive; decode them once, then take them from `cache`.

    Raises:
        InputFileError: missing or unreadable root, or something in it that is no regular file.
        DataError: a broken image (named), an empty class, images of different sizes, no `train/`.
        MemoryBudgetError: an image, or all of them, would take more memory than the budget.
    """
    options = ImageOptions(channels, resize, crop)
    entries = list_folder(root) if is_folder(root) else None
    kept = cache / f"images-{fingerprint(root, entries, options)}.npz"
    if (data := _read_kept(kept, str(root))) is not None:
        return data
    arrays = _decode(root, list_archive(root) if entries is None else entries, options)
    data = _raw_data(arrays, str(root))
    write_arrays(kept, arrays)
    return data


def _read_kept(path: Path, where: str) -> RawData | None:
    """Return what is kept; None where nothing is, or something is damaged: it is then made anew."""
    try:
        return _raw_data(read_arrays(path), where)
    except MhoError:
        return None


def _raw_data(arrays: dict[str, NDArray[Any]], where: str) -> RawData:
    check_kinds(arrays, {"classes": ("U", 1)}, where=where, expected="decoded images")
    parts: dict[str, Samples | None] = {}
    for part in PARTS:
        images, labels = f"{part}_images", f"{part}_labels"
        if part == "train" or images in arrays:
            check_kinds(arrays, {images: ("u", 4), labels: ("i", 1)}, where=where, expected="decoded images")
        parts[part] = (arrays[images], arrays[labels]) if images in arrays else None
    assert parts["train"] is not None, "check_kinds holds that there are training images"
    return RawData(where, parts["train"], parts["test"], parts["val"], tuple(arrays["classes"].tolist()))


def _decode(root: Path, entries: list[Entry], options: ImageOptions) -> dict[str, NDArray[Any]]:
    names = sorted({entry.label for entry in entries if entry.part == "train"})
    if not names:
        raise DataError("no training images", where=str(root), expected="train/<class>/<image>, one folder a class")
    for entry in entries:
        if entry.label not in names:
            raise DataError(f"class {entry.label!r} has no training image", where=f"{root}/{entry.part}/{entry.label}")
    arrays = decode_parts(root, entries, names, options)
    arrays["classes"] = np.array(names)
    return arrays


_NAMES = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path, task: Task = CLASSIFICATION) -> RawData:
    """Read `x_train`, `y_train`, `x_test`, `y_test` from an `.npz` file.

    Images are [N, C, H, W], [N, H, W] (one channel) or vectors [N, features]; uint8 0..255 or floating point; vectors
    of other whole numbers are tokens (`as_samples`). Labels are whole numbers from 0. Of other tasks than
    classification, samples are [N, ...] of any shape, and targets what the task takes (`Task.as_targets`). Pickled
    arrays are refused.

    Raises:
        InputFileError, DataError: names the array.
        MemoryBudgetError: the arrays would take more memory than the budget.
    """
    return read_parts(read_arrays(path, _NAMES), str(path), task)


def read_parts(arrays: Mapping[str, NDArray[Any]], where: str, task: Task) -> RawData:
    """Return the data of arrays by the names that `read_npz` takes. Raises as it does."""
    if missing := [name for name in _NAMES if name not in arrays]:
        raise DataError(f"{', '.join(missing)} missing", where=where, expected=", ".join(_NAMES))
    check_memory(sum(4 * array.size for array in arrays.values() if array.dtype.kind == "f"), "images", where=where)
    train, test = (
        (
            _images(arrays[f"x_{part}"], f"{where}: x_{part}", task),
            _labels(arrays[f"y_{part}"], f"{where}: y_{part}", task),
        )
        for part in ("train", "test")
    )
    for name, one, other in zip("xy", train, test, strict=True):
        if one.shape[1:] != other.shape[1:] or one.dtype != other.dtype:
            raise DataError(
                f"{name}_test is {other.dtype} {other.shape}, {name}_train {one.dtype} {one.shape}",
                where=where,
                expected="the same type and shape after the first axis",
            )
    classes = 0
    if task.has_classes:
        kept = [labels[labels != task.ignored_label] for labels in (train[1], test[1])]
        classes = int(max(labels.max(initial=-1) for labels in kept)) + 1
        if classes > train[1].size:
            raise DataError(f"{classes} classes, {train[1].size} training samples", where=where)
    return RawData(where, train, test, None, tuple(str(number) for number in range(classes)), task=task)


def _images(array: NDArray[Any], where: str, task: Task) -> NDArray[Any]:
    if not task.is_classification:
        if array.ndim < 2:
            raise DataError(f"shape {array.shape}", where=where, expected="[N, ...], each sample an array")
    elif array.ndim not in (2, 3, 4):
        raise DataError(f"shape {array.shape}", where=where, expected="[N, C, H, W], [N, H, W] or [N, features]")
    is_vector_of_tokens = array.dtype.kind in "iu" and array.ndim == 2
    if task.is_classification and array.dtype != np.uint8 and array.dtype.kind != "f" and not is_vector_of_tokens:
        raise DataError(
            f"type {array.dtype}", where=where, expected="uint8 or floating point; of tokens integers [N, positions]"
        )
    array = as_samples(array, task, where=where)
    return array[:, None] if array.ndim == 3 and task.is_classification else array


def _labels(array: NDArray[Any], where: str, task: Task) -> NDArray[Any]:
    if not task.is_classification:
        return task.as_targets(array, where=where)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{array.dtype} of shape {array.shape}", where=where, expected="whole numbers, shape [N]")
    for index in (array.argmin(), array.argmax()) if array.size else ():
        if not 0 <= int(array[index]) < 1 << 31:
            raise DataError(f"label {array[index]} of sample {index}", where=where, expected="0 or more, below 2^31")
    return array.astype(np.int64)
