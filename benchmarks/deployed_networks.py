"""Deployed example networks give the executor's outputs, bit for bit: here, with fused reads, and on RISC-V.

    python benchmarks/deployed_networks.py [--networks vit ds-cnn] [--samples 100] [--emulated 20]
        [--targets host fused risc-v]

Networks have random weights and are quantized to 8/8 by calibration on random inputs: equality is what is checked. Each
is compiled for one crossbar of 256 x 256 cells of 4 bits and deployed; its project is built and runs the samples on
this processor, slice by slice and with FUSED=1, and `--emulated` of them on RISC-V in QEMU (gcc-riscv64-linux-gnu,
libc6-dev-riscv64-cross, qemu-user). Ends with 1 where a bit differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from deployment import ACCELERATOR, NETWORKS

import mho


def _vit() -> mho.Network:
    from vit import make_vit

    return mho.load(make_vit(10, (3, 32, 32)).eval(), torch.zeros(1, 3, 32, 32))


EXAMPLES: dict[str, Callable[[], mho.Network]] = {
    **NETWORKS,
    "resnet8-fashion": lambda: mho.load("resnet8", input_shape=(1, 28, 28)),
    "vit": _vit,
}
TARGETS = {
    "host": [],
    "fused": ["FUSED=1"],
    "risc-v": ["CC=riscv64-linux-gnu-gcc", "AR=riscv64-linux-gnu-ar", "LDFLAGS=-static", "RUN=qemu-riscv64"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=EXAMPLES, default=list(EXAMPLES))
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--emulated", type=int, default=20)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    differs = False
    print(f"{'network':<17}{'target':<9}{'samples':>8}   result")
    for name in options.networks:
        network = EXAMPLES[name]()
        shape = network.inputs[0].shape
        inputs = np.random.default_rng(0).standard_normal((options.samples, *shape)).astype(np.float32)
        program = mho.compile(mho.quantize(network, "8/8", inputs[:5]), ACCELERATOR, crossbars=1)
        for target in options.targets:
            samples = options.emulated if target == "risc-v" else options.samples
            agrees, report = check(program, inputs[:samples], TARGETS[target])
            differs |= not agrees
            print(f"{name:<17}{target:<9}{samples:>8}   {report}", flush=True)
    return int(differs)


def check(program: mho.Program, inputs: np.ndarray, settings: list[str]) -> tuple[bool, str]:
    """Deploy, build and test a program; return whether every bit agrees, and the last line that was printed."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        mho.emit(program, "c", project, inputs=inputs)
        command = ["make", "-s", "-C", str(project), *settings, "test"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
    return done.returncode == 0, lines[-1]


if __name__ == "__main__":
    sys.exit(main())
