"""The writes of a plan that rewrites tiles: how many crossbars are written for a batch, and what that takes."""

from __future__ import annotations

from collections.abc import Sequence

from mho.hardware.spec import Accelerator
from mho.mapping.activity import Activity, count_cell_writing
from mho.mapping.layer_mapping import LayerMapping
from mho.scheduling.reload_tiles import NetworkTiles
from mho.scheduling.reload_timing import ReloadPlan


def count_writes(work: NetworkTiles, plan: ReloadPlan) -> int:
    """Return the writes of all crossbars for a batch."""
    pairs = zip(work.groups, plan.copies, plan.staying, strict=True)
    return sum(group.tiles * copies - staying for group, copies, staying in pairs)


def count_rewriting(
    work: NetworkTiles, plan: ReloadPlan, mappings: Sequence[LayerMapping], accelerator: Accelerator
) -> list[Activity]:
    """Count what the writes of each layer's tiles take for a batch of the steady state.

    Crossbars that share the windows of a tile are written each. Where some tiles of a group stay, those with the most
    cells do.

    Args:
        work: the tiles.
        plan: how many crossbars share a tile's windows, and which tiles stay.
        mappings: of all layers, in execution order.
        accelerator: whose cells are written.
    """
    cells, most_copies = [0] * len(mappings), [0] * len(mappings)
    for group, copies, staying in zip(work.groups, plan.copies, plan.staying, strict=True):
        cells[group.layer] += group.count_cell_writes(copies, staying)
        most_copies[group.layer] = max(most_copies[group.layer], copies)
    return [
        count_cell_writing(mapping, accelerator, written, operands=copies * work.batch)
        for mapping, written, copies in zip(mappings, cells, most_copies, strict=True)
    ]
