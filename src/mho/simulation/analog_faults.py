"""Stuck cells under the tiles of a program: what they make of what is written, and on which lines they do least harm.

What a cell counts for follows from the instructions that read it: 2^shift of its row, times the weight of its column.
Where several blocks lie in one write, each counts in parts of the most that a cell of it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.accelerator.array import Placement
from mho.accelerator.converters import ColumnDifference
from mho.accelerator.spec import Accelerator
from mho.array.conductances import Device
from mho.array.layout import begin_pairs
from mho.array.model import draw_stuck
from mho.array.placement import FaultCosts, Lines, place_lines
from mho.array.seeds import CrossbarSeed
from mho.program.instructions import WriteTile
from mho.program.program import Program
from mho.program.tile_uses import LayerContent, TileUse, Write

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FaultFigures:
    """What stuck cells make of writes; figures of several add up.

    Attributes:
        cells: that are read, of all crossbars and writes.
        wrong_as_mapped: cells that deviate for good where every line takes its own.
        wrong: cells that do on the lines that were chosen.
        error_as_mapped, error: sums of squared deviations, each a part of the largest that a cell can make, times its
            significance; where digits are not known when lines are chosen, what they are on average.
    """

    cells: int = 0
    wrong_as_mapped: int = 0
    wrong: int = 0
    error_as_mapped: float = 0.0
    error: float = 0.0

    def __add__(self, other: FaultFigures) -> FaultFigures:
        return FaultFigures(
            self.cells + other.cells,
            self.wrong_as_mapped + other.wrong_as_mapped,
            self.wrong + other.wrong,
            self.error_as_mapped + other.error_as_mapped,
            self.error + other.error,
        )


@dataclass(frozen=True, eq=False)
class _Significance:
    """What the cells of a block count for, float64 [rows, cols], 0..1; the parities of columns that begin pairs."""

    cells: Floats
    parities: frozenset[int]


class FaultAwareWriter:
    """Chooses the lines of each write of a chip."""

    def __init__(self, program: Program, contents: Iterable[LayerContent], hardware: Accelerator) -> None:
        """Find what the cells of all blocks count for."""
        self._hardware, self._device = hardware, Device.of(hardware)
        self._significance: dict[int, _Significance] = {}
        self._chosen: dict[tuple[int, int, int], tuple[Lines, FaultFigures]] = {}
        if hardware.array.has_stuck_cells:
            uses: dict[int, list[TileUse]] = {}
            for content in contents:
                for use in content.tiles:
                    uses.setdefault(id(use.write), []).append(use)
            self._significance = {key: _weigh(program, some, hardware) for key, some in uses.items()}

    def choose(
        self, seed: CrossbarSeed, number: int, blocks: Sequence[Write], digits: NDArray[np.int64] | None
    ) -> Lines | None:
        """Return the lines of a write; None where no cell is stuck.

        Args:
            seed: of the crossbar.
            number: of the write.
            blocks: that are written together.
            digits: [rows, cols] of the whole crossbar; None where they are not known yet.

        Raises:
            ConfigError: a crossbar has too many lines.
        """
        if not self._hardware.array.has_stuck_cells:
            return None
        key = (seed.crossbar, id(blocks[0]), number)
        if key not in self._chosen:
            self._chosen[key] = self._choose(seed, blocks, digits)
        return self._chosen[key][0]

    @property
    def figures(self) -> FaultFigures:
        """What stuck cells make of all writes so far."""
        return sum((figures for _, figures in self._chosen.values()), FaultFigures())

    def _choose(
        self, seed: CrossbarSeed, blocks: Sequence[Write], digits: NDArray[np.int64] | None
    ) -> tuple[Lines, FaultFigures]:
        crossbar = self._hardware.crossbar
        significance, parities = np.zeros((crossbar.rows, crossbar.cols)), set[int]()
        for block in blocks:
            found = self._significance.get(id(block))
            if found is not None:  # else nothing reads it
                row, col = block.corner if isinstance(block, WriteTile) else (0, 0)
                rows, cols = found.cells.shape
                significance[row : row + rows, col : col + cols] = found.cells
                parities |= {(col + parity) % 2 for parity in found.parities}
        costs, stuck = FaultCosts.of(self._device, significance, digits), draw_stuck(self._hardware, seed)
        own = Lines.as_mapped(crossbar.rows, crossbar.cols)
        is_aware = self._hardware.array.placement is Placement.FAULT_AWARE
        lines = place_lines(costs, stuck, parities=parities) if is_aware else own
        before, after = (costs.measure(stuck, one) for one in (own, lines))
        cells = int(np.count_nonzero(significance))
        return lines, FaultFigures(cells, before[0], after[0], before[1], after[1])


def _weigh(program: Program, uses: Sequence[TileUse], hardware: Accelerator) -> _Significance:
    """Return what the cells of a block count for, of all uses of it."""
    block, constants = uses[0].write, program.constants
    cells, parities = np.zeros((len(block.rows), len(block.cols))), set[int]()
    for use in uses:
        load, add = use.load, use.add
        shifts = constants[load.row_shifts][load.rows.start : load.rows.stop].astype(np.float64)
        outputs = constants[add.column_offsets][add.cols.start : add.cols.stop].astype(np.int64)
        weights = constants[add.column_weights][add.cols.start : add.cols.stop].astype(np.int64)
        first_row, first_col = load.rows.start - block.rows.start, add.cols.start - block.cols.start
        place = (slice(first_row, first_row + len(shifts)), slice(first_col, first_col + len(weights)))
        counted = np.where(outputs >= 0, np.abs(weights), 0)
        cells[place] = np.maximum(cells[place], 2.0 ** shifts[:, None] * counted)
        if hardware.converters.column_difference is ColumnDifference.ANALOG:
            parities |= {(first_col + int(first)) % 2 for first in np.flatnonzero(begin_pairs(outputs, weights))}
    return _Significance(cells / max(float(cells.max()), 1.0), frozenset(parities))
