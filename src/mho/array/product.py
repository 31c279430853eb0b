"""The product that one array gives: batches of codes in, results out, with all that is not ideal about it.

Static deviations change the matrix, not the product. Cells and drives are whole multiples of a power of two, so that
every sum is exact and results depend on neither batch nor threads nor libraries:

- Where the ADC is ideal, slices of weights and inputs fuse: result = sum over r of u[r] M[r], with the matrix put
  together from all columns, and the codes from all steps.
- Otherwise each step is multiplied on its own, converted, shifted and added.
- Read noise is drawn from its closed form (`mho.array.noise`): one normal number a result where the ADC is ideal, one a
  conversion otherwise.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.accelerator.converters import ColumnDifference
from mho.arithmetic.exactness import exact_products
from mho.array.conversion import Readout
from mho.array.converters import Adc, drive_levels
from mho.array.feeding import Feed
from mho.array.integers import IntegerProduct
from mho.array.layout import NO_COLUMN, ArrayLayout, Conversions, list_conversions
from mho.array.variance import result_noise, step_noise
from mho.array.wire_noise import WireNoise
from mho.errors import DataError

Floats = NDArray[np.float64]

MAX_FRACTION_BITS = 32
MIN_FRACTION_BITS = 8
"""Cells are told at least to 2^-8 and at most to 2^-32 level steps, as finely as sums below 2^52 allow."""
_BLOCK_BYTES = 4 << 20
"""Memory that a block of a batch takes, at most: what a processor reaches quickly."""


class _Path(Protocol):
    """One way to compute the product."""

    bytes_per_input: int

    def run(self, codes: Tensor, noise: torch.Generator | None) -> Tensor:
        """Return results [batch, outputs], float64, of codes [batch, rows]."""


class ArrayProduct:
    """The product of one array.

    Attributes:
        layout: what it computes.
        conversions: which columns are converted together.
        fraction_bits: cells are told in 2^-fraction_bits level steps; 0 where all of them are whole numbers.
    """

    def __init__(
        self,
        layout: ArrayLayout,
        counts: Floats,
        *,
        difference: ColumnDifference = ColumnDifference.DIGITAL,
        kept_off_steps: float = 0.0,
        levels: Floats | None = None,
        adc: Adc | None = None,
        variance: Floats | WireNoise | None = None,
        is_observed: bool = False,
    ) -> None:
        """Prepare the product.

        Args:
            layout: what the array computes.
            counts: float64 [rows, cols], level steps above the lowest level, as `mho.array.conductances` gives them
                (with wires: effective ones).
            difference: where differential columns are subtracted.
            kept_off_steps: conductance of the lowest level where its current is kept, level steps.
            levels: voltages of the DAC's codes, DAC steps; None: linear.
            adc: ranges and errors, one a conversion, in the order of `list_conversions`; None: ideal.
            variance: float64 [rows, cols], of each cell at one read, squares of level steps; or, where wires have a
                resistance, what the variances of columns follow from, [rows, cols] in level steps; None: no noise.
            is_observed: keep what `sum_columns` needs.

        Raises:
            DataError: shapes do not fit, values are not finite, or sums may pass 2^53.
        """
        squares = variance.squares if isinstance(variance, WireNoise) else variance
        for name, values in (("counts", counts), ("variance", squares)):
            if values is not None and not (values.shape == (layout.rows, layout.cols) and np.isfinite(values).all()):
                raise DataError(f"{name} are {list(values.shape)}", expected=f"finite [{layout.rows}, {layout.cols}]")
        self.layout, self.conversions = layout, list_conversions(layout, difference)
        conversions = self.conversions
        if adc is not None and len(adc.low) != len(conversions.plus):
            raise DataError(f"{len(adc.low)} ranges of an ADC", expected=f"{len(conversions.plus)}, one a conversion")
        self._feed = Feed(layout, drive_levels(layout.dac_bits, 0) if levels is None else levels)
        matrix = conversions.subtract(counts) + np.where(conversions.minus == NO_COLUMN, kept_off_steps, 0.0)
        matrix = matrix * layout.row_sign[:, None]
        self.fraction_bits = _choose_fraction_bits(matrix, conversions, self._feed)
        fixed = np.rint(np.ldexp(matrix, self.fraction_bits)).astype(np.int64)
        noise = None if squares is None or not squares.any() else variance
        self.has_noise = noise is not None
        fraction_bits = self.fraction_bits + self._feed.fraction_bits
        self._scale = 0.5**fraction_bits
        self._columns = IntegerProduct(fixed, self._feed.largest) if is_observed else None
        self._path: _Path
        if adc is None:
            self._path = _FusedPath(layout, conversions, self._feed, fixed, noise, fraction_bits)
        else:
            self._path = _SteppedPath(layout, conversions, self._feed, fixed, noise, fraction_bits, adc)

    def sum_columns(self, codes: NDArray[np.integer]) -> Floats:
        """Return what is converted, without noise, float64 [steps * batch, conversions], where it is observed.

        Args:
            codes: as for `run`; memory grows with them.
        """
        assert self._columns is not None, "made without is_observed"
        with exact_products():
            slices = self._feed.slices(self._feed.take(codes)).flatten(0, 1)
            sums: Floats = self._columns.multiply(self._feed.drives(slices)).to(torch.float64).mul_(self._scale).numpy()
        return sums

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
        if self.has_noise and reads is None:
            raise DataError("an array with read noise needs a stream to draw it from")
        noise = None
        if self.has_noise and reads is not None:
            noise = torch.Generator().manual_seed(int(reads.integers(1 << 63)))
        results = np.empty((len(codes), self.layout.outputs))
        out = torch.from_numpy(results)
        size = max(1, _BLOCK_BYTES // self._path.bytes_per_input)
        with exact_products():
            taken = self._feed.take(codes)
            for start in range(0, len(codes), size):
                out[start : start + size] = self._path.run(taken[start : start + size], noise)
        return results


class _FusedPath:
    """Ideal ADC: one product of whole codes and whole weights."""

    def __init__(
        self,
        layout: ArrayLayout,
        conversions: Conversions,
        feed: Feed,
        fixed: NDArray[np.int64],
        variance: Floats | WireNoise | None,
        fraction_bits: int,
    ) -> None:
        self._feed = feed
        matrix = np.zeros((layout.outputs, layout.rows), dtype=np.int64)
        np.add.at(matrix, conversions.output, (fixed * conversions.weight).T)
        self._product = IntegerProduct(np.ascontiguousarray(matrix.T), feed.largest_whole)
        self._scale = 0.5**fraction_bits
        self._noise = None if variance is None else result_noise(layout, conversions, feed, variance)
        self.bytes_per_input = self._product.bytes_per_row + 16 * layout.outputs
        if not feed.takes_codes:
            self.bytes_per_input += 8 * layout.steps * layout.rows
        if self._noise is not None:
            self.bytes_per_input += self._noise.bytes_per_input

    def run(self, codes: Tensor, noise: torch.Generator | None) -> Tensor:
        total = self._product.multiply(self._feed.whole(codes)).to(torch.float64)
        if self._scale != 1:
            total.mul_(self._scale)
        if self._noise is not None:
            total.add_(torch.empty(total.shape).normal_(generator=noise).mul_(self._noise.deviations(codes)))
        return total


class _SteppedPath:
    """An ADC: each step is multiplied and converted on its own."""

    def __init__(
        self,
        layout: ArrayLayout,
        conversions: Conversions,
        feed: Feed,
        fixed: NDArray[np.int64],
        variance: Floats | WireNoise | None,
        fraction_bits: int,
        adc: Adc,
    ) -> None:
        self._feed = feed
        self._product = IntegerProduct(fixed, feed.largest)
        self._scale = 0.5**fraction_bits
        self._noise = None if variance is None else step_noise(layout, conversions, feed, variance)
        self._readout = Readout(layout, conversions, adc, are_whole=fraction_bits == 0, are_noisy=variance is not None)
        of_noise = 0 if self._noise is None else self._noise.bytes_per_row
        self.bytes_per_input = layout.steps * (self._product.bytes_per_row // 2 + of_noise + layout.rows)

    def run(self, codes: Tensor, noise: torch.Generator | None) -> Tensor:
        slices = self._feed.slices(codes)
        steps, batch, rows = slices.shape
        flat = slices.reshape(steps * batch, rows)
        sums = self._product.multiply(self._feed.drives(flat))
        if self._noise is not None:
            std = self._noise.deviations(flat)
            sums = sums.to(torch.float32)
            if self._scale != 1:
                sums.mul_(self._scale)
            sums = torch.empty(sums.shape).normal_(generator=noise).mul_(std).add_(sums)
        elif self._scale != 1:
            sums = sums.to(torch.float64).mul_(self._scale)
        return self._readout.run(sums, batch)


def _choose_fraction_bits(matrix: Floats, conversions: Conversions, feed: Feed) -> int:
    """Return how finely cells are told: exactly where they are whole, else so that no sum passes 2^52."""
    if (matrix == np.rint(matrix)).all():
        return 0
    weight = np.abs(conversions.weight.astype(np.float64))
    of_output = np.bincount(conversions.output, np.abs(matrix).sum(axis=0) * weight)
    bits = 52 - math.frexp(float(of_output.max()) * feed.largest_whole)[1]
    if bits < MIN_FRACTION_BITS:
        raise DataError(
            f"sums may reach 2^{52 - bits}, which leaves cells no precision",
            expected=f"at most 2^{52 - MIN_FRACTION_BITS}",
            hint="lower bit widths or rows",
        )
    return min(bits, MAX_FRACTION_BITS)
