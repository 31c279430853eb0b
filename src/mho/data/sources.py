"""Data that a user brings: class folders of images (or an archive of them) and `.npz` arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.data.cache import load_arrays, store_arrays
from mho.data.images import Entry, ImageOptions, decode_parts, fingerprint, list_archive, list_folder
from mho.data.raw import RawData, Samples
from mho.data.spec import DataSpec
from mho.errors import DataError, InputFileError

_CLASS_SEPARATOR = "\n"


def read_image_folder(root: Path, spec: DataSpec, cache: Path) -> RawData:
    """Read `train/`, and `val/` and `test/` where they exist, each with one folder a class. See `DataSpec`."""
    return read_labelled_images(root, cache, channels=spec.channels, resize=spec.resize, crop=spec.crop)


def read_labelled_images(
    root: Path, cache: Path, *, channels: int, resize: int | None = None, crop: int | None = None
) -> RawData:
    """Read images in class folders from a folder or a tar archive; decode them once, then take them from `cache`.

    Raises:
        InputFileError: missing or unreadable root.
        DataError: a broken image (named), an empty class, images of different sizes, no `train/`.
    """
    options = ImageOptions(channels, resize, crop)
    if not root.exists():
        raise InputFileError("no such file or folder", where=str(root))
    kept = cache / f"images-{fingerprint(root, options)}.npz"
    arrays = load_arrays(kept)
    if arrays is None:
        entries = list_folder(root) if root.is_dir() else list_archive(root)
        arrays = _decode(root, entries, options)
        store_arrays(kept, arrays)
    names = tuple(str(arrays["classes"]).split(_CLASS_SEPARATOR))
    parts: dict[str, Samples | None] = dict.fromkeys(("train", "val", "test"))
    for part in parts:
        if f"{part}_images" in arrays:
            parts[part] = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    train = parts["train"]
    assert train is not None, "_decode holds that there are training images"
    return RawData(str(root), train, parts["test"], parts["val"], names)


def _decode(root: Path, entries: list[Entry], options: ImageOptions) -> dict[str, NDArray[Any]]:
    names = sorted({entry.label for entry in entries if entry.part == "train"})
    if not names:
        raise DataError("no training images", where=str(root), expected="train/<class>/<image>, one folder a class")
    for entry in entries:
        if entry.label not in names:
            raise DataError(f"class {entry.label!r} has no training image", where=f"{root}/{entry.part}/{entry.label}")
    arrays = decode_parts(root, entries, names, options)
    arrays["classes"] = np.array(_CLASS_SEPARATOR.join(names))
    return arrays


def read_npz(path: Path) -> RawData:
    """Read `x_train`, `y_train`, `x_test`, `y_test` from an `.npz` file.

    Images are [N, C, H, W], [N, H, W] (one channel) or vectors [N, features]; uint8 0..255 or floating point. Labels
    are whole numbers from 0. Pickled arrays are refused.

    Raises:
        InputFileError, DataError: names the array.
    """
    if path.is_dir():
        raise InputFileError("a folder", where=str(path), expected="an .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ("x_train", "y_train", "x_test", "y_test") if name not in archive.files]
            if missing:
                raise DataError(
                    f"{', '.join(missing)} missing", where=str(path), expected="x_train, y_train, x_test, y_test"
                )
            arrays = {name: archive[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        # NumPy's own text advises to allow pickles: what holds objects is refused here instead.
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputFileError(
            reason or "damaged, not an .npz file, or with objects in it",
            where=str(path),
            expected="an .npz file of numeric arrays, as numpy.savez writes it",
        ) from error
    except MemoryError as error:
        raise InputFileError(f"too large for this machine: {error}", where=str(path)) from error
    train = _images(arrays["x_train"], f"{path}: x_train"), _labels(arrays["y_train"], f"{path}: y_train")
    test = _images(arrays["x_test"], f"{path}: x_test"), _labels(arrays["y_test"], f"{path}: y_test")
    if train[0].shape[1:] != test[0].shape[1:] or train[0].dtype != test[0].dtype:
        raise DataError(
            f"x_test is {test[0].dtype} {test[0].shape}, x_train {train[0].dtype} {train[0].shape}",
            where=str(path),
            expected="the same type and shape after the first axis",
        )
    classes = int(max(train[1].max(initial=-1), test[1].max(initial=-1))) + 1
    return RawData(str(path), train, test, None, tuple(str(number) for number in range(classes)))


def _images(array: NDArray[Any], where: str) -> NDArray[Any]:
    if array.ndim not in (2, 3, 4):
        raise DataError(f"shape {array.shape}", where=where, expected="[N, C, H, W], [N, H, W] or [N, features]")
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating):
            raise DataError(f"type {array.dtype}", where=where, expected="uint8 or floating point")
        array = array.astype(np.float32)
    return array[:, None] if array.ndim == 3 else array


def _labels(array: NDArray[Any], where: str) -> NDArray[np.int64]:
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{array.dtype} of shape {array.shape}", where=where, expected="whole numbers, shape [N]")
    if array.size and array.min() < 0:
        raise DataError(f"label {array.min()} of sample {int(array.argmin())}", where=where, expected="0 or more")
    return array.astype(np.int64)
