"""Samples that a user has in Python: arrays, tensors, torch datasets and loaders, read within the memory budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.argument_checks import check_arguments
from mho.data.dataset import Dataset, Split, as_samples
from mho.errors import ConfigError, DataError, MhoError
from mho.input_files import check_memory
from mho.task.kinds import TaskKind
from mho.task.task import CLASSIFICATION, Task

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader
    from torch.utils.data import Dataset as TorchDataset

    Array = NDArray[Any] | torch.Tensor
    Batches = DataLoader[Any] | TorchDataset[Any]
    Unlabelled = Array | Batches
    """Samples [N, ...]; or batches of them, with or without labels."""
    Labelled = tuple[Array, Array] | Batches
    """Samples [N, ...] and labels [N]; or batches of both."""

_BATCH = 256
_LOADER = "a DataLoader or a Dataset of torch that gives (sample, label)"
CALIBRATION_SHARE, VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2, 0.1
MOST_CALIBRATION = 1000


def read_inputs(source: Any, *, where: str = "inputs") -> Any:
    """Return samples as one array [N, ...], or arrays by the names of inputs; labels of batches are left out.

    Args:
        source: an array or a tensor; or a torch DataLoader or Dataset, whose batches are samples or (samples, labels);
            or these by the names of several inputs.
        where: what they are, for errors.

    Raises:
        DataError: it is none of these, its batches differ in shape, or there is none.
        MemoryBudgetError: all samples take more memory than the budget.
    """
    if isinstance(source, Mapping):
        return {str(name): read_inputs(one, where=f"{where} {name!r}") for name, one in source.items()}
    if not _has_batches(source):
        return _as_array(source, where)
    return _join((_as_array(_take_inputs(batch, where), where) for batch in _list_batches(source, where)), where)


def read_labelled(
    source: Any, *, where: str = "samples", task: Task = CLASSIFICATION
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return samples [N, ...] and their labels, int64 [N], or targets of another task.

    Args:
        source: a pair of arrays or tensors; or a torch DataLoader or Dataset that gives such pairs.
        task: what the targets are of.
        where: what they are, for errors.

    Raises:
        DataError: it is none of these, labels are no integers, one a sample, or there is none.
        MemoryBudgetError: all samples take more memory than the budget.
    """
    if _has_batches(source):
        pairs, size = [], 0
        for batch in _list_batches(source, where):
            pairs.append(_take_pair(batch, where, task))
            size += pairs[-1][0].nbytes + pairs[-1][1].nbytes
            check_memory(2 * size, "all samples of the loader together", where=where)
        if not pairs:
            raise DataError("no samples", where=where, expected="at least one")
        return _join((one for one, _ in pairs), where), _join((labels for _, labels in pairs), f"targets of {where}")
    if not isinstance(source, tuple | list) or len(source) != 2:
        raise DataError(f"a {_kind(source)}", where=where, expected=f"a pair (samples, labels), or {_LOADER}")
    return _take_pair(source, where, task)


@check_arguments("train", "calibration", "validation", "test")
def dataset(
    train: Dataset | Labelled,
    *,
    calibration: Labelled | None = None,
    validation: Labelled | None = None,
    test: Labelled | None = None,
    classes: int | None = None,
    task: Task | TaskKind = CLASSIFICATION,
    name: str = "data",
    seed: int = 0,
) -> Dataset:
    """Make the four splits that `mho.search` takes of samples with labels; they are held in memory.

    Args:
        train: a pair of arrays or tensors, samples [N, ...] and labels [N] (classes, integers from 0) or the targets of
            another task [N, ...]; or a torch DataLoader or Dataset that gives such pairs. Splits that are not given are
            drawn from it: a tenth, 1,000 at most, for calibration, a fifth for validation, a tenth for the test; the
            rest is for training.
        calibration: what ranges are calibrated and policies scored on, alike.
        validation: what the accuracy of candidates is measured on, alike.
        test: what no search sees, alike.
        classes: how many there are; None: one more than the largest label.
        task: what networks are trained on and judged by, such as ``mho.Task("regression", metric_name="snr")``, or a
            kind of task alone; it goes with the data.
        name: for people.
        seed: of the draw.

    Raises:
        DataError: what is given is none of these, has no labels, samples differ in shape, or there are too few.
        ConfigError: the task is unknown, or is not that of the dataset that is given.
        MemoryBudgetError: all samples take more memory than the budget.
    """
    task = task if isinstance(task, Task) else Task(task)
    if isinstance(train, Dataset):
        if task not in (CLASSIFICATION, train.task):
            raise ConfigError(f"task {task.kind} for a dataset of {train.task.kind}", where="mho.dataset")
        return train
    if classes is not None and classes < 2:
        raise DataError(f"classes is {classes}", where="mho.dataset", expected="2 or more")
    if seed < 0:
        raise DataError(f"seed is {seed}", where="mho.dataset", expected="0 or more")
    images, labels = read_labelled(train, where="train", task=task)
    given = {"calibration": calibration, "validation": validation, "test": test}
    known = {key: read_labelled(source, where=key, task=task) for key, source in given.items() if source is not None}
    missing = [key for key in given if key not in known]
    order, start = np.random.default_rng(seed).permutation(len(labels)), 0
    for key in missing:
        count = _share(key, len(labels))
        chosen, start = order[start : start + count], start + count
        known[key] = images[chosen], labels[chosen]
    rest = order[start:]
    if not len(rest):
        raise DataError(f"{len(labels)} samples", where="train", expected="enough for all splits; some dozens at least")
    known["train"] = images[rest], labels[rest]
    splits = {
        key: Split(_as_split_array(values, task, key), its, None, None, task) for key, (values, its) in known.items()
    }
    if classes is None and task.has_classes:
        kept = (its[its != task.ignored_label] for _, its in known.values())
        classes = max(2, *(int(its.max(initial=0)) + 1 for its in kept))
    return Dataset(
        name, classes or 0,
        splits["train"], splits["calibration"], splits["validation"], splits["test"],
    )  # fmt: skip


