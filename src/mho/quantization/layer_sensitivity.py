"""How sensitive a quantized network is to each layer: its loss with one bit less or more in one operand of one layer.

Nothing is trained again: only the grid of the operand changes, and its step as calibration changes it between the two
widths. So this is what the network as it is would lose, an upper estimate of what a training could mend. Sums are
exact: converters and arrays take no part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from mho.data.dataset import Split
from mho.errors import ConfigError, PolicyError
from mho.policy import MAX_BITS, MIN_BITS
from mho.quantization.calibration_table import CalibrationTable
from mho.quantization.modules import MvmModule
from mho.quantization.qat import TrainableNetwork
from mho.quantization.quantizers import weight_bounds
from mho.quantization.step_search import set_streamed_grid
from mho.quantization.training import evaluate

WEIGHT, ACTIVATION = "weight", "activation"
_MOST, _LEAST = 256, 32
"""Samples of one measurement, at most, and at least where there are so many."""
_WORK = 20_000
"""Samples that all measurements together may pass through the network, as long as each has `_LEAST`."""


@dataclass(frozen=True)
class LossStep:
    """The change of the mean loss with `bits` instead of those that an operand has."""

    bits: int
    loss: float


@dataclass(frozen=True)
class OperandLosses:
    """One operand of one layer; `less` and `more` are None where there are no such bits, or the loss is not finite."""

    layer: str
    operand: str
    bits: int
    less: LossStep | None
    more: LossStep | None


@dataclass(frozen=True)
class LayerSensitivities:
    """Changes of loss by operand.

    Attributes:
        samples: how many they were measured on.
        loss: mean cross entropy of the network as it is on them.
        operands: weights and activations of every MVM layer, in execution order.
    """

    samples: int
    loss: float
    operands: tuple[OperandLosses, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain tables, numbers and text."""
        return asdict(self)


def measure_sensitivities(
    trainable: TrainableNetwork,
    table: CalibrationTable,
    split: Split,
    *,
    batch_size: int = 256,
    on_progress: Callable[[float], None] | None = None,
) -> LayerSensitivities:
    """Measure the loss with one bit less and one more of each operand of each layer; the network stays as it was.

    It takes 1 + 4 passes a layer, at most, over samples that are spread over the split: 256, or fewer where all passes
    together would take more than 20,000 samples, but no fewer than 32.

    Args:
        trainable: quantized, calibrated or trained.
        table: of the network: how steps depend on bits.
        split: with labels.
        batch_size: samples at once.
        on_progress: called with the share done, 0..1.

    Raises:
        PolicyError: the network is in float.
        ConfigError: the split is empty.
    """
    if trainable.policy is None:
        raise PolicyError("sensitivities are those of a quantized network", expected="a policy that is set")
    if not len(split):
        raise ConfigError("0 samples", where="sensitivities", expected="one or more")
    modules = trainable.mvm_modules
    wanted = max(_LEAST, min(_MOST, _WORK // (1 + 4 * len(modules))))
    samples = split.spread(min(wanted, len(split)))
    base = evaluate(trainable, samples, batch_size).loss

    def change(module: MvmModule, name: str, operand: str, bits: int) -> LossStep | None:
        if not MIN_BITS <= bits <= MAX_BITS:
            return None
        with _with_bits(module, table, name, operand, bits):
            loss = evaluate(trainable, samples, batch_size).loss
        return LossStep(bits, loss - base) if math.isfinite(loss) else None

    operands = []
    for number, (name, module) in enumerate(modules.items()):
        for operand, quantizer in ((WEIGHT, module.weight_quantizer), (ACTIVATION, module.input_quantizer)):
            bits = int(quantizer.bits)
            less, more = (change(module, name, operand, bits + step) for step in (-1, 1))
            operands.append(OperandLosses(name, operand, bits, less, more))
        if on_progress is not None:
            on_progress((number + 1) / len(modules))
    return LayerSensitivities(len(samples), base, tuple(operands))


@contextmanager
def _with_bits(module: MvmModule, table: CalibrationTable, layer: str, operand: str, bits: int) -> Iterator[None]:
    """Give one operand other bits within the block: the calibrated step of these, times what training made of it."""
    quantizer = module.weight_quantizer if operand == WEIGHT else module.input_quantizer
    before = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    correction = module.bias_correction
    kept = None if correction is None else correction.clone()
    learned = quantizer.log_ratio.detach().clone()
    if operand == WEIGHT:
        quantizer.set_bounds(bits, *weight_bounds(bits), table.weight_step(layer, bits))
        own = table.bias_correction(layer, bits)
        if correction is not None and own is not None and bool(correction.any()):  # training forgets corrections
            correction.copy_(own)
    else:
        set_streamed_grid(quantizer, bits, table.act_grid(layer, bits))
    with torch.no_grad():
        quantizer.log_ratio.copy_(learned)
    try:
        yield
    finally:
        quantizer.load_state_dict(before)
        if correction is not None and kept is not None:
            correction.copy_(kept)
