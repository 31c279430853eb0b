"""Families: the tiles of one encoded matrix, with everything that their addresses say of rows, columns and windows.

The anchor of a window is the position that its address of sums names; columns lie at displacements from it. All tiles
of a tile_set must run over the same anchors, for each of the tile_set's matrices, with every input slice once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mho.program.instructions import QuantizeInput, WriteDynamicTile, WriteTile
from mho.program.layer_content import Loops, TileUse
from mho.program.layer_region import Integers, LayerRegion, evaluate, loop_values

UNUSED = -1
"""Instead of an output: the column is left out."""

_MAX_SLICES = 32


@dataclass(frozen=True, eq=False)
class Rows:
    """What drives the rows of an encoded matrix, int64 [rows] each.

    Attributes:
        address: of the code, from that of the input vector at the anchor.
        sign: of the drive.
        copy: which of the input slices that enter together.
    """

    address: Integers
    sign: Integers
    copy: Integers


@dataclass(frozen=True, eq=False)
class Columns:
    """What the columns of an encoded matrix are added to, int64 [cols] each.

    Attributes:
        group: from the matrix's first group.
        output: of the group (as many as channels: the sum of the inputs), or `UNUSED`.
        position: [cols, 3], displacement from the anchor.
        weight: with which the count enters the sum.
    """

    group: Integers
    output: Integers
    position: Integers
    weight: Integers


@dataclass(frozen=True, eq=False)
class ColumnClass:
    """The columns of one group at one displacement.

    Attributes:
        group: from the matrix's first group.
        position: displacement from the anchor, [3].
        cols: numbers of the columns.
        outputs: for each of them.
    """

    group: int
    position: Integers
    cols: Integers
    outputs: Integers


@dataclass(frozen=True, eq=False)
class TileSet:
    """The tiles of one encoded matrix; see the module.

    Attributes:
        uses: the tiles.
        rows, columns: of the encoded matrix.
        copies: input slices that enter one MVM.
        dac_bits: bits of an input slice.
        matrices: int64 [matrices], numbers of the matrices in the constant that holds them.
        first_groups: int64 [matrices], the first group of each.
        anchors: int64 [windows, 3], positions, of which some may lie outside of the layer.
    """

    uses: tuple[TileUse, ...]
    rows: Rows
    columns: Columns
    copies: int
    dac_bits: int
    matrices: Integers
    first_groups: Integers
    anchors: Integers

    def classes(self) -> Iterator[ColumnClass]:
        """Sort the columns by displacement and group."""
        used = np.flatnonzero(self.columns.output != UNUSED)
        keys = np.column_stack([self.columns.position[used], self.columns.group[used]])
        distinct, inverse = np.unique(keys, axis=0, return_inverse=True)
        order = np.argsort(inverse.reshape(-1), kind="stable")
        bounds = np.searchsorted(inverse.reshape(-1)[order], np.arange(len(distinct) + 1))
        for number, key in enumerate(distinct):
            cols = used[order[bounds[number] : bounds[number + 1]]]
            yield ColumnClass(int(key[3]), key[:3], cols, self.columns.output[cols])


def find_tile_sets(region: LayerRegion) -> tuple[TileSet, ...]:
    """Sort the tiles of a region into tile sets.

    Raises:
        ProgramError: tiles leave a part of their matrix out or take it twice, or run over different windows; input
            slices are not complete; or an address is none of the geometry's.
    """
    found: dict[Any, list[TileUse]] = {}
    for use in region.content.tiles:
        found.setdefault(_shared(use), []).append(use)
    return tuple(_describe(region, tuple(uses)) for uses in found.values())


def find_rows(region: LayerRegion, tile_set: TileSet, chosen: ColumnClass) -> tuple[Integers, Integers]:
    """Return the rows whose addresses say that they carry inputs of a class, and which input each of them carries."""
    offsets = region.geometry.row_offsets()
    start = chosen.group * region.geometry.code_strides.group + int(chosen.position @ region.position_steps)
    found = tile_set.rows.address - start
    inputs = np.minimum(np.searchsorted(offsets, found), offsets.size - 1)
    rows = np.flatnonzero(offsets[inputs] == found)
    return rows, inputs[rows]


def largest_code(quantize: QuantizeInput) -> int:
    """Return the largest code that a quantization gives, its border included."""
    return max(quantize.qmax, quantize.zero_point) + quantize.offset


def _shared(use: TileUse) -> tuple[Any, ...]:
    """Return what distinguishes tile sets: the constants that they use, and where their matrices begin in them."""
    write, load, add = use.write, use.load, use.add
    common = (load.row_offsets, load.row_signs, load.row_shifts, load.dac_bits, add.column_offsets, add.column_weights)
    if isinstance(write, WriteTile):
        return (write.cells, write.index, *common)
    names = (write.row_offsets, write.row_signs, write.row_shifts, write.row_blocks, write.column_offsets)
    columns = (write.column_signs, write.column_starts, write.column_bits, write.column_shifts, write.column_blocks)
    return (*names, *columns, write.codes, write.address, write.addend, write.is_signed, write.cell_bits, *common)


def _describe(region: LayerRegion, uses: tuple[TileUse, ...]) -> TileSet:
    load, add = uses[0].load, uses[0].add
    row_offsets, shifts = region.constant(load.row_offsets), region.constant(load.row_shifts)
    columns = _read_columns(region, region.constant(add.column_offsets), region.constant(add.column_weights))
    _check_partition(region, uses, len(row_offsets), len(columns.output))
    copies = int(shifts.max()) // load.dac_bits + 1
    is_whole = bool((shifts % load.dac_bits == 0).all()) and np.unique(shifts).size == copies
    region.require(is_whole, "input slices that enter together are not complete")
    walks: dict[Any, _Walk] = {}
    for use in uses:
        region.require(use.load.shift == use.add.shift, "an input slice is added with another weight than it has")
        stored = use.write.index if isinstance(use.write, WriteTile) else use.write.address
        key = (use.loops, stored, use.load.address, use.load.shift, use.add.address)
        if key not in walks:
            walks[key] = _walk(region, use, columns, copies)
    first, *others = walks.values()
    for other in others:
        region.require(first.equals(other), "tiles of one matrix run over different windows")
    return TileSet(
        uses=uses,
        rows=Rows(row_offsets + first.displacement, region.constant(load.row_signs), shifts // load.dac_bits),
        columns=columns,
        copies=copies,
        dac_bits=load.dac_bits,
        matrices=first.matrices,
        first_groups=first.first_groups,
        anchors=first.anchors,
    )


def _read_columns(region: LayerRegion, offsets: Integers, weights: Integers) -> Columns:
    shape, is_used = region.layout.shape, offsets >= 0
    region.require(bool((offsets < region.layout.size).all()), "a column is added outside of the sums")
    image, group, line, channel, row, column = np.unravel_index(np.maximum(offsets, 0), shape)
    region.require(not image.any(), "a column is added to another image")
    position = np.stack([image, row, line if region.layout.is_linear else column], axis=-1)
    return Columns(group, np.where(is_used, channel, UNUSED), position, weights)


def _check_partition(region: LayerRegion, uses: tuple[TileUse, ...], rows: int, cols: int) -> None:
    """Reads cover every row and column of the encoded matrix once."""
    spans = [(use.load.rows, use.add.cols) for use in uses]
    row_edges = np.unique([edge for span, _ in spans for edge in (span.start, span.stop)])
    col_edges = np.unique([edge for _, span in spans for edge in (span.start, span.stop)])
    seen = np.zeros((row_edges.size - 1, col_edges.size - 1), np.int64)
    for row_span, col_span in spans:
        top, bottom = np.searchsorted(row_edges, (row_span.start, row_span.stop))
        left, right = np.searchsorted(col_edges, (col_span.start, col_span.stop))
        seen[top:bottom, left:right] += 1
    is_whole = (row_edges[0], row_edges[-1], col_edges[0], col_edges[-1]) == (0, rows, 0, cols)
    region.require(is_whole and bool((seen == 1).all()), "tiles overlap or leave a part of the matrix out")


@dataclass(frozen=True, eq=False)
class _Walk:
    """What the addresses of one tile say, see `TileSet`; `displacement` is that of its codes from the anchor's."""

    displacement: int
    matrices: Integers
    first_groups: Integers
    anchors: Integers

    def equals(self, other: _Walk) -> bool:
        return (
            self.displacement == other.displacement
            and np.array_equal(self.matrices, other.matrices)
            and np.array_equal(self.first_groups, other.first_groups)
            and np.array_equal(self.anchors, other.anchors)
        )


