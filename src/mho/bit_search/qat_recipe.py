"""What a `QatEvaluator` is made from, as plain values that another process can make it from again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.data.dataset import Split
from mho.network.onnx_reader import read_onnx
from mho.quantization.allocator import keep_freed_memory
from mho.quantization.calibration_table import CalibrationTable, LayerCalibration
from mho.quantization.compilation import compile_if_possible
from mho.quantization.devices import Devices
from mho.quantization.export import write_float_onnx
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training_options import TrainingOptions

if TYPE_CHECKING:
    from mho.bit_search.qat_evaluator import NetworkJudge, QatEvaluator

_FILE = "network.onnx"


@dataclass(frozen=True, eq=False)
class QatRecipe:
    """See the module; an `mho.bit_search.measuring.EvaluatorRecipe`.

    Attributes:
        network: the float network as ONNX.
        weights: its tensors, by name: ONNX leaves out what trainings alone need.
        steps: calibrated ones, by layer.
        train, calibration, validation, options, seed, batch_size, judge, problem, stops_hopeless: of the evaluator.
        is_compiled: whether trainings run compiled, where a compiler is found.
        devices: of the evaluator; each process takes one.
        threads: that torch computes with; figures depend on it.
    """

    network: bytes
    weights: Mapping[str, NDArray[Any]]
    steps: Mapping[str, tuple[NDArray[Any], NDArray[Any], bool, NDArray[Any] | None]]
    train: Split
    calibration: Split
    validation: Split
    options: TrainingOptions | None
    seed: int
    batch_size: int
    judge: NetworkJudge | None
    problem: Mapping[str, Any]
    stops_hopeless: bool
    is_compiled: bool
    devices: Devices
    threads: int

    @property
    def gpus(self) -> int:
        """GPUs that each evaluator takes."""
        return int(self.devices.has_gpus)

    def make(self) -> QatEvaluator:
        """Return an evaluator that measures as the one that this comes from.

        This process gets as many threads as that one, and keeps freed memory.
        """
        from mho.bit_search.qat_evaluator import QatEvaluator

        torch.set_num_threads(self.threads)
        keep_freed_memory()
        module = TrainableNetwork(_read(self.network))
        table = CalibrationTable({name: _layer(*arrays) for name, arrays in self.steps.items()})
        module.load_state_tensors({name: torch.from_numpy(array.copy()) for name, array in self.weights.items()})
        return QatEvaluator(
            module,
            table,
            self.train,
            self.calibration,
            self.validation,
            self.options,
            seed=self.seed,
            batch_size=self.batch_size,
            runnable=compile_if_possible(module)[0] if self.is_compiled else None,
            judge=self.judge,
            stops_hopeless=self.stops_hopeless,
            problem=self.problem,
            devices=self.devices,
        )


def pack_network(module: TrainableNetwork) -> bytes:
    """Return a network as ONNX. Raises `MhoError` for one that cannot be written."""
    with tempfile.TemporaryDirectory(prefix="mho-search-") as folder:
        write_float_onnx(module.network, Path(folder) / _FILE)
        return (Path(folder) / _FILE).read_bytes()


def pack_steps(
    table: CalibrationTable,
) -> dict[str, tuple[NDArray[Any], NDArray[Any], bool, NDArray[Any] | None]]:
    """Return a table of calibrated steps as arrays."""
    return {
        name: (
            layer.weight_steps.numpy(),
            layer.act_steps.numpy(),
            layer.non_negative,
            None if layer.bias_corrections is None else layer.bias_corrections.numpy(),
        )
        for name, layer in table.layers.items()
    }


def pack_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    """Return tensors as arrays."""
    return {name: np.asarray(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()}


def _read(content: bytes) -> Any:
    with tempfile.TemporaryDirectory(prefix="mho-search-") as folder:
        path = Path(folder) / _FILE
        path.write_bytes(content)
        return read_onnx(path)


def _layer(
    weight_steps: NDArray[Any], act_steps: NDArray[Any], non_negative: bool, corrections: NDArray[Any] | None
) -> LayerCalibration:
    return LayerCalibration(
        torch.from_numpy(weight_steps.copy()),
        torch.from_numpy(act_steps.copy()),
        non_negative,
        None if corrections is None else torch.from_numpy(corrections.copy()),
    )
