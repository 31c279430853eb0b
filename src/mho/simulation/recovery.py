"""The integers of a layer, taken back from the cells of its tiles: all that the executor knows of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import ProgramError
from mho.program.product import LayerProduct
from mho.program.program import Program
from mho.program.region import SUM_OF_INPUTS
from mho.simulation.exactness import FLOAT32_LIMIT

_BLOCK_CELLS = 1 << 22


@dataclass(frozen=True)
class _Rank:
    """Lines (rows or columns) of an encoded matrix of which no two belong to the same element."""

    lines: slice | NDArray[np.int64]
    elements: slice | NDArray[np.int64]
    weights: NDArray[np.float32]


def recover_matrix(program: Program, product: LayerProduct) -> NDArray[np.float32]:
    """Return float32 [groups, outputs, inputs], whole numbers: the matrix that a layer's input codes meet.

    The coefficients with which sums of inputs are taken back are part of it, so the layer's total is this matrix times
    the codes plus the correction, exactly.

    Raises:
        ProgramError: a weight passes 24 bits.
    """
    geometry, constants = product.geometry, program.constants
    cells = constants[product.cells]
    groups, inputs, outputs = cells.shape[0], geometry.inputs_per_group, geometry.outputs_per_group
    columns = _ranks(product.col_output, product.col_weight)
    rows = _ranks(product.row_input, product.row_sign)
    largest_cell = 2**program.accelerator.crossbar.cell_bits - 1
    largest = sum(float(np.abs(column.weights).max()) for column in columns) * largest_cell * len(rows)
    matrix = np.zeros((groups, outputs, inputs), np.float32)
    for group in range(groups):
        _recover_group(cells[group], rows, columns, matrix[group])
    dequantize = product.dequantize
    if dequantize.sum_factors:
        factors = constants[dequantize.sum_factors].astype(np.float64)
        sums = _recover_sums(cells, rows, product)
        largest += float(np.abs(factors).max() * np.abs(sums).max())
        matrix += (factors[:, :, None] * sums[:, None, :]).astype(np.float32)
    if largest >= FLOAT32_LIMIT:
        raise ProgramError(f"weights up to {largest:.0f}", where=f"layer {product.name}", expected="below 2^24")
    return matrix


def _recover_sums(cells: NDArray[Any], rows: list[_Rank], product: LayerProduct) -> NDArray[np.float64]:
    """Return [groups, inputs]: how often each input enters the sum of its vector."""
    sums = np.full((cells.shape[0], product.geometry.inputs_per_group), float(product.has_digital_sums))
    for column in np.flatnonzero(product.col_output == SUM_OF_INPUTS):
        for row in rows:
            sums[:, row.elements] += cells[:, row.lines, column] * row.weights * product.col_weight[column]
    return sums


def _recover_group(cells: NDArray[Any], rows: list[_Rank], columns: list[_Rank], matrix: NDArray[np.float32]) -> None:
    """Add up [rows, cols] cells to `matrix` [outputs, inputs], in blocks that stay in the cache."""
    step = max(1, _BLOCK_CELLS // cells.shape[1])
    for row in rows:
        lines = cells[row.lines]
        for start in range(0, lines.shape[0], step):
            block, weights = lines[start : start + step], row.weights[start : start + step]
            total = np.zeros((block.shape[0], matrix.shape[0]), np.float32)
            for column in columns:
                total[:, column.elements] += block[:, column.lines] * column.weights
            matrix[:, _part(row.elements, start, start + step)] += (total * weights[:, None]).T


def _part(indices: slice | NDArray[np.int64], start: int, stop: int) -> slice | NDArray[np.int64]:
    """Return indices number start .. stop - 1."""
    if not isinstance(indices, slice):
        return indices[start:stop]
    step = indices.step or 1
    return slice(indices.start + start * step, min(indices.start + stop * step, indices.stop), step)


def _ranks(elements: NDArray[np.int64], weights: NDArray[np.int64]) -> list[_Rank]:
    """Sort lines into ranks: the first of every element, the second of every element, and so on."""
    order = np.argsort(elements, kind="stable")
    order = order[elements[order] >= 0]
    starts = np.flatnonzero(np.diff(elements[order], prepend=-1))
    rank = np.arange(order.size) - np.repeat(starts, np.diff(starts, append=order.size))
    ranks = []
    for value in range(int(rank.max(initial=-1)) + 1):
        lines = order[rank == value]
        ranks.append(_Rank(_as_slice(lines), _as_slice(elements[lines]), weights[lines].astype(np.float32)))
    return ranks


def _as_slice(indices: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Return evenly spaced indices as a slice, which NumPy reads without gathering."""
    if indices.size == 1:
        return slice(int(indices[0]), int(indices[0]) + 1)
    step = int(indices[1] - indices[0])
    is_even = step > 0 and bool((np.diff(indices) == step).all())
    return slice(int(indices[0]), int(indices[-1]) + 1, step) if is_even else indices
