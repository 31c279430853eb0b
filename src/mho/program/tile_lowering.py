"""The tiles of one layer as instructions: write, drive, read, shift and add, for every part of its mapping.

A part is swept over windows (`mho.mapping.cell_contents`). Codes that a window reads outside of the padded input, and
sums of positions outside of the layer, have addresses of their own or of others: what is read there only drives rows
whose products go to sums in the margins, which are dropped. So one loop serves inner windows and those at the edge.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.cell_contents import PartContents
from mho.mapping.encoding import CORRECTION, count_stored_bits, first_shift
from mho.mapping.layer_mapping import Part
from mho.mapping.tiling import Tile, split_tiles
from mho.program.geometry import MatmulGeometry
from mho.program.instructions import (
    Affine,
    Instruction,
    LoadInput,
    Mvm,
    ShiftAdd,
    Span,
    Window,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.layer_content import Loops, Write
from mho.program.layer_context import LayerContext, affine, nest, row_addresses, window_steps
from mho.program.program import rewrite

CROSSBAR = 0
"""The crossbar that is used again for every tile, where tiles have none of their own."""

_DIFFERENTIAL = (Encoding.DIFFERENTIAL_COLUMNS, Encoding.DIFFERENTIAL_ROWS)


@dataclass(frozen=True)
class Buffers:
    """Names of a layer's buffers: streamed codes, stored codes (of a product of two activations) and sums."""

    codes: str
    stored: str
    sums: str


