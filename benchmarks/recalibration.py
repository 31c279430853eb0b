"""What recalibration of channels wins back of the accuracy that errors of cells and drift cost.

    python benchmarks/recalibration.py --data digits
    python benchmarks/recalibration.py --data CIFAR10 --network resnet20.onnx --bits 4/4 8/8 --images 1000

A float network is quantized by calibration, compiled, and asked on chips of several seeds, with errors of the write
or after drift, as it is and recalibrated on calibration images (`mho.recalibrate`). Digits: ResNet-8, trained here.

Data: "digits" (scikit-learn's), "fashion-mnist" (Debian's package), or where CIFAR-10 lies, with --network, float ONNX.
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
from mho.data import DataSpec, load_dataset
from mho.data.dataset import Dataset
from mho.hardware.loading import accelerator_from_json
from mho.models import build_model
from mho.network.graph import Network
from mho.network.torch_reader import read_torch
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import train
from mho.quantization.training_options import TrainingOptions

BATCH = 50
DAY_S, YEAR_S = 86_400.0, 31_536_000.0
ERROR = {"programming_error_of": "range"}
CASES: tuple[tuple[str, dict[str, Any], float | None], ...] = (
    ("errors of 5 % of the range", {"programming_error": 0.05, **ERROR}, None),
    ("errors of 10 % of the range", {"programming_error": 0.1, **ERROR}, None),
    ("drift, a day", {}, DAY_S),
    ("drift, a year", {}, YEAR_S),
    ("errors of 5 %, drift, a year", {"programming_error": 0.05, **ERROR}, YEAR_S),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", metavar="NAME|PATH")
    parser.add_argument("--network", type=Path, help="float ONNX; left out: ResNet-8, trained here")
    parser.add_argument("--bits", nargs="+", default=["4/4", "8/8"], help="weight/activation")
    parser.add_argument("--accelerator", default="pelke2026-4bit")
    parser.add_argument("--mapping", choices=["best", "paper"], default="paper")
    parser.add_argument("--drift", default="hermes-pcm", metavar="NAME|FILE", help="whose drift (hermes-pcm)")
    parser.add_argument("--adc-bits", type=int, help="of ADCs that are calibrated, one range an ADC; left out: ideal")
    parser.add_argument("--images", type=int, default=500, help="test images (500)")
    parser.add_argument("--calibration", type=int, default=100, help="images for recalibration (100)")
    parser.add_argument("--seeds", type=int, default=3, help="chips (3)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        run(options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    dataset = load(options.data)
    network = train_network(dataset) if options.network is None else mho.load(options.network)
    calibration = dataset.calibration.inputs(slice(None))
    seen = dataset.calibration.spread(options.calibration).inputs(slice(None))
    test = dataset.test.spread(options.images)
    for bits in options.bits:
        program = mho.compile(mho.quantize(network, bits, calibration), options.accelerator, mapping=options.mapping)
        exact = share_right(mho.simulate(program, test.inputs(slice(None))), test.labels)
        print(
            f"\n{network.name} {bits} on {options.accelerator}, {options.mapping} mapping, ADCs "
            f"{options.adc_bits or 'ideal'}: exact {exact:.2f} % of {len(test)} images; drift of {options.drift}; "
            f"{options.seeds} chips, {len(seen)} images for recalibration"
        )
        print("| chip | as it is | recalibrated |\n|---|---|---|")
        for name, plain, corrected in measure(program, options, seen, test):
            print(f"| {name} | {show(plain)} | {show(corrected)} |", flush=True)


def measure(
    program: Any, options: argparse.Namespace, seen: NDArray[Any], test: Any
) -> Iterator[tuple[str, list[float], list[float]]]:
    """Yield accuracies of all chips in percent, as they are and recalibrated."""
    inputs = test.inputs(slice(None))
    of_drift = mho.accelerator(options.drift).to_json()["array"]
    drift = {key: of_drift[key] for key in ("drift_exponent", "drift_exponent_std", "drift_reference_s")}
    for name, array, elapsed_s in CASES:
        content = program.accelerator.to_json()
        content["array"].update({**array, **({} if elapsed_s is None else drift)})
        if options.adc_bits:
            content["converters"].update(adc_bits=options.adc_bits, adc_range="calibrated-columns")
        hardware = accelerator_from_json(content, where=name)
        plain, corrected = [], []
        for seed in range(options.seeds):
            start = time.perf_counter()
            chip: dict[str, Any] = {"seed": seed, "hardware": hardware, "conditions": mho.Conditions(elapsed_s)}
            if options.adc_bits:
                chip["ranges"] = mho.calibrate(program, seen, **chip)
            plain.append(share_right(mho.simulate(program, inputs, batch_size=BATCH, **chip), test.labels))
            corrections = mho.recalibrate(program, seen, batch_size=BATCH, **chip)
            outputs = mho.simulate(program, inputs, batch_size=BATCH, corrections=corrections, **chip)
            corrected.append(share_right(outputs, test.labels))
            print(f"{name}, chip {seed}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        yield name, plain, corrected


def load(data: str) -> Dataset:
    named = data in ("digits", "fashion-mnist")
    spec = DataSpec(
        name=data if named else "cifar10",  # type: ignore[arg-type]
        root=None if named else Path(data),
        calibration=200,
        validation=200,
        augmentation="none",
    )
    return load_dataset(spec, np.random.default_rng(1))


def train_network(dataset: Dataset) -> Network:
    shape = dataset.train.sample_shape
    model = build_model("resnet8", dataset.classes, shape, torch.Generator().manual_seed(1))
    trainable = TrainableNetwork(read_torch(model, (1, *shape)))
    train(
        trainable,
        dataset.train,
        TrainingOptions(steps=400, batch_size=64, learning_rate=0.1),
        torch.Generator().manual_seed(1),
    )
    return trainable.to_network()


def share_right(outputs: dict[str, NDArray[np.float32]], labels: NDArray[Any]) -> float:
    (found,) = outputs.values()
    return 100 * float((found.argmax(axis=1) == labels).mean())


def show(values: list[float]) -> str:
    return f"{np.mean(values):.2f} % ({min(values):.1f} .. {max(values):.1f})"


if __name__ == "__main__":
    main()
