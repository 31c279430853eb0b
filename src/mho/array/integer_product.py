"""Exact products of whole numbers, by the fastest kernel that this processor has.

Sums of whole numbers are the same in any order, so that results depend on neither batch nor threads nor libraries.
Four kernels give them: products of bytes with sums in int32 (with VNNI, many times as fast as float32), float32 below
2^24, two columns in one float32 where their sums are small, float64 below 2^53. For bytes, wider numbers are cut into
balanced base-256 digits, each a signed byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.arithmetic.limits import FLOAT32_LIMIT, FLOAT64_LIMIT, INT32_LIMIT
from mho.errors import DataError

LARGEST_BYTE = 255
"""Largest code of an unsigned byte."""
_MAX_BYTE_ROWS = 1 << 16
"""Sums of 2^16 products of signed bytes stay below 2^31."""
_COST = {"bytes": 1.0, "pairs": 6.0, "float32": 9.0, "float64": 18.0}
"""Time of one product, as measured on a processor with AVX-512 VNNI; of pairs, on one with AVX2."""
_PAIRS_FROM = 128
"""Fewer rows or columns take longer in pairs: taking sums apart costs what a product of about 45 rows does."""


class ProductKernel(StrEnum):
    """How a product of integers is computed on this processor; results are the same.

    Not a `mho.simulation.contraction.Route`, which splits the float product of a whole layer so that it is exact.
    """

    BYTES = "bytes"
    FLOAT32 = "float32"
    PAIRS = "pairs"
    FLOAT64 = "float64"


_PAIRS_LIMIT = 1 << 11
"""Two sums below 2^11 fit one float32: (2^11 - 1) (2^12 + 1) < 2^24."""
_LIMITS: dict[ProductKernel | None, int] = {ProductKernel.FLOAT32: FLOAT32_LIMIT, ProductKernel.PAIRS: _PAIRS_LIMIT}


class IntegerProduct:
    """Products of whole numbers 0 .. `largest` with a matrix of whole numbers.

    Use it within `mho.arithmetic.exactness.exact_products`.

    Attributes:
        kernel: how it is computed.
        columns: of the matrix.
        bound: no partial sum is larger.
        bytes_per_row: memory that one row of inputs takes in passing, about.
    """

    def __init__(self, matrix: NDArray[np.signedinteger], largest: int, kernel: ProductKernel | None = None) -> None:
        """Choose the fastest kernel, or take a given one.

        Args:
            matrix: [rows, columns].
            largest: largest input, at least 1.
            kernel: None for the fastest.

        Raises:
            DataError: sums may pass 2^53, or 2^24 in float32, or 2^11 in pairs.
        """
        self.bound = check_sums(matrix, largest, _LIMITS.get(kernel, FLOAT64_LIMIT))
        self.columns = matrix.shape[1]
        digits = split_digits(matrix)
        self._digits, self._input_digits = len(digits), _count_input_digits(largest)
        self.kernel = self._choose(matrix.shape[0]) if kernel is None else kernel
        if self.kernel is ProductKernel.BYTES:
            self._by_columns = _lay_out(np.concatenate(digits, axis=1).T)
            # Codes up to 255 are signed bytes once 128 is taken off: 128 times the sums of columns is given back.
            self._is_moved = 127 < largest <= LARGEST_BYTE
            self._moved = torch.from_numpy(128 * self._by_columns.numpy().sum(axis=1, dtype=np.int32))
            self._columns_at_once = self._input_digits * self._digits * self.columns
        elif self.kernel is ProductKernel.PAIRS:
            self._place = 2.0 ** (self.bound.bit_length() + 1)
            self._by_columns = _lay_out(_pack_pairs(matrix, self._place).T)
            self._columns_at_once = self.columns
        else:
            self._by_columns = _lay_out(matrix.T).to(getattr(torch, str(self.kernel)))
            self._columns_at_once = self.columns
        self.bytes_per_row = 8 * self._columns_at_once + 8 * matrix.shape[0]

    def _choose(self, rows: int) -> ProductKernel:
        kernels = {ProductKernel.FLOAT64: _COST["float64"]}
        if self.bound < FLOAT32_LIMIT:
            kernels[ProductKernel.FLOAT32] = _COST["float32"]
        if self.bound < _PAIRS_LIMIT and min(rows, self.columns) >= _PAIRS_FROM:
            kernels[ProductKernel.PAIRS] = _COST["pairs"]
        if has_fast_bytes() and rows <= _MAX_BYTE_ROWS:
            kernels[ProductKernel.BYTES] = _COST["bytes"] * self._digits * self._input_digits
        return min(kernels, key=lambda kernel: kernels[kernel])

    def multiply(self, inputs: Tensor) -> Tensor:
        """Return inputs @ matrix, exact, in the memory order of the inputs.

        Args:
            inputs: [n, rows], 0 .. `largest`, uint8 where `largest` is at most 255, else int64; contiguous, or the
                transpose of what is.

        Returns:
            [n, columns]: int32, float32 or float64, whole numbers.
        """
        if self.kernel is not ProductKernel.BYTES:
            inputs = inputs.to(self._by_columns.dtype)
            if self.kernel is ProductKernel.PAIRS:
                return self._multiply_pairs(inputs)
            return multiply_in_order(inputs, self._by_columns.t())
        if self._input_digits == 1:
            sums = self._multiply_bytes(_move(inputs) if self._is_moved else inputs)
            if self._is_moved:
                sums.add_(self._moved)
            return sums if self._digits == 1 else self._join(sums)
        digits = _split_inputs(inputs, self._input_digits)
        total = self._join(self._multiply_bytes(digits[0])).to(torch.float64)
        for number, digit in enumerate(digits[1:], 1):
            total.add_(self._join(self._multiply_bytes(digit)), alpha=256.0**number)
        return total

    def _multiply_bytes(self, inputs: Tensor) -> Tensor:
        """Return the sums of all digits, int32 [n, digits * columns], of bytes [n, rows]."""
        if inputs.is_contiguous():
            # An axis of one element may have any stride, and `_int_mm` reads beside the matrix for some.
            inputs = inputs.clone(memory_format=torch.contiguous_format) if 1 in inputs.shape else inputs
            return torch._int_mm(inputs.view(torch.int8), self._by_rows)
        return torch._int_mm(self._by_columns, inputs.t().view(torch.int8)).t()

    def _multiply_pairs(self, inputs: Tensor) -> Tensor:
        """Take place * first + second apart: rounding is right, as no second sum reaches half of the place.

        Products go where second sums will be: memory that comes and goes costs more than the sums.
        """
        firsts = self.columns - len(self._by_columns)
        if inputs.is_contiguous():
            sums = torch.empty(len(inputs), self.columns)
            torch.mm(inputs, self._by_columns.t(), out=sums[:, firsts:])
        else:
            sums = torch.empty(self.columns, len(inputs)).t()
            torch.mm(self._by_columns, inputs.t(), out=sums[:, firsts:].t())
        first, second = sums[:, :firsts], sums[:, firsts : 2 * firsts]
        torch.mul(second, 1 / self._place, out=first).round_()
        second.sub_(first, alpha=self._place)
        return sums

    @cached_property
    def _by_rows(self) -> Tensor:
        return _lay_out(self._by_columns.numpy().T)

    def _join(self, sums: Tensor) -> Tensor:
        """Put the sums of digits together, in int32 where they fit, else in float64."""
        parts = torch.split(sums, self.columns, dim=1)
        if self.bound < INT32_LIMIT:
            whole = torch.add(parts[-2], parts[-1], alpha=256) if len(parts) > 1 else parts[0]
            for part in reversed(parts[:-2]):
                whole.mul_(256).add_(part)
            return whole
        total = parts[0].to(torch.float64)
        for number, part in enumerate(parts[1:], 1):
            total.add_(part, alpha=256**number)
        return total


def multiply_in_order(inputs: Tensor, matrix: Tensor) -> Tensor:
    """Return inputs @ matrix in the memory order of `inputs` [n, rows]: contiguous, or the transpose of what is."""
    if inputs.is_contiguous():
        return inputs @ matrix
    return (matrix.t() @ inputs.t()).t()


def _pack_pairs(matrix: NDArray[np.int64], place: float) -> NDArray[np.float32]:
    """Return the second half of the columns plus `place` times the first; of an odd number, the last one is alone."""
    firsts = matrix.shape[1] // 2
    packed = matrix[:, firsts:].astype(np.float32)
    packed[:, :firsts] += np.float32(place) * matrix[:, :firsts].astype(np.float32)
    return packed


def split_digits(values: NDArray[np.signedinteger]) -> list[NDArray[np.int8]]:
    """Cut whole numbers into the fewest digits d[i] in -128 .. 127 with values = sum of d[i] 256^i."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if -128 <= low <= high <= 127:
        return [values.astype(np.int8)]
    count = 2
    while not -128 * _repunit(count) <= low <= high <= 127 * _repunit(count):
        count += 1
    # With 128 added to each digit they are the bytes of a number that is not negative.
    moved = values.astype(np.int64) + 128 * _repunit(count)
    return [((moved >> 8 * number & 255) - 128).astype(np.int8) for number in range(count)]


