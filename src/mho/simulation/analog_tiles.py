"""The tiles of a program as analog arrays: what is written where, and which products its loops are.

A tile's loops fall apart: over steps of input slices (the array takes them all), over matrices (each is written on its
own), and over windows, all of which meet the same cells: one product of all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.array.conductances import Conditions, Device
from mho.array.crossbar import ProductMaker, WrittenCells, write_crossbar
from mho.array.layout import ArrayLayout
from mho.array.product import MIN_FRACTION_BITS, ArrayProduct
from mho.array.range_groups import Range
from mho.array.seeds import CrossbarSeed
from mho.errors import ConfigError
from mho.hardware.spec import Accelerator
from mho.program.geometry import AccumulatorLayout
from mho.program.instructions import Layer, QuantizeInput, ShiftAdd, WriteDynamicTile, WriteTile
from mho.program.layer_content import LayerContent, Loops, TileUse
from mho.program.program import Program
from mho.simulation.analog_faults import FaultAwareWriter, FaultFigures
from mho.simulation.stored_operands import StoredOperand
from mho.simulation.tile_loops import list_addresses, split_loops, turns
from mho.simulation.tile_places import TilePlace, TilePlaces, TileWrite

Integers = NDArray[np.int64]

Ranges = Mapping[str, tuple[Range, ...]]
"""Of calibrated ADCs: those of each layer and tile, in execution order."""

_CELL_LIMIT = 32639
"""The largest whole number of two signed bytes, balanced (`mho.array.integer_product.split_digits`)."""

_MakeProduct = Callable[[WrittenCells], ArrayProduct]


@dataclass(frozen=True, eq=False)
class AnalogTile:
    """One matrix in one crossbar, and all windows that meet it: with copies of a layer, every d-th.

    Where inputs of a batch share copies that windows of one input do not share alike, `inputs` and `sums` are those of
    all windows, and `share` tells which of them meet it.

    Attributes:
        crossbar: that holds it.
        bitlines: int64 [cols], of the crossbar, on which its columns lie.
        product: what it gives; where the matrix is stored for each sample, with a matrix of zeros.
        operand: what stores the matrix of a sample; None where it is written once.
        codes: name of the buffer of codes that drive the rows.
        inputs: int64 [windows], address of each window among the codes.
        rows: int64 [rows], from there to the codes that drive the rows.
        sums: int64 [windows], address of each window among the sums.
        results: int64 [results], from there to the sums that results are added to.
        share: of the windows of a batch; None where each input of it has the same windows here.
    """

    crossbar: int
    bitlines: Integers
    product: ArrayProduct
    operand: StoredOperand | None
    codes: str
    inputs: Integers
    rows: Integers
    sums: Integers
    results: Integers
    share: WindowShare | None = None


@dataclass(frozen=True)
class WindowShare:
    """Which windows a copy serves, where those of all inputs of a batch are dealt out in turn.

    Attributes:
        copy, copies: which of how many.
        batch: inputs of a batch.
    """

    copy: int
    copies: int
    batch: int

    def split(self, tile: AnalogTile) -> Iterator[tuple[AnalogTile, frozenset[int]]]:
        """Yield the tile with the windows that it serves of some inputs, and their places in a batch."""
        places: dict[int, set[int]] = {}
        for place in range(self.batch):
            places.setdefault((self.copy - place * len(tile.inputs)) % self.copies, set()).add(place)
        for first, some in places.items():
            windows = slice(first, None, self.copies)
            if len(tile.inputs[windows]):
                own = replace(tile, inputs=tile.inputs[windows], sums=tile.sums[windows], share=None)
                yield own, frozenset(some)


@dataclass(frozen=True, eq=False)
class _Matrix:
    """One turn of a tile's loops over matrices: what all copies of it have in common, see `AnalogTile`."""

    use: TileUse
    number: int
    values: Mapping[str, int]
    maker: ProductMaker
    inputs: Integers
    rows: Integers
    sums: Integers
    results: Integers


@dataclass
class _Held:
    """What a crossbar holds, in which turn it was written, and how many more tiles are made of it, at most."""

    write: TileWrite
    number: int
    cells: WrittenCells
    uses: int


