"""What piles up between layers where windows run one at a time, each as late as it can: room that always suffices.

Such an order needs the least room of those that are easy to find: a window runs only when a later one needs it. Say
every channel between two layers has the room for itself that the order takes at most. Then no simulation stops for
good, whatever runs at the same time: windows of a layer take room in their order, so that layers and channels are a
process network with bounded channels. What such a network does is the same in every order (Kahn 1974), and this order
gets to the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mho.scheduling.work import Integers, LayerWork, WorkGraph

ChannelKey = tuple[str, str, bool]
"""Producer, consumer, and whether the consumer stores it in crossbars."""


@dataclass(eq=False, slots=True)
class _Channel:
    """What one layer needs of another.

    Attributes:
        producer: number of it.
        demands: windows of the producer that each window of the consumer needs.
        forgotten: windows of the producer that are let go after each window of the consumer.
        dropped: windows that may be dropped by now.
        kept_from: for each window of the producer, how many were dropped when it took its room.
    """

    producer: int
    demands: list[int]
    forgotten: list[int]
    dropped: int = 0
    kept_from: list[int] = field(default_factory=list)


def find_backlogs(graph: WorkGraph) -> dict[ChannelKey, Integers]:
    """Return for every channel int64 [windows of its producer]: how many windows were dropped when each took its room.

    When window i takes its room, those from the returned number on to i are kept; between inputs nothing is.
    """
    runner = _Runner(graph)
    for number in reversed(range(len(graph.layers))):
        runner.run(number, graph.layers[number].windows)
    return {key: np.array(channel.kept_from, np.int64) for key, channel in runner.channels.items()}


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
