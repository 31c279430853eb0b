"""How the pipeline fills and drains: what every schedule of a given length needs of every layer, window by window.

With more copies than a layer can have at best, its producers give a *head* to each window (no schedule starts it
earlier) and its consumers a *tail* (no schedule ends sooner after it). A layer whose windows must fit between their
heads and tails in a schedule of length T needs some least number of copies; the crossbars of those take copies away
from the other layers, whose heads and tails grow; and so on until nothing changes, or no crossbar is left: then no
schedule has length T. docs/schedules.md has the derivation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mho.scheduling.asap import space_starts
from mho.scheduling.exact_search import find_least
from mho.scheduling.work_graph import Integers, LayerWork, WorkGraph


@dataclass(frozen=True, eq=False)
class CopyRange:
    """Numbers of copies that are still possible: int64 [layers] each, both ends included."""

    least: Integers
    most: Integers

    @property
    def is_empty(self) -> bool:
        """True where some layer has no possible number."""
        return bool((self.least > self.most).any())


class HeadsAndTails:
    """Heads, tails and least copies of the layers of one graph.

    Args:
        graph: the layers, whose order is that of all arrays here.
        crossbars: of the chip.
    """

    def __init__(self, graph: WorkGraph, crossbars: int) -> None:
        self._layers = graph.layers
        self._index = {layer.name: index for index, layer in enumerate(graph.layers)}
        self._crossbars = crossbars
        self._costs: Integers = np.array([layer.crossbars for layer in graph.layers], np.int64)
        self._windows: Integers = np.array([layer.windows for layer in graph.layers], np.int64)
        self._first_users = [[self._find_first_users(need.windows, need.producer) for need in layer.needs]
                             for layer in graph.layers]  # fmt: skip

    def list_all(self) -> CopyRange:
        """Return all numbers that fit, as many copies as windows at most; empty where not even one of each fits."""
        return self._cap(np.ones(len(self._layers), np.int64), self._windows)

    def narrow(self, within: CopyRange, length_ps: int) -> CopyRange:
        """Narrow a range to the numbers that a schedule of `length_ps` may have; empty where there is none.

        No schedule that is not longer, with copies in `within` and on the chip, has copies outside of the result.
        """
        while not within.is_empty:
            least = self._find_least(within, length_ps)
            if least is None:
                return CopyRange(within.most + 1, within.most)
            narrower = self._cap(least, within.most)
            if np.array_equal(narrower.most, within.most):
                return narrower
            within = narrower
        return within

    def list_heads(self, copies: Integers) -> tuple[list[Integers], list[Integers]]:
        """Return for each layer int64 [windows]: when each window may start at the earliest with these copies, ps.

        The second list has the same, lowered where a later window may start earlier: it never falls.
        """
        heads: list[Integers] = []
        rising: list[Integers] = []
        finished: list[Integers] = []
        for index, layer in enumerate(self._layers):
            head = np.full(layer.windows, layer.write_ps, np.int64)
            for need in layer.needs:
                np.maximum(head, finished[self._index[need.producer]][need.windows], out=head)
            for producer, count in layer.stored_needs:
                np.maximum(head, finished[self._index[producer]][count] + layer.write_ps, out=head)
            rise = np.minimum.accumulate(head[::-1])[::-1]
            done = np.zeros(layer.windows + 1, np.int64)
            np.maximum.accumulate(head, out=done[1:])
            np.maximum(done[1:], space_starts(rise, int(copies[index]), layer.window_ps), out=done[1:])
            done[1:] += layer.window_ps
            heads.append(head)
            rising.append(rise)
            finished.append(done)
        return heads, rising

    def list_tails(self, copies: Integers) -> list[Integers]:
        """Return for each layer int64 [windows]: how long schedules last at least after each window, ps."""
        tails = [np.zeros(layer.windows, np.int64) for layer in self._layers]
        for index, layer in reversed(list(enumerate(self._layers))):
            falling = np.minimum.accumulate(tails[index])
            left = np.zeros(layer.windows + 1, np.int64)
            left[:-1] = space_starts(falling[::-1], int(copies[index]), layer.window_ps)[::-1] + layer.window_ps
            for need, first_users in zip(layer.needs, self._first_users[index], strict=True):
                tail = tails[self._index[need.producer]]
                np.maximum(tail, left[first_users], out=tail)
            for producer, count in layer.stored_needs:
                tail = tails[self._index[producer]][:count]
                np.maximum(tail, left[0] + layer.write_ps, out=tail)
        return tails

    def _find_first_users(self, needs: Integers, producer: str) -> Integers:
        """Return for each window of the producer the first window from which on all need it."""
        rising = np.minimum.accumulate(needs[::-1])[::-1]
        return np.searchsorted(rising, np.arange(self._windows[self._index[producer]]), side="right")

    def _find_least(self, within: CopyRange, length_ps: int) -> Integers | None:
        """Return the least copies of each layer, if all others have their most; None where no number will do."""
        heads, rising = self.list_heads(within.most)
        tails = self.list_tails(within.most)
        least = within.least.copy()
        for index, layer in enumerate(self._layers):
            latest = length_ps - layer.window_ps - tails[index]
            if (heads[index] > latest).any():
                return None
            fitting = _count_fitting(layer, rising[index], latest, int(within.least[index]), int(within.most[index]))
            if fitting is None:
                return None
            least[index] = fitting
        return least

    def _cap(self, least: Integers, most: Integers) -> CopyRange:
        free = self._crossbars - int(self._costs @ least)
        if free < 0:
            return CopyRange(most + 1, most)
        more = np.where(self._costs > 0, free // np.maximum(self._costs, 1), 0)
        return CopyRange(least, np.minimum(most, least + more))


def _count_fitting(layer: LayerWork, heads: Integers, latest: Integers, least: int, most: int) -> int | None:
    """Return the least copies with which all windows start between `heads` and `latest`, neither of which falls.

    Windows of equal length whose earliest and latest starts rise together fit if they fit in order.
    """

    def fits(copies: int) -> bool:
        return bool((space_starts(heads, copies, layer.window_ps) <= latest).all())

    if fits(least):
        return least
    if not fits(most):
        return None
    return find_least(least + 1, most, fits)
