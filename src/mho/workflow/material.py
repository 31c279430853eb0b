"""What all stages of a run work with, data and hardware, and the few acts that several stages share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mho.data.dataset import Dataset, Split
from mho.data.loading import load_dataset
from mho.evaluation.chips import SampledChips
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.network.input_normalization import Steps, find_normalization
from mho.quantization.devices import Devices
from mho.seeds import derive_seed
from mho.task.task import CLASSIFICATION
from mho.workflow.config import RunConfig
from mho.workflow.noise import find_noise, make_noise
from mho.workflow.stage import Report
from mho.workflow.training_settings import QatSettings, TrainingSettings

if TYPE_CHECKING:
    from torch import nn

    from mho.quantization.qat import TrainableNetwork
    from mho.quantization.training import ProgressCallback, TrainingProgress
    from mho.quantization.training_options import TrainingOptions

COMPILING_PAYS_MACS = 6e11
"""Multiply-accumulates (forward, all images) from which a training wins back the half minute that compiling takes:
about two minutes of uncompiled training on one core."""


@dataclass(frozen=True, eq=False)
class Material:
    """Data and hardware of a run.

    Attributes:
        dataset: its four splits; networks take their samples as they are.
        data_hash: SHA-256 of all images and labels in their order, and of their normalization.
        accelerator: the hardware.
        mapping: how layers are laid into its crossbars.
        augmentation: what training does to images.
        compile: use torch.compile where a compiler is found; "auto": where it pays, too.
        threads: how many torch computes with; results depend on it.
        devices: where networks are trained; results depend on it.
        normalization: what networks do to samples first, see `Split.normalization`.
        sets_normalization: whether the user set it.
        chips: whose accuracy counts; None: that of exact integers does.
    """

    dataset: Dataset
    data_hash: str
    accelerator: Accelerator
    mapping: MappingModel
    augmentation: str
    compile: bool | Literal["auto"]
    threads: int
    devices: Devices = field(default_factory=Devices)
    normalization: Steps = ()
    sets_normalization: bool = False
    chips: SampledChips | None = None

    def on(self, accelerator: Accelerator) -> Material:
        """Return the same for other hardware, of which the chips are too where they were of the run's own."""
        chips = self.chips
        if chips is not None and chips.hardware == self.accelerator:
            chips = replace(chips, hardware=accelerator)
        return replace(self, accelerator=accelerator, chips=chips)

    @property
    def computing(self) -> dict[str, Any]:
        """What figures depend on that is neither data nor hardware nor settings, as JSON."""
        return {"threads": self.threads, **self.devices.to_json()}


def load_for(network: Network, config: RunConfig) -> Dataset:
    """Load the data of a run as a network takes it: normalized, or raw where the network normalizes it."""
    dataset = load_for_run(config)
    return dataset.unnormalized() if find_normalization(network) else dataset


def load_for_run(config: RunConfig) -> Dataset:
    """Load the data of a run, normalized, cut by its seed."""
    generator = np.random.default_rng(derive_seed(config.run.seed, "splits"))
    return load_dataset(config.data, generator, task=config.task.task())


def hash_dataset(dataset: Dataset) -> str:
    """Return the SHA-256 of all images and labels in their order, and of their normalization."""
    digest = hashlib.sha256(b"" if dataset.task == CLASSIFICATION else repr(dataset.task.to_json()).encode())
    for name, split in dataset.splits.items():
        digest.update(repr((name, split.images.shape, str(split.images.dtype), split.mean, split.std)).encode())
        _add_samples(digest, split)
    return digest.hexdigest()


def hash_samples(split: Split) -> str:
    """Return the SHA-256 of the images and labels of a split in their order, however they are normalized."""
    digest = hashlib.sha256(repr((split.images.shape, str(split.images.dtype))).encode())
    _add_samples(digest, split)
    return digest.hexdigest()


def _add_samples(digest: hashlib._Hash, split: Split) -> None:
    digest.update(np.ascontiguousarray(split.images).data)
    digest.update(np.ascontiguousarray(split.labels).data)


def training_images(settings: TrainingSettings, material: Material) -> Split:
    """Return the training images that `settings` allow."""
    train = material.dataset.train
    return train if settings.images is None else train.take(slice(0, settings.images))