def _share(split: str, count: int) -> int:
    share = {"calibration": CALIBRATION_SHARE, "validation": VALIDATION_SHARE, "test": TEST_SHARE}[split]
    part = max(1, round(share * count))
    return min(part, MOST_CALIBRATION) if split == "calibration" else part


def _as_split_array(values: NDArray[Any], task: Task, where: str) -> NDArray[Any]:
    images = as_samples(values, task, where=where)
    if not np.isfinite(images).all():
        raise DataError("NaN or infinite values", where=where, expected="finite numbers")
    return images


def _has_batches(source: Any) -> bool:
    if isinstance(source, np.ndarray | Mapping | tuple | list | str | bytes) or source is None:
        return False
    from torch import Tensor
    from torch.utils.data import DataLoader, Dataset

    return not isinstance(source, Tensor) and isinstance(source, DataLoader | Dataset)


def _list_batches(source: Any, where: str) -> Iterator[Any]:
    from torch.utils.data import DataLoader

    loader = source if isinstance(source, DataLoader) else DataLoader(source, batch_size=_BATCH)
    try:
        yield from loader
    except MhoError:
        raise
    except Exception as error:  # whatever the user's dataset raises
        raise DataError(
            f"{type(error).__name__}: {error}", where=where, hint="the loader or its dataset fails"
        ) from error


def _join(arrays: Iterable[NDArray[Any]], where: str) -> NDArray[Any]:
    kept: list[NDArray[Any]] = []
    size = 0
    for array in arrays:
        size += array.nbytes
        check_memory(2 * size, "all samples of the loader together", where=where)
        if kept and array.shape[1:] != kept[0].shape[1:]:
            shapes = f"samples of shape {list(kept[0].shape[1:])} and of shape {list(array.shape[1:])}"
            raise DataError(shapes, where=where, expected="one shape")
        kept.append(array)
    if not kept:
        raise DataError("no samples", where=where, expected="at least one")
    return np.concatenate(kept)


def _take_inputs(batch: Any, where: str) -> Any:
    if isinstance(batch, tuple | list):
        if not batch:
            raise DataError("an empty batch", where=where, expected="samples, or (samples, labels)")
        return batch[0]
    return batch


def _take_pair(batch: Any, where: str, task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        has = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {_kind(batch)}"
        raise DataError(f"batches of {has}, without labels", where=where, expected="(samples, labels)")
    images, labels = _as_array(batch[0], where), _as_array(batch[1], f"labels of {where}")
    if not task.is_classification:
        targets = task.as_targets(labels, where=f"targets of {where}")
        if images.ndim < 2 or len(images) != len(targets):
            raise DataError(
                f"samples of shape {list(images.shape)} and targets of shape {list(targets.shape)}", where=where,
                expected="samples [N, ...], one target a sample",
            )  # fmt: skip
        return images, targets
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not labels.size or int(labels.min()) < 0:
        raise DataError(
            f"labels of shape {list(labels.shape)} and type {labels.dtype}", where=where,
            expected="classes, integers from 0, one a sample", hint="of one-hot labels take argmax(axis=1)",
        )  # fmt: skip
    if images.ndim < 2 or len(images) != len(labels):
        raise DataError(
            f"samples of shape {list(images.shape)} and {len(labels)} labels", where=where,
            expected="samples [N, ...], one label a sample",
        )  # fmt: skip
    if int(labels.max()) > np.iinfo(np.int64).max:
        raise DataError(f"label {int(labels.max())}", where=where, expected="a class")
    return images, labels.astype(np.int64)


def _as_array(values: Any, where: str) -> NDArray[Any]:
    if hasattr(values, "detach"):  # a tensor, of any device
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"no array of numbers: {error}", where=where, expected="real numbers, [N, ...]") from error
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise DataError(
            f"a {_kind(values)} of type {array.dtype} and shape {list(array.shape)}", where=where,
            expected="real numbers, [N, ...]",
        )  # fmt: skip
    return array


def _kind(value: Any) -> str:
    return type(value).__name__
