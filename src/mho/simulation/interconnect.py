"""What carries bytes between the cores of a chip: when a transfer arrives, and what it keeps busy meanwhile.

- *ideal*: at once.
- *bus*: one transfer at a time, first come first served; every core listens, so a transfer to many cores is one.
- *mesh*: routers in rows and columns, a link to each neighbour in each direction. A transfer takes the links along its
  row and then along its column; its head waits for each link and takes a hop's latency, its tail follows
  (cut-through). Transfers to several cores of one source share the links that they have in common.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mho.accelerator.chip import Chip, Interconnect, InterconnectKind

Link = tuple[int, int]
"""From one core to a neighbour."""


@dataclass
class Carrier:
    """An interconnect at work.

    Attributes:
        interconnect, chip: what it is.
        busy_ps: time in which the bus, or all links together, carried something.
        transfers: how many there were.
        byte_hops: bytes times links that they took.
    """

    interconnect: Interconnect
    chip: Chip
    busy_ps: int = 0
    transfers: int = 0
    byte_hops: float = 0.0
    _free_ps: dict[Link, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.interconnect.kind is InterconnectKind.MESH:
            self._columns = self.interconnect.mesh_shape(self.chip.cores)[1]

    def send(self, time_ps: int, source: int, targets: Iterable[int], size: float) -> dict[int, int]:
        """Send bytes from a core to others; return when they have arrived at each, ps.

        Args:
            time_ps: when they are ready. Calls must come in order of time.
            source: core.
            targets: cores; the source itself has them at once.
            size: bytes, 0 or more.
        """
        arrivals = dict.fromkeys(targets, time_ps)
        others = [target for target in arrivals if target != source]
        if self.interconnect.is_ideal or not others or size <= 0:
            return arrivals
        duration = self._cycles(size) * self.interconnect.cycle_ps
        latency = (self.interconnect.hop_latency_cycles or 0) * self.interconnect.cycle_ps
        self.transfers += 1
        if self.interconnect.kind is InterconnectKind.BUS:
            return arrivals | dict.fromkeys(others, self._take((0, 0), time_ps, latency, duration, size) + duration)
        heads = {source: time_ps}
        for target in others:
            for link in self._route(source, target):
                if link[1] not in heads:
                    heads[link[1]] = self._take(link, heads[link[0]], latency, duration, size)
            arrivals[target] = heads[target] + duration
        return arrivals

    @property
    def links(self) -> int:
        """Links that carried something (1 for a bus)."""
        return len(self._free_ps)

    def _cycles(self, size: float) -> int:
        return math.ceil(size / (self.interconnect.bytes_per_cycle or 1))

    def _take(self, link: Link, time_ps: int, latency: int, duration: int, size: float) -> int:
        """Take a link for a transfer; return when its head has passed."""
        start = max(time_ps, self._free_ps.get(link, 0))
        self._free_ps[link] = start + latency + duration
        self.busy_ps += latency + duration
        self.byte_hops += size
        return start + latency

    def _route(self, source: int, target: int) -> Iterator[Link]:
        """Yield the links from one core to another: along the row first, then along the column."""
        here = source
        while here % self._columns != target % self._columns:
            step = 1 if target % self._columns > here % self._columns else -1
            yield here, here + step
            here += step
        while here != target:
            step = self._columns if target > here else -self._columns
            yield here, here + step
            here += step
