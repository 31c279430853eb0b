"""How many bytes of its input buffer each core needs so that no chip stops for good.

Windows are run one at a time, each as late as it can: a window runs only when a later one needs it. Such an order
needs the least space of those that are easy to find. Say every channel between two layers has the space for itself that
this order takes at most. Then no simulation stops for good, whatever runs at the same time: windows of a layer take
space in their order, so that layers and channels are a process network with bounded channels. What such a network does
is the same in every order (Kahn 1974), and this order gets to the end.

A core holds the codes that its tiles read: where not all rows of tiles of a copy lie in a core, not all codes; and of
an operand that is stored, what its tiles store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mho.scheduling.work_graph import Integers, LayerWork, WorkGraph

ChannelKey = tuple[str, str, bool]
"""Producer, consumer, and whether the consumer stores it in crossbars."""


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


class BufferDemand:
    """What the layers of a graph need in a core at least, so that no buffer stops them for good.

    Args:
        graph: the layers.
    """

    def __init__(self, graph: WorkGraph) -> None:
        self._kept_from = find_kept_from(graph)
        self._known: dict[tuple[str, Share], int] = {}

    def count(self, layer: LayerWork, share: Share) -> int:
        """Return the bytes that a share of a layer needs."""
        key = layer.name, share
        if key not in self._known:
            self._known[key] = sum(
                count_most_kept(
                    share.scale(sizes, layer, is_stored=is_stored), self._kept_from[producer, layer.name, is_stored]
                )
                for producer, is_stored, sizes in layer.list_received()
            )
        return self._known[key]


def count_most_kept(sizes: Integers, kept_from: Integers) -> int:
    """Return the most bytes that are kept when windows of `sizes` bytes take their space, see `find_kept_from`."""
    totals = np.append(0, np.cumsum(sizes))
    return int((totals[1:] - totals[kept_from]).max())


def find_kept_from(graph: WorkGraph) -> Mapping[ChannelKey, Integers]:
    """Return for every channel int64 [windows of its producer]: how many windows were dropped when each took its space.

    When window i takes its space, those from the returned number on to i are kept; between inputs nothing is.
    """
    runner = _Runner(graph)
    for number in reversed(range(len(graph.layers))):
        runner.run(number, graph.layers[number].windows)
    return {key: np.array(channel.kept_from, np.int64) for key, channel in runner.channels.items()}


@dataclass(eq=False, slots=True)
class _Channel:
    """What one layer needs of another.

    Attributes:
        producer: number of it.
        demands: windows of the producer that each window of the consumer needs.
        forgotten: windows of the producer that are let go after each window of the consumer.
        dropped: windows that may be dropped by now.
        kept_from: for each window of the producer, how many were dropped when it took its space.
    """

    producer: int
    demands: list[int]
    forgotten: list[int]
    dropped: int = 0
    kept_from: list[int] = field(default_factory=list)


class _Runner:
    """Runs windows one at a time, on demand."""

    def __init__(self, graph: WorkGraph) -> None:
        numbers = {layer.name: number for number, layer in enumerate(graph.layers)}
        self._done = [0] * len(graph.layers)
        self._inputs: list[list[_Channel]] = []
        self._outputs: list[list[_Channel]] = [[] for _ in graph.layers]
        self.channels: dict[ChannelKey, _Channel] = {}
        for layer in graph.layers:
            own = list(_list_channels(layer, graph, numbers))
            self._inputs.append([channel for _, channel in own])
            for key, channel in own:
                self.channels[key] = channel
                self._outputs[channel.producer].append(channel)

    def run(self, number: int, windows: int) -> None:
        """Run the first `windows` windows of a layer, and before each what it needs."""
        goals, done = [(number, windows)], self._done
        while goals:
            layer, goal = goals[-1]
            window = done[layer]
            if window >= goal:
                goals.pop()
                continue
            for channel in self._inputs[layer]:
                if channel.demands[window] > done[channel.producer]:
                    goals.append((channel.producer, channel.demands[window]))
                    break
            else:
                self._run_window(layer, window)

    def _run_window(self, layer: int, window: int) -> None:
        for channel in self._outputs[layer]:
            channel.kept_from.append(min(channel.dropped, window))
        self._done[layer] = window + 1
        for channel in self._inputs[layer]:
            channel.dropped = channel.forgotten[window]


def _list_channels(layer: LayerWork, graph: WorkGraph, numbers: dict[str, int]) -> list[tuple[ChannelKey, _Channel]]:
    channels = []
    for need in layer.needs:
        whole = graph.layers[numbers[need.producer]].windows
        forgotten = np.zeros(layer.windows, np.int64) if need.forgotten is None else need.forgotten.copy()
        forgotten[-1] = whole
        channel = _Channel(numbers[need.producer], need.windows.tolist(), forgotten.tolist())
        channels.append(((need.producer, layer.name, False), channel))
    for producer, count in layer.stored_needs:  # written before the first window, and let go then
        whole = graph.layers[numbers[producer]].windows
        channel = _Channel(numbers[producer], [count] * layer.windows, [whole] * layer.windows)
        channels.append(((producer, layer.name, True), channel))
    return channels
