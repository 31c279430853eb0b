"""Data that a function of the user's returns: pairs of arrays or tensors, or torch datasets and loaders."""

from __future__ import annotations

from pathlib import Path

from mho.data.in_memory import read_labelled
from mho.data.raw import RawData
from mho.data.sources import read_parts
from mho.errors import ConfigError
from mho.task.task import Task
from mho.user_code import load_function, user_errors


def read_own_data(name: str, root: Path | None, task: Task) -> RawData:
    """Call a function of the user's with `root`, and return its training and test samples.

    Args:
        name: `package.module:function` or `path/file.py:function`.
        root: where the data lies, or None.
        task: what samples have targets of.

    Raises:
        ConfigError: the function cannot be had, fails, or returns something else than (training, test).
        DataError: its samples or targets are not such as the task takes.
        MemoryBudgetError: they take more memory than the budget.
    """
    function = load_function(name, "root")
    with user_errors(name):
        found = function(root)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise ConfigError(
            f"returned {type(found).__name__}", where=name,
            expected="(training, test): each a pair (samples, targets), or a torch Dataset or DataLoader",
        )  # fmt: skip
    arrays = {}
    for part, source in zip(("train", "test"), found, strict=True):
        arrays[f"x_{part}"], arrays[f"y_{part}"] = read_labelled(source, task=task, where=f"{name}, {part}")
    return read_parts(arrays, name, task)
