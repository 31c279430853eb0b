"""What networks lose on digital units of integers alone, against the same integers of layers with floats between them.

    python benchmarks/integer_arithmetic.py RUN_FOLDER ... [--bits 8/8 4/4] [--digital-bits 16 8]
        [--samples 10000] [--rounds 1]

Each folder is one of `mho run`, whose float network is calibrated anew to the bits, and evaluated on test data by the
executor and the metric of its task: with a digital unit in float32, and with integers of so many bits between layers.
A gain is positive where integers are better, and stands beside its standard error by the choice of samples, paired: the
jackknife over samples that both have seen. "same" are samples, or positions, of the same class as in float32. Programs
are those of one crossbar of `pelke2026-4bit`; answers do not depend on it. Times are those of the executor, the best
of its rounds.
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
from mho.task.metrics import METRICS
from mho.task.settings import TaskSettings
from mho.task.task import Measures, Task

ACCELERATOR = "pelke2026-4bit"


@dataclass(frozen=True)
class Row:
    arithmetic: str
    measures: Measures
    same: float | None
    time_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--bits", nargs="+", default=["8/8"])
    parser.add_argument("--digital-bits", nargs="+", type=int, default=[16, 8])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--calibration", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for folder in options.runs:
        network, task, calibration, test = read_run(folder, options.calibration, options.samples)
        for bits in options.bits:
            quantized = mho.quantize(network, bits, calibration)
            rows = measure(quantized, task, calibration, test, options.digital_bits, options.rounds)
            print(f"\n{folder.name} at {bits}, {len(test):,} samples: {task.metric.words}")
            report(task, rows)


def read_run(folder: Path, calibration: int, samples: int) -> tuple[Network, Task, np.ndarray, Split]:
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    task = TaskSettings.model_validate(content.get("task", {})).task()
    data, seed = DataSpec.model_validate(content["data"]), content["run"]["seed"]
    dataset = load_dataset(data, np.random.default_rng(derive_seed(seed, "splits")), task=task).unnormalized()
    network = mho.load(folder / "stages" / "float" / "float.onnx")
    seen = dataset.calibration.spread(min(calibration, len(dataset.calibration))).inputs(slice(None))
    return network, task, seen, dataset.test.spread(min(samples, len(dataset.test)))


def measure(
    quantized: Network, task: Task, calibration: np.ndarray, test: Split, digital_bits: list[int], rounds: int
) -> list[Row]:
    inputs, rows, first = test.inputs(slice(None)), list[Row](), None
    for name, bits in (("float32", 0), *((f"integer, {bits} bits", bits) for bits in digital_bits)):
        network = assign_digital_grids(quantized, calibration, bits=bits) if bits else quantized
        hardware = mho.accelerator(ACCELERATOR, arithmetic="integer" if bits else "float32")
        executor = Executor(compile_network(network, hardware))
        taken = []
        for _ in range(rounds):
            start = time.perf_counter()
            (outputs,) = executor.run(inputs).values()
            taken.append(time.perf_counter() - start)
        outputs = outputs.reshape(len(inputs), *network.outputs[0].shape[1:])
        found = task.scores_last(outputs).argmax(axis=-1) if task.has_classes else None
        first = found if first is None else first
        same = None if found is None else float((found == first).mean())
        rows.append(Row(name, task.measure(outputs, test.labels), same, min(taken)))
    return rows


def paired_error(task: Task, first: Measures, second: Measures) -> float:
    """Return the standard error of the difference of two qualities on the same samples, by leaving out each once."""
    finish, count = METRICS[task.metric_name].finish, len(first.rows)
    without = np.subtract(*(finish(one.rows.sum(axis=0) - one.rows) for one in (second, first)))
    return float(np.sqrt((count - 1) / count * np.square(without - without.mean()).sum()))


def report(task: Task, rows: list[Row]) -> None:
    print(f"{'digital unit':<18}{'value':>12}{'gain':>9}{'error':>9}{'same':>10}{'executor':>11}")
    first, scale, digits = rows[0].measures, task.metric.scale, task.metric.digits or 2
    for row in rows:
        gain, error = row.measures.quality - first.quality, paired_error(task, first, row.measures)
        same = "-" if row.same is None else f"{row.same:.2%}"
        print(
            f"{row.arithmetic:<18}{task.metric.format(row.measures.quality):>12}{scale * gain:>+9.{digits}f}"
            f"{scale * error:>9.{digits}f}{same:>10}{row.time_s:>9.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
