"""When everything happens on a chip of many crossbars: an event-driven simulation.

Every copy of a layer takes its windows in order, one after the other. A window starts once what it needs is finished
and has arrived, its crossbars hold the operand that belongs to its input, and the buffers behind it have room for what
it makes. What a window makes goes to the layers that need it over the interconnect. Events are handled in order of
time, and of their making where times are equal: the same plan always gives the same times, exact in picoseconds.

With an ideal interconnect and unlimited buffers this is what `mho.scheduling.asap` tells in closed form.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from mho.accelerator.spec import Accelerator
from mho.errors import ScheduleError
from mho.scheduling.placement import ChipPlan
from mho.scheduling.work import LayerWork, WorkGraph
from mho.simulation.chip_state import Buffer, Cause, Channel, CopyState, LayerState, Prefix
from mho.simulation.interconnect import Carrier


@dataclass(frozen=True)
class Span:
    """A copy at work: `windows` windows one after the other without a pause, of one input."""

    layer: str
    copy: int
    index: int
    start_ps: int
    finish_ps: int
    windows: int


@dataclass(frozen=True)
class LayerActivity:
    """What one layer did.

    Attributes:
        name, copies, crossbars: which layer, how often it lies on the chip, crossbars of all copies.
        start_ps, finish_ps: of its first and last window.
        busy_ps: time of all windows, added up over copies.
        lost_ps: time in which copies stood still until the end of the simulation, added up, by cause.
    """

    name: str
    copies: int
    crossbars: int
    start_ps: int
    finish_ps: int
    busy_ps: int
    lost_ps: Mapping[Cause, int]


@dataclass(frozen=True)
class ChipTiming:
    """What a simulation tells.

    Attributes:
        layers: in execution order.
        total_ps: until the last input was finished.
        finish_ps: when each input was finished.
        core_busy: for each core, the share of its crossbars' time in which they were read.
        interconnect_ps: time in which the bus, or all links together, carried something.
        links: how many links (1 for a bus).
        byte_hops: bytes times links that they took.
        buffer_bytes: the most that any core kept of inputs, and of outputs.
        spans: when copies worked; empty unless asked for.
    """

    layers: tuple[LayerActivity, ...]
    total_ps: int
    finish_ps: tuple[int, ...]
    core_busy: tuple[float, ...]
    interconnect_ps: int
    links: int
    byte_hops: float
    buffer_bytes: tuple[float, float]
    spans: tuple[Span, ...]

    @property
    def latency_ps(self) -> int:
        """Time of the first input."""
        return self.finish_ps[0]

    @property
    def interval_ps(self) -> float:
        """Mean time between inputs; of one input, its latency."""
        if len(self.finish_ps) == 1:
            return float(self.finish_ps[0])
        return (self.finish_ps[-1] - self.finish_ps[0]) / (len(self.finish_ps) - 1)


def simulate_chip(
    graph: WorkGraph, plan: ChipPlan, accelerator: Accelerator, *, batch: int = 1, with_spans: bool = False
) -> ChipTiming:
    """Simulate a plan.

    Args:
        graph: the layers.
        plan: where their copies lie.
        accelerator: interconnect and buffers.
        batch: inputs that follow each other, 1 or more.
        with_spans: tell when every copy worked.

    Raises:
        ScheduleError: buffers are too small, so that copies wait for each other for ever: says which and for what.
    """
    if batch < 1:
        raise ScheduleError(f"a batch of {batch}", expected="1 or more inputs")
    machine = _Machine(graph, plan, accelerator, batch, with_spans)
    machine.run()
    return machine.result()


_DONE, _ARRIVED, _WRITTEN = range(3)


class _Machine:
    """Everything that moves. Events are (time, number, kind, copy or channel, window)."""

    def __init__(
        self, graph: WorkGraph, plan: ChipPlan, accelerator: Accelerator, batch: int, with_spans: bool
    ) -> None:
        self._batch, self._with_spans, self._plan = batch, with_spans, plan
        self._carrier = Carrier(accelerator.interconnect, plan.chip)
        sizes = accelerator.buffers.input_bytes, accelerator.buffers.output_bytes
        limits = [None if isinstance(size, str) else size for size in sizes]
        self._is_limited = any(limit is not None for limit in limits)
        cores = range(plan.chip.cores)
        self._inputs = [Buffer(f"input buffer of core {core}", limits[0]) for core in cores]
        self._outputs = [Buffer(f"output buffer of core {core}", limits[1]) for core in cores]
        self._layers = {work.name: self._add_layer(work, plan) for work in graph.layers}
        for layer in self._layers.values():
            self._connect(layer)
        self._events: list[tuple[int, int, int, CopyState | Channel, int]] = []
        self._count, self._now = 0, 0
        self._spans: list[Span] = []
        self._last_span: dict[CopyState, int] = {}

    def _add_layer(self, work: LayerWork, plan: ChipPlan) -> LayerState:
        total = work.windows * self._batch
        state = LayerState(work, [], Prefix(total), ends_ps=[0] * self._batch)
        for place in plan.places[work.name]:
            state.copies.append(CopyState(state, place, place.number, total))
        return state

    def _connect(self, layer: LayerState) -> None:
        """Make the channels that feed a layer; its input codes come in equal parts from all producers."""
        work = layer.work
        cores = tuple(dict.fromkeys(core for copy in layer.copies for core in copy.place.cores))
        sources = [(need.producer, need, 0) for need in work.needs]
        stored = [(producer, None, count) for producer, count in work.stored_needs]
        for producer, need, count in [*sources, *stored]:
            source = self._layers[producer]
            share = work.input_bytes * work.windows / max(1, len(sources)) / source.work.windows
            prefix = Prefix(source.work.windows * self._batch)
            channel = Channel(source, layer, need, count, share, cores, prefix)
            layer.inputs.append(channel)
            source.outputs.append(channel)

    def run(self) -> None:
        """Handle all events."""
        for layer in self._layers.values():
            for copy in layer.copies:
                self._try(copy)
        events = self._events
        while events:
            self._now, _, kind, subject, item = heapq.heappop(events)
            if kind == _ARRIVED:
                assert isinstance(subject, Channel)
                self._arrive(subject, item)
                continue
            assert isinstance(subject, CopyState)
            if kind == _DONE:
                self._finish(subject, item)
            self._try(subject)
        self._check_finished()

    def _push(self, time_ps: int, kind: int, subject: CopyState | Channel, item: int) -> None:
        self._count += 1
        heapq.heappush(self._events, (time_ps, self._count, kind, subject, item))

    def _try(self, copy: CopyState) -> None:
        """Start the next window of a copy if it may, or let it wait for what it lacks first."""
        layer = copy.layer
        if copy.item >= copy.last:
            copy.stand_still(self._now, Cause.DONE)
            return
        for channel in layer.inputs:
            demand = channel.demand(copy.item)
            if channel.producer.finished.count < demand:
                copy.stand_still(self._now, Cause.INPUT)
                channel.producer.finished.waiting.append((demand, copy))
                return
        for channel in layer.inputs:
            demand = channel.demand(copy.item)
            if channel.arrived.count < demand:
                copy.stand_still(self._now, Cause.INTERCONNECT)
                channel.arrived.waiting.append((demand, copy))
                return
        index = copy.item // layer.work.windows
        if layer.work.write_ps and copy.written_for < index:
            copy.written_for = index
            copy.stand_still(self._now, Cause.WRITE)
            self._push(self._now + layer.work.write_ps, _WRITTEN, copy, index)
            return
        if self._is_limited and not self._reserve(copy):
            return
        self._start(copy)

    def _reserve(self, copy: CopyState) -> bool:
        """Take room for what a window makes, where it is made and where it goes; or wait for it."""
        demands: list[tuple[Buffer, float]] = []
        for channel in copy.layer.outputs:
            demands += [(self._inputs[core], channel.window_bytes) for core in channel.cores]
            if any(core != copy.place.home for core in channel.cores):
                demands.append((self._outputs[copy.place.home], channel.window_bytes))
        totals: dict[int, tuple[Buffer, float]] = {}
        for buffer, size in demands:
            totals[id(buffer)] = buffer, totals.get(id(buffer), (buffer, 0.0))[1] + size
        for buffer, size in totals.values():
            if not buffer.has_room(size):
                copy.stand_still(self._now, Cause.BUFFER)
                buffer.waiting.append(copy)
                return False
        for buffer, size in totals.values():
            buffer.take(size)
        return True

    def _start(self, copy: CopyState) -> None:
        layer, item = copy.layer, copy.item
        copy.work(self._now)
        if layer.start_ps is None:
            layer.start_ps = self._now
        copy.busy_ps += layer.work.window_ps
        copy.item += len(layer.copies)
        self._push(self._now + layer.work.window_ps, _DONE, copy, item)
        if self._with_spans:
            self._record(copy, item)

    def _finish(self, copy: CopyState, item: int) -> None:
        """A window is read: gather its sums at home, tell who waits, send it, and forget what nobody needs."""
        layer, ready = copy.layer, self._now
        copy.since_ps = self._now
        layer.finish_ps = layer.ends_ps[item // layer.work.windows] = self._now
        for core in copy.place.cores[1:]:
            arrival = self._carrier.send(self._now, core, (copy.place.home,), layer.sum_bytes)
            ready = max(ready, arrival[copy.place.home])
        woken = layer.finished.add(item)
        for channel in layer.outputs:
            arrivals = self._carrier.send(ready, copy.place.home, channel.cores, channel.window_bytes)
            arrived = max(arrivals.values())
            if arrived == self._now:
                woken += self._mark_arrived(channel, item)
            else:
                self._push(arrived, _ARRIVED, channel, item)
        if self._is_limited:
            for channel in layer.inputs:
                woken += self._forget(channel)
        self._wake(woken)

    def _arrive(self, channel: Channel, item: int) -> None:
        self._wake(self._mark_arrived(channel, item))

    def _mark_arrived(self, channel: Channel, item: int) -> list[CopyState]:
        woken = channel.arrived.add(item)
        home = channel.producer.copies[item % len(channel.producer.copies)].place.home
        if self._is_limited and any(core != home for core in channel.cores):
            woken = woken + self._outputs[home].drop(channel.window_bytes)
        return woken

    def _forget(self, channel: Channel) -> list[CopyState]:
        count = channel.forgettable(channel.consumer.finished.count)
        size = (count - channel.forgotten) * channel.window_bytes
        if count <= channel.forgotten:
            return []
        channel.forgotten = count
        return [copy for core in channel.cores for copy in self._inputs[core].drop(size)]

    def _wake(self, copies: list[CopyState]) -> None:
        for copy in dict.fromkeys(copies):
            if copy.since_ps is not None and copy.item < copy.last:
                self._try(copy)

    def _record(self, copy: CopyState, item: int) -> None:
        layer, index = copy.layer.work, item // copy.layer.work.windows
        last = self._last_span.get(copy)
        finish = self._now + layer.window_ps
        if last is not None:
            span = self._spans[last]
            if span.finish_ps == self._now and span.index == index:
                self._spans[last] = Span(span.layer, span.copy, index, span.start_ps, finish, span.windows + 1)
                return
        self._last_span[copy] = len(self._spans)
        self._spans.append(Span(layer.name, copy.place.number, index, self._now, finish, 1))

    def _check_finished(self) -> None:
        stuck = [copy for layer in self._layers.values() for copy in layer.copies if copy.item < copy.last]
        if not stuck:
            return
        full = [buffer for buffer in (*self._inputs, *self._outputs) if buffer.waiting]
        waiting = {copy.layer.work.name: None for buffer in full for copy in buffer.waiting}
        places = ", ".join(f"{buffer.name} ({buffer.used:,.0f} of {buffer.capacity:,} bytes)" for buffer in full)
        raise ScheduleError(
            f"copies of {', '.join(waiting)} wait for ever for room in {places}",
            where="buffers",
            expected="room for what the slowest path between two layers lets pile up",
            hint="set buffers.input_bytes and buffers.output_bytes higher, or take more cores",
        )

    def result(self) -> ChipTiming:
        """Return what has happened."""
        layers = list(self._layers.values())
        total = max(layer.finish_ps for layer in layers)
        for layer in layers:
            for copy in layer.copies:
                copy.stand_still(total, copy.cause)
        return ChipTiming(
            layers=tuple(_tell(layer) for layer in layers),
            total_ps=total,
            finish_ps=tuple(max(layer.ends_ps[index] for layer in layers) for index in range(self._batch)),
            core_busy=self._core_busy(total),
            interconnect_ps=self._carrier.busy_ps,
            links=self._carrier.links,
            byte_hops=self._carrier.byte_hops,
            buffer_bytes=(max(one.largest for one in self._inputs), max(one.largest for one in self._outputs)),
            spans=tuple(self._spans),
        )

    def _core_busy(self, total: int) -> tuple[float, ...]:
        busy, size = [0] * self._plan.chip.cores, self._plan.chip.crossbars_per_core
        for layer in self._layers.values():
            for copy in layer.copies:
                for crossbar in copy.place.crossbars:
                    busy[crossbar // size] += copy.busy_ps
        return tuple(one / (size * total) if total else 0.0 for one in busy)


def _tell(layer: LayerState) -> LayerActivity:
    lost = {cause: sum(copy.lost_ps[cause] for copy in layer.copies) for cause in Cause}
    return LayerActivity(
        name=layer.work.name,
        copies=len(layer.copies),
        crossbars=len(layer.copies) * layer.work.crossbars,
        start_ps=layer.start_ps or 0,
        finish_ps=layer.finish_ps,
        busy_ps=sum(copy.busy_ps for copy in layer.copies),
        lost_ps=lost,
    )