def training_work(settings: TrainingSettings, material: Material) -> float:
    """Return the number of images that a training passes through the network."""
    if settings.steps is not None:
        return float(settings.steps * settings.batch_size)
    return float((settings.epochs or 0) * len(training_images(settings, material)))


ON_ARRAYS: Mapping[str, float] = MappingProxyType(
    {"learning_rate": 0.01, "fixed_norm_share": 1.0, "max_gradient_norm": 1.0}
)
ON_INTEGERS: Mapping[str, float] = MappingProxyType({"learning_rate": 0.005, "fixed_norm_share": 0.0})
"""What [qat] has where its settings say nothing, on arrays and on exact integers."""


def training_options(settings: TrainingSettings, material: Material, *, is_on_arrays: bool = False) -> TrainingOptions:
    """Return the options of a training."""
    from mho.quantization.training_options import TrainingOptions

    recipe = ON_ARRAYS if is_on_arrays else ON_INTEGERS
    given = settings.model_dump(exclude={"images", "noise"})
    content: dict[str, Any] = {key: recipe.get(key) if value is None else value for key, value in given.items()}
    return TrainingOptions(augmentation=material.augmentation, **content)


def compiled(module: TrainableNetwork, material: Material, images: float) -> tuple[nn.Module, list[str]]:
    """Return the module as it is to be run in training, and notes for the reader of the report.

    Args:
        module: what is trained.
        material: whether to compile.
        images: how many images it will be trained on, one after the other.
    """
    from mho.network.layers import derive_layer_table

    if len(material.devices.names) > 1:
        return module, []
    work_macs = images * sum(layer.macs for layer in derive_layer_table(module.network))
    if not material.compile or (material.compile == "auto" and work_macs < COMPILING_PAYS_MACS):
        return module, []
    from mho.quantization.compilation import compile_if_possible

    runnable, note = compile_if_possible(module)
    return runnable, [note] if note else []


def epochs_reporter(report: Report) -> ProgressCallback:
    """Return what a training calls after every step, to report where it is."""

    def show(progress: TrainingProgress) -> None:
        report(
            progress.step / progress.steps,
            f"epoch {progress.epoch} of {progress.epochs}, loss {progress.loss:.3f}",
        )

    return show


def train_with_progress(
    module: TrainableNetwork,
    material: Material,
    settings: TrainingSettings,
    seed: int,
    checkpoint: Path,
    report: Report,
) -> tuple[list[dict[str, float]], list[str]]:
    """Train `module` in place, going on from `checkpoint` where there is one.

    The network that it was made from is its teacher, where the settings want one.

    Returns:
        Loss after each epoch, and notes for the reader of the report.
    """
    from mho.models.runtime import torch_generator
    from mho.quantization.distributed_training import train_on

    report(0.0, "starting")
    is_specified = isinstance(settings, QatSettings) and settings.specified_noise is not None
    noise = find_noise(settings, material.accelerator, material.chips)
    arrays = None if noise is None else make_noise(module, noise, material.accelerator, material.mapping)
    runnable: nn.Module = module
    notes: list[str] = []
    if arrays is None or not arrays.layers:  # what arrays do cannot be compiled
        runnable, notes = compiled(module, material, training_work(settings, material))
    if arrays is not None and not arrays.layers and is_specified:
        notes.append(f"{arrays.hardware.name} reads all sums of this policy exactly: qat.noise changed nothing.")
    split = training_images(settings, material)
    is_on_arrays = arrays is not None and bool(arrays.layers)
    options = training_options(settings, material, is_on_arrays=is_on_arrays)
    devices = material.devices
    if arrays is not None and arrays.layers:
        devices = Devices(devices.names[:1], devices.precision)
    result = train_on(
        devices, runnable, split, options, torch_generator(seed), checkpoint, epochs_reporter(report), arrays,
        teacher=module.network if options.distillation else None,
    )  # fmt: skip
    if failure := getattr(runnable, "note", ""):  # a compiled module tells when it turned out not to compile
        notes.append(str(failure))
    per_epoch = max(1, len(split) // settings.batch_size)
    points = [
        {"epoch": min(number * per_epoch, result.steps) / per_epoch, "loss": epoch.loss}
        for number, epoch in enumerate(result.epochs, start=1)
    ]
    return points, notes


def finish_training(checkpoint: Path) -> None:
    """Remove the checkpoint of a training whose result is safe."""
    checkpoint.unlink(missing_ok=True)
