"""The moments of a part's weights as tensors: looked up for stored integers, on the device where these are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mho.mapping.layer_arrays import ArrayPart
from mho.quantization.normal_numbers import Numbers
from mho.quantization.weight_moments import WeightMoments


class WeightTable:
    """The moments of a part's weights as tensors on the device of what they are looked up for."""

    def __init__(self, part: ArrayPart, moments: WeightMoments) -> None:
        self.part, self.moments = part, moments
        self._tensors: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}
        weight = moments.weight
        self.is_read = bool(weight.read.any())

    def look_up(self, stored: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return mean, standard deviation and read variance of stored integers, each of their shape."""
        device, moments = stored.device, self.moments
        if device not in self._tensors:
            parts = moments.weight.mean, np.sqrt(moments.weight.variance), moments.weight.read
            mean, deviation, read = (torch.tensor(one, dtype=torch.float32, device=device) for one in parts)
            self._tensors[device] = mean, deviation, read
        mean, deviation, read = self._tensors[device]
        index = self._index(stored)
        return mean[index], deviation[index], read[index] if self.is_read else None

    def draw_stuck(self, stored: Tensor, rows: int, rates: tuple[float, float], numbers: Numbers) -> Tensor:
        """Return what stuck cells change of stored integers, [rows, ...]; the integers may be the same in all rows.

        There are few: their number is drawn for all weights together, and each lies anywhere.
        """
        changes, moments = stored.new_zeros(rows, *stored.shape[1:]).view(-1), self.moments
        assert moments.stuck is not None, "weights have stuck cells apart"
        index = self._index(stored).reshape(-1)
        for rate, table in zip(rates, moments.stuck, strict=True):
            of_cells = torch.tensor(table, dtype=torch.float32, device=stored.device)
            cells = of_cells.shape[1]
            places = numbers.draw_places(rate, rows, len(changes) // rows * cells)
            weight, cell = places // cells, places % cells
            changes.index_add_(0, weight, of_cells[index[weight % len(index)], cell])
        return changes.view(rows, *stored.shape[1:])

    def _index(self, stored: Tensor) -> Tensor:
        """Return the places of stored integers in tables."""
        last = len(self.moments.weight.mean) - 1
        return (stored - self.moments.lowest).div_(self.moments.step).to(torch.int32).clamp_(0, last)
