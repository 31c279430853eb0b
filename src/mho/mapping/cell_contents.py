"""What lies in the cells of a part, what drives its rows and what its columns count for: all that a program needs.

A part is swept over windows. The window with the number (b, m, n) has its origin at position (m * step, n * step) of
image b along height and width; the pixel of a position is its stride times as far. In one step of one window

- row r is driven with slice bits [step * step_shift + shift[r], + dac_bits) of the code of `channel[r]` at the pixel
  origin + `pixel[r]` (of the padded input), with polarity `sign[r]`; a pixel outside of the padded input drives
  nothing;
- column c adds (count << step * step_shift) * weight[c] to output `output[c]` at the position origin + `position[c]`,
  or to the sum of inputs at that position where `output[c]` is `CORRECTION`; a position outside of the layer is
  dropped.

The matrix of one group is cut into tiles as `tiling.split_tiles` says; where groups share a tile, their matrices lie
on its diagonal and all other cells are zero. Dense layers have a single row of pixels and a channel for each input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.encoding import (
    CORRECTION,
    count_input_rows,
    count_sign_slices,
    count_stored_bits,
    first_shift,
    weight_offset,
)
from mho.mapping.layer_mapping import LayerMapping, Part, Range
from mho.mapping.tiling import Lines, Tile, as_lines, split_tiles
from mho.mapping.windows import PositionGrid

Integers = NDArray[np.int64]

_BLOCK_CELLS = 1 << 18
"""Cells that are worked out at a time: what fits a processor's cache."""

_BITS_OF_INT32 = 30
"""Stored integers of fewer bits, shifted as their rows are, leave room for a sign and an offset."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of the matrix of one group, int64 [rows] each.

    Attributes:
        channel: input channel within the group (for dense layers: the input).
        pixel: [rows, 2], row and column of the pixel from the origin of the window.
        shift: bits by which the row's input slice is above the first of its step.
        sign: +1, or -1 for a row that is driven with the other polarity.
    """

    channel: Integers
    pixel: Integers
    shift: Integers
    sign: Integers


@dataclass(frozen=True, eq=False)
class Cols:
    """The columns of the matrix of one group, int64 [cols] each.

    Attributes:
        output: output within the group, or `CORRECTION`.
        position: [cols, 2], row and column of the position from the origin of the window.
        weight: signed power of two with which the column's count enters the sum.
        digit: power of two of the digit that the column holds, of the weight's stored integer or of its sign bit.
        is_sign_bit: 1 where the column holds digits of the sign bit of two's complement.
    """

    output: Integers
    position: Integers
    weight: Integers
    digit: Integers
    is_sign_bit: Integers


@dataclass(frozen=True)
class TilePlace:
    """One tile of a part: the groups whose matrices it holds (block-diagonally), and which block of each."""

    groups: Range
    block: Tile


