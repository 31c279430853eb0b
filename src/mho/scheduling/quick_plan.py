"""Options and copies of all layers for many chips and limits at once, without a search: what a cost model tries.

For each limit on what options may be taken, the least interval between inputs whose copies fit is found by bisection,
for all limits side by side. A limit on the time of windows shortens the filling of the pipeline; one on crossbars
leaves the interconnect free; one on energy saves energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.scheduling.option_table import LayerOptions
from mho.scheduling.work_graph import Integers

_PRECISION = 2e-4
"""Of the least interval, as a share of it."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Options and copies of all layers.

    Attributes:
        options: number of the option of each layer.
        copies: of each layer.
        crossbars: of all copies.
        interval_ps: between inputs, where layers alone limit it, ps.
    """

    options: tuple[int, ...]
    copies: Integers
    crossbars: int
    interval_ps: int


class Chooser:
    """Chooses among the options of the layers of one policy.

    Args:
        layers: options of each layer.
    """

    def __init__(self, layers: Sequence[LayerOptions]) -> None:
        self._first = np.cumsum([0, *(len(layer.crossbars) for layer in layers)])[:-1]
        self._layer = np.repeat(np.arange(len(layers)), [len(layer.crossbars) for layer in layers])
        joined = [
            np.concatenate([getattr(layer, name) for layer in layers])
            for name in ("crossbars", "windows", "window_ps", "write_ps", "energy_aj")
        ]
        self.crossbars, self.windows, self.window_ps, self.write_ps, self.energy_aj = joined
        self._promising = np.concatenate([layer.promising for layer in layers])
        self._work = self.windows * self.window_ps
        self._tie = self.window_ps / (2.0 * max(1, int(self.window_ps.max())))

    @property
    def least_crossbars(self) -> int:
        """The fewest that hold each layer once."""
        return int(np.minimum.reduceat(self.crossbars, self._first).sum())

    def list_limits(self, count: int, energy_shares: Sequence[float] = ()) -> NDArray[np.bool_]:
        """Return bool [limits, options]: which options each limit allows, one of each layer at least.

        The first allows everything; others the promising options that take the fewest crossbars of the layer, those
        whose windows last at most so long (or are the layer's shortest), and those that take at most so much energy
        more than the least of the layer.

        Args:
            count: limits of the time of windows, about.
            energy_shares: limits of energy, as shares of the least.
        """
        times = np.unique(self.window_ps[self._promising])
        limits = np.unique(np.append(times[:: -(-len(times) // count)], times[-1]))
        allowed = [np.ones((1, len(self._layer)), bool), (self.crossbars == self._least(self.crossbars))[None]]
        shortest = self._least(np.where(self._promising, self.window_ps, np.iinfo(np.int64).max))
        allowed.append(self._promising & (self.window_ps <= np.maximum(shortest, limits[:, None])))
        if energy_shares:
            allowed.append(self.energy_aj <= self._least(self.energy_aj) * (1.0 + np.array(energy_shares)[:, None]))
        distinct = {row.tobytes(): row for row in np.concatenate(allowed)}
        return np.stack(list(distinct.values()))

    def _least(self, values: Integers) -> Integers:
        """Return for each option the least of its layer, [options]."""
        least: Integers = np.minimum.reduceat(values, self._first)[self._layer]
        return least

    def choose(self, allowed: NDArray[np.bool_], crossbars: Integers, relaxed: Sequence[float]) -> list[Choice]:
        """Return the choices of the least interval under each limit, and of longer ones; those that fit.

        Args:
            allowed: bool [limits, options], one option of each layer at least.
            crossbars: int64 [limits], that may be taken under each.
            relaxed: multiples of the least interval.
        """
        unit = np.iinfo(np.int64).max // 4 // max(1, len(self._first))
        high = np.max(np.where(allowed, self._work + self.write_ps, 1), axis=1)
        fits = self._count(high, allowed, unit)[0] <= crossbars
        allowed, crossbars, high = allowed[fits], crossbars[fits], high[fits]
        low = np.ones_like(high)
        while len(high) and ((high - low) > _PRECISION * high).any():
            middle = np.where(high > 64 * low, np.sqrt(low.astype(float) * high).astype(np.int64), (low + high) // 2)
            fitting = self._count(middle, allowed, unit)[0] <= crossbars
            low, high = np.where(fitting, low, middle + 1), np.where(fitting, middle, high)
        found: dict[tuple[tuple[int, ...], bytes], Choice] = {}
        for share in relaxed:
            _, options, copies = self._count((high * share).astype(np.int64), allowed, unit)
            for row in range(len(high)):
                choice = self._describe(options[row], copies[row])
                found.setdefault((choice.options, choice.copies.tobytes()), choice)
        return list(found.values())

    def change(self, choice: Choice, layer: int, option: int, copies: int) -> Choice:
        """Return a choice with another option and number of copies of one layer."""
        options = np.array(choice.options, np.int64)
        options[layer] = option
        changed = choice.copies.copy()
        changed[layer] = copies
        return self._describe(options + self._first, changed)

    def _count(
        self, interval_ps: Integers, allowed: NDArray[np.bool_], unit: int
    ) -> tuple[Integers, Integers, Integers]:
        """Return crossbars [limits], options and copies [limits, layers] with which layers keep up with intervals."""
        copies = self._count_copies(interval_ps[:, None])
        costs = np.where(allowed, copies * self.crossbars, unit)
        taken = np.minimum.reduceat(costs, self._first, axis=1)
        tie_broken = np.where(costs == taken[:, self._layer], self._tie, 1.0)
        best = np.minimum.reduceat(tie_broken, self._first, axis=1)
        places = np.where(tie_broken == best[:, self._layer], np.arange(len(self._layer)), len(self._layer))
        options = np.minimum.reduceat(places, self._first, axis=1)
        return taken.sum(axis=1), options, np.take_along_axis(copies, options, axis=1)

    def _count_copies(self, interval_ps: Integers) -> Integers:
        """Return [limits, options]: the fewest copies that take an input every interval; the form of one layer is
        `mho.scheduling.duplication.count_interval_copies`. A digital layer has one copy, which may take longer.
        """
        return np.where(self.crossbars > 0, self._count_needed(interval_ps), 1)

    def _count_needed(self, interval_ps: Integers) -> Integers:
        left = interval_ps - self.write_ps
        copies: Integers = np.maximum(1, -(-self._work // np.maximum(1, left)))
        shared = (left > 0) & (copies <= self.windows)
        if shared.all():
            return copies
        return np.where(shared, copies, -(-self.windows * (self.window_ps + self.write_ps) // interval_ps))

    def _describe(self, options: Integers, copies: Integers) -> Choice:
        busy = self._work[options] + self.write_ps[options] * np.minimum(copies, self.windows[options])
        return Choice(
            tuple(map(int, options - self._first)),
            copies,
            int(self.crossbars[options] @ copies),
            int((-(-busy // copies)).max()),
        )
