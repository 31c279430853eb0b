"""When every window runs, in closed form: the chip without its interconnect and without limits of buffers.

The copies of a layer take its windows in turn, and every window starts as soon as its needs are finished and its copy
is free. With starts s, window time p and d copies, s_i = max(ready_i, s_{i-d} + p): for each copy a running maximum,
so that a layer is a handful of vector operations. Inputs of a batch follow each other on the same copies, which go on
taking turns. docs/schedules.md has the model and its assumptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mho.errors import ScheduleError, suggest
from mho.scheduling.work_graph import Integers, LayerWork, WorkGraph

MOST_WINDOWS = 1 << 22
"""Windows of all inputs of a batch that are timed: half a minute, half a gigabyte."""

_LEAST_WINDOWS = 32
"""An input takes at least as long as so many windows."""

_MOST_PS = 1 << 61
"""Four weeks: sums and differences of times up to here fit 64 bits."""


@dataclass(frozen=True, eq=False)
class LayerTiming:
    """When one layer works.

    Attributes:
        name: layer name.
        copies: that take its windows in turn.
        crossbars: of all copies.
        starts: int64 [inputs, windows], when each window starts, ps. Read-only.
        window_ps: time of one window.
        write_starts: int64 [inputs, copies that are written], when a stored operand starts to be written, ps, even
            where that takes no time; of width 0 where the weights stay. Read-only.
        write_ps: time to write a stored operand.
    """

    name: str
    copies: int
    crossbars: int
    starts: Integers
    window_ps: int
    write_starts: Integers
    write_ps: int

    @property
    def finishes(self) -> Integers:
        """int64 [inputs, windows], when each window is finished, ps."""
        return self.starts + self.window_ps

    def start_ps(self, index: int = 0) -> int:
        """Return when the layer starts with an input: with its first window, or write that takes time, ps."""
        first = int(self.starts[index].min())
        return min(first, int(self.write_starts[index].min(initial=first))) if self.write_ps else first

    def finish_ps(self, index: int = 0) -> int:
        """Return when the layer has finished an input, ps."""
        return int(self.starts[index].max()) + self.window_ps

    @property
    def busy_ps(self) -> int:
        """Time in which copies read or are written, added up over copies and inputs, ps."""
        return self.starts.size * self.window_ps + self.write_starts.size * self.write_ps


@dataclass(frozen=True, eq=False)
class AsapTiming:
    """When every layer of a network works.

    Attributes:
        layers: by name, in execution order.
        interval_ps: time between inputs once the pipeline is full, ps, rounded up.
    """

    layers: Mapping[str, LayerTiming]
    interval_ps: int

    @property
    def inputs(self) -> int:
        """Inputs that were timed."""
        return len(next(iter(self.layers.values())).starts)

    @property
    def crossbars(self) -> int:
        """Crossbars of all copies of all layers."""
        return sum(layer.crossbars for layer in self.layers.values())

    def finish_ps(self, index: int = 0) -> int:
        """Return when an input is finished in all layers, ps."""
        return max(layer.finish_ps(index) for layer in self.layers.values())

    @property
    def makespan_ps(self) -> int:
        """Latency of the first input, ps."""
        return self.finish_ps(0)

    @property
    def total_ps(self) -> int:
        """Time until the last input is finished, ps."""
        return max(self.finish_ps(index) for index in range(self.inputs))

    @property
    def utilization(self) -> float:
        """Share of the time of all crossbars, until the last input is finished, in which they read or are written."""
        busy = sum(layer.busy_ps * layer.crossbars / layer.copies for layer in self.layers.values())
        return busy / (self.crossbars * self.total_ps) if self.crossbars and self.total_ps else 0.0


def time_asap(graph: WorkGraph, copies: Mapping[str, int], *, batch: int = 1) -> AsapTiming:
    """Time the cross-layer schedule: layers overlap as soon as single positions allow.

    Args:
        graph: the layers.
        copies: of every layer, 1 or more.
        batch: inputs that follow each other.

    Returns:
        Start of every window of every input. Exact: int64 ps.

    Raises:
        ScheduleError: copies of unknown layers, of too few layers, or below 1; a batch below 1, or too large.
    """
    check_copies(graph, copies)
    check_batch(graph, batch)
    timings: dict[str, LayerTiming] = {}
    finished: dict[str, Integers] = {}
    for layer in graph.layers:
        ready, stored = _find_ready(layer, finished, batch)
        timings[layer.name] = timing = _time_layer(layer, copies[layer.name], ready, stored)
        finished[layer.name] = accumulate_finishes(timing.starts, layer.window_ps)
    return AsapTiming(timings, find_interval_ps(graph, copies))


def time_layer_by_layer(graph: WorkGraph, copies: Mapping[str, int], *, batch: int = 1) -> AsapTiming:
    """Time the schedule in which each layer starts when the one before it is finished, and each input likewise.

    Args and errors are those of `time_asap`. The time between inputs is the latency of one.
    """
    check_copies(graph, copies)
    check_batch(graph, batch)
    timings: dict[str, LayerTiming] = {}
    latency = sum(_time_alone_ps(layer, copies[layer.name]) for layer in graph.layers)
    inputs = np.arange(batch, dtype=np.int64)[:, None] * latency
    now = 0
    for layer in graph.layers:
        number, window = copies[layer.name], np.arange(layer.windows, dtype=np.int64)
        written = _count_written(layer, number)
        timings[layer.name] = LayerTiming(
            layer.name, number, number * layer.crossbars,
            _freeze(inputs + (now + layer.write_ps + window // number * layer.window_ps)), layer.window_ps,
            _freeze(np.broadcast_to(inputs + now, (batch, written)).copy()), layer.write_ps,
        )  # fmt: skip
        now += _time_alone_ps(layer, number)
    return AsapTiming(timings, latency)


def find_interval_ps(graph: WorkGraph, copies: Mapping[str, int]) -> int:
    """Return the time between inputs of the cross-layer schedule once its pipeline is full, ps, rounded up.

    It is that of the slowest layer: as many copies as an input has windows at most read, and are written for it.
    """
    return max(-(-count_busy_ps(layer, copies[layer.name]) // copies[layer.name]) for layer in graph.layers)


def count_busy_ps(layer: LayerWork, copies: int) -> int:
    """Return the time that one input takes of all copies of a layer together, ps."""
    return layer.work_ps + layer.write_ps * min(copies, layer.windows)


def check_copies(graph: WorkGraph, copies: Mapping[str, int]) -> None:
    """Check that every layer has one copy or more.

    Raises:
        ScheduleError: it is not so; names the layer.
    """
    names = dict.fromkeys(layer.name for layer in graph.layers)
    for name in copies:
        if name not in names:
            raise ScheduleError(f"no layer {name!r} has copies", where=graph.name, hint=suggest(name, names))
    for name in names:
        if name not in copies:
            raise ScheduleError("its number of copies is missing", where=f"layer {name}", expected="1 or more")
        if copies[name] < 1:
            raise ScheduleError(f"{copies[name]} copies", where=f"layer {name}", expected="1 or more")


def check_batch(graph: WorkGraph, batch: int) -> None:
    """Check that a batch has an input, that its windows fit memory, and that their times fit 64 bits.

    Raises:
        ScheduleError: it is not so.
    """
    if batch < 1:
        raise ScheduleError(f"a batch of {batch}", expected="1 or more inputs")
    windows = sum(layer.windows for layer in graph.layers)
    most = max(MOST_WINDOWS // max(windows, _LEAST_WINDOWS), 1)
    if batch > most:
        raise ScheduleError(
            f"a batch of {batch:,} inputs has {batch * windows:,} windows", where=graph.name,
            expected=f"at most {most:,} inputs, {MOST_WINDOWS:,} windows",
            hint="once the pipeline is full, inputs follow each other at equal intervals: a few are enough",
        )  # fmt: skip
    if batch * graph.layer_by_layer_ps > _MOST_PS:
        raise ScheduleError(
            f"{batch:,} inputs one after the other take {batch * graph.layer_by_layer_ps:,} ps", where=graph.name,
            expected=f"at most {_MOST_PS:,} ps", hint="check the latencies of the accelerator",
        )  # fmt: skip


def space_starts(ready: Integers, copies: int, window_ps: int) -> Integers:
    """Return the starts of the windows of one input on copies that take turns: the closed form.

    Args:
        ready: int64 [windows], when each window may start, ps.
        copies: 1 or more.
        window_ps: time of one window.

    Returns:
        int64 [windows]: s_i = max(ready_i, s_{i - copies} + window_ps).
    """
    return _space(ready, copies, np.int64(window_ps))


def accumulate_finishes(starts: Integers, window_ps: int) -> Integers:
    """Return int64 [..., windows + 1]: when the first 0, 1, ... windows are all finished, ps; 0 for none."""
    finished = np.zeros((*starts.shape[:-1], starts.shape[-1] + 1), np.int64)
    np.maximum.accumulate(starts, axis=-1, out=finished[..., 1:])
    finished[..., 1:] += window_ps
    return finished


def _find_ready(layer: LayerWork, finished: Mapping[str, Integers], batch: int) -> tuple[Integers, Integers]:
    """Return when windows [inputs, windows], and when stored operands [inputs], have what they need, ps."""
    ready = np.zeros((batch, layer.windows), np.int64)
    for need in layer.needs:
        np.maximum(ready, finished[need.producer][:, need.windows], out=ready)
    stored = np.zeros(batch, np.int64)
    for producer, count in layer.stored_needs:
        np.maximum(stored, finished[producer][:, count], out=stored)
    return ready, stored


def _time_layer(layer: LayerWork, copies: int, ready: Integers, stored: Integers) -> LayerTiming:
    """Time one layer for all inputs: one sequence of windows, in which each input's first on a copy follows a write."""
    batch = len(ready)
    written = _count_written(layer, copies)
    ready = ready.copy()
    np.maximum(ready[:, :written], (stored + layer.write_ps)[:, None], out=ready[:, :written])
    if not written or batch == 1:
        starts = _space(ready.reshape(-1), copies, np.int64(layer.window_ps))
    else:
        spacing = np.full(ready.shape, layer.window_ps, np.int64)
        spacing[:, :written] += layer.write_ps
        starts = _space(ready.reshape(-1), copies, spacing.reshape(-1))
    starts = starts.reshape(ready.shape)
    writes = _find_write_starts(layer, copies, starts, stored, written)
    return LayerTiming(
        layer.name, copies, copies * layer.crossbars, _freeze(starts), layer.window_ps, _freeze(writes), layer.write_ps
    )