def _walk(region: LayerRegion, use: TileUse, columns: Columns, copies: int) -> _Walk:
    """Follow one tile through its loops."""
    stored = use.write.index if isinstance(use.write, WriteTile) else use.write.address
    shifting = {variable for variable, _ in use.load.shift.strides}
    moving = {variable for address in (stored, use.load.address, use.add.address) for variable, _ in address.strides}
    region.require(not shifting & moving, "input slices and positions share a loop")
    _check_slices(region, use, tuple(loop for loop in use.loops if loop[0] in shifting), copies)
    loops = tuple(loop for loop in use.loops if loop[0] not in shifting)
    region.require_turns(loops, region.layout.size, "a window is read twice")
    values = loop_values(loops)
    group, anchor = region.locate(evaluate(use.add.address, values))
    _check_reach(region, group, anchor, columns)
    displacement = evaluate(use.load.address, values) - region.code_addresses(group, anchor)
    region.require(bool((displacement == displacement[0]).all()), "a window is driven by codes of another")
    matrix = evaluate(stored, values)
    if isinstance(use.write, WriteDynamicTile):
        stride = getattr(region.geometry, "group_stored_stride", 0)
        region.require(np.array_equal(matrix, group * stride), "a group meets another's matrix")
        matrix = group
    order = np.lexsort((*anchor.T[::-1], group))
    group, anchor, matrix = group[order], anchor[order], matrix[order]
    first_groups, windows = np.unique(group, return_counts=True)
    region.require(bool((windows == windows[0]).all()), "groups run over different windows")
    anchors, matrices = anchor.reshape(len(first_groups), -1, 3), matrix.reshape(len(first_groups), -1)
    region.require(bool((anchors == anchors[0]).all()), "groups run over different windows")
    region.require(bool((matrices == matrices[:, :1]).all()), "a group meets several matrices")
    is_repeated = (anchors[0][1:] == anchors[0][:-1]).all(axis=-1)
    region.require(not is_repeated.any(), "a window is read twice")
    return _Walk(int(displacement[0]), matrices[:, 0], first_groups, anchors[0])


