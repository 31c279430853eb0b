"""Cheap sensitivity: what quantizing one operand of one layer, all others at 8/8, does to a network's answers.

A few forward passes, no training and no labels: the mean Kullback-Leibler divergence of the answers from those at 8/8.
It is never negative and far less noisy than a difference of losses. What training mends later it does not know, so it
orders layers, and searches correct it by what they measure (`mho.bit_search.sensitivity.SensitivityPrior`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mho.bit_search.divergences import Probe, probe_divergences
from mho.bit_search.operands import BITS
from mho.bit_search.sensitivity import FloatArray, SensitivityPrior
from mho.data.dataset import Split
from mho.errors import ConfigError, InputFileError
from mho.input_files import read_json
from mho.policy import MAX_BITS, UNIFORM_REFERENCE, BitWidths, Policy
from mho.quantization.batches import ordered_batches
from mho.quantization.qat import TrainableNetwork

PROBED_BITS = (2, 3, 4)
_SMALLEST = 1e-9
"""Divergences below it, in nats, are rounding."""
_SLOPE, _SLOPE_STD, _STD = 0.7, 0.3, 0.7
"""How much of the order that probes tell is believed to be left after training, how sure that is, and what they do not
tell. Wide enough that a search's own evaluations soon count for more."""


@dataclass(frozen=True, eq=False)
class Probes:
    """What each operand of each layer does alone.

    Attributes:
        layer_names: layers in execution order.
        bits: at which operands were probed, ascending.
        divergences: float64 [layers, operands, bits], mean nats a sample, >= 0.
        samples: on how many samples.
    """

    layer_names: tuple[str, ...]
    bits: tuple[int, ...]
    divergences: FloatArray
    samples: int

    def __post_init__(self) -> None:
        shape = len(self.layer_names), len(BITS), len(self.bits)
        is_finite = self.divergences.shape == shape and bool(np.isfinite(self.divergences).all())
        if not is_finite or (self.divergences < 0).any() or not self.bits:
            raise ConfigError("divergences are no finite numbers >= 0", where="probes", expected=f"[{shape}]")
        if not all(1 <= bits <= MAX_BITS for bits in self.bits):
            raise ConfigError(f"bits {self.bits}", where="probes", expected=f"1..{MAX_BITS}")

    @property
    def log_sensitivities(self) -> FloatArray:
        """Logarithms of the divergence at 2 bits, [layers, operands]: the mean over what was probed."""
        logs = np.log(np.maximum(self.divergences, _SMALLEST))
        means: FloatArray = (logs + (np.array(self.bits) - 2.0) * np.log(4.0)).mean(axis=2)
        return means

    def prior(self) -> SensitivityPrior:
        """Return what searches may expect of the layers."""
        offsets = self.log_sensitivities
        stds, profiles = np.full(offsets.shape, _STD), np.zeros((len(BITS), MAX_BITS))
        source = f"forward passes on {self.samples} samples"
        return SensitivityPrior(offsets, stds, _SLOPE, _SLOPE_STD, profiles, source)

    def to_json(self) -> dict[str, Any]:
        """Return the content of a file."""
        layers = zip(self.layer_names, self.divergences.tolist(), strict=True)
        return {"bits": list(self.bits), "samples": self.samples, "divergences": dict(layers)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, where: str) -> Probes:
        """Read what `to_json` gave. Raises `InputFileError` where it is damaged."""
        try:
            layers = content["divergences"]
            values = np.array(list(layers.values()), dtype=np.float64)
            return cls(tuple(layers), tuple(int(b) for b in content["bits"]), values, int(content["samples"]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ConfigError) as error:
            raise InputFileError(f"damaged probes: {error}", where=where, hint="delete the file") from error

    @classmethod
    def read(cls, path: Path) -> Probes:
        """Read a file of `to_json`. Raises `InputFileError` where it is missing or damaged."""
        return cls.from_json(read_json(path, expected="probes of layers"), where=str(path))


def probe_layers(
    trainable: TrainableNetwork,
    split: Split,
    *,
    bits: tuple[int, ...] = PROBED_BITS,
    batch_size: int = 256,
    on_progress: Callable[[float], None] | None = None,
) -> Probes:
    """Quantize every operand of every layer alone, and compare answers. Labels are not looked at.

    It takes 1 + 2 * layers * len(bits) passes over the split, each from the layer on; the network's policy is put back
    afterwards.

    Args:
        trainable: with float weights, calibrated.
        split: unlabelled samples.
        bits: to try, 1..8.
        batch_size: samples at once.
        on_progress: called with the share done, 0..1.

    Raises:
        ConfigError: bits out of range, or the split is empty.
    """
    names = tuple(trainable.mvm_modules)
    if not bits or not all(1 <= b <= MAX_BITS for b in bits) or not len(split):
        raise ConfigError(f"bits {list(bits)} on {len(split)} samples", where="probes", expected="1..8, some samples")
    ordered = tuple(sorted(set(bits)))
    pairs = [*(BitWidths(width, 8) for width in ordered), *(BitWidths(8, width) for width in ordered)]
    every = [Probe(name, widths) for name in names for widths in pairs]
    batches = (inputs for inputs, _ in ordered_batches(split, batch_size))
    reference = Policy.uniform(names, UNIFORM_REFERENCE)
    found = probe_divergences(
        trainable, batches, every, split.task, reference=reference, samples=len(split), on_progress=on_progress
    )
    return Probes(names, ordered, found.reshape(len(names), len(BITS), len(ordered)), len(split))
