"""The program: buffers, constants and instructions, with what it was made for and from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.display import Table, Tabular
from mho.errors import MhoError, ProgramError
from mho.formats import plural
from mho.hardware.spec import Accelerator
from mho.network.state import State, check_states, read_states
from mho.program.instructions import Instruction, Layer, Loop, Window
from mho.program.reloads import ProgramReloads
from mho.program.schedule import Schedule
from mho.scheduling.regime import Regime

NORMALIZES_INPUT = "normalizes_input"
"""Key of `Program.metadata` that names the operations with which a program normalizes its inputs; it takes raw ones."""

ABOVE_BOUND = "above_max_error"
"""Key of a program's metadata: errors of the layers whose mapping does not keep `mapping.max_error`, by name."""

STATES = "states"
"""Key of a program's metadata: the states that are carried from call to call, see `Program.states`."""

CALL_ENERGY = "call_energy"
"""Key of a program's metadata: energy of one call by component, aJ, and the components that have no unit energy."""


class BufferKind(StrEnum):
    """What a buffer holds."""

    FLOAT = "float32"
    """A tensor of the digital unit."""
    INTEGERS = "integers"
    """A tensor of an integer-only digital unit."""
    CODES = "codes"
    """Integers for DACs or cells."""
    ACCUMULATORS = "accumulators"
    """Exact integer sums, 64 bit."""


@dataclass(frozen=True)
class Buffer:
    """Memory for one sample.

    Attributes:
        kind: what it holds.
        shape: codes and accumulators are flat.
        low, high: of integers: the smallest and the largest.
        scale: of integers: what a step is worth; value = scale * integer.
    """

    kind: BufferKind
    shape: tuple[int, ...]
    low: int = 0
    high: int = 0
    scale: float = 0.0

    @property
    def is_tensor(self) -> bool:
        """Whether it holds a tensor of the digital unit."""
        return self.kind in (BufferKind.FLOAT, BufferKind.INTEGERS)


@dataclass(frozen=True, eq=False, repr=False)
class Program(Tabular):
    """What an accelerator runs for one sample (or, in lockstep, for many).

    Attributes:
        name: for people.
        accelerator: the hardware that it was compiled for.
        inputs, outputs: names of float buffers, in the order of the network's inputs and outputs.
        buffers: every buffer by name.
        constants: read-only arrays by name; names differ from those of buffers.
        instructions: in execution order.
        metadata: what it came from (policy, hashes, versions): JSON values.
        schedule: which crossbars hold copies of the layers, and what their windows wait for, where every layer has
            crossbars of its own; which crossbars tiles are reloaded into, where these are too few; None for a
            program of one crossbar that is used again for every tile.
    """

    name: str
    accelerator: Accelerator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    buffers: Mapping[str, Buffer]
    constants: Mapping[str, NDArray[Any]]
    instructions: tuple[Instruction, ...]
    metadata: Mapping[str, Any]
    schedule: Schedule | ProgramReloads | None = None

    def __post_init__(self) -> None:
        if shared := set(self.buffers) & set(self.constants):
            raise ProgramError(f"a buffer and a constant are both named {min(shared)!r}", where=self.name)
        for name in (*self.inputs, *self.outputs):
            if name not in self.buffers or not self.buffers[name].is_tensor:
                raise ProgramError(f"input or output {name!r} is no tensor", where=self.name)
        constants = {}
        for name, array in self.constants.items():
            view = np.asarray(array).view()
            view.setflags(write=False)
            constants[name] = view
        object.__setattr__(self, "buffers", MappingProxyType(dict(self.buffers)))
        object.__setattr__(self, "constants", MappingProxyType(constants))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    @property
    def regime(self) -> Regime:
        """How its tiles lie in crossbars."""
        return Regime.ONE_CROSSBAR if self.schedule is None else self.schedule.regime

    @cached_property
    def states(self) -> tuple[State, ...]:
        """The inputs and outputs that are carried from one call to the next. Raises `ProgramError`: not of this one."""
        try:
            states = read_states(self.metadata.get(STATES, []), self.name)
            inputs, outputs = (
                {name: self.buffers[name].shape for name in names} for names in (self.inputs, self.outputs)
            )
            check_states(states, inputs, outputs, self.name)
        except MhoError as error:
            raise ProgramError(error.what, where=error.where, expected=error.expected) from error
        return states

    @property
    def sample_bytes(self) -> int:
        """Memory of all buffers for one sample: float32, and int64 for codes and sums."""
        sizes = ((4 if buffer.is_tensor else 8, buffer.shape) for buffer in self.buffers.values())
        return sum(size * math.prod(shape) for size, shape in sizes)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The MVM layers in execution order."""
        return tuple(item for item in self.instructions if isinstance(item, Layer))

    def __repr__(self) -> str:
        return f"Program({self._summary})"

    @property
    def _summary(self) -> str:
        return f"{self.name}: {plural(len(self.layers), 'layer')} on {_PLACES[self.regime]} of {self.accelerator.name}"

    def table(self) -> Table:
        """Return one row a layer; instructions in loops count once, executed ones as often as one sample needs them."""
        counted = ((layer, list(walk(layer.body))) for layer in self.layers)
        rows = ((layer.name, layer.adc_bits, len(found), sum(times for _, times in found)) for layer, found in counted)
        return Table(self._summary, ("layer", "adc_bits", "instructions", "executed"), tuple(rows))


_PLACES = {
    Regime.ONE_CROSSBAR: "one crossbar",
    Regime.WEIGHT_STATIONARY: "a whole chip",
    Regime.TIME_MULTIPLEXED: "a chip that rewrites tiles",
}


def walk(body: tuple[Instruction, ...], times: int = 1) -> Iterator[tuple[Instruction, int]]:
    """Yield every instruction that is not a loop or layer, with how often it is executed for one sample."""
    for item in body:
        if isinstance(item, Loop):
            yield from walk(item.body, times * item.count)
        elif isinstance(item, Layer | Window):
            yield from walk(item.body, times)
        else:
            yield item, times


def rewrite(
    body: tuple[Instruction, ...], change: Callable[[Instruction], tuple[Instruction, ...]]
) -> tuple[Instruction, ...]:
    """Return a body in which every instruction, in loops and windows too, is replaced by what `change` returns."""
    changed: list[Instruction] = []
    for item in body:
        if isinstance(item, Loop | Window):
            changed.append(replace(item, body=rewrite(item.body, change)))
        else:
            changed += change(item)
    return tuple(changed)
