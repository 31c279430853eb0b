"""When a plan works where codes and sums are carried over a bus or a mesh: no events, a few passes of vectors.

A pass times all windows like `mho.scheduling.asap`, each transfer taking as long as in the pass before; then every link
that is busy enough serves what passes it, first come first served, all at once: with transfers in the order in which
they set out, starts are running maxima. What a transfer waits at its worst link is added to its flight, and the next
pass begins. Links that are little used are taken as free, buffers as unlimited.

The time between inputs is that of the plan's bottleneck (`mho.scheduling.bottleneck`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mho.scheduling.asap import find_interval_ps, space_starts
from mho.scheduling.bottleneck import count_link_loads
from mho.scheduling.placement import ChipPlan, CopyPlace, list_gathered
from mho.scheduling.routes import Routes, Ways
from mho.scheduling.work_graph import Integers, LayerWork, WorkGraph

_PASSES = 6
"""Times that windows are timed at most."""
_SETTLED = 0.002
"""Change of the latency from pass to pass, as a share of it, below which no further pass is made."""
_MOST_WAITING = 1.1
"""Latency over that without any waiting up to which times hold: waits that feed on each other are beyond them."""
_MOST_LOAD = 0.8
"""Share of the interval between inputs for which a link may be held: above it queues grow over inputs."""
_BUSY = 0.05
"""Share of the latency for which a link must be held by one input before transfers are taken to wait for it."""
_MOST_LINKS = 48
"""Links, the busiest, that transfers wait for."""


@dataclass(frozen=True)
class TransferTiming:
    """What a plan takes with its interconnect.

    Attributes:
        latency_ps: of one input.
        interval_ps: between inputs of a full pipeline.
        byte_hops: bytes times links that they take, for one input.
        is_free: True where no link is held for most of the interval, transfers wait little, and input buffers have room
            for what windows need at once: then the times hold. Otherwise they are rough.
    """

    latency_ps: int
    interval_ps: int
    byte_hops: int
    is_free: bool


@dataclass(eq=False)
class _Flow:
    """Transfers of one layer: one for some of its windows.

    Attributes:
        windows: int64 [transfers], of the layer, ascending.
        held_ps: int64 [transfers], for how long each holds a link.
        fly_ps: int64 [transfers], how long each takes where nothing is in its way.
        place: int64 [transfers], number of the way of each.
        ways: that they take, and others.
        wait_ps: int64 [transfers], how long each waits, as far as is known.
    """

    windows: Integers
    held_ps: Integers
    fly_ps: Integers
    place: Integers
    ways: Ways
    wait_ps: Integers


@dataclass(eq=False)
class _Layer:
    """One layer, and what it sends: sums to where they are gathered, then codes.

    Attributes:
        work, copies: the layer.
        gathers: sums.
        channels: codes that leave their core, by the later layer and whether it stores them.
        receivers: later layers, whether they store what they get, and the bytes of each window (None: at hand).
    """

    work: LayerWork
    copies: int
    gathers: list[_Flow] = field(default_factory=list)
    channels: dict[tuple[str, bool], _Flow] = field(default_factory=dict)
    receivers: list[tuple[str, bool, Integers | None]] = field(default_factory=list)


def time_with_transfers(graph: WorkGraph, plan: ChipPlan, routes: Routes, input_bytes: int | None) -> TransferTiming:
    """Time a plan on a chip whose interconnect is a bus or a mesh. Deterministic.

    Args:
        graph: the layers.
        plan: where their copies lie.
        routes: through the interconnect of its chip.
        input_bytes: of the input buffer of a core; None for any number.
    """
    layers = {work.name: _Layer(work, len(plan.places[work.name])) for work in graph.layers}
    _list_receivers(layers)
    byte_hops = 0
    for layer in layers.values():
        byte_hops += _add_gathers(layer, plan.places[layer.work.name], routes)
        byte_hops += _add_channels(layer, plan, routes)
    flows = [flow for layer in layers.values() for flow in (*layer.gathers, *layer.channels.values())]
    loads = count_link_loads(graph, plan, routes)
    busiest = round(loads.max(initial=0))
    interval = find_interval_ps(graph, plan.copies)
    unhindered, ready = _time_windows(layers)
    latency, links = unhindered, _choose_links(flows, loads, unhindered)
    is_steady = busiest <= _MOST_LOAD * interval
    if len(links) and is_steady:
        queues = _Queues(layers, links)
        for _ in range(_PASSES):
            before = latency
            queues.serve(ready)
            latency, ready = _time_windows(layers)
            if abs(latency - before) <= _SETTLED * latency:
                break
    has_room = _has_room(layers, plan, input_bytes)
    return TransferTiming(
        latency_ps=latency,
        interval_ps=max(busiest, interval),
        byte_hops=byte_hops,
        is_free=is_steady and has_room and latency <= _MOST_WAITING * unhindered,
    )


def _has_room(layers: dict[str, _Layer], plan: ChipPlan, limit: int | None) -> bool:
    """Tell whether the input buffer of every core has room for what one window of each of its layers needs."""
    if limit is None:
        return True
    kept = np.zeros(plan.chip.cores, np.int64)
    for layer in layers.values():
        least = sum(need.least_bytes for need in layer.work.needs)
        least += sum(int(sizes.sum()) for sizes in layer.work.stored_bytes)
        cores = {core for place in plan.places[layer.work.name] for core in place.cores}
        kept[list(cores)] += least
    return int(kept.max(initial=0)) <= limit


def _add_gathers(layer: _Layer, places: tuple[CopyPlace, ...], routes: Routes) -> int:
    """Add the sums that leave the cores of a layer's copies; return their bytes times links."""
    work, total = layer.work, 0
    size = routes.chip.crossbars_per_core
    most = max(len(place.cores) for place in places)
    if most == 1:
        return 0
    sizes = np.zeros((len(places), most - 1), np.int64)
    ways: list[Ways] = []
    numbers = np.zeros((len(places), most - 1), np.int64)
    for place in places:
        for rank, (core, sent) in enumerate(list_gathered(work, place, size)):
            sizes[place.number, rank] = sent
            numbers[place.number, rank] = len(ways)
            ways.append(routes.find((core,), (place.home,)))
    joined = Ways.join(ways)
    for rank in range(most - 1):
        windows = np.arange(work.windows, dtype=np.int64)
        copies = windows % len(places)
        sent = sizes[copies, rank] > 0
        windows, copies = windows[sent], copies[sent]
        total += _add_flow(layer.gathers, windows, sizes[copies, rank], numbers[copies, rank], joined, routes)
    return total


