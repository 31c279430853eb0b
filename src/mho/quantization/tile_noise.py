"""A layer on its tiles, as the simulation runs it: any mapping, ADCs, wires and DACs.

It costs what a simulation costs; the product with the weights as they were meant stands in for gradients. Calibrated
ADCs find their ranges here (`mho.quantization.range_renewal`), and what they clip passes no gradient.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.arithmetic.exactness import exact_products
from mho.array.calibration import without_conversion
from mho.array.conductances import Conditions
from mho.array.crossbar import WrittenCells, make_product, write_crossbar
from mho.array.product import ArrayProduct
from mho.array.range_groups import Range
from mho.array.seeds import CrossbarSeed, Purpose
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import ArrayTile, LayerArrays
from mho.quantization.layer_noise import LayerNoise
from mho.quantization.mvm_products import Geometry, multiply
from mho.quantization.range_renewal import RangeRenewal, TileRanges
from mho.quantization.stored_matrices import operand_to_matrices, results_to_product

_GATHERED_CODES = 1 << 22
"""Codes that are gathered at a time for the windows of a tile."""


@dataclass(frozen=True, eq=False)
class _PlacedTile:
    """A tile, the number of its part, and its own number in the network."""

    tile: ArrayTile
    part: int
    number: int


@dataclass(frozen=True, eq=False)
class _Read:
    """Some rows of a written tile that are driven at once.

    Attributes:
        placed: the tile.
        rows: of the tile.
        written: its cells.
        seed: of its crossbar.
        number: of the read in the layer.
        sample: whose activations the tile holds; None for weights.
    """

    placed: _PlacedTile
    rows: slice
    written: WrittenCells
    seed: CrossbarSeed
    number: int
    sample: int | None

    def images(self, count: int) -> slice:
        """Return which of `count` images drive the tile."""
        return slice(count) if self.sample is None else slice(self.sample, self.sample + 1)

    def product(self, hardware: Accelerator, *, ranges: Range | None = None, is_observed: bool) -> ArrayProduct:
        """Return the product that the rows compute on hardware, with ranges of its ADCs where these are calibrated.

        Cells may have been written for hardware whose reads have noise, and this one's have none.
        """
        written = self.written if hardware.array.read_noise else replace(self.written, variance=None)
        layout = self.placed.tile.layout.drive_rows(self.rows.start, self.rows.stop)
        return make_product(
            hardware,
            layout,
            written,
            self.seed,
            first_row=self.rows.start,
            ranges=ranges,
            is_observed=is_observed,
        )


@dataclass(frozen=True, eq=False)
class _Kept:
    """What does not change while chip and integers stay as they are.

    Attributes:
        encoded: what cells should hold, of each part.
        written: by sample, number of the tile, and whether there are wires.
        ideal: products of weights that ranges were found with, by number of the read, and their hardware.
    """

    encoded: list[NDArray[np.uint8]] = field(default_factory=list)
    written: dict[tuple[int, int, bool], WrittenCells] = field(default_factory=dict)
    ideal: dict[tuple[int, Accelerator], ArrayProduct] = field(default_factory=dict)


class TileNoise(LayerNoise):
    """See the module."""

    def __init__(
        self,
        hardware: Accelerator,
        arrays: LayerArrays,
        first: int,
        conditions: Conditions,
        *,
        one_crossbar: bool,
        renewal: RangeRenewal | None = None,
        counts_clipping: bool = True,
    ) -> None:
        """Prepare; tiles have numbers from `first` on, and crossbars of these numbers or all the same.

        What `passed` gives is found where `counts_clipping`; it takes a part of the time, and only training needs it.
        """
        self._counts_clipping = counts_clipping
        self._ranges: TileRanges | None = None
        if hardware.converters.has_calibrated_adc:
            self._ranges = TileRanges(hardware, RangeRenewal() if renewal is None else renewal)
            self._ideal = without_conversion(hardware)
        self._passed: Tensor | None = None
        self._keeps_cells, self._kept = False, _Kept()
        self._hardware, self._arrays, self._conditions = hardware, arrays, conditions
        self._one_crossbar = one_crossbar
        self._chip, self._reads = 0, 0
        self._tiles: list[_PlacedTile] = []
        for number, part in enumerate(arrays.parts):
            for tile in part.make_tiles():
                self._tiles.append(_PlacedTile(tile, number, first + len(self._tiles)))

    @contextmanager
    def keeping_cells(self) -> Iterator[None]:
        """Encode and write cells once within the block, in which chip and integers stay as they are."""
        self._keeps_cells = True
        try:
            yield
        finally:
            self._keeps_cells, self._kept = False, _Kept()

    def on(self, hardware: Accelerator) -> TileNoise:
        """Return the same tiles, of the same chip, on hardware whose cells are the same and whose ADCs are ideal."""
        other = copy.copy(self)
        other._hardware, other._ranges = hardware, None
        return other

    def set_chip(self, chip: int) -> None:
        """Take another chip."""
        self._chip, self._reads = chip, 0
        if self._ranges is not None:
            self._ranges.step()

    def clear_ranges(self) -> None:
        """Find ranges of calibrated ADCs again at the next product."""
        if self._ranges is not None:
            self._ranges.forget()

    def weights(self, integers: Tensor) -> Tensor:
        """Return the integers themselves: what cells make of them is in `residual`."""
        return integers

    def residual(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor:
        """Return what tiles give beyond the product of both integers."""
        arrays = self._arrays
        whole = operand_to_matrices(integers, arrays) + arrays.zeros[:, :, None]
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
        self._passed = None if passed is None else results_to_product(passed.view(shape)[:, :, :-1], ideal, geometry)
        return results_to_product(results, ideal, geometry) - ideal

    def passed(self) -> Tensor | None:
        """Return which share of each result of the last `residual` was not clipped, float32 0..1; None for all.

        None too where clipping is not counted.
        """
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
        arrays, ranges = self._arrays, self._ranges
        count = arrays.groups * (arrays.outputs + 1) * arrays.positions
        sums = torch.zeros(len(codes), count + 1, dtype=torch.float64)  # the last one is dropped
        if ranges is not None and ranges.are_due:
            self._find_ranges(ranges, whole, codes)
        within = None
        if ranges is not None and self._counts_clipping:
            within = _Within(torch.zeros_like(sums), torch.zeros_like(sums))
        for read in self._list_reads(whole):
            some = read.images(len(codes))
            self._add_read(read, codes[some], sums[some], None if within is None else within.cut(some))
        return sums[:, :-1].contiguous(), None if within is None else within.share()[:, :-1].contiguous()

    def _list_reads(self, whole: NDArray[np.int64], samples: int | None = None) -> Iterator[_Read]:
        """Write matrices [samples, groups, outputs, inputs], of the first `samples` or all, and yield their reads."""
        kept = self._kept if self._keeps_cells else _Kept()
        if not kept.encoded:
            kept.encoded.extend(part.encode(whole) for part in self._arrays.parts)
        for sample in range(len(whole) if samples is None else samples):
            number = 0
            for placed in self._tiles:
                seed = CrossbarSeed(self._chip, 0 if self._one_crossbar else placed.number)
                write = placed.number + sample * len(self._tiles)
                key = sample, placed.number, self._hardware.array.has_wires
                written = kept.written.get(key)
                if written is None:
                    digits = _pack(kept.encoded[placed.part][sample], placed.tile)
                    written = write_crossbar(self._hardware, digits, seed, write=write, conditions=self._conditions)
                if self._keeps_cells:
                    kept.written[key] = written
                for rows in placed.tile.reads:
                    yield _Read(placed, rows, written, seed, number, sample if self._arrays.is_stored else None)
                    number += 1

    def _add_read(self, read: _Read, codes: NDArray[np.integer], sums: Tensor, within: _Within | None) -> None:
        """Add what a read gives in all windows to `sums`."""
        tile, ranges = read.placed.tile, self._ranges
        found = None if ranges is None else ranges.of_read(read.number)
        product = self._kept.ideal.get((read.number, self._hardware))
        if product is None:
            product = read.product(self._hardware, ranges=found, is_observed=within is not None)
        self._reads += 1
        stream = CrossbarSeed(self._chip, read.placed.number).stream(Purpose.READS, self._reads)
        for some, driven in _gather(tile, read.rows, codes):
            places = torch.from_numpy(tile.sums[some].reshape(-1) % sums.shape[1])
            sums.index_add_(1, places, torch.from_numpy(product.run(driven, stream)).reshape(len(codes), -1))
            if ranges is not None and within is not None:
                with exact_products():
                    share, full = ranges.share_within(read.number, product, torch.from_numpy(driven))
                within.add(places, share.reshape(len(codes), -1), full)

    def _find_ranges(self, ranges: TileRanges, whole: NDArray[np.int64], codes: NDArray[np.integer]) -> None:
        """Let all tiles of the chip run with ideal ADCs, and find ranges for what occurs."""
        first = [(read, read.product(self._ideal, is_observed=True)) for read in self._list_reads(whole, samples=1)]
        bitlines = [read.written.bitlines[product.conversions.plus] for read, product in first]
        if self._keeps_cells and not self._arrays.is_stored:
            self._kept.ideal.update({(read.number, self._ideal): product for read, product in first})

        def list_products() -> Iterable[tuple[_Read, ArrayProduct]]:
            if not self._arrays.is_stored:
                return first
            return ((read, read.product(self._ideal, is_observed=True)) for read in self._list_reads(whole))

        def run() -> Iterator[tuple[int, ArrayProduct, Tensor]]:
            for read, product in list_products():
                for _, driven in _gather(read.placed.tile, read.rows, codes[read.images(len(codes))]):
                    yield read.number, product, torch.from_numpy(driven)

        with exact_products():
            ranges.find(bitlines, [product for _, product in first], run)

    def _add_up(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor:
        """Return the sums of codes that the digital unit takes, [images, groups, 1, positions]."""
        groups, inputs, positions = self._arrays.groups, self._arrays.inputs, self._arrays.positions
        if geometry[0] == "conv":
            total = multiply(streamed, streamed.new_ones(groups, *integers.shape[1:]), None, geometry)
        else:
            total = streamed.sum(dim=-1).reshape(-1, groups, positions)
        return (total + offset * inputs).reshape(-1, groups, 1, positions).cpu()


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
