"""What a program for a chip adds, where every layer has crossbars of its own: copies, and what windows wait for.

The copies of a layer take its windows in turn: window i runs on copy i mod d of d, each copy one window after the
other. A window starts as soon as its copy is free and, of every layer that it waits for, so many windows are finished
(from the first on). So the order of all windows follows from the latencies of the hardware, and is the same on every
run; that no window reads what is not there yet follows from the waits alone, which `mho.program.chip_work` checks
against the program's own operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from mho.errors import ProgramError
from mho.scheduling.regime import Regime


@dataclass(frozen=True)
class Wait:
    """What the windows of a layer wait for.

    Attributes:
        producer: name of an earlier layer.
        windows: name of a constant, integers [windows of the waiting layer]: how many windows of the producer, in their
            order, must be finished before each window starts; 0 for none.
    """

    producer: str
    windows: str


@dataclass(frozen=True)
class StoredWait:
    """What the operand waits for that a layer stores in its crossbars (a product of two activations).

    Attributes:
        producer: name of an earlier layer.
        windows: how many of its windows, in their order, must be finished before the operand is written.
    """

    producer: str
    windows: int


@dataclass(frozen=True)
class LayerSchedule:
    """One layer.

    Attributes:
        name: layer name.
        copies: crossbars of each copy, in the order in which the layer's instructions write its tiles. Those of the
            first are the ones that the instructions name; another copy does the same with its own.
        waits: of its windows.
        stored_waits: of its stored operand, which is written into all copies.
        core: whose digital unit computes the layer, which then has one copy in no crossbar; None in crossbars.
    """

    name: str
    copies: tuple[tuple[int, ...], ...]
    waits: tuple[Wait, ...]
    stored_waits: tuple[StoredWait, ...]
    core: int | None = None

    def __post_init__(self) -> None:
        if self.core is not None and self.copies != ((),):
            raise ProgramError(
                "crossbars of a layer that a digital unit computes",
                where=f"schedule of layer {self.name}",
                expected="one copy without crossbars",
            )
        lengths = {len(copy) for copy in self.copies}
        if self.core is None and (len(lengths) != 1 or lengths == {0}):
            raise ProgramError(
                "its copies have no crossbars, or not equally many",
                where=f"schedule of layer {self.name}",
                expected="one crossbar for each tile",
            )


@dataclass(frozen=True)
class Schedule:
    """All layers of a program, in execution order.

    Raises:
        ProgramError: a crossbar is given to two copies, or twice to one.
    """

    layers: tuple[LayerSchedule, ...]

    def __post_init__(self) -> None:
        owners: dict[int, str] = {}
        for layer in self.layers:
            for crossbar in (crossbar for copy in layer.copies for crossbar in copy):
                if crossbar in owners:
                    raise ProgramError(
                        f"crossbar {crossbar} is given twice, to {owners[crossbar]} and to {layer.name}",
                        where="schedule",
                        expected="a crossbar of its own for every tile of every copy",
                    )
                owners[crossbar] = layer.name

    @property
    def regime(self) -> Regime:
        """Weight-stationary."""
        return Regime.WEIGHT_STATIONARY

    def __getitem__(self, name: str) -> LayerSchedule:
        """Return a layer by name. Raises `KeyError`."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> Mapping[str, LayerSchedule]:
        return {layer.name: layer for layer in self.layers}

    @property
    def copies(self) -> dict[str, int]:
        """How many copies each layer has."""
        return {layer.name: len(layer.copies) for layer in self.layers}

    @property
    def used_crossbars(self) -> int:
        """Crossbars that hold something."""
        return sum(len(copy) for layer in self.layers for copy in layer.copies)
