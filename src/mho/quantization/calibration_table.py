"""What calibration finds: for every layer and bit width, quantization steps and corrections of the bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.errors import InputFileError
from mho.policy import MAX_BITS, MIN_BITS, REFERENCE_BITS
from mho.quantization.tensor_files import read_tensors, write_tensors

CALIBRATED_BITS = (*range(MIN_BITS, MAX_BITS + 1), REFERENCE_BITS)
"""Widths that a table has steps for, in its order."""

_TENSORS = ("weight_steps", "act_steps", "bias_corrections")


@dataclass(frozen=True, eq=False)
class LayerCalibration:
    """Steps of one MVM layer, and the corrections of its bias.

    Attributes:
        weight_steps: float32 [widths, outputs], or [widths] for a product of activations; widths as `CALIBRATED_BITS`.
        act_steps: float32 [widths].
        non_negative: the streamed operand cannot be negative, or was not in calibration: its grids are unsigned.
        bias_corrections: float32 [widths, outputs]: added to the outputs, they keep their means as rounded weights do
            not (`mho.quantization.bias_correction`); None for a product of activations.
    """

    weight_steps: Tensor
    act_steps: Tensor
    non_negative: bool
    bias_corrections: Tensor | None

    @property
    def is_sound(self) -> bool:
        """True where all tensors have the shapes above and hold finite floating-point numbers."""
        weights, corrections, widths = self.weight_steps, self.bias_corrections, len(CALIBRATED_BITS)
        tensors = [weights, self.act_steps, *([] if corrections is None else [corrections])]
        fits = weights.dim() in (1, 2) and len(weights) == widths and self.act_steps.shape == (widths,)
        return (
            fits
            and (corrections is None or corrections.shape == weights.shape)
            and all(one.is_floating_point() and bool(torch.isfinite(one).all()) for one in tensors)
        )


@dataclass(frozen=True, eq=False)
class CalibrationTable:
    """Steps and corrections of every MVM layer, by name, for every width: computed once for a float network."""

    layers: Mapping[str, LayerCalibration]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def __reduce__(self) -> tuple[Any, ...]:
        # As arrays: torch would share the memory of tensors with the process that they are sent to.
        return _from_arrays, ({name: tensor.numpy() for name, tensor in self.tensors().items()}, self._unsigned)

    @property
    def _unsigned(self) -> dict[str, bool]:
        return {name: layer.non_negative for name, layer in self.layers.items()}

    def weight_step(self, layer: str, bits: int) -> Tensor:
        """Return the steps of the stored operand, [outputs] or []."""
        return self.layers[layer].weight_steps[CALIBRATED_BITS.index(bits)]

    def act_step(self, layer: str, bits: int) -> Tensor:
        """Return the step of the streamed operand, []."""
        return self.layers[layer].act_steps[CALIBRATED_BITS.index(bits)]

    def bias_correction(self, layer: str, bits: int) -> Tensor | None:
        """Return what rounding the weights to `bits` took from the outputs' means, [outputs]; None for a product."""
        corrections = self.layers[layer].bias_corrections
        return None if corrections is None else corrections[CALIBRATED_BITS.index(bits)]

    def tensors(self) -> dict[str, Tensor]:
        """Return all numbers of the table, by layer and kind."""
        return {
            f"{name}/{kind}": tensor
            for name, layer in self.layers.items()
            for kind in _TENSORS
            if (tensor := getattr(layer, kind)) is not None
        }

    def save(self, path: str | Path) -> None:
        """Write the table as safetensors, atomically."""
        write_tensors(Path(path), self.tensors(), {"widths": CALIBRATED_BITS, "non_negative": self._unsigned})

    @classmethod
    def load(cls, path: str | Path) -> CalibrationTable:
        """Read a table. Raises `InputFileError`."""
        tensors, description = read_tensors(Path(path))
        unsigned = description.get("non_negative")
        if description.get("widths") != list(CALIBRATED_BITS) or not isinstance(unsigned, dict):
            raise InputFileError("not a calibration table of this version", where=str(path))
        layers = {}
        for name, non_negative in unsigned.items():
            weight_steps, act_steps, corrections = (tensors.get(f"{name}/{kind}") for kind in _TENSORS)
            is_product = weight_steps is not None and weight_steps.dim() == 1
            if weight_steps is None or act_steps is None or (corrections is None) != is_product:
                raise InputFileError(
                    "steps or corrections are missing", where=f"{path}: {name}", hint="calibrate the network again"
                )
            layers[name] = LayerCalibration(weight_steps, act_steps, bool(non_negative), corrections)
            if not layers[name].is_sound:
                raise InputFileError(
                    "steps or corrections have other shapes or are not finite",
                    where=f"{path}: {name}",
                    hint="calibrate the network again",
                )
        return cls(layers)


def _from_arrays(arrays: Mapping[str, NDArray[Any]], unsigned: Mapping[str, bool]) -> CalibrationTable:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return CalibrationTable(
        {
            name: LayerCalibration(
                tensors[f"{name}/weight_steps"],
                tensors[f"{name}/act_steps"],
                non_negative,
                tensors.get(f"{name}/bias_corrections"),
            )
            for name, non_negative in unsigned.items()
        }
    )
