"""All that a layer's mapping is chosen from, and the fastest: of all encodings, pieces and candidates that are allowed.

`MappingChoice` does the search once for all activation widths of one layer and range of stored integers; mappings and
whole tables of times are read from it, so that they cannot differ. It also tells what the layer takes in a crossbar
that it shares, for `mho.mapping.stacks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mho.errors import MappingError
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.candidates import Array, Candidates, Times, list_candidates
from mho.mapping.digital_layers import may_be_digital, must_be_digital
from mho.mapping.encoding import (
    count_correction_columns,
    count_digital_sums,
    count_input_rows,
    count_output_columns,
    count_weight_slices,
    stored_range,
    takes_zero_points,
    weight_offset,
)
from mho.mapping.event_counts import EventCounts, UnitTimes
from mho.mapping.layer_mapping import LayerMapping, Part, Range, count_tiling
from mho.mapping.layer_search import LayerSearch, Piece
from mho.mapping.output_error import (
    TOLERANCES,
    CandidateErrors,
    Floats,
    LayerErrors,
    error_bound,
    limit_errors,
    weigh_errors,
)
from mho.mapping.paper_mapping import count_layer
from mho.mapping.single_tiles import SingleTiles, find_single_tiles
from mho.mapping.slicing import ceil_divide, count_input_slices
from mho.mapping.stacks import NEVER, UNITS, Axis, StackSpace, StackTimes
from mho.mapping.tiling import count_col_tiles, count_row_tiles
from mho.mapping.window_patterns import tabulate_windows
from mho.mapping.windows import AnyWindow, PositionGrid, WindowTable
from mho.network.layers import MvmLayer
from mho.policy import MAX_BITS, MIN_BITS, REFERENCE_BITS, BitWidths

_EXACT = 1 << 53
"""Whole numbers up to here are exact in float64."""

WIDTHS = (*range(MIN_BITS, MAX_BITS + 1), REFERENCE_BITS)
"""All widths that a policy may give, ascending."""


class MappingChoice:
    """The best mappings of one layer at one width of its stored integers, for all activation widths.

    Attributes:
        bound: on the relative error at the layer's output; 0: about the least is taken; None: none.
    """

    def __init__(self, layer: MvmLayer, weight_bits: int, accelerator: Accelerator, batch: int) -> None:
        self._layer, self._weight_bits, self._accelerator = layer, weight_bits, accelerator
        self._values = stored_range(layer, weight_bits)
        prices = UnitTimes.by_encoding(accelerator, batch)
        self._unit_ps = math.gcd(*(own.unit_ps for own in prices.values()))
        self._prices = {encoding: own.in_units(self._unit_ps) for encoding, own in prices.items()}
        # Encodings differ by the time of conversions alone: writes and operations are those of any of them.
        self._slowest = max(self._prices.values(), key=lambda own: own.conversion_ps)
        self._check_size()
        dac_bits = accelerator.converters.dac_bits
        self._slices = np.unique([count_input_slices(width, dac_bits) for width in WIDTHS]).astype(np.int64)
        self.bound = error_bound(accelerator)
        self._errors: dict[Encoding, CandidateErrors] = {}
        self._limits = None if self.bound is None else self._choose_limits(self.bound)
        self._searches = self._search_within(self._limits)
        self._times = self._times_of(self._searches)

    def times_ps(self, act_bits: Sequence[int]) -> Array:
        """Return the time of a batch for each of the activation widths, int64, ps."""
        numbers = [self._number(bits) for bits in act_bits]
        times = np.where(self._is_digital, self._digital_time, self._times.min(axis=0))[numbers]
        return np.asarray(times.astype(np.int64) * self._unit_ps)

    def mapping(self, bits: BitWidths) -> LayerMapping:
        """Return the best mapping for the given widths."""
        number = self._number(bits.act_bits)
        if self._is_digital[number]:
            return self.digital_mapping(bits)
        encoding = list(self._searches)[int(self._times[:, number].argmin())]
        return self.build(bits, encoding, self._searches[encoding].pieces(number))

    def digital_mapping(self, bits: BitWidths) -> LayerMapping:
        """Return the mapping that leaves the layer to the digital unit, allowed or not."""
        encoding = self._accelerator.mapping.encoding
        return LayerMapping(self._layer, bits, encoding, self._values, (), self._digital_operations)

    def stack_times(self, act_bits: Sequence[int]) -> StackTimes:
        """Return what the layer takes in a stack for each of the activation widths, [widths]."""
        if self._must_be_digital:
            return StackTimes(np.full((len(act_bits), len(Axis), UNITS + 1), NEVER), np.ones(len(act_bits), np.bool_))
        crossbar, write_time = self._accelerator.crossbar, self._slowest.write_ps
        space, times = StackSpace(crossbar), self._times.min(axis=0)
        times = np.where(self._is_digital, self._digital_time, times)
        reads = np.full((len(Axis), len(self._slices), UNITS + 1), np.inf)
        for encoding, blocks in self._blocks.items():
            for axis, lines in ((Axis.ROWS, blocks.rows), (Axis.COLS, blocks.cols)):
                count = space.count(axis)
                own = reads[axis, :, : count + 1]
                least = blocks.least_times(lines, space.unit(axis), count) + self._sums_time(encoding)
                np.minimum(own, least, out=own)
        extra = (reads - times[:, None]).swapaxes(0, 1)
        pays = extra < write_time
        extra_ps = np.where(pays, np.where(pays, extra, 0).astype(np.int64) * self._unit_ps, NEVER)
        numbers = [self._number(bits) for bits in act_bits]
        return StackTimes(extra_ps[numbers], self._is_digital[numbers])

    def mapping_within(self, bits: BitWidths, rows: int, cols: int) -> LayerMapping:
        """Return the mapping in a single tile of at most so many rows and columns that is read for the least time.

        Raises:
            MappingError: there is none.
        """
        number, found = self._number(bits.act_bits), []
        for encoding, blocks in self._blocks.items():
            times = blocks.times[number] + self._sums_time(encoding)
            found += [
                (times[one], encoding, int(blocks.candidate[one]))
                for one in blocks.within(rows, cols)
                if np.isfinite(times[one])
            ]
        if not found:
            raise MappingError(f"the layer does not fit {rows} x {cols} cells", where=self._layer.name)
        _, encoding, candidate = min(found, key=lambda block: block[0])
        layer = self._layer
        whole = Range(0, layer.repeat), Range(0, layer.outputs), Range(0, layer.inputs)
        return self.build(bits, encoding, (Piece(*whole, candidate, layer.repeat),))

    def build(self, bits: BitWidths, encoding: Encoding, pieces: Iterable[Piece]) -> LayerMapping:
        """Return the mapping that given pieces make, best or not; together they must be the whole matrix."""
        candidates, number = self.candidates(encoding), self._number(bits.act_bits)
        parts = tuple(
            self._part(piece, candidates, encoding, number, window)
            for piece in pieces
            for window in candidates.table.patterns[int(candidates.shape[piece.candidate])]
        )
        return LayerMapping(self._layer, bits, encoding, self._values, parts, self._input_sums(encoding))

    def _check_size(self) -> None:
        """Refuse layers whose time is not exact in float64: the search compares times in it."""
        layer, widest = self._layer, BitWidths(REFERENCE_BITS, REFERENCE_BITS)
        counts = count_layer(layer, widest, self._accelerator).counts
        time = self._slowest.time_ps(counts, is_stored_dynamically=layer.is_stored_dynamically)
        if time > _EXACT:
            text = f"{time * self._unit_ps / 1e12:.3g} s" if time.bit_length() < 1000 else "far too long"
            raise MappingError(
                f"the layer takes {text} at {widest} bits",
                where=layer.name,
                expected=f"at most {_EXACT * self._unit_ps / 1e12:.3g} s",
                hint="check the latencies of the accelerator: times that share a larger unit allow more",
            )

    @property
    def groups(self) -> int:
        """Groups of the layer."""
        return self._layer.repeat

    def number_of_slices(self, act_bits: int) -> int:
        """Return the place of a width's number of input slices in what candidates count for each."""
        return self._number(act_bits)

    def _number(self, act_bits: int) -> int:
        return int(np.searchsorted(self._slices, count_input_slices(act_bits, self._accelerator.converters.dac_bits)))

    @cached_property
    def _can_be_digital(self) -> bool:
        return may_be_digital(self._layer, self._accelerator)

    @cached_property
    def _must_be_digital(self) -> bool:
        return must_be_digital(self._layer, self._accelerator)

    @cached_property
    def _is_digital(self) -> NDArray[np.bool_]:
        """True where the digital unit takes the product, for each number of input slices: it is faster, or exact where
        no mapping keeps the bound on errors.
        """
        is_less = (self._digital_time < self._times.min(axis=0)) | self._must_be_digital
        if self.bound is not None:
            is_less |= self._least_errors > self.bound
        return np.asarray(self._can_be_digital & is_less)

    @cached_property
    def _blocks(self) -> dict[Encoding, SingleTiles]:
        layer = self._layer
        return {
            encoding: find_single_tiles(
                search.candidates, inputs=layer.inputs, outputs=layer.outputs, groups=layer.repeat
            )
            for encoding, search in self._searches.items()
        }

    @property
    def _digital_time(self) -> int:
        return self._slowest.reading_ps(EventCounts(0, 0, 0, self._digital_operations))

    @property
    def _digital_operations(self) -> int:
        """Multiply-adds of the product, and additions of the sums that its zero points need."""
        takes_sums = takes_zero_points(self._layer, self._weight_bits)
        return self._layer.macs + count_digital_sums(self._layer, self._weight_bits, takes_input_sums=takes_sums)

    def _input_sums(self, encoding: Encoding) -> int:
        """Return the additions that sum up input vectors, where no column does, and stored vectors."""
        offset, zero_points = weight_offset(self._values, encoding), takes_zero_points(self._layer, self._weight_bits)
        has_columns = encoding is Encoding.OFFSET and offset > 0
        takes_sums = (offset > 0 or zero_points) and not has_columns
        return count_digital_sums(self._layer, self._weight_bits, takes_input_sums=takes_sums)

    def _sums_time(self, encoding: Encoding) -> int:
        """Return the time of the digital unit's sums for a batch, in the unit of the prices."""
        return self._slowest.reading_ps(EventCounts(0, 0, 0, self._input_sums(encoding)))

    def _encodings(self) -> tuple[Encoding, ...]:
        """Return the allowed encodings but those that another beats in rows and columns, whatever the shifts."""
        allowed, is_ideal = self._accelerator.mapping.allowed.encodings, self._accelerator.converters.has_ideal_adc
        has_price = not (self._accelerator.digital.is_ideal and is_ideal) or self._slowest.conversion_ps
        if has_price or self.bound is not None:
            return allowed
        cell_bits = self._accelerator.crossbar.cell_bits
        shifts = range(int(self._slices[-1]) * self._accelerator.converters.dac_bits)
        sizes = {
            encoding: [
                count_input_rows(encoding),
                *(count_output_columns(self._values, encoding, cell_bits, shift) for shift in shifts),
                count_correction_columns(self._values, encoding, cell_bits),
            ]
            for encoding in allowed
        }
        kept: list[Encoding] = []
        for encoding in sorted(allowed, key=lambda one: sum(sizes[one])):
            if not any(all(a <= b for a, b in zip(sizes[one], sizes[encoding], strict=True)) for one in kept):
                kept.append(encoding)
        return tuple(kept)

    def candidates(self, encoding: Encoding) -> Candidates:
        """Return everything that a piece may be mapped with in one encoding, and what keeps the limits of errors."""
        if encoding in self._searches:
            return self._searches[encoding].candidates
        return self._candidates_within(encoding, self._limits)

    def errors(self, encoding: Encoding, act_bits: int, per_tile: Array) -> Floats:
        """Return the relative error at the output with each candidate and its groups a tile, [M], float64 [M]."""
        return np.asarray(self._candidate_errors(encoding).of(per_tile)[self._number(act_bits)])

    def _list_candidates(self, encoding: Encoding) -> Candidates:
        return list_candidates(
            _windows(PositionGrid.of(self._layer), self._accelerator),
            self._values,
            encoding,
            self._accelerator,
            self._prices[encoding],
            self._slices,
            is_stored_dynamically=self._layer.is_stored_dynamically,
        )

    def _candidates_within(self, encoding: Encoding, limits: Floats | None) -> Candidates:
        if limits is None:
            return self._list_candidates(encoding)
        errors = self._candidate_errors(encoding)
        return replace(errors.candidates, most_groups=errors.most_groups(limits))

    def _search_within(self, limits: Floats | None) -> dict[Encoding, LayerSearch]:
        """Search in every encoding of which errors of at most `limits` [N] leave anything."""
        found = {encoding: self._candidates_within(encoding, limits) for encoding in self._encodings()}
        return {
            encoding: self._search(candidates)
            for encoding, candidates in found.items()
            if candidates.most_groups is None or candidates.most_groups.any()
        }

    def _search(self, candidates: Candidates) -> LayerSearch:
        layer = self._layer
        return LayerSearch(candidates, inputs=layer.inputs, outputs=layer.outputs, groups=layer.repeat)

    def _times_of(self, searches: Mapping[Encoding, LayerSearch]) -> Times:
        """Return the least times [encodings, N], in the unit of the prices."""
        return np.stack([search.time + self._sums_time(encoding) for encoding, search in searches.items()])

    def _choose_limits(self, bound: float) -> Floats:
        """Return what errors may be, [N]: the bound, or where no mapping keeps it, what is worth its time."""
        least = self._least_errors
        limits, is_open = limit_errors(least, bound), least > bound
        if not bound or not is_open.any():
            return limits

        def least_times(within: Floats) -> Times:
            return np.asarray(self._times_of(self._search_within(within)).min(axis=0))

        best, fastest = weigh_errors(least_times(limits), limits, bound), least_times(TOLERANCES[-1] * least)
        for tolerance in reversed(TOLERANCES[1:]):
            wider = tolerance * least
            may_pay = is_open & (weigh_errors(fastest, wider, bound) < best)
            if may_pay.any():
                found = weigh_errors(least_times(wider), wider, bound)
                pays = may_pay & (found < best)
                limits, best = np.where(pays, wider, limits), np.where(pays, found, best)
        return limits

    @cached_property
    def _least_errors(self) -> Floats:
        """The least error at the output in any encoding, for each number of input slices."""
        found = [self._candidate_errors(encoding).alone.min(axis=1) for encoding in self._encodings()]
        return np.asarray(np.min(found, axis=0))

    def _candidate_errors(self, encoding: Encoding) -> CandidateErrors:
        if encoding not in self._errors:
            layer, slices = self._layer, tuple(self._slices.tolist())
            errors = LayerErrors(layer.inputs, self._values, encoding, self._accelerator, slices)
            self._errors[encoding] = CandidateErrors(errors, self._list_candidates(encoding), layer.repeat)
        return self._errors[encoding]

    def _part(self, piece: Piece, candidates: Candidates, encoding: Encoding, number: int, window: AnyWindow) -> Part:
        """Describe a piece in one of its windows and count it once more, on its own."""
        accelerator, chosen = self._accelerator, piece.candidate
        at_once = int(candidates.slices_at_once[chosen])
        num_steps = ceil_divide(int(self._slices[number]), at_once)
        windows = candidates.table.grid.count_windows(window)
        corrections = (
            int(candidates.corrections[chosen]) * int(candidates.positions[chosen]) if piece.outputs.start == 0 else 0
        )
        rows = int(candidates.rows(piece.inputs.start, piece.inputs.stop)[chosen])
        cols = (
            len(piece.outputs) * int(candidates.positions[chosen]) * int(candidates.cols_per_position[chosen])
            + corrections
        )
        one_pass = count_tiling(
            len(piece.groups), piece.groups_per_tile, rows, cols, accelerator, candidates.rows_at_once, encoding
        )
        passes = windows * num_steps
        shift = (at_once - 1) * accelerator.converters.dac_bits
        return Part(
            groups=piece.groups,
            outputs=piece.outputs,
            inputs=piece.inputs,
            window=window,
            num_weight_slices=count_weight_slices(self._values, encoding, accelerator.crossbar.cell_bits, shift),
            slices_at_once=at_once,
            num_steps=num_steps,
            groups_per_tile=piece.groups_per_tile,
            windows=windows,
            rows=rows,
            cols=cols,
            rows_at_once=candidates.rows_at_once,
            correction_cols=corrections,
            row_tiles=count_row_tiles(rows, accelerator.crossbar),
            col_tiles=count_col_tiles(cols, accelerator.crossbar),
            counts=EventCounts(
                one_pass.tiles, one_pass.mvms * passes, one_pass.conversions * passes, one_pass.operations * passes
            ),
        )


def _windows(grid: PositionGrid, accelerator: Accelerator) -> WindowTable:
    positions = min(accelerator.mapping.allowed.window_positions, accelerator.crossbar.cols)
    return tabulate_windows(grid, positions, accelerator.crossbar.rows if positions > 1 else grid.taps)