def _add_channels(layer: _Layer, plan: ChipPlan, routes: Routes) -> int:
    """Add the codes that a layer sends to all later ones; return their bytes times links."""
    total, name = 0, layer.work.name
    homes = [place.home for place in plan.places[name]]
    distinct = {home: number for number, home in enumerate(dict.fromkeys(homes))}
    number_of_copy = np.array([distinct[home] for home in homes], np.int64)
    for later, is_stored, sizes in layer.receivers:
        if sizes is None:
            continue
        cores = tuple(dict.fromkeys(core for place in plan.places[later] for core in place.cores))
        ways = routes.find(tuple(distinct), cores)
        windows = np.flatnonzero(sizes > 0)
        found: list[_Flow] = []
        total += _add_flow(found, windows, sizes[windows], number_of_copy[windows % len(homes)], ways, routes)
        if found:
            layer.channels[later, is_stored] = found[0]
    return total


def _list_receivers(layers: dict[str, _Layer]) -> None:
    """Note for each layer which later ones need what it makes, whether they store it, and the bytes of each window."""
    for name, later in layers.items():
        for need in later.work.needs:
            layers[need.producer].receivers.append((name, False, need.bytes))
        for index, (producer, _) in enumerate(later.work.stored_needs):
            sizes = later.work.stored_bytes[index] if later.work.stored_bytes else None
            layers[producer].receivers.append((name, True, sizes))


def _add_flow(
    flows: list[_Flow], windows: Integers, sizes: Integers, place: Integers, ways: Ways, routes: Routes
) -> int:
    """Add the transfers that leave their core; return their bytes times links."""
    if not len(windows):
        return 0
    leaving = ways.hops[place] > 0
    windows, sizes, place = windows[leaving], sizes[leaving], place[leaving]
    if not len(windows):
        return 0
    fly = routes.fly_ps(sizes, ways.hops[place])
    flows.append(_Flow(windows, routes.held_ps(sizes), fly, place, ways, np.zeros_like(fly)))
    return int(sizes @ ways.counts[place])


