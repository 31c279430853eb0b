"""Which option of each layer lies on a chip, together with how many copies it has.

A layer that is to be faster may get more copies, or an option whose one copy takes more crossbars and less time.

- The interval between inputs, and the latency layer by layer, depend on each layer's crossbars and time alone: the best
  options and copies are found together, exactly.
- The latency of layers that overlap also depends on how long windows last and on what they wait for. A local search
  starts from options that give the least interval with windows of a limited time (the best of these, and those of the
  fewest crossbars), and changes one layer's option at a time, at equal crossbars, as long as that helps.

Which layers the digital units compute, where they may, is chosen around all of that: see `list_divisions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mho.errors import ScheduleError
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import LayerMapping
from mho.network.graph import Network
from mho.pareto import pareto_front
from mho.scheduling.asap import time_asap
from mho.scheduling.chip_layer import ChipLayer
from mho.scheduling.copy_search import CopySearch
from mho.scheduling.critical_path import PathPool
from mho.scheduling.dependencies import DependencyTable
from mho.scheduling.digital_units import bound_units, divide_units, list_divisions
from mho.scheduling.duplication import (
    Duplication,
    Objective,
    choose_copies,
    count_interval_copies,
    find_interval_copies,
    list_useful_copies,
)
from mho.scheduling.exact_search import deal_out, find_least, list_undominated
from mho.scheduling.work_graph import LayerWork, WorkGraph

_WINDOW_TIMES = 6
"""Limits of the time of a window that the search starts from."""
_RELAXED = (1.0, 1.05)
"""Multiples of the least interval whose copies evaluate a start: what they leave shortens the filling."""
_IMPROVED = 3
"""Starts, the best, that are improved beside the one of the fewest crossbars."""
_ROUNDS = 4
"""Rounds over all layers before the local search ends."""
_DIVISIONS = 2
"""Divisions of layers between crossbars and digital units, the best of a quick search, that are searched thoroughly."""


@dataclass(frozen=True, eq=False)
class ChosenOptions:
    """Options and copies.

    Attributes:
        graph: the network with one option of each layer.
        duplication: copies of each layer.
    """

    graph: WorkGraph
    duplication: Duplication


class OptionSearch:
    """Chooses options and copies of the same layers for chips of several sizes.

    Args:
        network: float or quantized.
        options: of each layer on the chip, one or more, ascending in crossbars: see `list_network_options`.
        accelerator: what they are made for.
    """

    def __init__(
        self, network: Network, options: Mapping[str, Sequence[LayerMapping]], accelerator: Accelerator
    ) -> None:
        self._network, self._cores = network, accelerator.chip.cores
        self._layers = tuple(_Layer.of(name, listed, accelerator) for name, listed in options.items())
        self._needs = DependencyTable(network, [layer.name for layer in self._layers])
        self._divisions = [
            tuple(layer.divide(is_digital) for layer, is_digital in zip(self._layers, division, strict=True))
            for division in list_divisions([layer.works for layer in self._layers])
        ]

    def choose(self, crossbars: int, objective: Objective, *, is_quick: bool = False) -> ChosenOptions:
        """Choose for one size. Deterministic.

        Args:
            crossbars: that may be taken.
            objective: what to minimize.
            is_quick: improve only the most promising start of the latency, in a tenth of the time.

        Raises:
            ScheduleError: the crossbars do not hold each layer once; states demand, limit and levers.
        """
        _check_crossbars(self._network.name, self._layers, crossbars)
        divisions = [layers for layers in self._divisions if _count_fewest(layers) <= crossbars]
        if len(divisions) > 1 and objective is Objective.LATENCY and not is_quick:
            divisions.sort(key=lambda layers: self._weigh(self._choose(layers, crossbars, objective, True)))
            divisions = divisions[:_DIVISIONS]
        found = [self._choose(layers, crossbars, objective, is_quick) for layers in divisions]
        return min(found, key=self._weigh)

    def _weigh(self, chosen: ChosenOptions) -> int:
        """Return what divisions are compared by: the objective, and no less than digital units have to do."""
        return max(chosen.duplication.value_ps, bound_units(chosen.graph, self._cores))

    def _choose(self, layers: Sequence[_Layer], crossbars: int, objective: Objective, is_quick: bool) -> ChosenOptions:
        """Choose for layers each of which lies in crossbars, or is digital."""
        search = _Search(self._needs, layers, crossbars, self._cores)
        has_choice = any(len(layer.options) > 1 for layer in layers)
        if objective is Objective.LATENCY and is_quick:
            return search.find_latency_quickly()
        if objective is Objective.LATENCY and has_choice:
            return search.find_latency()
        numbers = [0] * len(layers)
        if has_choice and objective is Objective.INTERVAL:
            found = _find_interval_options(layers, crossbars)
            assert found is not None, "each layer fits once"
            numbers = found
        elif has_choice:
            numbers = _find_layer_by_layer_options(layers, crossbars)
        graph = search.build(numbers)
        return ChosenOptions(graph, choose_copies(graph, crossbars, objective))

    def bound(self, crossbars: int) -> int:
        """Return a time that latency and interval of no plan on so many crossbars are below, ps.

        It is the least interval with an ideal interconnect: in the latency of one input, each layer works as long.
        """
        return self._weigh(self.choose(crossbars, Objective.INTERVAL))


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer and its options; what each takes is held as the work of a layer that needs nothing.

    Attributes:
        name: of the layer.
        options: ascending in crossbars.
        works: what they take, alike.
        promising: numbers of the options that no other beats in crossbars, in crossbars times work, in the time of a
            window and in its height at once.
    """

    name: str
    options: tuple[ChipLayer, ...]
    works: tuple[LayerWork, ...]
    promising: tuple[int, ...]

    @classmethod
    def of(cls, name: str, options: Sequence[LayerMapping], accelerator: Accelerator) -> _Layer:
        return cls.made(name, tuple(ChipLayer.of(mapping, accelerator) for mapping in options))

    def divide(self, is_digital: bool) -> _Layer:
        """Return the layer with the options of the digital unit, or those in crossbars, alone."""
        own = tuple(option for option in self.options if option.is_digital is is_digital)
        return self if len(own) == len(self.options) else _Layer.made(self.name, own)

    @classmethod
    def made(cls, name: str, chip_layers: tuple[ChipLayer, ...]) -> _Layer:
        """Return a layer with some options."""
        works = tuple(layer.work(name) for layer in chip_layers)
        criteria = [
            (work.crossbars, work.crossbars * work.work_ps, work.window_ps, layer.window[0])
            for layer, work in zip(chip_layers, works, strict=True)
        ]
        promising = tuple(number for number, is_best in enumerate(list_undominated(criteria)) if is_best)
        return cls(name, chip_layers, works, promising)


