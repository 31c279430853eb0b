"""The Gantt chart of a simulated schedule: a row for each copy of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from mho.errors import ScheduleError
from mho.formats import plural
from mho.mapping.layer_mapping import describe_mapping
from mho.scheduling.gantt import Bar, GanttChart, Occupancy, Row, RowGroup, name_crossbars
from mho.scheduling.placement import ChipPlan, CopyPlace
from mho.scheduling.work_graph import LayerWork, WorkGraph
from mho.simulation.chip_timing import ChipTiming, Span

_Chain = tuple[str, int, int, bool]
"""A layer, a copy, an input, and whether it is written."""


def draw_simulation(graph: WorkGraph, plan: ChipPlan, timing: ChipTiming, limit: int) -> GanttChart:
    """Return what all copies did.

    Args:
        graph: the layers.
        plan: where their copies lie.
        timing: the simulation.
        limit: bars that are wanted, see `merge_spans`.

    Raises:
        ScheduleError: the simulation was run without spans.
    """
    if not timing.spans:
        raise ScheduleError("was simulated without spans", where=graph.name, hint="simulate it with spans")
    names = [layer.name for layer in graph.layers]
    bars = merge_spans(timing.spans, {name: number for number, name in enumerate(names)}, limit)
    crossbars = {layer.name: layer.crossbars for layer in graph.layers}
    reading, writing = (
        Occupancy.of(
            (span.start_ps, span.finish_ps, crossbars[span.layer]) for span in timing.spans if span.is_write is is_write
        )
        for is_write in (False, True)
    )
    is_merged = sum(map(len, bars.values())) < len(timing.spans)
    pauses = (bar.finish_ps - bar.start_ps - bar.busy_ps for row in bars.values() for bar in row)
    return GanttChart(
        layers=tuple(names),
        items=len(timing.finish_ps),
        item="input",
        unit="window",
        groups=tuple(
            RowGroup(
                layer.name,
                _describe_layer(layer, len(places)),
                len(places),
                tuple(_draw_copy(place, bars.get((place.layer, place.number), ())) for place in places),
            )
            for layer in graph.layers
            for places in (plan.places[layer.name],)
        ),
        cores=plan.chip.cores,
        total_ps=timing.total_ps,
        crossbars=max(1, plan.used_crossbars),
        reading=reading,
        writing=writing,
        is_periodic=False,
        pause_ps=max(pauses, default=0) if is_merged else 0,
    )


def _describe_layer(layer: LayerWork, copies: int) -> str:
    words = f"{plural(copies, 'copy', 'copies')} of {plural(layer.crossbars, 'crossbar')}"
    mapping = layer.known_mapping
    return words if mapping is None else f"{mapping.bits} bits, {describe_mapping(mapping)}; {words}"


def _draw_copy(place: CopyPlace, bars: Sequence[Bar]) -> Row:
    where = f" ({name_crossbars(place.crossbars[0], len(place.crossbars))})" if place.crossbars else ""
    return Row(
        f"{place.layer}, copy {place.number}{where}",
        place.home,
        len(place.crossbars),
        tuple(sorted(bars, key=lambda bar: bar.start_ps)),
    )


def merge_spans(spans: Sequence[Span], layers: Mapping[str, int], limit: int) -> dict[tuple[str, int], list[Bar]]:
    """Join spans of the same copy and input across the shortest pauses, until about `limit` bars are left.

    Args:
        spans: those of each copy in order of time.
        layers: number of each layer.
        limit: bars that are wanted; there are more where there are more inputs times copies.

    Returns:
        The bars of each copy of each layer. Writes are joined with no reads.
    """
    chains: dict[_Chain, list[Span]] = {}
    for span in spans:
        chains.setdefault((span.layer, span.copy, span.index, span.is_write), []).append(span)
    longest, found = _find_pause(chains, len(spans) - limit), dict[tuple[str, int], list[Bar]]()
    for (layer, copy, *_), chain in chains.items():
        row, joined = found.setdefault((layer, copy), []), chain[:1]
        for span in chain[1:]:
            if span.start_ps - joined[-1].finish_ps > longest:
                row.append(_join(joined, layers[layer]))
                joined = []
            joined.append(span)
        row.append(_join(joined, layers[layer]))
    return found


def _find_pause(chains: Mapping[_Chain, Sequence[Span]], surplus: int) -> int:
    """Return the longest pause that is joined over so that there are `surplus` bars fewer, ps; -1 for none."""
    if surplus <= 0:
        return -1
    pauses = [later.start_ps - earlier.finish_ps for chain in chains.values() for earlier, later in pairwise(chain)]
    return sorted(pauses)[min(surplus, len(pauses)) - 1] if pauses else -1


def _join(spans: Sequence[Span], layer: int) -> Bar:
    first, last = spans[0], spans[-1]
    busy = sum(span.finish_ps - span.start_ps for span in spans)
    windows = sum(span.windows for span in spans)
    return Bar(layer, first.index, first.is_write, first.start_ps, last.finish_ps, busy, windows)
