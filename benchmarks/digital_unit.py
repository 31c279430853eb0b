"""What a digital unit does between layers for one sample, in float32 and in integers: operations, energy, instructions.

    python benchmarks/digital_unit.py [--networks resnet8 ds-cnn] [--digital-bits 16]

Networks are those of `deployment.py`, with random weights at 8/8. Operations are those that `mho inspect` counts.
Energies are those of multiplications and additions in 45 nm (Horowitz, ISSCC 2014: float32 3.7 and 0.9 pJ, 32-bit
integers 3.1 and 0.1 pJ). Instructions are those that the deployed C program takes on this processor for the same work:
quantizing, the end of each layer, and everything between layers; not the sums of crossbars. Valgrind counts them, in a
scalar program (gcc -O2 -fno-tree-vectorize): the time of a processor with hardware for float32 that takes one a cycle.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from deployment import ACCELERATOR, NETWORKS

import mho
from mho.hardware.loading import accelerator_from_json

ENERGY = {"float_multiply_pj": 3.7, "float_add_pj": 0.9, "integer_multiply_pj": 3.1, "integer_add_pj": 0.1}
SCALAR = "-O2 -fno-tree-vectorize"
BETWEEN_LAYERS = ("mho_quantize_input", "mho_last_step", "mho_run_digital")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--digital-bits", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'network':<12}{'unit':<9}{'multiply':>10}{'add':>11}{'functions':>11}{'nJ':>9}{'instructions':>14}")
    for name in options.networks:
        network = NETWORKS[name]()
        inputs = np.random.default_rng(0).standard_normal((5, *network.inputs[0].shape)).astype(np.float32)
        quantized = mho.quantize(network, "8/8", inputs)
        digital = mho.quantize_digital(quantized, inputs, bits=options.digital_bits)
        for unit, one in (("float32", quantized), ("integer", digital)):
            report(name, unit, mho.compile(one, make_hardware(unit), crossbars=1), inputs)


def make_hardware(unit: str) -> mho.Accelerator:
    content = mho.accelerator(ACCELERATOR, arithmetic=unit).to_json()
    return accelerator_from_json({**content, "energy": {**content.get("energy", {}), **ENERGY}}, where=ACCELERATOR)


def report(name: str, unit: str, program: mho.Program, inputs: np.ndarray) -> None:
    work = mho.digital_work(program)
    total, energy = work.float_total + work.integer_total, work.energy_pj
    assert energy is not None
    print(
        f"{name:<12}{unit:<9}{total.multiplications:>10,}{total.additions:>11,}{total.functions:>11,}"
        f"{float(energy) / 1e3:>9.1f}{count_instructions(program, inputs[:1]):>14,}",
        flush=True,
    )


def count_instructions(program: mho.Program, inputs: np.ndarray) -> int:
    """Return what the digital unit of the deployed program takes for one sample, in instructions of this processor."""
    with tempfile.TemporaryDirectory() as folder:
        mho.emit(program, "c", Path(folder), inputs=inputs)
        run("make", "-s", "-C", folder, "BUILD=build", "FUSED=1", f"OPTIMIZE={SCALAR}", "build/test_program")
        toggles = [f"--toggle-collect={name}" for name in BETWEEN_LAYERS]
        counted = run(
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/counts", "--collect-atstart=no"),
            *(*toggles, f"{folder}/build/test_program"),
        )
    found = re.search(r"Collected : (\d+)", counted)
    if found is None:
        raise SystemExit(f"valgrind counted nothing:\n{counted}")
    return int(found[1])


def run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
