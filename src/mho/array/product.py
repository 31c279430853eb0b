"""The product that one array gives: batches of codes in, results out, with all that is not ideal about it.

Static deviations change the matrix, not the product. Cells and drives are whole multiples of a power of two, so that
every sum is exact and results depend on neither batch nor threads nor libraries:

- Where the ADC is ideal, slices of weights and inputs fuse: result = sum over r of u[r] M[r], with the matrix put
  together from all columns, and the codes from all steps.
- Otherwise each step is multiplied on its own, converted, shifted and added.
- Read noise is drawn from its closed form (`mho.array.read_noise`): one normal number a result where the ADC is ideal,
  one a conversion otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.arithmetic.exactness import exact_products
from mho.array.integer_product import IntegerProduct, ProductKernel, refuse_large_sums
from mho.array.layout import NO_COLUMN
from mho.array.periphery import Periphery
from mho.array.read_noise import begin_reads, draw_noise, result_noise, result_variance, step_noise
from mho.array.wire_noise import WireNoise
from mho.errors import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]

MAX_FRACTION_BITS = 32
MIN_FRACTION_BITS = 8
"""Cells are resolved at least to 2^-8 and at most to 2^-32 level steps, as finely as sums below 2^52 allow."""
_BLOCK_BYTES = 4 << 20
"""Memory that a block of a batch takes, at most: what a processor reaches quickly."""


class _Path(Protocol):
    """One way to compute the product."""

    @property
    def bytes_per_input(self) -> int:
        """Memory that one vector of codes takes in passing, about."""

    def run(self, codes: Tensor, noise: torch.Generator | None) -> Tensor:
        """Return results [batch, outputs], float64, of codes [batch, rows], in their memory order."""


@dataclass(frozen=True, eq=False)
class LinearProduct:
    """The product of an array whose results are one matrix: the ADC is ideal, and so are wires where reads are noisy.

    result = 2^-fraction_bits sum over r of u[r] matrix[r], u being the drives of all steps, shifted and added
    (`RowDrives.whole`), with the variance sum over r of u2[r] variance[r], u2 those of `RowDrives.whole_squares`.

    Attributes:
        periphery: of the array.
        matrix: whole numbers [rows, outputs].
        fraction_bits: of matrix and drives together.
        variance: float32 [rows, outputs]; None without noise.
    """

    periphery: Periphery
    matrix: Integers
    fraction_bits: int
    variance: NDArray[np.float32] | None


class ArrayProduct:
    """The product of one array.

    Attributes:
        layout: what it computes.
        conversions: which columns are converted together.
        fraction_bits: cells are counted in 2^-fraction_bits level steps; 0 where all of them are whole numbers.
        has_noise: reads draw from a stream.
        linear: the one matrix that it is, where it is one, else None.
    """

    def __init__(
        self,
        periphery: Periphery,
        counts: Floats,
        *,
        kept_off_steps: float = 0.0,
        variance: Floats | WireNoise | None = None,
        is_observed: bool = False,
        max_fraction_bits: int = MAX_FRACTION_BITS,
    ) -> None:
        """Prepare the product of cells behind a periphery, which others may share.

        Args:
            periphery: drives and converters.
            counts: float64 [rows, cols], level steps above the lowest level, as `mho.array.conductances` gives them
                (with wires: effective ones).
            kept_off_steps: conductance of the lowest level where its current is kept, level steps.
            variance: float64 [rows, cols], of each cell at one read, squares of level steps; or, where wires have a
                resistance, what the variances of columns follow from, [rows, cols] in level steps; None: no noise.
            is_observed: keep what `sum_columns` needs.
            max_fraction_bits: cells that are not whole are counted in 2^-max_fraction_bits level steps at most.

        Raises:
            DataError: shapes do not fit, values are not finite, or sums may pass 2^53.
        """
        layout, conversions = periphery.layout, periphery.conversions
        squares = variance.squares if isinstance(variance, WireNoise) else variance
        for name, values in (("counts", counts), ("variance", squares)):
            if values is not None and not (values.shape == (layout.rows, layout.cols) and _is_finite(values)):
                raise DataError(f"{name} are {list(values.shape)}", expected=f"finite [{layout.rows}, {layout.cols}]")
        self._periphery, self.layout, self.conversions = periphery, layout, conversions
        matrix = conversions.subtract(counts)
        if kept_off_steps:
            matrix = matrix + np.where(conversions.minus == NO_COLUMN, kept_off_steps, 0.0)
        if periphery.has_negative_rows:
            matrix *= layout.row_sign[:, None]
        self.fraction_bits = _choose_fraction_bits(matrix, periphery, max_fraction_bits)
        matrix *= float(1 << self.fraction_bits)
        fixed = np.rint(matrix, out=matrix)
        fraction_bits = self.fraction_bits + periphery.feed.fraction_bits
        noise = None if squares is None or not squares.any() else variance
        self.has_noise = noise is not None
        cells = _compact(fixed) if is_observed or periphery.adc is not None else None
        self._columns = cells if is_observed else None
        self.linear: LinearProduct | None = None
        if periphery.adc is not None:
            assert cells is not None
            self._path: _Path = _SteppedPath(periphery, cells, noise, fraction_bits)
            return
        whole = _compact(fixed @ periphery.weights)  # exact: no sum passes 2^52
        if not isinstance(noise, WireNoise):
            of_results = None if noise is None else result_variance(layout, conversions, noise)
            self.linear = LinearProduct(periphery, whole, fraction_bits, of_results)
        self._path = _FusedPath(periphery, whole, noise, fraction_bits)

    def sum_columns(self, codes: Tensor) -> Tensor:
        """Return what is converted, without noise, in units of `sum_unit`, where it is observed.

        Use it within `mho.arithmetic.exactness.exact_products`.

        Args:
            codes: as for `run_block`; memory grows with them.

        Returns:
            [steps * batch, conversions], whole numbers, in the memory order of codes.
        """
        feed = self._periphery.feed
        return self._observed.multiply(feed.drives(feed.slices(codes).flatten(0, 1)))

    @property
    def sum_unit(self) -> float:
        """What one is worth in `sum_columns`: a power of two."""
        bits: int = self.fraction_bits + self._periphery.feed.fraction_bits
        return 0.5**bits

    @cached_property
    def _observed(self) -> IntegerProduct:
        assert self._columns is not None, "made without is_observed"
        return IntegerProduct(self._columns.astype(np.int64), self._periphery.feed.largest)

    @property
    def bytes_per_input(self) -> int:
        """Memory that one vector of codes takes in passing, about."""
        return self._path.bytes_per_input

    def run(self, codes: NDArray[np.integer], reads: np.random.Generator | None = None) -> Floats:
        """Return results, float64 [batch, outputs].

        They are whole numbers, the exact integers of the layer, where everything is ideal.

        Args:
            codes: whole numbers [batch, rows], 0 .. 2^input_bits - 1.
            reads: stream of read noise; needed where there is noise, else left alone. Results agree in distribution
                for batches cut otherwise.

        Raises:
            DataError: codes do not fit, or a stream is missing.
        """
        noise = self.begin_reads(reads)
        results = np.empty((len(codes), self.layout.outputs))
        out = torch.from_numpy(results)
        size = max(1, _BLOCK_BYTES // self.bytes_per_input)
        with exact_products():
            taken = self._periphery.feed.take(codes)
            for start in range(0, len(codes), size):
                out[start : start + size] = self._path.run(taken[start : start + size], noise)
        return results

    def begin_reads(self, reads: np.random.Generator | None) -> torch.Generator | None:
        """Return what `run_block` draws noise from, of a stream as for `run`; None without noise.

        Raises:
            DataError: the stream is missing.
        """
        return begin_reads(reads) if self.has_noise else None

    def run_block(self, codes: Tensor, noise: torch.Generator | None) -> Tensor:
        """Return results as `run` does, float64 [batch, outputs], in the memory order of codes.

        Use it within `mho.arithmetic.exactness.exact_products`.

        Args:
            codes: uint8 or int64 [batch, rows], known to fit: contiguous, or the transpose of what is.
            noise: of `begin_reads`.
        """
        kind = self._periphery.feed.kind
        return self._path.run(codes if codes.dtype == kind else codes.to(kind), noise)


class _FusedPath:
    """Ideal ADC: one product of whole codes and whole weights."""

    def __init__(
        self, periphery: Periphery, matrix: Integers, variance: Floats | WireNoise | None, fraction_bits: int
    ) -> None:
        layout, self._feed, self._matrix = periphery.layout, periphery.feed, matrix
        refuse_large_sums(matrix, self._feed.largest_whole)
        self._scale = 0.5**fraction_bits
        self._noise = None
        if variance is not None:
            self._noise = result_noise(layout, periphery.conversions, periphery.feed, variance)

    @cached_property
    def _product(self) -> IntegerProduct:
        return IntegerProduct(self._matrix.astype(np.int64), self._feed.largest_whole)

    @cached_property
    def bytes_per_input(self) -> int:
        rows, outputs = self._matrix.shape
        total: int = self._product.bytes_per_row + 16 * outputs
        if not self._feed.takes_codes:
            total += (8 + self._feed.bytes_per_drive // 2) * self._feed.steps * rows
        return total if self._noise is None else total + self._noise.bytes_per_input

    def run(self, codes: Tensor, noise: torch.Generator | None) -> Tensor:
        total = self._product.multiply(self._feed.whole(codes)).to(torch.float64)
        if self._scale != 1:
            total.mul_(self._scale)
        if self._noise is not None:
            total.add_(draw_noise(self._noise.deviations(codes), total, noise))
        return total


class _SteppedPath:
    """An ADC: each step is multiplied and converted on its own."""

    def __init__(
        self, periphery: Periphery, matrix: Integers, variance: Floats | WireNoise | None, fraction_bits: int
    ) -> None:
        layout, self._feed, self._rows = periphery.layout, periphery.feed, len(matrix)
        refuse_large_sums(matrix, self._feed.largest)
        self._matrix: Integers | None = matrix
        self._scale = 0.5**fraction_bits
        self._noise = None
        if variance is not None:
            self._noise = step_noise(layout, periphery.conversions, periphery.feed, variance)
        self._readout = periphery.readout(are_whole=fraction_bits == 0, are_noisy=variance is not None)

    @cached_property
    def _product(self) -> IntegerProduct:
        assert self._matrix is not None, "made once"
        product = IntegerProduct(self._matrix.astype(np.int64), self._feed.largest)
        self._matrix = None  # chips have thousands of arrays, and the product has all of it
        return product

    @cached_property
    def bytes_per_input(self) -> int:
        product, of_noise = self._product, 0 if self._noise is None else self._noise.bytes_per_row
        is_wide = product.kernel is ProductKernel.FLOAT64
        per_step: int = (product.bytes_per_row if is_wide else product.bytes_per_row // 2) + of_noise + self._rows
        per_step += self._feed.bytes_per_drive * self._rows
        kind = torch.int32 if product.kernel is ProductKernel.BYTES else torch.float32
        if self._noise is None and not is_wide and kind not in self._readout.kept_types:
            per_step += 8 * product.columns  # sums become float64
        return self._feed.steps * per_step

    def run(self, codes: Tensor, noise: torch.Generator | None) -> Tensor:
        slices = self._feed.slices(codes)
        flat = slices.flatten(0, 1)
        sums = self._product.multiply(self._feed.drives(flat))
        if self._noise is not None:
            deviations = self._noise.deviations(flat)
            sums = sums.to(torch.float32)
            if self._scale != 1:
                sums.mul_(self._scale)
            sums = draw_noise(deviations, sums, noise).add_(sums)
        elif self._scale != 1:
            sums = sums.to(torch.float64).mul_(self._scale)
        return self._readout.run(sums, len(codes))


def _compact(values: Floats) -> Integers:
    """Return whole numbers in the narrowest type that holds them."""
    largest = max(float(values.max(initial=0)), -float(values.min(initial=0)))
    for kind, limit in ((np.int8, 1 << 7), (np.int16, 1 << 15), (np.int32, 1 << 31)):
        if largest < limit:
            return values.astype(kind)
    return values.astype(np.int64)


def _is_finite(values: Floats) -> bool:
    """Tell whether all values are finite: extremes tell, as what is not a number is passed on."""
    return not values.size or math.isfinite(float(values.max()) - float(values.min()))


def _choose_fraction_bits(matrix: Floats, periphery: Periphery, most: int) -> int:
    """Return how finely cells are resolved: exactly where they are whole, else so that no sum passes 2^52."""
    if (matrix[0] == np.rint(matrix[0])).all() and (matrix == np.rint(matrix)).all():
        return 0
    largest_whole, conversions = periphery.feed.largest_whole, periphery.conversions
    largest = max(float(matrix.max()), -float(matrix.min())) * len(matrix) * periphery.largest_weight
    if 52 - math.frexp(largest * largest_whole)[1] >= most:
        return most
    weight = np.abs(conversions.weight.astype(np.float64))
    of_output = np.bincount(conversions.output, np.abs(matrix).sum(axis=0) * weight)
    bits = 52 - math.frexp(float(of_output.max()) * largest_whole)[1]
    if bits < MIN_FRACTION_BITS:
        raise DataError(
            f"sums may reach 2^{52 - bits}, which leaves cells no precision",
            expected=f"at most 2^{52 - MIN_FRACTION_BITS}",
            hint="lower bit widths or rows",
        )
    return min(bits, most)
