"""How the tiles of a layer are run on whole batches: windows are gathered, multiplied and added up.

Codes and sums lie address by address, the samples of a batch side by side, so that gathering and adding move rows of
memory. Where ADCs and wires are ideal, all tiles that meet the same windows are one matrix, and each window is
multiplied once: sums of whole numbers are the same in any order. Noise is that of the one matrix: variances add.
Elsewhere each tile is a product of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.arithmetic.limits import FLOAT64_LIMIT
from mho.array.integer_product import IntegerProduct, check_sums
from mho.array.layout import number_within
from mho.array.product import LinearProduct
from mho.array.read_noise import VarianceProduct, begin_reads, draw_noise
from mho.array.row_drives import RowDrives
from mho.errors import DataError
from mho.program.layer_content import DigitalSum
from mho.program.program import Program
from mho.simulation.analog_tiles import AnalogTile
from mho.simulation.tile_loops import list_addresses

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Reads = Callable[[AnalogTile], np.random.Generator | None]
"""Gives a new stream for the reads of a tile."""

_BLOCK_BYTES = 4 << 20
"""Memory that a block of windows takes in passing, at most."""


class Codes:
    """The codes of a layer for one batch, and what rows are driven with where a step takes some bits of a code.

    Attributes:
        buffers: uint8 or int64 [size, samples], by name.
    """

    def __init__(self, buffers: Mapping[str, Tensor]) -> None:
        self.buffers = buffers
        self._planes: dict[tuple[int, str, bool], Tensor] = {}

    def planes(self, name: str, feeds: Sequence[RowDrives], *, are_squares: bool = False) -> Tensor:
        """Return what each feed makes of all codes of a buffer, [feeds * size, samples], or its squares."""
        codes = self.buffers[name]
        if len(feeds) == 1 and feeds[0].takes_codes and not are_squares:
            return codes
        key = id(feeds), name, are_squares
        if key not in self._planes:
            column = codes.reshape(-1, 1)
            made = [
                feed.whole_squares(column.to(feed.kind)) if are_squares else feed.whole(column.to(feed.kind))
                for feed in feeds
            ]
            kinds = {plane.dtype for plane in made}
            if len(kinds) > 1:
                made = [plane.to(torch.int64) for plane in made]
            self._planes[key] = torch.cat([plane.view(codes.shape) for plane in made])
        return self._planes[key]


class Targets:
    """Where the results of windows are added: places among the sums, none of them twice in one round."""

    def __init__(self, places: Integers) -> None:
        """Prepare for `places` [results, windows]."""
        flat = places.reshape(-1)
        start = int(flat[0]) if flat.size else 0
        self._run: slice | None = None
        self._rounds: list[tuple[Integers | slice, Integers]] = []
        if np.array_equal(flat, np.arange(start, start + flat.size)):
            self._run = slice(start, start + flat.size)
            return
        turn = number_within(flat)
        if not turn.any():
            self._rounds = [(slice(None), flat)]
        else:
            chosen = (np.flatnonzero(turn == number) for number in range(int(turn.max()) + 1))
            self._rounds = [(some, flat[some]) for some in chosen]

    def add(self, sums: Floats, found: Floats) -> None:
        """Add `found` [results * windows, samples] to the sums [sums, samples]."""
        if self._run is not None:
            sums[self._run] += found
            return
        for some, places in self._rounds:
            sums[places] += found[some]


class _Product(Protocol):
    """What windows are multiplied with."""

    tile: AnalogTile
    """The one whose crossbar gives the stream of reads."""

    @property
    def bytes_per_input(self) -> int:
        """Memory that one window of one sample takes in passing, about."""

    def multiply(self, codes: Codes, places: Tensor, noise: torch.Generator | None) -> Tensor:
        """Return results [windows * samples, results], in either memory order, of codes at `places` [rows, windows]."""

    def begin_reads(self, reads: np.random.Generator | None) -> torch.Generator | None:
        """Return what noise is drawn from."""


class _TileProduct:
    """A tile on its own."""

    def __init__(self, tile: AnalogTile) -> None:
        self.tile = tile
        self.rows = tile.rows

    @property
    def bytes_per_input(self) -> int:
        return self.tile.product.bytes_per_input

    def multiply(self, codes: Codes, places: Tensor, noise: torch.Generator | None) -> Tensor:
        drives = gather(codes.buffers[self.tile.codes], places)
        return self.tile.product.run_block(drives, noise)[:, : len(self.tile.results)]

    def begin_reads(self, reads: np.random.Generator | None) -> torch.Generator | None:
        return self.tile.product.begin_reads(reads)


@dataclass(frozen=True, eq=False)
class _Part:
    """A tile of a sum: its product, and which of all drives and results are its own."""

    linear: LinearProduct
    rows: Integers
    results: Integers

    def add_to(self, whole: NDArray[Any], own: NDArray[Any]) -> None:
        """Add what the tile has, [rows, results and more], to what all have; rows that are driven alike add up."""
        own = own[:, : len(self.results)]
        if np.unique(self.rows).size == self.rows.size:
            whole[self.rows[:, None], self.results] += own
        else:
            np.add.at(whole, (self.rows[:, None], self.results), own)


class _SumProduct:
    """Tiles that meet the same windows, as one matrix of all their drives and results."""

    def __init__(
        self, tile: AnalogTile, parts: Sequence[_Part], feeds: Sequence[RowDrives], largest: int, shape: tuple[int, int]
    ) -> None:
        """Put tiles together.

        Args:
            tile: the one whose crossbar gives the stream of reads.
            parts: all of them.
            feeds: of the layer: a row's address says which of them drives it.
            largest: drive.
            shape: drives and results.

        Raises:
            DataError: sums may pass 2^53.
        """
        self.tile, self._parts, self._feeds, self._shape = tile, parts, feeds, shape
        self._fraction_bits = max(part.linear.fraction_bits for part in parts)
        self._largest = largest
        self._has_noise = any(part.linear.variance is not None for part in parts)
        if len(parts) > 1:
            for part in parts:  # first, so that no number of the matrix is too large
                scale = self._largest << (self._fraction_bits - part.linear.fraction_bits)
                check_sums(part.linear.matrix, scale, FLOAT64_LIMIT)
            check_sums(self._matrix(), self._largest, FLOAT64_LIMIT)

    def _matrix(self) -> Integers:
        matrix = np.zeros(self._shape, dtype=np.int64)
        for part in self._parts:
            own = part.linear.matrix.astype(np.int64) << (self._fraction_bits - part.linear.fraction_bits)
            part.add_to(matrix, own)
        return matrix

    @cached_property
    def _product(self) -> IntegerProduct:
        return IntegerProduct(self._matrix(), self._largest)

    @cached_property
    def _noise(self) -> VarianceProduct | None:
        if not self._has_noise:
            return None
        variance = np.zeros(self._shape, dtype=np.float32)
        for part in self._parts:
            if part.linear.variance is not None:
                part.add_to(variance, part.linear.variance)
        return VarianceProduct(variance, are_bits=False)

    @property
    def bytes_per_input(self) -> int:
        rows, results = self._shape
        of_noise = 0 if self._noise is None else self._noise.bytes_per_row + 4 * rows
        return self._product.bytes_per_row + 8 * results + of_noise

    def multiply(self, codes: Codes, places: Tensor, noise: torch.Generator | None) -> Tensor:
        drives = gather(codes.planes(self.tile.codes, self._feeds), places)
        kind = torch.uint8 if self._largest <= 255 else torch.int64
        total = self._product.multiply(drives.to(kind)).to(torch.float64)
        if self._fraction_bits:
            total.mul_(0.5**self._fraction_bits)
        if self._noise is not None:
            squares = gather(codes.planes(self.tile.codes, self._feeds, are_squares=True), places)
            total.add_(draw_noise(self._noise.deviations(squares), total, noise))
        return total

    def begin_reads(self, reads: np.random.Generator | None) -> torch.Generator | None:
        return begin_reads(reads) if self._has_noise else None


def gather(codes: Tensor, places: Tensor) -> Tensor:
    """Return codes [windows * samples, rows], the transpose of what is contiguous, at `places` [rows, windows]."""
    rows, windows = places.shape
    found = torch.index_select(codes, 0, places.reshape(-1))
    return found.view(rows, windows * codes.shape[1]).t()


class WindowRun:
    """Windows that meet the same cells, and where they take codes and leave results."""

    def __init__(self, product: _Product, inputs: Integers, rows: Integers, sums: Integers, results: Integers) -> None:
        """Prepare a run.

        Args:
            product: of the cells.
            inputs: [windows], address of each window among the codes.
            rows: [rows], from there to the codes that drive rows.
            sums: [windows], address of each window among the sums.
            results: [results], from there to the sums that results are added to.
        """
        self._product, self._inputs, self._rows, self._sums, self._results = product, inputs, rows, sums, results
        self._targets: dict[tuple[int, int], Targets] = {}

    @property
    def tile(self) -> AnalogTile:
        """The first of the tiles."""
        return self._product.tile

    def run(self, codes: Codes, sums: Floats, reads: np.random.Generator | None) -> None:
        """Add the results of all windows to the sums [sums, samples]."""
        samples, windows = sums.shape[1], len(self._inputs)
        noise = self._product.begin_reads(reads)
        size = max(1, _BLOCK_BYTES // (samples * self._product.bytes_per_input))
        if size < windows:
            size = -(-windows // -(-windows // size))
        for start in range(0, windows, size):
            stop = min(windows, start + size)
            places = torch.from_numpy(self._rows[:, None] + self._inputs[start:stop])
            found = self._product.multiply(codes, places, noise).t().contiguous()
            self._target(start, stop).add(sums, found.view(-1, samples).numpy())

    def _target(self, start: int, stop: int) -> Targets:
        if (start, stop) not in self._targets:
            self._targets[start, stop] = Targets(self._results[:, None] + self._sums[start:stop])
        return self._targets[start, stop]


@dataclass(frozen=True, eq=False)
class _Drives:
    """The tile of a sum, and how its rows are distinguished: by the number of their feed and their code's address."""

    tile: AnalogTile
    linear: LinearProduct
    rows: Integers
    results: Integers


