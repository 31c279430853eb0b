"""The network of an array solved plainly: Kirchhoff's current law at every node, sparse, one factorization.

It is the oracle for `mho.array.wires`: the same network (described there), nothing shared with it. A wire without
resistance is one node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.array.wires import DrivenEnds, Wires, check_conductances
from mho.errors import DataError

FloatArray = NDArray[np.float64]
Nodes = NDArray[np.int64]


@dataclass(frozen=True)
class NodalSolution:
    """What flows and lies where.

    Attributes:
        currents_ampere: currents of columns into their virtual grounds, float64 [vectors, cols].
        row_volts: voltages of row nodes, float64 [vectors, rows, cols].
        col_volts: voltages of column nodes, float64 [vectors, rows, cols].
    """

    currents_ampere: FloatArray
    row_volts: FloatArray
    col_volts: FloatArray


def solve_nodal(conductances_s: NDArray[np.floating], voltages: NDArray[np.floating], wires: Wires) -> NodalSolution:
    """Solve the network of one array for some vectors of row voltages.

    Args:
        conductances_s: conductances of cells, siemens, [rows, cols], 0 or 1e-30 to 1e6.
        voltages: volts at the rows' drivers, [vectors, rows].
        wires: the wires.

    Raises:
        DataError: shapes do not fit each other, or a value is out of range or not finite.
    """
    cells = check_conductances(conductances_s)
    driven = np.asarray(voltages, dtype=np.float64)
    if cells.ndim != 2 or driven.ndim != 2 or driven.shape[1] != len(cells) or not np.isfinite(driven).all():
        raise DataError(
            f"conductances are {cells.shape}, voltages {driven.shape}",
            where="nodal solution",
            expected="[rows, cols] and finite volts [vectors, rows]",
        )
    rows = len(cells)
    count, row_node, col_node, links = _number_nodes(cells, wires)
    known = np.zeros((count, len(driven)))
    known[:rows] = driven.T
    potentials = _solve(count, rows + 1, known, links)
    return NodalSolution(
        _measure(cells, potentials, row_node, col_node, wires),
        np.moveaxis(potentials[row_node], -1, 0),
        np.moveaxis(potentials[col_node], -1, 0),
    )


def _number_nodes(cells: FloatArray, wires: Wires) -> tuple[int, Nodes, Nodes, list[tuple[Nodes, Nodes, FloatArray]]]:
    """Return the number of nodes, the nodes of cells [rows, cols] at rows and at columns, and all conductances.

    Nodes 0 to rows - 1 are drivers, node `rows` is ground, the others are to be solved for.
    """
    rows, cols = cells.shape
    drivers, ground = np.arange(rows, dtype=np.int64), np.full(cols, rows, dtype=np.int64)
    count = rows + 1
    grid = np.arange(rows * cols, dtype=np.int64).reshape(rows, cols)
    row_node = np.broadcast_to(drivers[:, None], cells.shape)
    col_node = np.broadcast_to(ground, cells.shape)
    links: list[tuple[Nodes, Nodes, FloatArray]] = []

    def connect(one: Nodes, other: Nodes, siemens: float | FloatArray) -> None:
        links.append((one.ravel(), other.ravel(), np.broadcast_to(siemens, one.shape).ravel().astype(np.float64)))

    if wires.row_segment_ohm:
        row_node, count, siemens = count + grid, count + rows * cols, 1 / wires.row_segment_ohm
        connect(drivers, row_node[:, 0], siemens)
        connect(row_node[:, :-1], row_node[:, 1:], siemens)
        if wires.driven_ends is DrivenEnds.BOTH:
            connect(row_node[:, -1], drivers, siemens)
    if wires.col_segment_ohm:
        col_node, count, siemens = count + grid, count + rows * cols, 1 / wires.col_segment_ohm
        connect(ground, col_node[-1], siemens)
        connect(col_node[:-1], col_node[1:], siemens)
    connect(row_node, col_node, cells)
    return count, row_node, col_node, links


def _solve(count: int, given: int, known: FloatArray, links: list[tuple[Nodes, Nodes, FloatArray]]) -> FloatArray:
    """Return potentials of all nodes [nodes, vectors]; those of the first `given` nodes are known."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    one, other, siemens = (np.concatenate(part) for part in zip(*links, strict=True))
    laplacian = coo_array(
        (
            np.concatenate([-siemens, -siemens, siemens, siemens]),
            (np.concatenate([one, other, one, other]), np.concatenate([other, one, one, other])),
        ),
        shape=(count, count),
    ).tocsc()
    potentials = known.copy()
    if given < count:
        inner = laplacian[given:, given:].tocsc()
        factors = splu(inner, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        potentials[given:] = factors.solve(-(laplacian[given:, :given] @ known[:given]))
    return potentials


def _measure(cells: FloatArray, potentials: FloatArray, row_node: Nodes, col_node: Nodes, wires: Wires) -> FloatArray:
    """Return the currents of columns [vectors, cols]: of the lowest segments, or of all cells where there are none."""
    if wires.col_segment_ohm:
        return np.asarray(potentials[col_node[-1]].T / wires.col_segment_ohm)
    return np.asarray(np.einsum("rc,rcv->vc", cells, potentials[row_node]))
