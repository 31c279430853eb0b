"""Training and evaluation of any module that maps inputs to logits, float or fake-quantized.

The same module, split, options, generator state and thread count give the same bytes, whether or not the training was
interrupted in between: every epoch ends in a checkpoint that holds all that the next one depends on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from mho.data.dataset import Split
from mho.errors import DataError, TrainingError
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.batches import (
    ordered_batches,
    samples_at_once,
    shuffled_batches,
    steps_per_epoch,
)
from mho.quantization.bias_correction import forget_corrections
from mho.quantization.checkpoints import Checkpoint
from mho.quantization.compilation import unwrap
from mho.quantization.devices import device_of
from mho.quantization.modules import fix_norms
from mho.quantization.optimizers import Optimizers
from mho.quantization.process_group import Peers
from mho.quantization.training_options import TrainingOptions

ProgressCallback = Callable[["TrainingProgress"], None]


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands: `epoch` and `step` count from 1; loss and accuracy are means over the epoch so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    seconds_left: float


@dataclass(frozen=True)
class EpochResult:
    """Mean training loss and accuracy (0..1) of one epoch, on augmented batches."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to: one entry an epoch, and the steps made in total."""

    epochs: tuple[EpochResult, ...]
    steps: int


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy and accuracy (0..1) over `count` samples, `correct` of them right."""

    loss: float
    accuracy: float
    count: int
    correct: int


@dataclass
class _Tally:
    loss: float = 0.0
    correct: float = 0
    count: int = 0

    def add(self, loss: float, correct: float, count: int) -> None:
        self.loss += loss * count
        self.correct += correct
        self.count += count

    def result(self) -> EpochResult:
        return EpochResult(self.loss / self.count, self.correct / self.count)


def train(
    module: nn.Module,
    split: Split,
    options: TrainingOptions,
    generator: torch.Generator,
    checkpoint: Path | None = None,
    on_progress: ProgressCallback | None = None,
    noise: ArrayNoise | None = None,
    *,
    peers: Peers | None = None,
) -> TrainingResult:
    """Train `module` in place, on the device that it is on.

    Bias corrections of its calibration are forgotten: the weights that they are for change.

    Args:
        module: maps float32 [n, ...] to logits [n, classes]; may come from `compile_if_possible`.
        split: what to train on.
        options: how.
        generator: gives the order of the samples and the augmentation.
        checkpoint: file to write after every epoch, and to go on from where it exists.
        on_progress: called after every step.
        noise: arrays to train on, a fresh chip (drawn from `generator`) for every step; `module` must be a
            `TrainableNetwork` with the policy that was mapped, not compiled. Evaluation does not meet them.
        peers: other processes that train the same network with this one, each on its samples of every batch; see
            `mho.quantization.distributed_training.train_on`.

    Raises:
        TrainingError: the loss became NaN or infinite.
        DataError: labels or logits do not fit.
        ConfigError, InputFileError: the checkpoint is of another training, or torn.
        PolicyError, UnsupportedOperationError: the noise is of other layers or widths, or not for this network.
    """
    original = unwrap(module)
    forget_corrections(original)
    total = options.total_steps(len(split))
    optimizers = Optimizers(original, options, total)
    identity = _describe(original, split, options) | ({} if noise is None else {"noise": noise.describe()})
    peers = peers or Peers()
    peers.check(options.batch_size, len(split))
    saved = Checkpoint(checkpoint, original, optimizers, generator, identity, writes=peers.is_first)
    progress = saved.restore()
    history = [EpochResult(**entry) for entry in progress.history]
    clock = _Clock(progress.steps, total)
    was_training = original.training
    module.train()
    try:
        with peers.sharing(module) as runnable, contextlib.nullcontext() if noise is None else noise.on(module):
            while progress.steps < total:
                epoch = _Epoch(len(history) + 1, steps_per_epoch(len(split), options.batch_size), progress.steps, total)
                result = _run_epoch(
                    runnable, split, options, generator, optimizers, epoch, clock, on_progress, noise, peers
                )
                history.append(result)
                progress = progress.advanced(epoch.planned, dataclasses.asdict(result))
                saved.write(progress)
    finally:
        fix_norms(original, False)
        original.train(was_training)
    return TrainingResult(tuple(history), total)


def evaluate(module: nn.Module, split: Split, batch_size: int = 256) -> Evaluation:
    """Return loss and accuracy of `module` on all of `split`, with running statistics.

    Args:
        module: the network.
        split: what it is asked.
        batch_size: samples at a time, at most; on a processor fewer of large ones (`samples_at_once`).

    Raises:
        DataError: an answer is not finite, or labels and answers do not fit.
    """
    original = unwrap(module)
    was_training = original.training
    original.eval()
    tally, device = _Tally(), device_of(original)
    if device.type == "cpu":
        batch_size = min(batch_size, samples_at_once(split))
    try:
        with torch.no_grad():
            for inputs, labels in ordered_batches(split, batch_size):
                inputs, labels = inputs.to(device), labels.to(device)
                logits = original(inputs)
                _check_logits(logits, labels)
                loss = float(functional.cross_entropy(logits, labels))
                tally.add(loss, _count_correct(logits, labels), len(labels))
    finally:
        original.train(was_training)
    mean = tally.result()
    return Evaluation(mean.loss, mean.accuracy, tally.count, int(tally.correct))


@dataclass(frozen=True)
class _Epoch:
    number: int
    batches: int
    first_step: int
    total_steps: int

    @property
    def planned(self) -> int:
        """Steps of this epoch; the last one may be cut short."""
        return min(self.batches, self.total_steps - self.first_step)


class _Clock:
    """Estimates the time left from the steps made since it was started."""

    def __init__(self, done: int, total: int) -> None:
        self._start, self._done, self._total = time.perf_counter(), done, total

    def seconds_left(self, step: int) -> float:
        return (time.perf_counter() - self._start) / max(1, step - self._done) * (self._total - step)


def _run_epoch(
    module: nn.Module,
    split: Split,
    options: TrainingOptions,
    generator: torch.Generator,
    optimizers: Optimizers,
    epoch: _Epoch,
    clock: _Clock,
    on_progress: ProgressCallback | None,
    noise: ArrayNoise | None,
    peers: Peers,
) -> EpochResult:
    tally, device = _Tally(), device_of(module)
    if noise is not None:
        noise.begin_epoch()
    batches = shuffled_batches(split, options.batch_size, options.augmentation, generator)
    epochs = -(-epoch.total_steps // epoch.batches)
    for step, (inputs, labels) in zip(range(epoch.first_step, epoch.first_step + epoch.planned), batches, strict=False):
        fix_norms(unwrap(module), step >= epoch.total_steps - round(options.fixed_norm_share * epoch.total_steps))
        if noise is not None:
            noise.redraw(generator)
        inputs, labels = (peers.share(part).to(device) for part in (inputs, labels))
        logits = module(inputs)
        if step == epoch.first_step:
            _check_logits(logits, labels)
        loss = functional.cross_entropy(logits, labels, label_smoothing=options.label_smoothing)
        value, correct = peers.average(loss.item(), _count_correct(logits, labels))
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value}",
                where=f"epoch {epoch.number}, step {step + 1}",
                hint=f"training diverged: lower the learning rate (now {options.learning_rate})",
            )
        optimizers.zero_grad()
        loss.backward()
        optimizers.step(step)
        tally.add(value, correct, len(labels))
        if on_progress is not None:
            mean = tally.result()
            on_progress(
                TrainingProgress(
                    epoch.number,
                    epochs,
                    step + 1,
                    epoch.total_steps,
                    mean.loss,
                    mean.accuracy,
                    clock.seconds_left(step + 1),
                )
            )
    return tally.result()


def _count_correct(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(1) == labels).sum())


def _check_logits(logits: Tensor, labels: Tensor) -> None:
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(labels):
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise DataError(f"the network gives {shape}", where="training", expected=f"logits [{len(labels)}, classes]")
    if len(labels) and int(labels.max()) >= logits.shape[1]:
        raise DataError(
            f"label {int(labels.max())} but only {logits.shape[1]} outputs", where="training", expected="one a class"
        )


def _describe(module: nn.Module, split: Split, options: TrainingOptions) -> dict[str, object]:
    """Return what a checkpoint must have in common with the training that goes on from it."""
    policy = getattr(module, "policy", None)
    return {
        "options": dataclasses.asdict(options),
        "samples": len(split),
        "sample_shape": list(split.sample_shape),
        "policy": None if policy is None else policy.to_json(),
    }
