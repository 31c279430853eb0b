"""The Gantt chart of one period of a schedule with reloads.

A row is a crossbar that is rewritten, or all crossbars that hold equal tiles of one group for good. Times are those of
one period, from 0 to its end: what is written ahead for the next one is at its end, as everything repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mho.hardware.chip import Chip
from mho.scheduling.gantt import Bar, GanttChart, Occupancy, Row, RowGroup, name_crossbars
from mho.scheduling.reload_tiles import NetworkTiles
from mho.scheduling.reload_timing import ReloadPlan, ReloadTiming, TileSpan, unroll

_NEIGHBOURS = 32
"""Crossbars of one group of rows, where the chip has no cores."""


def draw_reload(work: NetworkTiles, plan: ReloadPlan, timing: ReloadTiming, chip: Chip, limit: int) -> GanttChart:
    """Return what all crossbars in use do in one period.

    Args:
        work: the tiles.
        plan: which stay.
        timing: of the plan, with spans.
        chip: crossbars and cores.
        limit: bars that are wanted. Where there are more, writes and reads of one layer in one crossbar are one bar,
            whose busy time is that of the reads.
    """
    lanes: dict[int, list[Bar]] = {crossbar: [] for crossbar in range(plan.rotating)}
    for span in _list_touching(timing):
        if span.crossbar < plan.rotating:
            lanes[span.crossbar] += _clip(_list_bars(span, timing.inputs), timing.period_ps)
    is_joined, size = sum(map(len, lanes.values())) > limit, chip.crossbars_per_core
    rotating = [
        Row(name_crossbars(crossbar, 1), crossbar // size, 1, _sort(_join(lane) if is_joined else lane))
        for crossbar, lane in lanes.items()
    ]
    staying = list(_list_staying(work, plan, timing, size))
    weighted = [(row.crossbars, bar) for row in (*rotating, *staying) for bar in row.bars]
    return GanttChart(
        layers=work.layers,
        items=timing.inputs,
        item="batch",
        unit="tile",
        groups=tuple(_group(rotating, staying, chip)),
        cores=chip.cores,
        total_ps=timing.period_ps,
        crossbars=chip.crossbars,
        reading=_occupy(weighted, is_write=False),
        writing=_occupy(weighted, is_write=True),
        is_periodic=True,
        pause_ps=max((bar.finish_ps - bar.start_ps - bar.busy_ps for _, bar in weighted), default=0) * is_joined,
    )


def _occupy(weighted: Iterable[tuple[int, Bar]], *, is_write: bool) -> Occupancy:
    """Return when crossbars are written, or read; of bars that hold other work too, the share of it counts."""
    return Occupancy.of((b.start_ps, b.finish_ps, count * b.busy) for count, b in weighted if b.is_write is is_write)


def _group(rotating: list[Row], staying: list[Row], chip: Chip) -> Iterator[RowGroup]:
    """Yield the rows of each core, or of some neighbouring crossbars; those that stay stand last, by themselves."""
    has_cores = chip.cores > 1 and chip.crossbars_per_core > 1
    size = chip.crossbars_per_core if has_cores else _NEIGHBOURS
    for first in range(0, len(rotating), size):
        rows = rotating[first : first + size]
        name = f"core {first // size}" if has_cores else f"crossbars {first}\u2013{first + len(rows) - 1}"
        yield _describe_group(name, rows, "are rewritten")
    if staying:
        yield _describe_group("tiles that stay", staying, "hold the same tiles for every input")


def _describe_group(name: str, rows: list[Row], state: str) -> RowGroup:
    count = sum(row.crossbars for row in rows)
    return RowGroup(name, f"{count:,} crossbar{'s' if count > 1 else ''} that {state}", count, tuple(rows))


def _list_touching(timing: ReloadTiming) -> Iterator[TileSpan]:
    """Yield all spans that touch the first of many periods."""
    period = timing.period_ps
    earliest = min((span.write[0] for span in timing.spans if span.write is not None), default=0)
    for span in unroll(timing, 1 + (-(-max(0, -earliest) // period) if period else 0)):
        if (span.read[0] if span.write is None else span.write[0]) < period:
            yield span


def _list_bars(span: TileSpan, inputs: int) -> Iterator[Bar]:
    batch = span.number % inputs
    if span.write is not None and span.write[1] > span.write[0]:
        yield Bar(span.layer, batch, True, *span.write, span.write[1] - span.write[0], 1)
    if span.held_until > span.read[0]:
        start, end = span.read
        yield Bar(span.layer, batch, False, start, span.held_until, end - start, 1)


def _clip(bars: Iterable[Bar], period_ps: int) -> Iterator[Bar]:
    """Yield the parts that lie in the period; only writes cross its ends."""
    for one in bars:
        start, finish = max(0, one.start_ps), min(period_ps, one.finish_ps)
        if finish > start:
            cut = (one.finish_ps - one.start_ps) - (finish - start)
            count = one.count if one.start_ps >= 0 else 0
            yield Bar(one.layer, one.item, one.is_write, start, finish, one.busy_ps - cut, count)


def _sort(bars: Iterable[Bar]) -> tuple[Bar, ...]:
    return tuple(sorted(bars, key=lambda bar: bar.start_ps))


def _join(lane: Iterable[Bar]) -> Iterator[Bar]:
    """Make one bar of all that follows each other on tiles of one layer and batch."""
    joined: list[Bar] = []
    for one in _sort(lane):
        if joined and (joined[-1].layer, joined[-1].item) != (one.layer, one.item):
            yield _merge(joined)
            joined = []
        joined.append(one)
    if joined:
        yield _merge(joined)


def _merge(bars: list[Bar]) -> Bar:
    """Return one bar for writes and reads; its busy time is that of the reads, if there are any."""
    reads = [bar for bar in bars if not bar.is_write]
    counted, first = reads or bars, bars[0]
    busy, finish = sum(bar.busy_ps for bar in counted), max(bar.finish_ps for bar in bars)
    return Bar(
        first.layer, first.item, not reads, first.start_ps, finish, busy, sum(bar.count for bar in counted)
    )  # fmt: skip


def _list_staying(work: NetworkTiles, plan: ReloadPlan, timing: ReloadTiming, size: int) -> Iterator[Row]:
    """Yield a row for each group of tiles that stay."""
    first, lanes = plan.rotating, dict[int, list[Bar]]()
    for span in timing.spans:
        if span.crossbar >= first:
            lanes.setdefault(span.crossbar, []).extend(_list_bars(span, timing.inputs))
    for count, group in zip(plan.staying, work.groups, strict=True):
        if count:
            name = f"{name_crossbars(first, count)}: {work.layers[group.layer]} stays"
            yield Row(name, first // size, count, _sort(lanes.get(first, ())))
        first += count
