"""What noise-aware training wins back of the accuracy that errors of cells cost.

    python benchmarks/noise_training.py --data digits
    python benchmarks/noise_training.py --data CIFAR10 --network resnet20 --weights resnet20.safetensors \\
        --steps 1500 --fixed-steps 600 --images 1000 --step-rate 0.003

Two trainings start from the same calibrated network and make the same number of steps: plain quantization-aware
training, and the same with fresh chips in its steps. Their last steps keep the statistics of normalizations. Each
result is compiled and answers test images exactly and on chips of several seeds, which training never saw
(`mho.simulation.analog`). With --fine-tune, noise-aware training goes on from the result of the plain one. --out keeps
both networks as ONNX files. With A the accuracy of plain training without errors, B the same network on a chip, and C
that of the other training on the same chip, the share won back is (C - B) / (A - B).

Data: "digits" (scikit-learn's), "fashion-mnist" (Debian's package), or where CIFAR-10 lies.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import mho
from mho.data import DataSpec, load_dataset
from mho.data.dataset import Dataset, Split
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.layer_mapping import MappingModel
from mho.models import build_model
from mho.models.weights import load_weights
from mho.network.torch_reader import read_torch
from mho.policy import Policy
from mho.program.program import Program
from mho.quantization.array_noise import ArrayNoise, NoiseMethod
from mho.quantization.calibration import calibrate
from mho.quantization.calibration_table import CalibrationTable
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import TrainingProgress, train
from mho.quantization.training_options import OPTIMIZERS, TrainingOptions
from mho.simulation.analog import AnalogExecutor

TARGET = 0.75
BATCH = 100


@dataclass(frozen=True)
class Accuracies:
    """Of one training, in percent: exact, and on the chip of each seed; seconds of processor time a step."""

    exact: float
    chips: tuple[float, ...]
    step_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", metavar="NAME|PATH")
    parser.add_argument("--network", default="resnet8")
    parser.add_argument("--weights", type=Path, help="of the float network; left out: it is trained here")
    parser.add_argument("--bits", type=mho.BitWidths.parse, default=mho.BitWidths(4, 4), help="weight/activation (4/4)")
    parser.add_argument("--accelerator", default="pelke2026-4bit")
    parser.add_argument("--mapping", type=MappingModel, choices=list(MappingModel), default=MappingModel.PAPER)
    parser.add_argument("--error", type=float, default=0.1, help="programming error, part of the range (0.1)")
    parser.add_argument("--read-noise", type=float, default=0.0, help="part of the range (0)")
    parser.add_argument("--adc-bits", type=int, help="of the chips and in training (ideal)")
    parser.add_argument("--method", choices=list(NoiseMethod), default=NoiseMethod.TILES, help="of training (tiles)")
    parser.add_argument("--steps", type=int, default=400, help="of each training (400)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="(sgd)")
    parser.add_argument("--float-steps", type=int, help="of the float network, where it is trained (as --steps)")
    parser.add_argument("--float-rate", type=float, default=0.1, help="highest rate of the float network (0.1)")
    parser.add_argument("--rate", type=float, default=0.02, help="highest learning rate (0.02)")
    parser.add_argument("--step-rate", type=float, default=1e-3, help="highest rate of quantization steps (0.001)")
    parser.add_argument("--fixed-steps", type=int, default=160, help="more steps, with fixed normalizations (160)")
    parser.add_argument("--fixed-rate", type=float, default=0.002, help="highest learning rate of these (0.002)")
    parser.add_argument(
        "--fine-tune", action="store_true", help="noise-aware training starts where the plain one ended"
    )
    parser.add_argument("--aware-steps", type=int, help="of noise-aware training, instead of --steps")
    parser.add_argument("--aware-fixed-steps", type=int, help="of noise-aware training, instead of --fixed-steps")
    parser.add_argument("--images", type=int, default=500, help="test images (500)")
    parser.add_argument("--seeds", type=int, default=5, help="chips (5)")
    parser.add_argument("--seed", type=int, default=1, help="of the training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder for checkpoints of the trainings, to go on from, and figures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        run(options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    dataset = load(options.data, options.seed)
    trainable, table = prepare(dataset, options)
    ideal = mho.accelerator(options.accelerator)
    hardware = describe(ideal, options)
    test = dataset.test.spread(options.images)
    print(
        f"{options.network}, {dataset.name}, {options.bits}, {options.mapping} mapping on {ideal.name}; "
        f"errors {options.error} and read noise {options.read_noise} of the range, ADC {options.adc_bits or 'ideal'}; "
        f"{options.steps} + {options.fixed_steps} steps of {options.batch_size}; {len(test)} test images, "
        f"{options.seeds} chips",
        flush=True,
    )
    policy = Policy.uniform(trainable.mvm_modules, options.bits)
    start = {name: tensor.clone() for name, tensor in trainable.state_tensors().items()}
    found = {}
    for name in ("plain", "noise-aware"):
        if name == "plain" or not options.fine_tune:
            trainable.load_state_tensors(start)
            trainable.set_calibration(table)
            trainable.set_policy(policy)
        noise = None
        if name != "plain":
            arrays = arrays_of_network(trainable.network, policy, ideal, options.mapping)
            noise = ArrayNoise(hardware, arrays, method=options.method)
        step_s = fit(trainable, dataset.train, options, noise, name)
        network = trainable.to_quantized_network()
        if options.out is not None:
            mho.save(network, options.out / f"{name}.onnx")
        program = mho.compile(network, ideal, mapping=options.mapping)
        found[name] = judge(program, hardware, test, options.seeds, step_s)
        print(f"{name:12} exact {found[name].exact:6.2f} %, chips {show(found[name].chips)}, {step_s:.3f} s a step")
    report(found["plain"], found["noise-aware"], options)


def load(data: str, seed: int) -> Dataset:
    named = data in ("digits", "fashion-mnist")
    spec = DataSpec(
        name=data if named else "cifar10",  # type: ignore[arg-type]
        root=None if named else Path(data),
        calibration=200,
        validation=200,
        augmentation="none" if data == "digits" else "flip-crop",
    )
    return load_dataset(spec, np.random.default_rng(seed))


def prepare(dataset: Dataset, options: argparse.Namespace) -> tuple[TrainableNetwork, CalibrationTable]:
    """Return the float network, trained, and its calibration."""
    shape = dataset.train.sample_shape
    model = build_model(options.network, dataset.classes, shape, torch.Generator().manual_seed(options.seed))
    if options.weights is not None:
        load_weights(model, options.weights)
    trainable = TrainableNetwork(read_torch(model, (1, *shape)))
    if options.weights is None:
        training = TrainingOptions(
            steps=options.float_steps or options.steps,
            batch_size=options.batch_size,
            learning_rate=options.float_rate,
            optimizer=options.optimizer,
        )
        train(trainable, dataset.train, training, torch.Generator().manual_seed(options.seed))
    table = calibrate(trainable, torch.from_numpy(dataset.calibration.inputs(slice(None))))
    return trainable, table


def describe(ideal: Accelerator, options: argparse.Namespace) -> Accelerator:
    content = ideal.to_json()
    noise = {"read_noise": options.read_noise, "read_noise_of": "range"}
    content["array"] |= {"programming_error": options.error, "programming_error_of": "range", **noise}
    if options.adc_bits:
        content["converters"]["adc_bits"] = options.adc_bits
    return accelerator_from_json(content, where="errors")


def fit(
    trainable: TrainableNetwork, split: Split, options: argparse.Namespace, noise: ArrayNoise | None, name: str
) -> float:
    """Train in place, with living and then with fixed normalizations; return seconds of processor time a step."""
    common: dict[str, Any] = {
        "batch_size": options.batch_size,
        "optimizer": options.optimizer,
        "scale_learning_rate": options.step_rate,
        "augmentation": "flip-crop" if split.sample_shape[-1] > 8 else "none",
    }
    steps, fixed_steps = options.steps, options.fixed_steps
    if noise is not None:
        steps = steps if options.aware_steps is None else options.aware_steps
        fixed_steps = fixed_steps if options.aware_fixed_steps is None else options.aware_fixed_steps
    living = TrainingOptions(steps=steps, learning_rate=options.rate, warmup_steps=steps // 20, **common)
    phases = [("living", living)]
    if fixed_steps:
        fixed = TrainingOptions(
            steps=fixed_steps,
            learning_rate=options.fixed_rate,
            warmup_steps=fixed_steps // 20,
            fixed_norm_share=1.0,
            **common,
        )
        phases.append(("fixed", fixed))
    start, done = time.process_time(), 0
    for number, (phase, training) in enumerate(phases):

        def tell(progress: TrainingProgress, phase: str = phase) -> None:
            nonlocal done
            done += 1
            if progress.step % max(1, progress.steps // 20) == 0:
                accuracy = 100 * progress.accuracy
                print(f"  {phase} {progress.step}, loss {progress.loss:.3f}, {accuracy:.1f} %", flush=True)

        checkpoint = None if options.out is None else options.out / f"{name}.{phase}.checkpoint"
        generator = torch.Generator().manual_seed(options.seed + number)
        train(trainable, split, training, generator, checkpoint, tell, noise)
    return (time.process_time() - start) / max(1, done)


def judge(program: Program, hardware: Accelerator, test: Split, seeds: int, step_s: float) -> Accuracies:
    exact = accuracy(AnalogExecutor(program, 0), test)
    chips = tuple(accuracy(AnalogExecutor(program, seed, hardware=hardware), test) for seed in range(seeds))
    return Accuracies(exact, chips, step_s)


def accuracy(executor: AnalogExecutor, test: Split) -> float:
    """Return the percentage of images that the chip answers correctly."""
    (output,) = executor.run(test.inputs(slice(None)), batch_size=BATCH).values()
    right: NDArray[np.bool_] = output.argmax(axis=1) == test.labels
    return 100 * float(right.mean())


def report(plain: Accuracies, aware: Accuracies, options: argparse.Namespace) -> None:
    losses = [plain.exact - chip for chip in plain.chips]
    shares = [
        (new - old) / loss if loss else float("nan")
        for new, old, loss in zip(aware.chips, plain.chips, losses, strict=True)
    ]
    mean = (np.mean(aware.chips) - np.mean(plain.chips)) / np.mean(losses)
    print(f"lost by errors, points     {show(losses)}")
    print(f"won back, share of it      {' '.join(f'{share:6.3f}' for share in shares)}, of the means {mean:.3f}")
    print(f"target {TARGET}: {'met' if mean >= TARGET else 'missed'}; a step costs {aware.step_s / plain.step_s:.2f}x")
    if options.out is not None:
        content = {"plain": asdict(plain), "aware": asdict(aware), "shares": shares, "mean": float(mean)}
        (options.out / "figures.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def show(values: tuple[float, ...] | list[float]) -> str:
    return f"{' '.join(f'{value:6.2f}' for value in values)} (mean {np.mean(values):.2f})"


if __name__ == "__main__":
    main()
