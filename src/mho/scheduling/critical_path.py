"""Critical paths: chains of layers that every schedule must work off one after the other.

A step of a path is a layer and a number a of its windows, all of which may start only when the step before it is done,
and all of which must be finished before the next step may start. Whatever the order in which d copies take them, they
last ceil(a / d) windows. So a path is a lower bound for *every* schedule and *every* number of copies,

    makespan >= fixed + sum of window_ps ceil(a / d) over its steps,

and the path that decides an ASAP schedule is tight for the copies of that schedule. Searches and bounds collect paths
in a pool: a function of the copies that is cheap to evaluate, never above the truth, and exact where it was probed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mho.scheduling.asap import AsapTiming, time_asap
from mho.scheduling.work_graph import Integers, LayerWork, WorkGraph


@dataclass(frozen=True)
class CriticalPath:
    """A chain of dependent windows.

    Attributes:
        windows: (layer, how many windows of it), from the last layer to the first; each layer once at most.
        fixed_ps: time that no copies shorten: writes of stored operands, ps.
    """

    windows: tuple[tuple[str, int], ...]
    fixed_ps: int


class PathPool:
    """Paths of one graph, and the lower bounds that they give for numbers of copies.

    Args:
        graph: the layers, whose order is that of all arrays here.

    Attributes:
        counts: int64 [paths, layers], windows of each layer on each path; 0 for none.
        fixed_ps: int64 [paths].
        window_ps: int64 [layers].
    """

    def __init__(self, graph: WorkGraph) -> None:
        self.graph = graph
        self.names = tuple(layer.name for layer in graph.layers)
        self.window_ps: Integers = np.array([layer.window_ps for layer in graph.layers], np.int64)
        self.counts: Integers = np.zeros((0, len(self.names)), np.int64)
        self.fixed_ps: Integers = np.zeros(0, np.int64)
        self._seen: set[CriticalPath] = set()
        self._makespans: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.counts)

    def add(self, path: CriticalPath) -> bool:
        """Add a path; return whether it is new."""
        if path in self._seen:
            return False
        self._seen.add(path)
        row, index = np.zeros((1, len(self.names)), np.int64), {name: i for i, name in enumerate(self.names)}
        for name, windows in path.windows:
            row[0, index[name]] = windows
        self.counts = np.concatenate([self.counts, row])
        self.fixed_ps = np.append(self.fixed_ps, np.int64(path.fixed_ps))
        return True

    def time_steps(self, copies: Integers) -> Integers:
        """Return int64 [paths, layers]: the time of each step with these copies (int64 [layers]), ps."""
        return -(-self.counts // copies) * self.window_ps

    def bound(self, copies: Integers) -> int:
        """Return a lower bound on the makespan of every schedule with these copies, ps; 0 of an empty pool."""
        return int((self.time_steps(copies).sum(axis=1) + self.fixed_ps).max(initial=0))

    def probe(self, copies: Integers) -> int:
        """Return the makespan of the ASAP schedule, ps, and keep its critical path. Times no copies twice."""
        key = copies.tobytes()
        if key not in self._makespans:
            chosen = dict(zip(self.names, map(int, copies), strict=True))
            timing = time_asap(self.graph, chosen)
            self._makespans[key] = timing.makespan_ps
            self.add(find_critical_path(self.graph, timing))
        return self._makespans[key]


def find_critical_path(graph: WorkGraph, timing: AsapTiming) -> CriticalPath:
    """Find the chain of windows that decides when the first input of an ASAP schedule is finished.

    Where the needs of windows never fall from one to the next, its bound is the makespan of the schedule itself;
    elsewhere it may be a few windows less, and a bound all the same.
    """
    layer = max(graph.layers, key=lambda layer: timing.layers[layer.name].finish_ps())
    last, steps, fixed = layer.windows, [], 0
    while True:
        starts = timing.layers[layer.name].starts[0]
        first = _find_first_of_run(starts[:last], timing.layers[layer.name].copies, layer.window_ps)
        written = layer.write_ps if first < timing.layers[layer.name].copies else 0
        cause = _find_cause(layer, first, int(starts[first]), written, timing)
        if cause is None:
            steps.append((layer.name, last))
            return CriticalPath(tuple(steps), fixed + layer.write_ps)
        producer, needed, needs = cause
        if needs is None:
            steps.append((layer.name, last))
            fixed += layer.write_ps
        else:
            decisive = int(np.argmax(timing.layers[producer].starts[0, :needed])) + 1
            waiting = needs[:last][needs[:last] >= decisive]
            steps.append((layer.name, len(waiting)))
            needed = int(waiting.min())
        layer, last = graph[producer], needed


def _find_first_of_run(starts: Integers, copies: int, window_ps: int) -> int:
    """Return the first window of the run, without a pause on its copy, that ends with the last finish."""
    end = int(np.argmax(starts))
    run = starts[end % copies : end + 1 : copies]
    pauses = np.flatnonzero(np.diff(run) != window_ps)
    return end % copies + copies * (int(pauses[-1]) + 1 if len(pauses) else 0)


def _find_cause(
    layer: LayerWork, window: int, start: int, written_ps: int, timing: AsapTiming
) -> tuple[str, int, Integers | None] | None:
    """Return whose windows, how many, let a window start when it did, and the layer's needs of it (None: stored)."""
    if start == 0:
        return None
    causes: list[tuple[str, int, Integers | None]] = [
        (need.producer, int(need.windows[window]), need.windows) for need in layer.needs
    ]
    causes += [(producer, count, None) for producer, count in layer.stored_needs]
    for producer, count, needs in causes:
        done = int(timing.layers[producer].starts[0, :count].max(initial=-1)) + timing.layers[producer].window_ps
        if count and done == start - (0 if needs is not None else written_ps):
            return producer, count, needs
    return None
