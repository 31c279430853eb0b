"""Fault-aware placement: which lines of a crossbar take the rows and columns of what is written.

Which cells are stuck is known from a test, and tables in the periphery of each crossbar may lead the drive of any row
to any wordline, and the sum of any column from any bitline, spare ones too: results are the same on ideal cells. Lines
are chosen so that the squared errors that stuck cells make, weighted by what cells count for, add up to little.

For given lines of the rows, the best ones for the columns are an assignment problem, and the other way round; both are
solved exactly in turn until neither finds better ones. That rows and columns together have no better lines is not said.
Row permutations by assignment: F. Aguirre et al., Electronics 10(19), 2427, 2021 (sums of weight variations).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.array.conductances import Device
from mho.errors import ConfigError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MAX_LINES_PLACED = 4096
"""Rows or columns that are placed: assignment takes memory of their square and time of their cube."""
_COST_BITS = 28
"""Costs are whole multiples of 2^-28 of the largest: sums are exact, so that choices are the same everywhere."""
_STAYING = 2.0 ** -(_COST_BITS + 13)
"""What it is worth that a line takes its own: of all lines together less than any difference of costs."""
_MAX_TURNS = 32


@dataclass(frozen=True, eq=False)
class Lines:
    """Which lines of a crossbar take what is written.

    Attributes:
        rows: int64 [rows], wordline of each row; every wordline once.
        cols: int64 [cols], bitline of each column; none twice. Spare ones follow the others.
    """

    rows: Integers
    cols: Integers

    def find(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Return what rows and columns [rows, cols] meet, of what cells [wordlines, bitlines] are."""
        return cells[self.rows[:, None], self.cols]

    @classmethod
    def as_mapped(cls, rows: int, cols: int) -> Lines:
        """Return every line for itself."""
        return cls(np.arange(rows), np.arange(cols))


@dataclass(frozen=True, eq=False)
class FaultCosts:
    """What it costs where a cell of what is written meets a stuck one, in parts of the largest cost.

    Attributes:
        on, off: float64 [rows, cols] of a crossbar, 0..1, where it is stuck in the highest or lowest level: the
            square of its deviation, times that of its significance. Whole multiples of 2^-28.
    """

    on: Floats
    off: Floats

    @classmethod
    def of(cls, device: Device, significance: Floats, digits: NDArray[np.integer] | None) -> FaultCosts:
        """Weigh the cells of a crossbar.

        Args:
            device: the cells.
            significance: float64 [rows, cols], what a level step of a cell counts for, as a part of the most that any
                does; 0 where a cell is not read.
            digits: [rows, cols], what is written; None where it is not known yet: any digit, each as often.
        """
        levels, span = device.levels, device.span
        if digits is None:
            on, off = (np.full(significance.shape, (values**2).mean()) for values in (span - levels, levels))
        else:
            on, off = (span - levels[digits]) ** 2, levels[digits] ** 2
        return cls.rounded(*(cost * (significance / span) ** 2 for cost in (on, off)))

    @classmethod
    def rounded(cls, on: Floats, off: Floats) -> FaultCosts:
        """Return costs from 0 to 1 in whole multiples of 2^-28; what is not nothing costs at least one."""
        steps = (np.where(cost > 0, np.maximum(np.rint(np.ldexp(cost, _COST_BITS)), 1), 0) for cost in (on, off))
        return cls(*(np.ldexp(step, -_COST_BITS) for step in steps))

    def measure(self, stuck: NDArray[np.int8], lines: Lines) -> tuple[int, float]:
        """Return how many cells deviate where they are placed, and the sum of their costs.

        Args:
            stuck: int8 [wordlines, bitlines], +1 for a cell in the highest level for good, -1 in the lowest, 0 else.
            lines: where they are.
        """
        met = lines.find(stuck)
        cost = np.where(met > 0, self.on, np.where(met < 0, self.off, 0.0))
        return int(np.count_nonzero(cost)), float(cost.sum())


def place_lines(costs: FaultCosts, stuck: NDArray[np.int8], *, parities: Collection[int] = ()) -> Lines:
    """Choose lines; the sum of costs never exceeds that of `Lines.as_mapped`, which stays where there is no cost.

    Args:
        costs: of what is written, [rows, cols].
        stuck: int8 [rows, bitlines], bitlines from `cols` on being spare.
        parities: of the first columns of pairs whose differences are converted: pairs keep together, and begin at
            columns of the same parity. Without any, each column moves by itself; with both, none does.

    Raises:
        ConfigError: there are more lines than can be placed.
    """
    rows, cols = costs.on.shape
    if max(rows, stuck.shape[1]) > MAX_LINES_PLACED:
        raise ConfigError(
            f"a crossbar of {rows} x {stuck.shape[1]} lines",
            where="array.placement",
            expected=f"at most {MAX_LINES_PLACED} rows and columns for fault-aware placement",
        )
    lines = Lines.as_mapped(rows, cols)
    _, least = costs.measure(stuck, lines)
    is_on, is_off = (stuck > 0).astype(np.float64), (stuck < 0).astype(np.float64)
    turns_in_vain = 0
    for turn in range(_MAX_TURNS):
        if not least or turns_in_vain == 2:
            break
        if turn % 2:
            at = lines.cols
            table = costs.on @ is_on[:, at].T + costs.off @ is_off[:, at].T
            tried = Lines(_assign(table), lines.cols)
        else:
            at = lines.rows
            table = costs.on.T @ is_on[at] + costs.off.T @ is_off[at]
            tried = Lines(lines.rows, _assign_columns(table, parities))
        _, cost = costs.measure(stuck, tried)
        turns_in_vain = 0 if cost < least else turns_in_vain + 1
        if cost < least:
            lines, least = tried, cost
    return lines


def _assign_columns(table: Floats, parities: Collection[int]) -> Integers:
    """Return a bitline for each column, of costs [cols, bitlines]."""
    cols, bitlines = table.shape
    if not parities:
        return _assign(table)
    if len(parities) > 1:
        return np.arange(cols)
    (first_of_pairs,) = parities
    first = np.arange(first_of_pairs, cols - 1, 2)
    # What has no partner stays; so does nothing else lie where it does.
    slots = np.arange(first_of_pairs, bitlines - 1, 2)
    if (cols - first_of_pairs) % 2:
        slots = slots[slots != cols - 1]
    of_pairs = table[np.ix_(first, slots)] + table[np.ix_(first + 1, slots + 1)]
    found = slots[_assign(of_pairs)]
    placed = np.arange(cols)
    placed[first], placed[first + 1] = found, found + 1
    return placed


def _assign(table: Floats) -> Integers:
    """Return the place of each thing [things] that costs least altogether, of costs [things, places].

    Of equal ones, most things stay at their own.
    """
    from scipy.optimize import linear_sum_assignment

    own = np.arange(len(table))
    table[own, own] -= _STAYING
    return np.asarray(linear_sum_assignment(table)[1], dtype=np.int64)
