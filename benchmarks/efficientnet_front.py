"""The front of time and accuracy of EfficientNet-Lite0 with its ImageNet weights, by calibration alone.

    pip install -e '.[benchmarks]'
    python benchmarks/efficientnet_front.py --data imagenet-1000-samples.tar

Data, network and photos are those of `efficientnet_lite.py`: 200 photos calibrate and give the loss that the search
learns from, 800 others judge. Nothing is trained. The search looks for policies of all costs (`whole_front`) and
evaluates in several processes; the log is a file, and the same command goes on after a kill. Seconds are of the clock:
the front is to be there within half an hour on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite import CLASSES, CROP, DEVIATION, MEAN, Photos, choose_photos, load_module, positive

import mho
from mho.bit_search.runner import SearchResult
from mho.bit_search.search_state import SearchProgress
from mho.data import Dataset
from mho.data.dataset import Split
from mho.quantization.allocator import keep_freed_memory
from mho.quantization.effort import EFFORTS

LIMIT_S = 1800
"""Within which the front is to be there, on two cores."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="TAR", help="photos in class folders")
    parser.add_argument("--calibration", type=positive, default=200, help="photos to calibrate on (200)")
    parser.add_argument("--images", type=positive, default=800, help="other photos to judge by (800)")
    parser.add_argument("--accelerator", default="pelke2026-4bit")
    parser.add_argument("--method", default="exact")
    parser.add_argument("--budget", type=int, default=60, help="policies to evaluate (60)")
    parser.add_argument("--effort", choices=EFFORTS, default="fast", help="of the calibration of each policy (fast)")
    parser.add_argument("--processes", type=positive, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("efficientnet_front.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        run(options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    begin = time.monotonic()
    network = mho.load(load_module(), torch.zeros(1, 3, CROP, CROP))
    calibration, judged = choose_photos(options.data, options.calibration, options.images, options.seed)
    ranges, others = as_split(calibration), as_split(judged)
    result = mho.search(
        network,
        Dataset("imagenet-photos", CLASSES, train=ranges, calibration=ranges, validation=others, test=others),
        options.accelerator,
        method=options.method,
        budget=options.budget,
        seed=options.seed,
        log_path=options.log,
        on_progress=tell,
        options=mho.SearchOptions(
            whole_front=True, batch=options.processes, processes=options.processes, effort=options.effort
        ),
    )
    report(result, len(judged.labels), time.monotonic() - begin)


def as_split(photos: Photos) -> Split:
    """Return photos as a split: uint8 that is divided by 255 first."""
    return Split(photos.images, photos.labels, (MEAN / 255.0,), (DEVIATION / 255.0,))


def tell(progress: SearchProgress) -> None:
    record = progress.record
    left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
    speedup = progress.goal.reference_cost / record.cost
    accuracy = np.nan if record.accuracy is None else 100.0 * record.accuracy
    print(f"{progress.done:4} of {progress.budget}: {speedup:.3f}x, {accuracy:.2f} %{left}", flush=True)


def report(result: SearchResult, images: int, seconds: float) -> None:
    reference = result.reference
    print(f"\nfront of {result.tried} policies by {result.method}, judged on {images} photos:")
    print("speedup   top-1, %   against 8/8, points   bits of weights / activations, mean")
    for record in reversed(result.front):
        assert record.accuracy is not None, "policies of a front were measured"
        assert reference.accuracy is not None, "uniform 8/8 was measured"
        bits = [(layer.weight_bits, layer.act_bits) for layer in record.policy.layers.values()]
        weights, acts = np.mean(bits, axis=0)
        print(
            f"{reference.cost / record.cost:6.3f}x {100 * record.accuracy:9.2f} "
            f"{100 * (record.accuracy - reference.accuracy):+12.2f} {weights:16.2f} / {acts:.2f}"
        )
    print(f"{seconds:.0f} s, {seconds / LIMIT_S:.2f} of the half hour that was asked for")


if __name__ == "__main__":
    main()
