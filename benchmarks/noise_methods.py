"""What a step of noise-aware training costs by statistics and by tiles, and what networks are worth on sampled chips.

    python benchmarks/noise_methods.py --accelerators neurram hermes-pcm rram-hfo2
    python benchmarks/noise_methods.py --tile-steps 2 --device cuda
    python benchmarks/noise_methods.py --speed-of examples/ds_cnn.py:make_ds_cnn --shape 1 40 64 --bits 8/8 \\
        --steps 40 --tile-steps 1 --accelerators examples/kws-chip.toml

A ResNet-8 on scikit-learn's digits is trained in float and calibrated, and from there trained with quantization in
three ways, with the same steps and seeds: plainly, on arrays by statistics, and on arrays by tiles, as the simulation
does. Each network is then evaluated on the same sampled chips, under the conditions of --elapsed-s. By tiles only
--tile-steps steps are made, unless these are all. Times are means over all steps, measurements of converters among
them: processor time, or on another --device wall clock. With --speed-of steps alone are timed, of another network on
random numbers.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch

import mho
from mho.array.conductances import Conditions
from mho.data import DataSpec, load_dataset
from mho.data.dataset import Dataset, Split
from mho.evaluation.chips import SampledChips
from mho.evaluation.networks import compile_trained, samples_for_ranges, score_chips
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.layer_mapping import DEFAULT_MODEL
from mho.models import build_model
from mho.network.torch_reader import read_torch
from mho.policy import Policy
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.calibration import calibrate
from mho.quantization.devices import PROCESSOR, Precision, placed
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import train
from mho.quantization.training_options import TrainingOptions

WAYS = ("plain", "statistical", "tiles")


@dataclass(frozen=True)
class Trained:
    """Seconds a step, and accuracy in percent: exact, and on each chip."""

    step_s: float
    exact: float
    chips: tuple[float, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerators", nargs="+", default=["neurram", "hermes-pcm", "rram-hfo2"])
    parser.add_argument("--bits", type=mho.BitWidths.parse, default=mho.BitWidths(4, 4), help="weight/activation (4/4)")
    parser.add_argument("--steps", type=int, default=200, help="of each training (200)")
    parser.add_argument("--tile-steps", type=int, default=10, help="of that by tiles (10)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0.01, help="highest learning rate (0.01)")
    parser.add_argument("--fixed-norms", type=float, default=1.0, help="share of steps with fixed statistics (1)")
    parser.add_argument("--seeds", type=int, default=2, help="of trainings (2)")
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--elapsed-s", type=float, help="since chips were written, where they drift")
    parser.add_argument("--images", type=int, default=200, help="test images (200)")
    parser.add_argument("--device", default=PROCESSOR)
    parser.add_argument("--speed-of", metavar="MODEL", help="time steps of this network alone")
    parser.add_argument("--shape", type=int, nargs="+", default=[3, 32, 32], help="of its samples (3 32 32)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor, one thread"
    print(
        f"{options.speed_of or 'ResNet-8 on digits'}, {options.bits}, batches of {options.batch_size}; device: {name}"
    )
    print("accelerator   seed  training       s a step   tiles / it   exact   chips (mean, each)")
    for accelerator in options.accelerators:
        if options.speed_of:
            time_steps(mho.accelerator(accelerator), options)
            continue
        for seed in range(1, options.seeds + 1):
            run(mho.accelerator(accelerator), seed, options)


def run(hardware: Accelerator, seed: int, options: argparse.Namespace) -> None:
    spec = DataSpec(name="digits", calibration=200, validation=200, augmentation="none")
    dataset = load_dataset(spec, np.random.default_rng(1))
    trainable = prepare(dataset, seed)
    compare(trainable, dataset, hardware, seed, options)


def time_steps(hardware: Accelerator, options: argparse.Namespace) -> None:
    shape, random = tuple(options.shape), np.random.default_rng(1)
    images = random.normal(size=(options.steps * options.batch_size, *shape)).astype(np.float32)
    labels = random.integers(0, 10, size=len(images))
    split = Split(images, labels, (0.0,), (1.0,))
    model = build_model(options.speed_of, 10, shape, torch.Generator().manual_seed(1))
    compare(TrainableNetwork(read_torch(model, (1, *shape))), split, hardware, 1, options)


def compare(
    trainable: TrainableNetwork, data: Dataset | Split, hardware: Accelerator, seed: int, options: argparse.Namespace
) -> None:
    """Train in all ways; judge networks where there is a whole dataset."""
    dataset = data if isinstance(data, Dataset) else None
    training_split, calibration = (data.train, data.calibration) if isinstance(data, Dataset) else (data, data)
    policy = Policy.uniform(trainable.mvm_modules, options.bits)
    start = {key: tensor.clone() for key, tensor in trainable.state_tensors().items()}
    table = calibrate(trainable, torch.from_numpy(calibration.inputs(slice(0, 200))))
    conditions = Conditions(options.elapsed_s)
    chips = SampledChips(options.chips, hardware, conditions)
    found: dict[str, Trained] = {}
    for way in WAYS:
        trainable.load_state_tensors(start)
        trainable.set_calibration(table)
        trainable.set_policy(policy)
        noise = None
        if way != "plain":
            arrays = arrays_of_network(trainable.network, policy, hardware, DEFAULT_MODEL)
            noise = ArrayNoise(hardware, arrays, conditions=conditions, method=way)
        steps = min(options.tile_steps, options.steps) if way == "tiles" else options.steps
        training = TrainingOptions(
            steps=steps,
            batch_size=options.batch_size,
            learning_rate=options.rate,
            fixed_norm_share=options.fixed_norms,
        )
        clock = time.process_time if options.device == PROCESSOR else time.perf_counter
        begun = clock()
        with placed(trainable, options.device, Precision.FLOAT32):
            train(trainable, training_split, training, torch.Generator().manual_seed(seed), noise=noise)
        step_s = (clock() - begun) / steps
        found[way] = Trained(step_s, 0.0, ())
        if dataset is not None and steps == options.steps:
            found[way] = judge(trainable, step_s, dataset, chips, options)
    for way, one in found.items():
        ratio = found["tiles"].step_s / one.step_s
        summary = (
            f"{one.exact:6.2f}  {np.mean(one.chips):6.2f}  {' '.join(f'{x:.1f}' for x in one.chips)}"
            if one.chips
            else ""
        )
        print(f"{hardware.name:13} {seed:4}  {way:12} {one.step_s:10.4f}   {ratio:9.1f}x  {summary}", flush=True)


def prepare(dataset: Dataset, seed: int) -> TrainableNetwork:
    """Return the float network, trained."""
    shape = dataset.train.sample_shape
    model = build_model("resnet8", dataset.classes, shape, torch.Generator().manual_seed(seed))
    trainable = TrainableNetwork(read_torch(model, (1, *shape)))
    options = TrainingOptions(steps=300, batch_size=64, learning_rate=0.1)
    train(trainable, dataset.train, options, torch.Generator().manual_seed(seed))
    return trainable


def judge(
    trainable: TrainableNetwork, step_s: float, dataset: Dataset, chips: SampledChips, options: argparse.Namespace
) -> Trained:
    """Return the accuracy of integers and that of each chip."""
    program = compile_trained(trainable, chips.hardware, DEFAULT_MODEL)
    test, seen = dataset.test.spread(options.images), samples_for_ranges(dataset.calibration)
    ideal = mho.simulate(mho.compile(trainable.to_quantized_network(), "pelke2026-4bit"), test.inputs(slice(None)))
    (outputs,) = ideal.values()
    exact = 100 * float((outputs.argmax(axis=1) == test.labels).mean())
    scores = score_chips(program, chips, range(1, chips.count + 1), test, seen)
    return Trained(step_s, exact, tuple(100 * one.accuracy for one in scores))


if __name__ == "__main__":
    main()
