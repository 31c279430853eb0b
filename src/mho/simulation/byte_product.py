"""Exact dense products of bytes: codes 0 .. 255 with weights -128 .. 127, in int32.

With VNNI they take a fifth of the time of float32. `mho.array.integer_product` has the kernel and tells where it is
fast and right; `mho.simulation.contraction` has the routes for other processors.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.arithmetic.limits import INT32_LIMIT
from mho.array.integer_product import LARGEST_BYTE, IntegerProduct, ProductKernel, are_bytes, has_fast_bytes


class ByteProduct:
    """Multiplies codes with one layer's weights and adds its correction."""

    def __init__(self, product: IntegerProduct, correction: NDArray[np.int64]) -> None:
        """Take a product with the kernel of bytes, and what is added: whole numbers [outputs].

        Their sums stay below 2^31.
        """
        self._product = product
        self._correction = torch.from_numpy(correction.astype(np.int32)) if correction.any() else None

    @classmethod
    def find(
        cls, matrix: NDArray[np.float32], correction: NDArray[np.int64], codes: tuple[int, int]
    ) -> ByteProduct | None:
        """Return a layer's products of bytes, or None where they are not exact or not the fastest here.

        Args:
            matrix: whole numbers [outputs, inputs].
            correction: whole numbers [outputs].
            codes: smallest and largest code.
        """
        if not (are_bytes(matrix, codes) and has_fast_bytes()):
            return None
        product = IntegerProduct(matrix.T.astype(np.int16), LARGEST_BYTE)
        is_exact = product.bound + int(np.abs(correction).max(initial=0)) < INT32_LIMIT
        return cls(product, correction) if product.kernel is ProductKernel.BYTES and is_exact else None

    def run(self, codes: Tensor) -> Tensor:
        """Take uint8 [n, inputs], contiguous; return int32 [n, outputs]."""
        sums = self._product.multiply(codes)
        return sums if self._correction is None else sums.add_(self._correction)
