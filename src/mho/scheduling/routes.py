"""Which links of an interconnect a transfer takes, and how far it goes: the same ways as in the simulation, counted.

On a mesh a transfer goes along the row of its source, then along columns (`mho.simulation.interconnect`); one to many
cores takes every link once. A bus is one link that every transfer takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mho.hardware.chip import Chip, Interconnect, InterconnectKind
from mho.scheduling.work_graph import Integers

_EAST, _WEST, _SOUTH, _NORTH = range(4)

_MOST_KNOWN = 1 << 14
"""Ways that are kept; beyond them all are found anew."""

Hop = tuple[int, int, int]
"""Number of a link, the core before it, the core behind it; a bus has its source on both sides."""


@dataclass(frozen=True, eq=False)
class Ways:
    """What transfers take, each from one core to others.

    Attributes:
        links: int64 [links of all ways], numbers of the links, those of one way after those of the other, each once.
        counts: int64 [ways], links of each.
        hops: int64 [ways], links to the farthest target; 0 where all targets are the source.
    """

    links: Integers
    counts: Integers
    hops: Integers

    @classmethod
    def join(cls, parts: Sequence[Ways]) -> Ways:
        """Return all ways of several."""
        if len(parts) == 1:
            return parts[0]
        none = np.zeros(0, np.int64)
        links, counts, hops = (
            np.concatenate([none, *(getattr(part, name) for part in parts)]) for name in ("links", "counts", "hops")
        )
        return cls(links, counts, hops)


@dataclass
class Routes:
    """The ways through the interconnect of a chip.

    Attributes:
        interconnect, chip: a bus or a mesh, not an ideal one.
    """

    interconnect: Interconnect
    chip: Chip
    _known: dict[tuple[tuple[int, ...], tuple[int, ...]], Ways] = field(default_factory=dict)

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

    def find(self, sources: tuple[int, ...], targets: tuple[int, ...]) -> Ways:
        """Return the ways from each of several cores to all of others."""
        key = sources, targets
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._take_bus(*key) if self.is_bus else self._cross_mesh(*key)
        return self._known[key]

    def describe(self, link: int) -> str:
        """Return which link a number means."""
        (_, here, there) = self._hop(link)
        return "bus" if self.is_bus else f"link from core {here} to core {there}"

    def list_hops(self, source: int, targets: tuple[int, ...]) -> tuple[Hop, ...]:
        """Return the links of the way from a core to others, each after the one before it."""
        links = self.find((source,), targets).links.tolist()
        return tuple((link, source, source) if self.is_bus else self._hop(link) for link in links)

    def _hop(self, link: int) -> Hop:
        here, direction = divmod(link, 4)
        return link, here, here + (1, -1, self.columns, -self.columns)[direction]

    def _take_bus(self, sources: tuple[int, ...], targets: tuple[int, ...]) -> Ways:
        leaves = np.array([any(target != source for target in targets) for source in sources], np.int64)
        return Ways(np.zeros(int(leaves.sum()), np.int64), leaves, leaves)

    def _cross_mesh(self, sources: tuple[int, ...], targets: tuple[int, ...]) -> Ways:
        """Return ways along rows, then columns: runs of links east and west, then south and north in each column."""
        starts = np.array(sources, np.int64)
        row, col = (part[:, None] for part in np.divmod(starts, self.columns))
        rows, cols = np.divmod(np.array(targets, np.int64), self.columns)
        top, bottom = np.full(self.columns, rows.max()), np.full(self.columns, rows.min())
        np.minimum.at(top, cols, rows)
        np.maximum.at(bottom, cols, rows)
        reached = np.unique(cols)
        top, bottom = top[reached], bottom[reached]
        along = np.concatenate([reached[-1] - col, col - reached[0]], axis=1)
        across = np.stack([bottom - row, row - top], axis=2)
        counts = np.maximum(np.concatenate([along, across.reshape(len(starts), -1)], axis=1), 0)
        turns = 4 * (row * self.columns + reached)
        first = np.concatenate(
            [
                4 * starts[:, None] + (_EAST, _WEST),
                np.stack([turns + _SOUTH, turns + _NORTH], axis=2).reshape(len(starts), -1),
            ],
            axis=1,
        )
        steps = np.array([4, -4, *(4 * self.columns, -4 * self.columns) * len(reached)])
        runs = counts.reshape(-1)
        number = np.arange(runs.sum()) - np.repeat(np.cumsum(runs) - runs, runs)
        links = np.repeat(first.reshape(-1), runs) + np.repeat(np.tile(steps, len(starts)), runs) * number
        return Ways(links, counts.sum(axis=1), (np.abs(reached - col) + across.max(axis=2)).max(axis=1))
