"""Where every buffer of a program lies in a device's memory: element types, lifetimes, what shares its place.

Lifetimes are counted in steps: a digital operation, or one instruction of a layer's body (a whole loop is one). Three
kinds of buffers take the place of another: a reshaped tensor, the result of an elementwise operation on a tensor that
is not needed after it, and what is made of a layer's sums (outputs never overtake the sums they are made of).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from mho.arithmetic.operations import OPERATIONS
from mho.deploy.arena import Arena, Lifetime, plan_arena
from mho.deploy.elements import Element, narrowest
from mho.program.instructions import (
    Digital,
    Instruction,
    LastStep,
    Layer,
    WriteDynamicTile,
)
from mho.program.layer_proof import LayerProduct
from mho.program.program import BufferKind, Program
from mho.program.verify import prove_program

_WHOLE_ROWS = ("softmax", "layer_norm")
IN_PLACE = {name for name, record in OPERATIONS.items() if record.is_elementwise}.union(
    ("batch_norm", *_WHOLE_ROWS, *(f"int_{name}" for name in _WHOLE_ROWS), "int_rms_norm")
)
"""Operations whose result may take the place of an operand of its shape."""

_ALIGNMENT = 8
_LARGEST_TOTAL = 2**31 - 1


@dataclass(frozen=True)
class DeviceBuffer:
    """A buffer in the arena: `count` elements from byte `offset` on."""

    name: str
    element: Element
    count: int
    offset: int

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes."""
        return self.count * self.element.size_bytes


@dataclass(frozen=True)
class MemoryPlan:
    """All buffers by name, in their order in an image, and the arena that holds them.

    `staging` names the buffer that keeps the cells of the activations that a crossbar stores, by layer and crossbar.
    """

    buffers: Mapping[str, DeviceBuffer]
    staging: Mapping[tuple[str, int], str]
    arena: Arena

    @property
    def size(self) -> int:
        """Bytes of the arena."""
        return self.arena.size


