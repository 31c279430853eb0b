"""Read noise: standard deviations of noisy sums, and the one place that draws from them.

Deviations are those of single conversions, or of results where nothing is rounded in between.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.array.conductances import Conditions, Device, read_deviation
from mho.array.integer_product import IntegerProduct, has_fast_bytes, multiply_in_order
from mho.array.layout import NO_COLUMN, ArrayLayout, Conversions
from mho.array.row_drives import RowDrives
from mho.array.wire_noise import WireNoise
from mho.errors import DataError
from mho.hardware.array import PartOf

Floats = NDArray[np.float64]

_BITS = 22
"""Variances of cells are rounded to 2^-22 of the largest where drives are bits: as finely as float32 has them."""


class StepNoise(Protocol):
    """The noise of single conversions; `bytes_per_row` is memory that one step of one input takes in passing, about."""

    bytes_per_row: int

    def deviations(self, slices: Tensor) -> Tensor:
        """Return standard deviations, float32 [n, conversions], of what steps drive, uint8 [n, rows]."""


class ResultNoise(Protocol):
    """The noise of whole results; `bytes_per_input` is memory that one input takes in passing, about."""

    bytes_per_input: int

    def deviations(self, codes: Tensor) -> Tensor:
        """Return standard deviations, float32 [batch, outputs], of codes [batch, rows]."""


def step_noise(
    layout: ArrayLayout, conversions: Conversions, feed: RowDrives, variance: Floats | WireNoise
) -> StepNoise:
    """Return the noise of conversions; `variance` as for `mho.array.product.ArrayProduct`."""
    if isinstance(variance, WireNoise):
        return _WireSteps(layout, conversions, feed, variance)
    return _CellSteps(feed, conversions.add(variance), are_bits=layout.dac_bits == 1)


def result_noise(
    layout: ArrayLayout, conversions: Conversions, feed: RowDrives, variance: Floats | WireNoise
) -> ResultNoise:
    """Return the noise of results; `variance` as for `mho.array.product.ArrayProduct`."""
    if isinstance(variance, WireNoise):
        return _WireResults(layout, conversions, feed, variance)
    return _CellResults(layout, conversions, feed, variance)


def result_variance(layout: ArrayLayout, conversions: Conversions, variance: Floats) -> NDArray[np.float32]:
    """Return what the square of each row's drive adds to the variance of each result, float32 [rows, outputs].

    Variances add with the squares of all weights.

    Args:
        layout: what the array computes.
        conversions: what is converted.
        variance: float64 [rows, cols], of cells.
    """
    squares = np.zeros((len(conversions.plus), layout.outputs))
    squares[np.arange(len(squares)), conversions.output] = conversions.weight.astype(np.float64) ** 2
    return (conversions.add(variance) @ squares).astype(np.float32)


def begin_reads(reads: np.random.Generator | None) -> torch.Generator:
    """Return what reads draw from, seeded by the next number of a stream. Raises `DataError` where it is missing."""
    if reads is None:
        raise DataError("an array with read noise needs a stream to draw it from")
    return torch.Generator().manual_seed(int(reads.integers(1 << 63)))


def draw_noise(deviations: Tensor, like: Tensor, noise: torch.Generator | None) -> Tensor:
    """Draw the noise of sums: a normal number each, times its standard deviation.

    Args:
        deviations: of the sums, on any device; the noise has their shape, type and device.
        like: the sums, in whose memory order numbers are drawn.
        noise: of `begin_reads`.
    """
    return draw_normal(like, noise, deviations.dtype).to(deviations.device).mul_(deviations)


def draw_normal(like: Tensor, noise: torch.Generator | None, kind: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal numbers of a type, on the processor, of the shape and memory order of `like`."""
    if like.is_contiguous() or like.dim() != 2:
        return torch.empty_like(like, dtype=kind, device="cpu").normal_(generator=noise)
    return torch.empty(like.t().shape, dtype=kind).normal_(generator=noise).t()  # as fast as what is contiguous


class VarianceProduct:
    """sqrt(squares of drives @ variances of cells).

    Where every cell of a column has the same variance, it is a sum over rows times a number a column. Where drives are
    single bits, which are their own squares, it is a product of whole numbers.
    """

    def __init__(self, variance: NDArray[np.floating], *, are_bits: bool) -> None:
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
        return multiply_in_order(squares.to(torch.float32), self._matrix).sqrt_()


class _CellSteps:
    """Independent cells, ideal wires."""

    def __init__(self, feed: RowDrives, variance: Floats, *, are_bits: bool) -> None:
        self._feed, self._are_bits = feed, are_bits
        self._product = VarianceProduct(variance, are_bits=are_bits)
        self.bytes_per_row = self._product.bytes_per_row + (0 if are_bits else 12 * len(variance))

    def deviations(self, slices: Tensor) -> Tensor:
        return self._product.deviations(slices if self._are_bits else self._feed.squares(slices))


