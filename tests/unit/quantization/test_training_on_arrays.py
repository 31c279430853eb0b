"""Trainings on arrays: the same bytes after a kill, and networks that chips answer better by."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerators import make_accelerator
from quantized_layers import (
    classified_squares,
    noise_for,
)
from torch import nn

from mho.data.dataset import Split
from mho.errors import ConfigError
from mho.hardware.spec import Accelerator
from mho.network.graph import Network
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.qat import TrainableNetwork
from mho.quantization.range_renewal import RangeRenewal
from mho.quantization.training import TrainingProgress, evaluate, train
from mho.quantization.training_options import TrainingOptions

ERRORS = {"programming_error": 0.1}


def hardware(encoding: str = "differential-columns", **changes: dict[str, Any]) -> Accelerator:
    return make_accelerator(16, 12, 2, encoding=encoding, **changes)


class _KilledError(Exception):
    pass


@pytest.mark.parametrize(
    ("array", "converters"),
    [
        ({"programming_error": 0.05, "stuck_on_rate": 0.01, "read_noise": 0.02}, {}),
        ({"read_noise": 0.05}, {"adc_bits": 5, "adc_range": "calibrated-layer"}),
    ],
)
def test_a_training_on_arrays_ends_in_the_same_bytes_after_a_kill_and_in_others_by_another_seed(
    residual: Callable[..., Network], tmp_path: Path, array: dict[str, Any], converters: dict[str, Any]
) -> None:
    """An epoch starts with ranges of its own, so what was forgotten with the process is found again."""

    def fit(checkpoint: Path | None, last_step: int = 99, seed: int = 1) -> dict[str, torch.Tensor]:
        trainable, split, options = classified_squares(residual())
        accelerator = make_accelerator(64, 32, 4, array=array, converters=converters)
        noise = noise_for(trainable, accelerator, renewal=RangeRenewal(steps=2))

        def stop(progress: TrainingProgress) -> None:
            if progress.step > last_step:
                raise _KilledError

        with contextlib.suppress(_KilledError):
            train(trainable, split, options, torch.Generator().manual_seed(seed), checkpoint, stop, noise)
        assert all(module.arrays is None for module in trainable.mvm_modules.values())
        return trainable.state_tensors()

    whole = fit(None)
    fit(tmp_path / "cut", last_step=5)
    again = fit(tmp_path / "cut")
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    assert not torch.equal(whole["fc.weight"], fit(None, seed=2)["fc.weight"])


def test_a_checkpoint_of_other_arrays_is_refused(residual: Callable[..., Network], tmp_path: Path) -> None:
    for error in (0.05, 0.06):
        trainable, split, options = classified_squares(residual())
        noise = noise_for(trainable, hardware(array={"programming_error": error}))
        if error == 0.05:
            train(trainable, split, options, torch.Generator(), tmp_path / "c", noise=noise)
        else:
            with pytest.raises(ConfigError, match="noise"):
                train(trainable, split, options, torch.Generator(), tmp_path / "c", noise=noise)


def test_evaluation_uses_no_arrays(residual: Callable[..., Network]) -> None:
    trainable, split, _ = classified_squares(residual())
    noise = noise_for(trainable, hardware(array={"programming_error": 0.3}))
    plain = evaluate(trainable, split)
    with noise.on(trainable):
        assert evaluate(trainable, split) == plain


def test_training_on_arrays_helps_on_arrays(residual: Callable[..., Network]) -> None:
    """The loss on chips falls further than by plain training."""
    losses = {}
    for name in ("plain", "aware"):
        trainable, split, _ = classified_squares(residual())
        noise = noise_for(trainable, hardware(array=ERRORS))
        options = TrainingOptions(epochs=30, batch_size=16, learning_rate=0.1, scale_learning_rate=0.03)
        given = noise if name == "aware" else None
        train(trainable, split, options, torch.Generator().manual_seed(1), noise=given)
        losses[name] = _loss_on_chips(trainable, split, noise)
    assert losses["aware"] < 0.6 * losses["plain"]


def _loss_on_chips(trainable: TrainableNetwork, split: Split, noise: ArrayNoise) -> float:
    """Return the mean loss on 20 chips, with the running statistics of normalizations."""
    x, labels = torch.from_numpy(split.inputs(slice(None))), torch.from_numpy(split.labels.copy())
    trainable.eval()
    for module in trainable.mvm_modules.values():
        module.train()
    generator, total = torch.Generator().manual_seed(9), 0.0
    with noise.on(trainable), torch.no_grad():
        for _ in range(20):
            noise.redraw(generator)
            total += float(nn.functional.cross_entropy(trainable(x), labels)) / 20
    return total
