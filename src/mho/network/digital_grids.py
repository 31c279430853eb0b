"""On which integers each tensor of a quantized network can lie between its layers: what follows from who reads it.

A tensor that is read on one grid alone lies on it: the input of a layer on the layer's, and what only moves numbers or
clips them passes the wish on. What makes a tensor then rounds once, to what its reader takes. Indices of an embedding
are the whole numbers that they are, whoever else reads them. Every other tensor needs a grid of its own, which a
quantizer behind it (a `fake_quantize` node) gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mho.arithmetic.attributes import get_float
from mho.arithmetic.limits import LARGEST_INTEGER
from mho.arithmetic.operations import OPERATIONS
from mho.network.graph import Grid, Network, Node, quantizer_grid
from mho.network.rms_norms import find_rms_norms

CLIPS = ("relu", "clip")


@dataclass(frozen=True)
class CentredGrid:
    """Centred integers v = code - zero point from `low` to `high`, which mean scale * v.

    Attributes:
        scale: a float32 value.
        low, high: whole numbers.
        owner: the tensor whose grid is not known yet, which a quantizer behind it is to give; then the numbers above
            say nothing.
    """

    scale: float
    low: int
    high: int
    owner: str = ""

    @classmethod
    def of(cls, grid: Grid) -> CentredGrid:
        """Return the integers of a grid of one scale, less its zero point."""
        zero_point = int(grid.zero_points)
        return cls(float(grid.scales), grid.qmin - zero_point, grid.qmax - zero_point)

    def holds(self, other: CentredGrid) -> bool:
        """Return whether integers of another grid are integers of this one as they are."""
        return self.scale == other.scale and self.low <= other.low and other.high <= self.high

    @property
    def reach(self) -> int:
        """The largest magnitude."""
        return max(-self.low, self.high)

    @property
    def bits(self) -> int:
        """Bits that the integers take, as codes with a zero point."""
        return max(1, (self.high - self.low).bit_length())

    def clipped(self, node: Node) -> CentredGrid:
        """Return what is left of the range behind a node of `CLIPS`."""
        if self.owner:
            return self
        low, high = 0.0, float("inf")
        if node.op == "clip":
            low, high = (get_float(node.attributes, key) / self.scale for key in ("min", "max"))
        first, last = (min(max(limit, self.low), self.high) for limit in (low, high))
        return replace(self, low=round(first), high=max(round(first), round(last)))


INDICES = CentredGrid(1.0, -LARGEST_INTEGER, LARGEST_INTEGER)
"""The grid of indices."""
MOST_ROWS = 1 << 18
"""Of a table. An index beyond its grid, which is limited, then lies outside of every table, after three sums, too."""


@dataclass(frozen=True, eq=False)
class GridPlan:
    """Where tensors lie.

    Attributes:
        grids: of tensors that are read on one grid alone, or have a quantizer, or are to get one, or are indices;
            others lie on the grid of what they are made of.
        missing: tensors that need a grid of their own and have none, the last first.
    """

    grids: Mapping[str, CentredGrid]
    missing: tuple[str, ...]


def passes_grid(node: Node) -> bool:
    """Whether a node's result lies on the grid of its operands."""
    record = OPERATIONS[node.op]
    return record.moves or record.takes_integers or node.op == "cast"


def keeps_indices(network: Network, node: Node) -> bool:
    """Whether a node makes exact indices of indices: it moves or limits them, or adds whole constants below 2^18."""
    constants = [network.constants[name] for name in node.inputs if name in network.constants]
    if node.op in ("add", "sub") and len(constants) == 1:
        return bool(((np.rint(constants[0]) == constants[0]) & (np.abs(constants[0]) < MOST_ROWS)).all())
    return passes_grid(node)


def plan_grids(network: Network, *, is_final: bool) -> GridPlan:
    """Find where each tensor lies.

    Args:
        network: quantized.
        is_final: whether quantizers are all there: then a tensor that only moves numbers needs none of its own.
    """
    readers: dict[str, list[tuple[Node, int]]] = {}
    for node in network.nodes:
        for number, name in enumerate(node.inputs):
            readers.setdefault(name, []).append((node, number))
    outputs = {tensor.name for tensor in network.outputs}
    grids: dict[str, CentredGrid] = {}
    missing = []
    within = {name for norm in find_rms_norms(network) for name in norm.inner}

    def list_wanted(name: str) -> list[CentredGrid | None]:
        found = [_wanted(network, node, number, grids) for node, number in readers.get(name, [])]
        return [*found, None] if name in outputs else found

    def find(name: str) -> CentredGrid | None:
        wanted = list_wanted(name)
        if INDICES in wanted:
            return INDICES
        first = wanted[0] if wanted else None
        return first if all(one == first for one in wanted) else None

    for node in reversed(network.nodes):
        if node.op == "fake_quantize":
            grids[node.output] = CentredGrid.of(quantizer_grid(node.attributes))
            continue
        if node.output in within:
            continue
        grid = find(node.output)
        if grid is None and not (is_final and passes_grid(node)):
            missing.append(node.output)
            grid = CentredGrid(0.0, 0, 0, owner=node.output)
        if grid is not None:
            grids[node.output] = grid
    for tensor in network.inputs:
        wanted = list_wanted(tensor.name)
        # An input is quantized for each of its readers, unless one takes whatever grid there is.
        if INDICES in wanted:
            grids[tensor.name] = INDICES
        elif None in wanted:
            missing.append(tensor.name)
    return GridPlan(grids, tuple(missing))


def _wanted(network: Network, node: Node, number: int, grids: Mapping[str, CentredGrid]) -> CentredGrid | None:
    """Return the grid on which a node reads an operand; None where it takes any."""
    if node.op == "embed":
        return INDICES
    if node.quantization is not None:
        grid = node.quantization.weight if number == 1 else node.quantization.input
        return None if grid.is_binary else CentredGrid.of(grid)
    if node.op == "fake_quantize":
        return CentredGrid.of(quantizer_grid(node.attributes))
    made = grids.get(node.output)
    if made == INDICES and keeps_indices(network, node):
        return INDICES
    if not passes_grid(node) or (node.op == "where" and number == 2):
        return None
    return made.clipped(node) if made is not None and node.op in CLIPS else made