class TileWriter:
    """Writes the tiles of a program into the crossbars of one chip.

    Writes of a crossbar are numbered in the order of the program; each has errors of its own.
    """

    def __init__(
        self,
        program: Program,
        contents: tuple[LayerContent, ...],
        hardware: Accelerator,
        chip_seed: int,
        conditions: Conditions | None,
        ranges: Ranges | None,
        *,
        is_observed: bool,
    ) -> None:
        """Find which blocks are written together."""
        self._program, self._hardware, self._chip_seed, self._conditions = program, hardware, chip_seed, conditions
        self._ranges, self._is_observed = ranges, is_observed
        self._places = TilePlaces(program, contents)
        self._faults = FaultAwareWriter(program, contents, hardware)
        self._held: dict[int, _Held] = {}
        self._uses: dict[int, int] = {}
        for content in contents:
            for use in content.tiles:
                key = id(self._places.write_of(use.write))
                self._uses[key] = self._uses.get(key, 0) + 1

    def tiles(self, content: LayerContent) -> Iterator[AnalogTile]:
        """Yield the tiles of a layer, in execution order.

        Raises:
            ProgramError: loops are not those of steps, matrices and windows.
            ConfigError: there are ranges for other tiles.
        """
        name = content.layer.name
        if self._ranges is None:
            limits: Iterator[Range | None] = itertools.repeat(None)
        else:
            limits = iter(self._ranges.get(name, ()))
        for use in content.tiles:
            yield from self._tiles_of(use, content, self._places.list_copies(content, use.write), limits)
        if self._ranges is not None and next(limits, None) is not None:
            raise _other_ranges(name)

    @property
    def faults(self) -> FaultFigures:
        """What stuck cells make of all that was written so far."""
        return self._faults.figures

    def seed(self, crossbar: int) -> CrossbarSeed:
        """Return the seed of a crossbar."""
        return CrossbarSeed(self._chip_seed, crossbar)

    def _tiles_of(
        self, use: TileUse, content: LayerContent, places: tuple[TilePlace, ...], limits: Iterator[Range | None]
    ) -> Iterator[AnalogTile]:
        load, add, constants = use.load, use.add, self._program.constants
        hardware = layer_converters(self._hardware, content.layer)
        steps, matrices, windows = split_loops(use, content.layer.name)
        offsets = _cut(constants[add.column_offsets], add.cols.start, add.cols.stop)
        used = offsets >= 0
        targets, output = np.unique(offsets[used], return_inverse=True)
        quantize = next(item for item in content.quantizations if item.target == load.codes)
        layout = _lay_out(self._program, use, quantize, steps, used, output, len(targets))
        layout = replace(layout, is_correction=used & _add_inputs(content.dequantize.layout, add, offsets))
        rows = _cut(constants[load.row_offsets], load.rows.start, load.rows.stop)
        maker = ProductMaker(
            hardware,
            layout,
            first_row=load.first_row,
            first_col=add.first_col,
            is_observed=self._is_observed,
            max_fraction_bits=_count_fraction_bits(hardware),
        )
        for number, values in enumerate(turns(matrices)):
            inputs, sums = (list_addresses(address, values, windows) for address in (load.address, add.address))
            # Copies take windows in turn; where there are fewer of these, the last copies have none.
            shared = 1 if isinstance(use.write, WriteDynamicTile) else self._places.batch
            copies = range(min(len(places), len(inputs) * shared))
            given = list(itertools.islice(limits, len(copies)))
            if len(given) < len(copies):
                raise _other_ranges(content.layer.name)
            matrix = _Matrix(use, number, values, maker, inputs, rows, sums, targets)
            yield from _map_in_threads(partial(self._make_tile, matrix, places), copies, given)

    def _make_tile(self, matrix: _Matrix, places: tuple[TilePlace, ...], copy: int, ranges: Range | None) -> AnalogTile:
        """Write one copy of a matrix."""
        place, windows = places[copy], slice(copy, None, len(places))
        share = None
        if isinstance(matrix.use.write, WriteTile) and self._places.batch > 1 and len(matrix.inputs) % len(places):
            share, windows = WindowShare(copy, len(places), self._places.batch), slice(None)
        operand, cells = self._fill(matrix, place, ranges)
        first, load = matrix.use.add.first_col, matrix.use.load
        bitlines = cells.bitlines[first : first + len(matrix.use.add.cols)]
        inputs, sums = matrix.inputs[windows], matrix.sums[windows]
        return AnalogTile(
            place.crossbar,
            bitlines,
            self._make(matrix, place, ranges)(cells),
            operand,
            load.codes,
            inputs,
            matrix.rows,
            sums,
            matrix.results,
            share,
        )

    def _make(self, matrix: _Matrix, place: TilePlace, ranges: Range | None) -> _MakeProduct:
        return partial(matrix.maker.make, seed=self.seed(place.crossbar), ranges=ranges)

    def _fill(
        self, matrix: _Matrix, place: TilePlace, ranges: Range | None
    ) -> tuple[StoredOperand | None, WrittenCells]:
        """Write weights, or prepare to write activations; return what stores them, and what is written first."""
        block = matrix.use.write
        if isinstance(block, WriteTile):
            return None, self._write(block, place, matrix.number, matrix.values)
        operand = self._prepare(block, place, matrix, ranges)
        others = tuple(self._prepare(block, one, matrix, ranges) for one in place.others)
        return replace(operand, others=others), operand.write_nothing()

    def _prepare(
        self, block: WriteDynamicTile, place: TilePlace, matrix: _Matrix, ranges: Range | None
    ) -> StoredOperand:
        """Return what stores an operand at a place."""
        write, hardware, seed = self._places.write_of(block), self._hardware, self.seed(place.crossbar)
        first = place.number + matrix.number
        lines = self._faults.choose_unseen(seed, first, write.blocks)

        def write_cells(digits: Integers, number: int) -> WrittenCells:
            return write_crossbar(hardware, digits, seed, write=number, conditions=self._conditions, lines=lines)

        (address,) = list_addresses(block.address, matrix.values, ()).tolist()
        return StoredOperand(
            self._program, block, address, first, place.writes, write_cells, self._make(matrix, place, ranges)
        )

    def _write(self, block: WriteTile, place: TilePlace, number: int, values: Mapping[str, int]) -> WrittenCells:
        """Return the cells of the write that a block belongs to, in the given turn of the loops over matrices.

        A copy is written as the crossbar that instructions name is, in its own, with errors of its own.
        """
        write, crossbar = self._places.write_of(block), place.crossbar
        held = self._held.get(crossbar)
        if held is None or held.write is not write or held.number != number:
            shape = (self._hardware.crossbar.rows, self._hardware.crossbar.cols)
            digits = np.zeros(shape, dtype=np.int64)
            for one in write.blocks:
                assert isinstance(one, WriteTile)
                matrix = self._program.constants[one.cells][one.index.at(values)]
                row, col = one.corner
                rows, cols = slice(row, row + len(one.rows)), slice(col, col + len(one.cols))
                digits[rows, cols] = matrix[one.rows.start : one.rows.stop, one.cols.start : one.cols.stop]
            seed, numbered = self.seed(crossbar), place.number + number
            lines, digits = self._faults.choose(seed, numbered, write.blocks, digits)
            cells = write_crossbar(
                self._hardware, digits, seed, write=numbered, conditions=self._conditions, lines=lines
            )
            held = self._held[crossbar] = _Held(write, number, cells, self._uses[id(write)])
        held.uses -= 1
        if not held.uses:
            del self._held[crossbar]
        return held.cells


