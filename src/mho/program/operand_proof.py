"""Proofs about the sums of vectors and about the stored operand of a product of two activations."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mho.program.geometry import MatmulGeometry
from mho.program.instructions import QuantizeInput, WriteDynamicTile
from mho.program.region import SUM_OF_INPUTS, Integers, Region, evaluate, loop_values
from mho.program.tile_uses import DigitalSum, TileUse

Group = tuple[tuple[int, ...], ...]


def prove_sums(region: Region) -> bool:
    """Sums of input vectors and of stored vectors are complete where they are taken. Returns True for the former."""
    content, dequantize = region.content, region.content.dequantize
    inputs = [item for item in content.sums if item.instruction.accumulators == dequantize.accumulators]
    stored = [item for item in content.sums if item.instruction.accumulators != dequantize.accumulators]
    region.require(len(inputs) <= int(region.has_sums), "sums of inputs are taken twice or never used")
    region.require(len(stored) == int(bool(dequantize.stored_sums)), "wrong number of sums of stored vectors")
    for item in inputs:
        _prove_input_sum(region, item)
    for item in stored:
        _prove_stored_sum(region, item)
    return bool(inputs)


def _prove_input_sum(region: Region, item: DigitalSum) -> None:
    instruction, missed = item.instruction, "an input vector is not summed once"
    region.require_turns(item.loops, region.geometry.groups * region.positions, missed)
    values = loop_values(item.loops)
    region.require(instruction.codes == region.content.quantizations[0].target, "sums are taken of another buffer")
    group, position = region.locate(evaluate(instruction.target, values), region.layout.sum_offset)
    expected = region.input_address(group, position)
    region.require(np.array_equal(evaluate(instruction.address, values), expected), "another vector is summed")
    counts = np.bincount(group * region.positions + position, minlength=region.geometry.groups * region.positions)
    region.require(bool((counts == 1).all()), missed)
    offsets = np.sort(region.constant(instruction.row_offsets))
    region.require(np.array_equal(offsets, region.geometry.row_offsets()), "an input vector is summed in part")


def _prove_stored_sum(region: Region, item: DigitalSum) -> None:
    geometry, instruction, missed = region.geometry, item.instruction, "a stored vector is not summed once"
    assert isinstance(geometry, MatmulGeometry)
    region.require_turns(item.loops, geometry.repeat * geometry.outputs, missed)
    values = loop_values(item.loops)
    targets = evaluate(instruction.target, values)
    region.require(np.array_equal(np.sort(targets), np.arange(targets.size)), missed)
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


def prove_stored_operand(region: Region, use: TileUse, rows: Integers, cols: Integers) -> int:
    """Cells hold the stored operand: what they recombine to is each stored integer plus one number, which is returned.

    Args:
        use: any tile of the layer.
        rows: the input that drives each row.
        cols: the output that each column is added to.
    """
    write, geometry = use.write, region.geometry
    assert isinstance(write, WriteDynamicTile)
    assert isinstance(geometry, MatmulGeometry)
    region.require(write.codes == region.content.quantizations[1].target, "tiles are written from another buffer")
    column_offsets = region.constant(write.column_offsets)
    is_ones = column_offsets == -1
    region.require(
        np.array_equal(region.constant(write.row_offsets), rows * geometry.outputs)
        and np.array_equal(is_ones, cols == SUM_OF_INPUTS)
        and np.array_equal(column_offsets[~is_ones], cols[~is_ones]),
        "a cell stores another integer than its row and column ask for",
    )
    signs = np.stack([region.constant(write.row_signs), region.constant(use.load.row_signs)])
    names = (write.column_signs, write.column_shifts, use.add.column_weights)
    columns = np.stack([region.constant(name) for name in names])
    # A column of ones is fed by every row, so rows must count alike there and in the sum.
    is_plain = bool((columns[2, is_ones] == 1).all() and (not is_ones.any() or (signs[1] == 1).all()))
    region.require(is_plain, "the sum of the inputs is weighted")
    by_input = _distinct_groups(region, signs, rows, geometry.inputs)
    by_output = _distinct_groups(region, columns[:, ~is_ones], cols[~is_ones], geometry.outputs)
    stored = region.content.quantizations[1]
    addends = {_addend(region, write, stored, row_group, group) for row_group in by_input for group in by_output}
    region.require(len(addends) == 1, "stored integers are encoded in different ways")
    return addends.pop()


def _distinct_groups(region: Region, columns: Integers, keys: Integers, count: int) -> Iterable[Group]:
    """Group columns by key, and return the groups that differ. Every key 0 .. count - 1 must occur."""
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    region.require(np.array_equal(found, np.arange(count)), "an input or output is left out of the cells")
    ordered = columns[:, order].T.tolist()
    stops = [*starts[1:].tolist(), len(ordered)]
    return {tuple(map(tuple, ordered[start:stop])) for start, stop in zip(starts.tolist(), stops, strict=True)}


def _addend(region: Region, write: WriteDynamicTile, quantize: QuantizeInput, rows: Group, cols: Group) -> int:
    """Return (what the cells of one stored integer give) - (that integer), which must not depend on the integer."""
    step = 2 if quantize.binary else 1
    stored = np.arange(quantize.qmin, quantize.qmax + 1, step, dtype=np.int64) + quantize.offset
    total = np.zeros_like(stored)
    for write_sign, load_sign in rows:
        for column_sign, shift, weight in cols:
            part = np.maximum(write_sign * column_sign * (stored + write.addend), 0)
            total += load_sign * weight * ((part >> shift) & ((1 << write.cell_bits) - 1))
    region.require(bool((total - stored == total[0] - stored[0]).all()), "cells do not hold the stored integers")
    return int(total[0] - stored[0])
