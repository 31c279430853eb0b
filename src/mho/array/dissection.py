"""Elimination of a resistor network by nested dissection: patches of an array, seen from the ends of their wires.

Every cell joins a node of its wordline (the row node) to one of its bitline (the column node). The wire segment to the
left of a row node and the one below a column node belong to the cell. So a rectangle of cells meets the rest of the
array in four kinds of ports:

- left: the outer ends of its first cells' row segments;
- right: its last row nodes;
- top: its uppermost column nodes;
- bottom: the outer ends of its lowest cells' column segments.

A `Block` is such a rectangle with all inner nodes eliminated (Kron reduction): the conductances that join its ports,
directly or through what was eliminated. Two blocks side by side share ports, the right ones of one and the left ones of
the other; eliminating them gives the block of both. Doing so from single cells up takes time of order n^3 for an n x n
array, where eliminating one column of the array after the other takes n^4.

Nothing loses digits, however different wires and cells are: couplings are sums and products of numbers that are not
negative, and the diagonal of each eliminated matrix is added up from its couplings instead of updated by subtraction
(the idea of Grassmann, Taksar and Heyman, Oper. Res. 33 (1985) 1107, for Markov chains).

What this module does not know: drivers, voltages, units. See `mho.array.wires`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

ALONG_ROW, ALONG_COLUMN = 1, 0
"""Blocks that are joined lie side by side (along the row), or one above the other (along the column)."""

PATCH = 64
"""Cells a side of the patches that are reduced at once: few enough for the processor's cache, enough for vectors."""


@dataclass(frozen=True)
class Ports:
    """How many ports a block has at each side; they are numbered left, right, top, bottom."""

    left: int
    right: int
    top: int
    bottom: int

    def __len__(self) -> int:
        return self.left + self.right + self.top + self.bottom

    def at(self, side: str) -> slice:
        """Return the place of a side's ports ("left", "right", "top", "bottom")."""
        sides = ("left", "right", "top", "bottom")
        start = sum(getattr(self, other) for other in sides[: sides.index(side)])
        return slice(start, start + getattr(self, side))


class Joint(StrEnum):
    """What a step did.

    Attributes:
        PAIR: it joined two blocks.
        GRID: it joined all blocks of a grid with their neighbours, two and two.
        CUT: it eliminated the ports of a side that nothing is joined to.
    """

    PAIR = "pair"
    GRID = "grid"
    CUT = "cut"


@dataclass(frozen=True)
class Step:
    """How nodes that were eliminated follow the ports that are left; what `find_drops` goes back through.

    Attributes:
        joint: what the step did.
        response: voltages of the eliminated nodes for one volt at each port, float64 [..., eliminated, ports].
        before: ports of what it was done to (one block, or both), with the step that each came from; None: cells.
        axis: ALONG_ROW or ALONG_COLUMN; of no meaning for CUT.
        cut: the side that was cut off, for CUT.
    """

    joint: Joint
    response: FloatArray
    before: tuple[tuple[Ports, Step | None], ...]
    axis: int = ALONG_ROW
    cut: str = ""


@dataclass(frozen=True)
class Block:
    """A rectangle of cells with its inner nodes eliminated, or a grid [..., grid rows, grid cols] of equal ones.

    Attributes:
        couplings: conductances between ports, float64 [..., ports, ports]: symmetric, not negative, zero diagonal.
        ports: how many there are at each side.
        step: what it came from, where that was to be kept.
    """

    couplings: FloatArray
    ports: Ports
    step: Step | None = None


def make_cells(cells: FloatArray, row_links: FloatArray, column_link: float) -> Block:
    """Return single cells as blocks of one port a side.

    Args:
        cells: conductances, float64 [..., rows, cols].
        row_links: conductance of the wire segment to the left of each column's cells, float64 [cols].
        column_link: conductance of the wire segment below each cell.
    """
    couplings = np.zeros((*cells.shape, 4, 4))
    couplings[..., 0, 1] = couplings[..., 1, 0] = row_links
    couplings[..., 1, 2] = couplings[..., 2, 1] = cells
    couplings[..., 2, 3] = couplings[..., 3, 2] = column_link
    return Block(couplings, Ports(1, 1, 1, 1))