@dataclass(frozen=True)
class _Chunk:
    """Matrices of a part that one loop serves: each holds `per_tile` groups, from group `start` of the layer on."""

    start: int
    count: int
    per_tile: int

    def spread(self, values: NDArray[np.int64], group_stride: int) -> NDArray[np.int64]:
        """Repeat values of the rows or columns of one group for all groups of a matrix."""
        return (np.arange(self.per_tile, dtype=np.int64)[:, None] * group_stride + values).reshape(-1)

    def pack(self, cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Lay the cells [groups, rows, cols] of the chunk's groups block-diagonally, [count, rows, cols]."""
        if self.per_tile == 1:
            return cells
        _, rows, cols = cells.shape
        packed = np.zeros((self.count, self.per_tile, rows, self.per_tile, cols), dtype=np.uint8)
        place = np.arange(self.per_tile)
        packed[:, place, :, place] = cells.reshape(self.count, self.per_tile, rows, cols).swapaxes(0, 1)
        return packed.reshape(self.count, self.per_tile * rows, self.per_tile * cols)


def lower_tiles(
    context: LayerContext, accelerator: Accelerator, weights: NDArray[Any] | None, buffers: Buffers
) -> tuple[Instruction, ...]:
    """Return everything that a layer does on one crossbar, which is used again for every tile.

    Args:
        context: the layer.
        accelerator: crossbar and converters.
        weights: integers [groups, outputs, inputs], or None where they are made at run time.
        buffers: what is read and added to.

    Raises:
        MappingError: a weight is not one of the integers that the mapping was made for.
    """
    body: list[Instruction] = []
    for lowering, cells in _list_chunks(context, accelerator, weights, buffers):
        body += lowering.lower(cells)
    return tuple(body)


def lower_resident_tiles(
    context: LayerContext,
    accelerator: Accelerator,
    weights: NDArray[Any] | None,
    buffers: Buffers,
    crossbars: tuple[int, ...],
    sums: tuple[Instruction, ...],
) -> tuple[Instruction, ...]:
    """Return everything that a layer does where every tile has a crossbar of its own, window after window.

    Args:
        context, accelerator, weights, buffers: as of `lower_tiles`; the layer has one part.
        crossbars: for each tile, in their order.
        sums: what the digital unit adds up for each window, if anything.

    Raises:
        MappingError: a weight is not one of the integers that the mapping was made for.
    """
    writes: list[Instruction] = []
    reads: list[Instruction] = []
    free = iter(crossbars)
    lowerings = list(_list_chunks(context, accelerator, weights, buffers))
    for lowering, cells in lowerings:
        for write, read in lowering.lower_resident(cells, free):
            writes.append(write)
            reads += read
    first = lowerings[0][0]
    return (*writes, *nest(first.windows, (Window((*sums, *nest((first.steps,), tuple(reads)))),)))


@dataclass(frozen=True)
class TileCode:
    """One tile by itself: how it is written, and all of its reads.

    Attributes:
        part: of the mapping that it belongs to.
        write: of the tile.
        reads: in all windows.
    """

    part: Part
    write: Write
    reads: tuple[Instruction, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns in use."""
        return len(self.write.rows), len(self.write.cols)

    def on(self, crossbar: int) -> tuple[Instruction, ...]:
        """Return its instructions for a crossbar."""

        def move(item: Instruction) -> tuple[Instruction, ...]:
            if isinstance(item, WriteTile | WriteDynamicTile | LoadInput | Mvm | ShiftAdd):
                return (replace(item, crossbar=crossbar),)
            return (item,)

        return rewrite((self.write, *self.reads), move)


def list_tiles(
    context: LayerContext, accelerator: Accelerator, weights: NDArray[Any] | None, buffers: Buffers
) -> tuple[TileCode, ...]:
    """Return the tiles of a layer one by one, which may take any crossbars; arguments as of `lower_tiles`.

    Raises:
        MappingError: a weight is not one of the integers that the mapping was made for.
    """
    tiles: list[TileCode] = []
    for lowering, cells in _list_chunks(context, accelerator, weights, buffers):
        for write, reads in lowering.lower_resident(cells, itertools.repeat(CROSSBAR)):
            body = nest((*lowering.windows, lowering.steps), reads)
            tiles.append(TileCode(lowering.contents.part, write, body))
    return tuple(tiles)


def _list_chunks(
    context: LayerContext, accelerator: Accelerator, weights: NDArray[Any] | None, buffers: Buffers
) -> Iterator[tuple[_ChunkLowering, NDArray[np.uint8] | None]]:
    """Yield the chunks of all parts, with the cells [groups, rows, cols] of those that hold weights."""
    is_single = len(context.contents) == 1
    for number, contents in enumerate(context.contents):
        cells = contents.encode(weights) if weights is not None else None
        first = contents.part.groups.start
        for place, chunk in enumerate(_chunks(contents)):
            suffix = ("" if is_single else f".{number}") + (".rest" if place else "")
            stop = chunk.start + chunk.count * chunk.per_tile
            lowering = _ChunkLowering(context, accelerator, contents, chunk, suffix, buffers)
            yield lowering, None if cells is None else cells[chunk.start - first : stop - first]


def _chunks(contents: PartContents) -> Iterator[_Chunk]:
    groups, per_tile = contents.part.groups, contents.part.groups_per_tile
    full, rest = divmod(len(groups), per_tile)
    if full:
        yield _Chunk(groups.start, full, per_tile)
    if rest:
        yield _Chunk(groups.stop - rest, 1, rest)


@dataclass
class _ChunkLowering:
    """One chunk of one part on its way to instructions; `suffix` distinguishes its constants from those of others."""

    context: LayerContext
    accelerator: Accelerator
    contents: PartContents
    chunk: _Chunk
    suffix: str
    buffers: Buffers

    def lower(self, cells: NDArray[np.uint8] | None) -> tuple[Instruction, ...]:
        """Return the chunk's instructions; `cells` [groups, rows, cols] hold its weights, if it has any."""
        write, load, add = self._make(cells)
        body: list[Instruction] = []
        for tile in self._tiles():
            placed, reads = self._place(tile, write, load, add)
            body += [placed, *nest((*self.windows, self.steps), reads)]
        return nest((self._matrices,), tuple(body))

    def lower_resident(
        self, cells: NDArray[np.uint8] | None, crossbars: Iterator[int]
    ) -> Iterator[tuple[Write, tuple[Instruction, ...]]]:
        """Yield for each tile of each matrix how it is written, and how it is read in one step of a window."""
        write, load, add = self._make(cells)
        for matrix in range(self.chunk.count):
            own_write = _fix_write(write, matrix)
            own_load = replace(load, address=_fix(load.address, matrix))
            own_add = replace(add, address=_fix(add.address, matrix))
            for tile in self._tiles():
                crossbar = next(crossbars)
                placed, reads = self._place(
                    tile,
                    replace(own_write, crossbar=crossbar),
                    replace(own_load, crossbar=crossbar),
                    replace(own_add, crossbar=crossbar),
                )
                yield placed, reads

    def _make(self, cells: NDArray[np.uint8] | None) -> tuple[Write, LoadInput, ShiftAdd]:
        """Return how tiles are written, driven and counted, with addresses that move with "g" over matrices."""
        load, add = self._load(), self._add()
        return self._write(cells) if cells is not None else self._write_stored(load), load, add

    def _tiles(self) -> Iterator[Tile]:
        per_tile, part = self.chunk.per_tile, self.contents.part
        return iter(split_tiles(per_tile * part.rows, per_tile * part.cols, self.accelerator.crossbar))

    def _place(self, tile: Tile, write: Write, load: LoadInput, add: ShiftAdd) -> tuple[Write, tuple[Instruction, ...]]:
        """Return the write and the reads of one tile."""
        rows, cols = Span(tile.row_start, tile.row_stop), Span(tile.col_start, tile.col_stop)
        return replace(write, rows=rows, cols=cols), self._reads(tile, load, replace(add, cols=cols))

    def _reads(self, tile: Tile, load: LoadInput, add: ShiftAdd) -> tuple[Instruction, ...]:
        """Drive the tile's rows, as many at once as may be active."""
        reads: list[Instruction] = []
        for start in range(tile.row_start, tile.row_stop, self.contents.part.rows_at_once):
            rows = Span(start, min(start + self.contents.part.rows_at_once, tile.row_stop))
            reads += [replace(load, rows=rows, first_row=start - tile.row_start), Mvm(load.crossbar), add]
        return tuple(reads)

    @property
    def _matrices(self) -> tuple[str, int]:
        return "g", self.chunk.count

    @property
    def windows(self) -> Loops:
        """Loops over the windows, outermost first."""
        height, width = self.contents.grid.sweeps(self.contents.part.window)
        return ("b", self.contents.grid.batch), ("y", height.count), ("x", width.count)

    @property
    def steps(self) -> tuple[str, int]:
        """The loop over the steps of a window."""
        return "s", self.contents.part.num_steps

    @property
    def _shift(self) -> Affine:
        return affine(0, {"s": self.contents.step_shift}, (self.steps,))

    def _constant(self, role: str, values: NDArray[Any]) -> str:
        return self.context.constant(role + self.suffix, values)

    def _address(self, base: int, group: int, window: tuple[int, int, int]) -> Affine:
        """Return an address that moves by `group` for a group and by `window` for an image and window."""
        strides = {"g": group * self.chunk.per_tile, **dict(zip("byx", window, strict=True))}
        return affine(base + group * self.chunk.start, strides, (self._matrices, *self.windows))

    def _load(self) -> LoadInput:
        geometry, rows = self.context.geometry, self.contents.rows
        strides = geometry.code_strides
        addresses = row_addresses(geometry, self.contents)
        first = int(addresses.min())
        steps = window_steps(geometry, self.contents)
        return LoadInput(
            crossbar=CROSSBAR,
            codes=self.buffers.codes,
            address=self._address(self.context.first_code + first, strides.group, (strides.image, *steps)),
            row_offsets=self._constant("row_offsets", self.chunk.spread(addresses - first, strides.group)),
            row_signs=self._constant("row_signs", self.chunk.spread(rows.sign, 0)),
            row_shifts=self._constant("row_shifts", self.chunk.spread(rows.shift, 0)),
            rows=Span(0, 1),
            shift=self._shift,
            dac_bits=self.accelerator.converters.dac_bits,
        )

    def _add(self) -> ShiftAdd:
        layout, cols = self.context.layout, self.contents.cols
        image, row, column = layout.position_strides
        height, width = self.contents.grid.sweeps(self.contents.part.window)
        channel = np.where(cols.output == CORRECTION, layout.channels, cols.output)
        offsets = channel * layout.strides[3] + cols.position @ np.array([row, column], dtype=np.int64)
        first = int(cols.position[:, 0].min()) * row + int(cols.position[:, 1].min()) * column
        return ShiftAdd(
            crossbar=CROSSBAR,
            accumulators=self.buffers.sums,
            address=self._address(
                layout.origin + first, layout.strides[1], (image, height.step * row, width.step * column)
            ),
            column_offsets=self._constant("column_offsets", self.chunk.spread(offsets - first, layout.strides[1])),
            column_weights=self._constant("column_weights", self.chunk.spread(cols.weight, 0)),
            cols=Span(0, 1),
            shift=self._shift,
        )

    def _write(self, cells: NDArray[np.uint8]) -> WriteTile:
        name = self._constant("cells", self.chunk.pack(cells))
        return WriteTile(CROSSBAR, name, affine(0, {"g": 1}, (self._matrices,)), Span(0, 1), Span(0, 1))

    def _write_stored(self, load: LoadInput) -> WriteDynamicTile:
        """Return what writes the operand that is known only when it runs; blocks are a group at a position."""
        geometry, rows, cols = self.context.geometry, self.contents.rows, self.contents.cols
        assert isinstance(geometry, MatmulGeometry)
        values, encoding, chunk = self.context.mapping.values, self.context.mapping.encoding, self.chunk
        is_signed, unit = encoding is Encoding.TWOS_COMPLEMENT, first_shift(values, encoding)
        low_bits = count_stored_bits(values, encoding)
        signs = np.sign(cols.weight) if encoding in _DIFFERENTIAL else np.ones_like(cols.weight)
        stored_columns = chunk.spread(np.where(cols.output == CORRECTION, 0, cols.output), geometry.group_stored_stride)
        stored_columns[np.tile(cols.output == CORRECTION, chunk.per_tile)] = -1
        blocks = int(cols.position[:, 1].max()) + 1
        return WriteDynamicTile(
            crossbar=CROSSBAR,
            codes=self.buffers.stored,
            address=self._address(0, geometry.group_stored_stride, (0, 0, 0)),
            row_offsets=self._constant("stored_row_offsets", chunk.spread(rows.channel * geometry.outputs, 0)),
            row_signs=load.row_signs,
            row_shifts=load.row_shifts,
            row_blocks=self._constant("row_blocks", chunk.spread(rows.pixel[:, 1], blocks)),
            column_offsets=self._constant("stored_column_offsets", stored_columns),
            column_signs=self._constant("column_signs", chunk.spread(signs, 0)),
            column_starts=self._constant("column_starts", chunk.spread(cols.is_sign_bit * low_bits + unit, 0)),
            column_bits=self._constant("column_bits", chunk.spread(np.where(cols.is_sign_bit, 1, low_bits), 0)),
            column_shifts=self._constant("column_shifts", chunk.spread(cols.digit, 0)),
            column_blocks=self._constant("column_blocks", chunk.spread(cols.position[:, 1], blocks)),
            addend=self.contents.weight_offset,
            is_signed=is_signed,
            cell_bits=self.accelerator.crossbar.cell_bits,
            rows=Span(0, 1),
            cols=Span(0, 1),
        )


def _fix(address: Affine, matrix: int) -> Affine:
    """Return the address of one matrix: that at "g" = `matrix`."""
    moving = dict(address.strides)
    return Affine(address.base + moving.pop("g", 0) * matrix, tuple(moving.items()))


def _fix_write(write: Write, matrix: int) -> Write:
    if isinstance(write, WriteTile):
        return replace(write, index=_fix(write.index, matrix))
    return replace(write, address=_fix(write.address, matrix))
