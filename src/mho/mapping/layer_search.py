"""The choice of the cheapest mapping of a layer in one encoding, for all numbers of input slices at once.

A layer is mapped in one piece, or its matrix is cut: first the outputs in two and then the inputs of each piece in
two, or the other way round; or its groups in two. Every piece takes the cheapest of all candidates. Cuts are made
where the main piece fills whole tiles under one of the most efficient candidates, so that the remainder is what is
left.

Everything that is compared is exact. What is not compared: three pieces along one axis, and pieces of different
layers in one tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mho.mapping.candidates import Array, Candidates, Cheapest, Times, find_cheapest
from mho.mapping.layer_mapping import Range

_EFFICIENT = 8
"""Candidates, for each number of input slices, whose full tiles decide where a matrix may be cut."""

Cut = tuple[int, int]
"""Two pieces along one axis, by their numbers in the list of ranges."""


@dataclass(frozen=True)
class Piece:
    """A rectangle of the logical matrix for a range of groups, with the candidate that maps it."""

    groups: Range
    outputs: Range
    inputs: Range
    candidate: int
    groups_per_tile: int


@dataclass(frozen=True)
class _Axis:
    """The ranges that one axis of the matrix may be cut into: the whole first, then the two sides of each cut."""

    ranges: tuple[Range, ...]

    @classmethod
    def of(cls, size: int, cuts: set[int]) -> _Axis:
        ranges = [Range(0, size)]
        for cut in sorted(cuts):
            ranges += [Range(0, cut), Range(cut, size)]
        return cls(tuple(ranges))

    @property
    def cuts(self) -> tuple[Cut, ...]:
        return tuple((first, first + 1) for first in range(1, len(self.ranges), 2))


class LayerSearch:
    """All ways to map a matrix [outputs, inputs] of `groups` groups in the encoding of `candidates`.

    Attributes:
        candidates: what pieces may be mapped with.
        time: int64 [N], time of a batch in the cheapest way, for each number of input slices, in the unit of the
            prices.
    """

    def __init__(self, candidates: Candidates, *, inputs: int, outputs: int, groups: int) -> None:
        self.candidates, self._groups = candidates, groups
        splits = candidates.accelerator.mapping.allowed.splits
        input_cuts, output_cuts = _list_cuts(candidates, inputs, outputs) if splits else (set(), set())
        self._inputs, self._outputs = _Axis.of(inputs, input_cuts), _Axis.of(outputs, output_cuts)
        rows = np.stack([candidates.rows(part.start, part.stop) for part in self._inputs.ranges])
        self._cheapest = find_cheapest(candidates, rows, self._cols, groups)
        times = self._cheapest.time
        self._by_output = _cut_in_two(times, self._inputs.cuts, axis=1)
        self._by_input = _cut_in_two(times, self._outputs.cuts, axis=2)
        self._group_cuts = self._cut_groups(rows[:1], self._cols[:1]) if splits and groups > 1 else {}
        outputs_first = _cut_in_two(self._by_output, self._outputs.cuts, axis=1)
        inputs_first = _cut_in_two(self._by_input, self._inputs.cuts, axis=1)
        by_groups = [first.time + last.time for first, last in self._group_cuts.values()]
        self._orders = np.stack([outputs_first, inputs_first, *by_groups])
        self.time: Times = self._orders.min(axis=0)

    def pieces(self, number: int) -> tuple[Piece, ...]:
        """Return the pieces of the cheapest way for the given entry of `input_slices`."""
        order = int(self._orders[:, number].argmin())
        times = self._cheapest.time[number]
        if order == 0:
            cols = _choose(self._by_output[number], self._outputs.cuts)
            return tuple(
                self._piece(number, row, col) for col in cols for row in _choose(times[:, col], self._inputs.cuts)
            )
        if order == 1:
            rows = _choose(self._by_input[number], self._inputs.cuts)
            return tuple(
                self._piece(number, row, col) for row in rows for col in _choose(times[row], self._outputs.cuts)
            )
        cut = list(self._group_cuts)[order - 2]
        ranges = (Range(0, cut), Range(cut, self._groups))
        whole = (self._outputs.ranges[0], self._inputs.ranges[0])
        return tuple(
            Piece(groups, *whole, int(found.candidate[number]), int(found.per_tile[number]))
            for groups, found in zip(ranges, self._group_cuts[cut], strict=True)
        )

    def _piece(self, number: int, row: int, col: int) -> Piece:
        return Piece(
            groups=Range(0, self._groups),
            outputs=self._outputs.ranges[col],
            inputs=self._inputs.ranges[row],
            candidate=int(self._cheapest.candidate[number, row, col]),
            groups_per_tile=int(self._cheapest.per_tile[number, row, col]),
        )

    @property
    def _cols(self) -> Array:
        """Columns of the pieces [outputs, M]: those with the first output also hold the corrections."""
        lengths = np.array([len(part) for part in self._outputs.ranges], dtype=np.int64)
        first = np.array([part.start == 0 for part in self._outputs.ranges])
        with_sums = self.candidates.cols(lengths, has_correction=True)
        return np.where(first[:, None], with_sums, self.candidates.cols(lengths, has_correction=False))

    def _cut_groups(self, rows: Array, cols: Array) -> dict[int, tuple[Cheapest, Cheapest]]:
        """Cut the groups where the first piece fills whole tiles; the whole matrix is rows [1, M] x cols [1, M]."""
        packs = {1}
        for per_tile in self.candidates.groups_per_tile(rows, cols, self._groups):
            packs |= set(np.unique(per_tile).tolist())
        cuts = sorted({self._groups // pack * pack for pack in packs} - {self._groups})
        sizes = {size for cut in cuts for size in (cut, self._groups - cut)}
        found = {size: _only(find_cheapest(self.candidates, rows, cols, size)) for size in sizes}
        return {cut: (found[cut], found[self._groups - cut]) for cut in cuts}


def _only(found: Cheapest) -> Cheapest:
    """Drop the axes of a single piece."""
    return Cheapest(found.time[:, 0, 0], found.candidate[:, 0, 0], found.per_tile[:, 0, 0])


def _cut_in_two(times: Times, cuts: tuple[Cut, ...], axis: int) -> Times:
    """Return the least time along `axis`, which is dropped: of the whole (number 0) or of the two sides of a cut."""
    least = np.asarray(times.take(0, axis=axis))
    for first, last in cuts:
        least = np.minimum(least, times.take(first, axis=axis) + times.take(last, axis=axis))
    return least


def _choose(times: Times, cuts: tuple[Cut, ...]) -> Cut | tuple[int]:
    """Return the ranges of the least time: the whole, or the sides of a cut."""
    options: list[Cut | tuple[int]] = [(0,), *cuts]
    return min(options, key=lambda option: sum(float(times[number]) for number in option))


def _list_cuts(candidates: Candidates, inputs: int, outputs: int) -> tuple[set[int], set[int]]:
    """Return where inputs and outputs may be cut: whole tiles of the most efficient candidates come first."""
    crossbar, taps = candidates.accelerator.crossbar, candidates.table.grid.taps
    pixels = candidates.table.num_pixels[candidates.shape] * candidates.rows_per_pixel
    cols = candidates.positions * candidates.cols_per_position
    order = np.argsort(candidates.efforts(), axis=1, kind="stable")
    efficient = {0, *order[:, :_EFFICIENT].reshape(-1).tolist()}
    input_cuts, output_cuts = set(), set()
    for number in efficient:
        tiles = int(candidates.rows(0, inputs)[number]) // crossbar.rows
        channels = tiles * crossbar.rows // int(pixels[number])
        is_single = candidates.shape[number] == 0
        input_cuts.add(
            tiles * crossbar.rows // int(candidates.rows_per_pixel[number]) if is_single else channels * taps
        )
        tiles = outputs * int(cols[number]) // crossbar.cols
        output_cuts.add(tiles * crossbar.cols // int(cols[number]))
    return {cut for cut in input_cuts if 0 < cut < inputs}, {cut for cut in output_cuts if 0 < cut < outputs}
