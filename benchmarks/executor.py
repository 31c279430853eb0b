"""Speed of the executor: a compiled network, run through its recovered crossbar integers, beside ONNX Runtime.

    python benchmarks/executor.py [--network torchvision:resnet18] [--batch 8] [--threads 1] [--rounds 5]

The network is calibrated at 8/8 on random images, written as QCDQ ONNX (what ONNX Runtime runs) and compiled for one
256x256 crossbar with ideal ADCs (what mho runs, from the program alone). Both take turns on the same images in every
round; figures are medians, and outputs are compared. The target is a ratio of at least 0.25.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import mho
from mho.mapping.layer_mapping import MappingModel
from mho.simulation.executor import Executor

TARGET = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="torchvision:resnet18")
    parser.add_argument("--accelerator", default="pelke2026-4bit")
    parser.add_argument("--bits", default="8/8")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = mho.load(options.network)
    shape = network.shapes[network.inputs[0].name]
    images = np.random.default_rng(0).standard_normal((options.batch, *shape[1:])).astype(np.float32)
    quantized = mho.quantize(network, options.bits, images)
    runs: dict[str, Callable[[], np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs["ONNX Runtime, QCDQ"] = _onnx_runtime(quantized, Path(folder) / "network.onnx", images, options.threads)
    for model in MappingModel:
        start = time.perf_counter()
        executor = Executor(mho.compile(quantized, options.accelerator, mapping=model))
        print(f"{model} mapping: compiled, proven and loaded in {time.perf_counter() - start:.1f} s")
        runs[f"mho, {model} mapping"] = _mho(executor, network.inputs[0].name, images)
    _report(options, _measure(runs, options.rounds))
    first, *others = (run() for run in runs.values())
    for other in others:
        print(f"largest difference to ONNX Runtime: {np.abs(other - first).max():.3g} of {np.abs(first).max():.3g}")


def _onnx_runtime(quantized: mho.Network, path: Path, images: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
    mho.save(quantized, path)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    if entry.shape[0] == 1:

        def run() -> np.ndarray:
            return np.concatenate([session.run(None, {entry.name: image[None]})[0] for image in images])

        return run
    return lambda: session.run(None, {entry.name: images})[0]


def _mho(executor: Executor, name: str, images: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: next(iter(executor.run({name: images}, batch_size=len(images)).values()))


def _measure(runs: dict[str, Callable[[], np.ndarray]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _report(options: argparse.Namespace, times: dict[str, float]) -> None:
    print(f"{options.network} at {options.bits}, batch {options.batch}, {options.threads} thread(s)")
    peer = next(iter(times.values()))
    for name, seconds in times.items():
        ratio = peer / seconds
        verdict = "" if seconds == peer else f"  (target {TARGET}: {'met' if ratio >= TARGET else 'missed'})"
        print(
            f"  {name:24} {1e3 * seconds / options.batch:8.1f} ms an image, {ratio:5.2f} of the peer's speed{verdict}"
        )


if __name__ == "__main__":
    main()
