"""How the results of a layer are distributed in each channel, and what scale puts one distribution right by another.

The correction of `mho.simulation.recalibration` for tensors of training and of the statistical model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mho.quantization.mvm_products import Geometry


def measure_channels(results: Tensor, geometry: Geometry, *, chip_axes: int = 0) -> tuple[Tensor, Tensor]:
    """Return standard deviation and mean of each channel, lined up with `results`.

    Args:
        results: of a layer, [samples, ...]; with `chip_axes` of 1, [chips, samples, ...].
        geometry: of the layer; of a product of activations all results are one channel.
        chip_axes: leading axes along which each place has statistics of its own.
    """
    channel = {"matmul": None, "conv": chip_axes + 1}.get(geometry[0], results.dim() - 1)
    axes = [axis for axis in range(chip_axes, results.dim()) if axis != channel]
    deviation, mean = torch.std_mean(results, dim=axes, correction=0, keepdim=True)
    return deviation, mean


def scale_to(wanted: Tensor, found: Tensor) -> Tensor:
    """Return what makes a deviation the wanted one; 1 where either is 0."""
    return torch.where((found > 0) & (wanted > 0), wanted / found, 1.0)
