"""A layer on arrays by the statistics of its cells and converters: a fresh chip costs little more than plain training.

- Static errors: each weight is drawn from a normal distribution with the mean and the variance of what its cells stand
  for (`mho.quantization.weight_moments`), independently of all others. Columns of ones have errors that all outputs of
  a group share.
- Read noise is drawn for whole sums from its closed form.
- ADCs, DACs that are not linear, and wires: a gain, a bias and a spread of each output, and how much of what cells
  deviate by is kept, measured on some samples of a batch on the chip of that step
  (`mho.quantization.converter_errors`), and measured anew when ranges of ADCs are due.
- Cells of other positions and groups that share columns with a weight add a constant and noise to each output.

What it leaves out `mho.quantization.tile_noise` has: that cells are the same where layers share a crossbar, that the
copies of a weight in a window differ, and how errors of converters depend on each input.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.array.cell_statistics import cell_statistics, stuck_cells
from mho.array.conductances import Conditions
from mho.array.nonidealities import STUCK_CELLS, idealize
from mho.array.seeds import CrossbarSeed, Purpose
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import LayerArrays
from mho.quantization.converter_errors import ConverterErrors, ConverterMeter, count_samples
from mho.quantization.layer_noise import LayerNoise
from mho.quantization.mvm_products import Geometry, multiply, product_shape
from mho.quantization.normal_numbers import DrawnNumbers, Numbers, VirtualChips
from mho.quantization.range_renewal import RangeRenewal
from mho.quantization.weight_moments import find_moments
from mho.quantization.weight_table import WeightTable

_MANY_INPUTS = 64
"""Results of so many inputs have the mean variance of their weights' reads: it differs by some per cent."""


