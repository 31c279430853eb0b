"""The first stages: have the network, train it in float, calibrate it. Each ends in a file that the next one reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mho.errors import ConfigError, DataError
from mho.evaluation.networks import evaluate_network
from mho.input_files import hash_file
from mho.network.graph import Network
from mho.seeds import derive_seed
from mho.task.task import CLASSIFICATION
from mho.user_code import short_name
from mho.workflow.config import NetworkSettings
from mho.workflow.material import Material, finish_training, train_with_progress
from mho.workflow.run_directory import StageResult
from mho.workflow.stage import Figures, Report, tell_validation
from mho.workflow.training_settings import TrainingSettings

NETWORK_FILE, FLOAT_FILE, CALIBRATION_FILE = "network.onnx", "float.onnx", "calibration.safetensors"
CALIBRATION_IMAGES = 512
TRAINED_ELSEWHERE = (
    "The weights were given. If they were trained on samples that are validation samples here, accuracy on validation "
    "data is flattered; accuracy on test data is not."
)


@dataclass(frozen=True)
class BuildNetwork:
    """Build or read the float network and write it as ONNX: the form in which every later stage sees it."""

    material: Material
    settings: NetworkSettings
    seed: int
    name: str = "network"
    title: str = "Read the network"

    def ingredients(self) -> Mapping[str, Any]:
        """Name, content of the files that it names wherever they lie, and the shape of samples."""
        source = self.settings.name
        file = source if source.endswith(".onnx") else source.rpartition(":")[0] if ".py:" in source else None
        beside = _read_external_hashes(Path(source)) if source.endswith(".onnx") else {}
        return {
            **({"external_data": beside} if beside else {}),
            "network": source if file is None else Path(source).name,
            "source": None if file is None else hash_file(file),
            "weights": None if self.settings.weights is None else hash_file(self.settings.weights),
            "shape": list(self.material.dataset.sample_shape),
            "classes": self.material.dataset.classes,
            **(
                {}
                if self.material.dataset.task == CLASSIFICATION
                else {"targets": list(self.material.dataset.target_shape)}
            ),
            **({"samples": "int64"} if self._takes_integers else {}),
            "normalization": [[step, numbers.tolist()] for step, numbers in self.material.normalization],
            "seed": self.seed,
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Write the network."""
        from mho.network.layers import derive_layer_table
        from mho.quantization.export import write_float_onnx

        report(0.1, self.settings.name)
        network = self._network()
        _check_fits(network, self.material, self.settings.name)
        normalized, notes = self._normalize(network)
        write_float_onnx(normalized, folder / NETWORK_FILE)
        table = derive_layer_table(network)
        return {
            "source": _short_name(self.settings.name),
            "parameters": count_parameters(network),
            "macs": sum(layer.macs for layer in table),
            "input_shape": list(self.material.dataset.sample_shape),
            "layers": [layer.name for layer in table],
            "notes": notes,
        }

    def note(self, figures: Mapping[str, Any]) -> str:
        """Size."""
        return f"{len(figures['layers'])} MVM layers, {figures['parameters']:,} parameters"

    def _normalize(self, network: Network) -> tuple[Network, list[str]]:
        """Let the network normalize its input, where it does not yet, as files of earlier runs do."""
        from mho.network.input_normalization import find_normalization, normalize_input

        own, wanted = find_normalization(network), self.material.normalization
        if not own:
            return normalize_input(network, wanted), []
        if [step for step, _ in own] == [step for step, _ in wanted] and all(
            np.array_equal(a, b) for (_, a), (_, b) in zip(own, wanted, strict=True)
        ):
            return network, []
        why = f"{_short_name(self.settings.name)} normalizes its input itself, otherwise than the data is normalized"
        if self.material.sets_normalization:
            raise ConfigError(why, where="data.mean", hint="leave out data.mean and data.std")
        return network, [f"{why}: the network's own normalization is used."]

    def _network(self) -> Network:
        from mho.models.build import build_model
        from mho.models.runtime import torch_generator
        from mho.models.weights import load_weights
        from mho.network.loading import load_file
        from mho.network.torch_reader import read_torch
        from mho.quantization.qat import TrainableNetwork

        source, shape = self.settings.name, self.material.dataset.sample_shape
        if source.endswith(".onnx"):
            network = load_file(source)
            is_float = all(node.quantization is None for node in network.mvm_nodes)
            return network if is_float else TrainableNetwork(network).to_network()
        model = build_model(
            source, self.material.dataset.outputs, shape, torch_generator(derive_seed(self.seed, "weights"))
        )
        if self.settings.weights is not None:
            load_weights(model, self.settings.weights)
        return read_torch(model, (1, *shape), takes_integers=self._takes_integers)

    @property
    def _takes_integers(self) -> bool:
        return self.material.dataset.train.images.dtype == np.int32


