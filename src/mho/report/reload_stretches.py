"""What crossbars do in the steady state of a schedule with reloads: rows of writes and reads, small enough to look at.

A row is a crossbar that is rewritten, or all crossbars that hold equal tiles of one group for good. Times are those of
one period, from 0 to its end: what is written ahead for the next one is at its end, as everything repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.report.stretches import measure_levels
from mho.scheduling.reload_schedule import ReloadSchedule, unroll
from mho.scheduling.reload_timing import TileSpan


@dataclass(frozen=True)
class TileStretch:
    """A crossbar at work on tiles of one layer, for one batch.

    Attributes:
        layer: number of the layer.
        batch: number of the batch in the period.
        is_write: True where it is written, False where it is read.
        start_ps, finish_ps: from when to when; of a read until its digital work is done.
        busy_ps: time of that in which it is written or read.
        tiles: how many, one after the other; 0 where none begins, as the rest of a write from the period before.
        is_joined: True where writes and reads are one stretch.
    """

    layer: int
    batch: int
    is_write: bool
    start_ps: int
    finish_ps: int
    busy_ps: int
    tiles: int
    is_joined: bool = False

    @property
    def busy(self) -> float:
        """Share of the time in which the crossbar is written or read, 0..1."""
        return self.busy_ps / (self.finish_ps - self.start_ps)


@dataclass(frozen=True)
class CrossbarRow:
    """Crossbars that do the same at the same time.

    Attributes:
        first: number of the first crossbar; the others follow.
        crossbars: how many.
        stretches: in order of time.
        holds: name of the layer whose tiles they hold for good; empty where they are rewritten.
    """

    first: int
    crossbars: int
    stretches: tuple[TileStretch, ...]
    holds: str = ""

    @property
    def words(self) -> str:
        """Which crossbars, for people."""
        last = self.first + self.crossbars - 1
        name = f"crossbar {self.first}" if self.crossbars == 1 else f"crossbars {self.first}-{last}"
        return f"{name}: {self.holds} stays" if self.holds else name


def list_rows(schedule: ReloadSchedule, limit: int) -> tuple[CrossbarRow, ...]:
    """Return what all crossbars in use do in one period.

    Args:
        schedule: with spans.
        limit: stretches that are wanted. Where there are more, writes and reads of one layer in one crossbar are one
            stretch, whose busy time is that of the reads.
    """
    timing, rotating = schedule.timing, schedule.plan.rotating
    lanes: dict[int, list[TileStretch]] = {crossbar: [] for crossbar in range(rotating)}
    for span in _unroll(schedule):
        if span.crossbar < rotating:
            lanes[span.crossbar] += _clip(_list_own(span, timing.inputs), timing.period_ps)
    count = sum(map(len, lanes.values()))
    rows = [
        CrossbarRow(crossbar, 1, tuple(sorted(_join(lane) if count > limit else lane, key=lambda one: one.start_ps)))
        for crossbar, lane in lanes.items()
    ]
    return (*rows, *_list_staying(schedule))


def measure_rows(rows: Iterable[CrossbarRow], total_ps: int, bins: int, *, is_write: bool) -> NDArray[np.float64]:
    """Return how many crossbars are written, or read, on average in each of `bins` equal parts of the time.

    Args:
        rows: what they do, between 0 and `total_ps`.
        total_ps: of the whole, above 0.
        bins: 1 or more.
        is_write: which of the two. Of stretches that hold other work too, the share of it counts.

    Returns:
        float64 [bins].
    """
    found = [(row, one) for row in rows for one in row.stretches if one.is_write is is_write]
    weights = np.array([row.crossbars * one.busy for row, one in found])
    times = np.array([(one.start_ps, one.finish_ps) for _, one in found], np.int64).reshape(-1, 2)
    return measure_levels(times, weights, total_ps, bins)


def _unroll(schedule: ReloadSchedule) -> Iterator[TileSpan]:
    """Yield all spans of rotating crossbars that touch the first of many periods."""
    timing = schedule.timing
    period = timing.period_ps
    earliest = min((span.write[0] for span in timing.spans if span.write is not None), default=0)
    periods = 1 + (-(-max(0, -earliest) // period) if period else 0)
    for span in unroll(timing, periods):
        start = span.read[0] if span.write is None else span.write[0]
        if start < period:
            yield span


def _list_own(span: TileSpan, inputs: int) -> Iterator[TileStretch]:
    batch = span.number % inputs
    if span.write is not None and span.write[1] > span.write[0]:
        yield TileStretch(span.layer, batch, True, *span.write, span.write[1] - span.write[0], 1)
    if span.held_until > span.read[0]:
        start, end = span.read
        yield TileStretch(span.layer, batch, False, start, span.held_until, end - start, 1)


def _clip(stretches: Iterable[TileStretch], period_ps: int) -> Iterator[TileStretch]:
    """Yield the parts that lie in the period; only writes cross its ends."""
    for one in stretches:
        start, finish = max(0, one.start_ps), min(period_ps, one.finish_ps)
        if finish > start:
            cut = (one.finish_ps - one.start_ps) - (finish - start)
            tiles = one.tiles if one.start_ps >= 0 else 0
            yield TileStretch(one.layer, one.batch, one.is_write, start, finish, one.busy_ps - cut, tiles)


def _join(lane: Iterable[TileStretch]) -> Iterator[TileStretch]:
    """Make one stretch of all that follows each other on tiles of one layer and batch."""
    joined: list[TileStretch] = []
    for one in sorted(lane, key=lambda one: one.start_ps):
        if joined and (joined[-1].layer, joined[-1].batch) != (one.layer, one.batch):
            yield _merge(joined)
            joined = []
        joined.append(one)
    if joined:
        yield _merge(joined)


def _merge(stretches: list[TileStretch]) -> TileStretch:
    first, reads = stretches[0], [one for one in stretches if not one.is_write]
    if not reads:
        return TileStretch(
            first.layer, first.batch, True, first.start_ps, stretches[-1].finish_ps,
            sum(one.busy_ps for one in stretches), sum(one.tiles for one in stretches),
        )  # fmt: skip
    busy, finish = sum(one.busy_ps for one in reads), max(one.finish_ps for one in stretches)
    is_joined = len(stretches) > len(reads)
    return TileStretch(first.layer, first.batch, False, first.start_ps, finish, busy, len(reads), is_joined)


def _list_staying(schedule: ReloadSchedule) -> Iterator[CrossbarRow]:
    """Yield a row for each group of tiles that stay."""
    first, timing = schedule.plan.rotating, schedule.timing
    lanes: dict[int, list[TileStretch]] = {}
    for span in timing.spans:
        if span.crossbar >= first:
            lanes.setdefault(span.crossbar, []).extend(_list_own(span, timing.inputs))
    for count, group in zip(schedule.plan.staying, schedule.work.groups, strict=True):
        if count:
            stretches = tuple(sorted(lanes.get(first, ()), key=lambda one: one.start_ps))
            yield CrossbarRow(first, count, stretches, schedule.work.layers[group.layer])
        first += count
