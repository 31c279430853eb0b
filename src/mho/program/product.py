"""The proof that a layer's region computes the product that its geometry names, whatever loops and tiles it is made of.

`prove_layer` enumerates every loop of the region and holds each address against the geometry: every tile meets every
position of its group once with every input slice, its rows are driven by elements of that position's input vector, its
columns are added to outputs of that position. What remains free are the cells: they are the weights. The executor
relies on this to run the layer as one integer product; the interpreter does not need it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mho.program.geometry import ConvGeometry, MatmulGeometry
from mho.program.instructions import Dequantize, Geometry, QuantizeInput, WriteDynamicTile, WriteTile
from mho.program.operand_proof import prove_stored_operand, prove_sums
from mho.program.program import Program
from mho.program.region import SUM_OF_INPUTS, UNUSED, Integers, Region, evaluate, loop_values
from mho.program.tile_uses import LayerContent, Loops, TileUse

_MAX_SLICES = 32


@dataclass(frozen=True, eq=False)
class LayerProduct:
    """What a region was proven to compute; see `Dequantize` for what becomes of the sums.

    The matrix that the inputs meet is, for group g, output o and input i,
    sum over the rows of i and the columns of o: row_sign * col_weight * cells[g, row, col].

    Attributes:
        name, geometry: of the layer.
        input: how the streamed codes are made.
        stored: how the stored codes are made, for a product of two activations.
        cells: constant [groups, rows, cols], or empty for a product of two activations, whose matrix is the stored
            integers plus `stored_addend`.
        row_input, row_sign: [rows].
        col_output, col_weight: [cols]; an output of the group, `SUM_OF_INPUTS` or `UNUSED`.
        has_digital_sums: the sum of each input vector is added digitally.
        dequantize: the last step.
    """

    name: str
    geometry: Geometry
    input: QuantizeInput
    stored: QuantizeInput | None
    stored_addend: int
    cells: str
    row_input: Integers
    row_sign: Integers
    col_output: Integers
    col_weight: Integers
    has_digital_sums: bool
    dequantize: Dequantize


def prove_layer(program: Program, content: LayerContent) -> LayerProduct:
    """Prove one layer's region.

    Raises:
        ProgramError: an address, a slice or a tile is not what the geometry asks for; says what, names the layer.
    """
    region = Region(program, content)
    _check_buffers(region)
    _check_operands(region)
    rows, cols = _row_input(region), _col_output(region)
    _check_partition(region, len(rows), len(cols))
    checked: set[Any] = set()
    for use in content.tiles:
        _check_use(region, use, checked)
    first, has_digital_sums = content.tiles[0], prove_sums(region)
    is_dynamic = isinstance(first.write, WriteDynamicTile)
    return LayerProduct(
        name=content.layer.name,
        geometry=content.layer.geometry,
        input=content.quantizations[0],
        stored=content.quantizations[1] if is_dynamic else None,
        stored_addend=prove_stored_operand(region, first, rows, cols) if is_dynamic else 0,
        cells=first.write.cells if isinstance(first.write, WriteTile) else "",
        row_input=rows,
        row_sign=region.constant(first.load.row_signs),
        col_output=cols,
        col_weight=region.constant(first.add.column_weights),
        has_digital_sums=has_digital_sums,
        dequantize=content.dequantize,
    )


def largest_code(quantize: QuantizeInput) -> int:
    """Return the largest code that a quantization gives, its border included."""
    return max(quantize.qmax, quantize.zero_point) + quantize.offset


def _check_buffers(region: Region) -> None:
    """Codes come from the first quantization, stored codes from the second, sums go where they are dequantized."""
    content, dequantize = region.content, region.content.dequantize
    is_matmul = isinstance(region.geometry, MatmulGeometry)
    region.require(len(content.quantizations) == 1 + is_matmul, "wrong number of quantized inputs")
    streamed = content.quantizations[0]
    smallest = min(streamed.qmin, streamed.zero_point) + streamed.offset
    region.require(smallest >= 0, "a DAC is fed with negative codes")
    region.require(dequantize.layout == region.layout, "the layout of the sums is not that of the geometry")
    used = {dequantize.accumulators, *([dequantize.stored_sums] if dequantize.stored_sums else [])}
    region.require(set(content.cleared) == used and len(content.cleared) == len(used), "sums are not cleared once")
    region.require(not dequantize.stored_sums or is_matmul, "sums of stored vectors in a layer that stores none")
    for use in content.tiles:
        region.require(use.load.codes == content.quantizations[0].target, "rows are driven from another buffer")
        region.require(use.add.accumulators == dequantize.accumulators, "columns are added to another buffer")
        region.require(isinstance(use.write, WriteDynamicTile) == is_matmul, "a tile is written the wrong way")
        region.require(_shared(use) == _shared(region.content.tiles[0]), "tiles of one layer use different constants")


def _check_operands(region: Region) -> None:
    """What is quantized has the shape that the geometry speaks of, with the border that it asks for."""
    geometry, buffers = region.geometry, region.program.buffers
    shapes = [buffers[item.source].shape for item in region.content.quantizations]
    pads = [item.pads for item in region.content.quantizations]
    if isinstance(geometry, ConvGeometry):
        top, left, bottom, right = geometry.pads
        is_right = shapes[0] == (geometry.batch, geometry.channels, geometry.height, geometry.width)
        is_right = is_right and pads[0] == ((0, 0), (0, 0), (top, bottom), (left, right))
    elif isinstance(geometry, MatmulGeometry):
        lead = (geometry.repeat, geometry.positions_count, geometry.inputs)
        is_right = [_matrices(shape) for shape in shapes] == [
            lead,
            (geometry.repeat, geometry.inputs, geometry.outputs),
        ]
    else:
        vectors = (math.prod(shapes[0][:-1]), *shapes[0][-1:])
        is_right = vectors == (geometry.positions_count, geometry.inputs)
    is_right = is_right and (isinstance(geometry, ConvGeometry) or not any(any(map(any, item)) for item in pads))
    region.require(is_right, "a quantized input has another shape than the geometry")


def _matrices(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a stack of matrices with its leading axes merged."""
    return (math.prod(shape[:-2]), *shape[-2:])


