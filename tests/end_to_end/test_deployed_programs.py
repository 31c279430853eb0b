"""Deployed programs run elsewhere as they do here: other compilers, processors and tools; every bit agrees.

ResNet-8 with float32 between its layers, and frozen programs of an integer-only digital unit.

Run by `make test-deploy`. Tests are skipped, with a message, where a compiler or an emulator is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import mho
from mho.program.container import read_program

pytestmark = pytest.mark.deploy

SAMPLES = 20
FROZEN = Path(__file__).parents[1] / "golden/deploy"
PROGRAMS = ("resnet8", "norms", "tokens", "quotients")
STRICT = "-Wall -Wextra -Wpedantic -Wconversion -Werror"
STOP = "-fno-sanitize-recover=all"
ARM = ("arm-none-eabi-gcc", "qemu-system-arm")
RISCV = ("riscv64-linux-gnu-gcc", "qemu-riscv64")
BUILDS = {
    "gcc -O3": (("gcc",), ["CC=gcc", "OPTIMIZE=-O3"]),
    "clang -O2": (("clang",), ["CC=clang"]),
    "clang 32-bit safe": (("clang",), ["CC=clang", "STRICT=-Wshorten-64-to-32"]),
    "sanitizers": (("gcc",), ["CC=gcc", "OPTIMIZE=-O1", f"STRICT=-fsanitize=address,undefined {STOP}"]),
    "clang sanitizers": (("clang",), ["CC=clang", "OPTIMIZE=-O1", f"STRICT=-fsanitize=undefined {STOP}"]),
    "fused reads": (("gcc",), ["CC=gcc", "FUSED=1"]),
    "fused reads, sanitizers": (("gcc",), ["CC=gcc", "FUSED=1", f"STRICT=-fsanitize=address,undefined {STOP}"]),
    "valgrind": (("gcc", "valgrind"), ["CC=gcc", "RUN=valgrind -q --error-exitcode=9 --leak-check=full"]),
    "risc-v": (RISCV, ["CC=riscv64-linux-gnu-gcc", "AR=riscv64-linux-gnu-ar", "LDFLAGS=-static", "RUN=qemu-riscv64"]),
}  # fmt: skip


def need(*tools: str) -> None:
    missing = [tool for tool in ("make", *tools) if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def make_resnet8() -> tuple[mho.Program, np.ndarray]:
    samples = (load_digits().images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    quantized = mho.quantize(mho.load("resnet8", input_shape=(1, 8, 8)), "4/4", samples[:128])
    return mho.compile(quantized, "pelke2026-4bit"), samples[-SAMPLES:]


def read_frozen(name: str) -> tuple[mho.Program, dict[str, np.ndarray]]:
    program, random = read_program(FROZEN / f"{name}.mho"), np.random.default_rng(0)
    shapes = {one: (SAMPLES, *program.buffers[one].shape) for one in program.inputs}
    if name == "tokens":
        return program, {one: random.integers(0, 6, shape).astype(np.float32) for one, shape in shapes.items()}
    return program, {one: random.standard_normal(shape).astype(np.float32) for one, shape in shapes.items()}


@pytest.fixture(scope="module", params=PROGRAMS)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one program, of which tests make copies."""
    program, inputs = make_resnet8() if request.param == "resnet8" else read_frozen(request.param)
    folder = tmp_path_factory.mktemp("deployed") / "project"
    mho.emit(program, "c", folder, inputs=inputs)
    return folder


def run(project: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", BUILDS)
def test_every_bit_agrees(project, tmp_path, name):
    tools, settings = BUILDS[name]
    need(*tools)
    copy = shutil.copytree(project, tmp_path / "copy")
    extra = " ".join(setting.removeprefix("STRICT=") for setting in settings if setting.startswith("STRICT="))
    kept = [setting for setting in settings if not setting.startswith("STRICT=")]
    printed = run(copy, "make", "test", *kept, f"CFLAGS={STRICT} {extra}")
    assert f"{SAMPLES} samples: every bit" in printed


def test_a_cortex_m_gives_every_bit(project, tmp_path):
    need(*ARM)
    copy = shutil.copytree(project, tmp_path / "copy")
    assert f"{SAMPLES} samples: every bit" in run(copy, "make", "test-cortex-m")
    sizes = run(copy, "arm-none-eabi-size", "build-cortex-m/mho_program.o", "build-cortex-m/mho_run.o").splitlines()
    content, code = (int(line.split()[0]) for line in sizes[1:])
    assert (copy / "program/program.img").stat().st_size <= content
    assert code < 16_384


def test_cmake_builds_and_tests_it(project, tmp_path):
    need("cmake", "gcc")
    copy = shutil.copytree(project, tmp_path / "copy")
    run(copy, "cmake", "-B", "build", "-DCMAKE_C_FLAGS=-Werror")
    run(copy, "cmake", "--build", "build")
    assert "100% tests passed" in run(copy / "build", "ctest")


def test_cppcheck_finds_nothing(project):
    need("cppcheck")
    checks = ("--enable=warning,portability,performance", "--check-level=exhaustive", "--error-exitcode=9", "--std=c99")
    for options in ((), ("-DMHO_FUSED",)):
        run(project, "cppcheck", "-q", *checks, *options, "-Iprogram", "-Iruntime", "runtime")
