"""Networks, tensors and calibrated steps as plain values, to send to other processes, and their hashes."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.data.dataset import Split
from mho.errors import DataError
from mho.network.graph import Network
from mho.network.onnx_reader import read_onnx
from mho.quantization.calibration_table import CalibrationTable, LayerCalibration
from mho.quantization.export import write_float_onnx
from mho.quantization.qat import TrainableNetwork

Steps = Mapping[str, tuple[NDArray[Any], NDArray[Any], bool, NDArray[Any] | None]]
_FILE = "network.onnx"


def pack_network(module: TrainableNetwork) -> bytes:
    """Return a network as ONNX. Raises `MhoError` for one that cannot be written."""
    with tempfile.TemporaryDirectory(prefix="mho-search-") as folder:
        write_float_onnx(module.network, Path(folder) / _FILE)
        return (Path(folder) / _FILE).read_bytes()


def pack_steps(table: CalibrationTable) -> Steps:
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


def unpack_network(content: bytes) -> Network:
    """Return the network that `pack_network` got."""
    with tempfile.TemporaryDirectory(prefix="mho-search-") as folder:
        path = Path(folder) / _FILE
        path.write_bytes(content)
        return read_onnx(path)


def unpack_steps(steps: Steps) -> CalibrationTable:
    """Return the table that `pack_steps` got."""

    def read(array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array.copy())

    return CalibrationTable(
        {
            name: LayerCalibration(
                read(weights), read(acts), non_negative, None if corrections is None else read(corrections)
            )
            for name, (weights, acts, non_negative, corrections) in steps.items()
        }
    )


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of named tensors, hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name].detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def hash_split(split: Split) -> str:
    """Return the SHA-256 of a split's samples, labels and normalization, hexadecimal.

    Raises:
        DataError: the split is empty.
    """
    if len(split) == 0:
        raise DataError("a split is empty", expected="one sample or more")
    digest = hashlib.sha256(f"{split.images.dtype} {split.images.shape} {split.mean} {split.std}\n".encode())
    digest.update(np.ascontiguousarray(split.images).tobytes())
    digest.update(np.ascontiguousarray(split.labels).tobytes())
    return digest.hexdigest()
