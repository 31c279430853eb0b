"""Where on a mesh the cores of a plan lie: near each other and near the first, as they would on a smaller chip.

`mho.scheduling.placement` fills cores one after the other. Which core of the mesh is the next one is free, and what
bytes wait for each other depends on it: rectangles of the mesh are listed, filled row by row or column by column. They
depend on how many cores are filled and not on how many there are, so that a chip can take the plans of a smaller one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mho.hardware.chip import Chip, Interconnect, InterconnectKind
from mho.scheduling.placement import ChipPlan, has_room, place_copies
from mho.scheduling.work_graph import WorkGraph

_MOST_ASPECT = 4
"""Columns over rows of a rectangle, at most, where such rectangles fit the mesh."""


def list_plans(
    graph: WorkGraph, copies: Mapping[str, int], chip: Chip, interconnect: Interconnect, *, input_bytes: int | None
) -> tuple[ChipPlan, ...]:
    """Place all copies of all layers, and list where on the chip they may lie; nothing but a mesh gives a choice.

    The copies fill as few cores as hold them. Where the input buffers of these would not hold what lies in them, the
    copies have twice as many cores to spread over, and so on.

    Args:
        graph: the layers.
        copies: of every layer, 1 or more.
        chip: crossbars and cores.
        interconnect: what connects the cores.
        input_bytes: of the input buffer of a core; None for any number.

    Raises:
        ScheduleError: the copies need more crossbars than there are; states both.
    """
    demand = sum(layer.crossbars * copies[layer.name] for layer in graph.layers)
    cores = min(max(1, -(-demand // chip.crossbars_per_core)), chip.cores)
    while True:
        part = Chip(crossbars=cores * chip.crossbars_per_core, cores=cores)
        plan = place_copies(graph, copies, part, input_bytes=input_bytes)
        if cores == chip.cores or input_bytes is None or has_room(graph, plan, input_bytes):
            break
        cores = min(2 * cores, chip.cores)
    used = 1 + max(core for places in plan.places.values() for place in places for core in place.cores)
    orders = dict.fromkeys(list_core_orders(interconnect, chip.cores, used))
    return tuple(_reorder(plan, chip, order) for order in orders)


def list_core_orders(interconnect: Interconnect, cores: int, used: int) -> Iterator[tuple[int, ...]]:
    """Yield the numbers of the cores that are filled, in the order in which they are.

    Args:
        interconnect: of the chip.
        cores: of the chip.
        used: of them that are filled, 1 or more.
    """
    if interconnect.kind is not InterconnectKind.MESH:
        yield tuple(range(used))
        return
    most_rows, most_cols = interconnect.mesh_shape(cores)
    shapes = [(rows, -(-used // rows)) for rows in range(1, min(most_rows, used) + 1)]
    fitting = [(rows, cols) for rows, cols in shapes if cols <= most_cols]
    compact = [(rows, cols) for rows, cols in fitting if rows <= cols <= _MOST_ASPECT * rows]
    for rows, cols in compact or [min(fitting, key=lambda shape: abs(shape[0] - shape[1]))]:
        numbers = [[row * most_cols + col for col in range(cols)] for row in range(rows)]
        yield tuple(core for row in numbers for core in row)[:used]
        yield tuple(core for column in zip(*numbers, strict=True) for core in column)[:used]


def _reorder(plan: ChipPlan, chip: Chip, order: tuple[int, ...]) -> ChipPlan:
    """Return a plan of the first cores of a chip with these moved to where the order says."""
    size = chip.crossbars_per_core
    return ChipPlan(
        chip,
        {
            name: tuple(
                replace(
                    place,
                    crossbars=tuple(order[crossbar // size] * size + crossbar % size for crossbar in place.crossbars),
                    cores=tuple(order[core] for core in place.cores),
                )
                for place in places
            )
            for name, places in plan.places.items()
        },
    )
