"""The work graph: all that a schedule must know of a network whose tiles stay in crossbars of their own.

A layer works through *windows* in order (images, then rows, then columns of positions). One window is everything that
one read of all of the layer's tiles gives, all input slices included; the tiles of one copy of a layer work at the
same time, each in a crossbar of its own. A window may start once certain windows of earlier layers are finished. As
every layer works through its windows in order, it is enough to say how many of them: a prefix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mho.errors import ScheduleError
from mho.mapping.layer_mapping import LayerMapping

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Need:
    """What a layer needs of an earlier one.

    Attributes:
        producer: name of the earlier layer.
        windows: int64 [windows of the layer], how many of the producer's windows, in order, must be finished before
            each window may start; 0 for none. Read-only.
        forgotten: int64 [windows of the layer], how many of the producer's windows, in order, neither a later window
            nor any after it needs: what a buffer may drop once the window is finished. None where that is not known:
            all are kept until the last window. Read-only.
        bytes: int64 [windows of the producer], bytes of the layer's input codes that each window completes: codes that
            depend on several producers count for the last in execution order. None where nothing is carried: it is at
            hand. Read-only.
    """

    producer: str
    windows: Integers
    forgotten: Integers | None = None
    bytes: Integers | None = None

    def __post_init__(self) -> None:
        for array in (self.windows, self.forgotten, self.bytes):
            if array is not None:
                array.setflags(write=False)

    @cached_property
    def most_windows(self) -> int:
        """Windows of the producer that the last of the layer needs, or any before it."""
        return int(self.windows.max(initial=0))

    @cached_property
    def least_bytes(self) -> int:
        """Bytes that a window of the layer needs at once of the producer, or that one gives; 0 where all is at hand."""
        if self.bytes is None:
            return 0
        totals = np.append(0, np.cumsum(self.bytes))
        dropped = np.zeros_like(self.windows) if self.forgotten is None else np.append(0, self.forgotten[:-1])
        return max(int(self.bytes.max()), int((totals[self.windows] - totals[dropped]).max()))


@dataclass(frozen=True, eq=False)
class LayerWork:
    """One MVM layer on a chip.

    Attributes:
        name: layer name.
        known_mapping: how one copy of the layer lies in crossbars, where that is known.
        crossbars: that one copy takes; 0 of a layer that the digital unit computes.
        windows: how many there are, for one input.
        window_ps: time of one window on one copy, ps: all input slices, one after the other.
        digital_ps: what of it the digital unit of the copy's core takes, at the end, ps. Of a layer that the unit
            computes, the whole window where the unit has nothing else to do.
        needs: of earlier layers.
        stored_needs: of earlier layers whose outputs are stored in crossbars before the first window (products of two
            activations): name and number of windows.
        write_ps: time to write the stored operand of one input, ps, all tiles at once; 0 for weights.
        stored_bytes: for each of `stored_needs`, int64 [windows of the producer], bytes of the stored operand that each
            window completes; empty where nothing is carried.
        sum_bytes: bytes of the sums that one window gives, when it leaves the core where they are added up.
        tile_sum_bytes: bytes of the sums that one tile gives a part of, on average.
        row_tiles: tiles that add up to one sum; in a copy, these are neighbours.
        row_blocks: parts of an input that tiles read; tiles beside each other read the same one.
        unit: the core whose digital unit computes the layer, in no crossbar and in one copy; None in crossbars.
    """

    name: str
    known_mapping: LayerMapping | None
    crossbars: int
    windows: int
    window_ps: int
    needs: tuple[Need, ...]
    stored_needs: tuple[tuple[str, int], ...] = ()
    write_ps: int = 0
    stored_bytes: tuple[Integers, ...] = ()
    sum_bytes: int = 0
    tile_sum_bytes: int = 0
    row_tiles: int = 1
    row_blocks: int = 1
    unit: int | None = None
    digital_ps: int = 0

    @property
    def read_ps(self) -> int:
        """Time of a window in which crossbars are read, ps."""
        return self.window_ps - self.digital_ps if self.unit is None else 0

    @property
    def busy_ps(self) -> int:
        """Time of a window that waits for nothing, ps."""
        return self.window_ps if self.unit is None else self.digital_ps

    @property
    def work_ps(self) -> int:
        """Time of all windows on one copy, ps."""
        return self.windows * self.window_ps

    @property
    def mapping(self) -> LayerMapping:
        """How one copy lies in crossbars. Raises `ScheduleError` where that is not known (of a program's layers)."""
        if self.known_mapping is None:
            raise ScheduleError("its mapping is not known", where=f"layer {self.name}")
        return self.known_mapping

    def list_received(self) -> list[tuple[str, bool, Integers]]:
        """Return what the layer is sent: by whom, whether it is stored, and bytes of each window of the producer."""
        streamed = [(need.producer, False, need.bytes) for need in self.needs if need.bytes is not None]
        stored = [(name, True, sizes) for (name, _), sizes in zip(self.stored_needs, self.stored_bytes, strict=False)]
        return [*streamed, *stored]


@dataclass(frozen=True, eq=False)
class WorkGraph:
    """All MVM layers of a network in execution order.

    Raises:
        ScheduleError: a layer needs one that does not stand before it, or more windows than that has.
    """

    name: str
    layers: tuple[LayerWork, ...]

    def __post_init__(self) -> None:
        seen: dict[str, LayerWork] = {}
        for layer in self.layers:
            for producer, count in _list_needs(layer):
                if producer not in seen or count > seen[producer].windows:
                    raise ScheduleError(
                        f"needs {count} windows of {producer!r}", where=f"layer {layer.name}",
                        expected="windows of layers before it",
                    )  # fmt: skip
            seen[layer.name] = layer

    def __getitem__(self, name: str) -> LayerWork:
        """Return a layer by name. Raises `KeyError`."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    @property
    def minimal_crossbars(self) -> int:
        """Crossbars that hold every layer once."""
        return sum(layer.crossbars for layer in self.layers)

    @property
    def layer_by_layer_ps(self) -> int:
        """Time of one input where layers follow each other and each has one copy, ps."""
        return sum(layer.write_ps + layer.work_ps for layer in self.layers)


def _list_needs(layer: LayerWork) -> Iterator[tuple[str, int]]:
    for need in layer.needs:
        yield need.producer, need.most_windows
    yield from layer.stored_needs
