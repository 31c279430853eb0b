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
- Writes. Weights take s cells each, whose columns serve one output and whose rows one channel. Layers that follow each
  other may share writes, where each lies in a single tile: together they need as many as their cells fill.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.adc_resolution import converts_differences, layer_hardware
from mho.mapping.digital_layers import may_be_digital
from mho.mapping.encoding import StoredRange, stored_range
from mho.mapping.event_counts import EventCounts, UnitTimes
from mho.mapping.layer_mapping import LayerMapping
from mho.mapping.network_mapping import NetworkMapping
from mho.mapping.slicing import ceil_divide, count_input_slices
from mho.network.layers import MvmLayer
from mho.policy import BitWidths


@dataclass(frozen=True)
class LayerBound:
    """What every mapping of a layer takes at least, for one sample.

    Attributes:
        counts: tiles, MVMs, rounds of conversion, operations.
        latency_ps: the least time of a batch, ps.
    """

    counts: EventCounts[int]
    latency_ps: int


@dataclass(frozen=True)
class NetworkBound:
    """What every mapping of a network takes at least, for a batch.

    Attributes:
        layers: each layer's bound within the network: its reads alone where an earlier layer may write its tile.
        shared_writes: what all layers need together whose own bounds hold no writes.
        latency_ps: the least time of all layers, ps: their bounds, and those writes.
    """

    layers: tuple[LayerBound, ...]
    shared_writes: int
    latency_ps: int


def bound_network(mapping: NetworkMapping, accelerator: Accelerator, *, batch: int = 1) -> NetworkBound:
    """Return the lower bound of a network.

    Args:
        mapping: the layers in execution order, with their widths; how they are mapped does not matter.
        accelerator: crossbar, converters, prices, and whether writes may be shared.
        batch: samples that share the writes of weights.
    """
    layers = mapping.layers
    alone = [bound_layer(one.layer, one.bits, accelerator, batch=batch) for one in layers]
    bounds, writes = [_without_write(one, own, accelerator, batch) for one, own in zip(layers, alone, strict=True)], 0
    for run in _find_sharing([one.layer for one in layers], alone, accelerator):
        cells = sum(_count_cells(layers[number].layer, layers[number].bits, accelerator) for number in run)
        writes += ceil_divide(cells, accelerator.crossbar.rows * accelerator.crossbar.cols)
        for number in run:
            counts = replace(alone[number].counts, tiles=0)
            prices = _least_prices(layer_hardware(accelerator, layers[number].bits), batch)
            bounds[number] = LayerBound(counts, prices.reading_ps(counts))
    total = sum(bound.latency_ps for bound in bounds) + writes * accelerator.write_latency_ps
    return NetworkBound(tuple(bounds), writes, total)


def _without_write(mapping: LayerMapping, bound: LayerBound, accelerator: Accelerator, batch: int) -> LayerBound:
    """Return a bound that also holds where an earlier layer writes the tile of one that may be digital."""
    layer = mapping.layer
    is_shared = accelerator.mapping.allowed.shared_writes and bound.counts.tiles <= 1
    if layer.is_stored_dynamically or not (is_shared and may_be_digital(layer, accelerator)):
        return bound
    reading = _least_prices(layer_hardware(accelerator, mapping.bits), batch).reading_ps(bound.counts)
    return replace(bound, latency_ps=min(bound.latency_ps, reading))


def _find_sharing(
    layers: Sequence[MvmLayer], bounds: Sequence[LayerBound], accelerator: Accelerator
) -> Iterator[list[int]]:
    """Yield the numbers of layers between which writes may be shared: two or more."""
    if not accelerator.mapping.allowed.shared_writes:
        return
    run: list[int] = []
    for number, (layer, bound) in enumerate(zip(layers, bounds, strict=True)):
        if may_be_digital(layer, accelerator):
            continue
        if layer.is_stored_dynamically or bound.counts.tiles > 1:
            yield from [run] if len(run) > 1 else []
            run = []
        else:
            run.append(number)
    yield from [run] if len(run) > 1 else []


def bound_layer(layer: MvmLayer, bits: BitWidths, accelerator: Accelerator, *, batch: int = 1) -> LayerBound:
    """Return the lower bound of a layer.

    Args:
        layer: the logical layer.
        bits: weight and activation bits.
        accelerator: crossbar, converters and prices.
        batch: samples that share the writes of weights.
    """
    stored = stored_range(layer, bits.weight_bits)
    crossbar, geometry = accelerator.crossbar, _Geometry.of(layer)
    slices = count_input_slices(bits.act_bits, accelerator.converters.dac_bits)
    cells = _cells_per_weight(stored, accelerator)
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
    adcs = accelerator.converters.count_adcs(cols)
    conversions = ceil_divide(column_reads, _columns_a_conversion(accelerator))
    counts = EventCounts(
        tiles=_count_tiles(layer, geometry, cells, accelerator),
        mvms=mvms,
        conversions=max(mvms, ceil_divide(conversions, adcs)),
        operations=conversions,
    )
    prices = _least_prices(layer_hardware(accelerator, bits), batch)
    time = prices.time_ps(counts, is_stored_dynamically=layer.is_stored_dynamically)
    if may_be_digital(layer, accelerator):
        time = min(time, prices.reading_ps(EventCounts(0, 0, 0, layer.macs)))
    return LayerBound(counts, time)


def _least_prices(accelerator: Accelerator, batch: int) -> UnitTimes:
    """Return the prices in the encoding whose conversions take the least."""
    return min(UnitTimes.by_encoding(accelerator, batch).values(), key=lambda prices: prices.conversion_ps)


def _columns_a_conversion(accelerator: Accelerator) -> int:
    """Return the most columns that are converted together."""
    encodings = accelerator.mapping.allowed.encodings
    return 2 if any(converts_differences(accelerator, encoding) for encoding in encodings) else 1


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
    """Return the column reads without which the products of one input with all its slices cannot be distinguished.

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


def _cells_per_weight(values: StoredRange, accelerator: Accelerator) -> int:
    """Return the cells without which the integers of a weight cannot be distinguished."""
    return ceil_divide(((values.qmax - values.qmin) // values.step).bit_length(), accelerator.crossbar.cell_bits)


def _count_cells(layer: MvmLayer, bits: BitWidths, accelerator: Accelerator) -> int:
    weights = layer.repeat * layer.outputs * layer.inputs
    return weights * _cells_per_weight(stored_range(layer, bits.weight_bits), accelerator)


def _count_tiles(layer: MvmLayer, geometry: _Geometry, cells: int, accelerator: Accelerator) -> int:
    rows, cols = accelerator.crossbar.rows, accelerator.crossbar.cols
    by_columns = Fraction(layer.outputs * ceil_divide(layer.inputs * cells, rows), cols)
    by_rows = Fraction(geometry.channels * ceil_divide(layer.outputs * geometry.taps * cells, cols), rows)
    return math.ceil(layer.repeat * max(by_columns, by_rows))
