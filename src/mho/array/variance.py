"""Standard deviations of noisy sums, from the squares of drives and the variances of cells."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.array.integers import IntegerProduct, has_fast_bytes

_BITS = 22
"""Variances of cells are told to 2^-22 of the largest where drives are bits: as finely as float32 has them."""


class VarianceProduct:
    """sqrt(squares of drives @ variances of cells).

    Where every cell of a column has the same variance, it is a sum over rows times a number a column. Where drives are
    single bits, which are their own squares, it is a product of whole numbers.

    Attributes:
        bytes_per_row: memory that one row of squares takes in passing, about.
    """

    def __init__(self, variance: NDArray[np.float64], *, are_bits: bool) -> None:
        """Prepare for `variance` [rows, columns] and drives that are 0 or 1 (uint8) or any squares (float32)."""
        self._of_column: Tensor | None = None
        self._product: IntegerProduct | None = None
        self._scale = 1.0
        if (variance == variance[:1]).all():
            self._of_column = torch.from_numpy(np.sqrt(variance[0]).astype(np.float32))
        elif are_bits and has_fast_bytes():
            self._scale = float(variance.max()) / (1 << _BITS)
            self._product = IntegerProduct(np.rint(variance / self._scale).astype(np.int64), 1)
        else:
            self._matrix = torch.from_numpy(variance.astype(np.float32))
        self.bytes_per_row = 8 * variance.shape[1]
        if self._product is not None:
            self.bytes_per_row += self._product.bytes_per_row

    def deviations(self, squares: Tensor) -> Tensor:
        """Return standard deviations, float32 [n, columns], of squares of drives [n, rows]."""
        if self._of_column is not None:
            return squares.sum(dim=1, keepdim=True, dtype=torch.float32).sqrt_() * self._of_column
        if self._product is not None:
            return self._product.multiply(squares).to(torch.float32).mul_(self._scale).sqrt_()
        return (squares.to(torch.float32) @ self._matrix).sqrt_()