class StatisticalNoise(LayerNoise):
    """See the module."""

    def __init__(
        self,
        hardware: Accelerator,
        arrays: LayerArrays,
        first: int,
        conditions: Conditions,
        *,
        renewal: RangeRenewal,
        meter: ConverterMeter | None,
    ) -> None:
        """Prepare.

        Args:
            hardware, arrays, conditions: as for `mho.quantization.array_noise.ArrayNoise`.
            first: tells its random numbers from those of other layers.
            renewal: when errors of converters are measured again.
            meter: measures them; None: converters and wires are ideal.
        """
        self._arrays, self._first, self._renewal, self._meter = arrays, first, renewal, meter
        self._chip, self._left = 0, 0
        self._rows: VirtualChips | None = None
        self._streams: dict[tuple[Purpose, torch.device], Numbers] = {}
        statistics, dac_bits = cell_statistics(hardware, conditions), hardware.converters.dac_bits
        self._stuck, good, counts = stuck_cells(hardware), None, (0.0, 0.0)
        if self._stuck is not None:
            good, counts = cell_statistics(idealize(hardware, STUCK_CELLS), conditions), self._stuck.counts
        self._tables = []
        for part in arrays.parts:
            cells = part.cells_of_weight()
            moments = find_moments(cells, statistics, arrays.input_bits, dac_bits, good=good, stuck_counts=counts)
            self._tables.append(WeightTable(part, moments))
        self._reads = any(table.is_read for table in self._tables)
        squares = self._tables[0].moments.squares
        self._drives_whole_codes = bool((squares == np.square(np.arange(len(squares)))).all())
        self._has_idle = any(table.moments.idle_inputs for table in self._tables)
        reads = np.concatenate([table.moments.weight.read for table in self._tables])
        self._reads_alike = bool((reads == reads[0]).all())
        self._stored_shape: torch.Size = torch.Size()
        self._found: tuple[Tensor, tuple[Tensor, Tensor, Tensor | None]] | None = None
        self._variance: Tensor | None = None
        self._written: tuple[Tensor, Tensor] | None = None
        self._errors: ConverterErrors | None = None
        self._geometry: Geometry | None = None
        self._dims = 0

    @property
    def errors(self) -> ConverterErrors | None:
        """The errors of converters that were measured last; None where there are none yet, or all are ideal."""
        return self._errors

    @property
    def has_meter(self) -> bool:
        """Whether errors of converters are measured at the next products."""
        return self._meter is not None

    def keep_errors(self, errors: ConverterErrors | None) -> None:
        """Take errors of converters that were measured elsewhere, and measure none."""
        self._errors, self._meter = errors, None

    def set_chip(self, chip: int) -> None:
        """Take another chip."""
        self._chip, self._streams, self._rows = chip, {}, None
        self._left -= 1

    def set_chips(self, chips: VirtualChips) -> None:
        """Take several chips: each has its part of the samples of the next product, one part after the other."""
        self._rows, self._streams = chips, {}

    def clear_ranges(self) -> None:
        """Measure the errors of converters at the next product."""
        self._left = 0

    def observe(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> None:
        """Measure the errors of converters where that is due."""
        if self._meter is None or self._left >= 1:
            return
        count = count_samples(self._arrays)
        streamed = streamed[:count]
        if self._arrays.is_stored:
            integers = integers[:count]
        self._stored_shape, whole = integers.shape, self._to_matrices(integers)
        expected = self._to_operand(self._correct(self._find_means(whole)[0], whole), integers)
        of_reads = None
        if self._reads:
            squares, unpadded = self._pad(self._squares(streamed + offset), geometry, offset)
            of_reads = self._read_variance(squares, integers, unpadded)
            if self._arrays.has_corrections:
                offsets = self._lay_out(self._by_group(self._arrays.offsets, squares), geometry)
                common = self._for_outputs(self._common_variance(squares, integers, unpadded), geometry)
                of_reads = of_reads + common * offsets.square()
        self._errors = self._meter.measure(self._chip, streamed, integers, expected, geometry, offset, of_reads)
        self._left = self._renewal.steps

    def passed(self) -> Tensor | None:
        """Return which share of the results of each output is not clipped, of the last measurement."""
        if self._errors is None or self._errors.passed is None or self._geometry is None:
            return None
        return self._lay_out(self._by_group(self._errors.passed, self._errors.passed), self._geometry)

    def weights(self, integers: Tensor) -> Tensor:
        """Return integers that the cells of a chip may stand for, of centred integers of the operand.

        Those of several chips are [chips, *shape]; an operand that has samples is on the chip of each.
        """
        arrays, numbers = self._arrays, self._numbers(Purpose.WRITES, integers.device)
        self._stored_shape, whole = integers.shape, self._to_matrices(integers)
        mean, deviation, stored = self._find_means(whole)
        rows = len(whole) if self._rows is None or arrays.is_stored else self._rows.chips
        found = torch.addcmul(mean, deviation, numbers.draw((rows, *whole.shape[1:])))
        if self._stuck is not None:
            for table in self._tables:
                block = slice(None), table.part.groups, table.part.outputs, table.part.inputs
                found[block] += table.draw_stuck(stored[block].contiguous(), rows, self._stuck.rates, numbers)
        if arrays.has_corrections:
            offsets = self._by_group(arrays.offsets, whole)[..., None]
            found -= offsets * self._draw_ones(whole, rows, numbers)[:, :, None]
        self._written = found, whole
        if self._errors is not None:
            gain, kept = self._by_group(self._errors.gain, whole)[..., None], self._errors.kept
            found = kept * found + (1 + gain - kept) * self._correct(mean, whole)
        return self._to_operand(found, integers)

    def _find_means(self, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and deviation of what weights stand for, without columns of ones, and stored integers."""
        arrays = self._arrays
        stored = whole + self._by_group(arrays.zeros, whole)[..., None]
        mean, deviation, self._variance = self._look_up(stored)
        if arrays.offsets.any() and not arrays.has_corrections:
            mean = mean - self._by_group(arrays.offsets, whole)[..., None]
        return mean, deviation, stored

    def _correct(self, mean: Tensor, whole: Tensor) -> Tensor:
        """Return means of weights less those of columns of ones."""
        if not self._arrays.has_corrections:
            return mean
        return mean - self._by_group(self._arrays.offsets, whole)[..., None] * self._ones(whole, "mean")[:, :, None]

    def residual(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor | None:
        """Return what converters, read noise and cells of other positions add, and errors of the offset of codes."""
        self._geometry, self._dims = geometry, streamed.dim()
        numbers = self._numbers(Purpose.READS, streamed.device)
        codes = streamed + offset if offset else streamed
        squares = self._squares(codes) if self._reads else None
        constant, variance = self._find_constants(codes, squares, offset)
        kept = 1.0 if self._errors is None else self._errors.kept
        if self._errors is not None:
            constant = kept * constant + self._by_group(self._errors.bias, constant)
            variance = kept**2 * variance + self._by_group(self._errors.deviation.square(), variance)
        varies = self._reads or self._has_idle or self._errors is not None
        total = self._lay_out(constant, geometry)
        if varies:
            of_results = self._lay_out(variance, geometry)
            if squares is not None:
                squares, unpadded = self._pad(squares, geometry, offset)
                of_results = self._read_variance(squares, integers, unpadded).mul_(kept**2).add(of_results)
                if self._arrays.has_corrections:
                    total = total - kept * self._draw_common(squares, integers, unpadded, numbers)
            noise = _draw_results(numbers, product_shape(streamed, integers, geometry))
            total = torch.mul(noise, of_results.clamp(min=0).sqrt_()).add_(total)
        return total if varies or offset else None

    def _look_up(self, stored: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return mean, deviation and read variance of stored integers [samples, groups, outputs, inputs].

        They are kept for the next product of the same integers, as batches are in an evaluation.
        """
        if self._found is None or not (stored.shape == self._found[0].shape and torch.equal(stored, self._found[0])):
            self._found = stored, self._look_up_anew(stored)
        return self._found[1]

    def _look_up_anew(self, stored: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        if len(self._tables) == 1:
            return self._tables[0].look_up(stored)
        mean, deviation, read = (torch.zeros_like(stored) for _ in range(3))
        for table in self._tables:
            block = slice(None), table.part.groups, table.part.outputs, table.part.inputs
            mean[block], deviation[block], found = table.look_up(stored[block])
            if found is not None:
                read[block] = found
        return mean, deviation, read if self._reads else None

    def _draw_ones(self, whole: Tensor, rows: int, numbers: Numbers) -> Tensor:
        """Return what columns of ones give for each input, [rows, groups, inputs]."""
        mean, variance = self._ones(whole, "mean"), self._ones(whole, "variance")
        return torch.addcmul(mean, numbers.draw((rows, *mean.shape[1:])), variance.sqrt())

    def _ones(self, whole: Tensor, name: str) -> Tensor:
        """Return a moment of columns of ones for each input, [samples, groups, inputs]."""
        found = whole.new_zeros(len(whole), self._arrays.groups, self._arrays.inputs)
        for table in self._tables:
            if table.part.correction_cols:
                found[:, table.part.groups, table.part.inputs] += float(getattr(table.moments.one, name)[0])
        return found

    def _find_constants(self, codes: Tensor, squares: Tensor | None, offset: int) -> tuple[Tensor, Tensor]:
        """Return what every result of an output has, and the variance that is new in each, [rows, groups, outputs].

        Errors of idle cells count with codes: what their mean makes of them is the same in all results.
        """
        assert self._written is not None, "weights come first"
        found, whole = self._written
        numbers = self._numbers(Purpose.WRITES, codes.device)
        constant = found.new_zeros(found.shape[:3])
        if offset:
            constant = (found.sum(dim=3) - whole.sum(dim=3)) * offset
        variance = torch.zeros_like(constant[:1])
        if not self._has_idle:
            return constant, variance
        spread, level = torch.var_mean(codes, correction=0)
        square = codes.new_zeros(()) if squares is None else squares.mean()
        offsets = self._by_group(self._arrays.offsets, constant)
        for table in self._tables:
            idle, ones, count = table.moments.idle, table.moments.idle_one, table.moments.idle_inputs
            block = slice(None), table.part.groups, table.part.outputs
            own = offsets[block]
            mean, static, read = (
                count * (float(one[0]) + sign * own**power * float(of_ones[0]))
                for one, of_ones, sign, power in (
                    (idle.mean, ones.mean, -1, 1),
                    (idle.variance, ones.variance, 1, 2),
                    (idle.read, ones.read, 1, 2),
                )
            )
            drawn = numbers.draw(constant[block].shape) * static.sqrt()
            constant[block] += level * (mean + drawn)
            variance[block] += spread * static + square * read
        return constant, variance

    def _read_variance(self, squares: Tensor, integers: Tensor, geometry: Geometry) -> Tensor:
        """Return the variance of read noise of each result; outputs or groups may share one."""
        assert self._variance is not None, "weights come first"
        if self._reads_alike:
            read = float(self._tables[0].moments.weight.read[0])
            return self._sum_up(squares, integers, geometry).mul_(read)
        if self._arrays.inputs < _MANY_INPUTS:
            return multiply(squares, self._to_operand(self._variance, integers), None, geometry)
        means = self._lay_out(self._variance.mean(dim=3), geometry)
        return self._sum_up(squares, integers, geometry) * means

    def _draw_common(self, squares: Tensor, integers: Tensor, geometry: Geometry, numbers: Numbers) -> Tensor:
        """Return the noise of columns of ones in each result: common to the outputs of a group."""
        variance = self._common_variance(squares, integers, geometry)
        common = self._for_outputs(numbers.draw(variance.shape) * variance.sqrt_(), geometry)
        return common * self._lay_out(self._by_group(self._arrays.offsets, squares), geometry)

    def _common_variance(self, squares: Tensor, integers: Tensor, geometry: Geometry) -> Tensor:
        """Return the variance of reads of columns of ones, of each result of a group."""
        assert self._variance is not None, "weights come first"
        of_ones = self._ones(self._variance, "read")
        if self._arrays.is_stored:
            of_ones = of_ones[..., None].reshape(*integers.shape[:-1], 1)
        else:
            of_ones = of_ones.reshape(-1, *integers.shape[1:])
        return multiply(squares, of_ones, None, geometry).clamp_(min=0)

    def _sum_up(self, squares: Tensor, integers: Tensor, geometry: Geometry) -> Tensor:
        """Return the sums of the inputs of each result; those of outputs and of columns are alike."""
        if geometry[0] != "conv":
            return squares.sum(dim=-1, keepdim=True)
        ones = squares.new_ones(self._arrays.groups, *integers.shape[1:])
        return self._for_outputs(multiply(squares, ones, None, geometry), geometry)

    def _for_outputs(self, of_groups: Tensor, geometry: Geometry) -> Tensor:
        """Repeat what groups have for their outputs, where that does not follow from the shape."""
        if self._arrays.groups == 1 or self._arrays.is_stored:
            return of_groups
        return of_groups.repeat_interleave(self._arrays.outputs, dim=1 if geometry[0] == "conv" else -1)

    def _squares(self, codes: Tensor) -> Tensor:
        """Return what codes drive, squared, times 4^shift and added over the steps."""
        if self._drives_whole_codes:
            return codes.square()
        table = torch.tensor(self._tables[0].moments.squares, dtype=torch.float32, device=codes.device)
        return table[codes.to(torch.int32)]

    def _pad(self, squares: Tensor, geometry: Geometry, offset: int) -> tuple[Tensor, Geometry]:
        """Pad squares with that of the code of zero, and return what is left to do."""
        if not offset or geometry[0] != "conv":
            return squares, geometry
        _, strides, (top, left), dilations, groups = geometry  # type: ignore[misc]
        value = float(self._tables[0].moments.squares[offset])
        return functional.pad(squares, (left, left, top, top), value=value), (
            "conv",
            strides,
            (0, 0),
            dilations,
            groups,
        )

    def _numbers(self, purpose: Purpose, device: torch.device) -> Numbers:
        """Return what this layer draws on this chip for a purpose; a further product of the step draws anew."""
        if (purpose, device) not in self._streams:
            chip = self._chip if self._rows is None else self._rows.seed
            seed = int(CrossbarSeed(chip, self._first).stream(purpose).integers(1 << 63))
            self._streams[purpose, device] = (
                DrawnNumbers(device, seed)
                if self._rows is None
                else self._rows.numbers(seed, of_samples=purpose is Purpose.READS or self._arrays.is_stored)
            )
        return self._streams[purpose, device]

    def _to_matrices(self, operand: Tensor) -> Tensor:
        """Return an operand as [samples, groups, outputs, inputs], as `mho.quantization.stored_matrices` does."""
        arrays, operand = self._arrays, operand.detach()
        if arrays.is_stored:
            return operand.reshape(-1, arrays.groups, arrays.inputs, arrays.outputs).transpose(2, 3)
        return operand.reshape(1, arrays.groups, arrays.outputs, arrays.inputs)

    def _to_operand(self, matrices: Tensor, like: Tensor) -> Tensor:
        """Return matrices as an operand, or as one of each chip."""
        if self._arrays.is_stored:
            return matrices.transpose(2, 3).reshape(like.shape)
        return matrices.reshape(like.shape if len(matrices) == 1 else (len(matrices), *like.shape))

    def _by_group(self, values: NDArray[np.int64] | Tensor, like: Tensor) -> Tensor:
        """Return values of outputs as [1, groups, outputs], on the device of `like`."""
        found = values if isinstance(values, Tensor) else torch.tensor(values, device=like.device)
        return found.to(torch.float32).reshape(1, self._arrays.groups, self._arrays.outputs)

    def _lay_out(self, values: Tensor, geometry: Geometry) -> Tensor:
        """Return values of outputs [rows, groups, outputs] so that they fit a product."""
        if geometry[0] == "matmul":
            return values.reshape(len(values), *self._stored_shape[1:-2], 1, self._stored_shape[-1])
        flat = values.flatten(1)
        if self._rows is None or len(flat) == 1:
            return flat[0][:, None, None] if geometry[0] == "conv" else flat[0]
        of_samples = flat.repeat_interleave(self._rows.samples_of_chip, dim=0)
        if geometry[0] == "conv":
            return of_samples[:, :, None, None]
        return of_samples.reshape(len(of_samples), *(1,) * (self._dims - 2), -1)


def _draw_results(numbers: Numbers, shape: torch.Size) -> Tensor:
    """Return numbers for results, channels last where these are images, as convolutions leave them."""
    if len(shape) != 4:
        return numbers.draw(shape)
    count, channels, height, width = shape
    return numbers.draw((count, height, width, channels)).permute(0, 3, 1, 2)
