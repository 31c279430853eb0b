"""Operands that are written into cells while a program runs: their digits, and the writes of a chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.array.crossbar import WrittenCells
from mho.array.product import ArrayProduct
from mho.program.instructions import Span, WriteDynamicTile
from mho.program.operand_proof import stored_part
from mho.program.program import Program


@dataclass(frozen=True, eq=False)
class StoredOperand:
    """One matrix of activations that a crossbar takes anew for each sample.

    Each write has errors of its own, which depend on the sample's number in the run and not on batches; which cells
    are bad stays.

    Attributes:
        program: whose constants are meant.
        write: how the matrix is encoded.
        address: of the operand among the codes of `write.codes`.
        first_write: number of the crossbar's write for the first sample.
        writes: of the crossbar for each sample.
        write_cells: from digits and the number of a write to cells.
        make_product: from cells to what they give.
        others: where inputs of a batch have crossbars of their own, what stores those after the first.
    """

    program: Program
    write: WriteDynamicTile
    address: int
    first_write: int
    writes: int
    write_cells: Callable[[NDArray[np.int64], int], WrittenCells]
    make_product: Callable[[WrittenCells], ArrayProduct]
    others: tuple[StoredOperand, ...] = ()

    def store(self, codes: NDArray[np.int64], sample: int) -> ArrayProduct:
        """Write the operand of one sample; return the product with it.

        Args:
            codes: int64 [size], of one sample.
            sample: its number in the run.
        """
        own = (self, *self.others)[sample % (1 + len(self.others))]
        digits = encode_activations(self.program, self.write, codes[:, None], self.address)[0]
        return own.make_product(own.write_cells(digits, own.first_write + sample * own.writes))

    def write_nothing(self) -> WrittenCells:
        """Return the cells of an operand of zeros, whose conversions are those of all."""
        nothing = np.zeros((len(self.write.rows), len(self.write.cols)), dtype=np.int64)
        return self.write_cells(nothing, self.first_write)


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
