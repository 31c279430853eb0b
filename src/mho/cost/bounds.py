"""A lower bound on the time of a layer: what no exact mapping of the kind that crossbars allow can beat.

The kind: in one read, a row carries one slice of one input value (on at most one row of each polarity), a column
counts for one output at one position, with a power of two as its weight, and a cell holds a number of `cell_bits`
bits that depends on one weight. Derived in docs/mapping.md; in short, with s = ceil(log2(values of a weight) / cell
bits):

- Cells. Each product of a weight and an input slice takes s reads of cells of its own, an MVM reads rows * columns of
  them.
- Columns. An output at one position takes as many column reads as its products fill columns of active rows, and as
  many as the bits of its longest product need digits.
- Rows. An input slice is driven as often as the products that it enters fill rows of columns.
- Writes. Weights take s cells each, whose columns serve one output and whose rows one channel.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

from mho.accelerator.spec import Accelerator, Encoding
from mho.mapping.counts import Counts, Prices
from mho.mapping.digits import stored_range_of_width
from mho.mapping.encoding import StoredRange
from mho.mapping.slicing import ceil_divide, count_input_slices
from mho.network.layers import MvmLayer
from mho.quantization.policy import BitWidths


@dataclass(frozen=True)
class LayerBound:
    """What every mapping of a layer takes at least, for one sample.

    Attributes:
        counts: tiles, MVMs, rounds of conversion, operations.
        latency_ps: the least time of a batch, ps.
    """

    counts: Counts[int]
    latency_ps: int


def bound_layer(
    layer: MvmLayer,
    bits: BitWidths,
    accelerator: Accelerator,
    *,
    batch: int = 1,
    values: StoredRange | None = None,
) -> LayerBound:
    """Return the lower bound of a layer.

    Args:
        layer: the logical layer.
        bits: weight and activation bits.
        accelerator: crossbar, converters and prices.
        batch: samples that share the writes of weights.
        values: the integers that weights may take; None for those that `bits.weight_bits` means in a policy.
    """
    stored = values if values is not None else stored_range_of_width(bits.weight_bits)
    crossbar, geometry = accelerator.crossbar, _Geometry.of(layer)
    slices = count_input_slices(bits.act_bits, accelerator.converters.dac_bits)
    cells = ceil_divide(((stored.qmax - stored.qmin) // stored.step).bit_length(), crossbar.cell_bits)
    active, cols = crossbar.rows_at_once, crossbar.cols
    digits = _count_digits(stored, slices, accelerator)
    column_reads = (
        layer.repeat
        * layer.outputs
        * sum(
            count * max(digits, ceil_divide(geometry.channels * taps * slices * cells, active))
            for taps, count in geometry.taps_of_positions.items()
            if taps
        )
    )
    row_reads = (
        layer.repeat
        * geometry.channels
        * slices
        * sum(
            count * ceil_divide(layer.outputs * uses * cells, cols) for uses, count in geometry.uses_of_pixels.items()
        )
    )
    mvms = max(ceil_divide(column_reads, cols), ceil_divide(row_reads, active))
    adcs = ceil_divide(cols, accelerator.converters.columns_per_adc)
    counts = Counts(
        tiles=_count_tiles(layer, geometry, cells, accelerator),
        mvms=mvms,
        conversions=max(mvms, ceil_divide(column_reads, adcs)),
        operations=column_reads,
    )
    prices = Prices.of(accelerator, batch)
    time = prices.time_ps(counts, is_stored_dynamically=layer.is_stored_dynamically)
    if layer.is_stored_dynamically and not accelerator.digital.is_ideal:
        time = min(time, prices.reading_ps(Counts(0, 0, 0, layer.macs)))
    return LayerBound(counts, time)


@dataclass(frozen=True)
class _Geometry:
    """Which inputs meet which positions, counted; padding needs no crossbar.

    Attributes:
        channels: input channels of one group.
        taps: pixels that a position reads of a channel at most.
        taps_of_positions: number of pixels inside the image -> number of positions that read so many.
        uses_of_pixels: number of positions -> number of pixels that so many read.
    """

    channels: int
    taps: int
    taps_of_positions: Counter[int]
    uses_of_pixels: Counter[int]

    @classmethod
    def of(cls, layer: MvmLayer) -> _Geometry:
        conv = layer.conv
        if conv is None:
            return cls(layer.inputs, 1, Counter({1: layer.positions}), Counter({1: layer.positions}))
        taps: list[Counter[int]] = []
        uses: list[Counter[int]] = []
        for axis in (0, 1):
            pixels = [
                [
                    pixel
                    for tap in range(conv.kernel[axis])
                    if 0
                    <= (pixel := position * conv.strides[axis] + tap * conv.dilations[axis] - conv.pads[axis])
                    < conv.in_size[axis]
                ]
                for position in range(conv.out_size[axis])
            ]
            taps.append(Counter(len(read) for read in pixels))
            uses.append(Counter(Counter(pixel for read in pixels for pixel in read).values()))
        kernel = math.prod(conv.kernel)
        return cls(layer.inputs // kernel, kernel, _product(taps, conv.batch), _product(uses, conv.batch))


def _product(axes: list[Counter[int]], times: int) -> Counter[int]:
    """Return how often each product of a number along one axis and a number along the other occurs."""
    total: Counter[int] = Counter()
    for along_height, rows in axes[0].items():
        for along_width, cols in axes[1].items():
            total[along_height * along_width] += rows * cols * times
    return total


def _count_digits(values: StoredRange, slices: int, accelerator: Accelerator) -> int:
    """Return the column reads without which the products of one input with all its slices cannot be told apart.

    Columns in the order of their weights: a weight is a power of two, and it cannot leave a gap above what the
    columns below it reach (see docs/mapping.md), so the reach of n columns is bounded; it must cover the longest
    product.
    """
    polarities = 2 if Encoding.DIFFERENTIAL_ROWS in accelerator.mapping.allowed.encodings else 1
    cell = polarities * ((1 << accelerator.crossbar.cell_bits) - 1)
    dac_bits = accelerator.converters.dac_bits
    span = values.qmax - values.qmin
    needed, reach, columns = span << (dac_bits * (slices - 1)), 0, 0
    while reach < needed:
        shift = next(shift for shift in range(0, dac_bits * slices, dac_bits) if span << shift > reach)
        weight = 1 << ((reach + (values.step << shift)).bit_length() - 1)
        reach += cell * weight
        columns += 1
    return columns


def _count_tiles(layer: MvmLayer, geometry: _Geometry, cells: int, accelerator: Accelerator) -> int:
    rows, cols = accelerator.crossbar.rows, accelerator.crossbar.cols
    by_columns = Fraction(layer.outputs * ceil_divide(layer.inputs * cells, rows), cols)
    by_rows = Fraction(geometry.channels * ceil_divide(layer.outputs * geometry.taps * cells, cols), rows)
    return math.ceil(layer.repeat * max(by_columns, by_rows))
