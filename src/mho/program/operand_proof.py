"""Proofs about the sums of vectors and about the stored operand of a product of two activations."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mho.program.geometry import MatmulGeometry, stored_places
from mho.program.instructions import QuantizeInput, WriteDynamicTile
from mho.program.layer_content import DigitalSum, Loops
from mho.program.layer_region import Integers, LayerRegion, evaluate, loop_values
from mho.program.matrix_recovery import Block
from mho.program.tile_sets import ColumnClass, TileSet

Pattern = tuple[tuple[int, ...], ...]


def prove_sums(region: LayerRegion) -> bool:
    """Sums of input vectors and of stored vectors are complete where they are taken. Returns True for the former."""
    content, dequantize = region.content, region.content.dequantize
    inputs = [item for item in content.sums if item.instruction.accumulators == dequantize.accumulators]
    stored = [item for item in content.sums if item.instruction.accumulators != dequantize.accumulators]
    region.require(len(inputs) <= int(region.layout.has_sums), "sums of inputs are taken twice or never used")
    region.require(len(stored) == int(bool(dequantize.stored_sums)), "wrong number of sums of stored vectors")
    for item in inputs:
        _prove_input_sum(region, item)
    for item in stored:
        _prove_stored_sum(region, item)
    return bool(inputs)


def _prove_input_sum(region: LayerRegion, item: DigitalSum) -> None:
    instruction, missed = item.instruction, "an input vector is not summed once"
    region.require_turns(item.loops, region.layout.size, missed, least=region.groups * region.positions)
    values = loop_values(item.loops)
    region.require(instruction.codes == region.content.quantizations[0].target, "sums are taken of another buffer")
    group, position = region.locate(evaluate(instruction.target, values), region.layout.sum_offset)
    is_inside = region.is_inside(position)
    _require_all(region, group[is_inside], position[is_inside], missed)
    expected = region.code_addresses(group, position)
    region.require(np.array_equal(evaluate(instruction.address, values), expected), "another vector is summed")
    offsets = np.sort(region.constant(instruction.row_offsets))
    region.require(np.array_equal(offsets, region.geometry.row_offsets()), "an input vector is summed in part")


def _require_turns(region: LayerRegion, loops: Loops, turns: int, missed: str) -> None:
    region.require_turns(loops, turns, missed, least=turns)


def _require_all(region: LayerRegion, group: Integers, position: Integers, missed: str) -> None:
    """Every position of every group occurs once."""
    region.require(bool(region.is_inside(position).all()), missed)
    counts = np.bincount(group * region.positions + region.number(position), minlength=region.groups * region.positions)
    region.require(bool((counts == 1).all()), missed)


def _prove_stored_sum(region: LayerRegion, item: DigitalSum) -> None:
    geometry, instruction, missed = region.geometry, item.instruction, "a stored vector is not summed once"
    assert isinstance(geometry, MatmulGeometry)
    _require_turns(region, item.loops, geometry.repeat * geometry.outputs, missed)
    values = loop_values(item.loops)
    targets = evaluate(instruction.target, values)
    region.require(np.array_equal(np.sort(targets), np.arange(geometry.repeat * geometry.outputs)), missed)
    group, output = np.divmod(targets, geometry.outputs)
    region.require(
        instruction.codes == region.content.quantizations[1].target
        and instruction.accumulators == region.content.dequantize.stored_sums
        and np.array_equal(evaluate(instruction.address, values), group * geometry.group_stored_stride + output),
        "another stored vector is summed",
    )
    offsets = np.sort(region.constant(instruction.row_offsets))
    expected = np.arange(geometry.inputs) * geometry.outputs
    region.require(np.array_equal(offsets, expected), "a stored vector is summed in part")


def prove_digital_product(region: LayerRegion) -> None:
    """The digital unit multiplies every streamed vector once with its stored matrix, codes or weights.

    Raises:
        ProgramError: it does not.
    """
    geometry, missed = region.geometry, "a position is left out or taken twice"
    region.require(len(region.content.products) == 1, missed)
    item, loops = region.content.products[0].instruction, region.content.products[0].loops
    _require_turns(region, loops, region.groups * region.positions, missed)
    values = loop_values(loops)
    group, position = region.locate(evaluate(item.target, values))
    _require_all(region, group, position, missed)
    places, (streamed, *others) = stored_places(geometry), region.content.quantizations
    stored = others[0].target if others else item.stored
    if not others:
        size = region.groups * places.group_stride
        is_whole = region.program.constants[item.stored].size == size
        region.require(is_whole, "the digital unit multiplies no matrix of weights")
    region.require(
        (item.codes, item.stored, item.accumulators)
        == (streamed.target, stored, region.content.dequantize.accumulators)
        and np.array_equal(evaluate(item.address, values), region.code_addresses(group, position))
        and np.array_equal(evaluate(item.stored_address, values), group * places.group_stride),
        "a vector meets another's matrix",
    )
    region.require(
        np.array_equal(region.constant(item.row_offsets), geometry.row_offsets())
        and np.array_equal(region.constant(item.stored_rows), places.rows)
        and np.array_equal(region.constant(item.stored_columns), places.columns)
        and np.array_equal(region.constant(item.column_targets), places.outputs * region.layout.strides[3]),
        "the digital unit multiplies other integers than the geometry requires",
    )


class StoredOperandProof:
    """Reads blocks of cells that are written at run time: each must hold its stored integer plus one number.

    Attributes:
        addend: that number, once blocks have been read.
    """

    def __init__(self, region: LayerRegion) -> None:
        self._region = region
        self._addends: set[int] = set()

    @property
    def addend(self) -> int:
        """What cells hold above the stored integers. Raises `ProgramError` where they differ."""
        self._region.require(len(self._addends) == 1, "stored integers are encoded in different ways")
        return next(iter(self._addends))

    def read(self, tile_set: TileSet, chosen: ColumnClass, rows: Integers, inputs: Integers) -> Block:
        """Return ones where a class holds stored integers, and where it holds ones.

        Raises:
            ProgramError: a cell holds another integer, or a wrong part of it.
        """
        region, write = self._region, tile_set.uses[0].write
        geometry = region.geometry
        assert isinstance(write, WriteDynamicTile)
        assert isinstance(geometry, MatmulGeometry)
        region.require(write.codes == region.content.quantizations[1].target, "tiles are written from another buffer")
        self._check_blocks(write, chosen, rows)
        is_ones = chosen.outputs == geometry.outputs
        offsets = region.constant(write.column_offsets)[chosen.cols]
        expected = chosen.group * geometry.group_stored_stride + chosen.outputs
        region.require(
            np.array_equal(region.constant(write.row_offsets)[rows], inputs * geometry.outputs)
            and np.array_equal(offsets, np.where(is_ones, -1, expected)),
            "a cell stores another integer than its row and column require",
        )
        names = (write.column_signs, write.column_starts, write.column_bits, write.column_shifts)
        columns = np.stack(
            [region.constant(name)[chosen.cols] for name in names] + [tile_set.columns.weight[chosen.cols]]
        )
        lines = np.stack([region.constant(write.row_signs)[rows], tile_set.rows.sign[rows]])
        shifts = region.constant(write.row_shifts)[rows]
        region.require(
            np.array_equal(shifts, tile_set.rows.copy[rows] * tile_set.dac_bits),
            "an input slice meets another's weights",
        )
        by_output = _patterns(columns[:, ~is_ones], chosen.outputs[~is_ones])
        found = []
        for copy in range(tile_set.copies):
            mine = tile_set.rows.copy[rows] == copy
            found.append(np.unique(inputs[mine]))
            by_input = _patterns(lines[:, mine], inputs[mine])
            shift = copy * tile_set.dac_bits
            self._check(write, by_input, by_output, columns[:, is_ones], shift)
        region.require(all(np.array_equal(one, found[0]) for one in found), "input slices are not complete")
        outputs = np.unique(chosen.outputs)
        values = np.ones((len(tile_set.first_groups), outputs.size, found[0].size), np.float32)
        return Block(tile_set.first_groups + chosen.group, outputs, found[0], values, 1.0)

    def _check_blocks(self, write: WriteDynamicTile, chosen: ColumnClass, rows: Integers) -> None:
        """Cells are filled where a row carries an input of the class, and nowhere else."""
        row_blocks = self._region.constant(write.row_blocks)
        blocks = np.unique(self._region.constant(write.column_blocks)[chosen.cols])
        filled = np.flatnonzero(np.isin(row_blocks, blocks))
        self._region.require(
            blocks.size == 1 and np.array_equal(filled, rows), "a stored integer lies in a cell of another output"
        )

    def _check(
        self,
        write: WriteDynamicTile,
        by_input: Iterable[Pattern],
        by_output: Iterable[Pattern],
        ones: Integers,
        shift: int,
    ) -> None:
        stored = self._region.content.quantizations[1]
        for rows in by_input:
            for cols in by_output:
                self._addends.add(self._addend(write, stored, rows, cols, shift))
            if ones.size:
                self._check_ones(rows, ones, shift, write.cell_bits)

    def _check_ones(self, rows: Pattern, ones: Integers, shift: int, cell_bits: int) -> None:
        """Columns of ones count every input once."""
        held = ((1 << shift) >> ones[3]) & ((1 << cell_bits) - 1)
        total = sum(load_sign for _, load_sign in rows) * int((ones[4] * held).sum())
        self._region.require(total == 1 << shift, "the sum of the inputs is weighted")

    def _addend(
        self, write: WriteDynamicTile, quantize: QuantizeInput, rows: Pattern, cols: Pattern, shift: int
    ) -> int:
        """Return (what the cells of one stored integer give) - (that integer), which must not depend on the integer."""
        step = 2 if quantize.binary else 1
        stored = np.arange(quantize.qmin, quantize.qmax + 1, step, dtype=np.int64) + quantize.offset
        total = np.zeros_like(stored)
        for write_sign, load_sign in rows:
            for column_sign, start, bits, digit, weight in cols:
                part = stored_part(
                    stored + write.addend, write_sign * column_sign, start, bits, is_signed=write.is_signed
                )
                total += load_sign * weight * (((part << shift) >> digit) & ((1 << write.cell_bits) - 1))
        addend = (int(total[0]) >> shift) - int(stored[0])
        is_right = bool((total == (stored + addend) << shift).all())
        self._region.require(is_right, "cells do not hold the stored integers")
        return addend


def stored_part(
    values: Integers, sign: int | Integers, start: int | Integers, bits: int | Integers, *, is_signed: bool
) -> Integers:
    """Return the integer whose digits the cells of a column hold, see `WriteDynamicTile`."""
    if is_signed:
        return (values >> start) & ((1 << np.asarray(bits, dtype=np.int64)) - 1)
    return np.maximum(sign * values, 0) >> start


def _patterns(columns: Integers, keys: Integers) -> Iterable[Pattern]:
    """Group columns by key, and return the groups that differ."""
    if not keys.size:
        return set()
    order = np.argsort(keys, kind="stable")
    _, starts = np.unique(keys[order], return_index=True)
    ordered = columns[:, order].T.tolist()
    stops = [*starts[1:].tolist(), len(ordered)]
    return {tuple(map(tuple, ordered[start:stop])) for start, stop in zip(starts.tolist(), stops, strict=True)}
