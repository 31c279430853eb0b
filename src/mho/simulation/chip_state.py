"""What a chip is made of while it is simulated: producers, channels to consumers, copies, buffers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mho.scheduling.placement import CopyPlace
from mho.scheduling.work import LayerWork, Need

SUM_BYTES = 4
"""Bytes of a partial sum that is sent from core to core."""


class Cause(StrEnum):
    """Why a copy of a layer stands still.

    Attributes:
        INPUT: windows that it needs are not finished.
        INTERCONNECT: they are, but have not arrived.
        BUFFER: what it would make has nowhere to go.
        WRITE: its crossbars are written.
        DONE: it has no work left.
    """

    INPUT = "input"
    INTERCONNECT = "interconnect"
    BUFFER = "buffer"
    WRITE = "write"
    DONE = "done"


@dataclass(eq=False)
class Prefix:
    """How many of a sequence are done, without a gap; who waits for how many."""

    size: int
    count: int = 0
    waiting: list[tuple[int, CopyState]] = field(default_factory=list)
    _done: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self._done = bytearray(self.size + 1)

    def add(self, number: int) -> list[CopyState]:
        """Mark one as done; return who need not wait any longer."""
        self._done[number] = 1
        if number != self.count:
            return []
        while self._done[self.count]:
            self.count += 1
        if not self.waiting:
            return []
        woken = [copy for demand, copy in self.waiting if demand <= self.count]
        if woken:
            self.waiting = [entry for entry in self.waiting if entry[0] > self.count]
        return woken


@dataclass(eq=False)
class Buffer:
    """Bytes that a core may keep; None for any number."""

    name: str
    capacity: int | None
    used: float = 0.0
    largest: float = 0.0
    waiting: list[CopyState] = field(default_factory=list)

    def has_room(self, size: float) -> bool:
        """Tell whether so many bytes more fit. Rounding of shares of bytes does not count."""
        return self.capacity is None or self.used + size <= self.capacity + 1e-6

    def take(self, size: float) -> None:
        """Keep bytes."""
        self.used += size
        self.largest = max(self.largest, self.used)

    def drop(self, size: float) -> list[CopyState]:
        """Forget bytes; return who waits for room."""
        self.used -= size
        woken, self.waiting = self.waiting, []
        return woken


@dataclass(eq=False)
class Channel:
    """What one layer sends to another.

    Attributes:
        producer, consumer: the layers.
        need: prefix that each window of the consumer needs; None where all of it is stored.
        stored: windows that are stored before the consumer's first window.
        window_bytes: bytes of one window of the producer.
        cores: of all copies of the consumer.
        arrived: windows of the producer that have arrived everywhere.
        forgotten: windows that have been dropped by the consumer.
    """

    producer: LayerState
    consumer: LayerState
    need: Need | None
    stored: int
    window_bytes: float
    cores: tuple[int, ...]
    arrived: Prefix
    forgotten: int = 0

    def demand(self, item: int) -> int:
        """Return how many windows of the producer, over all inputs, a window of the consumer needs; 0 for none."""
        index, window = divmod(item, self.consumer.work.windows)
        count = self.stored if self.need is None else self._demands[window]
        return index * self.producer.work.windows + count if count else 0

    def __post_init__(self) -> None:
        self._demands = [] if self.need is None else self.need.windows.tolist()
        kept = None if self.need is None or self.need.forgotten is None else self.need.forgotten.tolist()
        self._forgotten: list[int] | None = kept

    def forgettable(self, finished: int) -> int:
        """Return how many windows of the producer may be dropped once so many of the consumer's are finished."""
        index, window = divmod(finished, self.consumer.work.windows)
        before = index * self.producer.work.windows
        if window == 0 or self._forgotten is None:
            return before
        return before + self._forgotten[window - 1]


@dataclass(eq=False)
class LayerState:
    """One layer: its copies, what it needs, whom it feeds.

    Attributes:
        finished: its windows, over all inputs.
        ends_ps: when the last window of each input was finished, so far.
    """

    work: LayerWork
    copies: list[CopyState]
    finished: Prefix
    ends_ps: list[int]
    inputs: list[Channel] = field(default_factory=list)
    outputs: list[Channel] = field(default_factory=list)
    start_ps: int | None = None
    finish_ps: int = 0

    @property
    def sum_bytes(self) -> float:
        """Bytes of the partial sums of one window."""
        layer = self.work.mapping.layer
        return layer.outputs * layer.repeat * layer.positions / self.work.windows * SUM_BYTES


@dataclass(eq=False)
class CopyState:
    """One copy of a layer.

    Attributes:
        layer, place: which one, and where it lies.
        item: the next window, counted over all inputs.
        last: one behind its last window.
        written_for: the input whose stored operand it holds; -1 for none.
        since_ps: since when it stands still; None while it works.
        cause: why.
        lost_ps: time that it stood still, by cause.
        busy_ps: time of its windows.
    """

    layer: LayerState
    place: CopyPlace
    item: int
    last: int
    written_for: int = -1
    since_ps: int | None = 0
    cause: Cause = Cause.INPUT
    lost_ps: dict[Cause, int] = field(default_factory=lambda: dict.fromkeys(Cause, 0))
    busy_ps: int = 0

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
