"""How many copies of each layer a chip holds: exact where that can be solved, a search where not.

- The interval between inputs is that of the slowest layer: the least that fits is found by bisection, exactly.
- Layer by layer, the latency of one input is a sum over layers: dynamic programming over crossbars, exactly.
- Cross-layer, the latency of one input has no such form: `copy_search` improves what the interval suggests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mho.errors import ScheduleError
from mho.scheduling.asap import check_copies, find_interval_ps, time_asap, time_layer_by_layer
from mho.scheduling.copy_search import CopySearch
from mho.scheduling.critical_path import PathPool
from mho.scheduling.exact_search import deal_out, find_least
from mho.scheduling.work_graph import LayerWork, WorkGraph

_RELAXED = (1.0, 1.01, 1.03, 1.08, 1.2)
"""Multiples of the least interval whose copies start the search: crossbars that are left over shorten the filling."""


class Objective(StrEnum):
    """What copies are chosen for."""

    LATENCY = "latency"
    """The latency of one input, layers overlapping (cross-layer)."""

    LAYER_BY_LAYER = "layer-by-layer"
    """The latency of one input, one layer after the other."""

    INTERVAL = "interval"
    """The time between inputs of a full pipeline (throughput), layers overlapping."""


@dataclass(frozen=True)
class Duplication:
    """A choice of copies.

    Attributes:
        objective: what it was chosen for.
        copies: of each layer, in execution order.
        crossbars: that all copies take.
        value_ps: what the objective is about, ps.
        is_optimal: True where no other choice of copies is better.
    """

    objective: Objective
    copies: Mapping[str, int]
    crossbars: int
    value_ps: int
    is_optimal: bool


def choose_copies(
    graph: WorkGraph, crossbars: int, objective: Objective, *, known: Iterable[Mapping[str, int]] = ()
) -> Duplication:
    """Choose copies for a chip. Deterministic.

    Args:
        graph: the layers.
        crossbars: of the chip.
        objective: what to minimize.
        known: copies that were chosen before, for other chips or by hand; where they fit, the result is not worse.
            Only the cross-layer latency needs them.

    Raises:
        ScheduleError: the chip does not hold each layer once.
    """
    check_crossbars(graph, crossbars)
    if objective is Objective.INTERVAL:
        copies = find_interval_copies(graph, crossbars)
    elif objective is Objective.LAYER_BY_LAYER:
        copies = _find_layer_by_layer_copies(graph, crossbars)
    else:
        copies = _search_latency_copies(graph, crossbars, known)
    return _describe(graph, copies, objective)


def copy_slowest_first(graph: WorkGraph, crossbars: int) -> dict[str, int]:
    """Copy the layer that takes longest, again and again until its next copy does not fit: the published greedy.

    (As in ISAAC and CLSA-CIM. For comparison.)

    Raises:
        ScheduleError: the chip does not hold each layer once.
    """
    check_crossbars(graph, crossbars)
    copies = {layer.name: 1 for layer in graph.layers}
    free = crossbars - graph.minimal_crossbars
    while True:
        slowest = max(graph.layers, key=lambda layer: layer.work_ps / copies[layer.name])
        if not 0 < slowest.crossbars <= free or copies[slowest.name] >= slowest.windows:
            return copies
        copies[slowest.name] += 1
        free -= slowest.crossbars


def check_crossbars(graph: WorkGraph, crossbars: int) -> None:
    """Check that a chip holds each layer once.

    Raises:
        ScheduleError: it does not.
    """
    if crossbars < graph.minimal_crossbars:
        raise ScheduleError(
            f"{crossbars} crossbars do not hold each layer once",
            where=graph.name,
            expected=f"{graph.minimal_crossbars} or more",
            hint="more crossbars, fewer bits, or weights that are reloaded",
        )


def find_interval_copies(graph: WorkGraph, crossbars: int, *, relaxed: float = 1.0) -> dict[str, int]:
    """Return the fewest copies that reach the least interval that fits, or `relaxed` times as long an interval."""

    def fits(interval_ps: int) -> bool:
        needed = _list_interval_copies(graph, interval_ps)
        return needed is not None and _count_crossbars(graph, needed) <= crossbars

    least = find_least(1, max(1, find_interval_ps(graph, {layer.name: 1 for layer in graph.layers})), fits)
    copies = _list_interval_copies(graph, int(least * relaxed))
    assert copies is not None
    return copies


def _list_interval_copies(graph: WorkGraph, interval_ps: int) -> dict[str, int] | None:
    """Return the fewest copies that reach an interval; None where a layer without crossbars cannot."""
    copies = {layer.name: count_interval_copies(layer, interval_ps) for layer in graph.layers}
    return None if any(not layer.crossbars and copies[layer.name] > 1 for layer in graph.layers) else copies


def count_interval_copies(layer: LayerWork, interval_ps: int) -> int:
    """Return the fewest copies with which a layer takes an input every `interval_ps` (1 or more)."""
    if interval_ps > layer.write_ps:
        copies = -(-layer.work_ps // (interval_ps - layer.write_ps))
        if copies <= layer.windows:
            return max(1, copies)
    return -(-layer.windows * (layer.window_ps + layer.write_ps) // interval_ps)


def _find_layer_by_layer_copies(graph: WorkGraph, crossbars: int) -> dict[str, int]:
    """Minimize the sum of layers' times: the best for each number of further crossbars, layer after layer."""
    most = sum(layer.crossbars * (layer.windows - 1) for layer in graph.layers)
    spare = min(crossbars - graph.minimal_crossbars, most)
    numbers = [list_useful_copies(layer, spare) for layer in graph.layers]
    choices = [
        [(layer.crossbars * (number - 1), -(-layer.windows // number) * layer.window_ps) for number in listed]
        for layer, listed in zip(graph.layers, numbers, strict=True)
    ]
    dealt = zip(graph.layers, numbers, deal_out(choices, spare), strict=True)
    return {layer.name: listed[place] for layer, listed, place in dealt}


def list_useful_copies(layer: LayerWork, spare: int) -> list[int]:
    """List the numbers of copies, ascending, that take fewer turns than any smaller number."""
    most = min(layer.windows, 1 + spare // layer.crossbars) if layer.crossbars else 1
    numbers, number = [], 1
    while number <= most:
        numbers.append(number)
        turns = -(-layer.windows // number)
        number = most + 1 if turns == 1 else -(-layer.windows // (turns - 1))
    return numbers


def _search_latency_copies(graph: WorkGraph, crossbars: int, known: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Search from the copies of the least and of longer intervals, from the relaxation, and from what is known."""
    pool = PathPool(graph)
    search = CopySearch(pool, crossbars)
    starts = [find_interval_copies(graph, crossbars, relaxed=relaxed) for relaxed in _RELAXED]
    starts.append(copy_slowest_first(graph, crossbars))
    for copies in known:
        check_copies(graph, copies)
        if _count_crossbars(graph, copies) <= crossbars:
            starts.append(dict(copies))
    best = search.run([np.array([start[name] for name in pool.names], np.int64) for start in starts])
    return dict(zip(pool.names, map(int, best), strict=True))


def _describe(graph: WorkGraph, copies: Mapping[str, int], objective: Objective) -> Duplication:
    value = {
        Objective.LATENCY: lambda: time_asap(graph, copies).makespan_ps,
        Objective.LAYER_BY_LAYER: lambda: time_layer_by_layer(graph, copies).makespan_ps,
        Objective.INTERVAL: lambda: find_interval_ps(graph, copies),
    }[objective]()
    return Duplication(
        objective, dict(copies), _count_crossbars(graph, copies), value, objective is not Objective.LATENCY
    )


def _count_crossbars(graph: WorkGraph, copies: Mapping[str, int]) -> int:
    return sum(layer.crossbars * copies[layer.name] for layer in graph.layers)
