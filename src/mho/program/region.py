"""A layer's region held against its geometry: the vocabulary in which `mho.program.product` proves what it computes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mho.errors import ProgramError
from mho.program.instructions import Affine
from mho.program.program import Program
from mho.program.tile_uses import LayerContent, Loops

Integers = NDArray[np.int64]

SUM_OF_INPUTS = -1
"""Instead of an output: the column's counts are added to the sum of the input vector."""
UNUSED = -2
"""Instead of an output: the column is left out."""


class Region:
    """One layer's content with its geometry and the layout of its sums."""

    def __init__(self, program: Program, content: LayerContent) -> None:
        self.program, self.content = program, content
        self.geometry = content.layer.geometry
        self.has_sums = content.dequantize.layout.has_sums
        self.layout = self.geometry.layout(self.has_sums)
        self.require(bool(content.tiles), "no crossbar is read")
        self.require(bool(content.quantizations), "no input is quantized")

    def require(self, condition: bool, what: str) -> None:
        """Raise unless `condition` holds."""
        if not condition:
            raise ProgramError(what, where=f"layer {self.content.layer.name}", hint="the program is damaged")

    def constant(self, name: str) -> Integers:
        """Return a constant as int64."""
        return self.program.constants[name].astype(np.int64)

    @property
    def positions(self) -> int:
        """Positions of one group."""
        return math.prod(axis.count for axis in self.geometry.positions(self.has_sums))

    def require_turns(self, loops: Loops, turns: int, what: str) -> None:
        """Raise unless the loops turn `turns` times; before anything as large is made."""
        self.require(math.prod(count for _, count in loops) == turns, what)

    def locate(self, addresses: Integers, offset: int) -> tuple[Integers, Integers]:
        """Return the group and position whose sums start `offset` before these addresses."""
        starts = addresses - offset
        self.require(bool(((starts >= 0) & (starts < self.layout.size)).all()), "a sum lies outside of its buffer")
        batch, group, before, channel, after = np.unravel_index(starts, self.layout.shape)
        self.require(not channel.any(), "an address of sums does not start at the first output")
        return group, (batch * self.layout.before + before) * self.layout.after + after

    def input_address(self, group: Integers, position: Integers) -> Integers:
        """Return where the input vector of a group and position starts."""
        axes = self.geometry.positions(self.has_sums)
        places = np.unravel_index(position, tuple(axis.count for axis in axes))
        starts = sum((place * axis.input_stride for place, axis in zip(places, axes, strict=True)), np.int64(0))
        return np.asarray(starts + group * self.geometry.group_input_stride)


def loop_values(loops: Loops) -> Mapping[str, Integers]:
    """Return, for each loop variable, its value at every turn of the nest, in order of execution."""
    if not loops:
        return {}
    indices = np.indices(tuple(count for _, count in loops), dtype=np.int64).reshape(len(loops), -1)
    return {variable: index for (variable, _), index in zip(loops, indices, strict=True)}


def evaluate(address: Affine, values: Mapping[str, Integers]) -> Integers:
    """Return the address at every turn of the nest (at one turn where there is no loop)."""
    turns = next(iter(values.values())).size if values else 1
    return sum((stride * values[name] for name, stride in address.strides), np.full(turns, address.base, np.int64))
