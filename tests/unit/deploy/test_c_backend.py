"""`mho deploy --target c` writes a project that builds without warnings, tests itself, and finds a wrong bit."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from accelerators import make_accelerator
from c_runtime import count_fused_loops, run_in_c
from chip_networks import make_chain
from network_builder import NetworkBuilder
from small_programs import compile_small, conv_network, grid, linear_network

import mho
from mho.deploy.elements import Element
from mho.deploy.image import build_image
from mho.deploy.image_format import CONSTANT_FIELDS, HEADER_FIELDS, pack_format
from mho.deploy.memory_plan import plan_memory
from mho.network.graph import TensorInfo
from mho.program.instructions import Digital

WARNINGS = "-Wall -Wextra -Wpedantic -Wconversion -Werror"
needs_compiler = pytest.mark.skipif(not shutil.which("gcc"), reason="no C compiler: apt-get install gcc make")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program, folder = compile_small(conv_network()), tmp_path_factory.mktemp("deployed") / "project"
    inputs = np.random.default_rng(3).standard_normal((3, *program.buffers["x"].shape)).astype(np.float32)
    emitted = mho.emit(program, "c", folder, inputs=inputs)
    assert "3 samples" in emitted.lines[-1]
    assert (folder / "program/program.img").read_bytes() == build_image(program).content
    return folder


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", str(project), "OPTIMIZE=-O1", f"CFLAGS={WARNINGS}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_compiler
def test_a_project_tests_itself(project):
    done = make(project, "test")
    assert done.returncode == 0, done.stdout + done.stderr
    vectors = project / "test/vectors.c"
    text = vectors.read_text()
    first = text.index("{", text.index("mho_test_outputs")) + 2
    vectors.write_text(text[:first] + "0x7f7fffff," + text[text.index(",", first) + 1 :])
    assert make(project, "test").returncode != 0
    vectors.write_text(text)


@needs_compiler
@pytest.mark.parametrize("name", ["a/*b", "a*/b", "*\\ int x; /*", "what??/\nint x;", "é\u202e", "line\\\n#error"])
def test_a_name_stays_within_its_comment(tmp_path, name):
    network = linear_network(np.arange(-6, 6).reshape(4, 3), grid(4))
    (node,) = network.nodes
    network = replace(
        network, name=name, inputs=(TensorInfo(name, (1, 3)),), nodes=(replace(node, inputs=(name, "w")),),
        shapes={name: (1, 3), "y": (1, 4)},
    )  # fmt: skip
    mho.emit(compile_small(network), "c", tmp_path / "named")
    header = tmp_path / "named/program/mho_program.h"
    done = subprocess.run(
        ["gcc", *WARNINGS.split(), "-std=c99", "-E", "-P", header], capture_output=True, text=True, check=True
    )
    assert "int x" not in done.stdout
    assert (tmp_path / "named/README.md").read_text().splitlines()[0].startswith("# ")


@needs_compiler
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler: apt-get install g++")
def test_firmware_in_cpp_links_with_the_library(project, tmp_path):
    assert make(project).returncode == 0
    source = tmp_path / "firmware.cpp"
    source.write_text(
        '#include "mho.h"\n#include "mho_hw.h"\n#include "mho_program.h"\nstatic mho_machine machine;\n'
        "int main() { return mho_load(&machine, mho_program_image, MHO_IMAGE_BYTES) || mho_hw_status(); }\n"
    )
    headers = [f"-I{project / name}" for name in ("runtime", "program")]
    library, program = project / "build/libmho_program.a", tmp_path / "firmware"
    subprocess.run(["g++", *WARNINGS.split(), *headers, source, library, "-o", program], check=True)
    assert subprocess.run([program], check=False).returncode == 0


@needs_compiler
def test_tiles_that_are_parts_of_wider_matrices_stay_within_their_memory(tmp_path):
    weights = np.random.default_rng(0).integers(-8, 8, (40, 8))  # 160 columns of cells, on crossbars of 8
    program = compile_small(linear_network(weights, grid(4)))
    inputs = np.random.default_rng(1).uniform(0, 4, (2, 8)).astype(np.float32)
    mho.emit(program, "c", tmp_path / "wide", inputs=inputs)
    sanitized = f"CFLAGS={WARNINGS} -fsanitize=address,undefined -fno-sanitize-recover=all"
    done = make(tmp_path / "wide", sanitized, "LDFLAGS=-fsanitize=address,undefined", "test")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_compiler
@pytest.mark.parametrize("outputs", [8, 11])  # 11: a tile ends within the slices of an output
def test_loops_over_reads_become_products_with_the_same_bits(outputs):
    weights = np.random.default_rng(0).integers(-8, 8, (outputs, 8))
    program = compile_small(linear_network(weights, grid(4)))
    inputs = {"x": np.random.default_rng(1).uniform(0, 4, (3, 8)).astype(np.float32)}
    run_in_c(program, inputs)  # compares with reads that are not fused
    assert count_fused_loops(program, inputs) > 0
    conv = compile_small(conv_network())
    inputs = {"x": np.random.default_rng(3).standard_normal((2, *conv.buffers["x"].shape)).astype(np.float32)}
    run_in_c(conv, inputs)
    assert count_fused_loops(conv, inputs) >= 2


@needs_compiler
def test_inputs_beyond_all_integers_are_clamped_as_the_executor_does():
    network = make_chain()
    inputs = np.random.default_rng(2).standard_normal((4, 1, 6, 6)).astype(np.float32)
    quantized = mho.quantize_digital(mho.quantize(network, "4/4", inputs), inputs)
    program = mho.compile(quantized, make_accelerator(digital={"arithmetic": "integer"}))
    inputs[:, 0, 2, 1:5] = [1e30, -1e30, 3e38, -3e38]
    (expected,) = mho.simulate(program, inputs).values()
    (found,) = run_in_c(program, {program.inputs[0]: inputs}).values()
    np.testing.assert_array_equal(found, expected)


@needs_compiler
def test_a_reshaped_tensor_of_a_wider_range_has_the_elements_of_its_source():
    """They share a place: with other elements of its own, a layer would read the bytes of two numbers as one."""
    net = NetworkBuilder((1, 2, 4, 4))
    net.conv(3)
    net.add("relu")
    net.add("reshape", shape=(1, 48))
    net.linear(5)
    network, inputs = net.build(), np.random.default_rng(2).standard_normal((3, 2, 4, 4)).astype(np.float32)
    quantized = mho.quantize_digital(mho.quantize(network, "4/4", inputs), inputs, bits=8)
    program = mho.compile(quantized, make_accelerator(digital={"arithmetic": "integer"}))
    (reshape,) = (item for item in program.instructions if isinstance(item, Digital) and item.op == "reshape")
    wide = replace(program.buffers[reshape.output], low=-200, high=255)
    program = replace(program, buffers={**program.buffers, reshape.output: wide})
    elements = {name: one.element for name, one in plan_memory(program).buffers.items()}
    assert elements[reshape.inputs[0]] is elements[reshape.output] is Element.I16
    (expected,) = mho.simulate(program, inputs).values()
    (found,) = run_in_c(program, {program.inputs[0]: inputs}).values()
    np.testing.assert_array_equal(found, expected)


def test_the_header_of_an_image_says_where_its_parts_are():
    program = compile_small(conv_network())
    image = build_image(program)
    values = pack_format(HEADER_FIELDS).unpack_from(image.content)
    header = dict(zip((name for name, _, _ in HEADER_FIELDS), values, strict=True))
    assert header["file_bytes"] == len(image.content)
    assert header["arena_bytes"] == image.memory.size <= 1.1 * image.memory.arena.lower_bound
    entry = pack_format(CONSTANT_FIELDS)
    for number in range(header["constants"]):
        *_, at = entry.unpack_from(image.content, header["constants_at"] + number * entry.size)
        assert header["names_at"] < at <= len(image.content)
    names = image.content[header["names_at"] : header["names_at"] + header["names_bytes"]].split(b"\0")
    assert {"conv", "x", "y"} <= {name.decode() for name in names}
