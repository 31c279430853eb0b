"""What a program adds whose tiles are reloaded into too few crossbars: which takes which tile, batch after batch.

A reload is one copy of a tile in one crossbar, for one batch; a tile that stays in its crossbar is listed as others
are, and written once.

A batch is computed layer by layer, and its inputs share the writes of weights. A tile is written as soon as its
crossbar is free, however early; a stored operand when the layer before is finished. Weights come over the link to the
outside in the order of their tiles. A layer is read when the one before it is finished and its tile is written. So all
times follow from the latencies of the hardware; that no tile is overwritten before it was read follows from the order
of layers, which `mho.program.reload_work` checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from mho.errors import ProgramError
from mho.scheduling.regime import Regime


@dataclass(frozen=True)
class LayerReloads:
    """One layer.

    Attributes:
        name: layer name.
        copies: for each tile, in the order in which the layer's instructions write them, how many crossbars share its
            windows. Window i, counted over the inputs of a batch, runs on copy i mod d of d.
        crossbars: name of a constant, integers [batches of the period, reloads]: which crossbar takes each. Reloads
            are in the order of tiles, of each tile its copies; a stored operand is reloaded for each input of a batch.
            The instructions name the crossbar of a tile's first reload in the first batch.
    """

    name: str
    copies: tuple[int, ...]
    crossbars: str


@dataclass(frozen=True)
class ProgramReloads:
    """All layers of a program, in execution order.

    Attributes:
        batch: inputs that share the writes of weights.
        rotating: crossbars that are written anew, numbered from 0.
        staying: crossbars after them; each holds one tile for good.
        next_crossbars: for each of those that are written anew, which crossbar of a period it stands for in the next.
        writes_ahead: True where tiles of the next batch are written while one runs; else each starts with nothing
            written.
        layers: their reloads.

    Raises:
        ProgramError: a number is impossible.
    """

    batch: int
    rotating: int
    staying: int
    next_crossbars: tuple[int, ...]
    writes_ahead: bool
    layers: tuple[LayerReloads, ...]

    def __post_init__(self) -> None:
        if self.batch < 1 or self.rotating < 0 or self.staying < 0:
            what = f"batch {self.batch}, {self.rotating} crossbars that are rewritten, {self.staying} others"
            raise ProgramError(what, where="schedule", expected="at least 1, 0 and 0")
        if sorted(self.next_crossbars) != list(range(self.rotating)):
            raise ProgramError(
                "next crossbars that are not each crossbar once", where="schedule", expected=f"0..{self.rotating - 1}"
            )
        if any(copies < 1 for layer in self.layers for copies in layer.copies):
            raise ProgramError("a tile without a copy", where="schedule", expected="at least 1")

    def __getitem__(self, name: str) -> LayerReloads:
        """Return a layer by name. Raises `KeyError`."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> Mapping[str, LayerReloads]:
        return {layer.name: layer for layer in self.layers}

    @property
    def regime(self) -> Regime:
        """Time-multiplexed; weight-stationary where no crossbar is written for an input."""
        return Regime.TIME_MULTIPLEXED if self.rotating else Regime.WEIGHT_STATIONARY

    @property
    def used_crossbars(self) -> int:
        """Crossbars that hold something."""
        return self.rotating + self.staying
