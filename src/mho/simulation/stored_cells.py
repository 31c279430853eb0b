"""What cells hold of activations that are written into them: the digits that `WriteDynamicTile` describes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.program.instructions import Span, WriteDynamicTile
from mho.program.operand_proof import stored_part
from mho.program.program import Program


def encode_activations(
    program: Program, item: WriteDynamicTile, codes: NDArray[np.int64], address: int
) -> NDArray[np.int64]:
    """Return the digits of a tile, int64 [samples, rows, cols], 0 .. 2^cell_bits - 1.

    Args:
        program: whose constants are meant.
        item: the instruction.
        codes: int64 [size, samples], of the buffer that it stores.
        address: of the operand among them.
    """
    row_offsets, row_signs, row_shifts, row_blocks = (
        _lines(program, name, item.rows)[:, None]
        for name in (item.row_offsets, item.row_signs, item.row_shifts, item.row_blocks)
    )
    offsets, signs, starts, bits, shifts, blocks = (
        _lines(program, name, item.cols)
        for name in (
            item.column_offsets,
            item.column_signs,
            item.column_starts,
            item.column_bits,
            item.column_shifts,
            item.column_blocks,
        )
    )
    is_ones = offsets < 0
    addresses = address + row_offsets + np.where(is_ones, 0, offsets)
    values = np.moveaxis(codes[addresses], -1, 0)
    stored = stored_part(values + item.addend, row_signs * signs, starts, bits, is_signed=item.is_signed)
    digits = ((np.where(is_ones, 1, stored) << row_shifts) >> shifts) & ((1 << item.cell_bits) - 1)
    held: NDArray[np.int64] = np.where(row_blocks == blocks, digits, 0)
    return held


def _lines(program: Program, name: str, span: Span) -> NDArray[Any]:
    return program.constants[name][span.start : span.stop].astype(np.int64)
