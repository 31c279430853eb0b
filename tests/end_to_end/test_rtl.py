"""The core of `examples/rtl` does what a program's test vectors say, in Icarus Verilog or Verilator."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerators import make_accelerator
from small_programs import compile_small, conv_network, grid

import mho
from mho.hardware.spec import Encoding

RTL = Path(__file__).parents[2] / "examples" / "rtl"
SOURCES = [str(RTL / "crossbar_core.sv"), str(RTL / "testbench.sv")]


def simulate(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the testbench for a folder of vectors, and run it."""
    program = folder.with_name(f"{folder.name}-core")
    if shutil.which("iverilog"):
        build = ["iverilog", "-g2012", "-I", str(folder), "-o", str(program), *SOURCES]
        run = ["vvp", str(program)]
    elif shutil.which("verilator"):
        build = ["verilator", "--binary", f"-I{folder}", "--top-module", "testbench", "--Mdir", str(program), *SOURCES]
        run = [str(program / "Vtestbench")]
    else:
        pytest.skip("neither iverilog nor verilator is installed (Debian: apt-get install iverilog)")
    subprocess.run(build, check=True, capture_output=True, text=True)
    return subprocess.run([*run, f"+vectors={folder}"], capture_output=True, text=True)


def write_vectors(folder: Path, options: dict[str, str], **hardware: Any) -> Path:
    program = compile_small(conv_network(inputs=grid(4)), make_accelerator(**hardware))
    shape = program.buffers[program.inputs[0]].shape
    inputs = np.random.default_rng(1).uniform(0, 4, (1, *shape)).astype(np.float32)
    mho.emit(program, "vectors", folder, inputs=inputs, options={"layer": "conv", "windows": "0:4", **options})
    return folder


@pytest.mark.parametrize(
    ("options", "hardware"),
    [
        ({}, {}),
        ({}, {"encoding": Encoding.DIFFERENTIAL_ROWS, "dac_bits": 2}),
        ({"adc-bits": "2"}, {}),
        ({"adc-bits": "3"}, {"encoding": Encoding.DIFFERENTIAL_ROWS}),
    ],
    ids=["one bit", "drives of both signs", "clipped", "clipped with signs"],
)
def test_the_core_reads_what_the_vectors_say(options, hardware, tmp_path):
    ran = simulate(write_vectors(tmp_path / "vectors", options, **hardware))
    assert "are as expected" in ran.stdout, ran.stdout
    assert ran.returncode == 0


def test_the_testbench_finds_a_wrong_count_and_says_where(tmp_path):
    folder = write_vectors(tmp_path / "vectors", {})
    lines = (folder / "counts.hex").read_text().splitlines()
    words = lines[5].split()
    lines[5] = " ".join([*words[:3], f"{int(words[3], 16) ^ 1:x}", *words[4:]])
    (folder / "counts.hex").write_text("\n".join(lines) + "\n")
    ran = simulate(folder)
    assert ran.returncode != 0
    assert "read 5, column 3: count" in ran.stdout


def test_verilator_has_nothing_to_warn_of_in_the_core():
    if not shutil.which("verilator"):
        pytest.skip("verilator is not installed (Debian: apt-get install verilator)")
    quiet = ["-Wno-DECLFILENAME", "-Wno-UNUSEDSIGNAL"]  # two modules in one file; addresses of rows have 32 bits
    for module in ("crossbar_core", "shift_add"):
        subprocess.run(["verilator", "--lint-only", "-Wall", *quiet, "--top-module", module, SOURCES[0]], check=True)
