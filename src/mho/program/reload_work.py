"""The tiles that a program reloads, derived from its instructions, and the checks of its schedule.

What tiles take follows from the instructions; the schedule adds how many crossbars share the windows of each, and which
take it. A schedule in which a crossbar would take a tile before what it holds was read for the last time is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mho.errors import ProgramError
from mho.mapping.event_counts import UnitTimes
from mho.mapping.tile_writing import WritingTime
from mho.program.instruction_costs import count_operations, count_shift_add, price_layer
from mho.program.instructions import DigitalProduct, Mvm, SumInputs, WriteDynamicTile, WriteTile
from mho.program.layer_content import LayerContent, TileUse, Write, collect_layers
from mho.program.program import Program, walk
from mho.program.reloads import LayerReloads, ProgramReloads
from mho.scheduling.given_reloads import GivenReloads
from mho.scheduling.reload_tiles import LaterRead, NetworkTiles, TileGroup
from mho.scheduling.reload_timing import ReloadPlan
from mho.scheduling.work_graph import Integers


@dataclass(frozen=True, eq=False)
class LayerTiles:
    """One layer's tiles, in the order in which it writes them.

    Attributes:
        number: of the layer, in execution order.
        content: its instructions.
        writes: of its tiles; what joins such a write is left out.
        reloads: its schedule.
        samples: 1, or the inputs of a batch where tiles store an operand of each.
        crossbars: int64 [batches of the period, reloads].
    """

    number: int
    content: LayerContent
    writes: tuple[Write, ...]
    reloads: LayerReloads
    samples: int
    crossbars: Integers

    @cached_property
    def first_reloads(self) -> tuple[int, ...]:
        """The first reload of each tile."""
        ends = np.cumsum([0, *self.reloads.copies]) * self.samples
        return tuple(ends[:-1].tolist())


@dataclass(frozen=True, eq=False)
class ReloadedTile:
    """One tile, whatever crossbar takes it.

    Attributes:
        layer: number of the layer that writes it.
        blocks: of its write: its own, and those of later layers that join it.
        uses: its reads, by number of the layer.
        copies: crossbars that share its windows.
    """

    layer: int
    blocks: tuple[Write, ...]
    uses: Mapping[int, tuple[TileUse, ...]]
    copies: int

    @property
    def is_stored(self) -> bool:
        """True where it holds activations, anew for each input."""
        return isinstance(self.blocks[0], WriteDynamicTile)

    @property
    def last_layer(self) -> int:
        """Number of the last layer that reads it."""
        return max(self.uses)


@dataclass(frozen=True, eq=False)
class ReloadWork:
    """What a program does whose tiles are reloaded.

    Attributes:
        tiles: one group a tile, in the order in which they are written.
        plan: crossbars that are written anew, copies of each tile, and those of them that stay.
        reloads: which crossbar takes each.
    """

    tiles: NetworkTiles
    plan: ReloadPlan
    reloads: GivenReloads


def list_layer_tiles(program: Program) -> tuple[LayerTiles, ...]:
    """Return the tiles of all layers, in execution order.

    Raises:
        ProgramError: layers are others than those of the schedule, or there is not one reload for each tile and copy.
    """
    schedule = _require_reloads(program)
    contents = tuple(collect_layers(program))
    if [layer.name for layer in schedule.layers] != [content.layer.name for content in contents]:
        names = ", ".join(content.layer.name for content in contents)
        raise ProgramError("other layers than the program's", where="schedule", expected=names)
    return tuple(_list_tiles(program, schedule, number, content) for number, content in enumerate(contents))


def list_reloaded_tiles(program: Program) -> tuple[ReloadedTile, ...]:
    """Return the tiles of a verified program whose tiles are reloaded, in the order in which they are written."""
    layers = list_layer_tiles(program)
    begun: list[tuple[LayerTiles, int, list[Write]]] = []
    last: dict[int, list[Write]] = {}
    for layer in layers:
        number = 0
        for write in layer.content.writes:
            if isinstance(write, WriteTile) and write.joins:
                last[write.crossbar].append(write)
                continue
            last[write.crossbar] = [write]
            begun.append((layer, number, last[write.crossbar]))
            number += 1
    uses: dict[int, dict[int, list[TileUse]]] = {}
    for layer in layers:
        for use in layer.content.tiles:
            uses.setdefault(id(use.write), {}).setdefault(layer.number, []).append(use)
    tiles = []
    for layer, number, blocks in begun:
        own: dict[int, tuple[TileUse, ...]] = {}
        for block in blocks:
            for reader, some in uses.get(id(block), {}).items():
                own[reader] = (*own.get(reader, ()), *some)
        tiles.append(ReloadedTile(layer.number, tuple(blocks), own, layer.reloads.copies[number]))
    return tuple(tiles)


def derive_reload_work(program: Program) -> ReloadWork:
    """Derive the tiles, plan and reloads of a verified program whose tiles are reloaded.

    Raises:
        ProgramError: the program has no such schedule.
    """
    schedule, layers = _require_reloads(program), list_layer_tiles(program)
    uses = _sort_uses(layers)
    groups, copies, staying, extra_ps = [], [], [], []
    prices = [price_layer(program, layer.content.layer) for layer in layers]
    for layer in layers:
        extra_ps.append(
            schedule.batch * prices[layer.number].operation_ps * _count_extra_operations(program, layer.content)
        )
        ends = (*layer.first_reloads[1:], layer.crossbars.shape[1])
        for number, write in enumerate(layer.writes):
            groups.append(_describe_tile(program, prices, layer, write, uses[id(write)]))
            copies.append(layer.reloads.copies[number])
            own = layer.crossbars[0, layer.first_reloads[number] : ends[number]]
            staying.append(int((own >= schedule.rotating).sum()))
    names = tuple(layer.content.layer.name for layer in layers)
    tiles = NetworkTiles(names, tuple(groups), tuple(extra_ps), schedule.batch)
    rows = np.concatenate([layer.crossbars for layer in layers], axis=1)
    crossbars = tuple(map(tuple, rows.tolist()))
    reloads = GivenReloads(crossbars, schedule.next_crossbars, schedule.writes_ahead)
    return ReloadWork(tiles, ReloadPlan(schedule.rotating, tuple(copies), tuple(staying)), reloads)


def check_reloads(program: Program) -> None:
    """Check the schedule of a program whose tiles are reloaded against its instructions.

    Args:
        program: every layer of which is proven.

    Raises:
        ProgramError: a layer is missing; a tile is written in a loop, never read, or has not one reload for each of its
            copies; a crossbar takes a tile before the last layer that reads what it holds; or one that holds its tile
            for good takes another.
    """
    schedule, layers = _require_reloads(program), list_layer_tiles(program)
    available = program.accelerator.chip.crossbars
    if schedule.used_crossbars > available:
        raise ProgramError(
            f"{schedule.used_crossbars:,} crossbars", where="schedule", expected=f"at most {available:,}"
        )
    uses = _sort_uses(layers)
    batches = {len(layer.crossbars) for layer in layers}
    if len(batches) != 1 or not (schedule.writes_ahead or batches == {1}):
        raise ProgramError(
            "layers have reloads of periods that differ", where="schedule", expected="one period for all"
        )
    held_until = [[-1] * schedule.rotating for _ in range(batches.pop())]
    kept: set[int] = set()
    for layer in layers:
        _check_reads(layer)
        for number, write in enumerate(layer.writes):
            _check_tile(schedule, layer, number, write, uses[id(write)], held_until, kept)
    if len(kept) != schedule.staying:
        raise ProgramError(
            f"{len(kept)} crossbars hold a tile for good", where="schedule", expected=f"{schedule.staying}"
        )


def _require_reloads(program: Program) -> ProgramReloads:
    if not isinstance(program.schedule, ProgramReloads):
        raise ProgramError("its tiles are not reloaded", where=program.name)
    return program.schedule


def _list_tiles(program: Program, schedule: ProgramReloads, number: int, content: LayerContent) -> LayerTiles:
    reloads, where = schedule[content.layer.name], f"schedule of layer {content.layer.name}"
    writes = tuple(one for one in content.writes if not (isinstance(one, WriteTile) and one.joins))
    if len(reloads.copies) != len(writes):
        raise ProgramError(f"copies of {len(reloads.copies)} tiles", where=where, expected=f"{len(writes)}")
    are_stored = {isinstance(write, WriteDynamicTile) for write in writes}
    if len(are_stored) > 1:
        raise ProgramError("weights and operands in one layer", where=where)
    samples = schedule.batch if are_stored == {True} else 1
    found, count = program.constants.get(reloads.crossbars), samples * sum(reloads.copies)
    is_sound = found is not None and found.dtype.kind in "iu" and found.ndim == 2 and found.shape[1] == count
    last = schedule.used_crossbars - 1
    if found is None or not is_sound or not len(found) or (count and not 0 <= found.min() <= found.max() <= last):
        raise ProgramError(
            f"{reloads.crossbars!r} does not say which crossbars take its tiles", where=where,
            expected=f"a constant of {count} integers for each batch, 0..{last}",
        )  # fmt: skip
    return LayerTiles(number, content, writes, reloads, samples, found.astype(np.int64))


def _sort_uses(layers: tuple[LayerTiles, ...]) -> dict[int, list[tuple[int, TileUse]]]:
    """Return the reads of each tile with the number of their layer, by the identity of what begins its write."""
    begun: dict[int, int] = {}  # a block -> what begins its write
    last: dict[int, int] = {}
    uses: dict[int, list[tuple[int, TileUse]]] = {}
    for layer in layers:
        for write in layer.content.writes:
            if not (isinstance(write, WriteTile) and write.joins):
                last[write.crossbar] = id(write)
                uses[id(write)] = []
            begun[id(write)] = last[write.crossbar]
        for use in layer.content.tiles:
            uses[begun[id(use.write)]].append((layer.number, use))
    return uses


def _count_windows(use: TileUse) -> tuple[int, int]:
    """Return the windows of a read, and the steps of input slices in each."""
    shifting = {variable for variable, _ in use.load.shift.strides}
    steps = math.prod(count for variable, count in use.loops if variable in shifting)
    return math.prod(count for _, count in use.loops) // steps, steps


def _check_reads(layer: LayerTiles) -> None:
    """Tiles are written once, outside of loops, and each read of them is added up once."""
    content, where = layer.content, f"layer {layer.content.layer.name}"
    if content.window_loops is not None or content.has_nested_writes:
        raise ProgramError("a tile is written in a loop, or has windows of its own", where=where)
    read = sum(times for item, times in walk(content.layer.body) if isinstance(item, Mvm))
    added = sum(math.prod(count for _, count in use.loops) for use in content.tiles)
    if read != added:
        raise ProgramError(f"{read:,} reads of crossbars", where=where, expected=f"{added:,}, each added up once")


def _check_tile(
    schedule: ProgramReloads,
    layer: LayerTiles,
    number: int,
    write: Write,
    uses: list[tuple[int, TileUse]],
    held_until: list[list[int]],
    kept: set[int],
) -> None:
    """Check the reloads of one tile; note until which layer the crossbars that take it are held."""
    name, copies, start = layer.content.layer.name, layer.reloads.copies[number], layer.first_reloads[number]
    where = f"schedule of layer {name}"
    own = layer.crossbars[:, start : start + layer.samples * copies]
    if own[0, 0] != write.crossbar:
        raise ProgramError(
            f"crossbar {own[0, 0]} takes tile {number}", where=where,
            expected=f"crossbar {write.crossbar}, as its instructions say",
        )  # fmt: skip
    readers = {reader for reader, _ in uses}
    windows = {_count_windows(use)[0] for reader, use in uses if reader == layer.number}
    if not windows or len(windows) > 1:
        raise ProgramError(f"tile {number} is not read in the windows of its layer", where=where)
    shared = windows.pop() * (1 if isinstance(write, WriteDynamicTile) else schedule.batch)
    if copies > shared or (copies > 1 and len(readers) > 1):
        raise ProgramError(f"{copies} copies of tile {number}", where=where, expected="at most one for each window")
    stay = own >= schedule.rotating
    if stay.any():
        _check_staying(own, stay, write, kept, where)
    for batch, crossbars in enumerate(own.tolist()):
        held = held_until[batch]
        for crossbar in crossbars:
            if crossbar >= schedule.rotating:
                continue
            if held[crossbar] > layer.number:
                raise ProgramError(
                    f"crossbar {crossbar} takes tile {number} before a later layer has read what it holds",
                    where=where, expected="the last reader first", hint="the program is damaged",
                )  # fmt: skip
            held[crossbar] = max(readers)


def _check_staying(own: Integers, stay: NDArray[np.bool_], write: Write, kept: set[int], where: str) -> None:
    """What stays is the same in every batch, comes before what does not, and has its crossbar to itself."""
    crossbars = own[0, stay[0]].tolist()
    is_same = bool((own[:, stay[0]] == own[0, stay[0]]).all()) and bool((stay == stay[0]).all())
    is_first = bool((np.diff(stay[0].astype(np.int8)) <= 0).all())
    is_alone = len(set(crossbars)) == len(crossbars) and not kept & set(crossbars)
    if not (is_same and is_first and is_alone) or isinstance(write, WriteDynamicTile):
        raise ProgramError(
            f"crossbar {crossbars[0]} holds a tile for good and takes another", where=where,
            expected="one tile in every batch", hint="the program is damaged",
        )  # fmt: skip
    kept.update(crossbars)


def _count_extra_operations(program: Program, content: LayerContent) -> int:
    """Count the digital work of a layer for one sample that belongs to no tile."""
    total = 0
    for item, times in walk(content.layer.body):
        if isinstance(item, SumInputs | DigitalProduct):
            total += times * count_operations(program, item)
    return total


def _describe_tile(
    program: Program, prices: list[UnitTimes], layer: LayerTiles, write: Write, uses: list[tuple[int, TileUse]]
) -> TileGroup:
    """Return one tile, for a batch; tiles of stored operands for each of its inputs."""
    batch, is_stored = layer.samples, isinstance(write, WriteDynamicTile)
    blocks = {id(use.write): use.write for _, use in uses} | {id(write): write}
    cells = [len(block.rows) * len(block.cols) for block in blocks.values()]
    writing = WritingTime.of(cells, program.accelerator, is_stored_dynamically=is_stored)
    shared = 1 if is_stored else _require_reloads(program).batch
    own = _read(program, prices[layer.number], [use for reader, use in uses if reader == layer.number], shared)
    later = []
    for reader in sorted({reader for reader, _ in uses} - {layer.number}):
        windows, window_ps, digital_ps = _read(
            program, prices[reader], [use for number, use in uses if number == reader], shared
        )
        later.append(LaterRead(reader, windows * window_ps, windows * digital_ps))
    return TileGroup(
        layer.number,
        batch,
        *own,
        writing.write_ps,
        writing.transfer_ps,
        is_stored,
        tuple(later),
        ((sum(cells), batch),),
    )


def _read(program: Program, prices: UnitTimes, uses: list[TileUse], batch: int) -> tuple[int, int, int]:
    """Return the windows of a tile for a batch, the time of the reads of one, and of its digital work, ps."""
    window_ps = digital_ps = windows = 0
    for use in uses:
        windows, steps = _count_windows(use)
        one = count_shift_add(program, use.add)
        window_ps += steps * (prices.mvm_ps + one.conversions * prices.conversion_ps)
        digital_ps += steps * one.operations * prices.operation_ps
    return windows * batch, window_ps, digital_ps
