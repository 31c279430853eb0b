"""Wires that are not ideal: what reaches the ends of the columns where wordlines and bitlines have a resistance.

With fixed, ohmic cells the array is a linear network: column currents are I = V T, where T depends on conductances and
wires alone. `transfer_matrix` finds T once, for the whole array, rows and columns; every product after that costs what
an ideal one does. `mho.array.nodal` solves the same network plainly, for comparison.

The network: the segment of wordline to the left of each cell and the segment of bitline below each cell have
`row_segment_ohm` and `col_segment_ohm`. Row r is driven with V[r] at the outer end of its leftmost segment, or also,
through one more segment, behind its last cell. The outer ends of the lowest column segments (below row rows - 1) are
virtual grounds, through which the measured currents flow. The other ends of wires are open. Drivers and grounds are
ideal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.array.dissection import Block, build, pad_length
from mho.errors import ConfigError, DataError
from mho.hardware.array import DrivenEnds

FloatArray = NDArray[np.float64]

SEGMENT_OHM = (1e-9, 1e9)
"""Resistances of a segment, other than none at all, that are allowed."""
MAX_SIEMENS = 1e6
NO_SIEMENS = 1e-30
"""Conductances of cells are allowed up to the first; those below the second count as none: products stay in float64."""
CELLS_AT_ONCE = 1 << 13
"""Cells of small tiles that are reduced together: no more than the processor's cache takes."""


