"""Ways to damage a program: each returns a function that takes a program and gives the damaged one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hand_made import HAND_MADE
from small_programs import change_constant, change_instructions

from mho.errors import ProgramError
from mho.program.geometry import AccumulatorLayout
from mho.program.instructions import Affine, Dequantize, Instruction, Layer, LoadInput, Loop, QuantizeInput, SumInputs
from mho.program.program import Buffer, BufferKind, Program
from mho.program.verify import verify_program

Damage = Callable[[Program], Program]


def check_found(name: str, change: Damage, message: str) -> None:
    """Check that a sound program written by hand is refused in these words once it is damaged."""
    made = HAND_MADE[name]().program
    verify_program(made)
    with pytest.raises(ProgramError, match=message):
        verify_program(change(made))


def instruction(kind: type, change: Callable[[Any], Instruction | None], only: int | None = 0) -> Damage:
    """Change the instruction of a kind with the number `only`, or all of them."""
    return lambda program: change_instructions(program, kind, change, only=only)


def constant(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """Change a constant."""
    return lambda program: change_constant(program, name, change)


def becomes(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Change a constant to these values."""
    return lambda _: values


def both(*damages: Damage) -> Damage:
    """Do one damage after the other."""

    def damage(program: Program) -> Program:
        for one in damages:
            program = one(program)
        return program

    return damage


def cell(name: str, row: int, col: int, value: int) -> Damage:
    """Change one cell of the first matrix."""

    def change(cells: np.ndarray) -> np.ndarray:
        assert cells[0, row, col] != value
        cells[0, row, col] = value
        return cells

    return constant(name, change)


def with_constant(name: str, values: np.ndarray) -> Damage:
    """Add a constant."""
    return lambda program: replace(program, constants={**program.constants, name: values})


def with_sums(name: str, size: int) -> Damage:
    """Add a buffer of sums."""
    sums = Buffer(BufferKind.ACCUMULATORS, (size,))
    return lambda program: replace(program, buffers={**program.buffers, name: sums})


def buffer(name: str, size: int) -> Damage:
    """Change how long a flat buffer is."""

    def damage(program: Program) -> Program:
        sized = Buffer(program.buffers[name].kind, (size,))
        return replace(program, buffers={**program.buffers, name: sized})

    return damage


def margins(*values: int) -> Damage:
    """Change the margins of the sums."""

    def change(item: Dequantize) -> Dequantize:
        layout: AccumulatorLayout = item.layout
        return replace(item, layout=replace(layout, margins=values))

    return instruction(Dequantize, change)


def strided(address: Affine, stride: int, base: int = 0) -> Affine:
    """Return an address with another stride, moved by `base`."""
    return Affine(address.base + base, tuple((variable, stride) for variable, _ in address.strides))


def layer_uses(layer: str, old: str, new: str) -> Damage:
    """Let one layer use another buffer of codes."""

    def change(item: Layer) -> Layer:
        return replace(item, body=tuple(_rename(one, old, new) for one in item.body)) if item.name == layer else item

    return instruction(Layer, change, only=None)


def after_another_layer(codes: str) -> Damage:
    """Put the program's only layer, "fc", behind one like it, which quantizes into a buffer of its own."""

    def damage(program: Program) -> Program:
        (layer,) = program.layers
        first = replace(layer, name="before", body=tuple(_rename(item, "fc:codes", codes) for item in layer.body))
        last = replace(layer, body=(*layer.body[:-1], replace(layer.body[-1], target="z")))
        buffers = {**program.buffers, codes: program.buffers["fc:codes"], "z": program.buffers["y"]}
        return replace(program, buffers=buffers, instructions=(first, last))

    return damage


def _rename(item: Instruction, old: str, new: str) -> Instruction:
    """Let an instruction, or those in a loop, use another buffer of codes."""
    if isinstance(item, Loop):
        return replace(item, body=tuple(_rename(one, old, new) for one in item.body))
    if isinstance(item, QuantizeInput):
        return replace(item, target=new) if item.target == old else item
    return replace(item, codes=new) if isinstance(item, LoadInput | SumInputs) and item.codes == old else item
