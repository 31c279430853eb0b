"""Operands that are written into cells while a program runs: products of two activations on chips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.array.model import WrittenCells
from mho.array.product import ArrayProduct
from mho.program.instructions import WriteDynamicTile
from mho.program.program import Program
from mho.simulation.stored_cells import encode_activations


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
    """

    program: Program
    write: WriteDynamicTile
    address: int
    first_write: int
    writes: int
    write_cells: Callable[[NDArray[np.int64], int], WrittenCells]
    make_product: Callable[[WrittenCells], ArrayProduct]

    def store(self, codes: NDArray[np.int64], sample: int) -> ArrayProduct:
        """Write the operand of one sample; return the product with it.

        Args:
            codes: int64 [size], of one sample.
            sample: its number in the run.
        """
        digits = encode_activations(self.program, self.write, codes[:, None], self.address)[0]
        return self.make_product(self.write_cells(digits, self.first_write + sample * self.writes))

    def write_nothing(self) -> WrittenCells:
        """Return the cells of an operand of zeros, whose conversions are those of all."""
        nothing = np.zeros((len(self.write.rows), len(self.write.cols)), dtype=np.int64)
        return self.write_cells(nothing, self.first_write)
