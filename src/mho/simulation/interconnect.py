"""What carries bytes between the cores of a chip: when a transfer arrives, and what it keeps busy meanwhile.

- *ideal*: at once.
- *bus*: one transfer at a time, first come first served; it holds the bus from the request's latency to the last byte.
  Every core listens, so a transfer to many cores is one.
- *mesh*: routers in rows and columns, a link to each neighbour in each direction. A transfer goes along its row and
  then along its column; its head waits for each link and takes a hop's latency to the next router, its tail follows
  (cut-through, with room for a transfer in each router). A link is held while bytes pass, and taken in the order in
  which transfers set out. Transfers to several cores from one source share the links that they have in common.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mho.hardware.chip import Chip, Interconnect
from mho.scheduling.routes import Hop, Routes


@dataclass
class Carrier:
    """An interconnect at work.

    Attributes:
        interconnect, chip: what it is.
        busy_ps: time in which the bus, or all links together, were held.
        byte_hops: bytes times links that they took; a bus is one.
    """

    interconnect: Interconnect
    chip: Chip
    busy_ps: int = 0
    byte_hops: int = 0
    _trees: dict[tuple[int, tuple[int, ...]], tuple[tuple[Hop, ...], tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._is_ideal = self.interconnect.is_ideal
        self._routes = Routes(self.interconnect, self.chip)
        self._latency_ps = 0 if self._routes.is_bus else self._routes.hop_ps
        self._free_ps = [0] * self._routes.links
        self._heads_ps = [0] * self.chip.cores

    def takes_time(self, source: int, targets: tuple[int, ...], size: int) -> bool:
        """Return whether bytes go over the interconnect; else they are at all targets at once."""
        return not self._is_ideal and size > 0 and any(target != source for target in targets)

    def send(self, time_ps: int, source: int, targets: tuple[int, ...], size: int) -> int:
        """Send bytes from a core to others.

        Args:
            time_ps: when they are ready. Calls must come in order of time.
            source: core.
            targets: cores; the source itself has them at once.
            size: bytes, 0 or more.

        Returns:
            When they have arrived at all targets, ps.
        """
        if not self.takes_time(source, targets, size):
            return time_ps
        if (source, targets) not in self._trees:
            self._trees[source, targets] = self._find_tree(source, targets)
        hops, last = self._trees[source, targets]
        held_ps = self._routes.hold_ps(size)
        self.busy_ps += held_ps * len(hops)
        self.byte_hops += size * len(hops)
        free, heads, latency_ps = self._free_ps, self._heads_ps, self._latency_ps
        heads[source] = time_ps
        for link, here, there in hops:
            start = heads[here]
            if free[link] > start:
                start = free[link]
            free[link] = start + held_ps
            heads[there] = start + latency_ps
        return max([heads[core] for core in last]) + held_ps

    @property
    def used_links(self) -> tuple[int, ...]:
        """Numbers of the links that carried something, as in `Routes` (0 for a bus)."""
        return tuple(number for number, free_ps in enumerate(self._free_ps) if free_ps)

    @property
    def links(self) -> int:
        """Links that carried something (1 for a bus)."""
        return len(self.used_links)

    def _find_tree(self, source: int, targets: tuple[int, ...]) -> tuple[tuple[Hop, ...], tuple[int, ...]]:
        """Return the links to all targets, each after the one before it, and the cores behind which none follows."""
        hops = self._routes.list_hops(source, targets)
        left = {here for _, here, _ in hops}
        return hops, tuple(there for _, here, there in hops if there not in left or there == here)
