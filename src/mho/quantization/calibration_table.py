"""What calibration finds: for every layer and bit width, grids and corrections of the bias.

A table that `calibrate` made finds what belongs to a width when it is first asked for; one that was read from a file is
complete, and so is each that is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.errors import InputFileError
from mho.policy import MAX_BITS, MIN_BITS, REFERENCE_BITS
from mho.quantization.step_search import StreamedGrid
from mho.quantization.tensor_files import read_tensors, write_tensors

CALIBRATED_BITS = (*range(MIN_BITS, MAX_BITS + 1), REFERENCE_BITS)
"""Widths that a table has steps for, in its order."""

_TENSORS = ("weight_steps", "act_steps", "act_zero_points", "bias_corrections")


class LayerGrids(Protocol):
    """Grids of one MVM layer, and the corrections of its bias, by width."""

    @property
    def step_shape(self) -> torch.Size:
        """Shape of `weight_step`: [outputs], or [] for a product of activations."""

    def weight_step(self, bits: int) -> Tensor:
        """Return the steps of the stored operand, float32 [outputs] or []."""

    def act_grid(self, bits: int) -> StreamedGrid:
        """Return the grid of the streamed operand."""

    def bias_correction(self, bits: int) -> Tensor | None:
        """Return what rounding the weights took from the outputs' means, float32 [outputs]; None for a product."""


@dataclass(frozen=True, eq=False)
class LayerCalibration:
    """The `LayerGrids` of all widths.

    Attributes:
        weight_steps: float32 [widths, outputs], or [widths] for a product of activations; widths as `CALIBRATED_BITS`.
        act_steps: float32 [widths].
        act_zero_points: int64 [widths], as `StreamedGrid` has them.
        bias_corrections: float32 [widths, outputs]: added to the outputs, they keep their means as rounded weights do
            not (`mho.quantization.bias_correction`); None for a product of activations.
    """

    weight_steps: Tensor
    act_steps: Tensor
    act_zero_points: Tensor
    bias_corrections: Tensor | None

    @classmethod
    def of(cls, layer: LayerGrids) -> LayerCalibration:
        """Return what `layer` has for all widths."""
        if isinstance(layer, LayerCalibration):
            return layer
        grids = [layer.act_grid(bits) for bits in CALIBRATED_BITS]
        corrections = [found for bits in CALIBRATED_BITS if (found := layer.bias_correction(bits)) is not None]
        return cls(
            torch.stack([layer.weight_step(bits) for bits in CALIBRATED_BITS]),
            torch.tensor([grid.step for grid in grids]),
            torch.tensor([grid.zero_point for grid in grids]),
            torch.stack(corrections) if corrections else None,
        )

    @property
    def step_shape(self) -> torch.Size:
        """Shape of the steps of one width."""
        return self.weight_steps.shape[1:]

    def weight_step(self, bits: int) -> Tensor:
        """Return the steps of the stored operand, [outputs] or []."""
        return self.weight_steps[CALIBRATED_BITS.index(bits)]

    def act_grid(self, bits: int) -> StreamedGrid:
        """Return the grid of the streamed operand."""
        place = CALIBRATED_BITS.index(bits)
        return StreamedGrid(float(self.act_steps[place]), int(self.act_zero_points[place]))

    def bias_correction(self, bits: int) -> Tensor | None:
        """Return the correction, [outputs]; None for a product of activations."""
        return None if self.bias_corrections is None else self.bias_corrections[CALIBRATED_BITS.index(bits)]

    @property
    def is_sound(self) -> bool:
        """True where all tensors have the shapes above and hold finite numbers, and zero points are codes."""
        weights, corrections, widths = self.weight_steps, self.bias_corrections, len(CALIBRATED_BITS)
        tensors = [weights, self.act_steps, *([] if corrections is None else [corrections])]
        fits = weights.dim() in (1, 2) and len(weights) == widths and self.act_steps.shape == (widths,)
        return (
            fits
            and (corrections is None or corrections.shape == weights.shape)
            and all(one.is_floating_point() and bool(torch.isfinite(one).all()) for one in tensors)
            and self.act_zero_points.shape == (widths,)
            and self.act_zero_points.dtype == torch.int64
            and bool(((self.act_zero_points >= 0) & (self.act_zero_points < _CODES)).all())
        )


_CODES = torch.tensor([1 << bits for bits in CALIBRATED_BITS])


@dataclass(frozen=True, eq=False)
class CalibrationTable:
    """Grids and corrections of every MVM layer, by name, for every width: of one float network."""

    layers: Mapping[str, LayerGrids]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def __reduce__(self) -> tuple[Any, ...]:
        # As arrays: torch would share the memory of tensors with the process that they are sent to.
        return _from_arrays, ({name: tensor.numpy() for name, tensor in self.tensors().items()}, list(self.layers))

    def weight_step(self, layer: str, bits: int) -> Tensor:
        """Return the steps of the stored operand, [outputs] or []."""
        return self.layers[layer].weight_step(bits)

    def act_grid(self, layer: str, bits: int) -> StreamedGrid:
        """Return the grid of the streamed operand."""
        return self.layers[layer].act_grid(bits)

    def bias_correction(self, layer: str, bits: int) -> Tensor | None:
        """Return what rounding the weights to `bits` took from the outputs' means, [outputs]; None for a product."""
        return self.layers[layer].bias_correction(bits)

    def complete(self) -> CalibrationTable:
        """Return the table with all widths found."""
        return CalibrationTable({name: LayerCalibration.of(layer) for name, layer in self.layers.items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return all numbers of the table, by layer and kind."""
        return {
            f"{name}/{kind}": tensor
            for name, layer in self.complete().layers.items()
            for kind in _TENSORS
            if (tensor := getattr(layer, kind)) is not None
        }

    def save(self, path: str | Path) -> None:
        """Write the table as safetensors, atomically."""
        write_tensors(Path(path), self.tensors(), {"widths": CALIBRATED_BITS, "layers": list(self.layers)})

    @classmethod
    def load(cls, path: str | Path) -> CalibrationTable:
        """Read a table. Raises `InputFileError`."""
        tensors, description = read_tensors(Path(path))
        names = description.get("layers")
        if description.get("widths") != list(CALIBRATED_BITS) or not isinstance(names, list):
            raise InputFileError(
                "not a calibration table of this version", where=str(path), hint="calibrate the network again"
            )
        layers = {}
        for name in map(str, names):
            weight_steps, act_steps, zero_points, corrections = (tensors.get(f"{name}/{kind}") for kind in _TENSORS)
            is_product = weight_steps is not None and weight_steps.dim() == 1
            if weight_steps is None or act_steps is None or zero_points is None or (corrections is None) != is_product:
                raise InputFileError(
                    "steps, zero points or corrections are missing",
                    where=f"{path}: {name}",
                    hint="calibrate the network again",
                )
            layers[name] = LayerCalibration(weight_steps, act_steps, zero_points, corrections)
            if not layers[name].is_sound:
                raise InputFileError(
                    "steps, zero points or corrections have other shapes or values",
                    where=f"{path}: {name}",
                    hint="calibrate the network again",
                )
        return cls(layers)


def _from_arrays(arrays: Mapping[str, NDArray[Any]], names: Sequence[str]) -> CalibrationTable:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return CalibrationTable(
        {name: LayerCalibration(*(tensors.get(f"{name}/{kind}") for kind in _TENSORS)) for name in names}  # type: ignore[arg-type]
    )