class _CellResults:
    """Independent cells, ideal wires: variances add with the squares of all weights and shifts."""

    def __init__(self, layout: ArrayLayout, conversions: Conversions, feed: RowDrives, variance: Floats) -> None:
        self._feed = feed
        self._product = VarianceProduct(result_variance(layout, conversions, variance), are_bits=False)
        self.bytes_per_input = 8 * layout.steps * layout.rows + 8 * layout.outputs

    def deviations(self, codes: Tensor) -> Tensor:
        return self._product.deviations(self._feed.whole_squares(codes))


class _WireSteps:
    """Wires with a resistance: the variance of a column depends on the current that it carries (`WireNoise`)."""

    def __init__(self, layout: ArrayLayout, conversions: Conversions, feed: RowDrives, noise: WireNoise) -> None:
        self._feed = feed
        self._sign = torch.from_numpy(layout.row_sign.astype(np.float32))
        # Both columns of every conversion, one after the other; none where it has only one.
        columns = np.stack([conversions.plus, np.where(conversions.minus == NO_COLUMN, 0, conversions.minus)], axis=1)
        used = np.stack([np.ones(len(columns)), conversions.minus != NO_COLUMN], axis=1)
        parts = noise.transfer, noise.products, noise.squares, noise.currents
        transfer, products, squares, currents = (
            torch.from_numpy(np.ascontiguousarray(part[..., columns] * used, dtype=np.float32)) for part in parts
        )
        self._conversions = len(columns)
        self._linear = torch.cat([transfer.flatten(1), products.flatten(1)], dim=1)
        self.squares, self._currents = squares.flatten(1), currents.flatten()
        self.bytes_per_row = 40 * self._conversions + 8 * layout.rows

    def of_currents(self, slices: Tensor) -> Tensor:
        """Return what currents add to the variances of columns, float32 [n, 2 * conversions]."""
        volts = self._feed.volts(slices) * self._sign
        amperes, products = torch.split(multiply_in_order(volts, self._linear), 2 * self._conversions, dim=1)
        return (amperes * self._currents).sub_(products, alpha=2).mul_(amperes)

    def deviations(self, slices: Tensor) -> Tensor:
        squares = multiply_in_order(self._feed.squares(slices), self.squares)
        total = self.of_currents(slices).add_(squares).clamp_(min=0)
        both: Tensor = total.view(-1, self._conversions, 2).sum(dim=2)
        return both.sqrt_()


class _WireResults:
    """Wires with a resistance: steps have currents, and so variances, of their own."""

    def __init__(self, layout: ArrayLayout, conversions: Conversions, feed: RowDrives, noise: WireNoise) -> None:
        self._layout, self._feed = layout, feed
        self._steps = _WireSteps(layout, conversions, feed, noise)
        self._outputs = torch.from_numpy(np.repeat(conversions.output, 2))
        self._weights = torch.from_numpy(np.repeat(conversions.weight.astype(np.float32) ** 2, 2))
        self._squares = self._combine(self._steps.squares)
        self.bytes_per_input = layout.steps * self._steps.bytes_per_row

    def deviations(self, codes: Tensor) -> Tensor:
        slices = self._feed.slices(codes)
        of_steps = self._steps.of_currents(slices.flatten(0, 1)).view(len(slices), len(codes), -1)
        shift = 2 * self._layout.step_shift
        powers = torch.tensor([float(1 << shift * step) for step in range(len(slices))])
        total = self._combine(torch.tensordot(powers, of_steps, dims=1))
        return total.add_(self._feed.whole_squares(codes) @ self._squares).clamp_(min=0).sqrt_()

    def _combine(self, of_columns: Tensor) -> Tensor:
        """Return variances of results [n, outputs] of those of columns [n, 2 * conversions]."""
        of_results = of_columns.new_zeros(len(of_columns), self._layout.outputs)
        return of_results.index_add_(1, self._outputs, of_columns * self._weights)


def read_variance(device: Device, counts: NDArray[np.float64], conditions: Conditions) -> NDArray[np.float64] | None:
    """Return the variance of each cell at one read, in squares of level steps, float64 of the shape of `counts`.

    (s times the range)^2, or (s times the cell's own conductance)^2, s as `read_deviation` gives; None without noise.

    Raises:
        ConfigError: as `mho.array.conductances.read_deviation`.
    """
    noise = read_deviation(device.array, conditions)
    if not noise:
        return None
    if device.array.read_noise_of is PartOf.RANGE:
        return np.broadcast_to((noise * device.span) ** 2, counts.shape)
    return (noise * (counts + device.off_steps)) ** 2
