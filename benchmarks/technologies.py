"""The same network on chips of five technologies: accuracy, latency, energy, endurance.

    python benchmarks/technologies.py --data CIFAR10 --weights resnet20.safetensors
    python benchmarks/technologies.py --data CIFAR10 --networks plain.onnx noise-aware.onnx

Everything is `mho compare`: this script cuts test and calibration images out of the dataset, quantizes the network by
calibration where none is given, writes these files into --out, tells the command, and asks the same in Python. Weights
stay in as many crossbars for every technology (--crossbars), each of its own size; once more, one crossbar is rewritten
for every tile of every input.

`benchmarks/noise_training.py --out` writes networks that were trained plainly and for errors of cells.
Data: "digits" (scikit-learn's), "fashion-mnist" (Debian's package), or where CIFAR-10 lies.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

import mho
from mho.data import DataSpec, load_dataset
from mho.data.dataset import Dataset, Split
from mho.models import build_model
from mho.models.weights import load_weights
from mho.network.graph import Network
from mho.network.torch_reader import read_torch
from mho.report.comparison_document import ChipAccuracy, ComparedAccelerator, Comparison
from mho.report.schedule_text import format_energy, format_time

TECHNOLOGIES = {
    "neurram": "RRAM",
    "rram-hfo2": "RRAM",
    "hermes-pcm": "PCM",
    "fefet": "FeFET",
    "stt-mram": "STT-MRAM",
    "sram-analog": "SRAM, analog",
    "sram-digital": "SRAM, digital",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="NAME|PATH")
    parser.add_argument("--networks", type=Path, nargs="+", help="quantized ONNX files")
    parser.add_argument("--model", default="resnet20", help="that is quantized where no file is given (resnet20)")
    parser.add_argument("--weights", type=Path, help="of the model")
    parser.add_argument("--bits", default="4/4", help="of the model (4/4)")
    parser.add_argument("--accelerators", default=",".join(TECHNOLOGIES))
    parser.add_argument("--crossbars", type=int, default=320, help="of every chip whose weights stay (320)")
    parser.add_argument("--images", type=int, default=500, help="test images (500)")
    parser.add_argument("--calibration", type=int, default=64, help="images for ranges of ADCs (64)")
    parser.add_argument("--chips", type=int, default=3)
    parser.add_argument(
        "--elapsed-s", type=float, default=86_400.0, help="age of chips that are simulated again (a day)"
    )
    parser.add_argument("--recalibrate", action="store_true", help="correct channels of chips before each simulation")
    parser.add_argument("--mapping", choices=["best", "paper"], default="best")
    parser.add_argument("--out", type=Path, default=Path("technologies"), help="folder of files (technologies)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        run(options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    dataset = load(options.data)
    files = options.networks or [quantize(dataset, options)]
    networks = [mho.load(file) for file in files]
    accelerators = options.accelerators.split(",")
    test = dataset.test.spread(options.images)
    calibration = dataset.calibration.spread(options.calibration).inputs(slice(None))
    write_samples(networks[0], test, calibration, options.out)
    for file in files:
        print(f"mho compare {file} {tell_options(options)}", flush=True)
    found = []
    for network in networks:
        start = time.process_time()
        found.append(
            mho.compare(
                network,
                accelerators,
                crossbars=options.crossbars,
                mapping=options.mapping,
                samples=(test.inputs(slice(None)), test.labels),
                chips=options.chips,
                elapsed_s=options.elapsed_s,
                calibration=calibration,
                recalibrate=options.recalibrate,
            )
        )
        (options.out / f"{network.name}.{len(found)}.json").write_text(found[-1].model_dump_json(indent=1))
        print(f"{time.process_time() - start:.0f} s of processor time", flush=True)
    alone = mho.compare(networks[0], accelerators, crossbars=1, mapping=options.mapping)
    report([str(file) for file in files], found, alone, options)


def load(data: str) -> Dataset:
    named = data in ("digits", "fashion-mnist")
    spec = DataSpec(
        name=data if named else "cifar10",  # type: ignore[arg-type]
        root=None if named else Path(data),
        calibration=1000 if not named else 200,
        validation=200,
        augmentation="none",
    )
    return load_dataset(spec, np.random.default_rng(1))


def quantize(dataset: Dataset, options: argparse.Namespace) -> Path:
    """Quantize the model by calibration alone, and return the file."""
    shape = dataset.train.sample_shape
    model = build_model(options.model, dataset.classes, shape, torch.Generator().manual_seed(1))
    if options.weights is None:
        sys.exit("error: a model needs --weights; or give --networks")
    load_weights(model, options.weights)
    network = mho.quantize(read_torch(model, (1, *shape)), options.bits, dataset.calibration.inputs(slice(None)))
    file = options.out / "quantized.onnx"
    mho.save(network, file)
    return file


def write_samples(network: Network, test: Split, calibration: np.ndarray, out: Path) -> None:
    name = network.inputs[0].name
    np.savez(out / "test.npz", **{name: test.inputs(slice(None)), "labels": test.labels})
    np.savez(out / "calibration.npz", **{name: calibration})


def tell_options(options: argparse.Namespace) -> str:
    text = f"--accelerators {options.accelerators} --crossbars {options.crossbars} --mapping {options.mapping} "
    text += f"--data {options.out}/test.npz --chip-samples {options.out}/calibration.npz "
    text += f"--chips {options.chips} --elapsed-s {options.elapsed_s:g}"
    return text + (" --correct-channels" if options.recalibrate else "")


def report(names: list[str], found: list[Comparison], alone: Comparison, options: argparse.Namespace) -> None:
    """Print a table in Markdown."""
    for name, document in zip(names, found, strict=True):
        assert document.exact_accuracy is not None
        print(f"{name}: exact integers {percent(document.exact_accuracy)} of {options.images} images")
    heads = ["technology", "preset", *(f"accuracy, {Path(name).stem}" for name in names)]
    heads += [f"{Path(name).stem}, after {options.elapsed_s:g} s" for name in names]
    heads += [
        "crossbars in use",
        "latency",
        "energy",
        "endurance, writes a cell",
        "one crossbar: latency",
        "inputs it lasts",
    ]
    print("|" + "|".join(f" {head} " for head in heads) + "|\n|" + "---|" * len(heads))
    for number, line in enumerate(found[0].accelerators):
        lines = [document.accelerators[number] for document in found]
        cells = [TECHNOLOGIES.get(line.accelerator, ""), f"`{line.accelerator}`"]
        cells += [tell_accuracy(one.run and one.run.accuracy) for one in lines]
        cells += [tell_accuracy(one.run and one.run.aged_accuracy) for one in lines]
        cells += tell_costs(line, alone.accelerators[number])
        print("|" + "|".join(f" {cell} " for cell in cells) + "|")
    for line in (*found[0].accelerators, *alone.accelerators):
        if problem := line.problem or (line.run and line.run.accuracy_problem):
            print(f"{line.accelerator} cannot: {problem}")


def tell_costs(line: ComparedAccelerator, alone: ComparedAccelerator) -> list[str]:
    if line.run is None:
        return ["-"] * 6
    run = line.run
    energy = "not specified" if run.energy_pj is None else format_energy(run.energy_pj)
    endurance = "not specified" if line.endurance_writes is None else f"{line.endurance_writes:,}"
    cells = [f"{run.tiles}", format_time(run.latency_us), energy, endurance]
    if alone.run is None:
        return [*cells, "-", "-"]
    lasts = alone.run.lifetime_inputs
    return [*cells, format_time(alone.run.latency_us), "not specified" if lasts is None else f"{lasts:,}"]


def tell_accuracy(accuracy: ChipAccuracy | None) -> str:
    return "-" if accuracy is None else f"{percent(accuracy.mean)} ({percent(accuracy.worst)})"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
