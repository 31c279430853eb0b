"""ResNet-20 on CIFAR-10 quantized without labels: accuracy and time of each effort, at several widths.

    python benchmarks/quantization_efforts.py --network resnet20-cifar10.onnx --data cifar10-images.tar.gz

Unlabelled training images calibrate; which ones, the seed says. The first and the last layer have 8 bits. Quantized
networks are evaluated on all test images, on their integer grids. Losses are against float, with 95 % intervals that
are paired over test images. Times are of the wall clock; each includes the calibration, which is made once.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite import count_pairs, positive
from torch import Tensor

import mho
from mho.data import DataSpec, load_dataset
from mho.evaluation.significance import compare_paired
from mho.quantization.calibration import calibrate
from mho.quantization.effort import EFFORTS, steps_of
from mho.quantization.qat import TrainableNetwork
from mho.quantization.reconstruction import reconstruct

WIDTHS = ("8/8", "4/4", "3/3", "2/4")
BATCH = 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, required=True, metavar="ONNX", help="the float network")
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10, as `mho run` takes it")
    parser.add_argument("--calibration", type=positive, default=400, help="unlabelled images (400)")
    parser.add_argument("--bits", nargs="+", default=WIDTHS, help=f"weight/activation ({' '.join(WIDTHS)})")
    parser.add_argument("--efforts", nargs="+", choices=EFFORTS, default=list(EFFORTS))
    parser.add_argument("--seed", type=int, default=0, help="which images calibrate, and what `best` draws")
    parser.add_argument("--threads", type=positive, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        run(options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    spec = DataSpec(name="cifar10", root=options.data, calibration=options.calibration, validation=1000)
    dataset = load_dataset(spec, np.random.default_rng(options.seed))
    samples, images = (torch.from_numpy(split.inputs(slice(None))) for split in (dataset.calibration, dataset.test))
    trainable = TrainableNetwork(mho.load(options.network)).eval()
    labels = torch.tensor(dataset.test.labels)
    in_float = classify(trainable, images) == labels
    print(f"float {100 * in_float.float().mean():.2f} % of {len(labels):,} test images, seed {options.seed}")
    start = time.monotonic()
    table = calibrate(trainable, samples)
    shared_s = time.monotonic() - start
    weights = {name: tensor.clone() for name, tensor in trainable.state_tensors().items()}
    print("bits    effort    top-1   loss, points (95 %)            s")
    for bits in options.bits:
        for effort in options.efforts:
            trainable.load_state_tensors(weights)
            trainable.set_calibration(table)
            start = time.monotonic()
            trainable.set_policy(widths(trainable, bits))
            if steps_of(effort).fits_layers:
                reconstruct(trainable, samples, effort, seed=options.seed)
            seconds = shared_s + time.monotonic() - start
            right = classify(trainable, images) == labels
            lost = compare_paired(count_pairs(right.numpy(), in_float.numpy()))
            print(
                f"{bits:7} {effort:5} {100 * right.float().mean():7.2f} %"
                f"   {100 * lost.value:5.2f} ({100 * lost.low:.2f} .. {100 * lost.high:.2f}) {seconds:12.0f}",
                flush=True,
            )


def widths(trainable: TrainableNetwork, bits: str) -> mho.Policy:
    """Return these bits for all layers but the first and the last, which have 8/8."""
    names = list(trainable.mvm_modules)
    ends = dict.fromkeys((names[0], names[-1]), mho.BitWidths(8, 8))
    return mho.Policy({**dict.fromkeys(names, mho.BitWidths.parse(bits)), **ends})


@torch.no_grad()
def classify(trainable: TrainableNetwork, images: Tensor) -> Tensor:
    return torch.cat([trainable(batch).argmax(1) for batch in images.split(BATCH)])


if __name__ == "__main__":
    main()
