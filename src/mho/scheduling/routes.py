"""Which links of an interconnect a transfer takes, and how far it goes: the same ways as in the simulation, counted.

On a mesh a transfer goes along the row of its source, then along columns (`mho.simulation.interconnect`); one to many
cores takes every link once. A bus is one link that every transfer takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mho.hardware.chip import Chip, Interconnect, InterconnectKind
from mho.scheduling.work_graph import Integers

_EAST, _WEST, _SOUTH, _NORTH = range(4)

Hop = tuple[int, int, int]
"""Number of a link, the core before it, the core behind it; a bus has its source on both sides."""


@dataclass(frozen=True, eq=False)
class Way:
    """What a transfer from one core to others takes.

    Attributes:
        links: int64 [links], numbers of the links, each once.
        heads: int64 [links], how many links come before each.
        hops: links to the farthest target; 0 where all targets are the source.
    """

    links: Integers
    heads: Integers
    hops: int


@dataclass
class Routes:
    """The ways through the interconnect of a chip.

    Attributes:
        interconnect, chip: a bus or a mesh, not an ideal one.
    """

    interconnect: Interconnect
    chip: Chip
    _known: dict[tuple[int, tuple[int, ...]], Way] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.is_bus = self.interconnect.kind is InterconnectKind.BUS
        self.columns = 1 if self.is_bus else self.interconnect.mesh_shape(self.chip.cores)[1]
        self.cycle_ps, self.bytes_per_cycle = self.interconnect.cycle_ps, self.interconnect.bytes_per_cycle or 1
        self.hop_ps = (self.interconnect.hop_latency_cycles or 0) * self.cycle_ps

    @property
    def links(self) -> int:
        """Numbers of links there may be."""
        return 1 if self.is_bus else 4 * self.chip.cores

    def held_ps(self, sizes: Integers) -> Integers:
        """Return how long transfers of so many bytes hold each link that they take, ps; 0 for none."""
        held = -(-sizes // self.bytes_per_cycle) * self.cycle_ps
        return np.where(sizes > 0, held + self.hop_ps, 0) if self.is_bus else held

    def hold_ps(self, size: int) -> int:
        """Return how long one transfer of 1 byte or more holds each link that it takes, ps."""
        held = -(-size // self.bytes_per_cycle) * self.cycle_ps
        return held + self.hop_ps if self.is_bus else held

    def fly_ps(self, sizes: Integers, hops: Integers) -> Integers:
        """Return how long transfers take where nothing is in their way, ps.

        Args:
            sizes: bytes.
            hops: links to the farthest target, of the same shape.
        """
        held = self.held_ps(sizes)
        return np.where(hops > 0, held if self.is_bus else np.where(sizes > 0, held + hops * self.hop_ps, 0), 0)

    def find(self, source: int, targets: tuple[int, ...]) -> Way:
        """Return the way from a core to others."""
        key = source, targets
        if key not in self._known:
            self._known[key] = self._derive(source, targets)
        return self._known[key]

    def describe(self, link: int) -> str:
        """Return which link a number means."""
        (_, here, there) = self._hop(link)
        return "bus" if self.is_bus else f"link from core {here} to core {there}"

    def list_hops(self, source: int, targets: tuple[int, ...]) -> tuple[Hop, ...]:
        """Return the links of the way from a core to others, each after the one before it."""
        links = self.find(source, targets).links.tolist()
        return tuple((link, source, source) if self.is_bus else self._hop(link) for link in links)

    def _hop(self, link: int) -> Hop:
        here, direction = divmod(link, 4)
        return link, here, here + (1, -1, self.columns, -self.columns)[direction]

    def _derive(self, source: int, targets: tuple[int, ...]) -> Way:
        if all(target == source for target in targets):
            none = np.zeros(0, np.int64)
            return Way(none, none, 0)
        if self.is_bus:
            return Way(np.zeros(1, np.int64), np.zeros(1, np.int64), 1)
        row, col = divmod(source, self.columns)
        rows, cols = np.divmod(np.array(targets), self.columns)
        links, heads = [], []

        def go(direction: int, count: int, first: int, step: int, before: int) -> None:
            if count > 0:
                links.append(4 * (first + step * np.arange(count)) + direction)
                heads.append(before + np.arange(count))

        go(_EAST, int(cols.max()) - col, source, 1, 0)
        go(_WEST, col - int(cols.min()), source, -1, 0)
        for column in np.unique(cols):
            reached, before = rows[cols == column], abs(int(column) - col)
            start = row * self.columns + int(column)
            go(_SOUTH, int(reached.max()) - row, start, self.columns, before)
            go(_NORTH, row - int(reached.min()), start, -self.columns, before)
        hops = int((np.abs(rows - row) + np.abs(cols - col)).max())
        return Way(np.concatenate(links), np.concatenate(heads), hops)
