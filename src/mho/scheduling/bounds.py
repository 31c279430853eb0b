"""What no schedule can beat, whatever copies a chip holds and in whatever order they take their windows.

The simple bounds ignore either dependencies or crossbars. The filling bound joins them: a length T is refuted if no
numbers of copies on the chip leave room between the heads and the tails of all windows (`heads_and_tails`) and keep all
critical paths short enough (`critical_path`, `copy_relaxation`). All arithmetic of a refutation is in integers.
docs/schedules.md has the derivation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mho.scheduling.asap import check_copies
from mho.scheduling.copy_relaxation import Relaxation
from mho.scheduling.critical_path import PathPool
from mho.scheduling.duplication import check_crossbars, find_interval_copies
from mho.scheduling.exact_search import find_least
from mho.scheduling.heads_and_tails import CopyRange, HeadsAndTails
from mho.scheduling.work_graph import Integers, LayerWork, WorkGraph

_MOST_RELAXATIONS = 16
"""Linear relaxations, each with new paths, by which one length is tried to be refuted."""

_MOST_BRANCHINGS = 12
"""Integer programs, each with new paths, for one bound."""

_MOST_NODES = 50
"""Of the tree of one integer program."""


@dataclass(frozen=True)
class MakespanBounds:
    """Lower bounds on the latency of one input of a cross-layer schedule, ps.

    Attributes:
        total_work_ps: all crossbars busy all the time.
        slowest_layer_ps: each layer has copies enough for it, and all fit; nothing waits.
        dependency_ps: as many copies as windows; only dependencies count.
        head_tail_ps: dependencies and crossbars together; proven in integers.
        branched_ps: the same with whole numbers of copies only, by branch and bound (in floating point, with a margin
            for its tolerances); equal to `head_tail_ps` without `branch`.
    """

    total_work_ps: int
    slowest_layer_ps: int
    dependency_ps: int
    head_tail_ps: int
    branched_ps: int

    @property
    def bound_ps(self) -> int:
        """The largest of all, ps."""
        return max(self.total_work_ps, self.slowest_layer_ps, self.dependency_ps, self.head_tail_ps, self.branched_ps)


def bound_makespan(
    graph: WorkGraph,
    crossbars: int,
    *,
    known: Iterable[Mapping[str, int]] = (),
    precision: float = 0.001,
    branch: bool = False,
) -> MakespanBounds:
    """Bound the latency of one input over all schedules and all copies on a chip. Deterministic.

    Args:
        graph: the layers.
        crossbars: of the chip.
        known: copies that were found; they make the bound sharper and its search shorter, and need not fit.
        precision: share of the latency below which no further step is made.
        branch: whether to sharpen the bound by integer programs: seconds to minutes.

    Raises:
        ScheduleError: the chip does not hold each layer once.
    """
    check_crossbars(graph, crossbars)
    total = -(-sum(layer.crossbars * layer.work_ps for layer in graph.layers) // max(crossbars, 1))
    slowest = _find_least_time(graph, crossbars, _count_copies_alone)
    dependency = _find_dependency_ps(graph)
    search = _Refutation(graph, crossbars)
    for copies in (find_interval_copies(graph, crossbars), *known):
        check_copies(graph, copies)
        search.probe(np.array([copies[name] for name in search.pool.names], np.int64))
    filling = search.find_bound(max(total, slowest, dependency), precision)
    branched = search.find_branched_bound(filling) if branch else filling
    return MakespanBounds(total, slowest, dependency, filling, branched)


def bound_interval(graph: WorkGraph, crossbars: int) -> int:
    """Bound the time between inputs over all schedules and all copies on a chip, ps.

    An input takes all of a layer's work of its copies, and a stored operand is written at least once.

    Raises:
        ScheduleError: the chip does not hold each layer once.
    """
    check_crossbars(graph, crossbars)
    return _find_least_time(graph, crossbars, lambda layer, time: -(-(layer.work_ps + layer.write_ps) // time))


class _Refutation:
    """Refutes lengths of schedules on one chip, and remembers the shortest schedule that it met.

    Attributes:
        shortest_ps: of the schedules that were met and fit.
    """

    def __init__(self, graph: WorkGraph, crossbars: int) -> None:
        self.pool = PathPool(graph)
        self.shortest_ps = np.iinfo(np.int64).max
        self._crossbars = crossbars
        self._costs: Integers = np.array([layer.crossbars for layer in graph.layers], np.int64)
        self._filling = HeadsAndTails(graph, crossbars)
        self._relaxation = Relaxation(self.pool, crossbars)

    def probe(self, copies: Integers) -> None:
        makespan = self.pool.probe(copies)
        if self._costs @ copies <= self._crossbars:
            self.shortest_ps = min(self.shortest_ps, makespan)

    def find_bound(self, bound_ps: int, precision: float) -> int:
        """Raise a bound until it is within `precision` of the shortest schedule or cannot be raised."""
        self.probe(self._filling.list_all().most)
        unknown = self.shortest_ps
        while (unknown := min(unknown, self.shortest_ps)) - bound_ps > precision * self.shortest_ps:
            length = (bound_ps + unknown) // 2
            proven = min(self._bound_up_to(length), length + 1)
            bound_ps = max(bound_ps, proven)
            if proven <= length:
                unknown = length
        return bound_ps

    def find_branched_bound(self, bound_ps: int) -> int:
        """Raise a bound by integer programs over the paths, whose solutions yield further paths."""
        for _ in range(_MOST_BRANCHINGS):
            if bound_ps >= self.shortest_ps:
                break
            within = self._filling.narrow(self._filling.list_all(), self.shortest_ps - 1)
            if within.is_empty:
                return self.shortest_ps
            relaxed = self._relaxation.bound(within, self.shortest_ps - 1)
            if relaxed.narrower.is_empty:
                return self.shortest_ps
            found = self._relaxation.bound_in_integers(relaxed.narrower, self.shortest_ps, _MOST_NODES)
            if found is None:
                break
            bound_ps, known = max(bound_ps, min(found[0], self.shortest_ps)), len(self.pool)
            self.probe(found[1])
            if len(self.pool) == known:
                break
        return bound_ps

    def _bound_up_to(self, length_ps: int) -> int:
        """Return a length that no schedule of at most `length_ps` is below; above it where there is none such."""
        within, bound = self._filling.list_all(), 0
        for left in reversed(range(_MOST_RELAXATIONS)):
            within = self._filling.narrow(within, length_ps)
            if within.is_empty:
                return length_ps + 1
            relaxed = self._relaxation.bound(within, length_ps)
            gain, bound = relaxed.bound_ps - bound, max(bound, relaxed.bound_ps)
            if bound > length_ps or relaxed.narrower.is_empty:
                return length_ps + 1
            has_new_paths = self._add_paths(relaxed.copies, within)
            if self.shortest_ps <= length_ps:
                break
            narrowed = _differ(within, relaxed.narrower)
            within = relaxed.narrower
            if not (has_new_paths or narrowed) or (not narrowed and 4 * gain * left < length_ps - bound):
                break
        return bound

    def _add_paths(self, copies: np.typing.NDArray[np.float64], within: CopyRange) -> bool:
        """Probe the numbers of copies next to a relaxed solution; return whether new paths were found."""
        known = len(self.pool)
        for near in (np.floor(copies + 1e-6), np.ceil(copies - 1e-6), np.rint(copies)):
            self.probe(np.clip(near.astype(np.int64), within.least, within.most))
        return len(self.pool) > known


def _differ(first: CopyRange, second: CopyRange) -> bool:
    return bool((first.least != second.least).any() or (first.most != second.most).any())


def _find_least_time(graph: WorkGraph, crossbars: int, count_copies: Callable[[LayerWork, int], int]) -> int:
    """Return the least time for which the copies that layers need (`count_copies`, falling with time) fit, ps."""

    def fits(time_ps: int) -> bool:
        copies = [count_copies(layer, time_ps) for layer in graph.layers]
        digital = all(layer.crossbars or number <= 1 for layer, number in zip(graph.layers, copies, strict=True))
        taken = sum(layer.crossbars * number for layer, number in zip(graph.layers, copies, strict=True))
        return digital and taken <= crossbars

    return find_least(1, max(1, *(layer.work_ps + layer.write_ps for layer in graph.layers)), fits)


def _count_copies_alone(layer: LayerWork, time_ps: int) -> int:
    """Return the fewest copies that work off a layer in a time; more than any chip has where none can."""
    if not layer.window_ps:
        return 1
    turns = (time_ps - layer.write_ps) // layer.window_ps
    return -(-layer.windows // turns) if turns > 0 else np.iinfo(np.int64).max


def _find_dependency_ps(graph: WorkGraph) -> int:
    """Return how long one input takes if every layer has as many copies as windows, ps."""
    copies: Integers = np.array([layer.windows for layer in graph.layers], np.int64)
    heads, _ = HeadsAndTails(graph, 0).list_heads(copies)
    return max(int(head.max()) + layer.window_ps for head, layer in zip(heads, graph.layers, strict=True))
