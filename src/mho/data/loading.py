"""From a `DataSpec` to a `Dataset`: read the source, cut the splits, settle the normalization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.cache_folder import cache_folder
from mho.data.dataset import Dataset, Split
from mho.data.own import read_own_data
from mho.data.raw import RawData, Samples
from mho.data.spec import DataSpec
from mho.errors import ConfigError, DataError
from mho.task.task import CLASSIFICATION, Task
from mho.user_code import short_name

_BLOCK = 1 << 13


def load_dataset(
    spec: DataSpec, generator: np.random.Generator, cache: Path | None = None, task: Task = CLASSIFICATION
) -> Dataset:
    """Load what `spec` describes and cut it; equal generators give equal splits.

    Args:
        spec: which data, where, how many images for which purpose.
        generator: decides which training images become calibration and validation images, and the training order.
        cache: folder for decoded archives; the user's cache folder if None.
        task: what samples have targets of; the sources by name have classes alone.

    Raises:
        ConfigError: a function of the user's fails, or the source has no targets of the task.
        DataError, InputFileError: what is wrong with which file, array or sample.
    """
    raw = _read(spec, cache or cache_folder() / "data", task)
    train, test = raw.train, raw.test
    if test is None:
        test, train = _set_aside_test(train, spec, raw.where)
    order = generator.permutation(len(train[1]))
    validation = raw.validation
    wanted = spec.calibration + (spec.validation if validation is None else 0)
    if wanted >= len(order):
        cut, keys = f"data.calibration = {spec.calibration}", "data.calibration"
        if validation is None:
            cut, keys = f"{cut} and data.validation = {spec.validation}", f"{keys} and data.validation"
        raise DataError(
            f"{cut} leave none of {len(order)} images to train on",
            where=raw.where,
            hint=f"lower {keys} (1000 by default), to {max(len(order) // 5, 1)} for example",
        )
    calibration = _take(train, order[: spec.calibration])
    if validation is None:
        validation = _take(train, order[spec.calibration : wanted])
    rest = order[wanted:] if spec.limit is None else order[wanted : wanted + spec.limit]
    kept = _take(train, rest)
    mean, std = _normalization(spec, raw, kept[0])
    return Dataset(
        short_name(spec.name),
        len(raw.class_names),
        train=Split(*kept, mean, std, task),
        calibration=Split(*calibration, mean, std, task),
        validation=Split(*validation, mean, std, task),
        test=Split(*test, mean, std, task),
        class_names=raw.class_names,
    )


def _read(spec: DataSpec, cache: Path, task: Task) -> RawData:
    from mho.data import named, sources

    if spec.name == "npz":
        return sources.read_npz(_root(spec), task)
    if ":" in spec.name:
        return read_own_data(spec.name, spec.root, task)
    if not task.is_classification:
        raise ConfigError(
            f"data {spec.name!r} has one class a sample, and the task is {task.kind}",
            where="data.name",
            expected="'npz', or a function of yours, file.py:function",
        )
    match spec.name:
        case "digits":
            return named.read_digits()
        case "fashion-mnist":
            return named.read_fashion_mnist(spec.root)
        case "cifar10":
            return named.read_cifar10(_root(spec), cache)
        case "image-folder":
            return sources.read_image_folder(_root(spec), spec, cache)
    raise AssertionError("DataSpec holds that the name is known")


def _root(spec: DataSpec) -> Path:
    assert spec.root is not None, "DataSpec holds that a root is given"
    return spec.root


def _set_aside_test(train: Samples, spec: DataSpec, where: str) -> tuple[Samples, Samples]:
    """Cut a test set that is the same for every seed, so that figures of different runs are comparable."""
    count = spec.test or (500 if spec.name == "digits" else None)
    if count is None:
        raise DataError(
            "there is no test set", where=where, hint="add one, or set data.test to the number of images to set aside"
        )
    if count >= len(train[1]):
        raise DataError(f"data.test = {count} leaves nothing of {len(train[1])} images", where=where)
    order = np.random.default_rng(0).permutation(len(train[1]))
    return _take(train, order[:count]), _take(train, np.sort(order[count:]))


def _take(samples: Samples, index: NDArray[np.int64]) -> Samples:
    return samples[0][index], samples[1][index]


def _normalization(
    spec: DataSpec, raw: RawData, images: NDArray[Any]
) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, None]:
    if images.dtype == np.int32:
        if spec.mean is not None:
            raise ConfigError(
                "data.mean and data.std for whole numbers",
                where=raw.where,
                hint="leave them out: tokens stay as they are",
            )
        return None, None
    if spec.mean is not None and spec.std is not None:
        return spec.mean, spec.std
    if raw.mean is not None and raw.std is not None:
        return raw.mean, raw.std
    axes = (0, *range(2, images.ndim))
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    # In blocks, since NumPy takes eight bytes a number for the deviations.
    blocks = [images[start : start + _BLOCK] for start in range(0, len(images), _BLOCK)]
    count = images.size // images.shape[1]
    mean = sum(block.sum(axis=axes, dtype=np.float64, keepdims=True) for block in blocks) / count
    variance = sum(np.square(block - mean).sum(axis=axes) for block in blocks) / count
    mean, std = mean.reshape(-1) / scale, np.sqrt(variance) / scale
    std = np.where(std > 0, std, 1.0)  # a constant channel stays constant
    return tuple(float(value) for value in mean), tuple(float(value) for value in std)
