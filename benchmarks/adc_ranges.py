"""What ADCs of few bits cost in accuracy: over the full scale, and with ranges that data calibrates.

    python benchmarks/adc_ranges.py RUN.toml NETWORK.onnx [--bits 4/4] [--adc-bits 5 6 7] [--images 500]

RUN.toml names the data and the accelerator. NETWORK.onnx is quantized, or is float and gets calibrated at --bits. It is
compiled in each mapping and difference of columns, for calibrated ADCs, and answers test images, spread evenly over
the test set, on a chip whose cells are ideal: what is lost is lost by ADCs alone. Shown are accuracies, and in brackets
how far outputs are off: root mean square, in percent of their standard deviation. Ranges come from the run's
calibration images; which of them changes accuracies by some images, so that --draws takes means over several draws.
With --programming-error cells have errors too, on as many chips as --seeds says.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import mho
from mho.array.calibration import RangeMethod
from mho.data.dataset import Split
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Accelerator
from mho.program.program import Program
from mho.workflow.config import load_config
from mho.workflow.material import load_for

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
MAPPINGS: tuple[tuple[str, Any, str, list[str] | None], ...] = (
    ("differential columns", "paper", "digital", None),
    ("differences converted", "paper", "analog", None),
    ("best", "best", "digital", None),
    ("best of differential columns", "best", "digital", ["differential-columns"]),
    ("best of converted differences", "best", "analog", ["differential-columns"]),
)
"""Names, models of mapping, where columns are subtracted, and which encodings are allowed; None: all."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--adc-bits", type=int, nargs="+", default=[4, 5, 6, 7, 8], metavar="N")
    parser.add_argument("--draws", type=int, default=1, help="of calibration images; one: spread evenly over them all")
    parser.add_argument("--programming-error", type=float, default=0.0, help="part of the range")
    parser.add_argument("--seeds", type=int, default=1, help="chips; more than one tell more where cells have errors")
    mappings, rows = [name for name, *_ in MAPPINGS], [name for name, *_ in ROWS]
    parser.add_argument("--mappings", nargs="+", choices=mappings, default=mappings)
    parser.add_argument("--ranges", nargs="+", choices=rows, default=rows)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(options.run, data_root=options.data_root)
    network = mho.load(options.network)
    dataset = load_for(network, config)
    calibration = dataset.calibration.inputs(slice(None))
    if not network.is_quantized:
        network = mho.quantize(network, options.bits, calibration)
    test = dataset.test.spread(options.images)
    seen = draw(dataset.calibration, options.calibration, options.draws)
    hardware = mho.accelerator(options.accelerator or config.accelerator.name)
    for name, mapping, difference, encodings in MAPPINGS:
        if name not in options.mappings:
            continue
        chip = with_values(hardware, options.programming_error, column_difference=difference)
        calibrated = {"adc_bits": max(options.adc_bits), "adc_range": "calibrated-columns"}
        program = mho.compile(network, allow(with_values(chip, 0, **calibrated), encodings), mapping=mapping)
        exact = mho.simulate(program, test.inputs(slice(None)))
        time_us = mho.timing(program).latency_ps / 1e6
        print(
            f"\n{name}: {accuracy(exact, test):.2f} % of {len(test)} images with exact integers, {time_us:,.1f} us each"
        )
        print(f"| {'ranges':18} | " + " | ".join(f"{bits} bits" for bits in options.adc_bits) + " |")
        print("|---" * (len(options.adc_bits) + 1) + "|")
        for row, cells in measure(program, chip, options, seen, test, exact):
            print(f"| {row:18} | {' | '.join(cells)} |", flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what tells the network, its data and its accelerator."""
    parser.add_argument("run", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--accelerator", help="instead of the run's")
    parser.add_argument("--bits", default="4/4")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--calibration", type=int, default=100, help="images")


def measure(
    program: Program,
    hardware: Accelerator,
    options: argparse.Namespace,
    seen: list[NDArray[Any]],
    test: Split,
    exact: dict[str, NDArray[np.float32]],
) -> Iterator[tuple[str, list[str]]]:
    """Yield the accuracies (and deviations) of each kind of ranges by bits, means over chips and draws of `seen`."""
    inputs = test.inputs(slice(None))
    for name, per, method in ROWS:
        if name not in options.ranges:
            continue
        found = []
        for bits in options.adc_bits:
            start = time.perf_counter()
            chosen = with_values(hardware, options.programming_error, adc_bits=bits)
            figures = []
            for seed, some in itertools.product(range(options.seeds), seen if method is not None else [None]):
                ranges = None
                if method is not None:
                    ranges = mho.calibrate(program, some, seed=seed, hardware=chosen, method=method.value, per=per)
                outputs = mho.simulate(program, inputs, seed=seed, hardware=chosen, ranges=ranges)
                figures.append((accuracy(outputs, test), deviation(outputs, exact)))
            found.append("{:.2f} ({:.1f})".format(*np.mean(figures, axis=0)))
            print(
                f"{name}, {bits} bits: {np.round(figures, 2).tolist()}, {time.perf_counter() - start:.0f} s",
                file=sys.stderr,
            )
        yield name, found


def draw(calibration: Split, images: int, draws: int) -> list[NDArray[Any]]:
    if draws == 1:
        return [calibration.spread(images).inputs(slice(None))]
    everything = calibration.inputs(slice(None))
    return [np.random.default_rng(seed).permutation(everything)[:images] for seed in range(draws)]


def allow(hardware: Accelerator, encodings: list[str] | None) -> Accelerator:
    content = hardware.to_json()
    if encodings is not None:
        content["mapping"]["allowed"]["encodings"] = encodings
    return accelerator_from_json(content, where=hardware.name)


def with_values(hardware: Accelerator, error: float, **converters: Any) -> Accelerator:
    content = hardware.to_json()
    content["converters"].update(converters)
    content["array"].update(programming_error=error)
    return accelerator_from_json(content, where=hardware.name)


def deviation(outputs: dict[str, NDArray[np.float32]], exact: dict[str, NDArray[np.float32]]) -> float:
    ((found,), (wanted,)) = outputs.values(), exact.values()
    return 100 * float(np.sqrt(np.square(found - wanted).mean()) / wanted.std())


def accuracy(outputs: dict[str, NDArray[np.float32]], test: Split) -> float:
    (found,) = outputs.values()
    return 100 * float((found.argmax(axis=1) == test.labels).mean())


if __name__ == "__main__":
    main()