def _read_external_hashes(path: Path) -> dict[str, str]:
    """Return the SHA-256 of each file beside an ONNX file that holds arrays of it, by name."""
    from mho.network.onnx_file import external_files

    return {file.name: hash_file(file) for file in external_files(path)}


def _short_name(source: str) -> str:
    return Path(source).name if source.endswith(".onnx") else short_name(source)


def count_parameters(network: Network) -> int:
    """Return the number of real constants that are not statistics of batch normalizations."""
    statistics = {name for node in network.nodes if node.op == "batch_norm" for name in node.inputs[3:5]}
    return sum(
        int(constant.size)
        for name, constant in network.constants.items()
        if constant.dtype.kind == "f" and name not in statistics
    )


def _check_fits(network: Network, material: Material, where: str) -> None:
    shape, classes = material.dataset.sample_shape, material.dataset.classes
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ConfigError(
            f"{len(network.inputs)} inputs and {len(network.outputs)} outputs", where=where, expected="one of each"
        )
    taken, given = network.inputs[0].shape, network.outputs[0].shape
    if taken not in (shape, (1, *shape)):
        raise ConfigError(f"takes samples of shape {taken}", where=where, expected=f"{shape}, as the data has")
    task, targets = material.dataset.task, material.dataset.target_shape
    if not task.is_classification:
        outputs = (1, *(given[1:] if given[:1] == (1,) else given))
        try:
            task.check_outputs(outputs, (1, *targets), where=where)
        except DataError as error:
            raise ConfigError(error.what, where=where, expected=error.expected) from error
        if (found := task.count_classes(outputs)) < classes:
            raise ConfigError(f"gives scores of {found} classes", where=where, expected=f"{classes}")
    elif given not in ((classes,), (1, classes)):
        raise ConfigError(f"gives outputs of shape {given}", where=where, expected=f"{classes} logits, one a class")


@dataclass(frozen=True)
class TrainFloat:
    """Train the float network, or evaluate the weights that it came with."""

    material: Material
    network: StageResult
    training: TrainingSettings | None
    seed: int
    came_trained: bool = False
    name: str = "float"

    @property
    def title(self) -> str:
        """What it does."""
        return "Evaluate the given weights" if self.training is None else "Train the float network"

    def ingredients(self) -> Mapping[str, Any]:
        """Network, data, settings, seed."""
        return {
            "network": self.network.digest,
            "data": self.material.data_hash,
            "augmentation": self.material.augmentation,
            "training": None if self.training is None else self.training.model_dump(mode="json"),
            "compile": self.material.compile,
            "seed": self.seed,
            "came_trained": self.came_trained,
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Write the trained network."""
        from mho.network.onnx_reader import read_onnx
        from mho.quantization.export import write_float_onnx
        from mho.quantization.qat import TrainableNetwork

        module = TrainableNetwork(read_onnx(self.network.folder / NETWORK_FILE))
        points: list[dict[str, float]] = []
        notes = [TRAINED_ELSEWHERE] if self.came_trained else []
        if self.training is not None:
            points, more = train_with_progress(
                module, self.material, self.training, derive_seed(self.seed, "float"), folder / "checkpoint", report
            )
            notes += more
        write_float_onnx(module.to_network(), folder / FLOAT_FILE)
        finish_training(folder / "checkpoint")
        return {
            "points": points,
            "notes": notes,
            "validation": evaluate_network(module, self.material.dataset.validation),
        }

    def note(self, figures: Mapping[str, Any]) -> str:
        """Accuracy."""
        return tell_validation(self.material.dataset.task, figures)


@dataclass(frozen=True)
class Calibrate:
    """Find the ranges of every layer for every width, once for all policies."""

    material: Material
    float_network: StageResult
    name: str = "calibration"
    title: str = "Calibrate ranges"

    def ingredients(self) -> Mapping[str, Any]:
        """Network and data."""
        return {
            "network": self.float_network.digest,
            "data": self.material.data_hash,
            "images": CALIBRATION_IMAGES,
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Write the table of steps."""
        from mho.network.onnx_reader import read_onnx
        from mho.quantization.calibration import calibrate
        from mho.quantization.joint_inputs import as_tensor
        from mho.quantization.qat import TrainableNetwork

        report(0.1, "")
        module = TrainableNetwork(read_onnx(self.float_network.folder / FLOAT_FILE))
        images = self.material.dataset.calibration.spread(CALIBRATION_IMAGES)
        calibrate(module, as_tensor(images.inputs(slice(None)))).save(folder / CALIBRATION_FILE)
        return {"images": len(images)}

    def note(self, figures: Mapping[str, Any]) -> str:
        """How many samples."""
        return f"on {figures['images']} samples"