def _row_input(region: Region) -> Integers:
    """Return which element of the input vector drives each row."""
    table = region.geometry.row_offsets()
    offsets = region.constant(region.content.tiles[0].load.row_offsets)
    return _look_up(region, table, offsets, "a row is driven by a code outside of the input vector")


def _look_up(region: Region, table: Integers, values: Integers, what: str) -> Integers:
    """Return where in the ascending `table` each value stands."""
    places = np.searchsorted(table, values)
    region.require(bool((table[np.minimum(places, table.size - 1)] == values).all()), what)
    return places


def _col_output(region: Region) -> Integers:
    """Return which output each column is added to."""
    offsets = region.constant(region.content.tiles[0].add.column_offsets)
    is_sum = np.full(offsets.shape, region.has_sums) & (offsets == region.layout.sum_offset)
    outputs = np.where(is_sum, SUM_OF_INPUTS, np.where(offsets == -1, UNUSED, offsets // region.layout.after))
    is_output = (offsets % region.layout.after == 0) & (outputs >= 0) & (outputs < region.layout.channels)
    region.require(bool((is_output | is_sum | (offsets == -1)).all()), "a column is added to no output of the position")
    return outputs


def _check_partition(region: Region, rows: int, cols: int) -> None:
    """Tiles cover every row and column of the encoded matrix once."""
    spans = [(use.write.rows, use.write.cols) for use in region.content.tiles]
    row_edges = np.unique([edge for span, _ in spans for edge in (span.start, span.stop)])
    col_edges = np.unique([edge for _, span in spans for edge in (span.start, span.stop)])
    seen = np.zeros((row_edges.size - 1, col_edges.size - 1), np.int64)
    for row_span, col_span in spans:
        top, bottom = np.searchsorted(row_edges, (row_span.start, row_span.stop))
        left, right = np.searchsorted(col_edges, (col_span.start, col_span.stop))
        seen[top:bottom, left:right] += 1
    is_whole = (row_edges[0], row_edges[-1], col_edges[0], col_edges[-1]) == (0, rows, 0, cols)
    region.require(is_whole and bool((seen == 1).all()), "tiles overlap or leave a part of the matrix out")


def _check_use(region: Region, use: TileUse, checked: set[Any]) -> None:
    """One tile meets every position of every group once, with every input slice."""
    write, load, add = use.write, use.load, use.add
    region.require(load.rows == write.rows and add.cols == write.cols, "a tile is driven or counted in part")
    stored = write.index if isinstance(write, WriteTile) else write.address
    key = (use.loops, stored, load.address, load.shift, add.address, add.shift, load.dac_bits)
    if key in checked:
        return
    checked.add(key)
    region.require(load.shift == add.shift, "an input slice is added with another weight than it was taken from")
    shifting = {variable for variable, _ in load.shift.strides}
    moving = {variable for address in (stored, load.address, add.address) for variable, _ in address.strides}
    region.require(not shifting & moving, "input slices and positions share a loop")
    _check_slices(region, use, tuple(loop for loop in use.loops if loop[0] in shifting))
    _check_positions(region, use, tuple(loop for loop in use.loops if loop[0] not in shifting))


def _check_slices(region: Region, use: TileUse, loops: Loops) -> None:
    """Input slices cover every bit of the codes once."""
    dac_bits, turns, incomplete = (
        use.load.dac_bits,
        math.prod(count for _, count in loops),
        "input slices are not complete",
    )
    slices = max(1, -(-largest_code(region.content.quantizations[0]).bit_length() // dac_bits))
    region.require(slices <= turns <= _MAX_SLICES, incomplete)
    shifts = np.sort(evaluate(use.load.shift, loop_values(loops)))
    region.require(np.array_equal(shifts, np.arange(turns) * dac_bits), incomplete)


def _check_positions(region: Region, use: TileUse, loops: Loops) -> None:
    """Every position of every group is met once: its codes, its matrix, its sums."""
    geometry, missed = region.geometry, "a position is left out or taken twice"
    region.require_turns(loops, geometry.groups * region.positions, missed)
    values = loop_values(loops)
    group, position = region.locate(evaluate(use.add.address, values), 0)
    expected = region.input_address(group, position)
    region.require(np.array_equal(evaluate(use.load.address, values), expected), "a row is driven by another position")
    stored = use.write.index if isinstance(use.write, WriteTile) else use.write.address
    stride = geometry.group_stored_stride if isinstance(geometry, MatmulGeometry) else 1
    region.require(np.array_equal(evaluate(stored, values), group * stride), "a group meets another's matrix")
    counts = np.bincount(group * region.positions + position, minlength=geometry.groups * region.positions)
    region.require(bool((counts == 1).all()), missed)


def _shared(use: TileUse) -> tuple[Any, ...]:
    write, load, add = use.write, use.load, use.add
    common = (load.row_offsets, load.row_signs, add.column_offsets, add.column_weights)
    if isinstance(write, WriteTile):
        return (write.cells, *common)
    names = (write.row_offsets, write.row_signs, write.column_offsets, write.column_signs, write.column_shifts)
    return (*names, write.codes, write.addend, write.cell_bits, *common)
