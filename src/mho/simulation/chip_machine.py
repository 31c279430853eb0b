"""The machine behind `mho.simulation.chip_timing`: copies, channels and buffers of a chip, moved by events."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

import numpy as np

from mho.errors import ScheduleError
from mho.hardware.spec import Accelerator
from mho.scheduling.buffer_demand import ChannelKey, Share, find_kept_from
from mho.scheduling.placement import ChipPlan, list_gathered
from mho.scheduling.work_graph import Integers, LayerWork, WorkGraph
from mho.simulation.chip_channels import add_channel, add_lanes
from mho.simulation.chip_state import Buffer, Cause, Channel, CopyState, LayerState, Prefix, Span
from mho.simulation.digital_queue import DigitalQueue
from mho.simulation.interconnect import Carrier

_DONE, _GATHERED, _ARRIVED, _WRITTEN, _READ = range(5)

_Event = tuple[int, int, int, CopyState, Channel | None, int]
"""Time, number, kind, whose it is, channel of an arrival, window or input."""

_Request = tuple[CopyState, Channel | None, int]
"""Whose it is, channel (None: its sums go home), window over all inputs."""


class Machine:
    """Everything that moves."""

    def __init__(
        self, graph: WorkGraph, plan: ChipPlan, accelerator: Accelerator, batch: int, with_spans: bool
    ) -> None:
        self._batch, self._with_spans, self._plan = batch, with_spans, plan
        self.carrier = Carrier(accelerator.interconnect, plan.chip)
        limits = accelerator.buffers.input_limit, accelerator.buffers.output_limit
        self._is_limited = any(limit is not None for limit in limits)
        self._is_tracked = self._is_limited or not accelerator.interconnect.is_ideal
        names = (f"output buffer of core {core}" for core in range(plan.chip.cores))
        self.outputs = [Buffer("output_bytes", name, limits[1], is_passed=True) for name in names]
        self.layers = {work.name: self._add_layer(work, rank) for rank, work in enumerate(graph.layers)}
        kept_from = find_kept_from(graph) if limits[0] is not None else {}
        for layer in self.layers.values():
            self._connect(layer, kept_from)
        self.inputs = self._add_input_buffers(limits[0])
        self._events: list[_Event] = []
        self._requests: list[_Request] = []
        self._count, self._now = 0, 0
        self.spans: list[Span] = []
        self._last_span: dict[CopyState, int] = {}
        self._units = DigitalQueue()

    def _add_layer(self, work: LayerWork, rank: int) -> LayerState:
        total, finished = work.windows * self._batch, Prefix(work.windows, self._batch)
        state = LayerState(work, rank, total, finished, ends_ps=[0] * self._batch, writes=[0] * self._batch)
        size = self._plan.chip.crossbars_per_core
        for place in self._plan.places[work.name]:
            state.copies.append(CopyState(state, place, place.number, list_gathered(work, place, size)))
        return state

    def _connect(self, layer: LayerState, kept_from: Mapping[ChannelKey, Integers]) -> None:
        """Make the channels that feed a layer; `kept_from` tell the space that each must have for itself."""
        work = layer.work
        shares = self._list_shares(layer)
        for need in work.needs:
            source = self.layers[need.producer]
            kept = np.zeros(work.windows, np.int64) if need.forgotten is None else need.forgotten.copy()
            kept[-1] = source.work.windows
            channel = add_channel(source, layer, need.windows, tuple(shares), need.bytes, kept, False)
            add_lanes(channel, shares, kept_from.get((need.producer, work.name, False)))
            layer.streams.append(channel)
        for index, (producer, count) in enumerate(work.stored_needs):
            source = self.layers[producer]
            sizes = work.stored_bytes[index] if work.stored_bytes else None
            kept = np.array([source.work.windows])
            channel = add_channel(source, layer, np.array([count]), tuple(shares), sizes, kept, True)
            add_lanes(channel, shares, kept_from.get((producer, work.name, True)))
            layer.stores.append(channel)
        for channel in (*layer.streams, *layer.stores) if self._is_tracked else ():
            channel.arrived = Prefix(channel.producer.work.windows, self._batch)

    def _list_shares(self, layer: LayerState) -> dict[int, Share]:
        """Return what each core with a copy of a layer holds of what it reads."""
        size = self._plan.chip.crossbars_per_core
        tiles: dict[int, set[int]] = {core: set() for copy in layer.copies for core in copy.place.cores}
        for copy in layer.copies:
            for tile, crossbar in enumerate(copy.place.crossbars):
                tiles[crossbar // size].add(tile)
        return {core: Share.of(layer.work, numbers) for core, numbers in tiles.items()}

    def _add_input_buffers(self, limit: int | None) -> list[Buffer]:
        """Return the buffers that lanes fill: one for all cores that keep the same, for it is always as full."""
        channels = [channel for layer in self.layers.values() for channel in (*layer.streams, *layer.stores)]
        lanes = [pair for channel in channels for pair in channel.lanes]
        fed: dict[int, list[int]] = {}
        for number, (cores, _) in enumerate(lanes):
            for core in cores:
                fed.setdefault(core, []).append(number)
        buffers: dict[tuple[int, ...], Buffer] = {}
        for core, numbers in sorted(fed.items()):
            if tuple(numbers) not in buffers:
                buffers[tuple(numbers)] = buffer = Buffer("input_bytes", f"input buffer of core {core}", limit)
                for number in numbers:
                    lanes[number][1].buffers.append(buffer)
                buffer.shares = sum(lanes[number][1].least for number in numbers)
                buffer.claimed = buffer.shares if buffer.has_shares else 0
        return list(buffers.values())

    def run(self) -> None:
        """Handle all events."""
        self._try([copy for layer in self.layers.values() for copy in layer.copies])
        events = self._events
        while events or self._requests:
            if self._requests and (not events or events[0][0] > self._now):
                self._carry()
            self._now, _, kind, copy, channel, item = heappop(events)
            if kind == _DONE:
                self._try(self._finish(copy, item))
            elif kind == _READ:
                self._compute(copy, item)
            elif kind == _GATHERED:
                self._try(self._send(copy, item))
            elif kind == _WRITTEN:
                self._try(self._hold(copy, item))
            else:
                assert channel is not None
                self._try(self._arrive(channel, copy, item))
        self._check_finished()

    def most_kept(self) -> tuple[int, int] | None:
        """Return the most bytes that any core kept of inputs, and of outputs; None where that is not counted."""
        if not self._is_tracked:
            return None
        kept = (max((buffer.largest for buffer in buffers), default=0) for buffers in (self.inputs, self.outputs))
        return next(kept), next(kept)

    @property
    def safe_input_bytes(self) -> int:
        """Bytes of an input buffer with which no copies wait for each other for ever; 0 where they are unlimited."""
        return max((buffer.shares for buffer in self.inputs), default=0)

    def _push(self, time_ps: int, kind: int, copy: CopyState, channel: Channel | None, item: int) -> None:
        self._count += 1
        heappush(self._events, (time_ps, self._count, kind, copy, channel, item))

    def _try(self, copies: list[CopyState]) -> None:
        """Let copies that stand still start their next windows if they may, or wait for what they lack first."""
        for copy in copies:  # which grows
            layer, item = copy.layer, copy.item
            if item >= layer.total:
                copy.stand_still(self._now, Cause.DONE)
            elif (
                (not layer.is_stored or self._is_written(copy))
                and self._has_all(copy, layer.streams, *divmod(item, layer.work.windows))
                and (not self._is_tracked or self._reserve(copy, copies))
            ):
                self._start(copy)

    def _has_all(self, copy: CopyState, channels: list[Channel], index: int, number: int) -> bool:
        """Return whether all is there that a window (or 0, a stored operand) needs, or let the copy wait."""
        for channel in channels:
            demand = channel.demands[number]
            if channel.finished.counts[index] < demand:
                copy.stand_still(self._now, Cause.INPUT)
                channel.finished.wait(index, demand, copy)
                return False
        if self._is_tracked:
            for channel in channels:
                demand = channel.demands[number]
                if channel.arrived.counts[index] < demand:
                    copy.stand_still(self._now, Cause.INTERCONNECT)
                    channel.arrived.wait(index, demand, copy)
                    return False
        return True

    def _is_written(self, copy: CopyState) -> bool:
        """Return whether a copy holds the operand of its next window; if not, begin to write it, or wait."""
        layer = copy.layer
        index = copy.item // layer.work.windows
        if copy.written_for == index:
            return True
        if self._has_all(copy, layer.stores, index, 0):
            copy.stand_still(self._now, Cause.WRITE)
            finish = self._now + layer.work.write_ps
            if layer.start_ps is None and layer.work.write_ps:
                layer.start_ps = self._now
            if self._with_spans and layer.work.write_ps:
                self.spans.append(Span(layer.work.name, copy.place.number, index, self._now, finish, 0, is_write=True))
            self._push(finish, _WRITTEN, copy, None, index)
        return False

    def _hold(self, copy: CopyState, index: int) -> list[CopyState]:
        """A copy is written: drop the operand where all copies hold it; return who may go on."""
        layer, woken = copy.layer, [copy]
        copy.written_for = index
        layer.writes[index] += 1
        holders = min(len(layer.copies), layer.work.windows)
        while layer.written < self._batch and layer.writes[layer.written] == holders:
            layer.written += 1
        for channel in layer.stores if self._is_tracked else ():
            woken += channel.forget()
        return woken

    def _reserve(self, copy: CopyState, following: list[CopyState]) -> bool:
        """Take room for what a window makes, where it is made and where it goes; or wait for it.

        Where buffers are limited, the windows of a layer take room in their order: else some that nobody can use yet
        could take it from one that everybody waits for. The copy whose turn is next joins `following` if it waits.
        """
        layer, item = copy.layer, copy.item
        window = item % layer.work.windows
        if self._is_limited:
            if item != layer.reserved:
                copy.stand_still(self._now, Cause.BUFFER)
                layer.turns[item] = copy
                return False
            for buffer, claim in self._list_claims(copy, window).items():
                if not buffer.has_room(claim):
                    _check_size(buffer, layer, window)
                    copy.stand_still(self._now, Cause.BUFFER)
                    buffer.waiting.append(copy)
                    return False
            layer.reserved += 1
            if layer.reserved in layer.turns:
                following.append(layer.turns.pop(layer.reserved))
        for core, size in copy.gathered:
            self.outputs[core].take(size, size)
        for channel in layer.outputs:
            if size := channel.sizes[window]:
                channel.take(window)
                if channel.cores != (copy.place.home,):
                    self.outputs[copy.place.home].take(size, size)
        return True

    def _list_claims(self, copy: CopyState, window: int) -> dict[Buffer, int]:
        """Return of which buffers a window of one input claims how many bytes."""
        claims = {self.outputs[core]: size for core, size in copy.gathered}
        home = self.outputs[copy.place.home]
        for channel in copy.layer.outputs:
            if size := channel.sizes[window]:
                for _, lane in channel.lanes:
                    kept = lane.sizes[window]
                    claim = lane.count_claim(kept)
                    for buffer in lane.buffers:
                        claims[buffer] = claims.get(buffer, 0) + (claim if buffer.has_shares else kept)
                if channel.cores != (copy.place.home,):
                    claims[home] = claims.get(home, 0) + size
        return claims

    def _start(self, copy: CopyState) -> None:
        layer, item = copy.layer, copy.item
        copy.work(self._now)
        if layer.start_ps is None:
            layer.start_ps = self._now
        copy.begun_ps = self._now
        copy.busy_ps += layer.work.read_ps + layer.work.digital_ps
        copy.item += len(layer.copies)
        self._push(self._now + layer.work.read_ps, _READ if layer.work.digital_ps else _DONE, copy, None, item)

    def _compute(self, copy: CopyState, item: int) -> None:
        """Crossbars are read: let the digital unit go on with the window, or let it wait for that."""
        if self._units.take(copy, item):
            self._push(self._now + copy.layer.work.digital_ps, _DONE, copy, None, item)
        else:
            copy.stand_still(self._now, Cause.DIGITAL)

    def _leave_unit(self, copy: CopyState) -> None:
        """Let the next window have the digital unit."""
        if (turn := self._units.give(copy)) is not None:
            turn[0].work(self._now)
            self._push(self._now + turn[0].layer.work.digital_ps, _DONE, turn[0], None, turn[1])

    def _finish(self, copy: CopyState, item: int) -> list[CopyState]:
        """A window is done: its inputs may be dropped, and its sums go home; return who may go on."""
        layer, home = copy.layer, (copy.place.home,)
        if layer.work.digital_ps:
            self._leave_unit(copy)
        if self._with_spans:
            self._record(copy, item)
        copy.since_ps = self._now
        woken = layer.finished.add(*divmod(item, layer.work.windows))
        if self._is_tracked:
            for channel in layer.streams:
                woken += channel.forget()
        if any(self.carrier.takes_time(core, home, size) for core, size in copy.gathered):
            self._requests.append((copy, None, item))
        else:
            woken += self._send(copy, item)
        woken.append(copy)
        return woken

    def _send(self, copy: CopyState, item: int) -> list[CopyState]:
        """The sums of a window are at home: send what they make; return who may go on."""
        layer, home, woken = copy.layer, copy.place.home, []
        index, window = divmod(item, layer.work.windows)
        layer.ends_ps[index] = self._now
        if self._is_tracked:
            for core, size in copy.gathered:
                woken += self.outputs[core].drop(size, size)
            for channel in layer.outputs:
                if self.carrier.takes_time(home, channel.cores, channel.sizes[window]):
                    self._requests.append((copy, channel, item))
                else:
                    woken += self._arrive(channel, copy, item)
        return woken

    def _carry(self) -> None:
        """Send what became ready at this instant, once all of it is known, in the order of `_rank`."""
        requests, self._requests = sorted(self._requests, key=_rank), []
        for copy, channel, item in requests:
            home = copy.place.home
            if channel is None:
                arrivals = (self.carrier.send(self._now, core, (home,), size) for core, size in copy.gathered)
                self._push(max(arrivals), _GATHERED, copy, None, item)
            else:
                size = channel.sizes[item % copy.layer.work.windows]
                arrival = self.carrier.send(self._now, home, channel.cores, size)
                self._push(arrival, _ARRIVED, copy, channel, item)

    def _arrive(self, channel: Channel, copy: CopyState, item: int) -> list[CopyState]:
        """What a window made has arrived everywhere; return who may go on."""
        index, window = divmod(item, channel.producer.work.windows)
        woken = channel.arrived.add(index, window)
        size = channel.sizes[window]
        if size and channel.cores != (copy.place.home,):
            woken += self.outputs[copy.place.home].drop(size, size)
        return woken + channel.forget()

    def _record(self, copy: CopyState, item: int) -> None:
        layer, index = copy.layer.work, item // copy.layer.work.windows
        last = self._last_span.get(copy)
        if last is not None:
            span = self.spans[last]
            if span.finish_ps == copy.begun_ps and span.index == index:
                self.spans[last] = Span(span.layer, span.copy, index, span.start_ps, self._now, span.windows + 1)
                return
        self._last_span[copy] = len(self.spans)
        self.spans.append(Span(layer.name, copy.place.number, index, copy.begun_ps, self._now, 1))

    def _check_finished(self) -> None:
        stuck = [copy for layer in self.layers.values() for copy in layer.copies if copy.item < layer.total]
        if not stuck:
            return
        full = [buffer for buffer in (*self.inputs, *self.outputs) if buffer.waiting]
        waiting = dict.fromkeys(copy.layer.work.name for buffer in full for copy in buffer.waiting)
        places = ", ".join(f"{buffer.name} ({buffer.used:,} of {buffer.capacity:,} bytes used)" for buffer in full)
        needed = self.safe_input_bytes
        raise ScheduleError(
            f"copies of {', '.join(waiting)} wait for ever for room in {places}",
            where="buffers",
            expected=f"{needed:,} bytes of input always suffice: what piles up at most between layers of one core",
            hint=f"set buffers.input_bytes to {needed:,}, or take more cores or fewer copies",
        )


def _rank(request: _Request) -> tuple[int, int, int]:
    """Return who goes first: the earliest input, of it the first layer, of that the first window."""
    copy, _, item = request
    return item // copy.layer.work.windows, copy.layer.rank, item


def _check_size(buffer: Buffer, layer: LayerState, window: int) -> None:
    """Refuse what no buffer can ever hold."""
    lanes = (lane for channel in layer.outputs for _, lane in channel.lanes)
    size = sum(lane.sizes[window] for lane in lanes if buffer in lane.buffers)
    if buffer.capacity is not None and size > buffer.capacity:
        raise ScheduleError(
            f"one window gives {size:,} bytes to the {buffer.name}, which holds {buffer.capacity:,}",
            where=f"layer {layer.work.name}",
            expected=f"{size:,} bytes or more",
            hint=f"set buffers.{buffer.key} higher",
        )