def _count_fewest(layers: Sequence[_Layer]) -> int:
    return sum(layer.works[0].crossbars for layer in layers)


def _check_crossbars(network: str, layers: Sequence[_Layer], crossbars: int) -> None:
    least = {layer.name: layer.works[0].crossbars for layer in layers}
    demand = _count_fewest(layers)
    if crossbars >= demand:
        return
    largest = sorted(least, key=lambda name: -least[name])[:3]
    most = ", ".join(f"{name} {least[name]:,}" for name in largest)
    raise ScheduleError(
        f"the layers take {demand:,} crossbars with one copy each, and the chip has {crossbars:,}",
        where=network,
        expected=f"{demand:,} crossbars or more (most of them: {most})",
        hint="set chip.crossbars or --crossbars higher; cells of more bits and weights of fewer bits take fewer; "
        "mho.schedule and mho schedule rewrite tiles for every input",
    )


def _find_interval_options(
    layers: Sequence[_Layer], crossbars: int, allowed: Sequence[Sequence[int]] | None = None
) -> list[int] | None:
    """Return the option of each layer with which the interval is least; None where the allowed ones do not fit.

    Args:
        layers: with their options.
        crossbars: of the chip.
        allowed: numbers of the options of each layer that may be taken; all without it.
    """
    allowed = allowed or [range(len(layer.options)) for layer in layers]

    def cheapest(interval_ps: int) -> list[tuple[int, int, int]]:
        """Return for each layer crossbars, the time of a window and the number of its cheapest option."""
        return [
            min(
                (work.crossbars * count_interval_copies(work, interval_ps), work.window_ps, number)
                for number in numbers
                for work in (layer.works[number],)
            )
            for layer, numbers in zip(layers, allowed, strict=True)
        ]

    high = max(layer.works[number].work_ps + layer.works[number].write_ps
               for layer, numbers in zip(layers, allowed, strict=True) for number in numbers)  # fmt: skip
    if sum(cost for cost, _, _ in cheapest(max(1, high))) > crossbars:
        return None
    least = find_least(1, max(1, high), lambda time_ps: sum(cost for cost, _, _ in cheapest(time_ps)) <= crossbars)
    return [number for _, _, number in cheapest(least)]


def _find_layer_by_layer_options(layers: Sequence[_Layer], crossbars: int) -> list[int]:
    """Return the option of each layer with which the sum of their times is least: crossbars are dealt out exactly."""
    spare = crossbars - sum(layer.works[0].crossbars for layer in layers)
    choices = [_list_times(layer, spare) for layer in layers]
    places = deal_out([[choice[:2] for choice in listed] for listed in choices], spare)
    return [listed[place][2] for listed, place in zip(choices, places, strict=True)]