def plan_memory(program: Program) -> MemoryPlan:
    """Prove a program and plan its memory.

    Raises:
        ProgramError: it is not sound.
    """
    elements = _find_elements(program, list(prove_program(program)))
    counts = {name: math.prod(program.buffers[name].shape) for name in elements}
    steps = list(_list_steps(program.instructions))
    uses = _find_uses(program, steps)
    staging: dict[tuple[str, int], str] = {}
    for layer in program.layers:
        for item in walk_body(layer.body):
            if isinstance(item, WriteDynamicTile):
                size = len(item.rows) * len(item.cols)
                name = staging.setdefault((layer.name, item.crossbar), f"{layer.name}:crossbar {item.crossbar}")
                elements[name], counts[name] = Element.U8, max(size, counts.get(name, 0))
                places = [step for step, (_, owner) in enumerate(steps) if owner == layer.name]
                uses[name] = (places[0], places[-1])
    groups = _share_places(program, steps, uses, elements)
    sizes = {name: counts[name] * elements[name].size_bytes for name in elements if name in uses}
    members: dict[str, list[str]] = {}
    for name in sizes:
        members.setdefault(groups.get(name, name), []).append(name)
    blocks = [
        Lifetime(
            min(uses[name][0] for name in group),
            max(uses[name][1] for name in group),
            -(-max(max(sizes[name] for name in group), 1) // _ALIGNMENT) * _ALIGNMENT,
        )
        for group in members.values()
    ]
    arena = plan_arena(blocks)
    places_of = {name: offset for group, offset in zip(members.values(), arena.offsets, strict=True) for name in group}
    buffers = {name: DeviceBuffer(name, elements[name], counts[name], places_of[name]) for name in sizes}
    return MemoryPlan(buffers, staging, arena)


def _find_elements(program: Program, products: Sequence[LayerProduct]) -> dict[str, Element]:
    ranges = _find_ranges(program)
    elements = {
        name: narrowest(*ranges[name]) if name in ranges else Element.F32
        for name, buffer in program.buffers.items()
        if buffer.is_tensor
    }
    for product in products:
        for item in (product.input, product.stored):
            if item is not None:
                codes = [code + item.offset for code in (item.qmin, item.qmax, item.zero_point)]
                elements[item.target] = narrowest(min(0, *codes), max(0, *codes))
        fits = _largest_total(program, product) <= _LARGEST_TOTAL
        for name in filter(None, (product.dequantize.accumulators, product.dequantize.stored_sums)):
            elements[name] = Element.I32 if fits else Element.I64
    return elements


def _keeps_numbers(item: Instruction, program: Program) -> TypeGuard[Digital]:
    """Tell whether an instruction makes a tensor of the numbers of another, in whose place it lies: a reshape."""
    return isinstance(item, Digital) and item.op == "reshape" and item.inputs[0] in program.buffers


def _find_ranges(program: Program) -> dict[str, tuple[int, int]]:
    """Return the integers that tensors may hold: of a tensor and what it is reshaped to, which share a place, all."""
    ranges = {
        name: (buffer.low, buffer.high)
        for name, buffer in program.buffers.items()
        if buffer.kind is BufferKind.INTEGERS
    }
    source_of: dict[str, str] = {}
    for item in program.instructions:
        if _keeps_numbers(item, program) and item.inputs[0] in ranges:
            source = source_of[item.output] = source_of.get(item.inputs[0], item.inputs[0])
            (low, high), (first, last) = ranges[source], ranges[item.output]
            ranges[source] = min(low, first), max(high, last)
    return ranges | {name: ranges[source] for name, source in source_of.items()}


def _largest_total(program: Program, product: LayerProduct) -> int:
    """Return a bound on the magnitude of what is dequantized.

    Sums may wrap around on their way: only the total of sums and corrections counts, which is the exact product.
    """
    item, dequantize = product.input, product.dequantize
    codes = [0, *(code + item.offset for code in (item.qmin, item.qmax, item.zero_point))]
    correction = np.abs(program.constants[dequantize.correction].astype(np.float64))
    largest = float(max(map(abs, codes)))
    if product.matrix is None:
        assert product.stored is not None
        of_stored = product.stored
        stored = [0, *(code + of_stored.offset for code in (of_stored.qmin, of_stored.qmax, of_stored.zero_point))]
        addend = abs(product.stored_addend)
        factors = program.constants[dequantize.sum_factors] if dequantize.sum_factors else np.zeros(1)
        each = (max(map(abs, stored)) + addend + float(np.abs(factors).max())) * largest
        each += abs(dequantize.stored_factor) * (max(map(abs, stored)) + addend)
        inputs = program.buffers[of_stored.source].shape[-2]
        return int(inputs * each + correction.max())
    sums = np.abs(product.matrix).sum(axis=2, dtype=np.float64).reshape(-1)
    return int((sums * largest + correction.reshape(-1)).max())


def _list_steps(instructions: Sequence[Instruction]) -> Iterator[tuple[Instruction, str]]:
    """Yield each step with the layer that it is part of."""
    for item in instructions:
        if isinstance(item, Layer):
            for inner in item.body:
                yield inner, item.name
        else:
            yield item, ""


def walk_body(body: Sequence[Instruction]) -> Iterator[Instruction]:
    """Yield every instruction of a body and of those within it."""
    for item in body:
        yield item
        yield from walk_body(getattr(item, "body", ()))


def _find_uses(program: Program, steps: Sequence[tuple[Instruction, str]]) -> dict[str, tuple[int, int]]:
    """Return the first and the last step that uses each buffer; inputs are there before, outputs are kept."""
    uses = dict.fromkeys(program.inputs, (-1, -1))
    for step, (item, _) in enumerate(steps):
        for name in _list_names(item):
            if name in program.buffers:
                uses[name] = (uses.get(name, (step, step))[0], step)
    for name in program.outputs:
        uses[name] = (uses[name][0], len(steps))
    return uses


def _list_names(item: Any) -> Iterator[str]:
    """Yield every text in the fields of an instruction and of those within it."""
    for inner in walk_body((item,)):
        for field in dataclasses.fields(inner):
            value = getattr(inner, field.name)
            if isinstance(value, str):
                yield value
            elif isinstance(value, tuple):
                yield from (one for one in value if isinstance(one, str))


def _share_places(
    program: Program, steps: Sequence[tuple[Instruction, str]], uses: Mapping[str, tuple[int, int]],
    elements: Mapping[str, Element],
) -> dict[str, str]:  # fmt: skip
    """Return, for buffers that lie where another does, whose place that is."""
    owner: dict[str, str] = {}
    last: dict[str, int] = {name: use[1] for name, use in uses.items()}
    for step, (item, _) in enumerate(steps):
        if isinstance(item, Digital):
            if _keeps_numbers(item, program):
                _join(owner, last, item.inputs[0], item.output)
            elif item.op in IN_PLACE and (source := _find_replaced(program, item, step, owner, last, elements)):
                _join(owner, last, source, item.output)
        elif isinstance(item, LastStep):
            _join(owner, last, item.accumulators, item.target)
    return owner


def _find_replaced(
    program: Program, item: Digital, step: int, owner: Mapping[str, str], last: Mapping[str, int],
    elements: Mapping[str, Element],
) -> str | None:  # fmt: skip
    """Return the operand whose place the result takes: of its size, not needed afterwards, not read twice."""
    shape = program.buffers[item.output].shape
    operands = [name for name in item.inputs if name in program.buffers]
    for name in operands:
        place = owner.get(name, name)
        others = [other for other in operands if other != name and owner.get(other, other) == place]
        is_same = program.buffers[name].shape == shape and elements[name] is elements[item.output]
        if is_same and last[place] == step and not others:
            return name
    return None


def _join(owner: dict[str, str], last: dict[str, int], source: str, target: str) -> None:
    place = owner.get(source, source)
    owner[target] = place
    last[place] = max(last[place], last[target])
    last[target] = last[place]
