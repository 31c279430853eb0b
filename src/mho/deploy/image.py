"""From a verified program to an image: flat tables and words that a device runs without parsing (docs/isa.md)."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.deploy import image_format as form
from mho.deploy.digital import lower_digital
from mho.deploy.digital_words import Call, as_word, as_words64
from mho.deploy.elements import DeviceConstant, encode_cells, encode_numbers
from mho.deploy.memory_plan import MemoryPlan, plan_memory, walk_body
from mho.errors import ProgramError
from mho.program.container import program_digest
from mho.program.instructions import (
    Affine,
    Digital,
    Instruction,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    ShiftAdd,
    Span,
    Window,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.program import BufferKind, Program
from mho.scheduling.regime import Regime

MOST_LOOPS = 16
"""Loops within each other that a device keeps track of."""
_LARGEST_COUNT = 2**31 - 1
_REGIMES = tuple(Regime)


@dataclass(frozen=True, eq=False)
class ProgramImage:
    """A program as a device has it.

    Attributes:
        program: that it was made of.
        memory: where its buffers lie.
        content: the image.
        sizes: bytes of its parts, for a report.
        depth: loops within each other, at most.
        blocks: the most tiles that one write of a crossbar joins.
        crossbars: that it uses, numbered from 0.
    """

    program: Program
    memory: MemoryPlan
    content: bytes
    sizes: dict[str, int]
    depth: int
    blocks: int
    crossbars: int


def build_image(program: Program) -> ProgramImage:
    """Prove a program and make its image.

    Raises:
        ProgramError: it is not sound, or too large for 32-bit addresses.
        UnsupportedOperationError: it has an operation that the device does not know.
    """
    memory = plan_memory(program)
    encoder = _Encoder(program, memory)
    code = encoder.encode()
    return _assemble(program, memory, encoder, code)


@dataclass
class _Encoder:
    """A program on its way into words."""

    program: Program
    memory: MemoryPlan
    numbers: dict[str, int] = field(default_factory=dict)
    constants: list[DeviceConstant] = field(default_factory=list)
    known: dict[tuple[Any, ...], int] = field(default_factory=dict)
    levels: list[str] = field(default_factory=list)
    layer: str = ""
    depth: int = 0
    joined: dict[int, int] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    blocks: int = 1
    crossbars: int = 1
    minor: int = 0

    def encode(self) -> list[int]:
        """Return the words of all instructions."""
        self.numbers = {name: number for number, name in enumerate(self.memory.buffers)}
        _check_reads(self.program)
        return self._encode_body(self.program.instructions)

    def reference(self, name: str) -> int:
        """Return the number of a buffer or constant."""
        if not name:
            return form.NO_REFERENCE
        if name in self.numbers:
            return self.numbers[name]
        return self._add(encode_numbers(self.program.constants[name]))

    def add_constant(self, array: NDArray[Any]) -> int:
        """Add a constant; return its number."""
        return self._add(encode_numbers(array))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a buffer or constant."""
        found = self.constant(name)
        return self.program.buffers[name].shape if found is None else found.shape

    def is_whole(self, name: str) -> bool:
        """Return whether a buffer holds integers."""
        return name in self.program.buffers and self.program.buffers[name].kind is BufferKind.INTEGERS

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return a constant; None for a buffer."""
        return self.program.constants.get(name)

    def _add(self, constant: DeviceConstant) -> int:
        key = dataclasses.astuple(constant)
        if key not in self.known:
            self.known[key] = len(self.constants)
            self.constants.append(constant)
        return form.CONSTANT_REFERENCE | self.known[key]

    def _encode_body(self, body: Sequence[Instruction]) -> list[int]:
        words: list[int] = []
        for item in body:
            words += self._encode_instruction(item)
        return words

    def _encode_instruction(self, item: Instruction) -> list[int]:
        if isinstance(item, Digital):
            calls = lower_digital(item, self)
            self.minor = max([self.minor, *(form.ADDED.get(call.opcode, 0) for call in calls)])
            return [word for call in calls for word in _words(call)]
        if isinstance(item, Layer):
            self.layer = item.name
            number = [layer.name for layer in self.program.layers].index(item.name)
            operands = [number, *self._encode_body(item.body)]
        elif isinstance(item, Loop):
            self.levels.append(item.variable)
            self.depth = max(self.depth, len(self.levels))
            operands = [item.count, *self._encode_body(item.body)]
            self.levels.pop()
        elif isinstance(item, Window):
            operands = self._encode_body(item.body)
        else:
            operands = self._encode_operands(item)
        return _words(Call(form.OPCODES[type(item)], tuple(operands)))

    def _encode_operands(self, item: Any) -> list[int]:
        words: list[int] = []
        self.crossbars = max(self.crossbars, getattr(item, "crossbar", 0) + 1)
        for one in dataclasses.fields(item):
            value = getattr(item, one.name)
            if isinstance(item, WriteTile) and one.name == "cells":
                words.append(self._add(encode_cells(self.program.constants[value], self._find_unit(value))))
            elif one.name == "limit":
                words += as_words64(value)
            else:
                words += self._encode_value(value)
        if isinstance(item, QuantizeInput):
            words += self.program.buffers[item.source].shape
        if isinstance(item, WriteDynamicTile):
            words.append(self.numbers[self.memory.staging[self.layer, item.crossbar]])
        if isinstance(item, WriteTile):
            self.joined[item.crossbar] = self.joined.get(item.crossbar, 0) + 1 if item.joins else 1
            self.blocks = max(self.blocks, self.joined[item.crossbar])
        return words

    def _find_unit(self, cells: str) -> int:
        """Return the largest number of columns of which all tiles of a constant start at multiples."""
        if not self.starts:
            for layer in self.program.layers:
                for item in walk_body(layer.body):
                    if isinstance(item, WriteTile):
                        self.starts[item.cells] = math.gcd(self.starts.get(item.cells, 0), item.cols.start)
        return self.starts[cells]

    def _encode_value(self, value: Any) -> list[int]:
        """Return the words of an operand by its type; see docs/isa.md."""
        if isinstance(value, str):
            return [self.reference(value)]
        if isinstance(value, bool | int):
            return [_as_signed_word(value)]
        if isinstance(value, float):
            return [as_word(value)]
        if isinstance(value, Affine):
            terms = [(self.levels.index(variable), stride) for variable, stride in value.strides if stride]
            flat = [word for level, stride in terms for word in (level, _as_signed_word(stride))]
            return [_as_signed_word(value.base), len(terms), *flat]
        if isinstance(value, Span):
            return [value.start, value.stop]
        if isinstance(value, tuple):
            return [word for part in value for word in self._encode_value(part)]
        return [word for one in dataclasses.fields(value) for word in self._encode_value(getattr(value, one.name))]


def _as_signed_word(value: int) -> int:
    if not -(2**31) <= value < 2**31:
        raise ProgramError(f"a number {value:,} in an instruction", expected="at most 32 bits on a device")
    return int(value) & 0xFFFFFFFF


def _words(call: Call) -> list[int]:
    if len(call.words) >= 1 << 24:
        raise ProgramError(f"an instruction of {len(call.words):,} words", expected="below 2^24 on a device")
    return [call.opcode | (1 + len(call.words)) << 8, *call.words]


def _check_reads(program: Program) -> None:
    """A device keeps drives and counts of one crossbar at a time: each is counted before another is driven."""

    def visit(body: Sequence[Instruction], where: str, driven: int | None) -> int | None:
        for item in body:
            if isinstance(item, LoadInput):
                driven = item.crossbar
            elif isinstance(item, Mvm | ShiftAdd) and item.crossbar != driven:
                raise ProgramError(
                    f"crossbar {item.crossbar} is read after another was driven", where=where,
                    expected="each crossbar driven, read and counted before the next",
                )  # fmt: skip
            driven = visit(getattr(item, "body", ()), where, driven)
        return driven

    for layer in program.layers:
        visit(layer.body, f"layer {layer.name}", None)


def _assemble(program: Program, memory: MemoryPlan, encoder: _Encoder, code: list[int]) -> ProgramImage:
    names, places = b"", {}
    for name in (*(layer.name for layer in program.layers), *program.inputs, *program.outputs):
        if name not in places:
            places[name] = len(names)
            names += name.encode().replace(b"\0", b"?") + b"\0"
    names += bytes(-len(names) % 4)
    buffers = b"".join(
        form.pack_format(form.BUFFER_FIELDS).pack(one.element.number, one.count, one.offset)
        for one in memory.buffers.values()
    )
    layers = b"".join(
        form.pack_format(form.LAYER_FIELDS).pack(places[one.name], one.adc_bits or 0) for one in program.layers
    )
    ports = b"".join(
        form.pack_format(form.PORT_FIELDS).pack(
            places[name], encoder.numbers[name], math.prod(program.buffers[name].shape)
        )
        for name in (*program.inputs, *program.outputs)
    )
    constant_entry, header = form.pack_format(form.CONSTANT_FIELDS), form.pack_format(form.HEADER_FIELDS)
    tables = [buffers, bytes(constant_entry.size * len(encoder.constants)), layers, ports]
    text = np.array(code, dtype="<u4").tobytes()
    starts = np.cumsum([header.size, *map(len, tables), len(text), len(names)]).tolist()
    body, entries, at = bytearray(), b"", starts[-1]
    for one in encoder.constants:
        entries += constant_entry.pack(
            one.element.number, int(one.is_uniform), one.count, one.rows, one.cols, at + len(body)
        )
        body += one.content + bytes(-len(one.content) % 8)
    size = at + len(body)
    if max(size, memory.size, *(one.count for one in memory.buffers.values())) > _LARGEST_COUNT:
        raise ProgramError(f"an image of {size:,} bytes, an arena of {memory.size:,}", expected="below 2^31 bytes")
    hardware = program.accelerator
    adc = hardware.converters.adc_bits
    values: dict[str, Any] = {
        "magic": form.MAGIC, "major": form.VERSION[0], "minor": encoder.minor, "file_bytes": size, "checksum": 0,
        "regime": _REGIMES.index(program.regime), "arena_bytes": memory.size, "crossbars": encoder.crossbars,
        "rows": hardware.crossbar.rows, "cols": hardware.crossbar.cols, "cell_bits": hardware.crossbar.cell_bits,
        "dac_bits": hardware.converters.dac_bits, "adc_bits": 0 if isinstance(adc, str) else adc,
        "buffers": len(memory.buffers), "constants": len(encoder.constants), "layers": len(program.layers),
        "inputs": len(program.inputs), "outputs": len(program.outputs), "buffers_at": starts[0],
        "constants_at": starts[1], "layers_at": starts[2], "ports_at": starts[3], "code_at": starts[4],
        "code_words": len(code), "names_at": starts[5], "names_bytes": len(names), "blocks": encoder.blocks,
        "program": bytes.fromhex(program_digest(program)),
    }  # fmt: skip
    after = b"".join([*(buffers, entries, layers, ports), text, names, bytes(body)])
    head = header.pack(*(values[name] for name, _, _ in form.HEADER_FIELDS))
    checked = form.CHECKED_FROM
    checksum = zlib.crc32(head[checked:] + after)
    content = head[: checked - 4] + checksum.to_bytes(4, "little") + head[checked:] + after
    cells = sum(len(one.content) for one in encoder.constants if one.rows)
    sizes = {"header and tables": starts[4], "code": len(text), "names": len(names), "cells": cells}
    sizes["other constants"] = size - sum(sizes.values())
    return ProgramImage(program, memory, content, sizes, encoder.depth, encoder.blocks, encoder.crossbars)