def _choose_links(flows: list[_Flow], loads: NDArray[np.float64], latency_ps: int) -> Integers:
    """Return the links that something may have to wait for: of every way the busiest, if it is busy enough."""
    if not flows:
        return np.zeros(0, np.int64)
    ways = Ways.join([flow.ways for flow in flows])
    counts = ways.counts[ways.counts > 0]
    held, first = loads[ways.links], np.cumsum(counts) - counts
    is_worst = np.flatnonzero(held == np.repeat(np.maximum.reduceat(held, first), counts))
    of_way = np.repeat(np.arange(len(counts)), counts)[is_worst]
    worst = set(ways.links[is_worst[np.diff(of_way, prepend=-1) > 0]].tolist())
    busy = sorted((link for link in worst if loads[link] > _BUSY * latency_ps), key=lambda link: -loads[link])
    return np.array(busy[:_MOST_LINKS], np.int64)


def _time_windows(layers: dict[str, _Layer]) -> tuple[int, dict[str, tuple[Integers, Integers]]]:
    """Time all windows with transfers as they are known; return the latency, and when sums and codes set out, ps."""
    latency, out = 0, {}
    arrived: dict[tuple[str, str, bool], Integers] = {}
    for name, layer in layers.items():
        work = layer.work
        ready = np.zeros(work.windows, np.int64)
        for need in work.needs:
            np.maximum(ready, arrived[need.producer, name, False][need.windows], out=ready)
        if work.stored_needs or work.write_ps:
            there = max((int(arrived[p, name, True][count]) for p, count in work.stored_needs), default=0)
            written = min(layer.copies, work.windows)
            np.maximum(ready[:written], there + work.write_ps, out=ready[:written])
        finished = space_starts(ready, layer.copies, work.window_ps) + work.window_ps
        home = finished.copy()
        for flow in layer.gathers:
            home[flow.windows] = np.maximum(home[flow.windows], finished[flow.windows] + flow.fly_ps + flow.wait_ps)
        latency = max(latency, int(home.max()))
        out[name] = finished, home
        for later, is_stored, _ in layer.receivers:
            there_ps, channel = home, layer.channels.get((later, is_stored))
            if channel is not None:
                there_ps = home.copy()
                there_ps[channel.windows] += channel.fly_ps + channel.wait_ps
            prefix = np.zeros(work.windows + 1, np.int64)
            np.maximum.accumulate(there_ps, out=prefix[1:])
            arrived[name, later, is_stored] = prefix
    return latency, out


class _Queues:
    """Links that serve what passes them, first come first served.

    Args:
        layers: with the transfers of each.
        links: that transfers wait for.
    """

    def __init__(self, layers: dict[str, _Layer], links: Integers) -> None:
        self._flows = [(flow, name, 0) for name, layer in layers.items() for flow in layer.gathers]
        self._flows += [(flow, name, 1) for name, layer in layers.items() for flow in layer.channels.values()]
        ways = Ways.join([flow.ways for flow, *_ in self._flows])
        starts = np.cumsum([0, *(len(flow.ways.hops) for flow, *_ in self._flows)])
        self._held = np.concatenate([flow.held_ps for flow, *_ in self._flows])
        self._place = np.concatenate(
            [flow.place + start for (flow, *_), start in zip(self._flows, starts[:-1], strict=True)]
        )
        column_of = np.full(1 + max(int(links.max()), int(ways.links.max(initial=0))), -1)
        column_of[links] = np.arange(len(links))
        columns, numbers = column_of[ways.links], np.repeat(np.arange(len(ways.hops)), ways.counts)
        self._passes = np.zeros((len(links), len(ways.hops)), bool)
        self._passes[columns[columns >= 0], numbers[columns >= 0]] = True

    def serve(self, out: dict[str, tuple[Integers, Integers]]) -> None:
        """Note how long each transfer waits at its worst link.

        Args:
            out: of each layer, when sums and codes of windows set out, ps.
        """
        times = np.concatenate([out[name][kind][flow.windows] for flow, name, kind in self._flows])
        order = np.argsort(times, kind="stable")
        times, held, place = times[order], self._held[order], self._place[order]
        wait = np.zeros_like(times)
        for passes in self._passes:
            served = np.flatnonzero(passes[place])
            busy = np.cumsum(held[served])
            idle = times[served] - busy + held[served]
            wait[served] = np.maximum(wait[served], np.maximum.accumulate(idle) - idle)
        back = np.empty_like(wait)
        back[order] = wait
        ends = np.cumsum([len(flow.windows) for flow, *_ in self._flows])
        for (flow, *_), part in zip(self._flows, np.split(back, ends[:-1]), strict=True):
            flow.wait_ps = part
