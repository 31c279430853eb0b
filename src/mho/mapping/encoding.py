"""How signed integers lie in cells that hold only small unsigned ones, and how they are taken back from column sums.

One rule covers every encoding. Each physical row has the logical input that drives it and a sign; each physical column
has the logical output that it serves, a sign and a shift. The cell where row r and column c meet holds the digit

    part = max(row_sign[r] * col_sign[c] * (W[col_output[c], row_input[r]] + weight_offset), 0)
    cell[r, c] = (part >> col_shift[c]) & (2^cell_bits - 1)

and the product of W with the inputs u is

    sum over c of output o, over r:  col_sign[c] * 2^col_shift[c] * row_sign[r] * cell[r, c] * u[row_input[r]]
    - weight_offset * sum over inputs of u

The correction column (`col_output` -1) holds ones: its sum is the sum of the inputs. `EncodingRule` is that rule for a
matrix or for one tile of it. It holds no weights, so an instruction can carry it and encode what is known only at run
time.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from mho.accelerator.spec import Encoding
from mho.errors import MappingError
from mho.mapping.slicing import Count
from mho.mapping.tiling import Tile

CORRECTION = -1
"""`col_output` of the column that gives the sum of the inputs."""

_MAX_MAGNITUDE = 1 << 24
_BLOCK_CELLS = 1 << 22


@dataclass(frozen=True)
class StoredRange:
    """The integers that a stored operand may take: qmin, qmin + step, ..., qmax."""

    qmin: int
    qmax: int
    step: int = 1

    def __post_init__(self) -> None:
        if not -_MAX_MAGNITUDE <= self.qmin < self.qmax <= _MAX_MAGNITUDE or self.step not in (1, 2):
            raise MappingError(
                f"stored integers {self.qmin}..{self.qmax} in steps of {self.step} cannot be encoded",
                expected=f"qmin < qmax, within +-{_MAX_MAGNITUDE}, step 1 or 2",
            )

    @classmethod
    def of_grid(cls, qmin: int, qmax: int, bits: int) -> StoredRange:
        """Return the range of a quantization grid; one bit from -1 to 1 is {-1, +1}, without zero."""
        return cls(qmin, qmax, 2 if bits == 1 and (qmin, qmax) == (-1, 1) else 1)

    @property
    def magnitude(self) -> int:
        """Largest absolute value."""
        return max(-self.qmin, self.qmax)


@dataclass(frozen=True, eq=False)
class EncodingRule:
    """Where the digits of a logical matrix [outputs, inputs] lie in a physical one [rows, cols]; see the module.

    Attributes:
        values: the integers that the matrix may hold.
        cell_bits: bits a cell.
        weight_offset: what is added to every weight before its digits are taken, >= 0.
        row_input: int32 [rows], logical input that drives the row.
        row_sign: int8 [rows], +1 or -1: the row is driven with the inverted input.
        col_output: int32 [cols], logical output that the column serves, or `CORRECTION`.
        col_sign: int8 [cols], +1 or -1: the column's sum is subtracted.
        col_shift: int8 [cols], power of two with which the column's sum counts.
    """

    values: StoredRange
    cell_bits: int
    weight_offset: int
    row_input: NDArray[np.int32]
    row_sign: NDArray[np.int8]
    col_output: NDArray[np.int32]
    col_sign: NDArray[np.int8]
    col_shift: NDArray[np.int8]

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, np.ndarray):
                view = value.view()
                view.setflags(write=False)
                object.__setattr__(self, part.name, view)

    @property
    def rows(self) -> int:
        """Physical rows."""
        return len(self.row_input)

    @property
    def cols(self) -> int:
        """Physical columns."""
        return len(self.col_output)

    @property
    def col_weight(self) -> NDArray[np.int64]:
        """int64 [cols]: signed power of two with which a column's sum enters its output (1 for the correction)."""
        return self.col_sign * (np.int64(1) << self.col_shift.astype(np.int64))

    def block(self, tile: Tile) -> EncodingRule:
        """Return the rule of one tile; logical inputs and outputs keep their numbers."""
        rows, cols = slice(tile.row_start, tile.row_stop), slice(tile.col_start, tile.col_stop)
        return replace(
            self,
            row_input=self.row_input[rows],
            row_sign=self.row_sign[rows],
            col_output=self.col_output[cols],
            col_sign=self.col_sign[cols],
            col_shift=self.col_shift[cols],
        )


