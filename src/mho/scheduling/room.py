"""How much of what a layer reads each core must hold: bytes of input buffers that always suffice.

A core holds the codes that its tiles read: where not all rows of tiles of a copy lie in a core, not all codes; and of
an operand that is stored, what its tiles store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mho.scheduling.backlog import ChannelKey, find_backlogs
from mho.scheduling.work import Integers, LayerWork, WorkGraph


@dataclass(frozen=True)
class Share:
    """The part of what a layer reads that one core holds.

    Attributes:
        blocks: parts of an input that are read, of `LayerWork.row_blocks`.
        tiles: of a copy, of `LayerWork.crossbars`.
    """

    blocks: int
    tiles: int

    @classmethod
    def of(cls, layer: LayerWork, tiles: Iterable[int]) -> Share:
        """Return the share of a core that holds some tiles, by their numbers in a copy, of any copies."""
        numbers, rows = set(tiles), layer.row_tiles
        group = max(1, rows * (layer.crossbars // layer.row_blocks))
        return cls(len({(number // group, number % rows) for number in numbers}), len(numbers))

    def scale(self, sizes: Integers, layer: LayerWork, *, is_stored: bool) -> Integers:
        """Return how many of some bytes the core holds, rounded up; all of them where the layer has no crossbar."""
        part, whole = (self.tiles, layer.crossbars) if is_stored else (self.blocks, layer.row_blocks)
        if not layer.crossbars or part >= whole:
            return sizes
        return -(-sizes * part // whole)


class Rooms:
    """What the layers of a graph need in a core at least, so that no buffer stops them for good.

    Args:
        graph: the layers.
    """

    def __init__(self, graph: WorkGraph) -> None:
        self.backlogs: Mapping[ChannelKey, Integers] = find_backlogs(graph)
        self._channels: dict[str, list[tuple[ChannelKey, Integers]]] = {}
        for layer in graph.layers:
            self._channels[layer.name] = [
                ((producer, layer.name, is_stored), sizes) for producer, is_stored, sizes in list_received(layer)
            ]
        self._known: dict[tuple[str, Share], int] = {}

    def count(self, layer: LayerWork, share: Share) -> int:
        """Return the bytes that a share of a layer needs."""
        key = layer.name, share
        if key not in self._known:
            self._known[key] = sum(
                count_least(share.scale(sizes, layer, is_stored=channel[2]), self.backlogs[channel])
                for channel, sizes in self._channels[layer.name]
            )
        return self._known[key]


def list_received(layer: LayerWork) -> Sequence[tuple[str, bool, Integers]]:
    """Return what a layer is sent: by whom, whether it is stored, and bytes of each window of the producer."""
    streamed = [(need.producer, False, need.bytes) for need in layer.needs if need.bytes is not None]
    stored = [(name, True, sizes) for (name, _), sizes in zip(layer.stored_needs, layer.stored_bytes, strict=False)]
    return [*streamed, *stored]


def count_least(sizes: Integers, backlog: Integers) -> int:
    """Return the most bytes that are kept when windows of `sizes` bytes take their room, see `find_backlogs`."""
    totals = np.append(0, np.cumsum(sizes))
    return int((totals[1:] - totals[backlog]).max())
