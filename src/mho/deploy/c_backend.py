"""The backend `c`: a C99 project with the program, a runtime, a simulated crossbar, and stored samples that test it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.deploy.backends import Job
from mho.deploy.image import ProgramImage, build_image
from mho.deploy.memory_plan import walk_body
from mho.formats import format_bytes, plural
from mho.program.instructions import WriteTile
from mho.program.program import Program
from mho.simulation.executor import Executor

_SOURCES = Path(__file__).parent / "c"
_COPIED = {"runtime": "runtime", "cortex_m": "cortex-m"}
_QUIET_NAN = 0x7FC00000


class CBackend:
    """Writes a C99 project."""

    summary = "a self-contained C99 project: program, runtime, simulated crossbar, test"
    options: Mapping[str, str] = MappingProxyType({})

    def emit(self, job: Job, directory: Path) -> Sequence[str]:
        """Write the project. Raises `MhoError` where the program is too large or has an unknown operation."""
        image = build_image(job.program)
        for source, target in _COPIED.items():
            _copy_folder(_SOURCES / source, directory / target, without=("mho_config.h",))
        for name in ("Makefile", "CMakeLists.txt"):
            (directory / name).write_bytes((_SOURCES / "project" / name).read_bytes())
        program = directory / "program"
        program.mkdir()
        (program / "program.img").write_bytes(image.content)
        _write_lines(program / "mho_config.h", _config(image))
        _write_lines(program / "mho_program.h", _header(image))
        _write_lines(program / "mho_program.c", _content(image))
        if job.inputs is not None:
            _write_test(job.program, job.inputs, directory / "test")
        lines = describe_sizes(image)
        _write_lines(directory / "README.md", _readme(image, lines, has_test=job.inputs is not None))
        return [*lines, *_tell_test(job)]


BACKEND = CBackend()


def describe_sizes(image: ProgramImage) -> list[str]:
    """Return lines about what a program takes in flash and RAM."""
    arena, sizes = image.memory.arena, image.sizes
    parts = ", ".join(f"{name} {format_bytes(size)}" for name, size in sizes.items() if size)
    gap = arena.size / max(1, arena.lower_bound) - 1
    bound = f"lower bound {format_bytes(arena.lower_bound)}, {100 * gap:.1f} % above it"
    return [
        f"flash {format_bytes(len(image.content))} for the program: {parts}",
        f"RAM   {format_bytes(arena.size)} for all buffers ({bound})",
    ]


def _tell_test(job: Job) -> list[str]:
    if job.inputs is None:
        return ["without --inputs there is no test to run: make builds the library"]
    samples = len(next(iter(job.inputs.values())))
    return [f"make test runs {plural(samples, 'sample')} and compares every bit with the executor"]


def _copy_folder(source: Path, target: Path, *, without: Sequence[str] = ()) -> None:
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.name not in without:
            (target / path.name).write_bytes(path.read_bytes())


def _write_lines(path: Path, lines: Sequence[str] | Iterator[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(line + "\n")


def _config(image: ProgramImage) -> Iterator[str]:
    crossbar = image.program.accelerator.crossbar
    sizes = {
        "LOOPS": max(1, image.depth), "ROWS": crossbar.rows, "COLS": crossbar.cols,
        "CROSSBARS": image.crossbars, "BLOCKS": image.blocks,
    }  # fmt: skip
    yield from ("/* What this program needs of the runtime. */", "#ifndef MHO_CONFIG_H", "#define MHO_CONFIG_H")
    yield from (f"#define MHO_MAX_{name} {size}" for name, size in sizes.items())
    yield f"#define MHO_ARENA_BYTES {max(8, image.memory.size)}"
    yield from (f"#define MHO_FUSED_BYTES {_fused_bytes(image.program)}", "#endif")


def _fused_bytes(program: Program) -> int:
    """Return the static memory in which the simulated crossbar keeps recovered weights, where it is built to fuse.

    Four bytes a cell that is written: a weight takes two, beside places of rows and columns. Where it does not suffice
    reads are computed one after the other.
    """
    cells = {
        item.cells: math.prod(program.constants[item.cells].shape)
        for layer in program.layers
        for item in walk_body(layer.body)
        if isinstance(item, WriteTile)
    }
    return 4096 + 4 * sum(cells.values())


def _header(image: ProgramImage) -> Iterator[str]:
    ports = (*image.program.inputs, *image.program.outputs)
    largest = max(math.prod(image.program.buffers[name].shape) for name in ports)
    yield from ("/* The program. */", "#ifndef MHO_PROGRAM_H", "#define MHO_PROGRAM_H", "", "#include <stdint.h>", "")
    yield f"#define MHO_IMAGE_BYTES {len(image.content)}"
    yield f"#define MHO_LARGEST_PORT {max(1, largest)}"
    for kind, names in (("input", image.program.inputs), ("output", image.program.outputs)):
        for number, name in enumerate(names):
            shape = "][".join(map(str, image.program.buffers[name].shape))
            yield f"/* {kind} {number}: {_comment(name)}, float32 [{shape}] */"
    yield from ("#ifdef __cplusplus", 'extern "C" {', "#endif")
    yield "extern const uint8_t mho_program_image[MHO_IMAGE_BYTES];"
    yield from ("#ifdef __cplusplus", "}", "#endif", "", "#endif")


def _comment(text: str) -> str:
    """Return a name as it may stand in a comment: nothing that ends or begins one, no trigraph, no end of a line."""
    return re.sub(r"[^ -~]|[*?\\]", "_", text)


def _content(image: ProgramImage) -> Iterator[str]:
    yield from ("/* The image of the program (docs/isa.md of mho). */", '#include "mho_internal.h"')
    yield from ('#include "mho_program.h"', "")
    yield f"MHO_STATIC_ASSERT(MHO_ARENA_BYTES >= {image.memory.size}, arena_holds_all_buffers);"
    yield f"MHO_STATIC_ASSERT(MHO_MAX_LOOPS >= {image.depth}, loops_are_counted);"
    yield f"MHO_STATIC_ASSERT(MHO_MAX_ROWS >= {image.program.accelerator.crossbar.rows}, rows_are_driven);"
    yield f"MHO_STATIC_ASSERT(MHO_MAX_COLS >= {image.program.accelerator.crossbar.cols}, columns_are_counted);"
    yield f"MHO_STATIC_ASSERT(MHO_MAX_CROSSBARS >= {image.crossbars}, crossbars_are_there);"
    yield f"MHO_STATIC_ASSERT(MHO_MAX_BLOCKS >= {image.blocks}, tiles_join_a_write);"
    yield from ("", "const uint8_t mho_program_image[MHO_IMAGE_BYTES] = {")
    content = image.content
    yield from (",".join(map(str, content[at : at + 32])) + "," for at in range(0, len(content), 32))
    yield "};"


def _write_test(program: Program, inputs: Mapping[str, NDArray[np.float32]], folder: Path) -> None:
    samples = len(next(iter(inputs.values())))
    outputs = Executor(program).run(inputs)
    folder.mkdir()
    (folder / "test_program.c").write_bytes((_SOURCES / "project/test_program.c").read_bytes())
    stored = {"inputs": _bits(inputs, program.inputs, samples), "outputs": _bits(outputs, program.outputs, samples)}
    header = ["/* Samples, and the outputs of mho's executor: bits of float32. */", "#include <stdint.h>", ""]
    header.append(f"#define MHO_TEST_SAMPLES {samples}U")
    header += [f"extern const uint32_t mho_test_{name}[{bits.size}];" for name, bits in stored.items()]
    _write_lines(folder / "vectors.h", header)
    _write_lines(folder / "vectors.c", _vectors(stored))


def _vectors(stored: Mapping[str, NDArray[np.uint32]]) -> Iterator[str]:
    yield '#include "vectors.h"'
    for name, bits in stored.items():
        yield from ("", f"const uint32_t mho_test_{name}[{bits.size}] = {{")
        yield from (",".join(f"{one:#x}" for one in bits[at : at + 8].tolist()) + "," for at in range(0, bits.size, 8))
        yield "};"


def _bits(arrays: Mapping[str, NDArray[Any]], names: Sequence[str], samples: int) -> NDArray[np.uint32]:
    """Return the bits of all arrays, sample after sample, in the order of names."""
    flat = np.concatenate([np.asarray(arrays[name], np.float32).reshape(samples, -1) for name in names], axis=1)
    return np.where(np.isnan(flat), np.uint32(_QUIET_NAN), flat.view(np.uint32)).reshape(-1)


def _readme(image: ProgramImage, sizes: Sequence[str], *, has_test: bool) -> Iterator[str]:
    program = image.program
    yield from (f"# {_comment(program.name)}: a program for {_comment(program.accelerator.name)}", "")
    yield from ("A C99 project without heap, operating system or math library.", "")
    yield from ("| folder | holds |", "|---|---|")
    runtime = (
        "loads, checks and runs an image; `mho_hw.h` is the interface to your chip, `mho_hw_reference.c` simulates it"
    )
    yield f"| `runtime/` | {runtime} |"
    yield "| `program/` | the program as constant data, and as a file to be mapped (`program.img`); its configuration |"
    if has_test:
        yield "| `test/` | samples and the outputs that mho's executor gives |"
    yield "| `cortex-m/` | start-up code and memory map of an Arm MPS2 board, for `make cortex-m` |"
    yield from (
        "",
        "```sh",
        "make           # a library",
        *(["make test      # 0 only where every bit agrees"] if has_test else []),
    )
    yield from ("make size", "cmake -B build-cmake && cmake --build build-cmake", "```", "")
    yield from (f"- {line}" for line in sizes)
