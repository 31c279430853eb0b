"""From a schedule with reloads to instructions: tiles in the order of their reloads, each in its crossbar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import MappingError
from mho.network.graph import Network, Node
from mho.program.instructions import Instruction
from mho.program.layer_lowering import LoweredLayer, lower_layer
from mho.program.reloads import LayerReloads, ProgramReloads
from mho.program.tile_lowering import TileCode
from mho.scheduling.given_reloads import GivenReloads
from mho.scheduling.reload_schedule import ReloadSchedule
from mho.scheduling.reload_tiles import TileGroup, describe_tile


class ReloadLowering:
    """Lowers the layers of a network one by one, in execution order.

    Attributes:
        constants: the crossbars of all reloads so far, int32 [batches of the period, reloads] for each layer, by name.
    """

    def __init__(self, schedule: ReloadSchedule) -> None:
        """Prepare for a schedule, with spans."""
        self._schedule = schedule
        self._given = GivenReloads.of(schedule.work, schedule.timing)
        self._groups: list[list[int]] = [[] for _ in schedule.work.layers]
        for number, group in enumerate(schedule.work.groups):
            self._groups[group.layer].append(number)
        self._used = 0
        self._first: dict[int, int] = {}
        self._layers: list[LayerReloads] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def lower(self, network: Network, node: Node, number: int) -> LoweredLayer:
        """Lower one layer. Raises `MappingError`."""
        schedule, own = self._schedule, self._groups[number]
        mapping, copies = schedule.network.layers[number], schedule.plan.copies
        groups = [schedule.work.groups[group] for group in own]
        samples = schedule.batch if mapping.layer.is_stored_dynamically else 1
        each = [copies[one] for one, group in zip(own, groups, strict=True) for _ in range(group.tiles // samples)]
        reloads = [row[self._used : self._used + samples * sum(each)] for row in self._given.crossbars]
        self._used += len(reloads[0])
        name = f"{node.name}:turns"
        self.constants[name] = np.array(reloads, dtype=np.int32).reshape(len(reloads), -1)
        self._layers.append(LayerReloads(node.name, tuple(each), name))
        first = np.cumsum([0, *each[:-1]]) * samples if each else ()
        crossbars = [reloads[0][number] for number in first]
        if each:
            self._first[number] = crossbars[0]
        elif schedule.network.joins(number):
            crossbars = [self._first[schedule.network.placements[number].writer]]
        arrange = partial(self._arrange, number=number, groups=groups, crossbars=crossbars)
        return lower_layer(network, node, schedule.accelerator, mapping, arrange=arrange)

    @property
    def schedule(self) -> ProgramReloads:
        """The schedule that a program of all lowered layers carries."""
        plan = self._schedule.plan
        return ProgramReloads(
            batch=self._schedule.batch,
            rotating=plan.rotating,
            staying=sum(plan.staying),
            next_crossbars=self._given.next_roles,
            writes_ahead=self._given.writes_ahead,
            layers=tuple(self._layers),
        )

    def _arrange(
        self, tiles: tuple[TileCode, ...], *, number: int, groups: list[TileGroup], crossbars: list[int]
    ) -> tuple[Instruction, ...]:
        """Return the instructions of a layer's tiles: group after group, in each the largest tiles first."""
        ordered = tiles if len(tiles) == 1 else tuple(self._sort(tiles, number, groups))
        if len(ordered) != len(crossbars):
            raise MappingError(f"{len(ordered)} tiles for {len(crossbars)} crossbars", expected="one for each tile")
        return tuple(item for tile, crossbar in zip(ordered, crossbars, strict=True) for item in tile.on(crossbar))

    def _sort(self, tiles: tuple[TileCode, ...], number: int, groups: list[TileGroup]) -> Iterator[TileCode]:
        schedule = self._schedule
        mapping, place = schedule.network.layers[number], {replace(one, tiles=1): n for n, one in enumerate(groups)}
        sorted_tiles: list[list[TileCode]] = [[] for _ in groups]
        known: dict[tuple[int, tuple[int, int]], int] = {}
        for tile in tiles:
            key = id(tile.part), tile.size
            if key not in known:
                own = describe_tile(number, mapping, tile.part, tile.size, schedule.accelerator, schedule.batch)
                known[key] = place[own]
            sorted_tiles[known[key]].append(tile)
        for some in sorted_tiles:
            yield from sorted(some, key=lambda tile: -tile.size[0] * tile.size[1])
