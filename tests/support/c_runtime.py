"""The C runtime as a library of this process: many programs run in one build."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mho.deploy.image import build_image
from mho.program.program import Program
from mho.simulation.samples import check_inputs, present_outputs

SOURCES = Path(__file__).parents[2] / "src/mho/deploy/c/runtime"
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-ffp-contract=off")


class RuntimeFailure(Exception):
    """The runtime returned another code than MHO_OK."""


@functools.cache
def load_runtime(*, fused: bool = False) -> ctypes.CDLL:
    """Compile the runtime once in this process; skip the test where there is no compiler. Fused: see mho_fused.c."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler: apt-get install gcc")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libmho.so"
        files = sorted(map(str, SOURCES.glob("mho_*.c")))
        options = ("-DMHO_FUSED",) if fused else ()
        subprocess.run([compiler, *WARNINGS, *options, "-O1", "-shared", "-fPIC", "-o", library, *files], check=True)
        return ctypes.CDLL(str(library))


def check(status: int) -> None:
    if status:
        text = load_runtime().mho_status_text
        text.restype = ctypes.c_char_p
        raise RuntimeFailure(f"{status}: {text(status).decode()}")


def load_image(content: bytes, library: ctypes.CDLL | None = None) -> ctypes.Array:
    """Return a machine that has loaded an image."""
    library = library or load_runtime()
    machine = ctypes.create_string_buffer(1 << 16)
    image = ctypes.create_string_buffer(content, len(content))
    machine.image = image
    check(library.mho_load(machine, image, ctypes.c_size_t(len(content))))
    return machine


def run_in_c(program: Program, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a program on samples in the C runtime, with its reference hardware; where that fuses, bits are the same."""
    content = build_image(program).content
    outputs = run_image(program, content, inputs)
    fused = run_image(program, content, inputs, load_runtime(fused=True))
    for name, array in outputs.items():
        np.testing.assert_array_equal(fused[name].view(np.uint32), array.view(np.uint32), f"{name}, fused")
    return outputs


def count_fused_loops(program: Program, inputs: Mapping[str, np.ndarray]) -> int:
    """Run a program on samples; return how many loops over reads became products."""
    library = load_runtime(fused=True)
    run_image(program, build_image(program).content, inputs, library)
    return int(library.mho_fused_loops())


def run_image(
    program: Program, content: bytes, inputs: Mapping[str, np.ndarray], library: ctypes.CDLL | None = None
) -> dict[str, np.ndarray]:
    """Run an image, whose inputs and outputs are those of a program."""
    library = library or load_runtime()
    arrays, machine = check_inputs(program, inputs), load_image(content, library)
    size = int.from_bytes(content[24:28], "little")
    arena = ctypes.create_string_buffer(max(1, size))
    check(library.mho_start(machine, arena, ctypes.c_size_t(size)))
    samples = len(next(iter(arrays.values())))
    outputs = {name: np.empty((samples, *program.buffers[name].shape), np.float32) for name in program.outputs}
    for sample in range(samples):
        for number, name in enumerate(program.inputs):
            check(library.mho_set_input(machine, number, *_pointer(arrays[name][sample])))
        check(library.mho_run(machine))
        for number, name in enumerate(program.outputs):
            check(library.mho_get_output(machine, number, *_pointer(outputs[name][sample])))
    return present_outputs(program, outputs)


def _pointer(values: np.ndarray) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    assert values.flags.c_contiguous
    return values.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(values.size)
