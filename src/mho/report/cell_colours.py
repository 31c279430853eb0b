"""The colour of every cell of a part: by the position of the window that it counts for, shaded by its digit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mho.mapping.cell_contents import Integers
from mho.mapping.encoding import CORRECTION as SUM_OF_INPUTS
from mho.mapping.occupancy import PartOccupancy, TileCells
from mho.report.palette import CORRECTION, ZERO, darker, hues, shades

_ZERO, _CORRECTION, _FIRST = 0, 1, 2


@dataclass(frozen=True, eq=False)
class CellColours:
    """The colours of a part.

    Where windows have one position and groups share a tile, groups have hues of their own instead of positions.
    """

    occupancy: PartOccupancy

    @property
    def is_by_group(self) -> bool:
        """Whether hues are those of groups."""
        return len(self.occupancy.positions) == 1 and self.occupancy.contents.part.groups_per_tile > 1

    @cached_property
    def hues(self) -> tuple[str, ...]:
        """The hue of each position of the window, or of each group of a tile."""
        part = self.occupancy.contents.part
        return hues(part.groups_per_tile if self.is_by_group else len(self.occupancy.positions))

    @cached_property
    def digits(self) -> tuple[int, ...]:
        """The weights (absolute values) of the columns of one output, ascending."""
        cols = self.occupancy.contents.cols
        return tuple(np.unique(np.abs(cols.weight[cols.output != SUM_OF_INPUTS])).tolist())

    @property
    def has_subtracted(self) -> bool:
        """Whether some columns or rows are subtracted."""
        contents = self.occupancy.contents
        is_weight = contents.cols.output != SUM_OF_INPUTS
        return bool((contents.cols.weight[is_weight] < 0).any() or (contents.rows.sign < 0).any())

    @property
    def has_corrections(self) -> bool:
        """Whether some columns sum up inputs."""
        return self.occupancy.contents.part.correction_cols > 0

    @cached_property
    def table(self) -> tuple[str, ...]:
        """All colours, by the numbers that `tile` gives."""
        shaded = [shade for hue in self.hues for shade in shades(hue, len(self.digits))]
        return (ZERO, CORRECTION, *(both for shade in shaded for both in (shade, darker(shade))))

    def of_tile(self, cells: TileCells) -> Integers:
        """Return int64 [rows, cols], numbers of colours in `table`, for the cells of a tile."""
        hue = cells.col_group - cells.place.groups.start if self.is_by_group else None
        return self._numbers(cells.row, cells.col, cells.held, hue)

    def of_lines(self, row: Integers, col: Integers) -> Integers:
        """Return the same for some lines of the matrix of one group."""
        hue = np.zeros_like(col) if self.is_by_group else None
        return self._numbers(row, col, self.occupancy.meet(row, col), hue)

    def _numbers(self, row: Integers, col: Integers, held: NDArray[np.bool_], hue: Integers | None) -> Integers:
        contents = self.occupancy.contents
        number = self.occupancy.position_of_col[col] if hue is None else hue
        weight, output = contents.cols.weight[col], contents.cols.output[col]
        digit = np.searchsorted(np.array(self.digits), np.minimum(np.abs(weight), self.digits[-1]))
        base = _FIRST + 2 * (number * len(self.digits) + digit)
        is_subtracted = (contents.rows.sign[row][:, None] * weight) < 0
        colour = np.where(output == SUM_OF_INPUTS, _CORRECTION, base + is_subtracted)
        return np.where(held, colour, _ZERO).astype(np.int64)
