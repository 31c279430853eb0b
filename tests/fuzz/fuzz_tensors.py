"""Tensors in .safetensors files: agents, trained weights, calibrations, states and checkpoints of trainings."""

from __future__ import annotations

import copy
import json
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from damage import change_tree, copy_tree, to_json
from fuzzing import Files, Kind
from random_networks import Chooser
from small_spaces import drawn_space
from small_training import coloured_split, short_training
from torch import nn

from mho.bit_search.agent_file import SavedAgent
from mho.bit_search.choice_tables import ChoiceTables
from mho.bit_search.learners import Algorithm
from mho.bit_search.sensitivity import SensitivityModel
from mho.errors import MhoError
from mho.models.weights import load_weights
from mho.network.graph import Network, Node, TensorInfo
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.calibration_table import CalibrationTable
from mho.quantization.checkpoints import Checkpoint, EpochResult
from mho.quantization.optimizers import Optimizers
from mho.quantization.qat import TrainableNetwork

_METADATA = "__metadata__"
_SIZES = {"F32": 4, "F64": 8, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1}
_NUMBERS = (0.0, -1.0, 1e-42, 3.4e38, float("inf"), float("-inf"), float("nan"))


@dataclass
class Tensors:
    """The parts of a file: the table of tensors with metadata, and their bytes."""

    header: dict[str, Any]
    data: bytearray

    @classmethod
    def parse(cls, content: bytes) -> Tensors:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        if "mho" in header.get(_METADATA, {}):
            header[_METADATA]["mho"] = description = json.loads(header[_METADATA]["mho"])
            description.pop("sha256", None)  # it would refuse every mutant before anything else is read
        return cls(header, bytearray(content[8 + length :]))

    def content(self) -> bytes:
        header, metadata = self.header, self.header.get(_METADATA)
        if isinstance(metadata, dict) and "mho" in metadata:
            header = {**header, _METADATA: {**metadata, "mho": to_json(metadata["mho"]).decode()}}
        text = to_json(header)
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + bytes(self.data)


class TensorKind(Kind):
    """A .safetensors file."""

    file = "tensors.safetensors"
    bases: list[Tensors]

    def draw(self, chooser: Chooser) -> Any:
        base = chooser.choice(self.bases)
        return Tensors(copy_tree(base.header), bytearray(base.data))

    def change(self, mutant: Any, chooser: Chooser) -> str:
        names = [name for name, entry in mutant.header.items() if name != _METADATA and _is_whole(entry)]
        kind = chooser.integer(0, 7)
        if kind < 2 and isinstance(mutant.header.get(_METADATA), dict) and mutant.header[_METADATA]:
            return change_tree(mutant.header[_METADATA], chooser)
        if kind < 4 or not names:
            return change_tree(mutant.header, chooser)
        name = chooser.choice(names)
        if kind == 4:
            return _retype(mutant.header[name], name, chooser)
        if kind == 5:
            other = chooser.choice(names)
            header = mutant.header
            header[name], header[other] = header[other], header[name]
            return f"{name} and {other} swapped"
        return _set_number(mutant, name, chooser)

    def files(self, mutant: Any) -> Files:
        return {self.file: mutant.content()}

    def keep(self, save: Any, name: str = "kept.safetensors") -> Tensors:
        """Return what `save` writes to the path that it is given."""
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder, name))
            return Tensors.parse(Path(folder, name).read_bytes())


def _is_whole(entry: Any) -> bool:
    try:
        start, stop = entry["data_offsets"]
        return entry["dtype"] in _SIZES and 0 <= start < stop < 1 << 30 and isinstance(entry["shape"], list)
    except (TypeError, ValueError, KeyError):
        return False


