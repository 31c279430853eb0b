"""What ADCs of few bits cost in accuracy: over the full scale, and with ranges that data calibrates.

    python benchmarks/adc_ranges.py RUN.toml NETWORK.onnx [--bits 4/4] [--adc-bits 5 6 7] [--images 500]

RUN.toml names the data and the accelerator. NETWORK.onnx is quantized, or is float and gets calibrated at --bits. It is
compiled in each mapping and difference of columns, and answers test images, spread evenly over the test set, on a chip
whose cells are ideal: what is lost is lost by ADCs alone. Ranges come from the run's calibration images. With
--programming-error cells have errors too, on as many chips as --seeds says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import mho
from mho.accelerator.loading import accelerator_from_json
from mho.accelerator.spec import Accelerator
from mho.array.calibration import RangeMethod
from mho.data.dataset import Split
from mho.data.loading import load_dataset
from mho.program.program import Program
from mho.workflow.config import load_config
from mho.workflow.stage import derive_seed

ROWS: tuple[tuple[str, Any, RangeMethod | None], ...] = (
    ("full scale", None, None),
    ("layer, extremes", "layer", RangeMethod.EXTREMES),
    ("layer, 99.99 %", "layer", RangeMethod.PERCENTILE),
    ("layer, least error", "layer", RangeMethod.MSE),
    ("slice, extremes", "slice", RangeMethod.EXTREMES),
    ("slice, 99.99 %", "slice", RangeMethod.PERCENTILE),
    ("slice, least error", "slice", RangeMethod.MSE),
    ("ADC, extremes", "adc", RangeMethod.EXTREMES),
    ("ADC, 99.99 %", "adc", RangeMethod.PERCENTILE),
    ("ADC, least error", "adc", RangeMethod.MSE),
)
MAPPINGS: tuple[tuple[str, Any, str], ...] = (
    ("differential columns", "paper", "digital"),
    ("differences converted", "paper", "analog"),
    ("best", "best", "digital"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--accelerator", help="instead of the run's")
    parser.add_argument("--bits", default="4/4")
    parser.add_argument("--adc-bits", type=int, nargs="+", default=[4, 5, 6, 7, 8], metavar="N")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--calibration", type=int, default=100, help="images")
    parser.add_argument("--programming-error", type=float, default=0.0, help="part of the range")
    parser.add_argument("--seeds", type=int, default=1, help="chips; more than one tell more where cells have errors")
    mappings, rows = [name for name, _, _ in MAPPINGS], [name for name, _, _ in ROWS]
    parser.add_argument("--mappings", nargs="+", choices=mappings, default=mappings)
    parser.add_argument("--ranges", nargs="+", choices=rows, default=rows)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(options.run, data_root=options.data_root)
    dataset = load_dataset(config.data, np.random.default_rng(derive_seed(config.run.seed, "splits")))
    network = mho.load(options.network)
    calibration = dataset.calibration.inputs(slice(None))
    if not network.is_quantized:
        network = mho.quantize(network, options.bits, calibration)
    test = dataset.test.spread(options.images)
    seen = dataset.calibration.spread(options.calibration).inputs(slice(None))
    hardware = mho.accelerator(options.accelerator or config.accelerator.name)
    for name, mapping, difference in MAPPINGS:
        if name not in options.mappings:
            continue
        compiled = with_values(hardware, options.programming_error, column_difference=difference)
        program = mho.compile(network, compiled, mapping=mapping)
        exact = accuracy(mho.simulate(program, test.inputs(slice(None))), test)
        print(f"\n{name}: {exact:.2f} % of {len(test)} images with exact integers")
        print(f"| {'ranges':18} | " + " | ".join(f"{bits} bits" for bits in options.adc_bits) + " |")
        print("|---" * (len(options.adc_bits) + 1) + "|")
        for row, cells in measure(program, compiled, options, seen, test):
            print(f"| {row:18} | {' | '.join(f'{cell:6.2f}' for cell in cells)} |", flush=True)


def measure(
    program: Program, hardware: Accelerator, options: argparse.Namespace, seen: NDArray[Any], test: Split
) -> Iterator[tuple[str, list[float]]]:
    """Yield the accuracies of each kind of ranges by bits, percent, means over chips."""
    inputs = test.inputs(slice(None))
    for name, per, method in ROWS:
        if name not in options.ranges:
            continue
        found = []
        for bits in options.adc_bits:
            start = time.perf_counter()
            chosen = with_values(hardware, options.programming_error, adc_bits=bits)
            shares = []
            for seed in range(options.seeds):
                ranges = None
                if method is not None:
                    ranges = mho.calibrate(program, seen, seed=seed, hardware=chosen, method=method.value, per=per)
                shares.append(accuracy(mho.simulate(program, inputs, seed=seed, hardware=chosen, ranges=ranges), test))
            found.append(float(np.mean(shares)))
            print(f"{name}, {bits} bits: {shares}, {time.perf_counter() - start:.0f} s", file=sys.stderr)
        yield name, found


def with_values(hardware: Accelerator, error: float, **converters: Any) -> Accelerator:
    content = hardware.to_json()
    content["converters"].update(converters)
    content["array"].update(programming_error=error)
    return accelerator_from_json(content, where=hardware.name)


def accuracy(outputs: dict[str, NDArray[np.float32]], test: Split) -> float:
    (found,) = outputs.values()
    return 100 * float((found.argmax(axis=1) == test.labels).mean())


if __name__ == "__main__":
    main()
