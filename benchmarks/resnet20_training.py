"""What trainings of ResNet-20 on CIFAR-10 win back: one policy by a recipe, or all policies at once.

    python benchmarks/resnet20_training.py recipe --data CIFAR10 --weights WEIGHTS --bits 8/8 POLICY.json \\
        --effort best --steps 400 --batch-size 64 --optimizer adamw --rate 0.0002 --weight-decay 0 \\
        --distillation 1 --fixed-norms 1 --seeds 1 2 3
    python benchmarks/resnet20_training.py shared --data CIFAR10 --weights WEIGHTS --steps 200 --batch-size 64 \\
        --rate 0.005 --distillation 0.5

`recipe`: uniform widths with the first and the last layer at 8/8, or a policy file, such as that of a run. For each
seed it is calibrated by an effort, measured, trained from there (--steps 0: not at all) and measured again: accuracy on
all test images, what is lost to the float network with its 95 % interval, paired over images, mean cross entropy, and
the mean Kullback-Leibler divergence from the float network's answers. With several seeds the losses of their mean
follow. Times on 64 x 64 crossbars stand before each policy, with the speedup over uniform 8/8 in the paper's mapping.

`shared`: one training for all policies (`mho.quantization.shared_widths`). For policies of the recorded log of short
trainings (`benchmarks/data`) whose accuracy there is above 86 %: the loss of each by calibration alone, from the float
weights and from the shared ones, on 500 validation images; how much larger it is in the median than at 8/8, and its
rank correlation with the recorded losses. WEIGHTS were trained elsewhere, on these images too, so losses rise by any
training on others: compare what stands over 8/8.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import mho
from mho.data import DataSpec, load_dataset
from mho.data.dataset import Dataset, Split
from mho.evaluation.significance import rank_correlation
from mho.models.build import build_model
from mho.models.weights import load_weights
from mho.network.graph import Network
from mho.network.torch_reader import read_torch
from mho.policy import UNIFORM_REFERENCE, BitWidths, Policy
from mho.quantization.allocator import keep_freed_memory
from mho.quantization.calibration import calibrate
from mho.quantization.effort import EFFORTS, steps_of
from mho.quantization.qat import TrainableNetwork
from mho.quantization.reconstruction import reconstruct
from mho.quantization.shared_widths import SharedWidths, train_shared
from mho.quantization.training import evaluate, train
from mho.quantization.training_options import OPTIMIZERS, TrainingOptions
from mho.seeds import derive_seed

ACCELERATOR = Path(__file__).parents[1] / "examples" / "crossbar-64x64.toml"
SHAPE, LOG = (3, 32, 32), Path(__file__).parent / "data" / "search_resnet20.jsonl.gz"
POLICIES, JUDGED, LEAST_ACCURACY, CALIBRATED_ON = 40, 500, 0.86, 512
EVERY = tuple(BitWidths(weight, act) for weight in range(2, 9) for act in range(2, 9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--bits", nargs="+", default=["4/4"], help="weight/activation, or policy files (4/4)")
    parser.add_argument("--effort", default="fast", choices=EFFORTS)
    parser.add_argument("--steps", type=int, default=359)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.005)
    parser.add_argument("--optimizer", default="sgd", choices=OPTIMIZERS)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--distillation", type=float, default=0.0)
    parser.add_argument("--fixed-norms", type=float, default=0.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        spec = DataSpec(name="cifar10", root=options.data, calibration=2000, validation=2000)
        data = load_dataset(spec, np.random.default_rng(derive_seed(1, "splits")))
        model = build_model("resnet20", 10, SHAPE, torch.Generator().manual_seed(0))
        load_weights(model, options.weights)
        PARTS[options.part](read_torch(model, (1, *SHAPE)), data, options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def training(options: argparse.Namespace) -> TrainingOptions:
    return TrainingOptions(
        steps=options.steps, batch_size=options.batch_size, learning_rate=options.rate, augmentation="flip-crop",
        distillation=options.distillation, fixed_norm_share=options.fixed_norms, optimizer=options.optimizer,
        weight_decay=options.weight_decay,
    )  # fmt: skip


def samples_of(data: Dataset) -> Tensor:
    return torch.from_numpy(data.calibration.spread(CALIBRATED_ON).inputs(slice(None)))


# ---- one policy


def run_recipe(network: Network, data: Dataset, options: argparse.Namespace) -> None:
    module, labels = TrainableNetwork(network), torch.from_numpy(np.array(data.test.labels))
    wanted, samples = answers(module, data.test), samples_of(data)
    right = (wanted.argmax(1) == labels).double()
    print(f"float: {100 * float(right.mean()):.2f} % of {len(labels):,} test images")
    start = {name: tensor.detach().clone() for name, tensor in module.state_tensors().items()}
    for bits in options.bits:
        policy = read_policy(network, bits)
        slow = Policy.uniform(network.layer_names, UNIFORM_REFERENCE)
        slow_ps = mho.cost(network, ACCELERATOR, slow, mapping="paper").latency_ps
        fast_ps = mho.cost(network, ACCELERATOR, policy).latency_ps
        print(f"{bits}: {fast_ps / 1e9:.1f} ms, {slow_ps / fast_ps:.2f}x over 8/8 as the paper maps it")
        answered: dict[str, list[Tensor]] = {}
        for seed in options.seeds:
            module.load_state_tensors(start)
            module.set_policy(None)
            for title, found in quantize(module, policy, data, samples, options, seed):
                answered.setdefault(title, []).append(found)
                tell(f"{bits} {title}, seed {seed}", [found], wanted, labels)
        if len(options.seeds) > 1:
            for title, several in answered.items():
                tell(f"{bits} {title}, mean of {len(several)} seeds", several, wanted, labels)


def quantize(
    module: TrainableNetwork, policy: Policy, data: Dataset, samples: Tensor, options: argparse.Namespace, seed: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield how far the network is, and its answers to the test images [N, 10]."""
    calibrate(module, samples)
    module.set_policy(policy)
    if steps_of(options.effort).fits_layers:
        reconstruct(module, samples, options.effort, seed=seed)
    yield options.effort, answers(module, data.test)
    if not options.steps:
        return
    start, source = time.monotonic(), module.network if options.distillation else None
    train(module, data.train, training(options), torch.Generator().manual_seed(seed), teacher=source)
    print(f"{time.monotonic() - start:.0f} s of training")
    yield "trained", answers(module, data.test)


