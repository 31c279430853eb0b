"""The part of a run's configuration that says how networks are trained: in float, quantized, on arrays."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mho.frozen_model import FrozenModel
from mho.hardware.array import MAX_READS
from mho.settings import MAX_COUNT, Count


class TrainingSettings(FrozenModel):
    """How a network is trained for one purpose."""

    epochs: Count | None = None
    """Passes over the training samples. Give this or `steps`."""
    steps: Count | None = None
    """Optimizer steps. Give this or `epochs`."""
    batch_size: int = Field(default=128, ge=1, le=65536)
    """Samples a step."""
    learning_rate: float = Field(gt=0, le=10)
    """Highest learning rate of the schedule."""
    optimizer: Literal["sgd", "nesterov", "adamw"] = "sgd"
    """`sgd` has momentum 0.9, `nesterov` Nesterov's of 0.9."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How the learning rate falls: along half a cosine to zero, or not."""
    warmup_steps: int = Field(default=0, ge=0, le=MAX_COUNT)
    """Steps in which the learning rate rises from near zero."""
    weight_decay: float = Field(default=5e-4, ge=0, le=1)
    """Decay of weights."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each label that is spread over all classes."""
    scale_learning_rate: float = Field(default=1e-3, ge=0, le=1)
    """Highest learning rate of quantization steps, relative to their size."""
    fixed_norm_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps, the last ones, in which batch normalizations use their running statistics and keep them."""
    max_gradient_norm: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Largest norm of the gradient of all weights together; a larger gradient is scaled to it. Left out: any."""
    distillation: float = Field(default=0.0, ge=0, le=1)
    """Share of the loss that is the divergence from the float network's answers instead of the loss on labels."""
    images: Count | None = None
    """Use only so many training samples (the first of the shuffled ones)."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainingSettings:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps")
        return self


class NoiseSettings(FrozenModel):
    """What training includes of non-ideal arrays: a fresh chip in every step."""

    accelerator: str | None = Field(default=None, min_length=1)
    """A preset or a TOML file: the arrays and converters to train for, where these are not the run's. Crossbars, cells
    and DACs must be the same."""
    method: Literal["statistical", "tiles"] = "statistical"
    """How what arrays do is found: from moments of their cells and measured errors of their converters, or by writing
    all cells and converting all sums as the simulation does, which takes many times as long."""
    converters: bool = True
    """What ADCs and DACs do to sums; without it ADCs are ideal, and steps are quicker."""
    read_noise: bool = True
    """Noise of reads."""
    stuck_cells: bool = False
    """Cells that are stuck: other ones on every chip."""
    elapsed_s: float | None = Field(default=None, gt=0)
    """Time since cells were written, s, where they drift. Left out: at once."""
    temperature_k: float | None = Field(default=None, gt=0)
    """Temperature, K, where drift depends on it. Left out: that at which it was measured."""
    reads: int = Field(default=0, ge=0, le=MAX_READS)
    """Reads since cells were written, where these disturb."""
    recalibration: Literal["none", "channels"] = "none"
    """"channels": as where scale and bias of each channel are corrected on each chip."""
    one_crossbar: bool | None = None
    """Whether all tiles are written into one crossbar and so have the same faults and variation. Left out: where the
    hardware has only one."""
    range_method: Literal["mse", "extremes", "percentile"] = "mse"
    """How ranges of calibrated ADCs follow from the sums of a batch, as `mho calibrate-adcs --range-method` has it."""
    range_share: float = Field(default=0.9999, gt=0, le=1)
    """For percentiles, the share of sums that is kept."""
    range_steps: Count = 100
    """After so many steps ranges of calibrated ADCs, and errors of converters, are found again, and at the start of
    every epoch."""


class QatSettings(TrainingSettings):
    """The full training of quantized networks."""

    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None  # type: ignore[assignment]
    """Highest learning rate of the schedule. Left out: 0.01 on arrays, else 0.005."""
    fixed_norm_share: Annotated[float, Field(ge=0, le=1)] | None = None  # type: ignore[assignment]
    """As of other trainings. Left out: 1 on arrays, where statistics of a batch are those of one chip and hide what it
    does to channels; else 0."""
    max_gradient_norm: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """As of other trainings. Left out: 1 on arrays, where fixed batch normalizations let steps grow; else any."""
    noise: NoiseSettings | Literal["auto", "none"] = "auto"
    """Train on arrays as they are, as a table says; "auto": on those of the chips of [simulation], under the same
    conditions and corrected alike, without stuck cells, and on exact integers where there are none or they compute
    exactly; "none": on exact integers."""

    @property
    def specified_noise(self) -> NoiseSettings | None:
        """What a table says; None where there is none."""
        return self.noise if isinstance(self.noise, NoiseSettings) else None
