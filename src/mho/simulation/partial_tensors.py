"""Tensors of which a part is there: what is not finished is not a number, and so is all that follows from it.

Digital operations are evaluated on whole tensors. They give every element from the elements that it depends on, so
that what is there is what it will be in the end, to the last bit, and what depends on something missing is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mho.program.instructions import Digital
from mho.program.program import Program
from mho.simulation.machine import Machine, run_body

Floats = NDArray[np.float32]


class Producer(Protocol):
    """An MVM layer: what of its output is there."""

    @property
    def progress(self) -> int:
        """How much is there: what it makes changes only where this does."""

    def give(self) -> Floats:
        """Return float32 [samples, *shape], not a number where it is not finished."""


@dataclass
class PartialTensors:
    """The float buffers of a machine, made on demand.

    Attributes:
        machine: what evaluates digital operations; holds the inputs.
        producers: of the outputs of MVM layers, by name of the tensor.
    """

    machine: Machine
    producers: Mapping[str, Producer]
    _digital: Mapping[str, Digital] = field(init=False)
    _known: dict[str, tuple[tuple[int, ...], Floats]] = field(default_factory=dict)
    _sources: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        instructions = self.machine.program.instructions
        self._digital = {item.output: item for item in instructions if isinstance(item, Digital)}

    def stamp(self, name: str) -> tuple[int, ...]:
        """Return what changes whenever a tensor does: the progress of all layers that it is made of."""
        return tuple(self.producers[source].progress for source in self._list_sources(name))

    def pull(self, name: str) -> Floats:
        """Return a tensor as far as it is there, float32 [samples, *shape]; not a number elsewhere."""
        program, stamp = self.machine.program, self.stamp(name)
        known = self._known.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        if name in self.producers:
            value = self.producers[name].give()
        elif name in self._digital:
            item = self._digital[name]
            for operand in item.inputs:
                if not _is_given(program, operand):
                    self.machine.buffers[operand] = self.pull(operand)
            run_body(self.machine, (item,), {})
            value = self.machine.buffers[name]
        else:
            value = self.machine.buffers[name]
        self._known[name] = (stamp, value)
        return value

    def _list_sources(self, name: str) -> tuple[str, ...]:
        """List the outputs of layers that a tensor is made of, those of layers before them left out."""
        if name not in self._sources:
            if name in self.producers:
                found: dict[str, Any] = {name: None}
            else:
                operands = self._digital[name].inputs if name in self._digital else ()
                found = dict.fromkeys(source for operand in operands for source in self._list_sources(operand))
            self._sources[name] = tuple(found)
        return self._sources[name]


def _is_given(program: Program, name: str) -> bool:
    return name in program.constants or name in program.inputs
