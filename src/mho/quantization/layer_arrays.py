"""Where the weights (or stored activations) of a layer lie on arrays, as far as noise-aware training asks.

`mho.mapping.layer_arrays` tells it of a mapping; nothing here knows how mappings are found, and nothing needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.array.layout import ArrayLayout

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ArrayTile:
    """One matrix in one crossbar, and all windows that meet it.

    Attributes:
        groups: of the part, whose cells lie on the diagonal of one matrix.
        rows, cols: what the tile holds of that matrix.
        reads: rows of the tile that are driven at once, one MVM a step each.
        layout: of all rows of the tile; results are numbered as the columns of `sums`.
        inputs: int64 [windows, rows], which code of the padded input [channels * pixels] drives a row in a window; the
            one after the last drives nothing.
        sums: int64 [windows, results], which sum [groups * (outputs + 1) * positions] a result is added to (the last of
            each group adds inputs up); the one after the last is dropped.
    """

    groups: slice
    rows: slice
    cols: slice
    reads: tuple[slice, ...]
    layout: ArrayLayout
    inputs: Integers
    sums: Integers


@dataclass(frozen=True, eq=False)
class ArrayPart:
    """A rectangle of a layer's logical matrix.

    Attributes:
        encode: integers [..., groups, outputs, inputs] of the whole layer to cells, uint8 [..., groups, rows, cols] of
            this part.
        groups, outputs, inputs: what of the layer it holds.
        row_sign: int64 [rows], +1 or -1.
        col_weight: int64 [cols], a signed power of two; columns of one output after the other.
        correction_cols: how many of the columns, the last, hold ones and add inputs up.
        is_plain: each weight lies in one place only and meets all bits of its input there, alone in its tile (no
            windows of several positions, no input slices side by side, no other groups).
        make_tiles: gives what is written, in order.
    """

    encode: Callable[[NDArray[np.integer]], NDArray[np.uint8]]
    groups: slice
    outputs: slice
    inputs: slice
    row_sign: Integers
    col_weight: Integers
    correction_cols: int
    is_plain: bool
    make_tiles: Callable[[], tuple[ArrayTile, ...]]


@dataclass(frozen=True, eq=False)
class LayerArrays:
    """Everything about one layer.

    Attributes:
        groups, outputs, inputs: of its logical matrix; outputs and inputs of one group.
        positions: input vectors of one image.
        pixels: of one channel of the padded input that windows may read: height and width.
        weight_offset: what cells hold above the stored integers: so many sums of codes are taken back.
        input_bits: bits of a code.
        parts: what lies on arrays.
        adc_bits: with which calibrated ADCs convert its sums; None: with all of theirs.
        is_stored: the matrix is an activation, which is written anew for each sample.
        zero_points: int64 [groups, outputs] of stored integers; None: 0.
    """

    groups: int
    outputs: int
    inputs: int
    positions: int
    pixels: tuple[int, int]
    weight_offset: int
    input_bits: int
    parts: tuple[ArrayPart, ...]
    adc_bits: int | None = None
    is_stored: bool = False
    zero_points: Integers | None = None

    @property
    def zeros(self) -> Integers:
        """The stored integer that counts as 0, of each output: int64 [groups, outputs]."""
        shape = self.groups, self.outputs
        return np.zeros(shape, dtype=np.int64) if self.zero_points is None else self.zero_points.reshape(shape)

    @property
    def offsets(self) -> Integers:
        """What lies in cells beyond the weight that is meant: so many sums of codes are taken back, int64 [groups,
        outputs].
        """
        return self.weight_offset + self.zeros

    @property
    def has_corrections(self) -> bool:
        """True where columns of ones add inputs up; else the digital unit does, exactly."""
        return any(part.correction_cols for part in self.parts)