@dataclass(frozen=True, eq=False)
class PartContents:
    """Everything about one part; see the module.

    Attributes:
        mapping, part: what is described.
        grid: positions and pixels of the layer.
        rows, cols: of the matrix of one group.
        step_shift: bits that one step of the input takes.
        weight_offset: what every stored weight is above the weight itself: that many sums of inputs must be taken back.
    """

    mapping: LayerMapping
    part: Part
    grid: PositionGrid
    accelerator: Accelerator
    rows: Rows
    cols: Cols
    step_shift: int
    weight_offset: int

    def tiles(self) -> Iterator[TilePlace]:
        """Yield the tiles of the part; as many as `part.counts.tiles`."""
        part = self.part
        if part.groups_per_tile > 1:
            for start in range(part.groups.start, part.groups.stop, part.groups_per_tile):
                stop = min(start + part.groups_per_tile, part.groups.stop)
                yield TilePlace(Range(start, stop), Tile(0, part.rows, 0, part.cols))
            return
        for group in range(part.groups.start, part.groups.stop):
            for block in split_tiles(part.rows, part.cols, self.accelerator.crossbar):
                yield TilePlace(Range(group, group + 1), block)

    def encode(self, weights: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the cells of all groups of the part, uint8 [..., groups, rows, cols].

        Args:
            weights: integers [..., groups, outputs, inputs] of the whole layer.

        Raises:
            MappingError: an integer is outside of `mapping.values`.
        """
        own = weights[..., self.part.groups.start : self.part.groups.stop, :, :]
        self.mapping.values.check(own)
        cells = _encode(self, own.reshape(-1, *own.shape[-2:]))
        return cells.reshape(*own.shape[:-2], *cells.shape[1:])

    def encode_one(self) -> OneWeight:
        """Return the cells of one weight at one position, those of each integer; all weights of the part are alike."""
        part, cols, values = self.part, self.cols, self.mapping.values
        integers = np.arange(values.qmin, values.qmax + 1, values.step)
        first = (cols.output == part.outputs.start) | (cols.output == CORRECTION)
        position, its_rows, number = _rows_of_one_input(self)
        its_cols = np.flatnonzero(first & (cols.position == position).all(axis=1))
        shape = len(integers), part.outputs.stop, part.inputs.stop
        groups = np.broadcast_to(integers[:, None, None], shape)
        digits = _fill(self, groups, np.full(len(its_rows), number), its_rows, its_cols)
        return OneWeight(integers, digits.astype(np.uint8), its_rows, its_cols)


@dataclass(frozen=True, eq=False)
class OneWeight:
    """The cells that one weight takes at one position.

    Attributes:
        integers: int64 [integers], all that it may be, rising evenly.
        digits: uint8 [integers, rows, cols], what cells hold.
        rows, cols: int64, where they lie in the matrix of a group; the columns of ones are the last.
    """

    integers: Integers
    digits: NDArray[np.uint8]
    rows: Integers
    cols: Integers


def lay_out(mapping: LayerMapping, part: Part, accelerator: Accelerator) -> PartContents:
    """Describe one part of a mapping."""
    grid = PositionGrid.of(mapping.layer)
    return PartContents(
        mapping=mapping,
        part=part,
        grid=grid,
        accelerator=accelerator,
        rows=_lay_out_rows(mapping.encoding, part, grid, accelerator.converters.dac_bits),
        cols=_lay_out_cols(mapping, part, grid, accelerator),
        step_shift=part.slices_at_once * accelerator.converters.dac_bits,
        weight_offset=weight_offset(mapping.values, mapping.encoding),
    )


def _lay_out_rows(encoding: Encoding, part: Part, grid: PositionGrid, dac_bits: int) -> Rows:
    pixels, channels = [], []
    for channel, start, stop in _channels(part.inputs, grid.taps):
        found = grid.pixels(part.window, start, stop)
        pixels.append(found)
        channels.append(np.full(len(found), channel, dtype=np.int64))
    signs = count_input_rows(encoding)
    copies = part.slices_at_once * signs
    places, pixel = np.concatenate(channels), np.concatenate(pixels)
    copy = np.tile(np.arange(copies, dtype=np.int64), len(places))
    return Rows(
        channel=np.repeat(places, copies),
        pixel=np.repeat(pixel, copies, axis=0),
        shift=copy // signs * dac_bits,
        sign=1 - 2 * (copy % signs),
    )


def _channels(inputs: Range, taps: int) -> Iterator[tuple[int, int, int]]:
    """Yield each channel that `inputs` touches, with the taps of it: start, stop."""
    for channel in range(inputs.start // taps, -(-inputs.stop // taps)):
        yield channel, max(inputs.start - channel * taps, 0), min(inputs.stop - channel * taps, taps)


def _lay_out_cols(mapping: LayerMapping, part: Part, grid: PositionGrid, accelerator: Accelerator) -> Cols:
    positions = grid.positions(part.window)
    digits = _list_digits(mapping, part, accelerator)
    corrections = part.correction_cols // len(positions)
    outputs = len(part.outputs)
    position, output, digit = np.indices((len(positions), outputs, len(digits.weight)), dtype=np.int64).reshape(3, -1)
    last_position, last = np.indices((len(positions), corrections), dtype=np.int64).reshape(2, -1)
    shift = last * accelerator.crossbar.cell_bits
    return Cols(
        output=np.concatenate([part.outputs.start + output, np.full_like(last, CORRECTION)]),
        position=positions[np.concatenate([position, last_position])],
        weight=np.concatenate([digits.weight[digit], np.int64(1) << shift]),
        digit=np.concatenate([digits.shift[digit], shift]),
        is_sign_bit=np.concatenate([digits.is_sign_bit[digit], np.zeros_like(last)]),
    )


@dataclass(frozen=True, eq=False)
class _Digits:
    """The columns of one output at one position: their weights, digits, and whether they hold the sign bit."""

    weight: Integers
    shift: Integers
    is_sign_bit: Integers


def _list_digits(mapping: LayerMapping, part: Part, accelerator: Accelerator) -> _Digits:
    values, encoding, cell_bits = mapping.values, mapping.encoding, accelerator.crossbar.cell_bits
    last_shift = (part.slices_at_once - 1) * accelerator.converters.dac_bits
    signs = (1, -1) if encoding is Encoding.DIFFERENTIAL_COLUMNS else (1,)
    unit, sign_bit = first_shift(values, encoding), count_stored_bits(values, encoding)
    # The sign bit comes first: after a digit of the same weight it would look like the second of differential columns.
    columns = [
        (-1 << (sign_bit + number * cell_bits), number * cell_bits, 1)
        for number in range(count_sign_slices(values, encoding, cell_bits, last_shift))
    ]
    columns += [
        (sign << (unit + number * cell_bits), number * cell_bits, 0)
        for number in range(part.num_weight_slices)
        for sign in signs
    ]
    weight, shift, is_sign_bit = np.array(columns, dtype=np.int64).T
    return _Digits(weight, shift, is_sign_bit)


def _encode(contents: PartContents, groups: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Fill matrices of groups block by block: all channels and outputs that a pixel and a position have in common."""
    part, grid, rows, cols = contents.part, contents.grid, contents.rows, contents.cols
    cells = np.zeros((len(groups), part.rows, part.cols), dtype=np.uint8)
    rows_of, cols_of = _group_by(rows.pixel), _group_by(cols.position)
    for pixel, its_rows in rows_of.items():
        for position, its_cols in cols_of.items():
            tap = grid.tap(part.window, pixel, position)
            if tap is None:
                continue
            inputs = rows.channel[its_rows] * grid.taps + tap
            held = (inputs >= part.inputs.start) & (inputs < part.inputs.stop)
            inputs, its_held = inputs[held], its_rows[held]
            step = max(1, _BLOCK_CELLS // (len(groups) * len(its_cols)))
            for start in range(0, len(its_held), step):
                some = slice(start, start + step)
                block = _fill(contents, groups, inputs[some], its_held[some], its_cols)
                cells[(slice(None), *_index(its_held[some], its_cols))] = block
    return cells


def _fill(
    contents: PartContents, groups: NDArray[np.integer], inputs: Integers, rows: Integers, cols: Integers
) -> NDArray[np.integer]:
    """Return the digits of cells, [groups, rows, cols], in rows that hold `inputs`."""
    block = _digits_of(contents, groups, inputs, rows, cols)
    block >>= contents.cols.digit[cols].astype(block.dtype)
    block &= block.dtype.type((1 << contents.accelerator.crossbar.cell_bits) - 1)
    return block


def _rows_of_one_input(contents: PartContents) -> tuple[tuple[int, int], Integers, int]:
    """Return a position, the rows that hold one of its inputs, and the number of that input.

    It is the first position that has any: windows of a pattern may leave some without.
    """
    part, grid, rows = contents.part, contents.grid, contents.rows
    for position in dict.fromkeys((int(down), int(right)) for down, right in contents.cols.position):
        for pixel, its_rows in _group_by(rows.pixel).items():
            tap = grid.tap(part.window, pixel, position)
            if tap is not None:
                inputs = rows.channel[its_rows] * grid.taps + tap
                held = (inputs >= part.inputs.start) & (inputs < part.inputs.stop)
                if held.any():
                    number = int(inputs[held][0])
                    return position, its_rows[inputs == number], number
    raise AssertionError("a part without inputs")


def _index(rows: Integers, cols: Integers) -> tuple[Lines, Lines]:
    """Return what indexes a block of rows and columns."""
    lines = as_lines(rows), as_lines(cols)
    return lines if all(isinstance(one, slice) for one in lines) else (rows[:, None], cols)


def _digits_of(
    contents: PartContents, groups: NDArray[np.integer], inputs: Integers, rows: Integers, cols: Integers
) -> NDArray[np.integer]:
    """Return the stored integers, shifted as their rows are, [groups, rows, cols], of which columns hold digits."""
    layout, values, encoding = contents.cols, contents.mapping.values, contents.mapping.encoding
    output = layout.output[cols]
    is_correction = output == CORRECTION
    shifts = contents.rows.shift[rows]
    width = count_stored_bits(values, encoding) + int(shifts.max(initial=0))
    taken = groups[:, np.where(is_correction, 0, output)[None, :], inputs[:, None]]
    block: NDArray[np.integer] = taken.astype(np.int32 if width < _BITS_OF_INT32 else np.int64)
    if encoding is Encoding.TWOS_COMPLEMENT:
        bits = count_stored_bits(values, encoding)
        block = np.where(layout.is_sign_bit[cols], (block >> bits) & 1, block & ((1 << bits) - 1))
    elif encoding in (Encoding.OFFSET, Encoding.OFFSET_DIGITAL):
        block = (block + contents.weight_offset) >> first_shift(values, encoding)
    else:
        signs = contents.rows.sign[rows][:, None] * np.sign(layout.weight[cols])
        block = np.maximum(block * signs.astype(block.dtype), 0)
    block[..., is_correction] = 1
    block <<= shifts.astype(block.dtype)[:, None]
    return block


def _group_by(pairs: Integers) -> dict[tuple[int, int], Integers]:
    """Return the numbers of the lines [lines, 2] that hold each pair."""
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(unique) + 1))
    return {
        (int(pair[0]), int(pair[1])): order[bounds[number] : bounds[number + 1]].astype(np.int64)
        for number, pair in enumerate(unique)
    }