def _count_fraction_bits(hardware: Accelerator) -> int:
    """Return the fraction bits of cells that are not whole numbers: two bytes hold up to twice their range.

    But at least `MIN_FRACTION_BITS`. A chip of thousands of crossbars fits into memory so, and its products are those
    of two bytes. What is rounded is at most 2^-14 of the range, far below any error of a write (docs/arrays.md).
    """
    return max(MIN_FRACTION_BITS, (_CELL_LIMIT // (2 * Device.of(hardware).span)).bit_length() - 1)


def layer_converters(hardware: Accelerator, layer: Layer) -> Accelerator:
    """Return hardware whose ADCs convert with the bits that a layer has of its own; ideal ADCs read every sum.

    Raises:
        ConfigError: they do not have so many.
    """
    return hardware if hardware.converters.has_ideal_adc else hardware.with_adc_bits(layer.adc_bits)


def _map_in_threads(
    make: Callable[[int, Range | None], AnalogTile], copies: range, ranges: list[Range | None]
) -> Iterator[AnalogTile]:
    """Make copies, which depend on nothing but their seeds, in as many threads as torch has."""
    threads = min(torch.get_num_threads(), len(copies))
    if threads == 1:
        yield from map(make, copies, ranges)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(make, copies, ranges)


def _other_ranges(layer: str) -> ConfigError:
    return ConfigError("ranges of ADCs are those of other tiles", where=f"layer {layer}", hint="calibrate again")


def _lay_out(
    program: Program,
    use: TileUse,
    quantize: QuantizeInput,
    steps: Loops,
    used: NDArray[np.bool_],
    output: Integers,
    outputs: int,
) -> ArrayLayout:
    """Return the layout of a tile; columns that are left out count for a result more."""
    load, add, constants = use.load, use.add, program.constants
    signs, shifts = (
        _cut(constants[name], load.rows.start, load.rows.stop) for name in (load.row_signs, load.row_shifts)
    )
    weights = _cut(constants[add.column_weights], add.cols.start, add.cols.stop)
    col_output = np.full(len(used), outputs)
    col_output[used] = output
    largest = max(quantize.qmax, quantize.zero_point) + quantize.offset
    return ArrayLayout(
        row_sign=signs,
        row_shift=shifts,
        col_output=col_output,
        col_weight=np.where(used, weights, 1),
        outputs=outputs + int(not used.all()),
        input_bits=max(1, int(largest).bit_length()),
        dac_bits=load.dac_bits,
        steps=steps[0][1] if steps else 1,
        step_shift=dict(load.shift.strides)[steps[0][0]] if steps else load.dac_bits,
    )


def _add_inputs(layout: AccumulatorLayout, add: ShiftAdd, offsets: Integers) -> NDArray[np.bool_]:
    """Return which columns go to sums of inputs, bool [cols]: those that hold ones."""
    first = add.address.at({variable: 0 for variable, _ in add.address.strides})
    channel = (first + offsets) // layout.strides[3] % layout.shape[3]
    is_correction: NDArray[np.bool_] = channel == layout.channels
    return is_correction


def _cut(constant: NDArray[Any], start: int, stop: int) -> Integers:
    return constant[start:stop].astype(np.int64)
