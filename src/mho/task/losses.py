"""Losses by name, on tensors: what networks are trained on, and what candidates of a search are scored by."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.errors import ConfigError
from mho.task.kinds import BINARY, CROSS_ENTROPY, SQUARED
from mho.task.metrics import FloatArray, cross_entropy_rows
from mho.task.task import Task
from mho.user_code import load_function, user_errors


def mean_loss(task: Task, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean loss of a batch, a scalar.

    Args:
        task: whose loss.
        outputs, targets: [N, ...], of shapes that fit (`Task.check_outputs`).
        label_smoothing: of cross entropy, 0..1.

    Raises:
        ConfigError: the user's own loss fails, or gives something else than a scalar.
    """
    if task.has_own_loss:
        return _call_own(task, outputs, targets)
    if task.loss == CROSS_ENTROPY:
        if task.class_axis == -1:  # torch wants the classes on axis 1
            outputs, targets = outputs.flatten(0, -2), targets.flatten()
        ignored = -100 if task.ignored_label is None else task.ignored_label
        return functional.cross_entropy(outputs, targets, ignore_index=ignored, label_smoothing=label_smoothing)
    if task.loss == BINARY:
        return functional.binary_cross_entropy_with_logits(outputs, targets)
    return (functional.mse_loss if task.loss == SQUARED else functional.l1_loss)(outputs, targets)


def sample_losses(task: Task, outputs: NDArray[Any], targets: NDArray[Any]) -> FloatArray:
    """Return the loss of each sample, float64 [N]; arguments are those of `mean_loss`."""
    if task.loss == CROSS_ENTROPY and not task.has_own_loss:
        rows = cross_entropy_rows(task.scores_last(outputs), targets, task.counted(targets))
        return np.asarray(rows[:, 0] / np.maximum(1, rows[:, 1]))
    found, true = torch.from_numpy(np.ascontiguousarray(outputs)), torch.from_numpy(np.array(targets))
    with torch.no_grad():
        return np.array([float(mean_loss(task, found[k : k + 1], true[k : k + 1])) for k in range(len(found))])


def _call_own(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    function = load_function(task.loss, "outputs, targets")
    with user_errors(task.loss):
        loss = function(outputs, targets)
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        given = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ConfigError(f"returned {given}", where=task.loss, expected="a scalar tensor, the mean over samples")
    return loss
