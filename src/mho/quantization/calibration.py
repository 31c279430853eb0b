"""Post-training calibration: for every layer and every bit width, the steps of least squared error and what rounding
the weights shifts outputs by.

One pass of the float network over a few hundred samples, then any policy is set by copying: a search pays for
calibration once. Steps of activations are found on an even selection of their values, so memory stays bounded.

An input that cannot be negative, or was not in any of many samples, gets an unsigned grid: half of a signed one would
be empty.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mho.errors import DataError
from mho.network.graph import Network
from mho.quantization.bias_correction import MeanOperand, correct_means, mean_vectors
from mho.quantization.calibration_table import CALIBRATED_BITS, CalibrationTable, LayerCalibration
from mho.quantization.qat import TrainableNetwork
from mho.quantization.quantizers import activation_bounds, weight_bounds
from mho.quantization.step_search import SortedRows

LEAST_MAGNITUDE = 2.0**-100
"""Of the largest weight or input of a layer: float32 then holds its steps, and their products, to full precision."""

LEAST_SAMPLES_FOR_SIGN = 32
"""Samples without a negative value after which calibration takes an input for one that has none."""

_VALUES_PER_LAYER = 65_536
_VALUES_PER_OUTPUT = 4_096
_MOST_SAMPLES_AT_ONCE = 256
_VALUES_AT_ONCE = 1 << 26
"""Bounds a batch by the largest tensor of the network: 256 MiB in float32."""


def calibrate(trainable: TrainableNetwork, inputs: Tensor, batch_size: int | None = None) -> CalibrationTable:
    """Calibrate every layer for every width, and let `trainable` use the table from now on.

    The network runs in float, with running BatchNorm statistics. Layers that are quantized already get the steps of
    their widths. Where at least `LEAST_SAMPLES_FOR_SIGN` samples give a layer no negative input, its grids are
    unsigned, and a negative input that comes later is quantized to 0.

    Args:
        trainable: the network; its float weights are what is calibrated.
        inputs: float32 [N, *S] or [N, *S[1:]], a few hundred samples.
        batch_size: samples at a time; by default 256, fewer where the network's tensors are large.

    Raises:
        DataError: no samples, NaN or infinity in the inputs, the weights or any layer's input, or a layer whose weights
            or inputs are all smaller than `LEAST_MAGNITUDE`, but not all 0.
    """
    if not len(inputs):
        raise DataError("no calibration samples", where="calibration", expected="a few hundred")
    if not torch.isfinite(inputs).all():
        raise DataError("NaN or infinite values", where="calibration inputs", expected="finite numbers")
    modules = trainable.mvm_modules
    weights = {name: _weight_rows(name, m.weight) for name, m in modules.items() if m.weight is not None}
    observed = _observe(trainable, inputs, batch_size or _samples_at_once(trainable.network))
    layers = {}
    for name, module in modules.items():
        seen = observed[name]
        seems_non_negative = len(inputs) >= LEAST_SAMPLES_FOR_SIGN and seen.streamed.least >= 0
        non_negative = trainable.is_non_negative(name) or seems_non_negative
        act_steps = _calibrate_activations(_sort(name, "inputs", seen.streamed.rows()), non_negative)
        corrections = None
        if module.weight is None:
            weight_steps = calibrate_weights(_sort(name, "inputs", seen.stored.rows()))[:, 0]
        else:
            weight_steps = calibrate_weights(_sort(name, "weights", weights[name]))
            vectors = mean_vectors(seen.mean.value(), module)
            corrections = correct_means(module.weight, weight_steps, CALIBRATED_BITS, vectors)
        layers[name] = LayerCalibration(weight_steps, act_steps, non_negative, corrections)
    table = CalibrationTable(layers)
    trainable.set_calibration(table)
    return table


def _sort(layer: str, what: str, rows: Tensor) -> SortedRows:
    """Return the rows sorted. Raises `DataError` where all are so small that float32 holds no steps of theirs."""
    found = SortedRows(rows)
    largest = float(found.largest.max())
    if 0 < largest < LEAST_MAGNITUDE:
        raise DataError(
            f"{what} of at most {largest:.2g}", where=layer, expected=f"0, or {LEAST_MAGNITUDE:.2g} and more",
            hint="set such weights to 0" if what == "weights" else "what the layers before it make vanishes: scale it",
        )  # fmt: skip
    return found


def calibrate_weights(rows: SortedRows) -> Tensor:
    """Return the steps [widths, rows] of stored operands for `CALIBRATED_BITS`."""
    steps = [rows.optimal_binary_steps()]
    steps += [rows.optimal_steps(*weight_bounds(bits)) for bits in CALIBRATED_BITS[1:]]
    return torch.stack(steps)


def _calibrate_activations(rows: SortedRows, non_negative: bool) -> Tensor:
    bounds = [activation_bounds(bits, non_negative) for bits in CALIBRATED_BITS]
    return torch.stack([rows.optimal_steps(*bound)[0] for bound in bounds])


class _Reservoir:
    """An even selection of a tensor's values over all batches, and its extremes; `least` is the smallest of all."""

    def __init__(self, layer: str, batches: int) -> None:
        self._layer = layer
        self._share = max(1, _VALUES_PER_LAYER // batches)
        self.least = math.inf
        self._kept: list[Tensor] = []

    def add(self, values: Tensor) -> None:
        """Keep a share of `values`, always the smallest and the largest."""
        values = values.detach()
        extremes = torch.stack(values.aminmax())
        if not torch.isfinite(extremes).all():
            raise DataError("NaN or infinite activations", where=self._layer, hint="check the weights and the inputs")
        self.least = min(self.least, float(extremes[0]))
        size = values.numel()
        if size > self._share:
            # By coordinates: flattened, a tensor in channels-last order would be copied.
            chosen = values[torch.unravel_index(_spread(size, self._share).to(values.device), values.shape)]
        else:
            chosen = values.reshape(-1)
        self._kept += [chosen.cpu(), extremes.cpu()]

    def rows(self) -> Tensor:
        """Return what was kept, [1, values]."""
        return torch.cat(self._kept)[None]


class _LayerObserver:
    """What calibration keeps of one layer's operands: the values of each, or the mean where the other is a weight."""

    def __init__(self, name: str, op: str, batches: int) -> None:
        self.streamed, self.stored = _Reservoir(name, batches), _Reservoir(name, batches)
        self.mean = MeanOperand(op)

    def __call__(self, module: nn.Module, operands: tuple[Tensor, ...]) -> None:
        """Look at the operands that `module` is about to multiply."""
        del module
        self.streamed.add(operands[0])
        if len(operands) > 1:
            self.stored.add(operands[1])
        else:
            self.mean.add(operands[0])


def _spread(size: int, count: int) -> Tensor:
    """Return `count` indices below `size`: even, but out of step with the tensor's own strides (golden ratio)."""
    turns = torch.arange(count, dtype=torch.float64) * 0.6180339887498949
    return ((turns - turns.floor()) * size).to(torch.int64)


def _samples_at_once(network: Network) -> int:
    largest = max(math.prod(shape) for shape in network.shapes.values())
    return max(1, min(_MOST_SAMPLES_AT_ONCE, _VALUES_AT_ONCE // max(1, largest)))


def _observe(trainable: TrainableNetwork, inputs: Tensor, batch_size: int) -> dict[str, _LayerObserver]:
    """Run the float network over `inputs` and return what its MVM layers multiplied."""
    batches = -(-len(inputs) // batch_size)
    modules = trainable.mvm_modules
    observers = {name: _LayerObserver(name, module.op, batches) for name, module in modules.items()}
    hooks = [module.register_forward_pre_hook(observers[name]) for name, module in modules.items()]
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
    return observers


def _weight_rows(layer: str, weight: Tensor) -> Tensor:
    """Return a layer's weights [outputs, inputs]; of very long rows, an even selection with the extremes."""
    rows = weight.detach().cpu().flatten(1)
    if not torch.isfinite(rows).all():
        raise DataError("NaN or infinite weights", where=layer, expected="finite numbers")
    if rows.shape[1] <= _VALUES_PER_OUTPUT:
        return rows
    extremes = torch.stack((rows.amin(1), rows.amax(1)), dim=1)
    return torch.cat((rows[:, _spread(rows.shape[1], _VALUES_PER_OUTPUT)], extremes), dim=1)