def _space(ready: Integers, copies: int, spacing: Integers | np.int64) -> Integers:
    """Return s_i = max(ready_i, s_{i - copies} + spacing_i): running maxima of s less the spacing added up."""
    windows = len(ready)
    if copies >= windows:
        return ready.copy()
    rows = -(-windows // copies)
    padded = np.full(rows * copies, np.iinfo(np.int64).min // 2, np.int64)
    padded[:windows] = ready
    turns = padded.reshape(rows, copies)
    if spacing.ndim:
        spaced = np.zeros(rows * copies, np.int64)
        spaced[:windows] = spacing
        offsets = np.cumsum(spaced.reshape(rows, copies), axis=0)
    else:
        offsets = (np.arange(rows, dtype=np.int64) * spacing)[:, None]
    turns -= offsets
    np.maximum.accumulate(turns, axis=0, out=turns)
    turns += offsets
    return padded[:windows]


def _count_written(layer: LayerWork, copies: int) -> int:
    """Return how many copies hold a stored operand, which is written for every input."""
    return min(copies, layer.windows) if layer.write_ps or layer.stored_needs else 0


def _find_write_starts(layer: LayerWork, copies: int, starts: Integers, stored: Integers, written: int) -> Integers:
    """Return [inputs, written]: a copy is written once the operand is there and its last read is done."""
    if not written:
        return np.zeros((len(starts), 0), np.int64)
    flat = starts.reshape(-1)
    index = np.arange(len(starts), dtype=np.int64)[:, None] * layer.windows + np.arange(written, dtype=np.int64)
    before = np.where(index >= copies, flat[np.maximum(index - copies, 0)] + layer.window_ps, 0)
    return np.maximum(before, stored[:, None])


def _time_alone_ps(layer: LayerWork, copies: int) -> int:
    return layer.write_ps + -(-layer.windows // copies) * layer.window_ps


def _freeze(array: Integers) -> Integers:
    array.setflags(write=False)
    return array
