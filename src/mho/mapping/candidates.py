"""Candidates: every way to lay a rectangle of a layer's matrix into tiles in one piece, counted for all of them at
once.

A candidate is a window, a number of input slices side by side, and (for layers of several groups) a number of groups
a tile. Arrays are [..., candidates]; numbers of input slices are their last axis where they matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.adc_resolution import resolvable_rows
from mho.mapping.encoding import StoredRange, count_correction_columns, count_input_rows, count_output_columns
from mho.mapping.event_counts import EventCounts, UnitTimes
from mho.mapping.layer_mapping import count_tiling
from mho.mapping.slicing import ceil_divide
from mho.mapping.tile_writing import count_memory_bits
from mho.mapping.tiling import (
    count_col_tiles,
    count_conversion_rounds,
    count_conversions,
    count_row_reads,
    count_row_tiles,
)
from mho.mapping.unit_energies import UnitEnergies
from mho.mapping.windows import WindowTable

Array = NDArray[np.int64]
Times = NDArray[np.float64]

_NONE = np.zeros((), dtype=np.int64)


@dataclass(frozen=True)
class Weighing:
    """What candidates are compared by where not by time: weighted sums of both.

    Attributes:
        units: unit energies.
        time: of a unit of the prices' time.
        energy: of an attojoule.
    """

    units: UnitEnergies
    time: float
    energy: float


@dataclass(frozen=True, eq=False)
class Candidates:
    """All candidates of one layer in one encoding.

    Attributes:
        table: windows.
        encoding: how signed weights are held.
        accelerator, prices: what tiles may hold and what counts cost, in any unit of time.
        is_stored_dynamically: whether tiles are written for every sample.
        rows_at_once: rows that one MVM may drive.
        input_slices: int64 [N], numbers of input slices that are considered.
        shape: int64 [M], the candidate's windows, by number in `table`.
        slices_at_once: int64 [M], input slices side by side.
        rows_per_pixel: int64 [M], rows that one pixel of one channel takes.
        cols_per_position: int64 [M], columns that one output takes at one position.
        corrections: int64 [M], columns of ones that one position takes.
        most_groups: int64 [N, M], groups that may share a tile so that the error stays within its bound, 0 where not
            one does; None: no bound.
        weighing: what counts instead of time; None: time.
    """

    table: WindowTable
    encoding: Encoding
    accelerator: Accelerator
    prices: UnitTimes
    is_stored_dynamically: bool
    rows_at_once: int
    input_slices: Array
    shape: Array
    slices_at_once: Array
    rows_per_pixel: Array
    cols_per_position: Array
    corrections: Array
    most_groups: Array | None = None
    weighing: Weighing | None = None

    @cached_property
    def passes(self) -> Array:
        """int64 [N, M]: windows (of all kinds) times steps: how often tiles are read."""
        steps = -(-self.input_slices[:, None] // self.slices_at_once)
        return self.table.num_windows[self.shape] * steps

    @cached_property
    def kinds(self) -> Array:
        """int64 [M]: windows that work together, each with tiles of its own."""
        return self.table.num_kinds[self.shape]

    @cached_property
    def positions(self) -> Array:
        """int64 [M]: positions a window."""
        return self.table.num_positions[self.shape]

    def rows(self, start: int, stop: int) -> Array:
        """Return int64 [M]: physical rows of the inputs `start` .. `stop` - 1 of one group."""
        taps = self.table.grid.taps
        first, last = ceil_divide(start, taps), stop // taps
        if first > last:
            return self.table.partial_pixels(start % taps, stop % taps)[self.shape] * self.rows_per_pixel
        pixels = self.table.num_pixels * (last - first)
        if start % taps:
            pixels = pixels + self.table.partial_pixels(start % taps, taps)
        if stop % taps:
            pixels = pixels + self.table.partial_pixels(0, stop % taps)
        return pixels[self.shape] * self.rows_per_pixel

    def cols(self, outputs: Array, *, has_correction: bool) -> Array:
        """Return int64 [..., M]: physical columns of that many outputs of one group."""
        cols = outputs[..., None] * (self.positions * self.cols_per_position)
        return cols + self.positions * self.corrections if has_correction else cols

    def groups_per_tile(self, rows: Array, cols: Array, groups: int) -> tuple[Array, ...]:
        """Return how many whole matrices [rows, cols] a tile may take, as far as worth a look; 1 where none fits."""
        crossbar, limit = self.accelerator.crossbar, min(groups, self.accelerator.mapping.allowed.groups_per_tile)
        if limit == 1:
            return ()
        most = np.clip(np.minimum(crossbar.rows // rows, crossbar.cols // cols), 1, limit)
        if self.most_groups is not None:
            most = np.minimum(most, self.most_groups.max(axis=0).clip(1))
        if self.rows_at_once == crossbar.rows:
            return (most,)
        return most, np.clip(self.rows_at_once // rows, 1, most)

    def count_tiling(self, groups: int, per_tile: Array, rows: Array, cols: Array) -> EventCounts[Array]:
        """Count one pass over the tiles of matrices [rows, cols], as `mho.mapping.layer_mapping.count_tiling` does."""
        return count_tiling(groups, per_tile, rows, cols, self.accelerator, self.rows_at_once, self.encoding)

    def weigh(self, groups: int, per_tile: Array, rows: Array, cols: Array) -> tuple[Array | Times, Array | Times]:
        """Return what writing all tiles of matrices [rows, cols] and one pass over them count."""
        counts = self.count_tiling(groups, per_tile, rows, cols)
        writing = self.prices.writing_ps(counts, is_stored_dynamically=self.is_stored_dynamically)
        reading = self.prices.reading_ps(counts)
        if self.weighing is None:
            return writing, reading
        units, full, rest = self.weighing.units, groups // per_tile, groups % per_tile
        cells = rows * cols * (full * per_tile**2 + rest**2)
        driven = rows * groups * np.where(per_tile > 1, 1, count_col_tiles(cols, self.accelerator.crossbar))
        # A row's input bits come from a buffer once: so many a pass as the DAC takes.
        bits = driven * self.accelerator.converters.dac_bits // count_input_rows(self.encoding)
        spent = units.weigh(
            reads=counts.mvms,
            cell_reads=cells,
            driven_rows=driven,
            conversions=counts.operations,
            operations=counts.operations,
            buffer_bits=bits,
        )
        is_stored = self.is_stored_dynamically
        outside = count_memory_bits(cells, self.accelerator, is_stored_dynamically=is_stored)
        times = self.prices.batch if is_stored else 1
        written = times * units.weigh(cell_writes=cells, memory_bits=outside)
        weighing, batch = self.weighing, self.prices.batch
        return (
            writing * weighing.time + written * weighing.energy,
            reading * weighing.time + spent * (weighing.energy * batch),
        )

    def efforts(self) -> Times:
        """Return float64 [N, M]: cells of one channel and output, times what a full tile costs: less is better."""
        crossbar = self.accelerator.crossbar
        full = count_tiling(1, 1, crossbar.rows, crossbar.cols, self.accelerator, self.rows_at_once, self.encoding)
        write = self.prices.writing_ps(full, is_stored_dynamically=self.is_stored_dynamically)
        area = self.table.num_pixels[self.shape] * self.rows_per_pixel * self.positions * self.cols_per_position
        tile = write * self.kinds + self.prices.reading_ps(full) * self.passes
        return self.refuse(area.astype(np.float64) * tile, np.ones_like(area))

    def refuse(self, values: Times, per_tile: Array, number: int | slice = slice(None)) -> Times:
        """Return values [..., M], infinite where errors pass their bound with so many groups a tile, [..., M]."""
        if self.most_groups is None:
            return values
        return np.where(per_tile <= self.most_groups[number], values, np.inf)


@dataclass(frozen=True, eq=False)
class Cheapest:
    """The cheapest candidates of pieces [...]: [N, ...] each.

    Attributes:
        time: time of a batch, a whole number as float64 (exact below 2^53, and no candidate leaves its range).
        candidate: which candidate.
        per_tile: groups that share a tile.
    """

    time: Times
    candidate: Array
    per_tile: Array

    def or_better(self, other: Cheapest) -> Cheapest:
        """Return the cheaper of the two, entry by entry."""
        is_less = other.time < self.time
        return Cheapest(
            np.where(is_less, other.time, self.time),
            np.where(is_less, other.candidate, self.candidate),
            np.where(is_less, other.per_tile, self.per_tile),
        )


def find_cheapest(candidates: Candidates, rows: Array, cols: Array, groups: int) -> Cheapest:
    """Find the cheapest candidates of all pieces rows [inputs, M] x cols [outputs, M], for `groups` groups."""
    found = _find_tiled(candidates, rows, cols, groups) if candidates.weighing is None else None
    rows, cols = np.broadcast_arrays(rows[:, None], cols[None])
    if found is None:
        found = _find_packed(candidates, rows, cols, groups, np.ones_like(rows))
    for per_tile in candidates.groups_per_tile(rows, cols, groups):
        found = found.or_better(_find_packed(candidates, rows, cols, groups, per_tile))
    return found


def _find_tiled(candidates: Candidates, rows: Array, cols: Array, groups: int) -> Cheapest:
    """Each group is cut into tiles of its own: all counts are products of what rows and columns tell."""
    accelerator, prices = candidates.accelerator, candidates.prices
    col_tiles = count_col_tiles(cols, accelerator.crossbar)
    rounds = count_conversion_rounds(cols, accelerator, candidates.encoding)
    conversions = count_conversions(cols, accelerator, candidates.encoding)
    of_one_read = prices.reading_ps(EventCounts(col_tiles, col_tiles, rounds, conversions))
    row_tiles = count_row_tiles(rows, accelerator.crossbar)
    tiles = EventCounts(row_tiles[:, None] * col_tiles, _NONE, _NONE, _NONE)
    writing = prices.writing_ps(tiles, is_stored_dynamically=candidates.is_stored_dynamically)
    reading = count_row_reads(rows, accelerator.crossbar, candidates.rows_at_once)[:, None] * of_one_read
    return _find_least(candidates, writing * groups, reading * groups, np.ones_like(writing))


def _find_packed(candidates: Candidates, rows: Array, cols: Array, groups: int, per_tile: Array) -> Cheapest:
    """Several groups share a tile."""
    return _find_least(candidates, *candidates.weigh(groups, per_tile, rows, cols), per_tile)


def _find_least(candidates: Candidates, writing: Array | Times, reading: Array | Times, per_tile: Array) -> Cheapest:
    """Take the least of writing + reading * passes, [..., M] each, for each number of input slices."""
    shape = (len(candidates.input_slices), *writing.shape[:-1])
    found = Cheapest(np.empty(shape), np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64))
    writes, reads = (writing * candidates.kinds).astype(np.float64), reading.astype(np.float64)
    for number, passes in enumerate(candidates.passes):
        times = reads * passes
        times += writes
        times = candidates.refuse(times, per_tile, number)
        best = times.argmin(axis=-1)
        chosen = (*np.indices(best.shape, sparse=True), best)
        found.candidate[number], found.time[number] = best, times[chosen]
        found.per_tile[number] = per_tile[chosen]
    return found


def list_candidates(
    table: WindowTable,
    values: StoredRange,
    encoding: Encoding,
    accelerator: Accelerator,
    prices: UnitTimes,
    input_slices: Array,
    *,
    is_stored_dynamically: bool,
) -> Candidates:
    """List all candidates of a layer in one encoding; the first is a single position, one slice after the other."""
    crossbar, allowed = accelerator.crossbar, accelerator.mapping.allowed
    at_once = _slices_at_once(input_slices, min(allowed.input_slices_per_mvm, crossbar.rows))
    shifts = [(count - 1) * accelerator.converters.dac_bits for count in at_once]
    columns = [count_output_columns(values, encoding, crossbar.cell_bits, shift) for shift in shifts]
    corrections = [count_correction_columns(values, encoding, crossbar.cell_bits, shift) for shift in shifts]
    shape = np.repeat(np.arange(len(table.patterns), dtype=np.int64), len(at_once))
    slices = np.tile(np.arange(len(at_once)), len(table.patterns))
    rows_per_pixel = np.array(at_once, dtype=np.int64)[slices] * count_input_rows(encoding)
    cols_per_position = np.array(columns, dtype=np.int64)[slices]
    # Beyond a single position, one channel and one output must fit a tile: what does not is beaten by fewer positions.
    fits = (table.num_pixels[shape] * rows_per_pixel <= crossbar.rows) & (
        table.num_positions[shape] * cols_per_position <= crossbar.cols
    )
    kept = fits | (shape == 0)
    return Candidates(
        table=table,
        encoding=encoding,
        accelerator=accelerator,
        prices=prices,
        is_stored_dynamically=is_stored_dynamically,
        rows_at_once=resolvable_rows(accelerator, encoding),
        input_slices=input_slices,
        shape=shape[kept],
        slices_at_once=np.array(at_once, dtype=np.int64)[slices][kept],
        rows_per_pixel=rows_per_pixel[kept],
        cols_per_position=cols_per_position[kept],
        corrections=np.array(corrections, dtype=np.int64)[slices][kept],
    )


def _slices_at_once(input_slices: Array, limit: int) -> list[int]:
    """Return the numbers of slices side by side that are the least for some number of steps, ascending."""
    counts = {1}
    for number in map(int, np.unique(input_slices)):
        counts |= {ceil_divide(number, steps) for steps in range(1, number + 1)}
    return sorted(count for count in counts if count <= limit)
