"""The mapping of arXiv 2601.21737, counted: how many crossbars' worth of cells and how many reads a layer takes.

The kernels of a layer are unrolled into a matrix (im2col), one position an MVM, every tile is written once for each
repetition, remainder tiles are not shared. `mho.mapping.best` chooses better ones; `mho.mapping.model` picks between
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from mho.accelerator.spec import Accelerator, Encoding
from mho.mapping.converters import check_adc
from mho.mapping.counts import Counts
from mho.mapping.encoding import count_cols, count_rows
from mho.mapping.slicing import Count, count_input_slices, count_weight_slices
from mho.mapping.tiling import count_col_tiles, count_conversion_rounds, count_row_reads, count_row_tiles
from mho.network.layers import MvmLayer
from mho.quantization.policy import BitWidths, Policy


@dataclass(frozen=True)
class LayerMapping:
    """One MVM layer on crossbars.

    Attributes:
        layer: the logical layer.
        bits: weight and activation bits.
        encoding: how signed weights are held.
        num_weight_slices: cells a weight (a sign part of it).
        num_input_slices: steps an input.
        rows, cols: physical matrix of one repetition, after encoding, before tiling.
        row_tiles, col_tiles: crossbars above each other and beside each other that hold it.
        tiles: crossbar writes for one sample, all repetitions.
        mvms: crossbar reads for one sample, one an input slice, all repetitions.
        conversions, operations: see `mho.mapping.counts.Counts`.
    """

    layer: MvmLayer
    bits: BitWidths
    encoding: Encoding
    num_weight_slices: int
    num_input_slices: int
    rows: int
    cols: int
    row_tiles: int
    col_tiles: int
    tiles: int
    mvms: int
    conversions: int
    operations: int

    @property
    def counts(self) -> Counts[int]:
        """Everything that takes time, for one sample."""
        return Counts(self.tiles, self.mvms, self.conversions, self.operations)


@dataclass(frozen=True)
class LayerCounts(Generic[Count]):
    """What `LayerMapping` tells of one layer, for one layer or element by element for arrays of layers and widths."""

    num_weight_slices: Count
    num_input_slices: Count
    rows: Count
    cols: Count
    row_tiles: Count
    col_tiles: Count
    tiles: Count
    mvms: Count
    conversions: Count
    operations: Count

    @property
    def counts(self) -> Counts[Count]:
        """Everything that takes time, for one sample."""
        return Counts(self.tiles, self.mvms, self.conversions, self.operations)


def plan_layer(layer: MvmLayer, bits: BitWidths, accelerator: Accelerator) -> LayerMapping:
    """Map one layer.

    Raises:
        MappingError: the ADC cannot tell the layer's column sums apart.
    """
    counts = count_layer(layer, bits, accelerator)
    check_adc(accelerator, min(counts.rows, accelerator.crossbar.rows_at_once), where=f"layer {layer.name}")
    return LayerMapping(
        layer=layer,
        bits=bits,
        encoding=accelerator.mapping.encoding,
        num_weight_slices=counts.num_weight_slices,
        num_input_slices=counts.num_input_slices,
        rows=counts.rows,
        cols=counts.cols,
        row_tiles=counts.row_tiles,
        col_tiles=counts.col_tiles,
        tiles=counts.tiles,
        mvms=counts.mvms,
        conversions=counts.conversions,
        operations=counts.operations,
    )


def plan_network(layers: Iterable[MvmLayer], policy: Policy, accelerator: Accelerator) -> tuple[LayerMapping, ...]:
    """Map every layer with the widths that `policy` gives it by name, in the order of `layers`.

    Raises:
        MappingError: the ADC cannot tell a layer's column sums apart.
        PolicyError: the policy names an unknown layer or lacks one.
    """
    layers = tuple(layers)
    policy.check_against(layer.name for layer in layers)
    return tuple(plan_layer(layer, policy[layer.name], accelerator) for layer in layers)


def count_layer(layer: MvmLayer, bits: BitWidths, accelerator: Accelerator) -> LayerCounts[int]:
    """Count one layer, whether or not the ADC resolves its sums."""
    size = (layer.outputs, layer.inputs, layer.positions, layer.repeat)
    return _count(size, bits.weight_bits, bits.act_bits, accelerator)


def count_layers(
    layers: Sequence[MvmLayer],
    weight_bits: NDArray[np.int64],
    act_bits: NDArray[np.int64],
    accelerator: Accelerator,
) -> LayerCounts[NDArray[np.int64]]:
    """Count many layers at many widths at once.

    Args:
        layers: at least one; counts must fit int64.
        weight_bits, act_bits: int64, any shapes that broadcast to a common shape [...].
        accelerator: crossbar, converters and encoding.

    Returns:
        int64 arrays that broadcast to [layers, ...].
    """
    axes = (1,) * max(weight_bits.ndim, act_bits.ndim)
    sizes = np.array([(layer.outputs, layer.inputs, layer.positions, layer.repeat) for layer in layers], dtype=np.int64)
    outputs, inputs, positions, repeat = (column.reshape(-1, *axes) for column in sizes.T)
    return _count((outputs, inputs, positions, repeat), weight_bits, act_bits, accelerator)


def _count(
    size: tuple[Count, Count, Count, Count], weight_bits: Count, act_bits: Count, accelerator: Accelerator
) -> LayerCounts[Count]:
    """Count slices, lines, tiles and MVMs. Source: arXiv 2601.21737, latency model."""
    outputs, inputs, positions, repeat = size
    encoding, crossbar = accelerator.mapping.encoding, accelerator.crossbar
    num_weight_slices = count_weight_slices(weight_bits, crossbar.cell_bits)
    num_input_slices = count_input_slices(act_bits, accelerator.converters.dac_bits)
    rows = count_rows(inputs, encoding)
    cols = count_cols(outputs, num_weight_slices, encoding)
    row_tiles, col_tiles = count_row_tiles(rows, crossbar), count_col_tiles(cols, crossbar)
    tiles = repeat * row_tiles * col_tiles
    # With rows that may not all be active at once, a tile is read in several MVMs for each slice.
    reads = repeat * positions * num_input_slices * count_row_reads(rows, crossbar, crossbar.rows_at_once)
    return LayerCounts(
        num_weight_slices=num_weight_slices,
        num_input_slices=num_input_slices,
        rows=rows,
        cols=cols,
        row_tiles=row_tiles,
        col_tiles=col_tiles,
        tiles=tiles,
        mvms=reads * col_tiles,
        conversions=reads * count_conversion_rounds(cols, accelerator),
        operations=reads * cols,
    )
