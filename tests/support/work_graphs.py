"""Work graphs made by hand: convolutions, pooling, residuals and branches, with dependencies position by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import accumulate, permutations, product

import numpy as np
from hypothesis import strategies as st

from mho.scheduling.work_graph import LayerWork, Need, WorkGraph

Prefixes = dict[str, np.ndarray]
"""For each producer int64 [height, width]: how many of its windows each position of a feature map needs."""


@dataclass(frozen=True)
class Map:
    """A feature map: what its positions need."""

    height: int
    width: int
    needs: Prefixes


@dataclass
class GraphBuilder:
    """Adds layers one after another; `finish` gives the graph."""

    name: str = "graph"
    window_ps: int = 1
    layers: list[LayerWork] = field(default_factory=list)

    def start(self, height: int, width: int) -> Map:
        """Return the input of the network, which needs nothing."""
        return Map(height, width, {})

    def conv(
        self, name: str, source: Map, kernel: int, *, stride: int = 1, crossbars: int = 1, window_ps: int | None = None,
        pad: int | None = None,
    ) -> Map:  # fmt: skip
        """Add a convolution, one window a position, padded to `same` unless given otherwise."""
        seen = pool(source, kernel, stride, kernel // 2 if pad is None else pad)
        needs = tuple(Need(producer, prefix.reshape(-1)) for producer, prefix in seen.needs.items())
        windows, time = seen.height * seen.width, self.window_ps if window_ps is None else window_ps
        self.layers.append(LayerWork(name, None, crossbars, windows, time, needs))
        prefix = np.arange(1, windows + 1, dtype=np.int64).reshape(seen.height, seen.width)
        return Map(seen.height, seen.width, {name: prefix})

    def product(self, name: str, source: Map, stored: str, *, crossbars: int = 1, write_ps: int = 3) -> Map:
        """Add a product with all outputs of `stored` as the stored operand."""
        count = next(layer.windows for layer in self.layers if layer.name == stored)
        result = self.conv(name, source, 1, crossbars=crossbars)
        last = self.layers[-1]
        self.layers[-1] = LayerWork(
            name, last.known_mapping, crossbars, last.windows, last.window_ps, last.needs, ((stored, count),), write_ps
        )
        return result

    def finish(self) -> WorkGraph:
        """Return the graph."""
        return WorkGraph(self.name, tuple(self.layers))


def pool(source: Map, kernel: int, stride: int, pad: int = 0) -> Map:
    """Return what the positions of a window of `kernel` x `kernel` need."""
    return Map(
        (source.height + 2 * pad - kernel) // stride + 1,
        (source.width + 2 * pad - kernel) // stride + 1,
        {name: _take_maxima(prefix, kernel, stride, pad) for name, prefix in source.needs.items()},
    )


def upsample(source: Map, factor: int) -> Map:
    """Return the map with every position repeated."""

    def repeat(prefix: np.ndarray) -> np.ndarray:
        return np.repeat(np.repeat(prefix, factor, 0), factor, 1)

    return Map(source.height * factor, source.width * factor, {n: repeat(p) for n, p in source.needs.items()})


def join(*sources: Map) -> Map:
    """Return the map of a sum or a concatenation of channels."""
    needs: Prefixes = {}
    for source in sources:
        for name, prefix in source.needs.items():
            needs[name] = np.maximum(needs[name], prefix) if name in needs else prefix
    return Map(sources[0].height, sources[0].width, needs)


def _take_maxima(prefix: np.ndarray, kernel: int, stride: int, pad: int) -> np.ndarray:
    padded = np.pad(prefix, pad)
    view = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel))
    return np.ascontiguousarray(view.max(axis=(2, 3))[::stride, ::stride])


def count_tiles(inputs: int, outputs: int, kernel: int, size: int = 256) -> int:
    """Return the crossbars of a convolution as a matrix (im2col), one cell a weight."""
    return -(-inputs * kernel * kernel // size) * -(-outputs // size)


def make_tiny_yolo_v3() -> WorkGraph:
    """TinyYOLOv3 at 416 x 416 on 256 x 256 crossbars, one step a window."""
    g = GraphBuilder("TinyYOLOv3")
    x, channels = g.start(416, 416), 3
    route = x
    for index, outputs in enumerate((16, 32, 64, 128, 256, 512, 1024), 1):
        x = g.conv(f"conv{index}", x, 3, crossbars=count_tiles(channels, outputs, 3))
        channels = outputs
        route = x if index == 5 else route
        if index < 6:
            x = pool(x, 2, 2)
    y = g.conv("conv8", x, 1, crossbars=count_tiles(1024, 256, 1))
    x = g.conv("conv9", y, 3, crossbars=count_tiles(256, 512, 3))
    g.conv("conv10", x, 1, crossbars=count_tiles(512, 255, 1))
    y = upsample(g.conv("conv11", y, 1, crossbars=count_tiles(256, 128, 1)), 2)
    x = g.conv("conv12", join(y, route), 3, crossbars=count_tiles(384, 256, 3))
    g.conv("conv13", x, 1, crossbars=count_tiles(256, 255, 1))
    return g.finish()


def make_tiny_yolo_v4() -> WorkGraph:
    """TinyYOLOv4 at 416 x 416 on 256 x 256 crossbars, one step a window; halves of channels take no layer."""
    g = GraphBuilder("TinyYOLOv4")
    x = g.conv("conv1", g.start(416, 416), 3, stride=2, crossbars=count_tiles(3, 32, 3))
    x = g.conv("conv2", x, 3, stride=2, crossbars=count_tiles(32, 64, 3))
    route = x
    for block, width in enumerate((64, 128, 256), 1):
        whole = g.conv(f"block{block}.1", x, 3, crossbars=count_tiles(width, width, 3))
        first = g.conv(f"block{block}.2", whole, 3, crossbars=count_tiles(width // 2, width // 2, 3))
        second = g.conv(f"block{block}.3", first, 3, crossbars=count_tiles(width // 2, width // 2, 3))
        route = g.conv(f"block{block}.4", join(first, second), 1, crossbars=count_tiles(width, width, 1))
        x = pool(join(whole, route), 2, 2)
    x = g.conv("conv3", x, 3, crossbars=count_tiles(512, 512, 3))
    y = g.conv("conv4", x, 1, crossbars=count_tiles(512, 256, 1))
    x = g.conv("conv5", y, 3, crossbars=count_tiles(256, 512, 3))
    g.conv("conv6", x, 1, crossbars=count_tiles(512, 255, 1))
    y = upsample(g.conv("conv7", y, 1, crossbars=count_tiles(256, 128, 1)), 2)
    x = g.conv("conv8", join(y, route), 3, crossbars=count_tiles(384, 256, 3))
    g.conv("conv9", x, 1, crossbars=count_tiles(256, 255, 1))
    return g.finish()


def make_vgg16() -> WorkGraph:
    """The convolutions of VGG-16 at 224 x 224 on 256 x 256 crossbars."""
    g = GraphBuilder("VGG-16")
    x, channels = g.start(224, 224), 3
    for block, widths in enumerate(((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3), 1):
        for index, outputs in enumerate(widths, 1):
            x = g.conv(f"conv{block}_{index}", x, 3, crossbars=count_tiles(channels, outputs, 3))
            channels = outputs
        x = pool(x, 2, 2)
    return g.finish()


def make_resnet(blocks: Sequence[int]) -> WorkGraph:
    """A ResNet of bottlenecks in its first form (stride in the first 1 x 1), convolutions, 256 x 256 crossbars."""
    g = GraphBuilder(f"ResNet-{3 * sum(blocks) + 2}")
    x = pool(g.conv("stem", g.start(224, 224), 7, stride=2, crossbars=count_tiles(3, 64, 7)), 3, 2, 1)
    channels = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for index in range(count):
            stride, name = 2 if stage and not index else 1, f"s{stage}b{index}"
            y = g.conv(f"{name}.1", x, 1, stride=stride, crossbars=count_tiles(channels, width, 1))
            y = g.conv(f"{name}.2", y, 3, crossbars=count_tiles(width, width, 3))
            y = g.conv(f"{name}.3", y, 1, crossbars=count_tiles(width, 4 * width, 1))
            if not index:
                x = g.conv(f"{name}.skip", x, 1, stride=stride, crossbars=count_tiles(channels, 4 * width, 1))
            x, channels = join(x, y), 4 * width
    return g.finish()


@st.composite
def draw_graph(draw: st.DrawFn, *, most_layers: int = 4, most_windows: int = 6, any_order: bool = True) -> WorkGraph:
    """Draw a small graph: random needs, which may fall from one window to the next, and stored operands."""
    layers: list[LayerWork] = []
    for index in range(draw(st.integers(1, most_layers))):
        windows = draw(st.integers(1, most_windows))
        needs = []
        for producer in layers:
            if draw(st.booleans()) or producer is layers[-1]:
                prefix = draw(st.lists(st.integers(0, producer.windows), min_size=windows, max_size=windows))
                needs.append(Need(producer.name, np.array(prefix if any_order else sorted(prefix), np.int64)))
        stored, write = (), 0
        if layers and draw(st.integers(0, 3)) == 0:
            producer = draw(st.sampled_from(layers))
            stored, write = ((producer.name, draw(st.integers(0, producer.windows))),), draw(st.integers(1, 4))
        layers.append(
            LayerWork(
                f"layer{index}", None, draw(st.integers(1, 3)), windows, draw(st.integers(1, 5)), tuple(needs), stored,
                write,
            )
        )  # fmt: skip
    return WorkGraph("drawn", tuple(layers))


@st.composite
def draw_copies(draw: st.DrawFn, graph: WorkGraph, most: int = 4) -> dict[str, int]:
    """Draw numbers of copies."""
    return {layer.name: draw(st.integers(1, most)) for layer in graph.layers}


def list_copies(graph: WorkGraph, crossbars: int, *, beyond_windows: bool = False) -> Iterator[dict[str, int]]:
    """Yield all numbers of copies that fit; more than a layer has windows only if requested, for several inputs."""
    numbers = [
        range(1, min(crossbars if beyond_windows else layer.windows, crossbars // layer.crossbars) + 1)
        for layer in graph.layers
    ]
    for chosen in product(*numbers):
        if sum(layer.crossbars * number for layer, number in zip(graph.layers, chosen, strict=True)) <= crossbars:
            yield dict(zip((layer.name for layer in graph.layers), chosen, strict=True))


def find_shortest(graph: WorkGraph, copies: Mapping[str, int]) -> int:
    """Return the least makespan over all schedules with these copies: all orders of the windows of all layers.

    In a given order, handing each window to the copy that is free first starts none later than any other schedule.
    """

    def search(index: int, finished: dict[str, list[int]]) -> int:
        if index == len(graph.layers):
            return max(times[-1] for times in finished.values())
        layer, best = graph.layers[index], None
        ready = [
            max((finished[need.producer][need.windows[i]] for need in layer.needs), default=0)
            for i in range(layer.windows)
        ]
        free_at = max((finished[name][count] for name, count in layer.stored_needs), default=0) + layer.write_ps
        tried = set()
        for order in permutations(range(layer.windows)):
            free, ends = [free_at] * copies[layer.name], [0] * layer.windows
            for window in order:
                end = max(ready[window], heappop(free)) + layer.window_ps
                heappush(free, end)
                ends[window] = end
            prefix = tuple(accumulate(ends, max, initial=0))
            if prefix not in tried:
                tried.add(prefix)
                length = search(index + 1, finished | {layer.name: list(prefix)})
                best = length if best is None else min(best, length)
        return best

    return search(0, {})
