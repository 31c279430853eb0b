"""How to train: everything that a training depends on beside its network, its data and its seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mho.argument_checks import check_fields
from mho.errors import ConfigError
from mho.quantization.batches import AUGMENTATIONS, steps_per_epoch

OPTIMIZERS = ("sgd", "nesterov", "adamw")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class TrainingOptions:
    """How to train. Exactly one of `epochs` and `steps` is given.

    Attributes:
        epochs: passes over the split.
        steps: optimizer steps, whatever passes these make.
        batch_size: samples a step; an incomplete last batch of an epoch is left out.
        learning_rate: the highest rate.
        optimizer: "sgd" (momentum 0.9), "nesterov" (the same, with the gradient taken where the momentum leads) or
            "adamw".
        schedule: "cosine" to zero, or "constant".
        warmup_steps: steps in which the rates rise linearly from near zero.
        weight_decay: on weights; never on biases, normalizations and quantization steps.
        label_smoothing: 0..1, share of the target spread over all classes.
        augmentation: one of `mho.quantization.batches.AUGMENTATIONS`.
        scale_learning_rate: highest rate of the quantization steps, relative to their size (Adam on their logarithms).
        fixed_norm_share: 0..1, share of the steps, the last ones, in which batch normalizations of a `TrainableNetwork`
            use their running statistics and keep them, as the finished network does. Batch statistics hide what is
            common to a batch, such as the errors of one chip.
        max_gradient_norm: largest norm of the gradient of all weights together (above 0); a larger gradient is
            scaled to it, which keeps a training at fixed batch normalizations from diverging (Pascanu et al., "On the
            difficulty of training recurrent neural networks", ICML 2013). None: any.
        distillation: 0..1, share of the loss that is the divergence from a teacher's answers instead of the loss on
            labels.
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 0.05
    optimizer: str = "sgd"
    schedule: str = "cosine"
    warmup_steps: int = 0
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augmentation: str = "none"
    scale_learning_rate: float = 1e-3
    fixed_norm_share: float = 0.0
    max_gradient_norm: float | None = None
    distillation: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.epochs is None) == (self.steps is None):
            raise ConfigError("give either epochs or steps", where="training")
        for key in ("epochs", "steps", "batch_size"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"{key} is {value}", where="training", expected="at least 1")
        for key in ("learning_rate", "weight_decay", "scale_learning_rate", "warmup_steps"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{key} is {value}", where="training", expected="0 or more")
        limit = self.max_gradient_norm
        if limit is not None and not (math.isfinite(limit) and limit > 0):
            raise ConfigError(f"max_gradient_norm is {limit}", where="training", expected="above 0")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}", where="training", expected="0..1, below 1")
        for key in ("fixed_norm_share", "distillation"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"{key} is {getattr(self, key)}", where="training", expected="0..1")
        for key, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("augmentation", AUGMENTATIONS)):
            if getattr(self, key) not in known:
                raise ConfigError(f"{key} is {getattr(self, key)!r}", where="training", expected=" or ".join(known))

    def total_steps(self, samples: int) -> int:
        """Return the number of optimizer steps on a split of `samples`."""
        return self.steps or (self.epochs or 0) * steps_per_epoch(samples, self.batch_size)
