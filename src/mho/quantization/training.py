"""Training and evaluation of any module that maps inputs to outputs, float or fake-quantized.

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

from mho.data.dataset import Split, hint_of_labels
from mho.errors import DataError, TrainingError
from mho.network.graph import Network
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.batches import (
    ordered_batches,
    samples_at_once,
    shuffled_batches,
    steps_per_epoch,
)
from mho.quantization.bias_correction import clear_corrections
from mho.quantization.checkpoints import Checkpoint, EpochResult
from mho.quantization.compilation import unwrap
from mho.quantization.devices import device_of
from mho.quantization.distillation import Teacher, find_teacher
from mho.quantization.modules import fix_norms
from mho.quantization.optimizers import Optimizers
from mho.quantization.process_group import ProcessGroup
from mho.quantization.training_options import TrainingOptions
from mho.task.losses import mean_loss
from mho.task.task import CLASSIFICATION, Measures, Task

ProgressCallback = Callable[["TrainingProgress"], None]


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands: `epoch` and `step` count from 1; loss and accuracy (of classifications; else None) are
    means over the epoch so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float | None
    seconds_left: float


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training: one entry for each epoch, and the steps made in total."""

    epochs: tuple[EpochResult, ...]
    steps: int


@dataclass(frozen=True)
class Evaluation:
    """How well samples are answered.

    Attributes:
        loss: mean of the task's loss.
        accuracy: quality by the task's metric, where more is better (`mho.task.metrics.Metric`): of classifications the
            accuracy, 0..1.
        count: samples.
        correct: those classified correctly; None of other tasks.
        standard_error: of `accuracy`, by the choice of samples; 0 where it is unknown.
    """

    loss: float
    accuracy: float
    count: int
    correct: int | None
    standard_error: float = 0.0

    @classmethod
    def of(cls, loss: float, measures: Measures, count: int) -> Evaluation:
        """Return it of a mean loss and what the metric measures."""
        return cls(loss, measures.quality, count, measures.correct, measures.standard_error)


class _Means:
    """Means of loss and, of classifications, accuracy over samples, batch by batch."""

    def __init__(self) -> None:
        self.loss, self.correct, self.count = 0.0, 0.0, 0
        self.is_counted = True

    def add(self, loss: float, correct: float | None, count: int) -> None:
        self.loss += loss * count
        self.is_counted = correct is not None
        self.correct += correct or 0.0
        self.count += count

    def result(self) -> EpochResult:
        return EpochResult(self.loss / self.count, self.correct / self.count if self.is_counted else None)


def train(
    module: nn.Module,
    split: Split,
    options: TrainingOptions,
    generator: torch.Generator,
    checkpoint: Path | None = None,
    on_progress: ProgressCallback | None = None,
    noise: ArrayNoise | None = None,
    *,
    group: ProcessGroup | None = None,
    teacher: Network | None = None,
    before_step: Callable[[torch.Generator], None] | None = None,
) -> TrainingResult:
    """Train `module` in place, on the device that it is on.

    Bias corrections of its calibration are forgotten, as batch normalizations learn the means of its new weights; where
    these are fixed in all steps, corrections stay, and training starts from the calibrated network as it is.

    Args:
        module: maps float32 [n, ...] to outputs [n, ...] that suit the split's task, such as logits [n, classes]; may
            come from `compile_if_possible`.
        split: what to train on.
        options: how.
        generator: gives the order of the samples and the augmentation.
        checkpoint: file to write after every epoch, and to resume from where it exists.
        on_progress: called after every step.
        noise: arrays to train on, a fresh chip (drawn from `generator`) for every step; `module` must be a
            `TrainableNetwork` with the policy that was mapped, not compiled. Evaluation does not use them.
        group: the processes that train the same network together, each on its samples of every batch; see
            `mho.quantization.distributed_training.train_on`.
        teacher: the float network whose answers are learned, where `options.distillation` is above 0.
        before_step: called before every step, with `generator`; may give the network other widths.

    Raises:
        TrainingError: the loss became NaN or infinite.
        DataError: labels or logits do not fit.
        ConfigError: label smoothing for a loss that has none.
        ConfigError, InputFileError: the checkpoint is of another training, or torn.
        ConfigError: distillation without a teacher, or a teacher without distillation.
        PolicyError, UnsupportedOperationError: the noise is of other layers or widths, or not for this network.
    """
    original = unwrap(module)
    split.task.check_smoothing(options.label_smoothing)
    if options.fixed_norm_share < 1:  # else nothing learns the means of channels anew
        clear_corrections(original)
    total = options.total_steps(len(split))
    optimizers = Optimizers(original, options, total)
    identity = _describe(original, split, options) | ({} if noise is None else {"noise": noise.describe()})
    group = group or ProcessGroup()
    group.check(options.batch_size, len(split))
    saved = Checkpoint(checkpoint, original, optimizers, generator, identity, writes=group.is_first)
    steps, history = saved.restore()
    was_training = original.training
    module.train()
    try:
        with group.distribute(module) as runnable, contextlib.nullcontext() if noise is None else noise.on(module):
            trainer = _Trainer(
                runnable, split, options, generator, optimizers, on_progress, noise, group, steps, total,
                find_teacher(teacher, options, device_of(original)), before_step,
            )  # fmt: skip
            while trainer.steps < total:
                history.append(trainer.run_epoch(len(history) + 1))
                saved.write(trainer.steps, history)
    finally:
        fix_norms(original, False)
        original.train(was_training)
    return TrainingResult(tuple(history), total)