@dataclass(frozen=True, eq=False)
class EncodedMatrix:
    """Cell contents and how to read them: W[o, i] = sum of row_sign * col_weight * cells over the rows of input i and
    the columns of output o, less `weight_offset`.

    Attributes:
        cells: uint8 [rows, cols], 0 .. 2^cell_bits - 1.
        row_input, row_sign, col_output, col_weight, weight_offset: see `EncodingRule`.
    """

    cells: NDArray[np.uint8]
    row_input: NDArray[np.int32]
    row_sign: NDArray[np.int8]
    col_output: NDArray[np.int32]
    col_weight: NDArray[np.int64]
    weight_offset: int


def count_rows(inputs: Count, encoding: Encoding) -> Count:
    """Return the physical rows of a matrix with `inputs` logical inputs. Source: arXiv 2601.21737."""
    return inputs * _signs_per_row(encoding)


def count_cols(outputs: Count, num_weight_slices: Count, encoding: Encoding) -> Count:
    """Return the physical columns of a matrix with `outputs` logical outputs. Source: arXiv 2601.21737."""
    columns = outputs * num_weight_slices * _signs_per_column(encoding)
    return columns + 1 if encoding is Encoding.OFFSET else columns


def describe_encoding(
    encoding: Encoding, *, outputs: int, inputs: int, num_weight_slices: int, cell_bits: int, values: StoredRange
) -> EncodingRule:
    """Lay a logical matrix [outputs, inputs] out on rows and columns.

    Columns of one output lie side by side (slice by slice, the positive part before the negative), and so do the two
    rows of one input; the correction column is the last. Rows and columns are as many as `count_rows` and `count_cols`
    say.

    Raises:
        MappingError: the slices cannot hold the integers of `values`.
    """
    offset = encoding is Encoding.OFFSET
    _check_capacity(values, offset=offset, num_weight_slices=num_weight_slices, cell_bits=cell_bits)
    row_signs, col_signs = _signs_per_row(encoding), _signs_per_column(encoding)
    row = np.arange(inputs * row_signs, dtype=np.int32)
    col = np.arange(outputs * num_weight_slices * col_signs, dtype=np.int32)
    first_shift = values.step.bit_length() - 1 if offset else 0
    shift = first_shift + cell_bits * (col // col_signs % num_weight_slices)
    tail = np.ones(int(offset), dtype=np.int32)
    return EncodingRule(
        values=values,
        cell_bits=cell_bits,
        weight_offset=max(0, -values.qmin) if offset else 0,
        row_input=row // np.int32(row_signs),
        row_sign=(1 - 2 * (row % row_signs)).astype(np.int8),
        col_output=np.concatenate([col // (num_weight_slices * col_signs), tail * CORRECTION]).astype(np.int32),
        col_sign=np.concatenate([1 - 2 * (col % col_signs), tail]).astype(np.int8),
        col_shift=np.concatenate([shift, tail * 0]).astype(np.int8),
    )


def encode_block(weights: NDArray[np.integer], rule: EncodingRule) -> NDArray[np.uint8]:
    """Encode the rows and columns that `rule` names.

    Args:
        weights: integers [..., outputs, inputs]: the whole logical matrix, or a stack of them.
        rule: of the whole matrix or of a tile.

    Returns:
        uint8 [..., rows, cols], values 0 .. 2^cell_bits - 1. Needs about eight times that in memory meanwhile.

    Raises:
        MappingError: an integer is outside of `rule.values`.
    """
    corrections = rule.col_output == CORRECTION
    outputs = np.where(corrections, 0, rule.col_output)
    first_output, first_input = outputs[~corrections].min(initial=outputs.max()), rule.row_input.min()
    outputs = np.maximum(outputs - first_output, 0)
    part = weights[..., first_output : first_output + outputs.max() + 1, first_input : rule.row_input.max() + 1]
    _check_range(part, rule.values)
    stored = np.swapaxes(part, -1, -2).astype(np.int32) + np.int32(rule.weight_offset)
    stored = np.take(stored, rule.row_input - first_input, axis=-2) * rule.row_sign.astype(np.int32)[:, None]
    digits = np.take(stored, outputs, axis=-1)
    digits *= rule.col_sign
    np.maximum(digits, 0, out=digits)
    digits >>= rule.col_shift
    digits &= (1 << rule.cell_bits) - 1
    digits[..., corrections] = 1
    cells: NDArray[np.uint8] = digits.astype(np.uint8)
    return cells


def encode_matrix(
    weights: NDArray[np.integer], encoding: Encoding, num_weight_slices: int, cell_bits: int, *, values: StoredRange
) -> EncodedMatrix:
    """Encode a whole logical matrix.

    Args:
        weights: integers [outputs, inputs] in `values`.
        encoding: how signs are held.
        num_weight_slices: cells a weight (a sign part), see `slicing.count_weight_slices`.
        cell_bits: 1..8.
        values: the integers that the operand may take: of its grid, not of what this matrix happens to hold.

    Raises:
        MappingError: an integer is outside of `values`, or the slices cannot hold `values`.
    """
    outputs, inputs = weights.shape
    rule = describe_encoding(
        encoding,
        outputs=outputs,
        inputs=inputs,
        num_weight_slices=num_weight_slices,
        cell_bits=cell_bits,
        values=values,
    )
    cells = np.empty((rule.rows, rule.cols), dtype=np.uint8)
    step = max(1, _BLOCK_CELLS // rule.rows)
    for start in range(0, rule.cols, step):
        stop = min(start + step, rule.cols)
        cells[:, start:stop] = encode_block(weights, rule.block(Tile(0, rule.rows, start, stop)))
    return EncodedMatrix(cells, rule.row_input, rule.row_sign, rule.col_output, rule.col_weight, rule.weight_offset)


def _signs_per_row(encoding: Encoding) -> int:
    return 2 if encoding is Encoding.DIFFERENTIAL_ROWS else 1


def _signs_per_column(encoding: Encoding) -> int:
    return 2 if encoding is Encoding.DIFFERENTIAL_COLUMNS else 1


def _check_capacity(values: StoredRange, *, offset: bool, num_weight_slices: int, cell_bits: int) -> None:
    demand = (values.qmax + max(0, -values.qmin)) // values.step if offset else values.magnitude
    limit = (1 << (num_weight_slices * cell_bits)) - 1
    if demand > limit:
        raise MappingError(
            f"integers {values.qmin}..{values.qmax} need digits up to {demand}, "
            f"but {num_weight_slices} cell(s) of {cell_bits} bits hold at most {limit}",
            hint="take more weight slices, cells of more bits, or fewer weight bits",
        )


def _check_range(weights: NDArray[np.integer], values: StoredRange) -> None:
    low, high = int(weights.min(initial=values.qmin)), int(weights.max(initial=values.qmax))
    on_grid = values.step == 1 or not ((weights - values.qmin) % values.step).any()
    if low < values.qmin or high > values.qmax or not on_grid:
        raise MappingError(
            f"stored integers reach from {low} to {high}",
            expected=f"{values.qmin}..{values.qmax}" + (f" in steps of {values.step}" if values.step > 1 else ""),
        )
