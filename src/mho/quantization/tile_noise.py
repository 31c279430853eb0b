"""A layer on its tiles, as the simulation runs it: any mapping, ADCs, wires and DACs.

It costs what a simulation costs; the product with the weights as they were meant stands in for gradients. Calibrated
ADCs find their ranges here (`mho.quantization.adc_ranges`), and what they clip passes no gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.arithmetic.exactness import exact_products
from mho.array.calibration import without_conversion
from mho.array.conductances import Conditions
from mho.array.model import WrittenCells, make_product, write_crossbar
from mho.array.product import ArrayProduct
from mho.array.seeds import CrossbarSeed, Purpose
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import ArrayTile, LayerArrays
from mho.quantization.adc_ranges import RangeRenewal, TileRanges
from mho.quantization.mvm_products import Geometry, multiply
from mho.quantization.stored_matrices import give_results, take_matrices

_GATHERED_CODES = 1 << 22
"""Codes that are gathered at a time for the windows of a tile."""


@dataclass(frozen=True, eq=False)
class _PlacedTile:
    """A tile, the number of its part, and its own number in the network."""

    tile: ArrayTile
    part: int
    number: int


class TileNoise:
    """See the module, and `mho.quantization.layer_noise.LayerNoise`."""

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
        whole = take_matrices(integers, arrays) + arrays.zeros[:, :, None]
        codes = self._lay_out_codes(streamed, geometry, offset)
        shape = len(codes), arrays.groups, arrays.outputs + 1, arrays.positions
        sums, passed = self._run(codes, whole)
        sums = sums.view(shape)
        of_stored = offset * (whole.sum(axis=3) - arrays.inputs * arrays.zeros)
        results = sums[:, :, :-1] - torch.from_numpy(of_stored)[..., None]
        ideal = multiply(streamed, integers, None, geometry)
        if arrays.offsets.any():
            of_inputs = sums[:, :, -1:]
            if not arrays.has_corrections:
                of_inputs = self._add_up(streamed, integers, geometry, offset)
            results = results - torch.from_numpy(arrays.offsets)[..., None] * of_inputs
        self._passed = None if passed is None else give_results(passed.view(shape)[:, :, :-1], ideal, geometry)
        return give_results(results, ideal, geometry) - ideal

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
            codes = codes.reshape(-1, self._arrays.groups, self._arrays.positions, self._arrays.inputs).transpose(2, 3)
        kind = torch.uint8 if self._arrays.input_bits <= 8 else torch.int64
        flat = codes.to(kind).flatten(1)
        return np.ascontiguousarray(functional.pad(flat, (0, 1)).cpu().numpy())

    def _run(self, codes: NDArray[np.integer], whole: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """Return sums and the unclipped share of each, float64 [images, groups * (outputs + 1) * positions]."""
        arrays = self._arrays
        count = arrays.groups * (arrays.outputs + 1) * arrays.positions
        sums = torch.zeros(len(codes), count + 1, dtype=torch.float64)  # the last one is dropped
        if self._ranges is not None and self._ranges.are_due:
            self._find_ranges(self._ranges, whole, codes)
        within = None if self._ranges is None else _Within(torch.zeros_like(sums), torch.zeros_like(sums))
        encoded = [part.encode(whole) for part in arrays.parts]
        for sample, some in self._list_samples(whole, codes):
            cells, number = [one[sample] for one in encoded], 0
            for placed in self._tiles:
                written, seed = self._write(placed, cells, sample)
                for rows in placed.tile.reads:
                    own = None if within is None else within.cut(some)
                    self._run_read(placed, rows, written, seed, number, codes[some], sums[some], own)
                    number += 1
        return sums[:, :-1].contiguous(), None if within is None else within.share()[:, :-1].contiguous()

    def _list_samples(self, whole: NDArray[np.int64], codes: NDArray[np.integer]) -> Iterator[tuple[int, slice]]:
        """Yield the number of each set of matrices, and the inputs that meet it: all of them, or a sample's own."""
        if not self._arrays.is_stored:
            yield 0, slice(len(codes))
            return
        for sample in range(len(whole)):
            yield sample, slice(sample, sample + 1)

    def _write(
        self, placed: _PlacedTile, cells: list[NDArray[np.uint8]], sample: int
    ) -> tuple[WrittenCells, CrossbarSeed]:
        """Write a tile for a sample, and return the seed of its crossbar too."""
        seed = CrossbarSeed(self._chip, 0 if self._one_crossbar else placed.number)
        digits, write = _pack(cells[placed.part], placed.tile), placed.number + sample * len(self._tiles)
        written = write_crossbar(self._hardware, digits, seed, write=write, conditions=self._conditions)
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

    def _find_ranges(self, ranges: TileRanges, whole: NDArray[np.int64], codes: NDArray[np.integer]) -> None:
        """Let all tiles of the chip run with ideal ADCs, and find ranges for what occurs."""
        bitlines, first = [], []
        for _, product, written, _ in self._read_ideally(whole[:1], codes[:0]):
            bitlines.append(written.bitlines[product.conversions.plus])
            first.append(product)

        def run() -> Iterator[tuple[int, ArrayProduct, Tensor]]:
            for number, product, _, batches in self._read_ideally(whole, codes):
                yield from ((number, product, driven) for driven in batches)

        with exact_products():
            ranges.find(bitlines, first, run)

    def _read_ideally(
        self, whole: NDArray[np.int64], codes: NDArray[np.integer]
    ) -> Iterator[tuple[int, ArrayProduct, WrittenCells, Iterable[Tensor]]]:
        """Yield each read of each tile and sample with ideal ADCs: its number, product, cells, and what drives it."""
        encoded = [part.encode(whole) for part in self._arrays.parts]
        for sample, some in self._list_samples(whole, codes):
            cells, number = [one[sample] for one in encoded], 0
            for placed in self._tiles:
                written, seed = self._write(placed, cells, sample)
                for rows in placed.tile.reads:
                    layout = placed.tile.layout.drive_rows(rows.start, rows.stop)
                    product = make_product(self._ideal, layout, written, seed, first_row=rows.start, is_observed=True)
                    driven = (torch.from_numpy(one) for _, one in _gather(placed.tile, rows, codes[some]))
                    yield number, product, written, driven
                    number += 1

    def _add_up(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor:
        """Return the sums of codes that the digital unit takes, [images, groups, 1, positions]."""
        groups, inputs, positions = self._arrays.groups, self._arrays.inputs, self._arrays.positions
        if geometry[0] == "conv":
            total = multiply(streamed, torch.ones(groups, *integers.shape[1:]), None, geometry)
        else:
            total = streamed.sum(dim=-1).reshape(-1, groups, positions)
        return (total + offset * inputs).reshape(-1, groups, 1, positions)


@dataclass(frozen=True, eq=False)
class _Within:
    """How much of each sum comes from conversions that are not clipped, and of how much: float64, as the sums."""

    found: Tensor
    whole: Tensor

    def cut(self, some: slice) -> _Within:
        """Return that of some images."""
        return _Within(self.found[some], self.whole[some])

    def add(self, places: Tensor, found: Tensor, whole: Tensor) -> None:
        """Add those of some results [images, windows * outputs], whose conversions weigh `whole` [outputs]."""
        self.found.index_add_(1, places, found)
        self.whole.index_add_(1, places, whole.repeat(len(places) // len(whole)).expand_as(found))

    def share(self) -> Tensor:
        """Return the share of each sum; 1 where nothing is converted."""
        return torch.where(self.whole > 0, self.found / self.whole.clamp(min=1), 1.0)


def _gather(tile: ArrayTile, rows: slice, codes: NDArray[np.integer]) -> Iterator[tuple[slice, NDArray[np.integer]]]:
    """Yield some windows of a tile, and the codes that drive its rows there, [images * windows, rows]."""
    count = rows.stop - rows.start
    size = max(1, _GATHERED_CODES // max(1, len(codes) * count))
    for start in range(0, len(tile.inputs), size):
        some = slice(start, start + size)
        yield some, codes[:, tile.inputs[some, rows]].reshape(-1, count)


def _pack(cells: NDArray[np.uint8], tile: ArrayTile) -> NDArray[np.uint8]:
    """Return what a tile holds of the cells [groups, rows, cols] of its part: groups lie on the diagonal."""
    groups = cells[tile.groups]
    if len(groups) == 1:
        return groups[0, tile.rows, tile.cols]
    count, rows, cols = groups.shape
    packed = np.zeros((count, rows, count, cols), dtype=np.uint8)
    packed[np.arange(count), :, np.arange(count)] = groups
    return packed.reshape(count * rows, count * cols)[tile.rows, tile.cols]
