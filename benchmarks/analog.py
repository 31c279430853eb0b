"""Speed and memory of whole networks on chips that are not ideal, beside exact integers and ONNX Runtime.

    python examples/studies/make_resnet20.py CIFAR10 WEIGHTS
    python benchmarks/analog.py examples/studies/resnet20.onnx --data CIFAR10

NETWORK is quantized, or is float and gets calibrated at 4/4. For both mappings, cells with and without errors of the
write, and ideal and calibrated ADCs, a chip is written and answers the same test images in turn with the exact executor
and with ONNX Runtime on the QCDQ file, on one thread. Every chip has a process of its own, whose peak memory is read
before the others are loaded. Times are those of the processor, so that other work on the machine counts little; speeds
are medians of all rounds. Memory is read where Linux tells it. Targets: a chip is ready in 3 s and 1 GB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

import mho
from mho.data import DataSpec, load_dataset
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Accelerator
from mho.program.container import read_program, write_program
from mho.simulation.adc_ranges import read_ranges, write_ranges
from mho.simulation.analog import AnalogExecutor
from mho.simulation.executor import Executor

LOAD_S, MEMORY_MB = 3.0, 1000.0
CHIP = 1
CHECKED = 64
"""Images that ranges of ADCs follow from."""


@dataclass(frozen=True)
class Case:
    """One chip: how its network is mapped, errors of its cells (part of the range), bits of its ADCs."""

    mapping: str
    error: float
    adc_bits: int | None

    def hardware(self, compiled: Accelerator) -> Accelerator:
        content = compiled.to_json()
        content["array"]["programming_error"] = self.error
        if self.adc_bits is not None:
            content["converters"].update(adc_bits=self.adc_bits, adc_range="calibrated-columns")
        return accelerator_from_json(content, where=str(self))


@dataclass(frozen=True)
class Figures:
    """Seconds to write a chip, MB of its process, images a second of it, exact integers and ONNX Runtime."""

    load_s: float
    memory_mb: float
    speeds: tuple[float, float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="where CIFAR-10 lies")
    parser.add_argument("--accelerator", default="pelke2026-4bit")
    parser.add_argument("--images", type=int, default=32, help="a round (32)")
    parser.add_argument("--batch", type=int, default=16, help="images at once (16)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--adc-bits", type=int, nargs="*", default=[6, 8], metavar="N")
    options = parser.parse_args()
    spec = DataSpec(name="cifar10", root=options.data, calibration=2000, validation=2000)
    dataset = load_dataset(spec, np.random.default_rng(1))
    network = mho.load(options.network)
    if not network.is_quantized:
        network = mho.quantize(network, "4/4", dataset.calibration.inputs(slice(None)))
    seen, images = (
        split.spread(count).inputs(slice(None))
        for split, count in ((dataset.calibration, CHECKED), (dataset.test, options.images))
    )
    print("| mapping | errors | ADC | calibrated, s | written, s | MB | images/s | of exact | of ONNX Runtime |")
    print("|---|---|---|---|---|---|---|---|---|")
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mho.save(network, folder / "network.onnx")
        for mapping in ("paper", "best"):
            write_program(mho.compile(network, options.accelerator, mapping=mapping), folder / f"{mapping}.mho")
        for case in _list_cases(options.adc_bits):
            ranges: Path | None = None
            calibration_s = 0.0
            if case.adc_bits is not None:
                ranges = folder / "ranges.npz"
                calibration_s = _apart(_calibrate, folder, case, seen, ranges)
            found.append(_apart(_measure, folder, case, ranges, images, options.batch, options.rounds))
            print(_describe(case, calibration_s, found[-1]), flush=True)
    load_s, memory_mb = max(one.load_s for one in found), max(one.memory_mb for one in found)
    met = load_s <= LOAD_S and memory_mb <= MEMORY_MB
    print(f"at most {load_s:.1f} s and {memory_mb:.0f} MB (targets {LOAD_S:g} s, {MEMORY_MB:g} MB: ", end="")
    print("met)" if met else "missed)")


def _list_cases(adc_bits: list[int]) -> list[Case]:
    return [
        Case(mapping, error, bits)
        for mapping in ("paper", "best")
        for error in (0.0, 0.02)
        for bits in (None, *adc_bits)
    ]


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function gives in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _calibrate(folder: Path, case: Case, seen: NDArray[Any], target: Path) -> float:
    torch.set_num_threads(1)
    program = read_program(folder / f"{case.mapping}.mho")
    start = time.process_time()
    ranges = mho.calibrate(program, seen, seed=CHIP, hardware=case.hardware(program.accelerator))
    seconds = time.process_time() - start
    write_ranges(ranges, target)
    return seconds


def _measure(folder: Path, case: Case, ranges: Path | None, images: NDArray[Any], batch: int, rounds: int) -> Figures:
    torch.set_num_threads(1)
    program = read_program(folder / f"{case.mapping}.mho")
    layers = None if ranges is None else read_ranges(ranges).layers
    start = time.process_time()
    chip = AnalogExecutor(program, CHIP, hardware=case.hardware(program.accelerator), ranges=layers)
    chip.run(images[:1])  # what is prepared at the first answer is a part of it
    load_s = time.process_time() - start
    chip.run(images, batch)
    memory_mb = _peak_mb()
    exact, peer = Executor(program), _onnx_runtime(folder / "network.onnx", images)
    runs: tuple[Callable[[], Any], ...] = (lambda: chip.run(images, batch), lambda: exact.run(images, batch), peer)
    times: list[list[float]] = [[] for _ in runs]
    for number in range(rounds + 1):
        for one, run in zip(times, runs, strict=True):
            start = time.process_time()
            run()
            if number:  # the first round warms up
                one.append(time.process_time() - start)
    own, other, third = (len(images) / statistics.median(one) for one in times)
    return Figures(load_s, memory_mb, (own, other, third))


def _peak_mb() -> float:
    """Return the peak memory of this process; what `getrusage` tells begins with that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) / 1024


def _onnx_runtime(path: Path, images: NDArray[Any]) -> Callable[[], None]:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    size = 1 if entry.shape[0] == 1 else len(images)

    def run() -> None:
        for start in range(0, len(images), size):
            session.run(None, {entry.name: images[start : start + size]})

    return run


def _describe(case: Case, calibration_s: float, found: Figures) -> str:
    own, exact, peer = found.speeds
    adc = ("ideal", "") if case.adc_bits is None else (f"{case.adc_bits} bits, calibrated", f"{calibration_s:.1f}")
    cells = (case.mapping, f"{100 * case.error:g} %", *adc, f"{found.load_s:.2f}", f"{found.memory_mb:.0f}")
    return f"| {' | '.join(cells)} | {own:.1f} | {own / exact:.2f} | {own / peer:.2f} |"


if __name__ == "__main__":
    main()
