"""Accuracy and time of networks on digital units of integers alone, against the same integers of layers with floats.

    python benchmarks/integer_arithmetic.py RUN_FOLDER ... [--bits 8/8 4/4] [--digital-bits 16 8]
        [--images 1000] [--rounds 3]

Each folder is one of `mho run`, whose float network is calibrated anew to the bits, and evaluated on test data by the
executor: with a digital unit in float32, and with integers of so many bits between layers. Programs are those of one
crossbar of `pelke2026-4bit`; accuracies do not depend on it. Times are those of the executor, the best of its rounds.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import mho
from mho.data.dataset import Split
from mho.data.loading import load_dataset
from mho.data.spec import DataSpec
from mho.network.graph import Network
from mho.program.lowering import compile_network
from mho.quantization.digital_grids import assign_digital_grids
from mho.seeds import derive_seed
from mho.simulation.executor import Executor

ACCELERATOR = "pelke2026-4bit"


@dataclass(frozen=True)
class Row:
    arithmetic: str
    accuracy: float
    same: float
    time_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--bits", nargs="+", default=["8/8"])
    parser.add_argument("--digital-bits", nargs="+", type=int, default=[16, 8])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--calibration", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for folder in options.runs:
        network, calibration, test = read_run(folder, options.calibration, options.images)
        for bits in options.bits:
            quantized = mho.quantize(network, bits, calibration)
            rows = measure(quantized, calibration, test, options.digital_bits, options.rounds)
            report(f"{folder.name} at {bits}, {len(test):,} images", rows)


def read_run(folder: Path, calibration: int, images: int) -> tuple[Network, np.ndarray, Split]:
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    data, seed = DataSpec.model_validate(content["data"]), content["run"]["seed"]
    dataset = load_dataset(data, np.random.default_rng(derive_seed(seed, "splits"))).unnormalized()
    network = mho.load(folder / "stages" / "float" / "float.onnx")
    samples = dataset.calibration.spread(min(calibration, len(dataset.calibration))).inputs(slice(None))
    return network, samples, dataset.test.spread(min(images, len(dataset.test)))


def measure(
    quantized: Network, calibration: np.ndarray, test: Split, digital_bits: list[int], rounds: int
) -> list[Row]:
    inputs, labels = test.inputs(slice(None)), test.labels
    rows, first = [], None
    for name, bits in (("float32", 0), *((f"integer, {bits} bits", bits) for bits in digital_bits)):
        network = assign_digital_grids(quantized, calibration, bits=bits) if bits else quantized
        hardware = mho.accelerator(ACCELERATOR, arithmetic="integer" if bits else "float32")
        executor = Executor(compile_network(network, hardware))
        taken = []
        for _ in range(rounds):
            start = time.perf_counter()
            (logits,) = executor.run(inputs).values()
            taken.append(time.perf_counter() - start)
        found = logits.reshape(len(labels), -1).argmax(axis=1)
        first = found if first is None else first
        rows.append(Row(name, float((found == labels).mean()), float((found == first).mean()), min(taken)))
    return rows


def report(title: str, rows: list[Row]) -> None:
    print(f"\n{title}")
    print(f"{'digital unit':<20}{'accuracy':>10}{'points':>9}{'same class':>12}{'executor':>11}")
    for row in rows:
        difference = 100 * (row.accuracy - rows[0].accuracy)
        shown = f"{row.arithmetic:<20}{row.accuracy:>10.2%}{difference:>+9.2f}{row.same:>12.2%}{row.time_s:>9.2f} s"
        print(shown, flush=True)


if __name__ == "__main__":
    main()
