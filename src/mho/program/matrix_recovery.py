"""The matrix that a layer's inputs meet, assembled from all of its tiles, and the proof that it is one matrix.

A position gets its sums from every window that reaches it, in every tile_set of tiles. Windows repeat, so only a few
sets of contributions differ; for each, what its columns hold must add up to the same matrix, at every position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.limits import FLOAT32_LIMIT, FLOAT64_LIMIT
from mho.mapping.tiling import Lines, as_lines
from mho.program.instructions import WriteTile
from mho.program.layer_region import Integers, LayerRegion
from mho.program.tile_sets import ColumnClass, TileSet, find_rows

Matrix = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Block:
    """What the columns of one class hold for the inputs that their rows carry.

    Attributes:
        groups: int64 [matrices]; of the layer.
        outputs, inputs: int64, ascending; of a group, the sum of the inputs being the output after the last.
        values: whole numbers [matrices, outputs, inputs], exact in their type.
        largest: no magnitude of them is above it.
    """

    groups: Integers
    outputs: Integers
    inputs: Integers
    values: Matrix
    largest: float


@dataclass(frozen=True, eq=False)
class _Entry:
    """The columns of a tile set at one displacement: which positions they serve, and what they hold."""

    tile_set: TileSet
    positions: NDArray[np.bool_]
    classes: list[ColumnClass]


Reader = Callable[[TileSet, ColumnClass, Integers, Integers], Block]
"""Makes the block of a class from the rows that carry its inputs, and from the input that each of them carries."""


def assemble(region: LayerRegion, tile_sets: tuple[TileSet, ...], read: Reader) -> Matrix:
    """Return whole numbers [groups, outputs (+ 1 for the sum of the inputs), inputs]; see the module.

    Raises:
        ProgramError: positions meet different matrices.
    """
    channels, inputs = region.layout.shape[3], region.geometry.inputs_per_group
    matrix: Matrix = np.zeros((region.groups, channels, inputs), np.float32)  # memory is taken where it is written
    entries = [entry for tile_set in tile_sets for entry in _list_entries(region, tile_set)]
    for groups in _sort_groups(region, tile_sets):
        own = [entry for entry in entries if groups[0] in _groups_of(entry.tile_set)]
        blocks: dict[int, list[Block]] = {}
        lines, is_first = as_lines(groups), True
        for chosen in _distinct_sets(own, region.positions):
            for number in chosen:
                if number not in blocks:
                    blocks[number] = [
                        read(own[number].tile_set, one, *find_rows(region, own[number].tile_set, one))
                        for one in own[number].classes
                    ]
            summands = [block for number in chosen for block in blocks[number]]
            region.require(sum(block.largest for block in summands) < FLOAT64_LIMIT, "weights pass 53 bits")
            total = _add_up(summands, groups, (channels, inputs))
            if not is_first:
                region.require(np.array_equal(matrix[lines], total), "positions meet different weights")
            elif len(groups) == region.groups:
                matrix = total
            else:
                matrix = matrix.astype(np.promote_types(matrix.dtype, total.dtype), copy=False)
                matrix[lines] = total
            is_first = False
    return matrix


def read_cells(region: LayerRegion) -> Reader:
    """Return what reads blocks from constants.

    Raises:
        ProgramError: (when called) a cell holds something where none belongs, or input slices meet different weights.
    """
    limit = 2**region.program.accelerator.crossbar.cell_bits - 1

    def read(tile_set: TileSet, chosen: ColumnClass, rows: Integers, inputs: Integers) -> Block:
        write = tile_set.uses[0].write
        assert isinstance(write, WriteTile)
        cells = region.program.constants[write.cells]
        if not np.array_equal(tile_set.matrices, np.arange(len(cells))):
            cells = cells[tile_set.matrices]
        _check_empty(region, cells, chosen, rows)
        outputs, output = np.unique(chosen.outputs, return_inverse=True)
        weights = tile_set.columns.weight[chosen.cols]
        largest = float(np.bincount(output.reshape(-1), np.abs(weights)).max()) * limit
        largest *= 1 + int(np.bincount(inputs).max() if inputs.size else 0)
        region.require(largest < FLOAT64_LIMIT, "weights pass 53 bits")
        dtype = np.float32 if largest < FLOAT32_LIMIT else np.float64
        columns = rank_lines(chosen.cols, output.reshape(-1), weights, dtype)
        copies = []
        for copy in range(tile_set.copies):
            mine = tile_set.rows.copy[rows] == copy
            found, element = np.unique(inputs[mine], return_inverse=True)
            ranks = rank_lines(rows[mine], element.reshape(-1), tile_set.rows.sign[rows[mine]], dtype)
            values = recombine(cells, ranks, columns, (outputs.size, found.size))
            copies.append(Block(tile_set.first_groups + chosen.group, outputs, found, values, largest))
        first, *others = copies
        for number, other in enumerate(others, start=1):
            scale = dtype(2 ** (number * tile_set.dac_bits))
            is_same = np.array_equal(first.inputs, other.inputs) and np.array_equal(first.values * scale, other.values)
            region.require(is_same, "input slices that enter together meet different weights")
        return first

    return read


def _check_empty(region: LayerRegion, cells: NDArray[np.uint8], chosen: ColumnClass, rows: Integers) -> None:
    """Rows that carry no input of a class hold nothing in its columns."""
    others = np.setdiff1d(np.arange(cells.shape[1]), rows, assume_unique=True)
    if not others.size:
        return
    lines, cols = as_lines(others), as_lines(chosen.cols)
    found = cells[:, lines][:, :, cols]
    region.require(not found.any(), "a cell holds a weight of an input that its output does not take")


def _list_entries(region: LayerRegion, tile_set: TileSet) -> Iterator[_Entry]:
    by_position: dict[bytes, list[ColumnClass]] = {}
    for chosen in tile_set.classes():
        by_position.setdefault(chosen.position.tobytes(), []).append(chosen)
    for classes in by_position.values():
        served = tile_set.anchors + classes[0].position
        positions = np.zeros(region.positions, np.bool_)
        positions[region.number(served[region.is_inside(served)])] = True
        if positions.any():
            yield _Entry(tile_set, positions, classes)


def _groups_of(tile_set: TileSet) -> set[int]:
    last = int(tile_set.columns.group.max())
    return {int(first) + group for first in tile_set.first_groups for group in range(last + 1)}


def _sort_groups(region: LayerRegion, tile_sets: tuple[TileSet, ...]) -> list[Integers]:
    """Sort groups by the tile sets that hold them."""
    sets = [_groups_of(tile_set) for tile_set in tile_sets]
    found: dict[tuple[bool, ...], list[int]] = {}
    for group in range(region.groups):
        found.setdefault(tuple(group in one for one in sets), []).append(group)
    region.require(not any(not any(key) for key in found), "a group has no tiles")
    return [np.array(groups, dtype=np.int64) for groups in found.values()]


def _distinct_sets(entries: list[_Entry], positions: int) -> list[list[int]]:
    """Return the distinct sets of entries (by number) that positions get their sums from."""
    served = np.stack([entry.positions for entry in entries]) if entries else np.zeros((0, positions), np.bool_)
    distinct = {line.tobytes(): line for line in np.packbits(served, axis=0).T}
    return [np.flatnonzero(np.unpackbits(line, count=len(entries))).tolist() for line in distinct.values()]


def _add_up(blocks: list[Block], groups: Integers, shape: tuple[int, int]) -> Matrix:
    """Add blocks up, for some groups of the layer (ascending): [groups, *shape], in a type that holds every sum."""
    dtype = np.float32 if sum(block.largest for block in blocks) < FLOAT32_LIMIT else np.float64
    total = np.zeros((len(groups), *shape), dtype)
    for block in blocks:
        place = np.minimum(np.searchsorted(groups, block.groups), len(groups) - 1)
        mine = groups[place] == block.groups
        values = block.values if mine.all() else block.values[mine]
        lines = [as_lines(one) for one in (place[mine], block.outputs, block.inputs)]
        if all(isinstance(one, slice) for one in lines):
            total[tuple(lines)] += values
        else:
            total[np.ix_(place[mine], block.outputs, block.inputs)] += values
    return total


# -- what the cells of tiles hold, taken back to integers ----------------------------------------

_BLOCK_CELLS = 1 << 18
"""Of which what is computed at once stays in a core's second-level cache."""


