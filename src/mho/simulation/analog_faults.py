"""Stuck cells under the tiles of a program: what they make of what is written, and on which lines their error is least.

What a cell counts for follows from the instructions that read it: 2^shift of its row, times the weight of its column.
Where several blocks lie in one write, each counts in parts of the most that a cell of it does.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.array.compensation import NO_WEIGHT, WeightCells
from mho.array.conductances import Device
from mho.array.crossbar import draw_stuck
from mho.array.layout import begin_pairs
from mho.array.placement import FaultCosts, Lines, place_lines
from mho.array.seeds import CrossbarSeed
from mho.hardware.array import Compensation, Placement
from mho.hardware.converters import ColumnDifference
from mho.hardware.spec import Accelerator
from mho.program.instructions import WriteTile
from mho.program.layer_content import LayerContent, TileUse, Write
from mho.program.program import Program

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class FaultFigures:
    """What stuck cells make of writes.

    Attributes:
        cells: that are read, of all crossbars and writes.
        wrong_as_mapped: cells that deviate for good where every line takes its own.
        wrong: cells that do on the lines that were chosen, and that no others make up for.
        error_as_mapped, error: sums of squared deviations of cells, each times its significance and a part of the
            largest that a cell can make; of weights where cells make up for each other; where digits are not known when
            lines are chosen, what they are on average.
    """

    cells: int
    wrong_as_mapped: int
    wrong: int
    error_as_mapped: float
    error: float

    @classmethod
    def of(cls, cells: WeightCells, as_mapped: tuple[int, float], left: tuple[int, float]) -> FaultFigures:
        """Return the figures of one write: the cells that deviate and the error, twice."""
        return cls(int(np.count_nonzero(cells.significance)), as_mapped[0], left[0], as_mapped[1], left[1])

    @classmethod
    def total(cls, figures: Collection[FaultFigures]) -> FaultFigures:
        """Return the figures of several writes together, the same whatever their order."""
        counts = (sum(getattr(one, name) for one in figures) for name in ("cells", "wrong_as_mapped", "wrong"))
        errors = (math.fsum(getattr(one, name) for one in figures) for name in ("error_as_mapped", "error"))
        return cls(*counts, *errors)


@dataclass(frozen=True, eq=False)
class _Block:
    """What the cells of a block count for, [rows, cols] each.

    Attributes:
        significance: float64, 0..1, of a level step, as a part of the most that one of the block does.
        weight: int64, number of the weight among those of the block, or `NO_WEIGHT`.
        coefficient: int64, a signed power of two: of a level step in the weight.
        parities: of columns that begin pairs.
    """

    significance: Floats
    weight: Integers
    coefficient: Integers
    parities: frozenset[int]


class FaultAwareWriter:
    """Chooses the lines and digits of each write of a chip."""

    def __init__(self, program: Program, contents: Iterable[LayerContent], hardware: Accelerator) -> None:
        """Find what the cells of all blocks count for."""
        self._hardware, self._device = hardware, Device.of(hardware)
        self._blocks: dict[int, _Block] = {}
        self._figures: dict[tuple[int, int, int], FaultFigures] = {}
        if hardware.array.has_stuck_cells:
            uses: dict[int, list[TileUse]] = {}
            for content in contents:
                for use in content.tiles:
                    uses.setdefault(id(use.write), []).append(use)
            self._blocks = {key: _weigh(program, some, hardware) for key, some in uses.items()}

    @property
    def figures(self) -> FaultFigures:
        """What stuck cells make of all writes so far."""
        return FaultFigures.total(self._figures.values())

    def choose(
        self, seed: CrossbarSeed, number: int, blocks: Sequence[Write], digits: Integers
    ) -> tuple[Lines | None, Integers]:
        """Return the lines of a write, None where each takes its own, and the digits that are written.

        Args:
            seed: of the crossbar.
            number: of the write.
            blocks: that are written together.
            digits: int64 [rows, cols] of the whole crossbar.

        Raises:
            ConfigError: a crossbar has too many lines.
        """
        array, span = self._hardware.array, self._device.span
        if not array.has_stuck_cells:
            return None, digits
        cells, parities = self._lay_together(blocks)
        compensates = array.fault_compensation is Compensation.DIGITS
        stuck, plain = draw_stuck(self._hardware, seed), FaultCosts.of(self._device, cells.significance, digits)
        own, lines = self._place(cells.weigh(digits, span) if compensates else plain, stuck, parities)
        as_mapped, left = plain.measure(stuck, own), plain.measure(stuck, lines)
        if compensates:
            as_mapped = cells.measure(digits, own.find(stuck), span)
            # Costs take each stuck cell for the only one of its weight; the error that is left decides.
            tried = [(one, *cells.compensate(digits, one.find(stuck), span)) for one in (own, lines)]
            lines, digits, wrong, error = min(tried, key=lambda found: found[3])
            left = wrong, error
        key = seed.crossbar, id(blocks[0]), number
        self._figures[key] = FaultFigures.of(cells, as_mapped, left)
        return lines, digits

    def choose_unseen(self, seed: CrossbarSeed, number: int, blocks: Sequence[Write]) -> Lines | None:
        """Return the lines of what is written for each sample anew; see `choose`."""
        if not self._hardware.array.has_stuck_cells:
            return None
        cells, parities = self._lay_together(blocks)
        stuck, costs = draw_stuck(self._hardware, seed), FaultCosts.of(self._device, cells.significance, None)
        own, lines = self._place(costs, stuck, parities)
        key = seed.crossbar, id(blocks[0]), number
        self._figures[key] = FaultFigures.of(cells, costs.measure(stuck, own), costs.measure(stuck, lines))
        return lines

    def _place(self, costs: FaultCosts, stuck: NDArray[np.int8], parities: frozenset[int]) -> tuple[Lines, Lines]:
        """Return the lines of the mapping, and those that are chosen."""
        own = Lines.as_mapped(*costs.on.shape)
        is_aware = self._hardware.array.placement is Placement.FAULT_AWARE
        return own, place_lines(costs, stuck, parities=parities) if is_aware else own

    def _lay_together(self, blocks: Sequence[Write]) -> tuple[WeightCells, frozenset[int]]:
        """Return what the cells of the whole crossbar count for, and the parities of columns that begin pairs."""
        shape = self._hardware.crossbar.rows, self._hardware.crossbar.cols
        weight, coefficient = np.full(shape, NO_WEIGHT), np.zeros(shape, dtype=np.int64)
        significance, parities, weights = np.zeros(shape), set[int](), 0
        for block in blocks:
            found = self._blocks.get(id(block))
            if found is not None:  # else nothing reads it
                row, col = block.corner if isinstance(block, WriteTile) else (0, 0)
                rows, cols = found.weight.shape
                place = slice(row, row + rows), slice(col, col + cols)
                weight[place] = np.where(found.weight == NO_WEIGHT, NO_WEIGHT, found.weight + weights)
                coefficient[place], significance[place] = found.coefficient, found.significance
                parities |= {(col + parity) % 2 for parity in found.parities}
                weights += int(found.weight.max()) + 1
        return WeightCells(weight, coefficient, significance), frozenset(parities)


def _weigh(program: Program, uses: Sequence[TileUse], hardware: Accelerator) -> _Block:
    """Return what the cells of a block count for, of all uses of it.

    Cells count for one weight where they meet the same codes and count for the same result in the same read. Where a
    cell is read by several uses, it is a weight of its own.
    """
    block, constants = uses[0].write, program.constants
    shape = len(block.rows), len(block.cols)
    significance, parities = np.zeros(shape), set[int]()
    weight, coefficient, weights = np.full(shape, NO_WEIGHT), np.zeros(shape, dtype=np.int64), 0
    for use in uses:
        load, add = use.load, use.add
        rows, cols = slice(load.rows.start, load.rows.stop), slice(add.cols.start, add.cols.stop)
        shifts, signs = (constants[name][rows].astype(np.int64) for name in (load.row_shifts, load.row_signs))
        codes = constants[load.row_offsets][rows].astype(np.int64)
        outputs, counts = (constants[name][cols].astype(np.int64) for name in (add.column_offsets, add.column_weights))
        if hardware.converters.column_difference is ColumnDifference.ANALOG:
            begins = np.flatnonzero(begin_pairs(outputs, np.where(outputs >= 0, counts, 1)))
            parities |= {(cols.start - block.cols.start + int(first)) % 2 for first in begins}
        first_row, first_col = rows.start - block.rows.start, cols.start - block.cols.start
        place = slice(first_row, first_row + len(shifts)), slice(first_col, first_col + len(counts))
        counts = np.where(outputs >= 0, counts, 0)
        significance[place] = np.maximum(significance[place], 2.0 ** shifts[:, None] * np.abs(counts))
        _, inputs = np.unique(np.stack([codes, shifts]), axis=1, return_inverse=True)
        results = np.unique(outputs, return_inverse=True)[1]
        numbers = weights + inputs.reshape(-1)[:, None] * (int(results.max()) + 1) + results
        if (coefficient[place] != 0).any():
            numbers = weights + np.arange(numbers.size).reshape(numbers.shape)
        weight[place], coefficient[place] = np.where(counts != 0, numbers, NO_WEIGHT), signs[:, None] * counts
        weights = int(numbers.max()) + 1
    return _Block(significance / max(float(significance.max()), 1.0), weight, coefficient, frozenset(parities))