@dataclass(frozen=True)
class Layout:
    """Where the ports of two blocks go when they are joined: the shared ones, and (old, new) places of the rest."""

    ports: Ports
    shared: tuple[slice, slice]
    kept: tuple[tuple[tuple[slice, slice], ...], tuple[tuple[slice, slice], ...]]


@cache
def lay_out(first: Ports, second: Ports, axis: int) -> Layout:
    """Return how two blocks are joined: `first` left of `second`, or above it."""
    if axis == ALONG_ROW:
        ports = Ports(first.left, second.right, first.top + second.top, first.bottom + second.bottom)
        shared, sides = ("right", "left"), (("left", "top", "bottom"), ("right", "top", "bottom"))
        own = ("left", "right")
    else:
        ports = Ports(first.left + second.left, first.right + second.right, first.top, second.bottom)
        shared, sides = ("bottom", "top"), (("left", "right", "top"), ("left", "right", "bottom"))
        own = ("top", "bottom")
    kept = []
    for index, block in enumerate((first, second)):
        places = []
        for side in sides[index]:
            place, size = ports.at(side), getattr(block, side)
            start = place.start if index == 0 or side in own else place.stop - size
            if size:
                places.append((block.at(side), slice(start, start + size)))
        kept.append(tuple(places))
    return Layout(ports, (first.at(shared[0]), second.at(shared[1])), (kept[0], kept[1]))


def join(first: Block, second: Block, axis: int, *, keep: bool = False) -> Block:
    """Join two blocks, `first` left of `second` (ALONG_ROW) or above it (ALONG_COLUMN); leading axes are a batch.

    Args:
        first: has as many right (bottom) ports as the other has left (top) ones.
        second: the other.
        axis: how they lie.
        keep: keep the step, so that `find_drops` can tell the voltages of what was eliminated.
    """
    couplings, response = _eliminate_shared(first, second, axis)
    step = Step(Joint.PAIR, response, ((first.ports, first.step), (second.ports, second.step)), axis) if keep else None
    return Block(couplings, lay_out(first.ports, second.ports, axis).ports, step)


def halve(grid: Block, axis: int, *, keep: bool = False) -> Block:
    """Join all blocks of a grid [..., grid rows, grid cols, ports, ports] two and two along an axis of even length."""
    even, odd = (Block(part, grid.ports) for part in _unzip(grid.couplings, axis, trailing=2))
    couplings, response = _eliminate_shared(even, odd, axis)
    step = Step(Joint.GRID, response, ((grid.ports, grid.step),), axis) if keep else None
    return Block(couplings, lay_out(grid.ports, grid.ports, axis).ports, step)


def cut_off(block: Block, side: str, *, keep: bool = False) -> Block:
    """Eliminate the ports of a side that nothing is joined to: "right" or "top"."""
    place = block.ports.at(side)
    rest = _all_but(place, len(block.ports))
    outward = block.couplings[..., place, :][..., rest]
    response = _respond(block.couplings[..., place, place], outward)
    couplings = block.couplings[..., rest[:, None], rest] + np.swapaxes(outward, -1, -2) @ response
    _clear_diagonal(couplings)
    step = Step(Joint.CUT, response, ((block.ports, block.step),), cut=side) if keep else None
    return Block(couplings, replace(block.ports, **{side: 0}), step)


