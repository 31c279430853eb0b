"""Program files: headers and constants changed, with all checksums made right again."""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bits import assert_same_bits
from chip_programs import random_chip_network, random_schedule
from damage import change_tree, to_json
from fuzzing import Files, Kind
from hand_made import HAND_MADE
from mutations import mutate
from random_mappings import random_accelerator
from random_networks import Chooser, SeededChooser, random_network

from mho.errors import MhoError
from mho.program.container import read_program, write_program
from mho.program.disassembly import disassemble, summarize
from mho.program.lowering import compile_network, compile_schedule
from mho.program.program import Program
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_on_chip, time_program

_PREFIX = struct.Struct("<8sIQQ32s")
_MOST_MVMS, _MOST_ELEMENTS = 2_000, 20_000
"""Of programs that both engines run."""


@dataclass
class Mutant:
    """A program, its file while it is as it was drawn, and once its header is changed that and the constants' bytes."""

    program: Program
    file: bytes = b""
    header: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, bytearray] = field(default_factory=dict)

    def open(self) -> None:
        """Take the program's file apart."""
        content = self.file or _write(self.program)
        length = _PREFIX.unpack(content[: _PREFIX.size])[2]
        self.header = json.loads(content[_PREFIX.size : _PREFIX.size + length])
        body = content[_aligned(_PREFIX.size + length) :]
        self.arrays = {
            name: bytearray(body[entry["offset"] : entry["offset"] + self.program.constants[name].nbytes])
            for name, entry in self.header["constants"].items()
        }

    def content(self) -> bytes:
        """Return the file, with right checksums where nothing was changed about them."""
        if not self.header:
            return self.file or _write(self.program)
        body = b"".join(bytes(array) + bytes(_aligned(len(array)) - len(array)) for array in self.arrays.values())
        header = to_json(self.header)
        stop = _PREFIX.size + len(header)
        start = _aligned(stop)
        prefix = _PREFIX.pack(b"MHOPROG\n", 3, len(header), start + len(body), hashlib.sha256(header).digest())
        return prefix + header + bytes(start - stop) + body

    def change_constant(self, chooser: Chooser) -> str:
        """Change bytes of a constant, and its checksum."""
        filled = sorted(name for name, array in self.arrays.items() if array)
        if not filled:
            raise MhoError("no constants")
        name, number = chooser.choice(filled), chooser.choice((0, 1, 127, 128, 255))
        array = self.arrays[name]
        place, count = chooser.integer(0, len(array) - 1), chooser.choice((1, 1, 2, 4, 8, len(array)))
        array[place : place + count] = bytes([number]) * len(array[place : place + count])
        entry = self.header.get("constants", {})
        if isinstance(entry, dict) and isinstance(entry.get(name), dict):
            entry[name]["sha256"] = hashlib.sha256(array).hexdigest()
        return f"constant {name}: {count} bytes at {place} are {number}"


class ProgramKind(Kind):
    """What is accepted runs alike on both engines, and does what its timing counts."""

    name = "program"
    changes = (0, 1, 1, 1, 1, 1, 2, 3)

    def prepare(self) -> None:
        programs = [make().program for make in HAND_MADE.values()]
        seed = 0
        while len(programs) < len(HAND_MADE) + 16:
            chooser, seed = SeededChooser(seed), seed + 1
            try:
                programs.append(_draw_program(chooser, is_chip=seed % 2 == 0))
            except MhoError:  # the network does not fit the accelerator that was drawn
                continue
        self.bases = [(program, _write(program)) for program in programs]

    def draw(self, chooser: Chooser) -> Mutant:
        return Mutant(*chooser.choice(self.bases))

    def change(self, mutant: Mutant, chooser: Chooser) -> str:
        if not mutant.header and chooser.integer(0, 1):
            mutant.program, mutant.file = mutate(mutant.program, chooser), b""
            return "instructions or constants"
        if not mutant.header:
            mutant.open()
        if chooser.integer(0, 5) == 0:
            return mutant.change_constant(chooser)
        section = chooser.choice(sorted(mutant.header, key=str))
        tree = mutant.header[section]
        if isinstance(tree, dict | list) and tree and chooser.integer(0, 9):
            return f"{section}: {change_tree(tree, chooser)}"
        return change_tree(mutant.header, chooser)

    def files(self, mutant: Mutant) -> Files:
        return {"program.mho": mutant.content()}

    def read(self, folder: Path) -> None:
        program = read_program(folder / "program.mho")
        summary = summarize(program)
        if program.schedule is not None:
            assert time_on_chip(program).latency_ps >= 0
        layers = time_program(program).layers
        elements = sum(int(np.prod(buffer.shape)) for buffer in program.buffers.values())
        if sum(layer.mvms for layer in layers) > _MOST_MVMS or elements > _MOST_ELEMENTS:
            return
        assert len(disassemble(program).splitlines()) > len(summary.layers)
        generator = np.random.default_rng(0)
        shapes = {name: program.buffers[name].shape for name in program.inputs}
        inputs = {
            name: (4 * generator.standard_normal((2, *shape))).astype(np.float32) for name, shape in shapes.items()
        }
        execution = interpret(program, inputs)
        assert execution.writes == {layer.name: layer.writes for layer in layers}
        assert execution.mvms == {layer.name: layer.mvms for layer in layers}
        with np.errstate(all="ignore"):
            assert_same_bits(Executor(program).run(inputs), execution.outputs)

    def arguments(self, folder: Path) -> list[str]:
        return ["inspect", str(folder / "program.mho")]


def _draw_program(chooser: Chooser, *, is_chip: bool) -> Program:
    if is_chip:
        network = random_chip_network(chooser)
        return compile_schedule(network, random_schedule(chooser, network))
    return compile_network(random_network(chooser, max_layers=2), random_accelerator(chooser, most=24))


def _write(program: Program) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_program(program, Path(folder, "program.mho"))
        return Path(folder, "program.mho").read_bytes()


def _aligned(size: int) -> int:
    return -(-size // 64) * 64