def _retype(entry: dict[str, Any], name: str, chooser: Chooser) -> str:
    """Let the same bytes be numbers of another type, or of another shape."""
    size = entry["data_offsets"][1] - entry["data_offsets"][0]
    if chooser.integer(0, 1):
        entry["dtype"] = chooser.choice([kind for kind, width in _SIZES.items() if size % width == 0])
        entry["shape"] = [size // _SIZES[entry["dtype"]]]
    else:
        entry["shape"] = chooser.choice((entry["shape"][::-1], [1, *entry["shape"]], [*entry["shape"], 1]))
    return f"{name} is {entry['dtype']} {entry['shape']}"


def _set_number(mutant: Tensors, name: str, chooser: Chooser) -> str:
    entry, number = mutant.header[name], chooser.choice(_NUMBERS)
    start, stop = entry["data_offsets"]
    packed = struct.pack("<d" if entry["dtype"] == "F64" else "<f", number)
    place = start + len(packed) * chooser.integer(0, max(0, (stop - start) // len(packed) - 1))
    count = chooser.choice((1, 1, max(1, (stop - start) // len(packed))))
    for offset in range(place, min(place + count * len(packed), stop, len(mutant.data)), len(packed)):
        mutant.data[offset : offset + len(packed)] = packed
    return f"{number} in {name}"


class AgentKind(TensorKind):
    """A saved agent; what it knows is asked for its own space and for another one."""

    name = "agent"

    def prepare(self) -> None:
        self.spaces = [drawn_space(0), drawn_space(1, layers=3)]
        space = self.spaces[0]
        model = SensitivityModel(space.layer_names, None, ChoiceTables(space, lambda *_: 0.0).operands)
        agent = SavedAgent(
            Algorithm.DDPG,
            {"actor.weight": torch.ones(3, 2)},
            space.layer_names,
            space.features,
            model.log_sensitivities,
            model.deviations,
            model.profiles,
            7,
        )
        self.bases = [self.keep(agent.save)]

    def read(self, folder: Path) -> None:
        agent = SavedAgent.load(folder / self.file)
        for space in self.spaces:
            prior = agent.prior_for(space)
            SensitivityModel(space.layer_names, prior, ChoiceTables(space, lambda *_: 0.0).operands)


class WeightsKind(TensorKind):
    """Trained weights of a small module."""

    name = "weights"

    def prepare(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
        from safetensors.torch import save_file

        self.bases = [self.keep(lambda path: save_file(self.module.state_dict(), path))]

    def read(self, folder: Path) -> None:
        module = copy.deepcopy(self.module)
        try:
            load_weights(module, folder / self.file)
        except MhoError:
            for name, tensor in self.module.state_dict().items():
                assert torch.equal(tensor, module.state_dict()[name]), "refused weights are in the module"
            raise
        assert all(bool(torch.isfinite(tensor).all()) for tensor in module.state_dict().values())


class _TrainableKind(TensorKind):
    def prepare(self) -> None:
        self.network = _float_network()
        self.inputs = torch.from_numpy(coloured_split(8).inputs(slice(None)))
        self.trainable = TrainableNetwork(self.network)
        self.table = calibrate(self.trainable, self.inputs)
        self.policy = Policy.uniform(self.network.layer_names, BitWidths(4, 4))
        self.trainable.set_policy(self.policy)
        self.bases = [self.keep(self.save)]

    def save(self, path: Path) -> None:
        raise NotImplementedError


def _float_network() -> Network:
    """A convolution and a dense layer on small images, in float."""
    generator, floats = np.random.default_rng(0), np.float32
    shapes = {"x": (1, 3, 8, 8), "conv": (1, 2, 2, 2), "relu": (1, 2, 2, 2), "flat": (1, 8), "y": (1, 5)}
    sizes = {"w0": (2, 3, 3, 3), "b0": (2,), "w1": (5, 8), "b1": (5,)}
    constants = {name: generator.uniform(-0.3, 0.3, size).astype(floats) for name, size in sizes.items()}
    window = {"kernel": (3, 3), "strides": (4, 4), "pads": (0, 0, 0, 0), "dilations": (1, 1), "groups": 1}
    nodes = (
        Node("first", "conv", ("x", "w0", "b0"), "conv", window),
        Node("relu", "relu", ("conv",), "relu"),
        Node("flatten", "reshape", ("relu",), "flat", {"shape": (1, 8)}),
        Node("second", "linear", ("flat", "w1", "b1"), "y"),
    )
    ends = (TensorInfo("x", shapes["x"]),), (TensorInfo("y", shapes["y"]),)
    return Network("small", *ends, nodes, constants, shapes)


class CalibrationKind(_TrainableKind):
    name = "calibration"

    def save(self, path: Path) -> None:
        self.table.save(path)

    def read(self, folder: Path) -> None:
        table = CalibrationTable.load(folder / self.file)
        trainable = TrainableNetwork(self.network)
        trainable.set_calibration(table)
        trainable.set_policy(self.policy)
        with torch.no_grad():
            trainable(self.inputs)


class StateKind(_TrainableKind):
    """The state of a trained network."""

    name = "training-state"

    def save(self, path: Path) -> None:
        self.trainable.save(path)

    def read(self, folder: Path) -> None:
        trainable = TrainableNetwork(self.network)
        trainable.set_calibration(self.table)
        trainable.set_policy(self.policy)
        trainable.load(folder / self.file)
        with torch.no_grad():
            trainable(self.inputs)


class CheckpointKind(_TrainableKind):
    """The state of a training that goes on."""

    name = "checkpoint"

    def _checkpoint(self, path: Path, *, is_new: bool) -> Checkpoint:
        trainable = TrainableNetwork(self.network)
        trainable.set_calibration(self.table)
        trainable.set_policy(self.policy)
        optimizers = Optimizers(trainable, short_training(), 6)
        if is_new:
            trainable(self.inputs).sum().backward()
            optimizers.step(0)
        return Checkpoint(path, trainable, optimizers, torch.Generator().manual_seed(0), {"epochs": 3, "policy": "4/4"})

    def save(self, path: Path) -> None:
        self._checkpoint(path, is_new=True).write(1, [EpochResult(0.5, 0.25)])

    def read(self, folder: Path) -> None:
        steps, history = self._checkpoint(folder / self.file, is_new=False).restore()
        assert isinstance(steps, int)
        assert all(isinstance(entry, EpochResult) for entry in history)
