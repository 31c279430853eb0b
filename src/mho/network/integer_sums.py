"""What becomes of a layer's exact sums in an integer-only digital unit: multipliers, offsets and a shift."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.fixed_point import LARGEST_PRODUCT, to_fixed_point
from mho.errors import UnsupportedOperationError
from mho.network.digital_grids import CentredGrid
from mho.network.graph import Grid, LayerQuantization, Network, Node, Requantization

_INT32 = (1 << 31) - 1


def lower_sums(network: Network, node: Node, quantization: LayerQuantization, grid: CentredGrid) -> Requantization:
    """Return how a layer's sums become integers on a grid.

    Raises:
        UnsupportedOperationError: its scales are so far apart that no multipliers of 32 bits stand between them.
    """
    units = np.float64(quantization.input.scales) * quantization.weight.scales.astype(np.float64)
    bias = network.constants[node.inputs[2]].astype(np.float64) if len(node.inputs) > 2 else np.float64(0)
    factors, offsets = np.broadcast_arrays(units / grid.scale, bias / grid.scale)
    limit = max(_INT32, int(_largest_sums(network, node, quantization).max(initial=0)))
    fixed = to_fixed_point(factors, np.float64(limit), offsets)
    if fixed is None:
        raise UnsupportedOperationError(
            f"one unit of its sums is worth {np.abs(factors).max():.3g} steps of its output",
            where=f"{network.name}: {node.name}", expected="scales that 32-bit multipliers lie between",
            hint='calibrate anew, or set digital.arithmetic = "float32"',
        )  # fmt: skip
    assert limit * int(np.abs(fixed.multipliers.astype(np.int64)).max(initial=0)) <= LARGEST_PRODUCT
    return Requantization(fixed.multipliers, fixed.offsets, fixed.shift, limit, grid.low, grid.high)


def _largest_sums(network: Network, node: Node, quantization: LayerQuantization) -> NDArray[Any]:
    """Return what the sums of each output are no larger than, in magnitude."""
    reach = _reach(quantization.input)
    if node.op == "matmul":
        return np.asarray(network.shapes[node.inputs[0]][-1] * reach * _reach(quantization.weight))
    weights = network.constants[node.inputs[1]]
    rows = weights.reshape(len(weights), -1).astype(np.int64) - quantization.weight.zero_points.reshape(-1, 1)
    return np.asarray(reach * np.abs(rows).sum(axis=1))


def _reach(grid: Grid) -> int:
    if grid.is_binary:
        return 1
    return CentredGrid.of(grid).reach
