"""Which resource of a plan limits the time between inputs: the copies of a layer, or a link between cores.

An input takes each resource for some time. Whatever the order of work, a full pipeline takes no input in less than the
longest of these times, mean over inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

from mho.hardware.spec import Accelerator
from mho.scheduling.asap import count_busy_ps
from mho.scheduling.placement import ChipPlan, list_gathered
from mho.scheduling.routes import Routes
from mho.scheduling.work_graph import WorkGraph


@dataclass(frozen=True)
class Bottleneck:
    """The resource of a plan that one input takes longest.

    Attributes:
        resource: in words: "copies of conv1", "digital unit of core 0", "link from core 3 to core 4", "bus".
        busy_ps: for how long, mean over inputs, ps, rounded up: a lower bound of the time between inputs.
    """

    resource: str
    busy_ps: int


def find_bottleneck(graph: WorkGraph, plan: ChipPlan, accelerator: Accelerator) -> Bottleneck:
    """Find the resource of a plan that limits the time between inputs. Of equals the first layer is taken.

    Args:
        graph: the layers.
        plan: where their copies lie.
        accelerator: its interconnect; buffers limit nothing here.
    """
    copies = plan.copies
    found = [
        Bottleneck(f"copies of {layer.name}", -(-count_busy_ps(layer, copies[layer.name]) // copies[layer.name]))
        for layer in graph.layers
        if layer.unit is None
    ]
    units = count_unit_loads(graph, plan)
    found += [Bottleneck(f"digital unit of core {core}", load) for core, load in units.items() if load]
    if not accelerator.interconnect.is_ideal:
        routes = Routes(accelerator.interconnect, plan.chip)
        loads = count_link_loads(graph, plan, routes)
        busiest = int(loads.argmax())
        found.append(Bottleneck(routes.describe(busiest), round(loads[busiest])))
    return max(found, key=lambda one: one.busy_ps)


def count_unit_loads(graph: WorkGraph, plan: ChipPlan) -> dict[int, int]:
    """Return for how long an input takes the digital unit of each core that has work, mean over inputs, ps, rounded up.

    Copies do their digital work at home, and take equally many windows.
    """
    loads: dict[int, Fraction] = {}
    for layer in graph.layers:
        places = plan.places[layer.name]
        for place in places:
            own = Fraction(layer.windows * layer.digital_ps, len(places))
            loads[place.home] = loads.get(place.home, Fraction(0)) + own
    return {core: ceil(load) for core, load in sorted(loads.items())}


def bound_transfers(graph: WorkGraph, plan: ChipPlan, accelerator: Accelerator) -> int:
    """Return for how long the first input holds the link that it holds longest, ps: its latency is no less."""
    if accelerator.interconnect.is_ideal:
        return 0
    routes = Routes(accelerator.interconnect, plan.chip)
    return int(count_link_loads(graph, plan, routes, is_first=True).max(initial=0.0))


def count_link_loads(
    graph: WorkGraph, plan: ChipPlan, routes: Routes, *, is_first: bool = False
) -> NDArray[np.float64]:
    """Return float64 [links]: for how long one input holds each link, ps: mean over inputs, or the first of them.

    Copies take windows in turn from input to input: window w of input i is that of copy (i windows + w) mod copies. So
    a copy takes, over all inputs alike often, the windows that leave its remainder by gcd(windows, copies).
    """
    held: dict[tuple[int, tuple[int, ...]], float] = {}
    for source, targets, time_ps in _list_transfers(graph, plan, routes, is_first):
        held[source, targets] = held.get((source, targets), 0.0) + time_ps
    loads = np.zeros(routes.links)
    for targets, transfers in groupby(held.items(), key=lambda item: item[0][1]):
        sources, times = zip(*((source, time_ps) for (source, _), time_ps in transfers), strict=True)
        ways = routes.find(sources, targets)
        np.add.at(loads, ways.links, np.repeat(times, ways.counts))
    return loads


def _list_transfers(
    graph: WorkGraph, plan: ChipPlan, routes: Routes, is_first: bool
) -> Iterator[tuple[int, tuple[int, ...], float]]:
    """Yield what one copy sends: from which core, to which cores, and for how long one input holds links, ps."""
    for layer in graph.layers:
        places = plan.places[layer.name]
        for place in places:
            own = len(range(place.number, layer.windows, len(places))) if is_first else layer.windows / len(places)
            for core, size in list_gathered(layer, place, routes.chip.crossbars_per_core):
                if size:
                    yield core, (place.home,), routes.hold_ps(size) * own
        cores = tuple(dict.fromkeys(core for place in places for core in place.cores))
        for producer, _, sizes in layer.list_received():
            held = routes.held_ps(sizes)
            senders = plan.places[producer]
            period = len(senders) if is_first else gcd(len(held), len(senders))
            remainders = np.arange(len(held)) % period
            of_remainder = np.bincount(remainders, weights=held, minlength=period) * (period / len(senders))
            for sender in senders:
                yield sender.home, cores, float(of_remainder[sender.number % period])
