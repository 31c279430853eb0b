"""Copies for the least latency of one input: a local search with a pool of critical paths as its first filter.

The pool's bound is below the makespan everywhere and equal to it where it was probed. A step of the search takes
copies from one layer and spends free crossbars where they shorten the longest paths most; only what the pool does not
rule out is timed, and every timing adds a path to the pool. The search ends where no step is left that the
pool does not rule out. Deterministic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mho.scheduling.copy_relaxation import Relaxation
from mho.scheduling.critical_path import PathPool
from mho.scheduling.heads_and_tails import HeadsAndTails
from mho.scheduling.work_graph import Integers

_NEAR = 0.97
"""Paths at least this long, as a share of the longest, count when crossbars are spent: they are the next to decide."""

_TIMINGS = 12
"""Candidates that are timed in one step before the candidates are listed anew with the paths that were added."""

_RELAXATIONS = 12
"""Linear relaxations that are solved for starts."""

_IMPROVED = 3
"""Starts, the fastest, from which the search goes on."""

_TRIED_LAYERS = 24
"""Layers that give up copies, and that get some, in one step."""

_FRUITLESS = 3
"""Steps without success before the search gives up; each adds paths to the pool."""


class CopySearch:
    """Improves numbers of copies on a chip; int64 [layers], in the order of the pool's layers.

    Args:
        pool: paths of the graph; grows.
        crossbars: of the chip.
    """

    def __init__(self, pool: PathPool, crossbars: int) -> None:
        self._pool, self._crossbars = pool, crossbars
        self._costs: Integers = np.array([layer.crossbars for layer in pool.graph.layers], np.int64)
        self._windows: Integers = np.array([layer.windows for layer in pool.graph.layers], np.int64)

    def run(self, starts: Sequence[Integers]) -> Integers:
        """Return the fastest copies that are found from `starts`, which must fit, and from the relaxation."""
        starts = [np.minimum(start, self._windows) for start in starts]
        for start in starts:
            self._pool.probe(start)
        found = [*starts, *(self.fit(start) for start in starts)]
        found += self._list_relaxed(min(map(self._pool.probe, found)))
        unique = {tuple(map(int, copies)): copies for copies in found}
        best = sorted(unique, key=lambda key: (self._pool.probe(unique[key]), key))[:_IMPROVED]
        improved = [self.improve(unique[key]) for key in best]
        return min(improved, key=lambda copies: (self._pool.probe(copies), copies.tolist()))

    def _list_relaxed(self, makespan: int) -> list[Integers]:
        """Return copies near the solution of the linear relaxation, whose paths the pool takes up."""
        filling, relaxation = HeadsAndTails(self._pool.graph, self._crossbars), Relaxation(self._pool, self._crossbars)
        within = filling.narrow(filling.list_all(), makespan)
        found: list[Integers] = []
        for _ in range(_RELAXATIONS):
            if within.is_empty:
                break
            known, relaxed = len(self._pool), relaxation.bound(within, makespan)
            lower, upper = np.floor(relaxed.copies + 1e-6), np.ceil(relaxed.copies - 1e-6)
            for copies in (lower, upper, np.rint(relaxed.copies)):
                self._pool.probe(np.clip(copies.astype(np.int64), within.least, within.most))
            found.append(self.fit(np.maximum(lower.astype(np.int64), 1)))
            self._pool.probe(found[-1])
            if len(self._pool) == known:
                break
        return found

    def improve(self, copies: Integers) -> Integers:
        """Return copies whose makespan is not above that of `copies`, which must fit."""
        best, fruitless = self._pool.probe(copies), 0
        while fruitless < _FRUITLESS:
            better, timed = self._find_better(copies, best)
            if better is not None:
                copies, best, fruitless = better, self._pool.probe(better), 0
            elif timed:
                fruitless += 1
            else:
                break
        return copies

    def _find_better(self, copies: Integers, best: int) -> tuple[Integers | None, int]:
        """Time the most promising candidates; return the first that is faster, if any, and how many were timed."""
        candidates = {tuple(map(int, candidate)): candidate for candidate in self._list_candidates(copies)}
        ranked = sorted((self._pool.bound(candidate), key) for key, candidate in candidates.items())
        timed = 0
        for bound, key in ranked:
            if bound >= best or timed == _TIMINGS:
                break
            if self._pool.bound(candidates[key]) >= best:
                continue
            timed += 1
            if self._pool.probe(candidates[key]) < best:
                return candidates[key], timed
        return None, timed

    def _list_candidates(self, copies: Integers) -> Iterator[Integers]:
        """Yield what fits after one layer has given up, or has got, one, two or a twentieth of its copies.

        Of all layers, those come into question whose copies matter least, or most, for their crossbars.
        """
        yield self.fit(copies)
        pool, steps = self._pool, self._pool.time_steps(copies)
        lengths = steps.sum(axis=1) + pool.fixed_ps
        costs = np.maximum(self._costs, 1)
        losses = self._weigh_changes(lengths, pool.time_steps(np.maximum(copies - 1, 1)) - steps) / costs
        gains = self._weigh_changes(lengths, pool.time_steps(copies + 1) - steps) / costs
        fewer = np.where((copies > 1) & (self._costs > 0), losses, np.inf)
        more = np.where((copies < self._windows) & (self._costs > 0), gains, np.inf)
        for direction, order in ((-1, fewer), (1, more)):
            for layer in np.argsort(order, kind="stable")[: min(_TRIED_LAYERS, int(np.isfinite(order).sum()))]:
                for step in sorted({1, 2, int(copies[layer]) // 20}):
                    number = copies[layer] + direction * step
                    if step and 0 < number <= self._windows[layer]:
                        changed = copies.copy()
                        changed[layer] = number
                        yield self.fit(changed, layer)

    def fit(self, copies: Integers, kept: int | None = None) -> Integers:
        """Return copies that fit on the chip, and spend it.

        Copies are taken away, but not of the layer `kept`, where that lengthens long paths least for their crossbars,
        until the rest fits; then added where they shorten long paths most.
        """
        pool, copies = self._pool, copies.copy()
        free = self._crossbars - int(self._costs @ copies)
        steps = pool.time_steps(copies)
        lengths = steps.sum(axis=1) + pool.fixed_ps
        while True:
            if add := free >= 0:
                possible = (self._costs > 0) & (self._costs <= free) & (copies < self._windows)
            else:
                possible = (self._costs > 0) & (copies > 1)
                if kept is not None:
                    possible[kept] = False
            if not possible.any():
                return copies if add else np.ones_like(copies)
            changed = pool.time_steps(copies + 1 if add else np.maximum(copies - 1, 1)) - steps
            weights = self._weigh_changes(lengths, changed) / np.maximum(self._costs, 1)
            layer = int(np.argmin(np.where(possible, weights, np.inf)))
            if add and weights[layer] >= 0.0:
                return copies
            copies[layer] += 1 if add else -1
            free = self._crossbars - int(self._costs @ copies)
            steps[:, layer] += changed[:, layer]
            lengths = lengths + changed[:, layer]

    @staticmethod
    def _weigh_changes(lengths: Integers, changes: Integers) -> NDArray[np.float64]:
        """Return float64 [layers]: how much more, or less, paths exceed the near-critical length after each change.

        Args:
            lengths: int64 [paths], ps.
            changes: int64 [paths, layers], how much longer each change makes each path.
        """
        near = int(lengths.max() * _NEAR)
        after: NDArray[np.float64] = _square_above(lengths[:, None] + changes, near).sum(axis=0)
        before = float(_square_above(lengths, near).sum())
        changed: NDArray[np.float64] = after - before
        return changed


def _square_above(lengths: Integers, near: int) -> NDArray[np.float64]:
    excess: NDArray[np.float64] = np.maximum(lengths - near, 0).astype(np.float64)
    return np.multiply(excess, excess, dtype=np.float64)