@dataclass(frozen=True)
class Wires:
    """Wires of an array.

    Attributes:
        row_segment_ohm: resistance of a wordline from one cell to the next, ohm; 0, or 1e-9 to 1e9.
        col_segment_ohm: resistance of a bitline from one cell to the next, ohm; 0, or 1e-9 to 1e9.
        driven_ends: which ends of wordlines are driven.

    Raises:
        ConfigError: a resistance is out of range, or the driven ends are not known.
    """

    row_segment_ohm: float
    col_segment_ohm: float
    driven_ends: DrivenEnds = DrivenEnds.LEFT

    def __post_init__(self) -> None:
        low, high = SEGMENT_OHM
        for name in ("row_segment_ohm", "col_segment_ohm"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{name} is {value!r}", where="wires", expected="a number")
            if value != 0 and not low <= value <= high:
                raise ConfigError(f"{name} is {value!r}", where="wires", expected=f"0, or {low:g} to {high:g} ohm")
        if not isinstance(self.driven_ends, DrivenEnds):
            known = ", ".join(repr(end.value) for end in DrivenEnds)
            raise ConfigError(
                f"driven_ends is {self.driven_ends!r}", where="wires", expected=f"a DrivenEnds: one of {known}"
            )

    @property
    def are_ideal(self) -> bool:
        """True where no wire has a resistance."""
        return not (self.row_segment_ohm or self.col_segment_ohm)


def transfer_matrix(conductances_s: NDArray[np.floating], wires: Wires) -> FloatArray:
    """Return T [..., rows, cols] (siemens), with which the currents of columns are I = V T.

    T[r, c] is the current of column c for one volt at row r and none at the others. It is the conductance of the cell
    where wires are ideal; the sum of a row is below that of its cells where they are not. Entries are accurate one by
    one, small ones too, whatever the ratio of wires to cells (see `mho.array.dissection`).

    Args:
        conductances_s: conductances of cells, siemens, [..., rows, cols], 0 to 1e6. What is below 1e-30 counts as 0:
            not connected.
        wires: the wires.

    Raises:
        DataError: conductances have no rows or columns, or are not numbers in the range.
    """
    cells = check_conductances(conductances_s)
    if wires.are_ideal:
        return cells
    if wires.row_segment_ohm == 0:
        return _ideal_rows(cells, 1 / wires.col_segment_ohm)
    if wires.col_segment_ohm == 0:
        return _ideal_columns(cells, 1 / wires.row_segment_ohm, wires.driven_ends)
    rows, cols = cells.shape[-2:]
    flat = cells.reshape(-1, rows, cols)
    transfer = np.empty_like(flat)
    tiles = max(1, CELLS_AT_ONCE // (rows * cols))
    for start in range(0, len(flat), tiles):
        chunk = slice(start, start + tiles)
        transfer[chunk] = read_transfer(reduce_array(flat[chunk], wires), rows, cols)
    return transfer.reshape(cells.shape)


def check_conductances(conductances_s: NDArray[np.floating]) -> FloatArray:
    """Return a copy of conductances, float64 [..., rows, cols]. Raises `DataError` as `transfer_matrix` does."""
    cells = np.asarray(conductances_s)
    expected = f"[..., rows, cols] with rows and columns, each 0 to {MAX_SIEMENS:g} S"
    if cells.ndim < 2 or 0 in cells.shape[-2:] or cells.dtype.kind not in "fiu":
        raise DataError(
            f"conductances have the shape {cells.shape} and the type {cells.dtype}", where="wires", expected=expected
        )
    cells = np.asarray(cells, dtype=np.float64)
    wrong = ~((cells >= 0) & (cells <= MAX_SIEMENS))
    if wrong.any():
        place = tuple(int(index[0]) for index in np.nonzero(wrong))
        raise DataError(f"the conductance at {place} is {cells[place]:g} S", where="wires", expected=expected)
    return np.where(cells < NO_SIEMENS, 0.0, cells)


def reduce_array(cells: FloatArray, wires: Wires, *, keep: bool = False) -> Block:
    """Return arrays [tiles, rows, cols] with resistive wires on both sides, padded, as one block a tile.

    Its left ports are the drivers of rows; its right ports are the drivers at the other end, where there are some; its
    bottom ports are the virtual grounds. Rows are padded on top, where columns are open. Columns are padded on the
    right with cells that do not conduct: an open end may be as long as it likes, and a driven end's one segment is cut
    into as many as there are columns of padding, the last row node being the driver.
    """
    tiles, rows, cols = cells.shape
    driven_right = wires.driven_ends is DrivenEnds.BOTH
    tall, wide = pad_length(rows), pad_length(cols + driven_right)
    padded = np.zeros((tiles, tall, wide))
    padded[:, tall - rows :, :cols] = cells
    links = np.full(wide, 1 / wires.row_segment_ohm)
    if driven_right:
        links[cols:] *= wide - cols
    return build(padded, links, 1 / wires.col_segment_ohm, open_right=not driven_right, keep=keep)


def read_transfer(block: Block, rows: int, cols: int) -> FloatArray:
    """Return T [tiles, rows, cols] of what `reduce_array` returned."""
    ports = block.ports
    down = block.couplings[:, 0, 0, ports.at("bottom"), :]
    transfer = down[..., ports.at("left")]
    if ports.right:
        transfer = transfer + down[..., ports.at("right")]
    return np.swapaxes(transfer[..., :cols, ports.left - rows :], -1, -2)


def _ideal_rows(cells: FloatArray, link: float) -> FloatArray:
    """Return T where only columns have a resistance: each column is a ladder of its own.

    By reciprocity, T[r, c] is the current into row r for one volt at the column's end: a divider at each segment.
    """
    transfer = np.empty_like(cells)
    above = look_along(np.moveaxis(cells, -2, 0), link)
    voltage = np.ones(cells.shape[:-2] + cells.shape[-1:])
    for row in reversed(range(cells.shape[-2])):
        voltage = voltage * (link / (link + above[row]))
        transfer[..., row, :] = cells[..., row, :] * voltage
    return transfer


def _ideal_columns(cells: FloatArray, link: float, ends: DrivenEnds) -> FloatArray:
    """Return T where only rows have a resistance: each row is a ladder of its own, all of whose cells are grounded."""
    across = np.moveaxis(cells, -1, 0)
    from_left = divide_along(across[::-1], link, link if ends is DrivenEnds.BOTH else 0.0)[::-1]
    total = from_left if ends is DrivenEnds.LEFT else from_left + divide_along(across, link, link)
    return np.moveaxis(across * total, 0, -1)


def look_along(loads: FloatArray, link: float, end: float = 0.0) -> FloatArray:
    """Return the conductance to ground at each node of a ladder, of its own load and of all before it.

    Args:
        loads: conductances of nodes to ground, float64 [nodes, ...].
        link: conductance from node to node.
        end: conductance to ground before the first node, beside its load.
    """
    seen = np.empty_like(loads)
    seen[0] = loads[0] + end
    for node in range(1, len(loads)):
        seen[node] = loads[node] + seen[node - 1] * (link / (link + seen[node - 1]))
    return seen


def divide_along(loads: FloatArray, link: float, end: float = 0.0) -> FloatArray:
    """Return the voltages of a ladder's nodes [nodes, ...] for one volt behind a link after its last node.

    Args:
        loads: conductances of nodes to ground, float64 [nodes, ...].
        link: conductance from node to node and to the source.
        end: conductance to ground before the first node, beside its load.
    """
    seen = look_along(loads, link, end)
    voltages = link / (link + seen)
    for node in reversed(range(len(loads) - 1)):
        voltages[node] *= voltages[node + 1]
    return voltages
