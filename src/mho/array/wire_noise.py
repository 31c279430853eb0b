"""Read noise where wires have a resistance, to first order, at the cost of two more matrix products.

Where each cell deviates at every read by an independent Gaussian of standard deviation s, the current of column j has,
to first order in s, the variance

    var_j = sum over cells (r, c) of s[r, c]^2 a_j[r, c]^2 d[r, c]^2,

d being the voltage across the cell for the row voltages V, and a_j the voltage across it for one volt at the end of
column j and none at the drivers (the adjoint network: dI_j / dG = a_j d, by Tellegen's theorem; Director and Rohrer,
IEEE Trans. Circuit Theory 16 (1969) 318). Cells of other columns count little, and within a column

    d[r, j] = near[r, j] V[r] - far[r, j] I_j

nearly: a cell sees its own row's voltage, lowered by what its column carries. So

    var_j = V^2 squares - 2 I_j (V products) + I_j^2 currents

with matrices that depend on the array alone. `near` and `far` are chosen so that d is exact where one row is driven
alone, and where all are driven with typical voltages. docs/wires.md tells how near this comes.

It leaves out what is of second order: that noise shifts the mean, and correlations between columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.array.dissection import Block, find_drops
from mho.array.wires import (
    CELLS_AT_ONCE,
    Wires,
    check_conductances,
    divide_along,
    look_along,
    read_transfer,
    reduce_array,
)
from mho.errors import DataError
from mho.hardware.array import DrivenEnds

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class WireNoise:
    """What the variances of column currents follow from, for the arrays [...] of one set of conductances.

    Attributes:
        transfer: T [..., rows, cols], siemens: I = V T.
        squares: [..., rows, cols], siemens^2: variance by the square of a row's voltage.
        products: [..., rows, cols], siemens: variance by a row's voltage times the column's current.
        currents: [..., cols]: variance by the square of the column's current.
    """

    transfer: FloatArray
    squares: FloatArray
    products: FloatArray
    currents: FloatArray

    def variance(self, volts: FloatArray, amperes: FloatArray) -> FloatArray:
        """Return the variances of column currents, ampere^2, float64 [..., vectors, cols].

        Args:
            volts: row voltages, [..., vectors, rows].
            amperes: column currents without noise, `volts @ transfer`, [..., vectors, cols].
        """
        squares = volts**2 @ self.squares - 2 * amperes * (volts @ self.products)
        return np.maximum(squares + amperes**2 * self.currents[..., None, :], 0.0)


@dataclass(frozen=True)
class _Drops:
    """Voltages across cells, float64 [..., rows, cols].

    Attributes:
        own_row: with one volt at the cell's own row alone.
        own_column: with one volt at the end of the cell's own column alone; positive at the column.
        typical: with typical voltages at all rows.
    """

    own_row: FloatArray
    own_column: FloatArray
    typical: FloatArray


def linearize_noise(
    conductances_s: NDArray[np.floating],
    deviations_s: NDArray[np.floating],
    wires: Wires,
    typical_volts: NDArray[np.floating] | None = None,
) -> WireNoise:
    """Return what variances follow from, to first order.

    Args:
        conductances_s: mean conductances, siemens, [..., rows, cols], 0 to 1e6.
        deviations_s: standard deviation of each cell at one read, siemens, not negative, of a shape that broadcasts to
            that of the conductances.
        wires: the wires.
        typical_volts: row voltages around which the formula is nearest, [rows]; None: all rows alike. Only their ratios
            count.

    Raises:
        DataError: a shape does not fit, a value is out of range, not finite or negative.
    """
    cells = check_conductances(conductances_s)
    rows = cells.shape[-2]
    deviations = _check_like("deviations_s", deviations_s, cells.shape)
    typical = _check_like("typical_volts", np.ones(rows) if typical_volts is None else typical_volts, (rows,))
    transfer, drops = _solve(cells, wires, typical)
    own = typical[:, None]
    by_others = (typical @ transfer)[..., None, :] - transfer * own
    lowered = drops.own_row * own - drops.typical
    far = np.divide(lowered, by_others, out=np.zeros_like(cells), where=by_others > 0)
    near = drops.own_row + far * transfer
    weights = (deviations * drops.own_column) ** 2
    return WireNoise(transfer, weights * near**2, weights * near * far, (weights * far**2).sum(axis=-2))


def _check_like(name: str, values: NDArray[np.floating], shape: tuple[int, ...]) -> FloatArray:
    checked = np.asarray(values)
    try:
        fits = checked.dtype.kind in "fiu" and np.broadcast_shapes(checked.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits or not (np.isfinite(checked) & (checked >= 0)).all():
        raise DataError(
            f"{name} {checked.shape} of type {checked.dtype} does not fit, or holds what is negative or not finite",
            where="wires",
            expected=f"finite numbers from 0 on that broadcast to {shape}",
        )
    return np.broadcast_to(checked.astype(np.float64), shape)


def _solve(cells: FloatArray, wires: Wires, typical: FloatArray) -> tuple[FloatArray, _Drops]:
    """Return T and drops, both [..., rows, cols]."""
    if wires.are_ideal:
        whole = np.ones_like(cells)
        return cells, _Drops(whole, whole, whole * typical[:, None])
    if wires.row_segment_ohm == 0:
        return _solve_columns(cells, 1 / wires.col_segment_ohm, typical)
    if wires.col_segment_ohm == 0:
        return _solve_rows(cells, 1 / wires.row_segment_ohm, wires.driven_ends, typical)
    rows, cols = cells.shape[-2:]
    flat = cells.reshape(-1, rows, cols)
    found = np.empty((4, *flat.shape))
    tiles = max(1, CELLS_AT_ONCE // (rows * cols))
    for start in range(0, len(flat), tiles):
        chunk = slice(start, start + tiles)
        block = reduce_array(flat[chunk], wires, keep=True)
        found[0, chunk] = read_transfer(block, rows, cols)
        drops = find_drops(block, _excite(block, typical))[:, -rows:, :cols]
        found[1:, chunk] = np.moveaxis(drops, -1, 0)
    transfer, own_row, own_column, at_typical = found.reshape(4, *cells.shape)
    return transfer, _Drops(own_row, -own_column, at_typical)


def _excite(block: Block, typical: FloatArray) -> FloatArray:
    """Return port voltages: one volt at each row in turn, one at the end of each column in turn, and typical ones."""
    ports = block.ports
    rows, cols = ports.left, ports.bottom
    volts = np.zeros((len(block.couplings), 1, 1, len(ports), rows + cols + 1))
    for side in ("left", "right") if ports.right else ("left",):
        volts[..., ports.at(side), :rows] = np.eye(rows)
        volts[..., ports.at(side), -1] = np.concatenate([np.zeros(rows - len(typical)), typical])
    volts[..., ports.at("bottom"), rows : rows + cols] = np.eye(cols)
    return volts


def _solve_columns(cells: FloatArray, link: float, typical: FloatArray) -> tuple[FloatArray, _Drops]:
    """Return T and drops where only columns have a resistance: each column is a ladder, driven through its cells."""
    loads = np.moveaxis(cells, -2, 0)
    volts = typical.reshape(-1, *[1] * (loads.ndim - 1))
    above, below = look_along(loads, link), look_along(loads[::-1], link, link)[::-1]
    beside = np.zeros_like(loads)
    beside[1:] += in_series(link, above[:-1])
    beside[:-1] += in_series(link, below[1:])
    beside[-1] += link
    own_column = divide_along(loads, link)
    sent = loads * volts
    for row in range(1, len(loads)):
        sent[row] += sent[row - 1] * (link / (link + above[row - 1]))
    level = np.zeros_like(loads)
    following = np.zeros_like(loads[0])
    for row in reversed(range(len(loads))):
        following = level[row] = (sent[row] + link * following) / (above[row] + link)
    fields = (loads * own_column, beside / (beside + loads), own_column, volts - level)
    transfer, own_row, own_column, at_typical = (np.moveaxis(field, 0, -2) for field in fields)
    return transfer, _Drops(own_row, own_column, at_typical)


def _solve_rows(cells: FloatArray, link: float, ends: DrivenEnds, typical: FloatArray) -> tuple[FloatArray, _Drops]:
    """Return T and drops where only rows have a resistance: each row is a ladder, all of whose cells are grounded."""
    loads = np.moveaxis(cells, -1, 0)
    far_end = link if ends is DrivenEnds.BOTH else 0.0
    before, after = look_along(loads, link, link), look_along(loads[::-1], link, far_end)[::-1]
    beside = np.zeros_like(loads)
    beside[0] += link
    beside[1:] += in_series(link, before[:-1])
    beside[:-1] += in_series(link, after[1:])
    beside[-1] += far_end
    own_row = divide_along(loads[::-1], link, far_end)[::-1]
    if far_end:
        own_row = own_row + divide_along(loads, link, far_end)
    fields = (loads * own_row, own_row, beside / (beside + loads))
    transfer, own_row, own_column = (np.moveaxis(field, 0, -1) for field in fields)
    return transfer, _Drops(own_row, own_column, own_row * typical[:, None])


def in_series(link: float, beyond: FloatArray) -> FloatArray:
    """Return the conductance of a link and what lies beyond it."""
    return beyond * (link / (link + beyond))
