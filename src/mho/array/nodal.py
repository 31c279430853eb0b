"""The network of an array solved plainly: Kirchhoff's current law at every node, sparse, one factorization.

It is the oracle for `mho.array.wires`: the same network (described there), nothing shared with it. A wire without
resistance is one node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.array.wires import Wires, check_conductances
from mho.errors import DataError
from mho.hardware.array import DrivenEnds

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
        conductances_s: conductances of cells, siemens, [rows, cols], 0 to 1e6.
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
    network = _connect(cells, wires)
    known = np.concatenate([driven.T, np.zeros((cells.shape[1], len(driven)))])
    potentials = _solve(network, known)
    row_volts, col_volts = (np.moveaxis(potentials[nodes], -1, 0) for nodes in (network.row_nodes, network.col_nodes))
    if wires.col_segment_ohm:
        currents = col_volts[:, -1] / wires.col_segment_ohm
    else:
        currents = np.einsum("rc,vrc->vc", cells, row_volts)
    return NodalSolution(currents, row_volts, col_volts)


def first_order_variance(
    conductances_s: NDArray[np.floating],
    deviations_s: NDArray[np.floating],
    voltages: NDArray[np.floating],
    wires: Wires,
) -> FloatArray:
    """Return variances of column currents to first order in cells' deviations, ampere^2, float64 [vectors, cols].

    The sum over all cells that `mho.array.wire_noise` approximates, from nodal solutions of the network and of its
    adjoint. It takes memory for rows x cols numbers a vector and a column.

    Args:
        conductances_s: mean conductances, siemens, [rows, cols].
        deviations_s: standard deviations of cells, siemens, [rows, cols].
        voltages: volts at the rows' drivers, [vectors, rows].
        wires: the wires.

    Raises:
        DataError: as by `solve_nodal`.
    """
    solution = solve_nodal(conductances_s, voltages, wires)
    cells = check_conductances(conductances_s)
    network = _connect(cells, wires)
    rows, cols = cells.shape
    adjoint = _solve(network, np.concatenate([np.zeros((rows, cols)), np.eye(cols)]))
    across = adjoint[network.row_nodes] - adjoint[network.col_nodes]
    forward = (solution.row_volts - solution.col_volts) * np.asarray(deviations_s, dtype=np.float64)
    return np.asarray(np.einsum("vrc,rcj->vj", forward**2, across**2))


@dataclass(frozen=True)
class _Network:
    """Nodes and what joins them. Nodes 0 to rows - 1 are drivers, the next cols are grounds, the others are free.

    Attributes:
        nodes: how many there are.
        row_nodes: nodes of cells at their wordlines, [rows, cols].
        col_nodes: nodes of cells at their bitlines, [rows, cols].
        links: pairs of nodes, and the conductances between them.
    """

    nodes: int
    row_nodes: Nodes
    col_nodes: Nodes
    links: list[tuple[Nodes, Nodes, FloatArray]]


def _connect(cells: FloatArray, wires: Wires) -> _Network:
    rows, cols = cells.shape
    drivers, grounds = np.arange(rows, dtype=np.int64), np.arange(rows, rows + cols, dtype=np.int64)
    nodes = rows + cols
    grid = np.arange(rows * cols, dtype=np.int64).reshape(rows, cols)
    row_nodes = np.broadcast_to(drivers[:, None], cells.shape)
    col_nodes = np.broadcast_to(grounds, cells.shape)
    links: list[tuple[Nodes, Nodes, FloatArray]] = []

    def join(one: Nodes, other: Nodes, siemens: float | FloatArray) -> None:
        links.append((one.ravel(), other.ravel(), np.broadcast_to(siemens, one.shape).ravel().astype(np.float64)))

    if wires.row_segment_ohm:
        row_nodes, nodes, siemens = nodes + grid, nodes + rows * cols, 1 / wires.row_segment_ohm
        join(drivers, row_nodes[:, 0], siemens)
        join(row_nodes[:, :-1], row_nodes[:, 1:], siemens)
        if wires.driven_ends is DrivenEnds.BOTH:
            join(row_nodes[:, -1], drivers, siemens)
    if wires.col_segment_ohm:
        col_nodes, nodes, siemens = nodes + grid, nodes + rows * cols, 1 / wires.col_segment_ohm
        join(grounds, col_nodes[-1], siemens)
        join(col_nodes[:-1], col_nodes[1:], siemens)
    join(row_nodes, col_nodes, cells)
    return _Network(nodes, row_nodes, col_nodes, links)


def _solve(network: _Network, known: FloatArray) -> FloatArray:
    """Return the potentials of all nodes [nodes, vectors] for those of drivers and grounds, [rows + cols, vectors]."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    one, other, siemens = (np.concatenate(part) for part in zip(*network.links, strict=True))
    values = np.concatenate([-siemens, -siemens, siemens, siemens])
    places = (np.concatenate([one, other, one, other]), np.concatenate([other, one, one, other]))
    laplacian = coo_array((values, places), shape=(network.nodes, network.nodes)).tocsc()
    given = len(known)
    if given == network.nodes:
        return known
    inner = laplacian[given:, given:].tocsc()
    factors = splu(inner, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.concatenate([known, factors.solve(-(laplacian[given:, :given] @ known))])
