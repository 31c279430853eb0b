"""A layer's region beside its geometry: the vocabulary of the proof of what it computes (`mho.program.layer_proof`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import ProgramError
from mho.input_files import check_memory
from mho.program.instructions import Affine
from mho.program.layer_content import LayerContent, Loops
from mho.program.program import Program

Integers = NDArray[np.int64]

_PROOF_BYTES = 200
"""Memory that a proof takes for each position of each group, measured."""


class LayerRegion:
    """One layer's content with its geometry and the layout of its sums.

    Attributes:
        program, content, geometry, layout: what is compared.
        groups, positions: how many there are.
        first_code: address of the first code of the streamed operand.
    """

    def __init__(self, program: Program, content: LayerContent) -> None:
        self.program, self.content = program, content
        self.geometry = content.layer.geometry
        layout = content.dequantize.layout
        self.layout = self.geometry.layout(has_sums=layout.has_sums, margins=layout.margins)
        self.require(layout == self.layout, "the layout of the sums is not that of the geometry")
        self.require(bool(content.quantizations), "no input is quantized")
        self.groups, self.positions = self.geometry.groups, math.prod(self.geometry.position_counts)
        what = f"the proof of {self.groups * self.positions:,} positions"
        check_memory(_PROOF_BYTES * self.groups * self.positions, what, where=f"layer {content.layer.name}")
        self.first_code = content.quantizations[0].start

    def require(self, condition: bool, what: str) -> None:
        """Raise unless `condition` holds."""
        if not condition:
            raise ProgramError(what, where=f"layer {self.content.layer.name}", hint="the program is damaged")

    def constant(self, name: str) -> Integers:
        """Return a constant as int64."""
        return self.program.constants[name].astype(np.int64)

    def require_turns(self, loops: Loops, most: int, what: str, *, least: int = 1) -> None:
        """Raise where the loops turn more than `most` or less than `least` times; before anything as large is made."""
        self.require(least <= math.prod(count for _, count in loops) <= most, what)

    def locate(self, addresses: Integers, offset: int = 0) -> tuple[Integers, Integers]:
        """Return the groups, and the positions [..., 3] (image, row and column; margins lie below 0 or beyond), whose
        sums start `offset` before these addresses."""
        starts = addresses - offset
        self.require(bool(((starts >= 0) & (starts < self.layout.size)).all()), "a sum lies outside of its buffer")
        image, group, line, channel, row, column = np.unravel_index(starts, self.layout.shape)
        self.require(not channel.any(), "an address of sums does not start at the first output")
        top, _, left, _ = self.layout.margins
        along = line if self.layout.is_linear else column
        return group, np.stack([image, row - top, along - left], axis=-1)

    def code_addresses(self, group: Integers, position: Integers) -> Integers:
        """Return where the input vectors of groups and positions [..., 3] start, inside of the layer or not."""
        return self.first_code + group * self.geometry.code_strides.group + position @ self.position_steps

    @property
    def position_steps(self) -> Integers:
        """How far apart the codes of neighbouring images, rows and columns of positions lie."""
        strides, (rows, columns) = self.geometry.code_strides, self.geometry.pixel_steps
        return np.array([strides.image, rows * strides.row, columns * strides.column], dtype=np.int64)

    def is_inside(self, position: Integers) -> NDArray[Any]:
        """Return which positions [..., 3] lie in the layer."""
        return np.asarray(((position >= 0) & (position < np.array(self.geometry.position_counts))).all(axis=-1))

    def number(self, position: Integers) -> Integers:
        """Return the numbers 0 .. `positions` - 1 of positions [..., 3] that lie in the layer."""
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(position, -1, 0)), self.geometry.position_counts))


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
