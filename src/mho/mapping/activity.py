"""What a layer does that takes energy: how often each thing happens, counted from its mapping.

Nothing depends on the values of weights and inputs: a row that is driven counts whatever it is driven with, and so do
rows of padding and positions that are dropped. What a program executes is the same, which a property test holds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.encoding import count_input_rows
from mho.mapping.layer_mapping import LayerMapping, Part
from mho.mapping.tile_writing import count_memory_bits


@dataclass(frozen=True)
class Activity:
    """How often things happen, for some number of samples; activities add up.

    Attributes:
        reads: MVMs of a crossbar, one an input slice.
        cell_reads: cells in these MVMs whose row is driven and whose column is read.
        driven_rows: rows that are driven in these MVMs.
        conversions: sums that are converted in these MVMs: columns, or differences of two.
        cell_writes: cells of tiles that are written, of their rows and columns in use.
        operations: additions and multiply-adds of the digital unit.
        buffer_bits: bits that are read from and written to buffers.
        hop_bits: bits times the hops that they take from core to core.
        memory_bits: bits that come from or go to the outside of the chip.
    """

    reads: int = 0
    cell_reads: int = 0
    driven_rows: int = 0
    conversions: int = 0
    cell_writes: int = 0
    operations: int = 0
    buffer_bits: int = 0
    hop_bits: int = 0
    memory_bits: int = 0

    def __add__(self, other: Activity) -> Activity:
        return Activity(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def times(self, count: int) -> Activity:
        """Return what happens `count` times as often."""
        return Activity(*(count * getattr(self, field.name) for field in fields(self)))


def count_reading(mapping: LayerMapping) -> Activity:
    """Count all that a layer does for one sample once its tiles are written.

    Buffers are read once for each row of each tile and window, as wide as the layer's inputs; each result is written to
    one once, as wide as well (the width that the next layer takes is not the layer's own to know).
    """
    layer, bits = mapping.layer, mapping.bits
    results = layer.outputs * layer.positions * layer.repeat
    total = Activity(operations=mapping.extra_operations, buffer_bits=results * bits.act_bits)
    if mapping.is_digital:
        vectors = layer.positions * bits.act_bits + layer.outputs * bits.weight_bits
        return total + Activity(buffer_bits=layer.inputs * layer.repeat * vectors)
    return sum((_count_part(part, mapping.encoding, bits.act_bits) for part in mapping.parts), total)


def count_writing(mapping: LayerMapping, accelerator: Accelerator) -> Activity:
    """Count what writing all tiles of a layer takes, once.

    Weights come from outside of the chip, into a buffer where the digital unit multiplies them; an operand that is
    stored for each sample comes from a buffer.
    """
    if mapping.is_digital and not mapping.layer.is_stored_dynamically:
        return Activity(memory_bits=_count_stored_bits(mapping))
    return count_cell_writing(mapping, accelerator, sum(_count_cells(part) for part in mapping.parts))


def count_cell_writing(mapping: LayerMapping, accelerator: Accelerator, cells: int, *, operands: int = 1) -> Activity:
    """Count what writing some cells of a layer takes.

    Args:
        mapping: how the layer lies in crossbars.
        accelerator: whose cells are written.
        cells: that are written, of all tiles, copies and samples.
        operands: how often an operand that is stored for each sample comes from its buffer.
    """
    is_stored = mapping.layer.is_stored_dynamically
    return Activity(
        cell_writes=cells,
        buffer_bits=operands * _count_stored_bits(mapping) if is_stored and cells else 0,
        memory_bits=count_memory_bits(cells, accelerator, is_stored_dynamically=is_stored),
    )


def count_activity(
    mapping: LayerMapping, accelerator: Accelerator, *, batch: int = 1, weights_stay: bool = False
) -> Activity:
    """Count all that a layer does for a batch of samples.

    Args:
        mapping: how the layer lies in crossbars.
        accelerator: whose cells are written.
        batch: samples that share the writes of weights.
        weights_stay: True where weights were written before the first sample and stay.
    """
    reading = count_reading(mapping).times(batch)
    if mapping.layer.is_stored_dynamically:
        return reading + count_writing(mapping, accelerator).times(batch)
    return reading if weights_stay else reading + count_writing(mapping, accelerator)


def _count_stored_bits(mapping: LayerMapping) -> int:
    """Count the bits of a layer's weights, or of the operand that it stores for one sample."""
    return mapping.layer.inputs * mapping.layer.outputs * mapping.layer.repeat * mapping.bits.weight_bits


def _count_part(part: Part, encoding: Encoding, act_bits: int) -> Activity:
    passes = part.windows * part.num_steps
    rows = len(part.groups) * part.rows * part.col_tiles
    codes = rows // (part.slices_at_once * count_input_rows(encoding))
    return Activity(
        reads=part.counts.mvms,
        cell_reads=_count_cells(part) * passes,
        driven_rows=rows * passes,
        conversions=part.counts.operations,
        operations=part.counts.operations,
        buffer_bits=codes * part.windows * act_bits,
    )


def _count_cells(part: Part) -> int:
    """Count the cells of the rows and columns in use of all tiles; between groups that share a tile, they hold zero."""
    full, rest = divmod(len(part.groups), part.groups_per_tile)
    return part.rows * part.cols * (full * part.groups_per_tile**2 + rest**2)