def run_alone(tile: AnalogTile) -> WindowRun:
    """Return the run of one tile."""
    return WindowRun(_TileProduct(tile), tile.inputs, tile.rows, tile.sums, tile.results)


def plan_runs(tiles: Iterable[AnalogTile], sizes: Mapping[str, int]) -> tuple[WindowRun, ...]:
    """Put the tiles of a layer together as far as they are one matrix.

    Args:
        tiles: none of which stores an operand.
        sizes: of the buffers of codes.
    """
    runs: list[WindowRun] = []
    feeds: list[RowDrives] = []
    numbers: dict[tuple[int, ...], int] = {}
    groups: dict[tuple[object, ...], list[_Drives]] = {}
    for tile in tiles:
        linear = tile.product.linear
        if linear is None:
            runs.append(run_alone(tile))
            continue
        plane = _number_feeds(linear, feeds, numbers)
        rows = plane * sizes[tile.codes] + tile.rows + tile.inputs[0]
        pattern = (tile.inputs - tile.inputs[0]).tobytes(), (tile.sums - tile.sums[0]).tobytes()
        groups.setdefault((tile.codes, *pattern), []).append(_Drives(tile, linear, rows, tile.results + tile.sums[0]))
    for group in groups.values():
        for some in _connect(group):
            runs.extend(_join(some, feeds))
    return tuple(runs)


