"""Post-training calibration: for every layer and every bit width, the grids of least squared error and what rounding
the weights shifts outputs by.

One pass of the float network over a few hundred samples; then the grids of a width are found when they are first asked
for, and any policy is set by copying. Grids of activations are found on an even selection of their values, so memory
stays bounded.

An input that cannot be negative, or was not in any of many samples, gets an unsigned grid: half of a signed one would
be empty. Any other gets a zero point where that saves much of the squared error.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mho.errors import DataError
from mho.quantization.batches import samples_within
from mho.quantization.bias_correction import MeanOperand, correct_means, mean_vectors
from mho.quantization.calibration_table import CalibrationTable
from mho.quantization.joint_inputs import Inputs, JointInputs
from mho.quantization.qat import TrainableNetwork
from mho.quantization.quantizers import weight_bounds
from mho.quantization.step_search import Sign, StreamedGrid, StreamedValues, find_binary_steps, find_steps

LEAST_MAGNITUDE = 2.0**-100
"""Of the largest weight or input of a layer: float32 then holds its steps, and their products, to full precision."""

LEAST_SAMPLES_FOR_SIGN = 32
"""Samples without a negative value after which calibration takes an input for one that has none."""

_VALUES_PER_LAYER = 65_536
_VALUES_PER_OUTPUT = 4_096
_MOST_SAMPLES_AT_ONCE = 256
_VALUES_AT_ONCE = 1 << 26
"""Bounds a batch by the largest tensor of the network: 256 MiB in float32."""


def calibrate(trainable: TrainableNetwork, inputs: Inputs, batch_size: int | None = None) -> CalibrationTable:
    """Calibrate every layer, and let `trainable` use the table from now on.

    The network runs in float, with running BatchNorm statistics. Layers that are quantized already get the steps of
    their widths. Where at least `LEAST_SAMPLES_FOR_SIGN` samples give a layer no negative input, its grids are
    unsigned, and a negative input that comes later is quantized to 0.

    Args:
        trainable: the network; its float weights are what is calibrated.
        inputs: float32 [N, *S] or [N, *S[1:]], a few hundred samples; of several inputs together.
        batch_size: samples at a time; by default 256, fewer where the network's tensors are large.

    Raises:
        DataError: no samples, NaN or infinity in the inputs, the weights or any layer's input, or a layer whose weights
            or inputs are all smaller than `LEAST_MAGNITUDE`, but not all 0.
    """
    check_samples(inputs)
    modules = trainable.mvm_modules
    weights = {name: _checked_weight(name, m.weight) for name, m in modules.items() if m.weight is not None}
    observed = _observe(
        trainable, inputs, batch_size or samples_within(trainable.network, _VALUES_AT_ONCE, _MOST_SAMPLES_AT_ONCE)
    )
    layers = {}
    for name, module in modules.items():
        seen = observed[name]
        sign = _find_sign(trainable.is_non_negative(name), len(inputs), seen.streamed.least)
        streamed = _check_magnitude(name, "inputs", seen.streamed.values())
        if module.weight is None:
            stored = _check_magnitude(name, "inputs", seen.stored.values())
            layers[name] = CalibratedLayer(streamed, sign, stored, None)
        else:
            vectors = mean_vectors(seen.mean.value(), module)
            layers[name] = CalibratedLayer(streamed, sign, weights[name], vectors)
    table = CalibrationTable(layers)
    trainable.set_calibration(table)
    return table


def check_samples(inputs: Inputs) -> None:
    """Raise `DataError` where there are none, or numbers of theirs are not finite."""
    if not len(inputs):
        raise DataError("no calibration samples", where="calibration", expected="a few hundred")
    if not all(torch.isfinite(one).all() for one in (inputs.tensors if isinstance(inputs, JointInputs) else (inputs,))):
        raise DataError("NaN or infinite values", where="calibration inputs", expected="finite numbers")


class CalibratedLayer:
    """What calibration keeps of one layer; each width's grids and corrections follow when they are first asked for.

    Args:
        streamed: values of the streamed operand, [K].
        sign: of the streamed operand.
        stored: the weights, [outputs, ...]; without `vectors` values of the stored operand, [K].
        vectors: as for `correct_means`; None for a product of activations.
    """

    def __init__(self, streamed: Tensor, sign: Sign, stored: Tensor, vectors: Tensor | None) -> None:
        self._streamed, self._sign = StreamedValues(streamed), sign
        self._stored, self._vectors = stored, vectors
        self._steps: dict[int, Tensor] = {}
        self._grids: dict[int, StreamedGrid] = {}
        self._corrections: dict[int, Tensor] = {}

    @property
    def step_shape(self) -> torch.Size:
        """Shape of `weight_step`."""
        return torch.Size(()) if self._vectors is None else self._stored.shape[:1]

    def weight_step(self, bits: int) -> Tensor:
        """Return the steps of the stored operand, [outputs] or []."""
        if bits not in self._steps:
            rows = self._stored[None] if self._vectors is None else _select_rows(self._stored)
            self._steps[bits] = calibrate_weights(rows, bits).reshape(self.step_shape)
        return self._steps[bits]

    def act_grid(self, bits: int) -> StreamedGrid:
        """Return the grid of the streamed operand."""
        if bits not in self._grids:
            self._grids[bits] = self._streamed.find_grid(bits, self._sign)
        return self._grids[bits]

    def bias_correction(self, bits: int) -> Tensor | None:
        """Return the correction, [outputs]; None for a product of activations."""
        if self._vectors is None:
            return None
        if bits not in self._corrections:
            self._corrections[bits] = correct_means(self._stored, self.weight_step(bits), bits, self._vectors)
        return self._corrections[bits]


def calibrate_weights(rows: Tensor, bits: int) -> Tensor:
    """Return the steps [rows] of stored operands [rows, K]."""
    return find_binary_steps(rows) if bits == 1 else find_steps(rows, *weight_bounds(bits))


def _find_sign(cannot_be_negative: bool, samples: int, least: float) -> Sign:
    if cannot_be_negative:
        return Sign.NON_NEGATIVE
    if least < 0:
        return Sign.MEASURED
    return Sign.NON_NEGATIVE if samples >= LEAST_SAMPLES_FOR_SIGN else Sign.UNKNOWN


def _check_magnitude(layer: str, what: str, values: Tensor) -> Tensor:
    """Return `values`. Raises `DataError` where all are so small that float32 holds no steps of theirs."""
    largest = float(values.abs().max())
    if 0 < largest < LEAST_MAGNITUDE:
        raise DataError(
            f"{what} of at most {largest:.2g}", where=layer, expected=f"0, or {LEAST_MAGNITUDE:.2g} and more",
            hint="set such weights to 0" if what == "weights" else "what the layers before it make vanishes: scale it",
        )  # fmt: skip
    return values


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

    def values(self) -> Tensor:
        """Return what was kept, float32 [values]."""
        return torch.cat(self._kept).to(torch.float32)


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


def _observe(trainable: TrainableNetwork, inputs: Inputs, batch_size: int) -> dict[str, _LayerObserver]:
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


def _checked_weight(layer: str, weight: Tensor) -> Tensor:
    """Return a copy of a layer's weights: training changes them in place."""
    copy = weight.detach().cpu().clone()
    if not torch.isfinite(copy).all():
        raise DataError("NaN or infinite weights", where=layer, expected="finite numbers")
    return _check_magnitude(layer, "weights", copy)


def _select_rows(weight: Tensor) -> Tensor:
    """Return weights [outputs, inputs]; of very long rows, an even selection with the extremes."""
    rows = weight.flatten(1)
    if rows.shape[1] <= _VALUES_PER_OUTPUT:
        return rows
    extremes = torch.stack((rows.amin(1), rows.amax(1)), dim=1)
    return torch.cat((rows[:, _spread(rows.shape[1], _VALUES_PER_OUTPUT)], extremes), dim=1)
