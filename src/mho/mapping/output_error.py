"""How much of a layer's output is error: what cells and converters add under a mapping, before any data is seen.

    error = RMS(output of the array - exact output) / standard deviation of the exact output

over chips, reads, weights and inputs of the reference distributions (`mho.mapping.error_moments`). With I inputs of an
output, each of which also drives u rows whose cells the output does not need (other positions of the window, other
groups in the tile), the mean square of the difference is

    I (V + u V0) + I^2 (B + u B0)^2 + A

V, V0: variance that one input adds by cells that hold its weight, and by cells that hold nothing, times the mean
squares of what drives them: errors of writes, spread of drift, read noise, and what the mean error of a level varies
from weight to weight. B, B0: the mean that they add, which does not average out. A: conversions, as many as reads and
columns, each with a twelfth of the square of its step, and offsets and gains of ADCs. The exact output has the variance
I E[w^2] E[x^2].

Included: everything of `mho.array.cell_statistics` at `mapping.elapsed_s`, non-linear DACs, ADCs. A calibrated ADC is
taken to reach four deviations of its sums to either side of their mean. Left out: resistance of wires, what placement
and compensation make up for, correlation between inputs, clipped sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mho.array.conductances import Conditions
from mho.array.nonidealities import list_deviations
from mho.hardware.converters import AdcRange
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.adc_resolution import converts_differences, layer_hardware
from mho.mapping.candidates import Candidates
from mho.mapping.encoding import StoredRange, count_input_rows
from mho.mapping.error_moments import Cells, DriveMoments, WeightMoments, drive_moments, weight_moments
from mho.mapping.layer_mapping import LayerMapping, Part, Range
from mho.mapping.slicing import count_input_slices
from mho.mapping.tiling import count_row_reads
from mho.mapping.windows import AnyWindow, PositionGrid, Stationary, Sweep, Window, WindowTable

Array = NDArray[np.int64]
Floats = NDArray[np.float64]

DEFAULT_MAX_ERROR = 0.1
"""The bound of `mapping.max_error = "auto"` on hardware that is not ideal."""

_BOUNDS = MappingProxyType({"auto": DEFAULT_MAX_ERROR, "least": 0.0})

TOLERANCES = (1.1, 1.2, 1.3, 1.45, 1.6, 1.8, 2.0, 2.5, 3.0)
"""Where no mapping keeps a bound: multiples of the least error that are compared, each with the time it takes."""

_REACH = 3.5
"""Deviations of its sums from their mean that a calibrated ADC reaches to."""

_ROUNDED = 8
"""Whole steps by which errors of less than a step may be off after rounding."""


def error_bound(accelerator: Accelerator) -> float | None:
    """Return the bound on the error of each layer, 0: the least; None: none, or nothing that is modelled adds one."""
    wanted = accelerator.mapping.max_error
    if wanted == "none" or is_exact(accelerator):
        return None
    return _BOUNDS[wanted] if isinstance(wanted, str) else float(wanted)


def is_exact(accelerator: Accelerator) -> bool:
    """Tell whether nothing that is modelled here adds an error."""
    converters = accelerator.converters
    rounds = converters.has_calibrated_adc or converters.has_adc_errors
    return not rounds and converters.has_linear_dac and _take_cells(accelerator).are_ideal


def limit_errors(least: Floats, bound: float) -> Floats:
    """Return the tightest limit of errors where the least is `least`: the bound, or what is nearly the least."""
    return np.maximum(bound, TOLERANCES[0] * least)


def weigh_errors(costs: Floats, errors: Floats, bound: float) -> Floats:
    """Return what mappings count where none keeps the bound: the least is taken.

    A network tolerates errors of about the bound, and independent errors add up as squares: time pays as long as it
    grows by less than bound^2 + error^2 falls. Averaging many reads, time * error^2 stays the same.
    """
    return np.asarray(costs * (bound**2 + errors**2))


@dataclass(frozen=True, eq=False)
class LayerErrors:
    """The errors of one layer in one encoding, however it lies in tiles.

    Attributes:
        inputs: of one output.
        values: integers that weights may take.
        encoding: how they are held.
        accelerator: cells and converters, as the layer sees them.
        slices: numbers of input slices [N].
    """

    inputs: int
    values: StoredRange
    encoding: Encoding
    accelerator: Accelerator
    slices: tuple[int, ...]

    @cached_property
    def _cells(self) -> Cells:
        return _take_cells(self.accelerator)

    def of(self, at_once: int, rows_per_input: Floats, reads: Floats) -> Floats:
        """Return the relative errors, float64 [N, M].

        Args:
            at_once: input slices side by side.
            rows_per_input: float64 [M], inputs that are driven, over all reads that add to an output, for each input
                that the output needs: at least 1.
            reads: float64 [M], reads in each step that add to an output.
        """
        converters = self.accelerator.converters
        drives = drive_moments(self.slices, converters.dac_bits, float(converters.dac_inl_lsb), at_once)
        weights = weight_moments(
            self.values,
            self.encoding,
            self._cells,
            at_once,
            converters.dac_bits,
            is_difference=converts_differences(self.accelerator, self.encoding),
        )
        squares = drives.products[:, :-1, :-1].diagonal(axis1=1, axis2=2)
        mean = drives.mean @ weights.mean
        spread = (drives.products * weights.products).sum(axis=(1, 2)) - mean**2
        spread += squares @ weights.variance + drives.step_squares @ weights.read_variance
        zero_mean = weights.zero_mean * drives.mean[:, :-1].sum(axis=1)
        zero_spread = weights.zero_mean**2 * drives.products[:, :-1, :-1].sum(axis=(1, 2)) - zero_mean**2
        zero_spread += weights.zero_variance * squares.sum(axis=1)
        zero_spread += weights.zero_read_variance * drives.step_squares.sum(axis=1)
        extra = rows_per_input - 1
        total = self.inputs * (spread[:, None] + extra * zero_spread[:, None])
        total += (self.inputs * (mean[:, None] + extra * zero_mean[:, None])) ** 2
        total = self._convert(total, drives, weights, rows_per_input, reads)
        exact = self.inputs * weights.weight_square * drives.input_square[:, None]
        return np.asarray(np.sqrt(np.maximum(total, 0) / exact))

    def _convert(
        self, total: Floats, drives: DriveMoments, weights: WeightMoments, rows_per_input: Floats, reads: Floats
    ) -> Floats:
        """Return the mean square of errors after conversion, of what it is before, float64 [N, M]."""
        converters = self.accelerator.converters
        if isinstance(converters.adc_bits, str):
            return total
        driven = self.inputs * rows_per_input * drives.step_squares.shape[1] / reads
        used = (1 / rows_per_input)[:, None]
        held = used * weights.column_mean + (1 - used) * weights.zero_column_mean
        square = used * weights.column_square + (1 - used) * weights.zero_column_square
        mean = driven[:, None] * held * drives.largest_mean[:, None, None]
        variance = square * drives.largest_square[:, None, None] - (held * drives.largest_mean[:, None, None]) ** 2
        variance = driven[:, None] * np.maximum(variance, 0)
        largest = driven[:, None] * ((1 << converters.dac_bits) - 1) * ((1 << self.accelerator.crossbar.cell_bits) - 1)
        reach = np.minimum(np.abs(mean) + _REACH * np.sqrt(variance), largest)
        step = self._steps(reach, is_signed=weights.is_signed)
        squares = drives.step_weight_squares[:, None, None]
        sums = drives.step_weights[:, None, None] ** 2
        added = squares * np.where(step > 1, step**2 / 12, 0)
        added += sums * (float(converters.adc_offset_lsb) * step) ** 2
        added += float(converters.adc_gain_error) ** 2 * (sums * mean**2 + squares * variance)
        counts = reads * (squares[..., 0] * (weights.column_weights**2).sum())
        kept = np.where((step > 1).any(axis=2), total, counts * _round_whole(total / counts))
        return np.asarray(kept + reads * (added * weights.column_weights**2).sum(axis=2))

    def _steps(self, reach: Floats, *, is_signed: bool) -> Floats:
        """Return the steps of ADCs whose sums reach so far, float64 [N, M, columns]."""
        converters = self.accelerator.converters
        assert not isinstance(converters.adc_bits, str), "there are no steps in ideal ADCs"
        if not converters.has_calibrated_adc:
            return np.ones_like(reach)
        if converters.adc_range is AdcRange.CALIBRATED_LAYER:
            reach = np.broadcast_to(reach.max(axis=2, keepdims=True), reach.shape)
        codes = (1 << (converters.adc_bits - is_signed)) - 1
        return np.maximum(1.0, reach / max(codes, 1))


class CandidateErrors:
    """The errors of all candidates of one layer in one encoding.

    Attributes:
        candidates: whose errors they are.
    """

    def __init__(self, errors: LayerErrors, candidates: Candidates, groups: int) -> None:
        self._errors, self.candidates, self._groups = errors, candidates, groups
        table = candidates.table
        self._reached = _count_reads(table)[candidates.shape]
        self._rows_per_input = _count_rows(table)[candidates.shape] / table.grid.taps
        self._rows = candidates.rows(0, errors.inputs)

    @cached_property
    def alone(self) -> Floats:
        """Errors with one group a tile, float64 [N, M]."""
        return self.of(np.ones_like(self._rows))

    @cached_property
    def _shared(self) -> Floats:
        """Errors with 1, 2, ... groups a tile, as many as fit any, float64 [groups, N, M]."""
        fit = int(self.candidates.accelerator.crossbar.rows // self._rows.min())
        most = max(1, min(fit, self._groups, self.candidates.accelerator.mapping.allowed.groups_per_tile))
        return np.stack([self.alone, *(self.of(np.full_like(self._rows, count)) for count in range(2, most + 1))])

    def of(self, per_tile: Array) -> Floats:
        """Return the relative errors where so many groups [M] share a tile, float64 [N, M]."""
        candidates = self.candidates
        found = np.empty((len(candidates.input_slices), len(per_tile)))
        reads = count_row_reads(per_tile * self._rows, candidates.accelerator.crossbar, candidates.rows_at_once)
        for at_once in np.unique(candidates.slices_at_once):
            some = np.flatnonzero(candidates.slices_at_once == at_once)
            rows = (self._rows_per_input * per_tile)[some]
            found[:, some] = self._errors.of(int(at_once), rows, (self._reached * reads)[some])
        return found

    def most_groups(self, limits: Floats) -> Array:
        """Return up to how many groups of those that fit may share a tile for errors within limits [N], int64 [N, M].

        0: not one.
        """
        keeps = self._shared <= limits[:, None] * (1 + 1e-12)
        return np.asarray(np.minimum.accumulate(keeps).sum(axis=0), dtype=np.int64)


def _round_whole(variance: Floats) -> Floats:
    """Return the mean squares of Gaussian errors of whole numbers that are rounded to whole numbers, of the variances.

    The sum over n from 0 of (2 n + 1) times the share of errors above n + 1/2; of large ones, variance + 1/12.
    """
    deviations, squares = _tabulate_rounding()
    small = np.interp(np.sqrt(np.maximum(variance, 0)), deviations, squares)
    return np.where(variance < 1, small, variance + 1 / 12)


@lru_cache(maxsize=1)
def _tabulate_rounding() -> tuple[Floats, Floats]:
    """Return deviations up to 1 and the mean squares of what is rounded."""
    deviations = np.linspace(0, 1, 513)
    steps = range(1, _ROUNDED + 1)
    squares = [
        sum((2 * step - 1) * math.erfc((step - 0.5) / math.sqrt(2) / deviation) for step in steps)
        for deviation in deviations[1:].tolist()
    ]
    return deviations, np.array([0.0, *squares])


def mapping_error(mapping: LayerMapping, accelerator: Accelerator) -> float:
    """Return the relative error that a mapping causes at the layer's output; 0 where nothing is on crossbars.

    Pieces count by their shares of the matrix.

    Args:
        mapping: of any kind.
        accelerator: what it was made for.
    """
    hardware = layer_hardware(accelerator, mapping.bits)
    if mapping.is_digital or is_exact(hardware):
        return 0.0
    layer, dac_bits = mapping.layer, hardware.converters.dac_bits
    slices = (count_input_slices(mapping.bits.act_bits, dac_bits),)
    errors = LayerErrors(layer.inputs, mapping.values, mapping.encoding, hardware, slices)
    grid = PositionGrid.of(layer)
    pieces: dict[tuple[Range, Range, Range], list[Part]] = {}
    for part in mapping.parts:
        pieces.setdefault((part.groups, part.outputs, part.inputs), []).append(part)
    total = 0.0
    for piece, parts in pieces.items():
        share = math.prod(map(len, piece)) / (layer.repeat * layer.outputs * layer.inputs)
        total += share * _piece_error(parts, errors, grid) ** 2
    return math.sqrt(total)


def _piece_error(parts: list[Part], errors: LayerErrors, grid: PositionGrid) -> float:
    """Return the error of a layer that is mapped as one of its pieces is: one part, or those of a pattern."""
    first = parts[0]
    windows = tuple(part.window for part in parts)
    table = WindowTable(grid, (windows,))
    pixels = float(_count_rows(table)[0])
    signs = count_input_rows(errors.encoding)
    channels = -(-errors.inputs // grid.taps)
    rows = channels * int(table.num_pixels[0]) * first.slices_at_once * signs
    reads = count_row_reads(first.groups_per_tile * rows, errors.accelerator.crossbar, first.rows_at_once)
    found = errors.of(
        first.slices_at_once,
        np.array([first.groups_per_tile * pixels / grid.taps]),
        np.array([float(_count_reads(table)[0]) * reads]),
    )
    return float(found[0, 0])


@lru_cache(maxsize=256)
def _count_reads(table: WindowTable) -> Floats:
    """Return how many windows of each pattern add to an output on average, float64 [patterns]."""
    return np.array([sum(_reach(table.grid, window) for window in pattern) for pattern in table.patterns])


def _count_rows(table: WindowTable) -> Floats:
    """Return the pixels of one channel that windows read which add to an output, float64 [patterns]."""
    return _count_reads(table) * table.num_pixels


def _reach(grid: PositionGrid, window: AnyWindow) -> float:
    """Return in how many windows of a kind a position lies on average."""
    height, width = grid.sweeps(window)
    if isinstance(window, Window):
        if window.height.kind is window.width.kind is Stationary.POSITIONS:
            return 1.0
        served = sum(_serve(height, offset) for offset in height.offsets) * sum(
            _serve(width, offset) for offset in width.offsets
        )
    else:
        served = sum(_serve(height, row) * _serve(width, col) for row, col in window.positions)
    return served / (height.positions * width.positions)


def _serve(sweep: Sweep, offset: int) -> int:
    """Return how many windows of a sweep have a position of the layer at an offset."""
    first, last = max(0, -(offset // sweep.step)), min(sweep.count - 1, (sweep.positions - 1 - offset) // sweep.step)
    return max(0, last - first + 1)


def _take_cells(accelerator: Accelerator) -> Cells:
    """Return what cells hold when `mapping.elapsed_s` have passed."""
    elapsed, cell_bits = accelerator.mapping.elapsed_s, accelerator.crossbar.cell_bits
    conditions = Conditions(None if elapsed is None else float(elapsed))
    if not any(key.startswith("array.") for key in list_deviations(accelerator, conditions)):
        ideal = (0.0,) * (1 << cell_bits)
        return Cells(cell_bits, ideal, ideal, ideal)
    from mho.array.cell_statistics import cell_statistics  # imports torch

    found = cell_statistics(accelerator, conditions)
    deviation = found.mean - np.arange(found.levels)
    parts = (deviation, found.variance, found.read_variance)
    return Cells(cell_bits, *(tuple(part.tolist()) for part in parts))
