"""What the policy that a run found loses to uniform 8/8 and to the float network, over seeds, on all test images.

    python benchmarks/run_losses.py examples/cifar10_vgg11.toml --data-root DATA --seeds 1 2 3

After `mho run` with the same file and data, in the same directory: uniform 8/8 and the found policy (or that of
--policy) are made as the run makes both, by calibration and by the training of [qat], of which the better on
validation data is kept, once for each seed. Losses are in points, with 95 % intervals paired over test images, of the
mean of seeds for each image. Time is that of one crossbar, and the speedup over 8/8 in the paper's mapping and in the
best.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from search_winners import paired_loss

import mho
from mho.data.dataset import Split
from mho.errors import ConfigError
from mho.models.runtime import use_threads
from mho.policy import UNIFORM_REFERENCE, Policy
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import evaluate
from mho.seeds import derive_seed
from mho.workflow.config import RunConfig, load_config
from mho.workflow.network_stages import FLOAT_FILE
from mho.workflow.policy_stages import POLICY_FILE, QUANTIZED_FILE, quantize_policy
from mho.workflow.prepared import Prepared
from mho.workflow.progress import RunProgress
from mho.workflow.run import load_material, prepare
from mho.workflow.run_directory import open_run_directory
from mho.workflow.stage import StageRunner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--directory", type=Path, help="of the run, where it was given")
    parser.add_argument("--policy", type=Path, help="instead of the one that the run found")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    options = parser.parse_args()
    try:
        config = load_config(
            options.run, directory=options.directory, data_root=options.data_root, weights=options.weights
        )
        use_threads(config.run.threads)
        run(config, options.policy, options.seeds)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(config: RunConfig, policy: Path | None, seeds: list[int]) -> None:
    """Print accuracies, losses and times of uniform 8/8 and of a policy; None: that which the run found."""
    if config.task.kind != "classification":
        raise ConfigError(f"the task is {config.task.kind}", where="task.kind", expected="classification")
    material = load_material(config)
    test = material.dataset.test
    with open_run_directory(config.directory, fresh=False) as opened:
        runner = StageRunner(opened, RunProgress(), material.computing)
        prepared = prepare(config, material, runner.get)[1]
        folder = prepared.float_network.folder
        network = mho.load(folder / FLOAT_FILE)
        policies = {
            "8/8": Policy.uniform(network.layer_names, UNIFORM_REFERENCE),
            "found": Policy.load(policy or folder.parent / "found" / POLICY_FILE),
        }
        right = {"float": judge(folder / FLOAT_FILE, test)[None]}
        print(f"float: {100 * right['float'].mean():.2f} % of {len(test):,} test images", flush=True)
        for name, one in policies.items():
            tell_times(name, network, one, material.accelerator)
            right[name] = np.stack([make(prepared, one, config, seed, test) for seed in seeds])
            tell_losses(name, right)


def make(prepared: Prepared, policy: Policy, config: RunConfig, seed: int, test: Split) -> NDArray[np.bool_]:
    """Return which test images a network is right about that is made for `policy` as the run makes it."""
    with tempfile.TemporaryDirectory() as folder:
        quantize_policy(prepared, policy, config.qat, derive_seed(seed, "qat"), Path(folder), lambda *_: None)
        return judge(Path(folder) / QUANTIZED_FILE, test)


def judge(file: Path, test: Split) -> NDArray[np.bool_]:
    """Return which test images the network of a file is right about."""
    right: list[NDArray[np.bool_]] = []
    module = TrainableNetwork(mho.load(file))
    evaluate(module, test, on_batch=lambda logits, labels: right.append((logits.argmax(1) == labels).numpy()))
    return np.concatenate(right)


def tell_times(name: str, network: mho.Network, policy: Policy, accelerator: mho.Accelerator) -> None:
    slow = Policy.uniform(network.layer_names, UNIFORM_REFERENCE)
    ms = mho.cost(network, accelerator, policy).latency_ps / 1e9
    paper, best = (
        mho.cost(network, accelerator, slow, mapping=mapping).latency_ps / 1e9 / ms for mapping in ("paper", "best")
    )
    print(f"{name}: {ms:.2f} ms, {paper:.2f}x over 8/8 as the paper maps it, {best:.2f}x over 8/8 in the best mapping")


def tell_losses(name: str, right: dict[str, NDArray[np.bool_]]) -> None:
    """Print the accuracy of `name`, and what it loses to each network before it, all [seeds, images]."""
    each = 100 * right[name].mean(axis=1)
    losses = []
    for other, reference in right.items():
        if other != name:
            mean, half = paired_loss(np.broadcast_to(reference, right[name].shape), right[name])
            losses.append(f"lost to {other} {mean:.2f} ({mean - half:.2f} .. {mean + half:.2f})")
    seeds = " ".join(f"{value:.2f}" for value in each)
    print(f"{name}: {each.mean():.2f} % ({seeds}), {', '.join(losses)}", flush=True)


if __name__ == "__main__":
    main()
