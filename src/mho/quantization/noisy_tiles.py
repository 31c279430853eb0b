"""A layer on its tiles, as the simulation runs it: any mapping, ADCs, wires and DACs.

It costs what a simulation costs; the product with the weights as they were meant stands in for gradients. Calibrated
ADCs find their ranges here (`mho.quantization.noisy_ranges`), and what they clip passes no gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.accelerator.spec import Accelerator
from mho.arithmetic.exactness import exact_products
from mho.array.calibration import without_conversion
from mho.array.conductances import Conditions
from mho.array.model import WrittenCells, make_product, write_crossbar
from mho.array.seeds import CrossbarSeed, Purpose
from mho.quantization.layer_arrays import ArrayTile, LayerArrays
from mho.quantization.noisy_ranges import RangeRenewal, TileRanges
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
        self,
        hardware: Accelerator,
        arrays: LayerArrays,
        first: int,
        conditions: Conditions,
        *,
        one_crossbar: bool,
        renewal: RangeRenewal | None = None,
    ) -> None:
        """Prepare; tiles have numbers from `first` on, and crossbars of these numbers or all the same."""
        self._ranges: TileRanges | None = None
        if hardware.converters.has_calibrated_adc:
            self._ranges = TileRanges(hardware, RangeRenewal() if renewal is None else renewal)
            self._ideal = without_conversion(hardware)
        self._passed: Tensor | None = None
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
        if self._ranges is not None:
            self._ranges.step()

    def forget_ranges(self) -> None:
        """Find ranges of calibrated ADCs again at the next product."""
        if self._ranges is not None:
            self._ranges.forget()

    def weights(self, integers: Tensor) -> Tensor:
        """Return the integers themselves: what cells make of them is in `residual`."""
        return integers

    def residual(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor:
        """Return what tiles give beyond the product of both integers."""
        arrays = self._arrays
        whole = integers.detach().cpu().numpy().astype(np.int64).reshape(arrays.groups, arrays.outputs, arrays.inputs)
        codes = self._lay_out_codes(streamed, geometry, offset)
        shape = len(codes), arrays.groups, arrays.outputs + 1, arrays.positions
        sums, passed = self._run(codes, whole)
        sums = sums.view(shape)
        results = sums[:, :, :-1] - offset * torch.from_numpy(whole.sum(axis=2))[None, :, :, None]
        ideal = multiply(streamed, integers, None, geometry)
        if arrays.weight_offset:
            of_inputs = sums[:, :, -1:]
            if not arrays.has_corrections:
                of_inputs = self._add_up(streamed, integers, geometry, offset)
            results = results - arrays.weight_offset * of_inputs
        self._passed = None if passed is None else _shape_as(passed.view(shape)[:, :, :-1], ideal, geometry)
        return _shape_as(results, ideal, geometry) - ideal

    def passed(self) -> Tensor | None:
        """Return which share of each result of the last `residual` was not clipped, float32 0..1; None for all."""
        return self._passed

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

    def _run(self, codes: NDArray[np.integer], whole: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """Return sums and the unclipped share of each, float64 [images, groups * (outputs + 1) * positions]."""
        arrays = self._arrays
        count = arrays.groups * (arrays.outputs + 1) * arrays.positions
        sums = torch.zeros(len(codes), count + 1, dtype=torch.float64)  # the last one is dropped
        cells = [part.encode(whole) for part in arrays.parts]
        if self._ranges is not None and self._ranges.are_due:
            self._find_ranges(self._ranges, cells, codes)
        within = None if self._ranges is None else _Within(torch.zeros_like(sums), torch.zeros_like(sums))
        number = 0
        for placed in self._tiles:
            written, seed = self._write(placed, cells)
            for rows in placed.tile.reads:
                self._run_read(placed, rows, written, seed, number, codes, sums, within)
                number += 1
        return sums[:, :-1].contiguous(), None if within is None else within.share()[:, :-1].contiguous()

    def _write(self, placed: _PlacedTile, cells: list[NDArray[np.uint8]]) -> tuple[WrittenCells, CrossbarSeed]:
        """Write a tile, and return the seed of its crossbar too."""
        seed = CrossbarSeed(self._chip, 0 if self._one_crossbar else placed.number)
        digits = _pack(cells[placed.part], placed.tile)
        written = write_crossbar(self._hardware, digits, seed, write=placed.number, conditions=self._conditions)
        return written, seed

    def _run_read(
        self,
        placed: _PlacedTile,
        rows: slice,
        written: WrittenCells,
        seed: CrossbarSeed,
        number: int,
        codes: NDArray[np.integer],
        sums: Tensor,
        within: _Within | None,
    ) -> None:
        """Add what some rows of a tile give in all windows to `sums`; `number` is that of the read in the layer."""
        tile, ranges = placed.tile, self._ranges
        layout = tile.layout.drive_rows(rows.start, rows.stop)
        product = make_product(
            self._hardware,
            layout,
            written,
            seed,
            first_row=rows.start,
            ranges=None if ranges is None else ranges.of_read(number),
            is_observed=ranges is not None,
        )
        self._reads += 1
        reads = CrossbarSeed(self._chip, placed.number).stream(Purpose.READS, self._reads)
        for some, driven in _gather(tile, rows, codes):
            places = torch.from_numpy(tile.sums[some].reshape(-1) % sums.shape[1])
            sums.index_add_(1, places, torch.from_numpy(product.run(driven, reads)).reshape(len(codes), -1))
            if ranges is not None and within is not None:
                with exact_products():
                    share, whole = ranges.share_within(number, product, torch.from_numpy(driven))
                within.add(places, share.reshape(len(codes), -1), whole)

    def _find_ranges(self, ranges: TileRanges, cells: list[NDArray[np.uint8]], codes: NDArray[np.integer]) -> None:
        """Let all tiles of the chip run with ideal ADCs, and find ranges for what occurs."""
        bitlines, observed = [], []
        for placed in self._tiles:
            written, seed = self._write(placed, cells)
            for rows in placed.tile.reads:
                layout = placed.tile.layout.drive_rows(rows.start, rows.stop)
                product = make_product(self._ideal, layout, written, seed, first_row=rows.start, is_observed=True)
                bitlines.append(written.bitlines[product.conversions.plus])
                observed.append((product, _Batches(placed.tile, rows, codes)))
        with exact_products():
            ranges.find(bitlines, observed)

    def _add_up(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor:
        """Return the sums of codes that the digital unit takes, [images, groups, 1, positions]."""
        groups, inputs = self._arrays.groups, self._arrays.inputs
        ones = torch.ones(groups, *integers.shape[1:])
        total = multiply(streamed, ones, None, geometry) + offset * inputs
        if geometry[0] != "conv":
            total = total.reshape(-1, self._arrays.positions, groups).transpose(1, 2)
        return total.reshape(len(total), groups, 1, self._arrays.positions)


@dataclass(frozen=True, eq=False)
class _Within:
    """How much of each sum comes from conversions that are not clipped, and of how much: float64, as the sums."""

    found: Tensor
    whole: Tensor

    def add(self, places: Tensor, found: Tensor, whole: Tensor) -> None:
        """Add those of some results [images, windows * outputs], whose conversions weigh `whole` [outputs]."""
        self.found.index_add_(1, places, found)
        self.whole.index_add_(1, places, whole.repeat(len(places) // len(whole)).expand_as(found))

    def share(self) -> Tensor:
        """Return the share of each sum; 1 where nothing is converted."""
        return torch.where(self.whole > 0, self.found / self.whole.clamp(min=1), 1.0)


@dataclass(frozen=True, eq=False)
class _Batches:
    """Codes that drive some rows of a tile, batch by batch; they are gathered each time."""

    tile: ArrayTile
    rows: slice
    codes: NDArray[np.integer]

    def __iter__(self) -> Iterator[Tensor]:
        return (torch.from_numpy(driven) for _, driven in _gather(self.tile, self.rows, self.codes))


def _gather(tile: ArrayTile, rows: slice, codes: NDArray[np.integer]) -> Iterator[tuple[slice, NDArray[np.integer]]]:
    """Yield some windows of a tile, and the codes that drive its rows there, [images * windows, rows]."""
    count = rows.stop - rows.start
    size = max(1, _GATHERED_CODES // (len(codes) * count))
    for start in range(0, len(tile.inputs), size):
        some = slice(start, start + size)
        yield some, codes[:, tile.inputs[some, rows]].reshape(-1, count)


def _shape_as(results: Tensor, ideal: Tensor, geometry: Geometry) -> Tensor:
    """Return results [images, groups, outputs, positions] as a product's, float32."""
    flat = results.flatten(1, 2)
    if geometry[0] != "conv":
        flat = flat.transpose(1, 2)
    return flat.reshape(ideal.shape).to(torch.float32)


def _pack(cells: NDArray[np.uint8], tile: ArrayTile) -> NDArray[np.uint8]:
    """Return what a tile holds of the cells [groups, rows, cols] of its part: groups lie on the diagonal."""
    groups = cells[tile.groups]
    if len(groups) == 1:
        return groups[0, tile.rows, tile.cols]
    count, rows, cols = groups.shape
    packed = np.zeros((count, rows, count, cols), dtype=np.uint8)
    packed[np.arange(count), :, np.arange(count)] = groups
    return packed.reshape(count * rows, count * cols)[tile.rows, tile.cols]
