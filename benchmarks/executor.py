"""Speed of the executor: a compiled network, run through its recovered crossbar integers, beside ONNX Runtime.

    python benchmarks/executor.py [--network torchvision:resnet18] [--batch 8] [--threads 1] [--rounds 5]

The network is calibrated at 8/8 on random images, written as QCDQ ONNX (what ONNX Runtime runs, its optimizer on, so
that its own integer kernels do) and compiled for one 256x256 crossbar with ideal ADCs (what mho runs, from the program
alone, as many images at once as it chooses). Both take turns on the same images in every round; figures are medians,
and outputs are compared. The limit is the time of the network's products at the rate of the processor's product of
bytes, measured in the same run. Times are of the clock, and of the processor, which other work disturbs less.

The target is a ratio of at least 1.0 for ResNet-18, 0.7 for other networks. Networks besides those of `mho cost` are
efficientnet-lite0 to -lite4, of the package efficientnet-lite-pytorch, with random weights.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from results import processor

import mho
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import derive_layer_table
from mho.simulation.executor import Executor

TARGETS = {"torchvision:resnet18": 1.0}
OTHER_TARGET = 0.7
PRODUCT_SIZE = 2048
LITE_SIZES = {"0": 224, "1": 240, "2": 260, "3": 280, "4": 300}

Times = dict[str, tuple[float, float]]
"""By what is run: seconds of the clock and of the processor, medians."""


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
    network = _load(options.network)
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
    macs = options.batch * sum(layer.macs for layer in derive_layer_table(network))
    times = _measure({"products of bytes alone": _product(), **runs}, options.rounds)
    _report(options, times, macs / PRODUCT_SIZE**3)
    first, *others = (run() for run in runs.values())
    for other in others:
        print(f"largest difference to ONNX Runtime: {np.abs(other - first).max():.3g} of {np.abs(first).max():.3g}")


def _load(name: str) -> mho.Network:
    lite = re.fullmatch("efficientnet-lite([0-4])", name)
    if lite is None:
        return mho.load(name)
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        sys.exit("error: not installed: pip install --no-deps efficientnet-lite-pytorch")
    torch.manual_seed(0)
    size = LITE_SIZES[lite[1]]
    return mho.load(EfficientNet.from_name(name).eval(), torch.zeros(1, 3, size, size))


def _product() -> Callable[[], object]:
    """Return a product of square matrices of bytes."""
    one, other = torch.randint(-128, 128, (2, PRODUCT_SIZE, PRODUCT_SIZE)).to(torch.int8)
    return lambda: torch._int_mm(one, other)


def _onnx_runtime(quantized: mho.Network, path: Path, images: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
    mho.save(quantized, path)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = _open(path, settings)
    entry = session.get_inputs()[0]
    if entry.shape[0] == 1:

        def run() -> np.ndarray:
            return np.concatenate([session.run(None, {entry.name: image[None]})[0] for image in images])

        return run
    return lambda: session.run(None, {entry.name: images})[0]


def _open(path: Path, settings: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Open a file, without one of the optimizer's passes where it fails on its own result.

    The optimizer of 1.32 makes signed activations unsigned, but not the type that a pass put down before.
    """
    providers, without = ["CPUExecutionProvider"], "MatMulAddFusion"
    try:
        return onnxruntime.InferenceSession(path, settings, providers=providers)
    except Exception as error:
        print(f"ONNX Runtime runs without its pass {without}: {str(error).splitlines()[0]}")
        return onnxruntime.InferenceSession(path, settings, providers=providers, disabled_optimizers=[without])


def _mho(executor: Executor, name: str, images: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: next(iter(executor.run({name: images}).values()))


def _measure(runs: dict[str, Callable[[], object]], rounds: int) -> Times:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter(), time.process_time()
            run()
            if number:  # the first round warms up
                times[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {name: tuple(map(statistics.median, zip(*values, strict=True))) for name, values in times.items()}


def _report(options: argparse.Namespace, times: Times, products: float) -> None:
    """Print limit, peer and mho; `products` is how many of the measured products the network's are."""
    print(f"{options.network} at {options.bits}, batch {options.batch}, {options.threads} thread(s), {processor()}")
    (limit, (clock, cpu)), *others = times.items()
    rate = PRODUCT_SIZE**3 / clock / 1e9
    rows = [(f"limit: {limit}, {rate:.0f} G/s", clock * products, cpu * products)]
    rows += [(name, *both) for name, both in others]
    target, (_, peer_seconds, peer_cpu) = TARGETS.get(options.network, OTHER_TARGET), rows[1]
    for name, seconds, cpu in rows:
        ratio = peer_seconds / seconds
        verdict = f"  (target {target}: {'met' if ratio >= target else 'missed'})" if name.startswith("mho") else ""
        clock_ms, cpu_ms = (1e3 * value / options.batch for value in (seconds, cpu))
        print(f"  {name:44} {clock_ms:7.1f} ms an image, {ratio:5.2f} of the peer's speed{verdict}")
        print(f"  {'':44} {cpu_ms:7.1f} ms of the processor, {peer_cpu / cpu:5.2f}")


if __name__ == "__main__":
    main()