def read_policy(network: Network, bits: str) -> Policy:
    if Path(bits).suffix == ".json":
        return Policy.load(bits)
    ends = dict.fromkeys((network.layer_names[0], network.layer_names[-1]), UNIFORM_REFERENCE)
    return Policy({name: ends.get(name, BitWidths.parse(bits)) for name in network.layer_names})


def tell(title: str, several: list[Tensor], wanted: Tensor, labels: Tensor) -> None:
    """Print what networks of some seeds lose to float; with several it is the mean over them of each image."""
    right = torch.stack([one.argmax(1) == labels for one in several]).double().mean(0)
    lost = 100 * ((wanted.argmax(1) == labels).double() - right)
    band = 1.96 * float(lost.std()) / len(labels) ** 0.5
    teacher = functional.log_softmax(wanted, 1)
    divergences = [
        float(functional.kl_div(functional.log_softmax(one, 1), teacher, log_target=True, reduction="batchmean"))
        for one in several
    ]
    entropy = np.mean([float(functional.cross_entropy(one, labels)) for one in several])
    print(
        f"{title}: {100 * float(right.mean()):.2f} %, lost {float(lost.mean()):.2f} +- {band:.2f} points, "
        f"loss {entropy:.4f}, divergence {np.mean(divergences):.4f}",
        flush=True,
    )


def answers(module: TrainableNetwork, split: Split) -> Tensor:
    kept: list[Tensor] = []
    evaluate(module, split, on_batch=lambda logits, _: kept.append(logits))
    return torch.cat(kept)


# ---- all policies


def run_shared(network: Network, data: Dataset, options: argparse.Namespace) -> None:
    with gzip.open(LOG, "rt") as file:
        records = [json.loads(line) for line in file][2:]  # its head, and uniform 8/8
    records = [one for one in records if one["status"] == "ok" and one["accuracy"] > LEAST_ACCURACY]
    records = records[:: max(1, len(records) // POLICIES)][:POLICIES]
    policies, recorded = (
        [Policy.from_json(one["policy"], where="log") for one in records],
        [one["score"] for one in records],
    )
    module, judged = TrainableNetwork(network), data.validation.take(slice(0, JUDGED))

    def score(title: str) -> None:
        losses = []
        for policy in (Policy.uniform(network.layer_names, UNIFORM_REFERENCE), *policies):
            module.set_policy(policy)
            losses.append(evaluate(module, judged).loss)
        module.set_policy(None)
        over, rank = np.median(losses[1:]) - losses[0], rank_correlation(losses[1:], recorded)
        print(f"{title}: 8/8 {losses[0]:.3f}, median over it {over:.3f}, rank correlation {rank:.3f}", flush=True)

    table = calibrate(module, samples_of(data))
    score("from the float weights")
    start = time.process_time()
    held = {network.layer_names[0], network.layer_names[-1]}
    widths = SharedWidths({name: (UNIFORM_REFERENCE,) if name in held else EVERY for name in network.layer_names})
    teacher = network if options.distillation else None
    generator = torch.Generator().manual_seed(options.seeds[0])
    train_shared(module, table, widths, data.train, training(options), generator, teacher=teacher)
    print(f"one training: {time.process_time() - start:.0f} s")
    calibrate(module, samples_of(data))
    score("from the shared weights")


PARTS = {"recipe": run_recipe, "shared": run_shared}

if __name__ == "__main__":
    main()
