"""The best mapping of a layer: the cheapest exact one of all encodings, pieces and candidates that the accelerator
allows.

`MappingChoice` does the search once for all activation widths of one layer and range of stored integers; mappings and
whole tables of times are read from it, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from mho.accelerator.spec import Accelerator, Encoding
from mho.errors import MappingError
from mho.mapping.candidates import Array, Candidates, list_candidates
from mho.mapping.counts import Counts, Prices
from mho.mapping.digits import (
    count_correction_columns,
    count_input_rows,
    count_output_columns,
    count_weight_slices,
    stored_range_of_width,
    weight_offset,
)
from mho.mapping.encoding import StoredRange
from mho.mapping.interleaved import tabulate_windows
from mho.mapping.parts import BestMapping, Part, count_tiling
from mho.mapping.plan import count_layer
from mho.mapping.search import LayerSearch, Piece
from mho.mapping.slicing import ceil_divide, count_input_slices
from mho.mapping.tiling import count_col_tiles, count_row_tiles
from mho.mapping.windows import AnyWindow, PositionGrid, WindowTable
from mho.network.layers import MvmLayer
from mho.quantization.policy import MAX_BITS, MIN_BITS, REFERENCE_BITS, BitWidths

_EXACT = 1 << 53
"""Whole numbers up to here are exact in float64."""

_WIDTHS = (*range(MIN_BITS, MAX_BITS + 1), REFERENCE_BITS)


def choose_mapping(
    layer: MvmLayer,
    bits: BitWidths,
    accelerator: Accelerator,
    *,
    batch: int = 1,
    values: StoredRange | None = None,
) -> BestMapping:
    """Choose the cheapest exact mapping of one layer.

    Args:
        layer: the logical layer.
        bits: weight and activation bits.
        accelerator: what is allowed and what it costs.
        batch: samples that share the writes of weights.
        values: the integers that weights may take; None for those that `bits.weight_bits` means in a policy.
    """
    stored = values if values is not None else stored_range_of_width(bits.weight_bits)
    return MappingChoice(layer, stored, accelerator, batch).mapping(bits)


def best_times_ps(layers: Sequence[MvmLayer], accelerator: Accelerator, *, batch: int = 1) -> Array:
    """Return the time of the best mapping of each layer at all widths of a policy.

    Returns:
        int64 [layers, weight widths, activation widths], ps for a batch; widths 1..8 and 16, ascending.
    """
    known: dict[MvmLayer, Array] = {}
    for layer in layers:
        if (key := layer.without_name()) not in known:
            choices = [MappingChoice(key, stored_range_of_width(width), accelerator, batch) for width in _WIDTHS]
            known[key] = np.stack([choice.times_ps(_WIDTHS) for choice in choices])
    return np.stack([known[layer.without_name()] for layer in layers])


class MappingChoice:
    """The best mappings of one layer and range of stored integers, for all activation widths."""

    def __init__(self, layer: MvmLayer, values: StoredRange, accelerator: Accelerator, batch: int) -> None:
        self._layer, self._values, self._accelerator = layer, values, accelerator
        self._prices, self._unit_ps = Prices.of(accelerator, batch).in_units()
        self._check_size()
        dac_bits = accelerator.converters.dac_bits
        self._slices = np.unique([count_input_slices(width, dac_bits) for width in _WIDTHS]).astype(np.int64)
        self._searches = {encoding: self._search(encoding) for encoding in self._encodings()}
        extra = self._prices.operation_ps * self._prices.batch
        self._times = np.stack([search.time + extra * self._input_sums(e) for e, search in self._searches.items()])

    def times_ps(self, act_bits: Sequence[int]) -> Array:
        """Return the time of a batch for each of the activation widths, int64, ps."""
        numbers = [self._number(bits) for bits in act_bits]
        times = self._times.min(axis=0)[numbers]
        least = np.minimum(times, self._digital_time) if self._can_be_digital else times
        return np.asarray(least.astype(np.int64) * self._unit_ps)

    def mapping(self, bits: BitWidths) -> BestMapping:
        """Return the best mapping for the given widths (`bits.weight_bits` is only passed on)."""
        number = self._number(bits.act_bits)
        if self._can_be_digital and self._digital_time < self._times[:, number].min():
            return BestMapping(
                self._layer, bits, self._accelerator.mapping.encoding, self._values, (), self._layer.macs
            )
        encoding = list(self._searches)[int(self._times[:, number].argmin())]
        return self.build(bits, encoding, self._searches[encoding].pieces(number))

    def build(self, bits: BitWidths, encoding: Encoding, pieces: Iterable[Piece]) -> BestMapping:
        """Return the mapping that given pieces make, best or not; together they must be the whole matrix."""
        candidates, number = self.candidates(encoding), self._number(bits.act_bits)
        parts = tuple(
            self._part(piece, candidates, encoding, number, window)
            for piece in pieces
            for window in candidates.table.patterns[int(candidates.shape[piece.candidate])]
        )
        return BestMapping(self._layer, bits, encoding, self._values, parts, self._input_sums(encoding))

    def _check_size(self) -> None:
        """Refuse layers whose time is not exact in float64: the search compares times in it."""
        layer, widest = self._layer, BitWidths(REFERENCE_BITS, REFERENCE_BITS)
        counts = count_layer(layer, widest, self._accelerator).counts
        time = self._prices.time_ps(counts, is_stored_dynamically=layer.is_stored_dynamically)
        if time > _EXACT:
            raise MappingError(
                f"the layer takes {time * self._unit_ps / 1e12:.3g} s at {widest} bits",
                where=layer.name,
                expected=f"at most {_EXACT * self._unit_ps / 1e12:.3g} s",
                hint="check the latencies of the accelerator: times that share a larger unit allow more",
            )

    def _number(self, act_bits: int) -> int:
        return int(np.searchsorted(self._slices, count_input_slices(act_bits, self._accelerator.converters.dac_bits)))

    @cached_property
    def _can_be_digital(self) -> bool:
        return self._layer.is_stored_dynamically and not self._accelerator.digital.is_ideal

    @property
    def _digital_time(self) -> int:
        return self._prices.reading_ps(Counts(0, 0, 0, self._layer.macs))

    def _input_sums(self, encoding: Encoding) -> int:
        """Return the additions that sum up every input vector, where the encoding needs it and has no column for it."""
        if encoding is not Encoding.OFFSET_DIGITAL or not weight_offset(self._values, encoding):
            return 0
        return self._layer.inputs * self._layer.positions * self._layer.repeat

    def _encodings(self) -> tuple[Encoding, ...]:
        """Return the allowed encodings but those that another beats in rows and columns, whatever the shifts."""
        allowed = self._accelerator.mapping.allowed.encodings
        if not (self._accelerator.digital.is_ideal and self._accelerator.converters.has_ideal_adc):
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
        """Return everything that a piece may be mapped with in one encoding."""
        return list_candidates(
            _windows(PositionGrid.of(self._layer), self._accelerator),
            self._values,
            encoding,
            self._accelerator,
            self._prices,
            self._slices,
            is_stored_dynamically=self._layer.is_stored_dynamically,
        )

    def _search(self, encoding: Encoding) -> LayerSearch:
        layer, candidates = self._layer, self.candidates(encoding)
        return LayerSearch(candidates, inputs=layer.inputs, outputs=layer.outputs, groups=layer.repeat)

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
            len(piece.groups), piece.groups_per_tile, rows, cols, accelerator, candidates.rows_at_once
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
            counts=Counts(
                one_pass.tiles, one_pass.mvms * passes, one_pass.conversions * passes, one_pass.operations * passes
            ),
        )


def _windows(grid: PositionGrid, accelerator: Accelerator) -> WindowTable:
    positions = min(accelerator.mapping.allowed.window_positions, accelerator.crossbar.cols)
    return tabulate_windows(grid, positions, accelerator.crossbar.rows if positions > 1 else grid.taps)
