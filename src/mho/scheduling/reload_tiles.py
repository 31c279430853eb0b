"""What a network needs of a chip that holds fewer crossbars than tiles: its tiles, layer by layer, in groups of equals.

    read of a tile = windows * (reads * (MVM latency + rounds * conversion latency))
    write of a tile: `mho.mapping.tile_writing`

The digital work of a layer runs on one unit, one tile after the other; a tile keeps its crossbar until its own is done.
Layers that are written at once are one tile, which is read in one layer after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from mho.errors import ScheduleError
from mho.hardware.spec import Accelerator
from mho.mapping.adc_resolution import layer_hardware
from mho.mapping.event_counts import UnitTimes
from mho.mapping.layer_mapping import LayerMapping, Part, count_tiling
from mho.mapping.network_mapping import NetworkMapping
from mho.mapping.tile_writing import WritingTime


@dataclass(frozen=True)
class LaterRead:
    """A read of a tile in a layer after the one that it is written for.

    Attributes:
        layer: number of that layer.
        read_ps: time of all its reads, ps.
        digital_ps: time of their digital work, ps.
    """

    layer: int
    read_ps: int
    digital_ps: int


@dataclass(frozen=True)
class TileGroup:
    """Equal tiles of one layer.

    Attributes:
        layer: number of the layer, in execution order.
        tiles: how many, for a batch: operands that are stored for each sample have tiles for each.
        windows: that each tile is read for, in a batch.
        window_ps: time of the reads of one window, ps.
        digital_ps: time of the digital work of one window, ps.
        write_ps: time to write one tile, ps.
        transfer_ps: what it takes of the link to the outside in that time, ps.
        is_stored: True where a tile holds activations, which exist when all layers before are finished.
        later: reads in later layers, of a tile that several layers share.
        cells: cells in use of each tile, with how many tiles have so many, the largest first; tiles that differ in
            nothing else are in one group.
    """

    layer: int
    tiles: int
    windows: int
    window_ps: int
    digital_ps: int
    write_ps: int
    transfer_ps: int
    is_stored: bool = False
    later: tuple[LaterRead, ...] = ()
    cells: tuple[tuple[int, int], ...] = field(default=(), compare=False)

    @property
    def can_stay(self) -> bool:
        """True where the tiles are the same for all inputs."""
        return not self.is_stored

    @property
    def most_copies(self) -> int:
        """Crossbars that can share the windows of one tile."""
        return 1 if self.later else self.windows

    def find_read_after(self, layer: int) -> LaterRead | None:
        """Return the next read of a tile in a layer behind this one; None where there is none."""
        return next((later for later in self.later if later.layer > layer), None)

    def read_ps(self, copies: int = 1) -> int:
        """Return the time of all reads of a tile, ps, whose windows are shared by `copies` crossbars."""
        return -(-self.windows // copies) * self.window_ps

    def digital_of_tile_ps(self, copies: int = 1) -> int:
        """Return the time of the digital work of one of the copies, ps."""
        return -(-self.windows // copies) * self.digital_ps

    def count_cell_writes(self, copies: int, staying: int) -> int:
        """Return the cells that are written for a batch, where the largest tiles stay.

        Args:
            copies: crossbars that share the windows of a tile; each is written.
            staying: tiles, copies counted, that stay.
        """
        written = 0
        for cells, tiles in self.cells:
            stays = min(staying, tiles * copies)
            written, staying = written + cells * (tiles * copies - stays), staying - stays
        return written

    @property
    def held_ps(self) -> int:
        """Time in which one tile keeps a crossbar from being written, all its reads and digital work, ps."""
        own = self.read_ps() + self.digital_of_tile_ps()
        return own + sum(later.read_ps + later.digital_ps for later in self.later)


@dataclass(frozen=True)
class NetworkTiles:
    """All tiles of a network.

    Attributes:
        layers: names, in execution order.
        groups: tiles, in the order of layers; within a layer those that are read longest first.
        extra_ps: for each layer the time of digital work that belongs to no tile, ps, after all else.
        batch: inputs for which weights are written once; all times are for all of them.
    """

    layers: tuple[str, ...]
    groups: tuple[TileGroup, ...]
    extra_ps: tuple[int, ...]
    batch: int

    @classmethod
    def of(
        cls, mappings: NetworkMapping | Iterable[LayerMapping], accelerator: Accelerator, *, batch: int = 1
    ) -> NetworkTiles:
        """List the tiles of mapped layers.

        Args:
            mappings: of all MVM layers in execution order; a `NetworkMapping` also holds which are written at once.
            accelerator: what they are made for.
            batch: inputs that share the writes of weights.

        Raises:
            ScheduleError: there is no layer, or `batch` is below 1.
        """
        layers = mappings.layers if isinstance(mappings, NetworkMapping) else tuple(mappings)
        check_layers(layers, batch)
        groups = [list_groups(number, mapping, accelerator, batch) for number, mapping in enumerate(layers)]
        if isinstance(mappings, NetworkMapping):
            groups = list(_join_written_at_once(mappings, groups, accelerator))
        operation_ps = accelerator.digital.operation_latency_ps
        return cls(
            tuple(mapping.layer.name for mapping in layers),
            tuple(sorted((g for one in groups for g in one), key=lambda g: (g.layer, -g.held_ps))),
            tuple(mapping.extra_operations * operation_ps * batch for mapping in layers),
            batch,
        )

    @property
    def tiles(self) -> int:
        """Tiles of all layers: as many crossbars hold them all at once, but for operands of further samples."""
        return sum(group.tiles for group in self.groups)

    def fits(self, crossbars: int) -> bool:
        """Return True where all tiles can stay for good."""
        return self.tiles <= crossbars and all(group.can_stay for group in self.groups)

    @property
    def one_crossbar_ps(self) -> int:
        """Time of a batch on one crossbar, where nothing overlaps, ps."""
        return sum(group.tiles * (group.write_ps + group.held_ps) for group in self.groups) + sum(self.extra_ps)


def check_layers(layers: Sequence[object], batch: int) -> None:
    """Raise `ScheduleError` where there is no layer, or no input in a batch."""
    if not layers or batch < 1:
        raise ScheduleError(f"{len(layers)} layers, batch {batch}", expected="at least 1 layer, batch at least 1")


def list_groups(number: int, mapping: LayerMapping, accelerator: Accelerator, batch: int) -> list[TileGroup]:
    """List the tiles of one layer, by its number, for a batch; equal ones together."""
    found: dict[TileGroup, dict[int, int]] = {}
    samples = batch if mapping.layer.is_stored_dynamically else 1
    for part in mapping.parts:
        for tiles, rows, cols in _list_shapes(part, accelerator):
            cells = found.setdefault(describe_tile(number, mapping, part, (rows, cols), accelerator, batch), {})
            cells[rows * cols] = cells.get(rows * cols, 0) + tiles * samples
    return [
        replace(group, tiles=sum(cells.values()), cells=tuple(sorted(cells.items(), reverse=True)))
        for group, cells in found.items()
    ]


def describe_tile(
    number: int, mapping: LayerMapping, part: Part, size: tuple[int, int], accelerator: Accelerator, batch: int
) -> TileGroup:
    """Return one tile of a layer, as a group of its own.

    Args:
        number: of the layer, in execution order.
        mapping: how the layer is mapped.
        part: of the mapping that the tile belongs to.
        size: its rows and columns in use.
        accelerator: what it is made for.
        batch: inputs that share the writes of weights.
    """
    prices = UnitTimes.of(layer_hardware(accelerator, mapping.bits), mapping.encoding)
    is_stored, (rows, cols) = mapping.layer.is_stored_dynamically, size
    one = count_tiling(1, 1, rows, cols, accelerator, part.rows_at_once, mapping.encoding)
    writing = WritingTime.of([rows * cols], accelerator, is_stored_dynamically=is_stored)
    return TileGroup(
        number,
        1,
        part.windows * (1 if is_stored else batch),
        part.num_steps * (one.mvms * prices.mvm_ps + one.conversions * prices.conversion_ps),
        part.num_steps * one.operations * prices.operation_ps,
        writing.write_ps,
        writing.transfer_ps,
        is_stored,
    )


def _list_shapes(part: Part, accelerator: Accelerator) -> Iterator[tuple[int, int, int]]:
    """Yield how many tiles of a part take how many rows and columns."""
    full, rest = divmod(len(part.groups), part.groups_per_tile)
    for matrices, together in ((full, part.groups_per_tile), (1, rest)):
        if not matrices or not together:
            continue
        for row_tiles, rows in _cut(part.rows * together, accelerator.crossbar.rows):
            for col_tiles, cols in _cut(part.cols * together, accelerator.crossbar.cols):
                yield matrices * row_tiles * col_tiles, rows, cols


def _cut(lines: int, size: int) -> Iterator[tuple[int, int]]:
    full, rest = divmod(lines, size)
    if full:
        yield full, size
    if rest:
        yield 1, rest


def _join_written_at_once(
    mapping: NetworkMapping, groups: list[list[TileGroup]], accelerator: Accelerator
) -> Iterator[list[TileGroup]]:
    """Make one tile of those that are written at once: that of the first layer, which the later ones read too."""
    for number, own in enumerate(groups):
        later = mapping.companions(number)
        if mapping.joins(number):
            yield []
        elif not later:
            yield own
        else:
            (first,), others = own, [groups[other][0] for other in later]
            reads = tuple(LaterRead(g.layer, g.read_ps(), g.digital_of_tile_ps()) for g in others)
            blocks = [g.cells[0][0] for g in (first, *others)]
            writing = WritingTime.of(blocks, accelerator, is_stored_dynamically=first.is_stored)
            cells = ((sum(blocks), 1),)
            yield [replace(first, later=reads, write_ps=writing.write_ps, transfer_ps=writing.transfer_ps, cells=cells)]
