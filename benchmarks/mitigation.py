"""What mitigation wins back of the accuracy that stuck cells and coarse writes cost.

    python benchmarks/mitigation.py examples/digits.toml examples/studies/digits.onnx
    python benchmarks/mitigation.py examples/cifar10_resnet20.toml resnet20-cifar10.onnx --data-root DATA --images 200

RUN.toml names the data and the accelerator; NETWORK.onnx is quantized, or is float and gets calibrated at --bits. It
answers test images, spread evenly over the test set, on chips of several seeds. Half of the stuck cells are in the
highest level, unless --on-share says otherwise. Stuck cells: as mapped, with digits that make up for them
(`array.fault_compensation`), with lines that are chosen by them (`array.placement`), and with spare columns. Writes:
with budgets of pulses, whose first has an error of --pulse-error of the range, and the pulses that they take.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import mho
from mho.data.dataset import Split
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Accelerator
from mho.program.program import Program
from mho.simulation.analog import AnalogExecutor
from mho.workflow.config import load_config
from mho.workflow.material import load_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--accelerator", help="instead of the run's")
    parser.add_argument("--mapping", choices=["paper", "best"], default="paper")
    parser.add_argument("--bits", default="4/4")
    parser.add_argument("--rates", type=float, nargs="*", default=[0.001, 0.005, 0.01, 0.02], help="of stuck cells")
    parser.add_argument("--on-share", type=float, default=0.5, help="of these, in the highest level")
    parser.add_argument("--spares", type=int, nargs="*", default=[8, 32], help="columns")
    parser.add_argument("--pulse-error", type=float, default=0.1, help="part of the range")
    parser.add_argument("--tolerance", type=float, default=0.02, help="part of the range")
    parser.add_argument("--pulses", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32], help="budgets")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3, help="chips")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(options.run, data_root=options.data_root)
    network = mho.load(options.network)
    dataset = load_for(network, config)
    if not network.is_quantized:
        network = mho.quantize(network, options.bits, dataset.calibration.inputs(slice(None)))
    test = dataset.test.spread(options.images)
    program = mho.compile(network, options.accelerator or config.accelerator.name, mapping=options.mapping)
    exact = share_right(mho.simulate(program, test.inputs(slice(None))), test)
    print(
        f"{options.network.name} on {program.accelerator.name}, {options.mapping} mapping: {exact:.2f} % of "
        f"{len(test)} images with exact integers; {options.seeds} chips"
    )
    if options.rates:
        print_stuck(program, test, options)
    if options.pulses:
        print_pulses(program, test, options)


def print_stuck(program: Program, test: Split, options: argparse.Namespace) -> None:
    placed, made_up = {"placement": "fault-aware"}, {"fault_compensation": "digits"}
    plans: dict[str, dict[str, Any]] = {"as mapped": {}, "compensation": made_up, "placement": placed}
    plans |= {f"placement, {count} spare columns": {**placed, "spare_cols": count} for count in options.spares}
    plans["placement, compensation"] = {**placed, **made_up}
    plans |= {f"all, {count} spare columns": {**placed, **made_up, "spare_cols": count} for count in options.spares}
    print(f"\n| stuck cells | {' | '.join(plans)} |")
    print("|---" * (len(plans) + 1) + "|")
    for rate in options.rates:
        rates = {"stuck_on_rate": round(rate * options.on_share, 9)}
        rates["stuck_off_rate"] = round(rate - rates["stuck_on_rate"], 9)
        cells = [tell_stuck(program, test, options.seeds, {**rates, **plan}) for plan in plans.values()]
        print(f"| {100 * rate:g} % | {' | '.join(cells)} |", flush=True)


def tell_stuck(program: Program, test: Split, seeds: int, array: dict[str, Any]) -> str:
    """Return accuracies and the seconds that writing a chip took; with the error that is left, to stderr."""
    found, left, seconds = [], [], []
    for seed in range(seeds):
        start = time.perf_counter()
        executor = AnalogExecutor(program, seed, hardware=with_array(program.accelerator, array))
        seconds.append(time.perf_counter() - start)
        faults = executor.faults
        left.append(faults.error / faults.error_as_mapped if faults.error_as_mapped else 0.0)
        found.append(share_right(executor.run(test.inputs(slice(None))), test))
    print(f"{array}: {found}, error {left}, {seconds} s to write", file=sys.stderr)
    return f"{show(found)} {np.mean(seconds):.1f} s"


def print_pulses(program: Program, test: Split, options: argparse.Namespace) -> None:
    print(f"\n| pulses, at most | accuracy | pulses a cell | write of a crossbar, pulses |\n{'|---' * 4}|")
    for pulses in options.pulses:
        array = {"pulse_error": options.pulse_error, "verify_tolerance": options.tolerance, "verify_pulses": pulses}
        hardware, found = with_array(program.accelerator, array), []
        for seed in range(options.seeds):
            executor = AnalogExecutor(program, seed, hardware=hardware)
            found.append(share_right(executor.run(test.inputs(slice(None))), test))
        print(f"{array}: {found}", file=sys.stderr)
        slowest = hardware.write_latency_ps / hardware.crossbar.write_latency_ps
        print(f"| {pulses} | {show(found)} | {hardware.pulses_per_cell:.2f} | {slowest:.2f} |", flush=True)


def show(found: list[float]) -> str:
    return f"{np.mean(found):.2f} % ({min(found):.1f} .. {max(found):.1f})"


def with_array(hardware: Accelerator, values: dict[str, Any]) -> Accelerator:
    content = hardware.to_json()
    content["array"].update(values)
    return accelerator_from_json(content, where=hardware.name)


def share_right(outputs: dict[str, NDArray[np.float32]], test: Split) -> float:
    (found,) = outputs.values()
    return 100 * float((found.argmax(axis=1) == test.labels).mean())


if __name__ == "__main__":
    main()
