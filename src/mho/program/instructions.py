"""The instruction set of an accelerator, as frozen values.

Instructions form a tree. `Loop` repeats its body; addresses are `Affine` in the loop variables, so the size of a
program grows with its tiles and not with its MVMs. `Layer` encloses all that one MVM layer does and says which
geometry it follows, which `mho.program.verify` proves. Every address is per sample: an engine that runs N samples
holds N copies of each buffer.

What instructions act on:

- a float buffer holds a tensor of the digital unit, float32, in its per-sample shape;
- an integers buffer holds the same as whole numbers v, which mean scale * v: of an integer-only digital unit;
- a codes buffer holds the integers that DACs are fed with, or that are written into cells, flat per sample;
- an accumulators buffer holds exact integer sums (64 bit), flat per sample;
- a crossbar holds cells [rows, cols], the drives of its rows and, after `Mvm`, the counts of its columns;
- constants are arrays that lie in the program's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import get_args

from mho.errors import ProgramError
from mho.program.geometry import AccumulatorLayout, ConvGeometry, LinearGeometry, MatmulGeometry

Attribute = int | float | bool | str | tuple[int, ...] | tuple[float, ...]
Geometry = ConvGeometry | LinearGeometry | MatmulGeometry


@dataclass(frozen=True)
class Affine:
    """An address: `base` plus, for every loop variable named in `strides`, stride times its value."""

    base: int
    strides: tuple[tuple[str, int], ...] = ()

    def at(self, values: Mapping[str, int]) -> int:
        """Return the address for these values of the loop variables."""
        return self.base + sum(stride * values[variable] for variable, stride in self.strides)

    def bounds(self, counts: Mapping[str, int]) -> tuple[int, int]:
        """Return the smallest and largest address, inclusive, where each variable runs from 0 to its count - 1."""
        spans = [stride * (counts[variable] - 1) for variable, stride in self.strides]
        return self.base + sum(min(span, 0) for span in spans), self.base + sum(max(span, 0) for span in spans)


@dataclass(frozen=True)
class Span:
    """The half-open range start..stop of rows or columns of an encoded matrix that one tile takes."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ProgramError(f"rows or columns {self.start}..{self.stop}", expected="0 <= start < stop")

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Digital:
    """The digital unit computes `op` of `mho.arithmetic`. `inputs` name buffers or constants.

    Buffers are float32; of an integer-only unit they hold integers, but for what `int_quantize` takes and
    `int_dequantize` makes.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Digital):
            return NotImplemented
        mine = (self.op, self.inputs, self.output, dict(self.attributes))
        return mine == (other.op, other.inputs, other.output, dict(other.attributes))

    def __hash__(self) -> int:
        return hash((self.op, self.inputs, self.output))


@dataclass(frozen=True)
class QuantizeInput:
    """Quantize the buffer `source` to integers q, and store the codes q + `offset` from address `start` on.

    q = clamp(round_half_even(x / scale) + zero_point, qmin, qmax) in float32; where `binary`, q = +1 for x >= 0 and -1
    otherwise. `pads` gives, per axis of the source's shape, how many codes stand before and after; these border codes
    are zero_point + offset. The result is laid out row-major and flat; every other address of `target` holds 0. Of an
    integers buffer, whose numbers are integers of the layer's grid less its zero point, `scale` is 1.
    """

    source: str
    target: str
    start: int
    scale: float
    zero_point: int
    qmin: int
    qmax: int
    binary: bool
    offset: int
    pads: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ClearAccumulators:
    """Set every sum of the accumulators buffer to zero."""

    accumulators: str


@dataclass(frozen=True)
class SumInputs:
    """The digital unit adds codes: accumulators[target] += sum over r of codes[address + row_offsets[r]].

    Zero points of weights need the sum of each input vector; zero points of activations that meet a stored activation
    need the sum of each stored vector.
    """

    codes: str
    address: Affine
    row_offsets: str
    accumulators: str
    target: Affine


@dataclass(frozen=True)
class DigitalProduct:
    """The digital unit multiplies: for each c, accumulators[target + column_targets[c]] += the sum over r of
    codes[address + row_offsets[r]] * stored[stored_address + stored_rows[r] + stored_columns[c]]. `stored` names a
    codes buffer, or a constant of weights with one axis.
    """

    codes: str
    address: Affine
    row_offsets: str
    stored: str
    stored_address: Affine
    stored_rows: str
    stored_columns: str
    accumulators: str
    target: Affine
    column_targets: str


@dataclass(frozen=True)
class WriteTile:
    """Write cells[index, rows, cols] of a constant [tiles, rows, cols] into a crossbar, its first cell at `corner`.

    All other cells of the crossbar become zero; where `joins`, the block belongs to the same write as the one before
    it, which stays.
    """

    crossbar: int
    cells: str
    index: Affine
    rows: Span
    cols: Span
    corner: tuple[int, int] = (0, 0)
    joins: bool = False


@dataclass(frozen=True)
class WriteDynamicTile:
    """Encode activations and write them into a crossbar: the stored operand of a product of two activations.

    With v = codes[address + row_offsets[r] + column_offsets[c]] + addend and s = row_signs[r] * column_signs[c], cells
    hold digits of the stored integer p, which is max(s * v, 0) >> `column_starts[c]`; where `is_signed`, it is the
    bits from `column_starts[c]` on, `column_bits[c]` many, of v in two's complement. A column offset of -1 stores
    p = 1 (a correction column). The cell is ((p << row_shifts[r]) >> column_shifts[c]) mod 2^cell_bits where
    row_blocks[r] = column_blocks[c], and zero elsewhere. The constants are indexed by `rows` and `cols`; the tile's
    first cell lies at the corner of the crossbar.
    """

    crossbar: int
    codes: str
    address: Affine
    row_offsets: str
    row_signs: str
    row_shifts: str
    row_blocks: str
    column_offsets: str
    column_signs: str
    column_starts: str
    column_bits: str
    column_shifts: str
    column_blocks: str
    addend: int
    is_signed: bool
    cell_bits: int
    rows: Span
    cols: Span


@dataclass(frozen=True)
class LoadInput:
    """Drive rows with input slices; no other row of the crossbar is driven.

    Row `first_row` + n is driven with row_signs[r] * ((codes[address + row_offsets[r]] >> (shift + row_shifts[r])) mod
    2^dac_bits) for the nth r in `rows`. A row sign of -1 is a read voltage of the other polarity.
    """

    crossbar: int
    codes: str
    address: Affine
    row_offsets: str
    row_signs: str
    row_shifts: str
    rows: Span
    shift: Affine
    dac_bits: int
    first_row: int = 0


@dataclass(frozen=True)
class Mvm:
    """One analog read: the count of column c becomes the sum over the driven rows of drive[r] * cell[r, c]."""

    crossbar: int


@dataclass(frozen=True)
class ShiftAdd:
    """accumulators[address + column_offsets[c]] += (column_weights[c] * count) << shift, for the nth c in `cols`, with
    the count of column `first_col` + n.

    A column offset of -1 leaves the column out.
    """

    crossbar: int
    accumulators: str
    address: Affine
    column_offsets: str
    column_weights: str
    cols: Span
    shift: Affine
    first_col: int = 0


@dataclass(frozen=True)
class _Total:
    """What totals are made of, and where what becomes of them goes: see `Dequantize`."""

    accumulators: str
    target: str
    layout: AccumulatorLayout
    correction: str
    sum_factors: str
    stored_sums: str
    stored_factor: int
    multiplier: str


@dataclass(frozen=True)
class Dequantize(_Total):
    """Turn sums into the layer's output: y = float32(total) * multiplier (rounded) + bias (rounded), no FMA.

    total = sum + correction + sum_factors * (sum of the input vector) + stored_factor * (sum of the stored vector),
    int64, where the sum of the input vector stands after the channels if `layout.has_sums`; sums in the margins of the
    layout are dropped. `correction`,
    `sum_factors`, `multiplier` and `bias` are constants [groups, channels]; `stored_sums` is an accumulators buffer
    [groups, channels]. Empty names leave a term out.
    """

    bias: str


@dataclass(frozen=True)
class Requantize(_Total):
    """Turn sums into integers, of an integer-only digital unit: v = clamp(RS(t * multiplier + offset, shift)).

    The total is that of `Dequantize`, and so are the fields that it is made of. t is the total (rounded half to even
    where calibrated ADCs make it no whole number), limited to -limit..limit; RS(x, n) = floor((x + 2^(n - 1)) / 2^n),
    and x for n = 0; clamp limits to low..high. All of it fits 64 bits. `multiplier` is a constant int32, `offset` (the
    bias) int64 [groups, channels].
    """

    offset: str
    shift: int
    limit: int
    low: int
    high: int


LastStep = Dequantize | Requantize
"""What every layer ends with."""


@dataclass(frozen=True)
class Loop:
    """Run `body` for variable = 0 .. count - 1. Names of enclosing loops differ."""

    variable: str
    count: int
    body: tuple[Instruction, ...]


@dataclass(frozen=True)
class Window:
    """One turn of the enclosing loops is one window: a read of all tiles of a copy that gives final sums.

    It is what schedules are made of, see `mho.program.schedule`. A layer whose tiles have crossbars of their own has
    one, which encloses everything that is done for each window; windows are counted in the order of the loops.
    """

    body: tuple[Instruction, ...]


@dataclass(frozen=True)
class Layer:
    """All that one MVM layer does. Every MVM stands in exactly one layer; `geometry` says which product it is.

    `adc_bits`: with how many bits calibrated ADCs convert its sums; None: with `converters.adc_bits` of the hardware.
    """

    name: str
    geometry: Geometry
    body: tuple[Instruction, ...]
    adc_bits: int | None = None


Instruction = (
    Digital
    | QuantizeInput
    | ClearAccumulators
    | SumInputs
    | DigitalProduct
    | WriteTile
    | WriteDynamicTile
    | LoadInput
    | Mvm
    | ShiftAdd
    | Dequantize
    | Requantize
    | Loop
    | Window
    | Layer
)

INSTRUCTIONS: tuple[type, ...] = get_args(Instruction)
"""Every kind of instruction."""