def _check_slices(region: LayerRegion, use: TileUse, loops: Loops, copies: int) -> None:
    """Input slices cover every bit of the codes once."""
    dac_bits, turns, incomplete = (
        use.load.dac_bits,
        math.prod(count for _, count in loops),
        "input slices are not complete",
    )
    slices = max(1, -(-largest_code(region.content.quantizations[0]).bit_length() // dac_bits))
    region.require(slices <= turns * copies and turns <= _MAX_SLICES, incomplete)
    shifts = np.sort(evaluate(use.load.shift, loop_values(loops)))
    region.require(np.array_equal(shifts, np.arange(turns) * (dac_bits * copies)), incomplete)


def _check_reach(region: LayerRegion, group: Integers, anchor: Integers, columns: Columns) -> None:
    """Sums of every column lie where the anchor and the displacement say: none runs over the end of an axis."""
    top, _, left, _ = region.layout.margins
    images, rows, along = region.layout.shape[0], *_extents(region)
    furthest = anchor.max(axis=0) + columns.position.max(axis=0) + np.array([0, top, left])
    is_inside = bool((furthest < np.array([images, rows, along])).all())
    is_inside = is_inside and int(group.max() + columns.group.max()) < region.groups
    region.require(is_inside, "a sum lies outside of its buffer")


def _extents(region: LayerRegion) -> tuple[int, int]:
    _, rows, along = region.layout.position_shape
    return rows, along
