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

from collections.abc import Iterator
from dataclasses import dataclass, field

from mho.accelerator.chip import Chip, Interconnect, InterconnectKind

Link = tuple[int, int]
"""From one core to a neighbour."""


@dataclass
class Carrier:
    """An interconnect at work.

    Attributes:
        interconnect, chip: what it is.
        busy_ps: time in which the bus, or all links together, were held.
        transfers: how many there were.
        byte_hops: bytes times links that they took; a bus is one.
    """

    interconnect: Interconnect
    chip: Chip
    busy_ps: int = 0
    transfers: int = 0
    byte_hops: int = 0
    _free_ps: dict[Link, int] = field(default_factory=dict)
    _trees: dict[tuple[int, tuple[int, ...]], tuple[Link, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._latency_ps = (self.interconnect.hop_latency_cycles or 0) * self.interconnect.cycle_ps
        if self.interconnect.kind is InterconnectKind.MESH:
            self._columns = self.interconnect.mesh_shape(self.chip.cores)[1]

    def takes_time(self, source: int, targets: tuple[int, ...], size: int) -> bool:
        """Tell whether bytes go over the interconnect; else they are at all targets at once."""
        return not self.interconnect.is_ideal and size > 0 and any(target != source for target in targets)

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
        cycles = -(-size // (self.interconnect.bytes_per_cycle or 1))
        duration = cycles * self.interconnect.cycle_ps
        self.transfers += 1
        if self.interconnect.kind is InterconnectKind.BUS:
            held = self._latency_ps + duration
            return self._take((0, 0), time_ps, held, size) + held
        heads = {source: time_ps}
        for link in self._find_tree(source, targets):
            heads[link[1]] = self._take(link, heads[link[0]], duration, size) + self._latency_ps
        return max(heads[target] for target in targets if target != source) + duration

    @property
    def links(self) -> int:
        """Links that carried something (1 for a bus)."""
        return len(self._free_ps)

    def _take(self, link: Link, time_ps: int, held_ps: int, size: int) -> int:
        """Hold a link for a transfer, once it is free; return from when on."""
        start = max(time_ps, self._free_ps.get(link, 0))
        self._free_ps[link] = start + held_ps
        self.busy_ps += held_ps
        self.byte_hops += size
        return start

    def _find_tree(self, source: int, targets: tuple[int, ...]) -> tuple[Link, ...]:
        """Return the links to all targets, each after the one before it."""
        key = source, targets
        if key not in self._trees:
            links = dict.fromkeys(link for target in targets for link in self._route(source, target))
            self._trees[key] = tuple(links)
        return self._trees[key]

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
