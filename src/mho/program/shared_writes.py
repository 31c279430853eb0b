"""Layers that are written at once: their tiles move to their places in the crossbar, and their writes to the first.

Each layer is lowered as if it had the crossbar to itself. Here the one tile of a layer in a stack moves to its place:
it is driven on other rows and counted on other columns. What writes it joins the write of the stack's first layer, so
that one write brings all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mho.mapping.network_mapping import NetworkMapping, Placement
from mho.program.instructions import Instruction, Layer, LoadInput, ShiftAdd, WriteTile
from mho.program.program import rewrite, walk


def join_writes(layers: Sequence[Layer], mapping: NetworkMapping) -> tuple[Layer, ...]:
    """Move the tiles of layers that are written at once to their places, and their writes to the first of them.

    Args:
        layers: in execution order, each as if by itself; one that shares a write has a single `WriteTile`.
        mapping: of the same layers.
    """
    joined = []
    for number, layer in enumerate(layers):
        later = tuple(
            replace(write, corner=(place.row, place.col), joins=True)
            for other in mapping.companions(number)
            for place in (mapping.placements[other],)
            for write, _ in walk(layers[other].body)
            if isinstance(write, WriteTile)
        )
        if later or mapping.joins(number):
            move = _Move(mapping.placements[number], later, is_written=not mapping.joins(number))
            layer = replace(layer, body=rewrite(layer.body, move))
        joined.append(layer)
    return tuple(joined)


@dataclass(frozen=True)
class _Move:
    """Moves the instructions of a layer's one tile to its place; `later` follows its write, if the write stays."""

    place: Placement
    later: tuple[WriteTile, ...]
    is_written: bool

    def __call__(self, item: Instruction) -> tuple[Instruction, ...]:
        """Return what an instruction becomes."""
        if isinstance(item, WriteTile):
            return (item, *self.later) if self.is_written else ()
        if isinstance(item, LoadInput):
            return (replace(item, first_row=item.first_row + self.place.row),)
        if isinstance(item, ShiftAdd):
            return (replace(item, first_col=item.first_col + self.place.col),)
        return (item,)
