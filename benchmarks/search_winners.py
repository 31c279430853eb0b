"""The winners of the search benchmark, trained in full on real data and judged on test data.

    python benchmarks/search_winners.py --problem resnet20 --weights resnet20.safetensors --data CIFAR10 \\
        [--methods rl-paper rl exact evolution] [--seeds 3] [--runs search_runs] [--budget 200]

Of every method the policy is taken that its median search picked: that with the median speedup of all seeds. It and
uniform 8/8 start from the same float weights and get the same training: for the same seed the same batches in the same
order. The loss of accuracy is that against 8/8 of the same seed; its confidence interval is paired over test images,
each of which counts with the mean of its differences over the seeds.

Answers of every training are a file in --out; a kill loses an epoch, and the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from search_problems import EVALUATION_BATCH, PROBLEMS, RANGE_IMAGES, Problem, dataset
from search_tables import Run

import mho
from mho.cache_folder import write_atomically
from mho.data import Dataset
from mho.data.dataset import Split
from mho.policy import UNIFORM_REFERENCE, Policy
from mho.quantization.allocator import keep_freed_memory
from mho.quantization.batches import ordered_batches
from mho.quantization.calibration import calibrate
from mho.quantization.calibration_table import CalibrationTable
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import TrainingProgress, train
from mho.quantization.training_options import TrainingOptions

TRAINING = {
    "resnet20": TrainingOptions(
        epochs=3, batch_size=128, learning_rate=0.02, warmup_steps=100, augmentation="flip-crop"
    ),
    "vgg11": TrainingOptions(
        epochs=3, batch_size=128, learning_rate=0.02, warmup_steps=100, label_smoothing=0.05, augmentation="flip-crop"
    ),
}
METHODS = ("rl-paper", "rl", "exact", "evolution")
NORMAL = 1.96
"""Quantile of the normal distribution for 95 %."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=PROBLEMS, required=True)
    parser.add_argument("--data", type=Path, required=True, help="where CIFAR-10 lies")
    parser.add_argument("--weights", type=Path, help="of the float network (the published ones)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--budget", type=int, default=200, help="of the searches (200)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each policy (3)")
    parser.add_argument("--steps", type=int, help="train for so many steps only")
    parser.add_argument("--runs", type=Path, default=Path("search_runs"), help="results of search.py (search_runs)")
    parser.add_argument("--out", type=Path, default=Path("search_winners"), help="folder of answers (search_winners)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        run(options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    problem, data = PROBLEMS[options.problem], dataset(options.data)
    training = TRAINING[problem.name]
    if options.steps:
        training = replace(training, epochs=None, steps=options.steps)
    names = problem.trained(options.weights).network.layer_names
    policies = {"8/8": (Policy.uniform(names, UNIFORM_REFERENCE), 1.0)}
    for method in options.methods:
        policies[method] = take_winner(options.runs, problem.name, method, options.budget)
    table = find_steps(problem, data, options.weights)
    right = {}
    for name, (policy, speedup) in policies.items():
        print(f"{name}, {speedup:.3f}x", flush=True)
        right[name] = np.stack([
            answer(problem, data, table, policy, training, seed, options) for seed in range(1, options.seeds + 1)
        ])  # fmt: skip
    report(policies, right)


def take_winner(runs: Path, problem: str, method: str, budget: int) -> tuple[Policy, float]:
    """Return the policy, and its speedup, of the search with the median speedup.

    Raises:
        MhoError: there is no finished search of that method, or the searches are not comparable.
    """
    found, kinds = [], set()
    for path in sorted(runs.glob(f"{problem}.{method}.{budget}.seed*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        kinds.add(json.dumps({**result["task"], "seed": None}, sort_keys=True))
        if result["winner"] is not None:
            speedup, _ = Run.of(result).picked(budget)
            found.append((speedup, path.name, Policy.from_json(result["winner"], where=str(path))))
    if not found:
        raise mho.MhoError(
            f"no finished search by {method} with {budget} evaluations", where=str(runs), hint="run search.py first"
        )
    if len(kinds) > 1:
        raise mho.MhoError(
            f"searches by {method} of other logs, models or drops", where=str(runs), hint="name a folder for each"
        )
    found.sort(key=lambda entry: entry[:2])
    speedup, _, policy = found[(len(found) - 1) // 2]
    return policy, speedup


def find_steps(problem: Problem, data: Dataset, weights: Path | None) -> CalibrationTable:
    images = data.calibration.spread(RANGE_IMAGES)
    return calibrate(problem.trained(weights), torch.from_numpy(images.inputs(slice(None))))


def answer(
    problem: Problem,
    data: Dataset,
    table: CalibrationTable,
    policy: Policy,
    training: TrainingOptions,
    seed: int,
    options: argparse.Namespace,
) -> NDArray[np.bool_]:
    """Return which test images a policy gets right after its training: taken from --out, or trained now."""
    identity = json.dumps([problem.name, policy.to_json(), str(training), seed], sort_keys=True)
    path = options.out / f"{problem.name}.seed{seed}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
    if path.exists():
        return np.load(path)["right"]
    module = problem.trained(options.weights)
    module.set_calibration(table)
    module.set_policy(policy)

    def tell(progress: TrainingProgress) -> None:
        if progress.step % 100 == 0:
            left = f"{progress.seconds_left:.0f} s left"
            print(
                f"  seed {seed}, step {progress.step} of {progress.steps}, loss {progress.loss:.3f}, {left}", flush=True
            )

    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = path.with_suffix(".checkpoint")
    train(module, data.train, training, torch.Generator().manual_seed(seed), checkpoint, tell)
    right = judge(module, data.test)
    content = io.BytesIO()
    np.savez_compressed(content, right=right)
    write_atomically(path, content.getvalue())
    checkpoint.unlink(missing_ok=True)
    print(f"  seed {seed}: {100 * right.mean():.2f} %", flush=True)
    return right


def judge(module: TrainableNetwork, split: Split) -> NDArray[np.bool_]:
    """Return which samples the network gets right."""
    module.eval()
    with torch.no_grad():
        parts = [module(inputs).argmax(1) == labels for inputs, labels in ordered_batches(split, EVALUATION_BATCH)]
    return torch.cat(parts).numpy()


def report(policies: dict[str, tuple[Policy, float]], right: dict[str, NDArray[np.bool_]]) -> None:
    print("\npolicy     speedup  test accuracy, % (each seed)             lost, points [95 %]")
    for name, (_, speedup) in policies.items():
        each = 100 * right[name].mean(axis=1)
        line = f"{name:10} {speedup:6.3f}x  {each.mean():.2f} ({' '.join(f'{value:.2f}' for value in each)})"
        if name != "8/8":
            mean, half = paired_loss(right["8/8"], right[name])
            line += f"  {mean:6.2f} [{mean - half:.2f} {mean + half:.2f}]"
        print(line)


def paired_loss(reference: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[float, float]:
    """Return what is lost against the reference, in points, and half of the width of its 95 % interval.

    Args:
        reference, other: [seeds, images], which images are right.
    """
    lost = 100.0 * (reference.astype(np.float64) - other).mean(axis=0)
    return float(lost.mean()), float(NORMAL * lost.std(ddof=1) / np.sqrt(len(lost)))


if __name__ == "__main__":
    main()