def evaluate(
    module: nn.Module,
    split: Split,
    batch_size: int = 256,
    *,
    on_batch: Callable[[Tensor, Tensor], None] | None = None,
) -> Evaluation:
    """Return loss and accuracy of `module` on all of `split`, with running statistics.

    Args:
        module: the network.
        split: what it is evaluated on.
        batch_size: samples at a time, at most; on a processor fewer of large ones (`samples_at_once`).
        on_batch: called with the outputs and the targets [n, ...] of each batch, in the order of the samples.

    Raises:
        DataError: labels and outputs do not fit.
    """
    original = unwrap(module)
    was_training = original.training
    original.eval()
    task, device, means, measured = split.task, device_of(original), _Means(), list[Measures]()
    if device.type == "cpu":
        batch_size = min(batch_size, samples_at_once(split))
    try:
        with torch.no_grad():
            for inputs, labels in ordered_batches(split, batch_size):
                inputs, labels = inputs.to(device), labels.to(device)
                outputs = original(inputs)
                _check_outputs(task, outputs, labels)
                if count := task.count(labels):  # none where all labels are ignored
                    means.add(float(mean_loss(task, outputs, labels)), None, count)
                measured.append(task.measure(outputs.cpu().numpy(), labels.cpu().numpy()))
                if on_batch is not None:
                    on_batch(outputs, labels)
    finally:
        original.train(was_training)
    return Evaluation.of(means.result().loss, Measures.join(measured), len(split))


@dataclass
class _Trainer:
    """Runs the epochs of one training; `steps` are made already, of `total`."""

    module: nn.Module
    split: Split
    options: TrainingOptions
    generator: torch.Generator
    optimizers: Optimizers
    on_progress: ProgressCallback | None
    noise: ArrayNoise | None
    group: ProcessGroup
    steps: int
    total: int
    teacher: Teacher | None = None
    before_step: Callable[[torch.Generator], None] | None = None

    def __post_init__(self) -> None:
        self._started, self._steps_before = time.perf_counter(), self.steps
        self._steps_per_epoch = steps_per_epoch(len(self.split), self.options.batch_size)
        self._first_fixed = self.total - round(self.options.fixed_norm_share * self.total)

    def run_epoch(self, epoch: int) -> EpochResult:
        """Make the steps of an epoch, numbered from 1; those of the last one may end it early."""
        means = _Means()
        if self.noise is not None:
            self.noise.begin_epoch()
        batches = shuffled_batches(self.split, self.options.batch_size, self.options.augmentation, self.generator)
        first, last = self.steps, min(self.steps + self._steps_per_epoch, self.total)
        for step, (inputs, labels) in zip(range(first, last), batches, strict=False):
            fix_norms(unwrap(self.module), step >= self._first_fixed)
            if self.noise is not None:
                self.noise.redraw(self.generator)
            if self.before_step is not None:
                self.before_step(self.generator)
            loss, correct, count = self._step(epoch, step, inputs, labels, is_first=step == first)
            means.add(loss, correct, count)
            self.steps = step + 1
            if self.on_progress is not None:
                self.on_progress(self._progress(epoch, means.result()))
        return means.result()

    def _step(
        self, epoch: int, step: int, inputs: Tensor, labels: Tensor, *, is_first: bool
    ) -> tuple[float, float | None, int]:
        """Make a step; return the loss, how many samples are classified correctly, and how many there are."""
        device = device_of(self.module)
        inputs, labels = (self.group.share(part).to(device) for part in (inputs, labels))
        if self.noise is not None:
            self.noise.meet(self.module, inputs)
        outputs, task = self.module(inputs), self.split.task
        if is_first:
            _check_outputs(task, outputs, labels)
        loss = mean_loss(task, outputs, labels, self.options.label_smoothing)
        if self.teacher is not None:
            loss = self.teacher.mix(loss, inputs, outputs, task)
        right = int((outputs.argmax(1) == labels).sum()) if task.is_classification else 0
        value, correct = self.group.average(loss.item(), right)
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value}",
                where=f"epoch {epoch}, step {step + 1}",
                hint=f"training diverged: lower the learning rate (now {self.options.learning_rate})",
            )
        self.optimizers.zero_grad()
        loss.backward()
        self.optimizers.step(step)
        return value, correct if task.is_classification else None, len(labels)

    def _progress(self, epoch: int, mean: EpochResult) -> TrainingProgress:
        epochs = -(-self.total // self._steps_per_epoch)
        seconds_per_step = (time.perf_counter() - self._started) / max(1, self.steps - self._steps_before)
        left = seconds_per_step * (self.total - self.steps)
        return TrainingProgress(epoch, epochs, self.steps, self.total, mean.loss, mean.accuracy, left)


def _check_outputs(task: Task, outputs: Tensor, labels: Tensor) -> None:
    if not task.is_classification:
        if not isinstance(outputs, Tensor):
            raise DataError(f"the network gives {type(outputs).__name__}", where="training", expected="one output")
        task.check_outputs(tuple(outputs.shape), tuple(labels.shape), where="training")
    elif not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != len(labels):
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise DataError(f"the network gives {shape}", where="training", expected=f"logits [{len(labels)}, classes]")
    classes, most = task.count_classes(tuple(outputs.shape)), int(labels.max()) if labels.numel() else 0
    if task.has_classes and most >= classes and most != task.ignored_label:
        raise DataError(
            f"label {most} but only {classes} outputs", where="training", expected="one a class",
            hint=hint_of_labels(most, classes),
        )  # fmt: skip


def _describe(module: nn.Module, split: Split, options: TrainingOptions) -> dict[str, object]:
    """Return what a checkpoint must have in common with the training that resumes from it."""
    policy = getattr(module, "policy", None)
    return {
        "options": dataclasses.asdict(options),
        "samples": len(split),
        "sample_shape": list(split.sample_shape),
        **({} if split.task == CLASSIFICATION else {"task": split.task.to_json()}),
        "policy": None if policy is None else policy.to_json(),
    }