def _number_feeds(linear: LinearProduct, feeds: list[RowDrives], numbers: dict[tuple[int, ...], int]) -> Integers:
    """Return the number of the feed of each row; adds those that are new."""
    layout = linear.periphery.layout
    shifts, which = np.unique(layout.row_shift, return_inverse=True)
    found = []
    for shift in shifts.tolist():
        key = (layout.steps, layout.step_shift, layout.input_bits, shift)
        if key not in numbers:
            numbers[key] = len(feeds)
            feeds.append(linear.periphery.feed.of_shift(shift))
        found.append(numbers[key])
    return np.array(found, dtype=np.int64)[which]


def _connect(group: list[_Drives]) -> list[list[_Drives]]:
    """Return the tiles that share rows or results with each other, by way of others too, in their order."""
    owner: dict[tuple[str, int], int] = {}
    parent = list(range(len(group)))

    def find(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for number, drives in enumerate(group):
        for kind, addresses in (("row", drives.rows), ("result", drives.results)):
            for address in addresses.tolist():
                other = owner.setdefault((kind, address), number)
                first, second = sorted((find(other), find(number)))
                parent[second] = first
    parts: dict[int, list[_Drives]] = {}
    for number, drives in enumerate(group):
        parts.setdefault(find(number), []).append(drives)
    return list(parts.values())


def _join(some: list[_Drives], feeds: list[RowDrives]) -> list[WindowRun]:
    """Return one run of tiles, or a run each where most of one matrix would be nothing or its sums too large."""
    rows, results = (
        np.unique(np.concatenate(parts)) for parts in zip(*((one.rows, one.results) for one in some), strict=True)
    )
    tile = next((one.tile for one in some if one.linear.variance is not None), some[0].tile)
    if len(some) > 1 and 2 * sum(len(one.rows) * len(one.results) for one in some) < len(rows) * len(results):
        return [run for one in some for run in _join([one], feeds)]
    parts = [_Part(one.linear, np.searchsorted(rows, one.rows), np.searchsorted(results, one.results)) for one in some]
    try:
        largest = max(one.linear.periphery.feed.largest_whole for one in some)
        product = _SumProduct(tile, parts, feeds, largest, (len(rows), len(results)))
    except DataError:
        return [run for one in some for run in _join([one], feeds)]
    return [WindowRun(product, tile.inputs - tile.inputs[0], rows, tile.sums - tile.sums[0], results)]


def add_sums(program: Program, digital: DigitalSum, codes: Tensor, sums: Floats) -> None:
    """Add sums of input vectors, which the digital unit takes exactly.

    Args:
        program: whose constants are meant.
        digital: which vectors, and where their sums are added.
        codes: [size, samples].
        sums: [sums, samples].
    """
    item = digital.instruction
    rows = program.constants[item.row_offsets].astype(np.int64)
    sources, targets = (list_addresses(address, {}, digital.loops) for address in (item.address, item.target))
    samples = codes.shape[1]
    ones = IntegerProduct(np.ones((len(rows), 1), dtype=np.int64), 255)
    size = max(1, _BLOCK_BYTES // (samples * ones.bytes_per_row))
    for start in range(0, len(sources), size):
        some = slice(start, start + size)
        drives = gather(codes, torch.from_numpy(rows[:, None] + sources[some]))
        # Negative codes are those of stored operands.
        found = ones.multiply(drives).t() if codes.dtype == torch.uint8 else drives.sum(dim=1)
        found = found.contiguous().view(-1, samples)
        Targets(targets[some]).add(sums, found.numpy())