def _list_times(layer: _Layer, spare: int) -> list[tuple[int, int, int]]:
    """List what no other choice beats: crossbars beyond the fewest, time alone (ps), number of the option."""
    fewest, found = layer.works[0].crossbars, []
    for number, work in enumerate(layer.works):
        if work.crossbars <= fewest + spare:
            for copies in list_useful_copies(work, fewest + spare - work.crossbars):
                time_ps = work.write_ps + -(-work.windows // copies) * work.window_ps
                found.append((work.crossbars * copies - fewest, time_ps, number))
    costs, times, numbers = zip(*found, strict=True)
    return [found[place] for place in pareto_front(costs, times, numbers)]


@dataclass
class _Point:
    """Where the local search stands: number of each layer's option, copies, and the latency that they give, ps."""

    options: list[int]
    graph: WorkGraph
    copies: dict[str, int]
    latency_ps: int


class _Search:
    """Searches options and copies for the least latency of one input, layers overlapping."""

    def __init__(self, needs: DependencyTable, layers: Sequence[_Layer], crossbars: int, cores: int) -> None:
        self._needs, self._layers, self._crossbars, self._cores = needs, layers, crossbars, cores

    def build(self, options: Sequence[int]) -> WorkGraph:
        """Return the graph with the numbered options."""
        chosen = {layer.name: layer.options[number] for layer, number in zip(self._layers, options, strict=True)}
        return divide_units(self._needs.graph(chosen), self._cores)

    def find_latency(self) -> ChosenOptions:
        """Search from the most promising starts, and from the fewest crossbars a copy."""
        fewest, *others = map(self._evaluate, self._list_starts())
        simple = self._finish(fewest)
        copies = dict(simple.duplication.copies)
        starts = sorted(others, key=lambda point: point.latency_ps)[:_IMPROVED]
        alike = _Point(fewest.options, simple.graph, copies, simple.duplication.value_ps)
        found = [self._finish(self._improve(start)) for start in (*starts, fewest, alike)]
        return min(*found, simple, key=lambda chosen: chosen.duplication.value_ps)

    def find_latency_quickly(self) -> ChosenOptions:
        """Improve the most promising start alone."""
        best = self._improve(min(map(self._evaluate, self._list_starts()), key=lambda point: point.latency_ps))
        taken = sum(work.crossbars * best.copies[work.name] for work in best.graph.layers)
        return ChosenOptions(
            best.graph, Duplication(Objective.LATENCY, best.copies, taken, best.latency_ps, is_optimal=False)
        )

    def _finish(self, point: _Point) -> ChosenOptions:
        """Choose copies once more, from all starts, for the options of a point."""
        duplication = choose_copies(point.graph, self._crossbars, Objective.LATENCY, known=[point.copies])
        return ChosenOptions(point.graph, duplication)

    def _list_starts(self) -> Iterator[list[int]]:
        """Yield options: those of the fewest crossbars, and the fastest whose windows are of limited times."""
        yield [0] * len(self._layers)
        promising = [layer.works[number].window_ps for layer in self._layers for number in layer.promising]
        times = sorted(set(promising))
        seen: set[tuple[int, ...]] = set()
        for limit in times[:: -(-len(times) // _WINDOW_TIMES)] + times[-1:]:
            allowed = [_limit(layer, limit) for layer in self._layers]
            options = _find_interval_options(self._layers, self._crossbars, allowed)
            if options is not None and tuple(options) not in seen:
                seen.add(tuple(options))
                yield options

    def _evaluate(self, options: list[int]) -> _Point:
        """Give options the copies of short intervals, the best of them."""
        graph = self.build(options)
        points = []
        for relaxed in _RELAXED:
            copies = find_interval_copies(graph, self._crossbars, relaxed=relaxed)
            points.append(_Point(options, graph, copies, time_asap(graph, copies).makespan_ps))
        return min(points, key=lambda point: point.latency_ps)

    def _improve(self, point: _Point) -> _Point:
        """Change options, one at a time, and copies in turn."""
        point = self._improve_copies(point)
        for _ in range(_ROUNDS):
            before = point.latency_ps
            for place in range(len(self._layers)):
                point = self._change_one(point, place)
            point = self._improve_copies(point)
            if point.latency_ps == before:
                break
        return point

    def _improve_copies(self, point: _Point) -> _Point:
        pool = PathPool(point.graph)
        copies = np.array([point.copies[name] for name in pool.names], np.int64)
        improved = CopySearch(pool, self._crossbars).improve(copies)
        named = dict(zip(pool.names, map(int, improved), strict=True))
        return _Point(point.options, point.graph, named, pool.probe(improved))

    def _change_one(self, point: _Point, place: int) -> _Point:
        """Return the point with the best option of one layer, on the crossbars that its copies and nobody take."""
        layer = self._layers[place]
        taken = {work.name: work.crossbars * point.copies[work.name] for work in point.graph.layers}
        room = self._crossbars - sum(taken.values()) + taken[layer.name]
        best = point
        for number in layer.promising:
            work = layer.works[number]
            if number == point.options[place] or work.crossbars > room:
                continue
            options = [*point.options[:place], number, *point.options[place + 1 :]]
            copies = point.copies | {layer.name: min(work.windows, room // max(1, work.crossbars))}
            graph = self.build(options)
            latency = time_asap(graph, copies).makespan_ps
            if latency < best.latency_ps:
                best = _Point(options, graph, copies, latency)
        return best


def _limit(layer: _Layer, window_ps: int) -> list[int]:
    """Return the promising options whose windows take at most so long; where there are none, the shortest."""
    least = min(layer.works[number].window_ps for number in layer.promising)
    return [number for number in layer.promising if layer.works[number].window_ps <= max(least, window_ps)]
