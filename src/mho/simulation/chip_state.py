"""What a chip is made of while it is simulated: producers, channels to consumers, copies, buffers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush

from mho.scheduling.placement import CopyPlace
from mho.scheduling.work_graph import LayerWork


class Cause(StrEnum):
    """Why a copy of a layer stands still.

    Attributes:
        INPUT: windows that it needs are not finished.
        INTERCONNECT: they are, but have not arrived.
        BUFFER: what it would make has nowhere to go.
        DIGITAL: the digital unit of its core does other work.
        WRITE: its crossbars are written.
        DONE: it has no work left.
    """

    INPUT = "input"
    INTERCONNECT = "interconnect"
    BUFFER = "buffer"
    DIGITAL = "digital"
    WRITE = "write"
    DONE = "done"


@dataclass(frozen=True)
class Span:
    """A copy at work.

    Attributes:
        layer, copy, index: whose windows, on which copy, of which input.
        start_ps, finish_ps: from when to when.
        windows: how many, one after the other without a pause; 0 for a write.
        is_write: True where the copy is written with the operand of that input.
    """

    layer: str
    copy: int
    index: int
    start_ps: int
    finish_ps: int
    windows: int
    is_write: bool = False


class Prefix:
    """How many windows of each input are done, from the first on without a gap; who waits for how many.

    Args:
        windows: of one input.
        batch: inputs.

    Attributes:
        counts: for each input, the first so many windows are done.
    """

    __slots__ = ("_arrivals", "_done", "_waiting", "_whole", "_windows", "counts")

    def __init__(self, windows: int, batch: int) -> None:
        self.counts = [0] * batch
        self._windows = windows
        self._done = bytearray((windows + 1) * batch)  # the last of each input is never done
        self._waiting: list[list[tuple[int, int, CopyState]]] = [[] for _ in range(batch)]
        self._arrivals = self._whole = 0

    @property
    def total(self) -> int:
        """The first so many windows of all inputs, one after the other, are done."""
        if self._whole == len(self.counts):
            return self._whole * self._windows
        return self._whole * self._windows + self.counts[self._whole]

    def wait(self, index: int, demand: int, copy: CopyState) -> None:
        """Let a copy wait until the first `demand` windows of an input are done."""
        self._arrivals += 1
        heappush(self._waiting[index], (demand, self._arrivals, copy))

    def add(self, index: int, window: int) -> list[CopyState]:
        """Mark a window of an input as done; return who need not wait any longer, who waits for the fewest first."""
        place = index * (self._windows + 1) + window
        self._done[place] = 1
        if window != self.counts[index]:
            return []
        self.counts[index] = count = self._done.find(0, place) - place + window
        while self._whole < len(self.counts) and self.counts[self._whole] == self._windows:
            self._whole += 1
        waiting, woken = self._waiting[index], []
        while waiting and waiting[0][0] <= count:
            woken.append(heappop(waiting)[2])
        return woken


@dataclass(eq=False, slots=True)
class Buffer:
    """Bytes that a core may keep; None for any number.

    Attributes:
        key: of the accelerator's buffers, which gives its capacity.
        name: for people.
        capacity: bytes.
        is_passed: True where what is larger than the buffer may pass through it in pieces while it holds nothing else.
        shares: bytes that its channels need at least, all together.
        used, largest: now, and at most until now.
        claimed: bytes that are used or held for a channel.
        waiting: copies that found no room.
    """

    key: str
    name: str
    capacity: int | None
    is_passed: bool = False
    shares: int = 0
    used: int = 0
    largest: int = 0
    claimed: int = 0
    waiting: list[CopyState] = field(default_factory=list)

    @property
    def has_shares(self) -> bool:
        """True where every channel has what it needs at least for itself, and only the rest is for all."""
        return self.capacity is not None and 0 < self.shares <= self.capacity

    def has_room(self, claim: int) -> bool:
        """Return whether so many bytes more may be claimed."""
        if self.capacity is None or self.claimed + claim <= self.capacity:
            return True
        return self.is_passed and not self.used

    def take(self, size: int, claim: int) -> None:
        """Keep bytes, for which some had been claimed before."""
        self.used += size
        self.claimed += claim
        if self.used > self.largest:
            self.largest = self.used if self.capacity is None else min(self.used, self.capacity)

    def drop(self, size: int, claim: int) -> list[CopyState]:
        """Forget bytes; return who waits for room."""
        self.used -= size
        self.claimed -= claim
        woken, self.waiting = self.waiting, []
        return woken


@dataclass(eq=False, slots=True)
class Lane:
    """What a channel brings to cores that hold the same share of it.

    Attributes:
        sizes: bytes that they keep of each window of the producer, of one input.
        totals: bytes that they keep of its first 0, 1, ... windows.
        least: bytes with which the lane never holds up for good if it has them for itself, see `find_occupancies`.
        used: bytes that are kept, in each core.
        buffers: where they are.
    """

    sizes: list[int]
    totals: list[int]
    least: int
    used: int = 0
    buffers: list[Buffer] = field(default_factory=list)

    def count_claim(self, size: int) -> int:
        """Return by how much more than before the lane claims of buffers with shares once `size` more are kept."""
        return max(self.used + size, self.least) - max(self.used, self.least)

    def take(self, window: int) -> None:
        """Keep what a window of the producer sends in all buffers."""
        size = self.sizes[window]
        claim = self.count_claim(size)
        self.used += size
        for buffer in self.buffers:
            buffer.take(size, claim if buffer.has_shares else size)

    def drop(self, first: int, count: int) -> list[CopyState]:
        """Forget windows `first` to `count`, over all inputs; return who waits for room."""
        size = self._sum(count) - self._sum(first)
        if not size:
            return []
        claim = -self.count_claim(-size)
        self.used -= size
        return [copy for buffer in self.buffers for copy in buffer.drop(size, claim if buffer.has_shares else size)]

    def _sum(self, count: int) -> int:
        inputs, windows = divmod(count, len(self.sizes))
        return inputs * self.totals[-1] + self.totals[windows]


@dataclass(eq=False, slots=True)
class Channel:
    """What one layer sends to another, over all inputs of a batch.

    Attributes:
        producer, consumer: the layers.
        demands: windows of the producer that each window of the consumer, of one input, needs; of size 1 where they are
            stored. 0 for none.
        cores: of all copies of the consumer. All are sent everything; each keeps what its tiles read.
        sizes: bytes that each window of the producer, of one input, sends.
        forgettable: windows of the producer, over all inputs, that the consumer no longer reads once so many of its
            windows (or of inputs, where they are stored) are done.
        finished, arrived: windows that are finished, and that have arrived everywhere; one and the same where nothing
            is on its way.
        is_stored: True where what is sent is stored in crossbars.
        forgotten: windows that have been dropped.
        lanes: the cores by what they keep, with their numbers.
    """

    producer: LayerState
    consumer: LayerState
    demands: list[int]
    cores: tuple[int, ...]
    sizes: list[int]
    forgettable: list[int]
    finished: Prefix
    arrived: Prefix
    is_stored: bool
    forgotten: int = 0
    lanes: list[tuple[tuple[int, ...], Lane]] = field(default_factory=list)

    def take(self, window: int) -> None:
        """Keep what a window sends in all buffers."""
        for _, lane in self.lanes:
            lane.take(window)

    def forget(self) -> list[CopyState]:
        """Drop what has arrived and is not read any more; return who waits for room."""
        done = self.consumer.written if self.is_stored else self.consumer.finished.total
        first, count = self.forgotten, min(self.forgettable[done], self.arrived.total)
        if count <= first:
            return []
        self.forgotten = count
        return [copy for _, lane in self.lanes for copy in lane.drop(first, count)]


@dataclass(eq=False, slots=True)
class LayerState:
    """One layer: its copies, what it needs, whom it feeds.

    Attributes:
        work: windows and times of one input.
        rank: its place in the order of execution, from 0.
        total: windows of all inputs.
        copies: that take its windows in turn.
        finished: its windows.
        ends_ps: when the last sums of each input were at home, so far.
        streams: what its windows need.
        stores: what is written before the first window of an input.
        writes: copies that hold the stored operand of each input.
        written: inputs, in order, whose stored operand all copies hold or held.
        outputs: whom it feeds.
        reserved: windows, in order, that have room for what they make.
        turns: copies that wait until those before have room.
        start_ps: of its first window or write; None before.
        is_stored: True where an operand is written for every input.
    """

    work: LayerWork
    rank: int
    total: int
    finished: Prefix
    ends_ps: list[int]
    writes: list[int]
    copies: list[CopyState] = field(default_factory=list)
    streams: list[Channel] = field(default_factory=list)
    stores: list[Channel] = field(default_factory=list)
    outputs: list[Channel] = field(default_factory=list)
    written: int = 0
    reserved: int = 0
    turns: dict[int, CopyState] = field(default_factory=dict)
    start_ps: int | None = None
    is_stored: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_stored = bool(self.work.write_ps or self.work.stored_needs)


@dataclass(eq=False, slots=True)
class CopyState:
    """One copy of a layer.

    Attributes:
        layer, place: which one, and where it lies.
        item: the next window, counted over all inputs.
        written_for: the input whose stored operand it holds; -1 for none.
        since_ps: since when it stands still; None while it works.
        cause: why.
        lost_ps: time that it stood still, by cause.
        busy_ps: time of its windows, waiting for the digital unit aside.
        begun_ps: when the window at hand began.
        gathered: for each core but its home: that core, and bytes of the sums that go from there to its home.
    """

    layer: LayerState
    place: CopyPlace
    item: int
    gathered: tuple[tuple[int, int], ...]
    written_for: int = -1
    since_ps: int | None = 0
    cause: Cause = Cause.INPUT
    lost_ps: dict[Cause, int] = field(default_factory=lambda: dict.fromkeys(Cause, 0))
    busy_ps: int = 0
    begun_ps: int = 0

    def stand_still(self, time_ps: int, cause: Cause) -> None:
        """Begin to stand still, or go on for another cause."""
        if self.since_ps is not None:
            self.lost_ps[self.cause] += time_ps - self.since_ps
        self.since_ps, self.cause = time_ps, cause

    def work(self, time_ps: int) -> None:
        """Begin to work."""
        if self.since_ps is not None:
            self.lost_ps[self.cause] += time_ps - self.since_ps
        self.since_ps = None
