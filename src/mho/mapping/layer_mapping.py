"""The mapping of one layer as parts: which rectangle of the logical matrix lies how in which tiles.

A part holds the outputs `outputs` and the inputs `inputs` of the groups `groups` of a layer. Its physical matrix for
one group has one row for every pixel that a window reads, channel and input slice (and sign), and one column for
every position of the window, output and digit (and sign). It is cut into tiles at any row and column; or, where
`groups_per_tile` is above 1, whole matrices of several groups lie in one tile, block-diagonally. The parts of a layer
add up: together they hold every weight once for every position, and each runs over all positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, reduce

from mho.errors import MappingError
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.encoding import StoredRange
from mho.mapping.event_counts import EventCounts
from mho.mapping.slicing import Count
from mho.mapping.tiling import (
    count_col_tiles,
    count_conversion_rounds,
    count_conversions,
    count_row_reads,
    count_row_tiles,
)
from mho.mapping.windows import SINGLE, AnyWindow
from mho.network.layers import MvmLayer
from mho.policy import BitWidths


class MappingModel(StrEnum):
    """How layers are laid into crossbars.

    Attributes:
        BEST: the cheapest exact mapping of each layer that the accelerator allows.
        PAPER: that of arXiv 2601.21737: im2col, one position an MVM, one slice after the other.
    """

    BEST = "best"
    PAPER = "paper"


DEFAULT_MODEL = MappingModel.BEST
"""What costs, tables and programs take by default."""


@dataclass(frozen=True)
class Range:
    """The numbers start .. stop - 1."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise MappingError(f"empty range {self.start}..{self.stop}", expected="0 <= start < stop")

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Part:
    """A rectangle of a layer's logical matrix, and how it lies in tiles.

    Attributes:
        groups, outputs, inputs: which groups (of the layer), outputs and inputs (of one group) it holds.
        window: output positions that one MVM serves.
        num_weight_slices: columns of digits a weight (a sign part of it).
        slices_at_once: input slices that one MVM takes side by side, on rows of their own.
        num_steps: MVMs that an input of all slices takes.
        groups_per_tile: groups whose whole matrices share a tile; 1: each is cut into tiles of its own.
        windows: how many windows cover all positions.
        rows, cols: the physical matrix of one group.
        rows_at_once: rows that one MVM may drive, from the first of the tile on.
        correction_cols: how many of `cols`, the last, give sums of inputs.
        row_tiles, col_tiles: tiles above each other and beside each other that hold the matrix of one group.
        counts: what it takes for one sample.
    """

    groups: Range
    outputs: Range
    inputs: Range
    window: AnyWindow
    num_weight_slices: int
    slices_at_once: int
    num_steps: int
    groups_per_tile: int
    windows: int
    rows: int
    cols: int
    rows_at_once: int
    correction_cols: int
    row_tiles: int
    col_tiles: int
    counts: EventCounts[int]


@dataclass(frozen=True)
class LayerMapping:
    """How one layer lies on crossbars: the paper's mapping, or the cheapest exact one that was found.

    Attributes:
        layer: the logical layer.
        bits: weight and activation bits.
        encoding: how signed weights are held, in every part.
        values: the integers that weights may take.
        parts: what lies in crossbars; empty where the digital unit computes the product.
        extra_operations: digital work beside shifting and adding: sums of input vectors, or the product itself.
    """

    layer: MvmLayer
    bits: BitWidths
    encoding: Encoding
    values: StoredRange
    parts: tuple[Part, ...]
    extra_operations: int

    @property
    def is_digital(self) -> bool:
        """True where the digital unit computes the product and no crossbar is used."""
        return not self.parts

    @cached_property
    def counts(self) -> EventCounts[int]:
        """Everything that takes time, for one sample."""
        return reduce(lambda total, part: total + part.counts, self.parts, EventCounts(0, 0, 0, self.extra_operations))

    @property
    def tiles(self) -> int:
        """Crossbar writes for one sample."""
        return self.counts.tiles

    @property
    def mvms(self) -> int:
        """Crossbar reads for one sample, one an input slice."""
        return self.counts.mvms

    @property
    def rows(self) -> int:
        """Rows of the physical matrix of one group, of the largest part."""
        return self._largest.rows if self.parts else 0

    @property
    def cols(self) -> int:
        """Columns of the same matrix."""
        return self._largest.cols if self.parts else 0

    @property
    def _largest(self) -> Part:
        return max(self.parts, key=lambda part: part.rows * part.cols)


def count_tiling(
    groups: int,
    groups_per_tile: Count,
    rows: Count,
    cols: Count,
    accelerator: Accelerator,
    rows_at_once: int,
    encoding: Encoding,
) -> EventCounts[Count]:
    """Count one pass of one window and one step over the tiles of `groups` matrices [rows, cols].

    Args:
        groups: independent matrices.
        groups_per_tile: matrices that share a tile; where above 1, they must fit.
        rows, cols: of one matrix.
        accelerator: crossbar and converters.
        rows_at_once: rows that one MVM may drive.
        encoding: how signed weights are held.

    Returns:
        tiles; and for one pass: MVMs, rounds of conversion, sums converted.
    """
    full, rest = groups // groups_per_tile, groups % groups_per_tile
    packed = _count_matrix(groups_per_tile * rows, groups_per_tile * cols, accelerator, rows_at_once, encoding)
    last = _count_matrix(rest * rows, rest * cols, accelerator, rows_at_once, encoding)
    return EventCounts(
        full * packed.tiles + last.tiles,
        full * packed.mvms + last.mvms,
        full * packed.conversions + last.conversions,
        full * packed.operations + last.operations,
    )


def _count_matrix(
    rows: Count, cols: Count, accelerator: Accelerator, rows_at_once: int, encoding: Encoding
) -> EventCounts[Count]:
    crossbar = accelerator.crossbar
    col_tiles, reads = count_col_tiles(cols, crossbar), count_row_reads(rows, crossbar, rows_at_once)
    rounds = count_conversion_rounds(cols, accelerator, encoding)
    conversions = count_conversions(cols, accelerator, encoding)
    return EventCounts(
        count_row_tiles(rows, crossbar) * col_tiles, reads * col_tiles, reads * rounds, reads * conversions
    )


def describe_mapping(mapping: LayerMapping) -> str:
    """Tell how a layer is mapped: ``2x2 positions, 3 slices at once`` a part, the parts joined by `` + ``."""
    if mapping.is_digital:
        return "digital"
    pieces: dict[tuple[Range, Range, Range], list[Part]] = {}
    for part in mapping.parts:
        pieces.setdefault((part.groups, part.outputs, part.inputs), []).append(part)
    return " + ".join(_describe_piece(parts, is_whole=len(pieces) == 1) for parts in pieces.values())


def _describe_piece(parts: list[Part], *, is_whole: bool) -> str:
    """Describe a rectangle of the matrix: one part, or several whose windows make a pattern."""
    part, words = parts[0], []
    if not is_whole:
        groups = f" of {len(part.groups)} groups" if len(part.groups) > 1 else ""
        words.append(f"{len(part.inputs)}x{len(part.outputs)}{groups}")
    window = "im2col" if part.window == SINGLE else str(part.window)
    words.append(f"{len(parts)} windows of {window}" if len(parts) > 1 else window)
    if part.slices_at_once > 1:
        words.append(f"{part.slices_at_once} slices at once")
    if part.groups_per_tile > 1:
        words.append(f"{part.groups_per_tile} groups a tile")
    return ", ".join(words)
