"""Post-training calibration: for every layer and every bit width, the steps of least squared error.

One pass of the float network over a few hundred samples, then any policy is set by copying steps: a search pays for
calibration once. Activations are judged on an even selection of their values, so memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mho.errors import DataError, InputFileError
from mho.quantization.policy import MAX_BITS, MIN_BITS, REFERENCE_BITS
from mho.quantization.quantizers import activation_bounds, weight_bounds
from mho.quantization.step_search import SortedRows
from mho.quantization.storage import read_tensors, write_tensors

if TYPE_CHECKING:
    from mho.quantization.qat import TrainableNetwork

CALIBRATED_BITS = (*range(MIN_BITS, MAX_BITS + 1), REFERENCE_BITS)
"""Widths that a table has steps for, in its order."""

_VALUES_PER_LAYER = 65_536
_VALUES_PER_OUTPUT = 4_096


@dataclass(frozen=True, eq=False)
class LayerCalibration:
    """Steps of one MVM layer.

    Attributes:
        weight_steps: float32 [widths, outputs], or [widths] for a product of activations; widths as `CALIBRATED_BITS`.
        act_steps: float32 [widths].
        non_negative: the streamed operand is never negative: its grids are unsigned.
    """

    weight_steps: Tensor
    act_steps: Tensor
    non_negative: bool


@dataclass(frozen=True, eq=False)
class CalibrationTable:
    """Steps of every MVM layer, by name, for every width: computed once for a float network."""

    layers: Mapping[str, LayerCalibration]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def weight_step(self, layer: str, bits: int) -> Tensor:
        """Return the steps of the stored operand, [outputs] or []."""
        return self.layers[layer].weight_steps[CALIBRATED_BITS.index(bits)]

    def act_step(self, layer: str, bits: int) -> Tensor:
        """Return the step of the streamed operand, []."""
        return self.layers[layer].act_steps[CALIBRATED_BITS.index(bits)]

    def save(self, path: str | Path) -> None:
        """Write the table as safetensors, atomically."""
        tensors = {f"{name}/weight_steps": layer.weight_steps for name, layer in self.layers.items()}
        tensors |= {f"{name}/act_steps": layer.act_steps for name, layer in self.layers.items()}
        unsigned = {name: layer.non_negative for name, layer in self.layers.items()}
        write_tensors(Path(path), tensors, {"widths": CALIBRATED_BITS, "non_negative": unsigned})

    @classmethod
    def load(cls, path: str | Path) -> CalibrationTable:
        """Read a table. Raises `InputFileError`."""
        tensors, description = read_tensors(Path(path))
        if tuple(description.get("widths", ())) != CALIBRATED_BITS or "non_negative" not in description:
            raise InputFileError("not a calibration table of this version", where=str(path))
        layers = {}
        for name, non_negative in description["non_negative"].items():
            weight_steps, act_steps = (tensors.get(f"{name}/{key}") for key in ("weight_steps", "act_steps"))
            if weight_steps is None or act_steps is None:
                raise InputFileError("steps are missing", where=f"{path}: {name}")
            layers[name] = LayerCalibration(weight_steps, act_steps, bool(non_negative))
        return cls(layers)


def calibrate(trainable: TrainableNetwork, inputs: Tensor, batch_size: int = 256) -> CalibrationTable:
    """Calibrate every layer for every width, and let `trainable` use the table from now on.

    The network runs in float, with running BatchNorm statistics. Layers that are quantized already get the steps of
    their widths.

    Args:
        trainable: the network; its float weights are what is calibrated.
        inputs: float32 [N, *S] or [N, *S[1:]], a few hundred samples.
        batch_size: samples at a time.

    Raises:
        DataError: no samples, NaN or infinity in the inputs, the weights or any layer's input.
    """
    if not len(inputs):
        raise DataError("no calibration samples", where="calibration", expected="a few hundred")
    if not torch.isfinite(inputs).all():
        raise DataError("NaN or infinite values", where="calibration inputs", expected="finite numbers")
    modules = trainable.mvm_modules
    weights = {name: _weight_rows(name, m.weight) for name, m in modules.items() if m.weight is not None}
    streamed, stored = _collect_values(trainable, inputs, batch_size)
    layers = {}
    for name in modules:
        non_negative = trainable.is_non_negative(name)
        weight_steps = calibrate_weights(SortedRows(stored[name].rows() if name in stored else weights[name]))
        if name in stored:
            weight_steps = weight_steps[:, 0]
        act_steps = _calibrate_activations(SortedRows(streamed[name].rows()), non_negative)
        layers[name] = LayerCalibration(weight_steps, act_steps, non_negative)
    table = CalibrationTable(layers)
    trainable.set_calibration(table)
    return table


def calibrate_weights(rows: SortedRows) -> Tensor:
    """Return the steps [widths, rows] of stored operands for `CALIBRATED_BITS`."""
    steps = [rows.optimal_binary_steps()]
    steps += [rows.optimal_steps(*weight_bounds(bits)) for bits in CALIBRATED_BITS[1:]]
    return torch.stack(steps)


def _calibrate_activations(rows: SortedRows, non_negative: bool) -> Tensor:
    bounds = [activation_bounds(bits, non_negative) for bits in CALIBRATED_BITS]
    return torch.stack([rows.optimal_steps(*bound)[0] for bound in bounds])


class _Reservoir:
    """An even selection of a tensor's values over all batches, and its extremes."""

    def __init__(self, layer: str, batches: int) -> None:
        self._layer = layer
        self._share = max(1, _VALUES_PER_LAYER // batches)
        self._kept: list[Tensor] = []

    def add(self, values: Tensor) -> None:
        """Keep a share of `values`, always the smallest and the largest."""
        flat = values.detach().reshape(-1).cpu()
        lowest, highest = flat.aminmax()
        if not (torch.isfinite(lowest) and torch.isfinite(highest)):
            raise DataError("NaN or infinite activations", where=self._layer, hint="check the weights and the inputs")
        self._kept += [flat if len(flat) <= self._share else flat[_spread(len(flat), self._share)]]
        self._kept += [torch.stack((lowest, highest))]

    def rows(self) -> Tensor:
        """Return what was kept, [1, values]."""
        return torch.cat(self._kept)[None]


def _spread(size: int, count: int) -> Tensor:
    """Return `count` indices below `size`: even, but out of step with the tensor's own strides (golden ratio)."""
    turns = torch.arange(count, dtype=torch.float64) * 0.6180339887498949
    return ((turns - turns.floor()) * size).to(torch.int64)


def _collect_values(
    trainable: TrainableNetwork, inputs: Tensor, batch_size: int
) -> tuple[dict[str, _Reservoir], dict[str, _Reservoir]]:
    batches = -(-len(inputs) // batch_size)
    streamed = {name: _Reservoir(name, batches) for name in trainable.mvm_modules}
    stored = {name: _Reservoir(name, batches) for name, m in trainable.mvm_modules.items() if m.weight is None}

    def observe(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, operands: tuple[Tensor, ...]) -> None:
            streamed[name].add(operands[0])
            if name in stored:
                stored[name].add(operands[1])

        return hook

    hooks = [m.register_forward_pre_hook(observe(name)) for name, m in trainable.mvm_modules.items()]
    was_training = trainable.training
    trainable.eval()
    try:
        with torch.no_grad(), trainable.in_float():
            for batch in inputs.split(batch_size):
                trainable(batch)
    finally:
        trainable.train(was_training)
        for handle in hooks:
            handle.remove()
    return streamed, stored


def _weight_rows(layer: str, weight: Tensor) -> Tensor:
    """Return a layer's weights [outputs, inputs]; of very long rows, an even selection with the extremes."""
    rows = weight.detach().cpu().flatten(1)
    if not torch.isfinite(rows).all():
        raise DataError("NaN or infinite weights", where=layer, expected="finite numbers")
    if rows.shape[1] <= _VALUES_PER_OUTPUT:
        return rows
    extremes = torch.stack((rows.amin(1), rows.amax(1)), dim=1)
    return torch.cat((rows[:, _spread(rows.shape[1], _VALUES_PER_OUTPUT)], extremes), dim=1)
