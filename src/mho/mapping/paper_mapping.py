"""The mapping of arXiv 2601.21737, counted: how many crossbars' worth of cells and how many reads a layer takes.

The kernels of a layer are unrolled into a matrix (im2col), one position an MVM, every tile is written once for each
repetition, remainder tiles are not shared. `mho.mapping.best_mapping` chooses better ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from mho.errors import MappingError
from mho.hardware.spec import PAPER_ENCODINGS, Accelerator
from mho.mapping.adc_resolution import check_adc, layer_hardware
from mho.mapping.encoding import (
    StoredRange,
    count_cols,
    count_correction_cols,
    count_digital_sums,
    count_rows,
    count_stored_bits,
    stored_range,
    takes_zero_points,
)
from mho.mapping.event_counts import EventCounts
from mho.mapping.layer_mapping import LayerMapping, Part, Range
from mho.mapping.slicing import Count, count_input_slices, count_nominal_slices
from mho.mapping.tiling import (
    count_col_tiles,
    count_conversion_rounds,
    count_conversions,
    count_row_reads,
    count_row_tiles,
)
from mho.mapping.windows import SINGLE
from mho.network.layers import MvmLayer
from mho.policy import BitWidths


@dataclass(frozen=True)
class PaperCounts(Generic[Count]):
    """What a mapping counts of one layer, for one layer or element by element for arrays of layers and widths."""

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
    def counts(self) -> EventCounts[Count]:
        """Everything that takes time, for one sample."""
        return EventCounts(self.tiles, self.mvms, self.conversions, self.operations)


def plan_allowed(layer: MvmLayer, bits: BitWidths, accelerator: Accelerator) -> LayerMapping:
    """Map one layer as `plan_layer` does. Raises `MappingError` also where the encoding is not allowed."""
    if not accelerator.mapping.allows_paper:
        raise MappingError(
            f"the paper's mapping has none of the encodings that are allowed: "
            f"{', '.join(accelerator.mapping.allowed.encodings)}",
            where=accelerator.name,
            expected=", ".join(PAPER_ENCODINGS),
            hint="take the best mapping, which has all encodings (--mapping best)",
        )
    return plan_layer(layer, bits, accelerator)


def plan_layer(layer: MvmLayer, bits: BitWidths, accelerator: Accelerator) -> LayerMapping:
    """Map one layer.

    Args:
        layer: the logical layer.
        bits: weight and activation bits.
        accelerator: crossbar, converters and encoding.

    Raises:
        MappingError: the ADC cannot tell the layer's column sums apart, the weight slices cannot hold its integers, or
            the ADCs do not have the layer's own bits.
    """
    accelerator = layer_hardware(accelerator, bits)
    counts, encoding = count_layer(layer, bits, accelerator), accelerator.mapping.encoding
    stored = stored_range(layer, bits.weight_bits)
    _check_capacity(layer, stored, accelerator, counts.num_weight_slices)
    rows_at_once = accelerator.crossbar.rows_at_once
    check_adc(accelerator, encoding, min(counts.rows, rows_at_once), where=f"layer {layer.name}")
    part = Part(
        groups=Range(0, layer.repeat),
        outputs=Range(0, layer.outputs),
        inputs=Range(0, layer.inputs),
        window=SINGLE,
        num_weight_slices=counts.num_weight_slices,
        slices_at_once=1,
        num_steps=counts.num_input_slices,
        groups_per_tile=1,
        windows=layer.positions,
        rows=counts.rows,
        cols=counts.cols,
        rows_at_once=rows_at_once,
        correction_cols=count_correction_cols(encoding),
        row_tiles=counts.row_tiles,
        col_tiles=counts.col_tiles,
        counts=counts.counts,
    )
    takes_sums = takes_zero_points(layer, bits.weight_bits) and not part.correction_cols
    extra = count_digital_sums(layer, bits.weight_bits, takes_input_sums=takes_sums)
    return LayerMapping(layer, bits, encoding, stored, (part,), extra)


def count_layer(layer: MvmLayer, bits: BitWidths, accelerator: Accelerator) -> PaperCounts[int]:
    """Count one layer, whether or not the ADC resolves its sums."""
    size = (layer.outputs, layer.inputs, layer.positions, layer.repeat)
    return _count(size, bits.weight_bits, bits.act_bits, accelerator)


def count_layers(
    layers: Sequence[MvmLayer],
    weight_bits: NDArray[np.int64],
    act_bits: NDArray[np.int64],
    accelerator: Accelerator,
) -> PaperCounts[NDArray[np.int64]]:
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
) -> PaperCounts[Count]:
    """Count slices, lines, tiles and MVMs. Source: arXiv 2601.21737, latency model."""
    outputs, inputs, positions, repeat = size
    encoding, crossbar = accelerator.mapping.encoding, accelerator.crossbar
    num_weight_slices = count_nominal_slices(weight_bits, crossbar.cell_bits)
    num_input_slices = count_input_slices(act_bits, accelerator.converters.dac_bits)
    rows = count_rows(inputs, encoding)
    cols = count_cols(outputs, num_weight_slices, encoding)
    row_tiles, col_tiles = count_row_tiles(rows, crossbar), count_col_tiles(cols, crossbar)
    tiles = repeat * row_tiles * col_tiles
    # With rows that may not all be active at once, a tile is read in several MVMs for each slice.
    reads = repeat * positions * num_input_slices * count_row_reads(rows, crossbar, crossbar.rows_at_once)
    return PaperCounts(
        num_weight_slices=num_weight_slices,
        num_input_slices=num_input_slices,
        rows=rows,
        cols=cols,
        row_tiles=row_tiles,
        col_tiles=col_tiles,
        tiles=tiles,
        mvms=reads * col_tiles,
        conversions=reads * count_conversion_rounds(cols, accelerator, encoding),
        operations=reads * count_conversions(cols, accelerator, encoding),
    )


def _check_capacity(layer: MvmLayer, values: StoredRange, accelerator: Accelerator, num_weight_slices: int) -> None:
    cell_bits = accelerator.crossbar.cell_bits
    if count_stored_bits(values, accelerator.mapping.encoding) <= num_weight_slices * cell_bits:
        return
    raise MappingError(
        f"integers {values.qmin}..{values.qmax} do not fit {num_weight_slices} cell(s) of {cell_bits} bits",
        where=f"layer {layer.name}",
        hint="take more weight slices, cells of more bits, or fewer weight bits",
    )
