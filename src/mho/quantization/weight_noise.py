"""A layer whose sums are linear in cells and codes: errors of cells are errors of its integers.

An operand that is an activation is written anew for each sample: each has errors of its own, in the same cells.

With cells c of a weight, of sign s(c) and weight w(c) in the sum, the integer that they stand for is the sum of
s(c) w(c) count(c), less the offset of the encoding and the zero point times what the column of ones gives. The variance
of a result at one read is the sum over rows of S(code) times the sum of w(c)^2 variance(c), with S(code) the squares of
all that the steps drive, each times 4^shift (`mho.array.read_noise`, `mho.array.read_noise`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.array.conductances import CellIdentity, Conditions, Device, age_cells, draw_identity, write_cells
from mho.array.converters import drive_levels
from mho.array.layout import ArrayLayout
from mho.array.read_noise import begin_reads, draw_noise, read_variance
from mho.array.row_drives import RowDrives
from mho.array.seeds import CrossbarSeed, Purpose
from mho.hardware.array import OffCurrent
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import ArrayPart, LayerArrays
from mho.quantization.layer_noise import LayerNoise
from mho.quantization.mvm_products import Geometry, multiply
from mho.quantization.stored_matrices import constants_to_product, matrices_to_operand, operand_to_matrices

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Written:
    """What the cells of a layer stand for, or the variances of it.

    Attributes:
        weights: float64 [samples, groups, outputs, inputs], of stored integers; one sample stands for all of weights.
        ones: float64 [samples, groups, inputs], of the column that adds inputs up.
    """

    weights: Floats
    ones: Floats


class WeightNoise(LayerNoise):
    """See the module."""

    def __init__(
        self, hardware: Accelerator, arrays: LayerArrays, first: int, conditions: Conditions, *, one_crossbar: bool
    ) -> None:
        """Prepare; parts have numbers from `first` on; their tiles have crossbars of their own, or all the same."""
        self._device, self._arrays, self._conditions = Device.of(hardware), arrays, conditions
        self._first, self._chip, self._reads = first, 0, 0
        self._one_crossbar = (hardware.crossbar.rows, hardware.crossbar.cols) if one_crossbar else None
        kept = hardware.array.off_current is OffCurrent.KEPT
        self._kept = self._device.off_steps if kept else 0.0
        self._squares = _squares_of_codes(arrays.input_bits, hardware.converters.dac_bits)
        self._variance: _Written | None = None
        self._errors_of_sums = np.zeros(0)

    def set_chip(self, chip: int) -> None:
        """Take another chip."""
        self._chip, self._reads = chip, 0

    def weights(self, integers: Tensor) -> Tensor:
        """Return the integers that cells stand for, of centred integers of the operand."""
        arrays = self._arrays
        whole = operand_to_matrices(integers, arrays)
        stored = whole + arrays.zeros[:, :, None]
        found, variances = self._empty(len(whole)), self._empty(len(whole))
        for number, part in enumerate(arrays.parts):
            counts = self._write(part.encode(stored), self._first + number)
            _combine_cells(part, counts + self._kept, found, is_variance=False)
            variance = read_variance(self._device, counts, self._conditions)
            if variance is not None:
                _combine_cells(part, variance, variances, is_variance=True)
        self._variance = variances if self._device.array.read_noise else None
        ones = found.ones if arrays.has_corrections else np.ones_like(found.ones)
        stood_for = found.weights - arrays.offsets[:, :, None] * ones[:, :, None]
        self._errors_of_sums = (stood_for - whole).sum(axis=3)
        return matrices_to_operand(stood_for, arrays, integers)

    def residual(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor | None:
        """Return read noise, and what errors of cells make of the offset of signed codes."""
        found = None
        if self._variance is not None:
            found = self._read(streamed, integers, geometry, offset, self._variance)
        if offset and self._errors_of_sums.any():
            constant = constants_to_product(offset * self._errors_of_sums, integers, geometry)
            found = constant if found is None else found.add_(constant)
        return found

    def _write(self, cells: NDArray[np.uint8], number: int) -> Floats:
        """Return counts of the cells [samples, groups, rows, cols] of a part, which is written for each sample."""
        samples, groups, rows, cols = cells.shape
        if self._one_crossbar is None:
            seed = CrossbarSeed(self._chip, number)
            identity = draw_identity(self._device, (groups * rows, cols), seed)
        else:  # tiles begin at the first row and column of the same cells
            seed = CrossbarSeed(self._chip, 0)
            places = np.ix_(np.tile(np.arange(rows), groups) % self._one_crossbar[0], np.arange(cols))
            identity = _repeat(draw_identity(self._device, self._one_crossbar, seed), places[0], places[1])
        counts = np.empty(cells.shape)
        for sample in range(samples):
            digits, write = cells[sample].reshape(groups * rows, cols), number + sample * len(self._arrays.parts)
            written = write_cells(self._device, digits, identity, seed, write)
            counts[sample] = age_cells(self._device, written, identity, self._conditions).reshape(groups, rows, cols)
        return counts

    def _empty(self, samples: int) -> _Written:
        arrays = self._arrays
        weights = np.zeros((samples, arrays.groups, arrays.outputs, arrays.inputs))
        return _Written(weights, np.zeros((samples, arrays.groups, arrays.inputs)))

    def _read(self, streamed: Tensor, like: Tensor, geometry: Geometry, offset: int, variance: _Written) -> Tensor:
        """Draw the noise of all sums; that of a column of ones is common to the outputs of its group."""
        arrays = self._arrays
        squares = self._squares.to(streamed.device)[(streamed + offset).to(torch.int64)]
        if offset and geometry[0] == "conv":
            _, strides, (top, left), dilations, groups = geometry  # type: ignore[misc]
            squares = functional.pad(squares, (left, left, top, top), value=float(self._squares[offset]))
            geometry = ("conv", strides, (0, 0), dilations, groups)
        generator = begin_reads(CrossbarSeed(self._chip, self._first).stream(Purpose.READS, self._reads))
        self._reads += 1
        noise = _draw(squares, matrices_to_operand(variance.weights, arrays, like), geometry, generator)
        if arrays.has_corrections:
            common = _draw(squares, matrices_to_operand(variance.ones[:, :, None], arrays, like), geometry, generator)
            if not arrays.is_stored:
                common = common.repeat_interleave(arrays.outputs, dim=1 if geometry[0] == "conv" else -1)
            offsets = np.broadcast_to(arrays.offsets, variance.weights.shape[:3])
            noise.sub_(common * constants_to_product(offsets, like, geometry))
        return noise


def _repeat(identity: CellIdentity, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> CellIdentity:
    """Return what cells are at rows [n, 1] and columns [1, m] of a crossbar, whose columns repeat, too."""
    parts = identity.factor, identity.stuck, identity.drift_exponent
    factor, stuck, exponent = (None if part is None else part[rows, cols % part.shape[1]] for part in parts)
    return CellIdentity(factor, stuck, exponent)


def _combine_cells(part: ArrayPart, values: Floats, result: _Written, *, is_variance: bool) -> None:
    """Add what the cells [samples, groups, rows, cols] of a part say of the weights and ones that they hold."""
    signs = values.shape[2] // (part.inputs.stop - part.inputs.start)
    outputs = part.outputs.stop - part.outputs.start
    sign, weight = part.row_sign.astype(np.float64), part.col_weight.astype(np.float64)
    if is_variance:
        sign, weight = sign**2, weight**2
    signed = values * sign[:, None]
    of_inputs = signed.reshape(*values.shape[:2], -1, signs, values.shape[3]).sum(axis=3)
    digits = values.shape[3] - part.correction_cols
    columns, ones = of_inputs[..., :digits], of_inputs[..., digits:]
    per_output = digits // outputs
    found = columns.reshape(*columns.shape[:3], outputs, per_output) @ weight[:per_output]
    result.weights[:, part.groups, part.outputs, part.inputs] += found.swapaxes(2, 3)
    if part.correction_cols:
        result.ones[:, part.groups, part.inputs] += ones @ weight[digits:]


def _draw(squares: Tensor, variance: Tensor, geometry: Geometry, generator: torch.Generator) -> Tensor:
    """Draw a number for each sum: variances of the stored operand times squares."""
    deviations = multiply(squares, variance, None, geometry).clamp_(min=0).sqrt_()
    return draw_noise(deviations, deviations, generator)


def _squares_of_codes(input_bits: int, dac_bits: int) -> Tensor:
    """Return the squares of what all steps drive, times 4^shift and added, for every code, float32 [2^input_bits]."""
    zero = np.zeros(1, dtype=np.int64)
    layout = ArrayLayout(zero + 1, zero, zero, zero + 1, 1, input_bits, dac_bits, -(-input_bits // dac_bits), dac_bits)
    feed = RowDrives(layout, drive_levels(dac_bits, 0))
    return feed.whole_squares(feed.take(np.arange(1 << input_bits)[:, None]))[:, 0]
