"""A layer on its tiles, as the simulation runs it: any mapping, ADCs, wires and DACs.

It costs what a simulation costs; the product with the weights as they were meant stands in for gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.accelerator.spec import Accelerator
from mho.array.conductances import Conditions
from mho.array.model import make_product, write_crossbar
from mho.array.seeds import CrossbarSeed, Purpose
from mho.quantization.layer_arrays import ArrayTile, LayerArrays
from mho.quantization.products import Geometry, multiply

_GATHERED_CODES = 1 << 22
"""Codes that are gathered at a time for the windows of a tile."""


@dataclass(frozen=True, eq=False)
class _PlacedTile:
    """A tile, the number of its part, and its own number in the network."""

    tile: ArrayTile
    part: int
    number: int


class NoisyTiles:
    """See the module, and `mho.quantization.array_noise.LayerNoise`."""

    def __init__(
        self, hardware: Accelerator, arrays: LayerArrays, first: int, conditions: Conditions, *, one_crossbar: bool
    ) -> None:
        """Prepare; tiles have numbers from `first` on, and crossbars of these numbers or all the same."""
        self._hardware, self._arrays, self._conditions = hardware, arrays, conditions
        self._one_crossbar = one_crossbar
        self._chip, self._reads = 0, 0
        self._tiles: list[_PlacedTile] = []
        for number, part in enumerate(arrays.parts):
            for tile in part.make_tiles():
                self._tiles.append(_PlacedTile(tile, number, first + len(self._tiles)))

    def set_chip(self, chip: int) -> None:
        """Take another chip."""
        self._chip, self._reads = chip, 0

    def weights(self, integers: Tensor) -> Tensor:
        """Return the integers themselves: what cells make of them is in `residual`."""
        return integers

    def residual(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor:
        """Return what tiles give beyond the product of both integers."""
        arrays = self._arrays
        whole = integers.detach().cpu().numpy().astype(np.int64).reshape(arrays.groups, arrays.outputs, arrays.inputs)
        codes = self._lay_out_codes(streamed, geometry, offset)
        sums = self._run(codes, whole).view(len(codes), arrays.groups, arrays.outputs + 1, arrays.positions)
        results = sums[:, :, :-1] - offset * torch.from_numpy(whole.sum(axis=2))[None, :, :, None]
        ideal = multiply(streamed, integers, None, geometry)
        if arrays.weight_offset:
            of_inputs = sums[:, :, -1:]
            if not arrays.has_corrections:
                of_inputs = self._add_up(streamed, integers, geometry, offset)
            results = results - arrays.weight_offset * of_inputs
        flat = results.flatten(1, 2)
        if geometry[0] == "conv":
            return flat.reshape(ideal.shape).to(torch.float32) - ideal
        return flat.transpose(1, 2).reshape(ideal.shape).to(torch.float32) - ideal

    def _lay_out_codes(self, streamed: Tensor, geometry: Geometry, offset: int) -> NDArray[np.integer]:
        """Return the codes of the padded input, [images, channels * pixels + 1]; the last is 0 and drives nothing."""
        codes = streamed.detach() + offset
        if geometry[0] == "conv":
            _, _, (top, left), _, _ = geometry  # type: ignore[misc]
            codes = functional.pad(codes, (left, left, top, top), value=float(offset))
            height, width = self._arrays.pixels
            if (height, width) != (1, codes.shape[2] * codes.shape[3]):  # else all pixels count as one line
                codes = codes[:, :, :height, :width]
        else:
            codes = codes.reshape(-1, self._arrays.positions, codes.shape[-1]).transpose(1, 2)
        kind = torch.uint8 if self._arrays.input_bits <= 8 else torch.int64
        flat = codes.to(kind).flatten(1)
        return np.ascontiguousarray(functional.pad(flat, (0, 1)).cpu().numpy())

    def _run(self, codes: NDArray[np.integer], whole: NDArray[np.int64]) -> Tensor:
        """Return all sums, float64 [images, groups * (outputs + 1) * positions]."""
        arrays = self._arrays
        count = arrays.groups * (arrays.outputs + 1) * arrays.positions
        sums = torch.zeros(len(codes), count + 1, dtype=torch.float64)  # the last one is dropped
        cells = [part.encode(whole) for part in arrays.parts]
        for placed in self._tiles:
            self._run_tile(placed, _pack(cells[placed.part], placed.tile), codes, sums)
        return sums[:, :-1].contiguous()

    def _run_tile(
        self, placed: _PlacedTile, digits: NDArray[np.uint8], codes: NDArray[np.integer], sums: Tensor
    ) -> None:
        """Write a tile and add what it gives in all windows to `sums`."""
        tile, seed = placed.tile, CrossbarSeed(self._chip, 0 if self._one_crossbar else placed.number)
        written = write_crossbar(self._hardware, digits, seed, write=placed.number, conditions=self._conditions)
        for rows in tile.reads:
            layout = tile.layout.drive_rows(rows.start, rows.stop)
            product = make_product(self._hardware, layout, written, seed, first_row=rows.start)
            self._reads += 1
            reads = CrossbarSeed(self._chip, placed.number).stream(Purpose.READS, self._reads)
            size = max(1, _GATHERED_CODES // (len(codes) * layout.rows))
            for start in range(0, len(tile.inputs), size):
                some = slice(start, start + size)
                gathered = codes[:, tile.inputs[some, rows]]
                found = product.run(gathered.reshape(-1, layout.rows), reads)
                places = torch.from_numpy(tile.sums[some].reshape(-1) % sums.shape[1])
                sums.index_add_(1, places, torch.from_numpy(found).reshape(len(codes), -1))

    def _add_up(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor:
        """Return the sums of codes that the digital unit takes, [images, groups, 1, positions]."""
        groups, inputs = self._arrays.groups, self._arrays.inputs
        ones = torch.ones(groups, *integers.shape[1:])
        total = multiply(streamed, ones, None, geometry) + offset * inputs
        if geometry[0] != "conv":
            total = total.reshape(-1, self._arrays.positions, groups).transpose(1, 2)
        return total.reshape(len(total), groups, 1, self._arrays.positions)


def _pack(cells: NDArray[np.uint8], tile: ArrayTile) -> NDArray[np.uint8]:
    """Return what a tile holds of the cells [groups, rows, cols] of its part: groups lie on the diagonal."""
    groups = cells[tile.groups]
    if len(groups) == 1:
        return groups[0, tile.rows, tile.cols]
    count, rows, cols = groups.shape
    packed = np.zeros((count, rows, count, cols), dtype=np.uint8)
    packed[np.arange(count), :, np.arange(count)] = groups
    return packed.reshape(count * rows, count * cols)[tile.rows, tile.cols]
