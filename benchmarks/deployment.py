"""Deployed programs: flash and RAM of networks for microcontrollers, and the speed of C beside the executor.

    python benchmarks/deployment.py [--networks resnet8 ds-cnn] [--samples 5] [--arithmetic float32]

Networks have random weights and are quantized to 8/8 by calibration on random inputs: sizes and times depend on
neither. Each is compiled for one crossbar of 256 x 256 cells of 4 bits, deployed, built with the system's C compiler
at -O3, and run; every bit is compared with the executor. Times are processor time of one sample, the least of several
runs, one thread: of the C program whose simulated crossbar reads slice by slice, of the one that fuses reads
(FUSED=1), built for any processor and for this one (-march=native), and of the executor at a batch of one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import mho
from mho.deploy.image import build_image
from mho.simulation.executor import Executor

ACCELERATOR = "pelke2026-4bit"
BUILDS = {"slices": [], "fused": ["FUSED=1"], "native": ["FUSED=1", "CFLAGS=-march=native"]}
ROUNDS = 21
TIMER = Path(__file__).with_name("deployment_time.c")
sys.path.append(str(Path(__file__).parents[1] / "examples"))


def _own(name: str, **arguments: object) -> Callable[[], mho.Network]:
    return lambda: mho.load(name, **arguments)  # type: ignore[arg-type]


def _ds_cnn() -> mho.Network:
    from ds_cnn import make_ds_cnn

    return mho.load(make_ds_cnn(10, (1, 40, 64)).eval(), torch.zeros(1, 1, 40, 64))


def _mobilenet() -> mho.Network:
    from torchvision.models import mobilenet_v2

    return mho.load(mobilenet_v2(width_mult=0.35, num_classes=2).eval(), torch.zeros(1, 3, 96, 96))


NETWORKS: dict[str, Callable[[], mho.Network]] = {
    "resnet8": _own("resnet8", input_shape=(1, 8, 8)),
    "ds-cnn": _ds_cnn,
    "resnet20": _own("resnet20"),
    "mobilenetv2": _mobilenet,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--arithmetic", choices=("float32", "integer"), default="float32")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'network':<12} {'flash KiB':>10} {'cells':>8} {'arena KiB':>10} {'bound':>8} "
        f"{'C ms':>9} {'fused':>9} {'native':>9} {'executor':>9}"
    )
    for name in arguments.networks:
        measure(name, arguments.samples, arguments.arithmetic)


def measure(name: str, samples: int, arithmetic: str) -> None:
    network = NETWORKS[name]()
    shape = network.inputs[0].shape
    inputs = np.random.default_rng(0).standard_normal((samples, *shape)).astype(np.float32)
    hardware = mho.accelerator(ACCELERATOR)
    if arithmetic == "integer":
        hardware = mho.accelerator(hardware, arithmetic=arithmetic)
        quantized = mho.quantize(network, "8/8", inputs, arithmetic=arithmetic)
    else:
        quantized = mho.quantize(network, "8/8", inputs)
    program = mho.compile(quantized, hardware, crossbars=1)
    image = build_image(program)
    executor = Executor(program)
    executor.run(inputs[:1])
    theirs = min(_time(lambda: executor.run(inputs[:1])) for _ in range(ROUNDS))
    ours = run_in_c(program, inputs)
    arena = image.memory.arena
    sizes = [len(image.content), image.sizes["cells"], arena.size, arena.lower_bound]
    kib = [size / 1024 for size in sizes]
    times = "".join(f" {1e3 * one:9.2f}" for one in (*ours, theirs))
    print(f"{name:<12} {kib[0]:10.1f} {kib[1]:8.1f} {kib[2]:10.1f} {kib[3]:8.1f}{times}", flush=True)


def _time(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def run_in_c(program: mho.Program, inputs: np.ndarray) -> list[float]:
    """Deploy, build and test a program; return the time of one sample of each build, in seconds."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        mho.emit(program, "c", Path(folder), inputs=inputs)
        for build, settings in BUILDS.items():
            make = ["make", "-s", "-C", folder, f"BUILD={build}", *settings, f"{build}/libmho_program.a"]
            _run(*make, f"{build}/test_program")
            _run(f"{folder}/{build}/test_program")
            timer, library = f"{folder}/{build}/timer", f"{folder}/{build}/libmho_program.a"
            headers = [f"-I{folder}/{name}" for name in ("runtime", "program", "test")]
            _run("cc", "-O2", *headers, str(TIMER), f"{folder}/test/vectors.c", library, "-o", timer)
            times.append(float(_run(timer, str(ROUNDS))))
    return times


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
