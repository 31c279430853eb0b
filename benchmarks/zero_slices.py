"""How many MVMs of a network drive zero input slices only, on real images, and the time that skipping them saves.

    python benchmarks/zero_slices.py RUN.toml NETWORK.onnx [--images 100] [--bits 8/8] [--accelerator A ...] [--layers]

RUN.toml names the data (and the accelerator, unless others are given). NETWORK.onnx is quantized, or is float and gets
calibrated at --bits on up to 500 of the run's calibration images; it is compiled under both mappings, and zero slices
are counted on test images that are spread evenly over the test set. Times are those of one sample.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import mho
from mho.mapping.layer_mapping import MappingModel
from mho.simulation.zero_slices import ZeroSlices
from mho.workflow.config import load_config
from mho.workflow.material import load_for

CALIBRATION_IMAGES = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--bits", default="8/8")
    parser.add_argument("--accelerator", nargs="+", help="presets or TOML files")
    parser.add_argument("--layers", action="store_true", help="every layer, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(options.run, data_root=options.data_root)
    network = mho.load(options.network)
    dataset = load_for(network, config)
    if not network.is_quantized:
        calibration = dataset.calibration.spread(CALIBRATION_IMAGES).inputs(slice(None))
        network = mho.quantize(network, options.bits, calibration)
    images = dataset.test.spread(options.images).inputs(slice(None))
    console = Console()
    for accelerator in options.accelerator or [config.accelerator.name]:
        found: dict[MappingModel, ZeroSlices] = {}
        for model in (MappingModel.PAPER, MappingModel.BEST):
            program = mho.compile(network, accelerator, mapping=model)
            start = time.perf_counter()
            found[model] = mho.count_zero_slices(program, images)
            seconds = time.perf_counter() - start
            console.print(_tell(program.accelerator.name, model, found[model], seconds), soft_wrap=True)
        if options.layers:
            console.print(_by_layer(found))


def _tell(accelerator: str, model: MappingModel, found: ZeroSlices, seconds: float) -> str:
    before_ms, times_ms = found.latency_ps / 1e9, found.latencies_ps / 1e9
    return (
        f"{accelerator}, {model} mapping, {found.samples} images: "
        f"{100 * found.share:.1f} % of {found.mvms:,} MVMs skipped; "
        f"{before_ms:.2f} ms -> {times_ms.mean():.2f} ({times_ms.min():.2f} to {times_ms.max():.2f}), "
        f"{100 * (1 - times_ms.mean() / before_ms):.1f} % less; counted in {seconds:.1f} s"
    )


def _by_layer(found: dict[MappingModel, ZeroSlices]) -> Table:
    table = Table("layer", *(f"{model}: MVMs, skipped" for model in found))
    for layers in zip(*(result.layers for result in found.values()), strict=True):
        table.add_row(layers[0].name, *(f"{layer.mvms:,}, {100 * layer.share:.1f} %" for layer in layers))
    return table


if __name__ == "__main__":
    main()
