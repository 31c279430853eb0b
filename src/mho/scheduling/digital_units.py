"""Layers that the digital units of cores compute while all tiles stay, and what units have to do in all.

A unit is one resource. In simulation (`mho.simulation.chip_machine`) it does the digital work of one window at a time:
products of its layers, and shift-adds of the copies that lie in its core. In the closed forms that searches use, which
know no queues, the lanes of a unit are divided among its layers in proportion to their work: each takes as long for an
input as all of them by turns would. The times of a layer are those of a unit to itself times all work of the unit over
its own, rounded up; shift-adds are not in it, but the time of no plan is below that of its units (`bound_units`).
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
        graph: whatever units its digital layers have.
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
        return replace(layer, unit=unit, window_ps=-(-layer.digital_ps * load // own))

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


def run_alone(graph: WorkGraph) -> WorkGraph:
    """Return a graph whose digital layers have a unit to themselves: no schedule is faster than its bounds."""
    if all(layer.unit is None for layer in graph.layers):
        return graph
    alone = (layer if layer.unit is None else replace(layer, window_ps=layer.digital_ps) for layer in graph.layers)
    return WorkGraph(graph.name, tuple(alone))


def bound_units(graph: WorkGraph, cores: int) -> int:
    """Return what an input takes of the digital units at least: the work of all over their number, ps, rounded up."""
    return -(-sum(layer.windows * layer.digital_ps for layer in graph.layers) // cores)


def _count_ps(layer: LayerWork) -> int:
    """Return the work of a digital layer for one input, ps."""
    return layer.windows * layer.digital_ps + layer.write_ps