@dataclass(frozen=True)
class Rank:
    """Lines (rows or columns) of an encoded matrix of which no two belong to the same element.

    Attributes:
        lines, elements: numbers of the lines, and of the element that each belongs to.
        weights: float [lines].
    """

    lines: Lines
    elements: Lines
    weights: NDArray[Any]


def rank_lines(lines: Integers, elements: Integers, weights: Integers, dtype: type[np.floating[Any]]) -> list[Rank]:
    """Sort lines into ranks: the first of every element, the second of every element, and so on."""
    order = np.argsort(elements, kind="stable")
    starts = np.flatnonzero(np.diff(elements[order], prepend=-1))
    rank = np.arange(order.size) - np.repeat(starts, np.diff(starts, append=order.size))
    ranks = []
    for value in range(int(rank.max(initial=-1)) + 1):
        of_rank = order[rank == value]
        ranks.append(Rank(as_lines(lines[of_rank]), as_lines(elements[of_rank]), weights[of_rank].astype(dtype)))
    return ranks


def recombine(cells: NDArray[np.uint8], rows: list[Rank], columns: list[Rank], shape: tuple[int, int]) -> NDArray[Any]:
    """Return what cells hold: the sum over the rows of an input and the columns of an output of weight times cell.

    Args:
        cells: [matrices, rows, cols].
        rows, columns: which element, 0 .. shape - 1, each line belongs to.
        shape: outputs and inputs.

    Returns:
        [matrices, outputs, inputs], in the type of the weights.
    """
    total = np.zeros((cells.shape[0], *shape), columns[0].weights.dtype)
    count = max(1, _BLOCK_CELLS // max(1, cells[0].size))
    for first in range(0, len(cells), count):
        _recombine_some(cells[first : first + count], rows, columns, total[first : first + count])
    return total


def _recombine_some(cells: NDArray[np.uint8], rows: list[Rank], columns: list[Rank], total: NDArray[Any]) -> None:
    """Add what some matrices hold onto `total`, rows at a time that stay in the processor's cache."""
    step = max(1, _BLOCK_CELLS // (cells.shape[0] * cells.shape[2]))
    for row in rows:
        for start in range(0, len(row.weights), step):
            block, weights = cells[:, part_of(row.lines, start, step)], row.weights[start : start + step]
            partial = np.zeros((*block.shape[:2], total.shape[1]), total.dtype)
            for column in columns:
                partial[:, :, column.elements] += block[:, :, column.lines] * column.weights
            partial *= weights[:, None]
            total[:, :, part_of(row.elements, start, step)] += partial.swapaxes(1, 2)


def part_of(lines: Lines, start: int, count: int) -> Lines:
    """Return `count` of the lines, from number `start` on."""
    if not isinstance(lines, slice):
        return lines[start : start + count]
    step = lines.step or 1
    return slice(lines.start + start * step, min(lines.start + (start + count) * step, lines.stop), step)
