"""Where the tiles of a program lie on a chip: which blocks are written together, in which crossbars, in which write.

Writes of a crossbar are numbered in the order of the program, as each has errors of its own. A copy that has a crossbar
of its own is written as the one that instructions name. Where tiles are reloaded, a copy's write is that of
its crossbar in the first batch, and stands for that of all later ones: weights are written once in a simulation.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

from mho.program.instructions import WriteTile
from mho.program.layer_content import LayerContent, Write
from mho.program.program import Program
from mho.program.reload_work import derive_reload_work, list_reloaded_tiles
from mho.program.reloads import ProgramReloads
from mho.program.schedule import Schedule
from mho.simulation.tile_loops import count_matrices


@dataclass(frozen=True)
class TileWrite:
    """Blocks that are written together, the number of the first such write of their crossbar, and of its writes."""

    blocks: tuple[Write, ...]
    number: int
    writes: int


@dataclass(frozen=True)
class TilePlace:
    """One copy of a tile.

    Attributes:
        crossbar: that holds it.
        number: of its first write there.
        writes: of the crossbar, for each sample; where tiles are reloaded, for each batch.
        others: where it stores an operand of each input of a batch, the places of inputs after the first.
    """

    crossbar: int
    number: int
    writes: int
    others: tuple[TilePlace, ...] = ()


class TilePlaces:
    """The places of all tiles of a program."""

    def __init__(self, program: Program, contents: tuple[LayerContent, ...]) -> None:
        """Find which blocks are written together."""
        self._program = program
        self._writes = _number_writes(contents)

    @property
    def batch(self) -> int:
        """Inputs that share the writes of weights, and the windows of copies."""
        schedule = self._program.schedule
        return schedule.batch if isinstance(schedule, ProgramReloads) else 1

    def write_of(self, block: Write) -> TileWrite:
        """Return the write that a block belongs to."""
        return self._writes[id(block)]

    def list_copies(self, content: LayerContent, block: Write) -> tuple[TilePlace, ...]:
        """Return where all copies lie of a block that a layer reads."""
        if isinstance(self._program.schedule, ProgramReloads):
            return self._reloads[id(block)]
        write, crossbars = self._writes[id(block)], [block.crossbar]
        if isinstance(self._program.schedule, Schedule):
            number = next(number for number, one in enumerate(content.writes) if one is block)
            crossbars = [copy[number] for copy in self._program.schedule[content.layer.name].copies]
        return tuple(TilePlace(crossbar, write.number, write.writes) for crossbar in crossbars)

    @cached_property
    def _reloads(self) -> dict[int, tuple[TilePlace, ...]]:
        """The places of blocks whose tiles are reloaded, in the first batch."""
        (row, *_), numbers = derive_reload_work(self._program).reloads.crossbars, Counter[int]()
        writes, crossbars, found = Counter(row), iter(row), dict[int, tuple[TilePlace, ...]]()
        for tile in list_reloaded_tiles(self._program):
            own: list[list[TilePlace]] = [[] for _ in range(tile.copies)]
            for _, copy in itertools.product(range(self.batch if tile.is_stored else 1), range(tile.copies)):
                crossbar = next(crossbars)
                own[copy].append(TilePlace(crossbar, numbers[crossbar], writes[crossbar]))
                numbers[crossbar] += 1
            places = tuple(replace(first, others=tuple(others)) for first, *others in own)
            found |= dict.fromkeys(map(id, tile.blocks), places)
        return found


def _number_writes(contents: tuple[LayerContent, ...]) -> dict[int, TileWrite]:
    """Return the write of each block, by the identity of its instruction.

    For one sample; what is written anew for further samples is numbered after it.
    """
    groups: list[list[Write]] = []
    last: dict[int, list[Write]] = {}
    counts: dict[int, int] = {}
    for content in contents:
        counts |= {id(use.write): count_matrices(use) for use in content.tiles}
        for block in content.writes:
            if isinstance(block, WriteTile) and block.joins:
                last[block.crossbar].append(block)
            else:
                last[block.crossbar] = [block]
                groups.append(last[block.crossbar])
    numbers: dict[int, int] = {}
    first: list[int] = []
    for blocks in groups:
        crossbar = blocks[0].crossbar
        first.append(numbers.get(crossbar, 0))
        numbers[crossbar] = first[-1] + max(counts.get(id(block), 1) for block in blocks)
    writes: dict[int, TileWrite] = {}
    for blocks, number in zip(groups, first, strict=True):
        write = TileWrite(tuple(blocks), number, numbers[blocks[0].crossbar])
        writes |= {id(block): write for block in blocks}
    return writes