def build(cells: FloatArray, row_links: FloatArray, column_link: float, *, open_right: bool, keep: bool) -> Block:
    """Return arrays of cells as one block each; its top ports, to which nothing is joined, are eliminated.

    Args:
        cells: conductances, float64 [tiles, rows, cols]; rows and columns are multiples of their patch sides.
        row_links: conductance of the wire segment to the left of each column's cells, float64 [cols].
        column_link: conductance of the wire segment below each cell.
        open_right: nothing is joined to the right ports either; else they stay.
        keep: keep all steps, for `find_drops`.

    Returns:
        A grid of one: couplings [tiles, 1, 1, ports, ports].
    """
    rows, cols = cells.shape[-2:]
    height, width = patch_side(rows), patch_side(cols)

    def reduce(row: int, end_row: int, col: int, end_col: int) -> Block:
        tall, wide = (end_row - row) // height, (end_col - col) // width
        if tall == wide == 1:
            patch = make_cells(cells[:, row:end_row, col:end_col], row_links[col:end_col], column_link)
            block = _reduce_patch(patch, keep)
            block = cut_off(block, "top", keep=keep) if row == 0 else block
            return cut_off(block, "right", keep=keep) if open_right and end_col == cols else block
        if wide > 1 and (end_col - col >= end_row - row or tall == 1):
            middle = col + width * (wide // 2)
            parts, axis = (reduce(row, end_row, col, middle), reduce(row, end_row, middle, end_col)), ALONG_ROW
        else:
            middle = row + height * (tall // 2)
            parts, axis = (reduce(row, middle, col, end_col), reduce(middle, end_row, col, end_col)), ALONG_COLUMN
        return join(*parts, axis, keep=keep)

    return reduce(0, rows, 0, cols)


def find_drops(block: Block, volts: FloatArray) -> FloatArray:
    """Return voltages across cells, row node less column node, for voltages at the ports of a block that kept steps.

    Most excitations matter to a cell only where they are its own: the first columns of `volts` are one for each row,
    the next one for each column, and a cell gets its own row's and its own column's alone. Further columns go to all.

    Args:
        block: from `build`, with `keep`.
        volts: float64 [tiles, 1, 1, ports, rows + cols + others].

    Returns:
        float64 [tiles, rows, cols, 2 + others].
    """
    return _descend(block.ports, block.step, volts)[:, 0, 0]


def _descend(ports: Ports, step: Step | None, volts: FloatArray) -> FloatArray:
    """Return drops [..., grid rows, grid cols, rows, cols, 2 + others] in the blocks of a grid."""
    if step is None:
        return (volts[..., ports.at("right"), :] - volts[..., ports.at("top"), :])[..., None, :]
    inner = step.response @ volts
    if step.joint is Joint.CUT:
        ((whole, before),) = step.before
        place = whole.at(step.cut)
        all_volts = np.concatenate([volts[..., : place.start, :], inner, volts[..., place.start :, :]], axis=-2)
        return _descend(whole, before, all_volts)
    first, second = step.before[0][0], step.before[-1][0]
    layout = lay_out(first, second, step.axis)
    parts = []
    for number, block in enumerate((first, second)):
        own = _own_columns(first, second, step.axis, number, volts.shape[-1])
        part = np.empty((*volts.shape[:-2], len(block), len(own)))
        part[..., layout.shared[number], :] = inner[..., own]
        for old, new in layout.kept[number]:
            part[..., old, :] = volts[..., new, :][..., own]
        parts.append(part)
    if step.joint is Joint.PAIR:
        drops = [_descend(*before, part) for before, part in zip(step.before, parts, strict=True)]
    else:
        drops = list(_unzip(_descend(*step.before[0], _zip(parts, step.axis)), step.axis, trailing=3))
    return np.concatenate(drops, axis=-2 if step.axis == ALONG_ROW else -3)


def _own_columns(first: Ports, second: Ports, axis: int, number: int, width: int) -> NDArray[np.intp]:
    """Return which of a joint's excitations are for one of its two blocks: its rows', its columns', the others."""
    rows, cols = np.arange(first.left), np.arange(first.bottom)
    if axis == ALONG_ROW:
        all_rows, all_cols = first.left, first.bottom + second.bottom
        cols = np.arange(first.bottom, all_cols) if number else cols
    else:
        all_rows, all_cols = first.left + second.left, first.bottom
        rows = np.arange(first.left, all_rows) if number else rows
    return np.concatenate([rows, all_rows + cols, np.arange(all_rows + all_cols, width)])


def patch_side(length: int) -> int:
    """Return the side of the patches that a padded length consists of: a power of two."""
    return min(PATCH, length & -length)


def pad_length(length: int) -> int:
    """Return the least multiple of the largest patch side that makes an array at most an eighth (or one) longer."""
    longest = length + max(1, length // 8)
    side = PATCH
    while -(-length // side) * side > longest:
        side //= 2
    return -(-length // side) * side


def _reduce_patch(grid: Block, keep: bool) -> Block:
    """Return grids of cells [tiles, rows, cols, 4, 4], both powers of two, as a grid of one block."""
    while max(grid.couplings.shape[-4:-2]) > 1:
        rows, cols = grid.couplings.shape[-4:-2]
        axis = ALONG_ROW if cols > 1 and (cols >= rows or rows == 1) else ALONG_COLUMN
        grid = halve(grid, axis, keep=keep)
    return grid


def _eliminate_shared(first: Block, second: Block, axis: int) -> tuple[FloatArray, FloatArray]:
    """Return the couplings of two joined blocks, and the response of the ports that they shared."""
    layout = lay_out(first.ports, second.ports, axis)
    blocks, (in_first, in_second) = (first, second), layout.shared
    among = first.couplings[..., in_first, in_first] + second.couplings[..., in_second, in_second]
    outward = np.empty((*among.shape[:-1], len(layout.ports)))
    for block, shared, places in zip(blocks, layout.shared, layout.kept, strict=True):
        for old, new in places:
            outward[..., new] = block.couplings[..., shared, old]
    response = _respond(among, outward)
    couplings = np.swapaxes(outward, -1, -2) @ response
    for block, places in zip(blocks, layout.kept, strict=True):
        for old, new in places:
            for other_old, other_new in places:
                couplings[..., new, other_new] += block.couplings[..., old, other_old]
    _clear_diagonal(couplings)
    return couplings, response


def _respond(among: FloatArray, outward: FloatArray) -> FloatArray:
    """Return voltages of nodes [..., nodes, ports] for one volt at each port, from couplings that are not negative."""
    matrix = -among
    diagonal = np.einsum("...ii->...i", matrix)
    diagonal[...] = among.sum(axis=-1) + outward.sum(axis=-1)
    return np.asarray(np.linalg.inv(matrix) @ outward)


def _clear_diagonal(couplings: FloatArray) -> None:
    np.einsum("...ii->...i", couplings)[...] = 0.0


def _all_but(place: slice, length: int) -> NDArray[np.intp]:
    return np.concatenate([np.arange(place.start), np.arange(place.stop, length)])


def _unzip(values: FloatArray, axis: int, *, trailing: int) -> tuple[FloatArray, FloatArray]:
    """Return the blocks of even and of odd place along an axis of a grid [..., grid rows, grid cols, *trailing]."""
    after = trailing + (axis == ALONG_COLUMN)
    even, odd = (np.moveaxis(values, -1 - after, 0)[parity::2] for parity in (0, 1))
    return np.moveaxis(even, 0, -1 - after), np.moveaxis(odd, 0, -1 - after)


def _zip(parts: list[FloatArray], axis: int) -> FloatArray:
    """Put blocks of even and of odd place [..., grid rows, grid cols, ports, columns] back into one grid."""
    along = -4 if axis == ALONG_COLUMN else -3
    both = np.stack([np.moveaxis(part, along, 0) for part in parts], axis=1)
    return np.moveaxis(both.reshape(-1, *both.shape[2:]), 0, along)
