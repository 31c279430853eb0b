"""How long a program takes for one sample: what its instructions do, times what each costs. Exact, in picoseconds.

Nothing is run: the instruction tree tells how often each write and each MVM is executed. The cost model predicts the
same from the mapping alone; a property test holds the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass

from mho.errors import ProgramError
from mho.mapping.counts import Counts
from mho.program.conversions import count_shift_add, price_layer
from mho.program.instructions import DigitalProduct, Layer, Mvm, ShiftAdd, SumInputs, WriteDynamicTile, WriteTile
from mho.program.program import Program, walk


@dataclass(frozen=True)
class LayerTiming:
    """One layer, one sample: crossbar writes, MVMs and the time they take."""

    name: str
    writes: int
    mvms: int
    write_ps: int
    read_ps: int

    @property
    def latency_ps(self) -> int:
        """Writes and reads, ps."""
        return self.write_ps + self.read_ps


@dataclass(frozen=True)
class ProgramTiming:
    """All layers of one sample, one after the other; digital work is taken to be hidden behind the crossbar."""

    layers: tuple[LayerTiming, ...]

    @property
    def latency_ps(self) -> int:
        """Time of one sample, ps."""
        return sum(layer.latency_ps for layer in self.layers)

    @property
    def writes(self) -> int:
        """Crossbar writes of all layers."""
        return sum(layer.writes for layer in self.layers)

    @property
    def mvms(self) -> int:
        """MVMs of all layers."""
        return sum(layer.mvms for layer in self.layers)


def time_program(program: Program) -> ProgramTiming:
    """Time one sample of `program` on one crossbar, used again for every tile.

    Raises:
        ProgramError: the program has a schedule for a chip, whose times `mho.simulation.program_timing` tells.
    """
    if program.schedule is not None:
        raise ProgramError(
            "its tiles have crossbars of their own: there are no times on one crossbar", where=program.name,
            hint="mho simulate --timing tells its times on the chip; mho compile without --chip takes one crossbar",
        )  # fmt: skip
    return ProgramTiming(tuple(_time_layer(program, layer) for layer in program.layers))


def _time_layer(program: Program, layer: Layer) -> LayerTiming:
    counts = Counts(0, 0, 0, 0)
    for item, times in walk(layer.body):
        if isinstance(item, WriteTile | WriteDynamicTile):
            joins = isinstance(item, WriteTile) and item.joins
            counts += Counts(0 if joins else times, 0, 0, 0)
        elif isinstance(item, Mvm):
            counts += Counts(0, times, 0, 0)
        elif isinstance(item, ShiftAdd):
            one = count_shift_add(program, item)
            counts += Counts(0, 0, times * one.conversions, times * one.operations)
        elif isinstance(item, SumInputs):
            counts += Counts(0, 0, 0, times * len(program.constants[item.row_offsets]))
        elif isinstance(item, DigitalProduct):
            macs = len(program.constants[item.row_offsets]) * len(program.constants[item.column_targets])
            counts += Counts(0, 0, 0, times * macs)
    prices = price_layer(program, layer)
    writing = prices.writing_ps(counts, is_stored_dynamically=False)
    return LayerTiming(layer.name, counts.tiles, counts.mvms, writing, prices.reading_ps(counts))
