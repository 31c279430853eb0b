"""Where ADCs of few bits lose accuracy: layer by layer, and in which columns sums are cut off or read too coarsely.

    python benchmarks/adc_layers.py RUN.toml NETWORK.onnx [--bits 4/4] [--adc-bits 6] [--per slice] [--mapping best]

Arguments are those of `adc_ranges.py`. For each layer where it alone has ADCs of --adc-bits (all others have 16): the
accuracy, and how far the network's outputs are off, root mean square, as a part of their standard deviation. And, of
the squared errors of its conversions on the calibration images, each counted by what it is worth in a result, the share
from sums beyond their range, and the shares of the columns of each weight and of those of ones.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import numpy as np
import torch
from adc_ranges import MAPPINGS, accuracy, add_arguments, allow, deviation, with_values
from numpy.typing import NDArray
from torch import Tensor

import mho
from mho.array.calibration import without_conversion
from mho.array.converters import make_adc
from mho.hardware.spec import Accelerator
from mho.program.program import Program
from mho.simulation.adc_ranges import AdcRanges
from mho.simulation.analog import AnalogExecutor
from mho.simulation.analog_tiles import AnalogTile
from mho.workflow.config import load_config
from mho.workflow.material import load_for

MOST_BITS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--adc-bits", type=int, default=6)
    parser.add_argument("--mapping", choices=[name for name, *_ in MAPPINGS], default="best")
    parser.add_argument("--per", nargs="+", choices=("layer", "slice", "adc"), default=["layer", "slice", "adc"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(options.run, data_root=options.data_root)
    network = mho.load(options.network)
    dataset = load_for(network, config)
    if not network.is_quantized:
        network = mho.quantize(network, options.bits, dataset.calibration.inputs(slice(None)))
    test = dataset.test.spread(options.images)
    seen = dataset.calibration.spread(options.calibration).inputs(slice(None))
    inputs = test.inputs(slice(None))
    hardware = mho.accelerator(options.accelerator or config.accelerator.name)
    _, mapping, difference, encodings = next(item for item in MAPPINGS if item[0] == options.mapping)
    calibrated = {"adc_range": "calibrated-columns", "column_difference": difference}
    hardware = allow(with_values(hardware, 0, adc_bits=MOST_BITS, **calibrated), encodings)
    few = with_values(hardware, 0, adc_bits=options.adc_bits)
    plain = mho.compile(network, few, mapping=mapping)
    exact = mho.simulate(plain, inputs)
    print(f"exact: {accuracy(exact, test):.2f} % of {len(test)} images")
    for per in options.per:
        all_layers = mho.calibrate(plain, seen, seed=0, hardware=few, per=per)
        found = mho.simulate(plain, inputs, seed=0, hardware=few, ranges=all_layers)
        print(f"\n{options.adc_bits} bits, ranges per {per}")
        print("| layer | accuracy | outputs off by | beyond the range | by weight of columns |")
        print("|---" * 5 + "|")
        print(f"| all | {accuracy(found, test):.2f} % | {deviation(found, exact):.1f} % | | |", flush=True)
        errors = Errors(plain, all_layers, few, seen)
        for name in network.layer_names:
            program = mho.compile(network, hardware, mapping=mapping, adc_bits={name: options.adc_bits})
            ranges = mho.calibrate(program, seen, seed=0, hardware=hardware, per=per)
            alone = mho.simulate(program, inputs, seed=0, hardware=hardware, ranges=ranges)
            figures = f"{accuracy(alone, test):.2f} % | {deviation(alone, exact):.1f} %"
            print(f"| {name} | {figures} | {errors.tell(name)} |", flush=True)


class Errors:
    """Squared errors of conversions, by layer, weight of columns (0: ones) and whether the sum is beyond the range."""

    def __init__(self, program: Program, ranges: AdcRanges, hardware: Accelerator, inputs: NDArray[Any]) -> None:
        self._ranges, self._bits = ranges, int(hardware.converters.adc_bits)
        self._errors: Counter[tuple[str, int, bool]] = Counter()
        executor = AnalogExecutor(program, 0, hardware=without_conversion(hardware), is_observed=True)
        executor.run(inputs, observe=self._see)

    def tell(self, layer: str) -> str:
        """Return the shares of what is beyond ranges, and of each weight of columns."""
        own = {key[1:]: error for key, error in self._errors.items() if key[0] == layer}
        whole, weights = max(sum(own.values()), 1e-12), Counter[int]()
        beyond = sum(error for (_, is_beyond), error in own.items() if is_beyond)
        for (weight, _), error in own.items():
            weights[weight] += error
        parts = ", ".join(
            f"{'ones' if w == 0 else w}: {error / whole:.0%}" for w, error in sorted(weights.items()) if error
        )
        return f"{beyond / whole:.0%} | {parts}"

    def _see(self, layer: str, number: int, tile: AnalogTile, codes: Tensor) -> None:
        product, layout = tile.product, tile.product.layout
        conversions = product.conversions
        adc = make_adc(self._bits, *self._ranges.layers[layer][number])
        sums = product.sum_columns(codes).to(torch.float64).numpy() * product.sum_unit
        read = adc.read(adc.convert(sums))
        beyond = (sums > adc.low + adc.step * (adc.largest_code + 0.5)) | (sums < adc.low - adc.step / 2)
        places = np.float64(4) ** (layout.step_shift * np.arange(layout.steps)).repeat(len(codes))[:, None]
        squares = np.square(read - sums) * places * np.square(conversions.weight.astype(np.float64))
        kinds = np.abs(conversions.weight)
        if layout.is_correction is not None:
            kinds = np.where(layout.is_correction[conversions.plus], 0, kinds)
        for kind in np.unique(kinds).tolist():
            some = kinds == kind
            for is_beyond in (False, True):
                self._errors[layer, kind, is_beyond] += float(squares[:, some][beyond[:, some] == is_beyond].sum())


if __name__ == "__main__":
    main()