def _move(inputs: Tensor) -> Tensor:
    """Return the bytes of numbers 0 .. 255 less 128, in their memory order."""
    return inputs ^ 128 if inputs.is_contiguous() else (inputs.t() ^ 128).t()


def _split_inputs(inputs: Tensor, count: int) -> list[Tensor]:
    moved = inputs.to(torch.int64) + 128 * _repunit(count)
    return [((moved >> 8 * number & 255) - 128).to(torch.int8) for number in range(count)]


def _count_input_digits(largest: int) -> int:
    """Return the digits of inputs; one for a byte with or without a sign."""
    if largest <= LARGEST_BYTE:
        return 1
    count = 2
    while largest > 127 * _repunit(count):
        count += 1
    return count


def _repunit(count: int) -> int:
    """Return 1 + 256 + ... + 256^(count - 1)."""
    return ((1 << 8 * count) - 1) // 255


def check_sums(matrix: NDArray[np.integer], largest: int, limit: int = FLOAT64_LIMIT) -> int:
    """Return what no partial sum of products of `matrix` [rows, columns] with numbers up to `largest` exceeds.

    Raises:
        DataError: it is not below `limit`.
    """
    bound = _bound(matrix) * largest
    if bound >= limit:
        raise DataError(
            f"sums of {matrix.shape[0]} rows may reach {float(bound):.3g}",
            expected=f"less than 2^{limit.bit_length() - 1}",
            hint="lower bit widths or rows",
        )
    return bound


