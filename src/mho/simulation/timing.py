"""How long a program takes for one sample: what its instructions do, times what each costs. Exact, in picoseconds.

Nothing is run: the instruction tree tells how often each write and each MVM is executed. The cost model predicts the
same from the mapping alone; a property test holds the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass

from mho.cost.latency import read_time_ps, write_time_ps
from mho.program.instructions import Layer, Mvm, WriteDynamicTile, WriteTile
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
    """Time one sample of `program` on one crossbar, used again for every tile."""
    return ProgramTiming(tuple(_time_layer(program, layer) for layer in program.layers))


def _time_layer(program: Program, layer: Layer) -> LayerTiming:
    writes = mvms = 0
    for item, times in walk(layer.body):
        if isinstance(item, WriteTile | WriteDynamicTile):
            writes += times
        elif isinstance(item, Mvm):
            mvms += times
    hardware = program.accelerator
    return LayerTiming(layer.name, writes, mvms, write_time_ps(writes, hardware), read_time_ps(mvms, hardware))
