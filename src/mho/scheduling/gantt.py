"""Gantt charts of schedules, small enough to look at: which crossbars are read and written when, for which layer.

A chart is filled where a schedule is known: `mho.scheduling.reload_gantt` for tiles that are rewritten,
`mho.simulation.chip_gantt` for weights that stay. Traces and timelines show any chart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BARS = 30_000
"""Bars that a chart has, more or less: some megabytes of a trace, half a megabyte of a page."""


@dataclass(frozen=True)
class Bar:
    """Crossbars at work on one layer, for one input or batch; pauses within are too short to be shown.

    Attributes:
        layer: number of the layer.
        item: number of the input, or of the batch.
        is_write: True where crossbars are written, False where they are read.
        start_ps, finish_ps: from when to when; digital work may end a read.
        busy_ps: time in which they are written, or read.
        count: windows, or tiles, that are read or written; 0 where none begins.
    """

    layer: int
    item: int
    is_write: bool
    start_ps: int
    finish_ps: int
    busy_ps: int
    count: int

    @property
    def busy(self) -> float:
        """Share of the time in which the crossbars are written or read, 0..1."""
        return self.busy_ps / (self.finish_ps - self.start_ps) if self.finish_ps > self.start_ps else 1.0


@dataclass(frozen=True)
class Row:
    """Crossbars that do the same at the same time.

    Attributes:
        name: what they are, for people.
        core: in which they lie, or where their sums are gathered.
        crossbars: how many.
        bars: in order of time.
    """

    name: str
    core: int
    crossbars: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class RowGroup:
    """Rows that are drawn as one until they are opened.

    Attributes:
        name, words: short, and in a few words.
        count: copies, or crossbars, that its rows stand for.
        rows: one or more.
    """

    name: str
    words: str
    count: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, eq=False)
class Occupancy:
    """When how many crossbars are at work.

    Attributes:
        times: int64 [things, 2], start and end of each, ps.
        weights: float64 [things], crossbars of each.
    """

    times: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, work: Iterable[tuple[int, int, float]]) -> Occupancy:
        """Return the occupancy of (start, finish, crossbars)."""
        listed = list(work)
        times = np.array([(start, finish) for start, finish, _ in listed], np.int64).reshape(-1, 2)
        return cls(times, np.array([weight for *_, weight in listed], np.float64))

    def measure(self, total_ps: int, bins: int) -> NDArray[np.float64]:
        """Return how many crossbars are at work, on average in each of `bins` equal parts of a time, float64 [bins].

        Args:
            total_ps: the whole time, above 0.
            bins: 1 or more.
        """
        moments = np.concatenate([self.times[:, 0], self.times[:, 1]])
        changes = np.concatenate([self.weights, -self.weights])
        order = np.argsort(moments, kind="stable")
        moments, working = moments[order], np.cumsum(changes[order])
        # Crossbars times time, up to each moment; linear between moments, so that edges may lie anywhere.
        done = np.concatenate([[0.0], np.cumsum(working[:-1] * np.diff(moments).astype(np.float64))])[: len(moments)]
        edges = np.linspace(0.0, total_ps, bins + 1)
        if not len(moments):
            return np.zeros(bins)
        levels: NDArray[np.float64] = np.diff(np.interp(edges, moments, done)) / (total_ps / bins)
        return levels


@dataclass(frozen=True, eq=False)
class GanttChart:
    """What all crossbars in use do.

    Attributes:
        layers: names, by their numbers.
        items: inputs, or batches, that the chart shows.
        item, unit: what an item is, "input" or "batch"; what bars count, "window" or "tile".
        groups: of rows, in order.
        cores: of the chip.
        total_ps: time that the chart shows, ps.
        crossbars: of which levels are shares.
        reading, writing: crossbars that are read, and written.
        is_periodic: True where the chart repeats itself, so that colours stand for layers instead of items.
        pause_ps: the longest pause within a bar; 0 where no bars are joined.
    """

    layers: tuple[str, ...]
    items: int
    item: str
    unit: str
    groups: tuple[RowGroup, ...]
    cores: int
    total_ps: int
    crossbars: int
    reading: Occupancy
    writing: Occupancy
    is_periodic: bool
    pause_ps: int

    @property
    def rows(self) -> Iterator[Row]:
        """All rows, group after group."""
        return (row for group in self.groups for row in group.rows)

    @property
    def bars(self) -> Iterator[Bar]:
        """All bars, row after row."""
        return (bar for row in self.rows for bar in row.bars)

    def name_bar(self, bar: Bar) -> str:
        """Return what a bar shows: the layer, and the input or batch where there are several."""
        name = ("write " if bar.is_write else "") + self.layers[bar.layer]
        return name if self.items == 1 else f"{name}, {self.item} {bar.item}"


def name_crossbars(first: int, count: int) -> str:
    """Return ``crossbar 3``, or ``crossbars 3-7``."""
    return f"crossbar {first}" if count == 1 else f"crossbars {first}-{first + count - 1}"