def refuse_large_sums(matrix: NDArray[np.integer], largest: int) -> None:
    """Raise `DataError` where sums of products of `matrix` [rows, columns] with numbers up to `largest` pass 2^53."""
    if len(matrix) * -int(np.iinfo(matrix.dtype).min) * largest >= FLOAT64_LIMIT:
        check_sums(matrix, largest)


def _lay_out(values: NDArray[Any]) -> Tensor:
    """Return values in row-major order, with the strides that it has for any shape."""
    return torch.from_numpy(np.array(values, order="C"))


def _bound(matrix: NDArray[np.integer]) -> int:
    """Return the largest sum of positive, or of negative, entries of a column."""
    positive = np.maximum(matrix, 0).sum(axis=0, dtype=np.float64)
    negative = np.maximum(-matrix, 0).sum(axis=0, dtype=np.float64)
    return int(max(positive.max(initial=0), negative.max(initial=0)))


def name_route() -> str:
    """Return how this processor multiplies integers: with which instructions, in which numbers."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{capability} VNNI, products of bytes" if has_fast_bytes() else f"{capability}, products in floats"


def are_bytes(weights: NDArray[np.float32], codes: Iterable[int]) -> bool:
    """Tell whether all codes are in 0 .. 255 and all weights, whole numbers, in -128 .. 127."""
    ends = np.iinfo(np.int8)
    holds_codes = all(0 <= code <= LARGEST_BYTE for code in codes)
    return holds_codes and bool(weights.min(initial=0) >= ends.min and weights.max(initial=0) <= ends.max)


@cache
def has_fast_bytes() -> bool:
    """Tell whether products of bytes are fast here, and right: every pair of bytes is tried.

    A setting such as ONEDNN_MAX_CPU_ISA may keep VNNI from being used where there is VNNI. oneDNN then halves bytes
    to keep 16-bit sums from overflowing, and products are not exact.
    """
    is_supported = getattr(torch.cpu, "_is_vnni_supported", None)
    if is_supported is None or not is_supported() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    bytes_ = torch.arange(-128, 128, dtype=torch.int8).unsqueeze(1).expand(256, 64).contiguous()
    numbers = bytes_.to(torch.float32)
    found = torch._int_mm(bytes_, bytes_.T.contiguous())
    return torch.equal(found.to(torch.float32), numbers @ numbers.T)  # below 2^24
