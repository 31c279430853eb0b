"""Layers that the digital units of cores compute while all tiles stay: which unit computes which, and how fast.

A unit is one resource: its lanes are divided among its layers once and for all, in proportion to their work. So layers
of one unit never wait for each other, each takes as long for an input as all of them by turns would, and a full
pipeline keeps the whole unit busy. The times of a layer are those of a unit to itself times all work of the unit over
its own, rounded up. What shift-adds of crossbars take is charged to their windows (`mho.scheduling.options`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mho.errors import ScheduleError
from mho.scheduling.work_graph import LayerWork, WorkGraph

_DIVISIONS = 5
"""Divisions of layers between crossbars and digital units beside the one with the fewest digital layers, at most."""


def assign_units(graph: WorkGraph, cores: int) -> dict[str, int]:
    """Return the core whose unit computes each digital layer: the one with the least work, longest layers first."""
    loads, units = [0] * cores, {}
    for layer in sorted((one for one in graph.layers if one.unit is not None), key=lambda one: -_count_ps(one)):
        units[layer.name] = loads.index(min(loads))
        loads[units[layer.name]] += _count_ps(layer)
    return units


def share_units(graph: WorkGraph, units: Mapping[str, int]) -> WorkGraph:
    """Return a graph whose digital layers share their units.

    Args:
        graph: with the times of units to themselves.
        units: core of each digital layer, by name.

    Raises:
        ScheduleError: other layers than the digital ones have units.
    """
    digital = {layer.name: layer for layer in graph.layers if layer.unit is not None}
    if digital.keys() != units.keys():
        names = ", ".join(digital) or "no layer"
        raise ScheduleError("units for other layers than the digital ones", where=graph.name, expected=names)
    if not digital:
        return graph
    loads = dict.fromkeys(units.values(), 0)
    for name, layer in digital.items():
        loads[units[name]] += _count_ps(layer)

    def share(layer: LayerWork) -> LayerWork:
        if layer.unit is None:
            return layer
        unit = units[layer.name]
        load, own = loads[unit], max(1, _count_ps(layer))
        window_ps, write_ps = (-(-time_ps * load // own) for time_ps in (layer.window_ps, layer.write_ps))
        return replace(layer, unit=unit, window_ps=window_ps, write_ps=write_ps)

    return WorkGraph(graph.name, tuple(map(share, graph.layers)))


def divide_units(graph: WorkGraph, cores: int) -> WorkGraph:
    """Return a graph whose digital layers share the units of so many cores, see `assign_units`."""
    return share_units(graph, assign_units(graph, cores))


def list_divisions(options: Sequence[Sequence[LayerWork]]) -> list[tuple[bool, ...]]:
    """Return ways to divide layers between crossbars and digital units: True for a digital one.

    Layers move to the units one after the other, those first that take the most crossbars times time for the least time
    of a unit: no layer, some, and all that may. Of many only some are listed.

    Args:
        options: of each layer, the work of each option; a digital one is the first.
    """
    forced = tuple(all(work.unit is not None for work in works) for works in options)
    gains = {
        number: min(work.crossbars * _count_ps(work) for work in works[1:]) / max(1, _count_ps(works[0]))
        for number, works in enumerate(options)
        if works[0].unit is not None and not forced[number]
    }
    order = sorted(gains, key=lambda number: -gains[number])
    counts = dict.fromkeys(len(order) * step // _DIVISIONS for step in range(_DIVISIONS + 1))
    return [tuple(is_forced or number in order[:count] for number, is_forced in enumerate(forced)) for count in counts]


def _count_ps(layer: LayerWork) -> int:
    return layer.work_ps + layer.write_ps
