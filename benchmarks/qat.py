"""Time of one training step: plain torch and mho, float and fake-quantized, eager and compiled, from one run.

    python benchmarks/qat.py [--rounds 15] [--threads 1] [--bits 4/4] [--no-compile] [--keep-memory]

A step is forward, cross-entropy, backward and SGD with momentum on a batch of 64. The variants take turns in every
round, so that whatever else the machine does hits all of them; figures are medians, ratios are to plain eager float.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from mho.models import build_model
from mho.network.torch_reader import read_torch
from mho.policy import BitWidths, Policy
from mho.quantization.allocator import keep_freed_memory
from mho.quantization.calibration import calibrate
from mho.quantization.compilation import compile_if_possible
from mho.quantization.optimizers import Optimizers
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training_options import TrainingOptions

BATCH = 64
NETWORKS = {"resnet8": (1, 28, 28), "vgg9": (3, 32, 32)}
TARGETS = {"mho QAT, eager": 2.0, "mho QAT, compiled": 1.0}


@dataclass(frozen=True)
class Variant:
    name: str
    step: Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bits", type=BitWidths.parse, default=BitWidths(4, 4))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--keep-memory", action="store_true", help="for all variants: mho.quantization.allocator")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.keep_memory and not keep_freed_memory():
        print("this C library cannot keep freed memory")
    print(
        f"torch {torch.__version__}, {options.threads} threads, batch {BATCH}, {options.bits}, {options.rounds} rounds"
    )
    for name in options.networks:
        variants = make_variants(name, NETWORKS[name], options.bits, not options.no_compile)
        report(name, NETWORKS[name], measure(variants, options.rounds))


def make_variants(name: str, shape: tuple[int, ...], bits: BitWidths, compiled: bool) -> list[Variant]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, *shape, generator=generator)
    labels = torch.randint(10, (BATCH,), generator=generator)

    def plain() -> nn.Module:
        return build_model(name, 10, shape, torch.Generator().manual_seed(0))

    def ours(quantized: bool) -> nn.Module:
        trainable = TrainableNetwork(read_torch(plain(), (1, *shape)))
        if quantized:
            calibrate(trainable, x)
            trainable.set_policy(Policy.uniform(trainable.mvm_modules, bits))
        return trainable

    modules = {
        "plain float, eager": plain(),
        "mho float, eager": ours(False),
        "mho QAT, eager": ours(True),
    }
    if compiled:
        modules["plain float, compiled"], note = compile_if_possible(plain())
        modules["mho QAT, compiled"], _ = compile_if_possible(ours(True))
        if note:
            print(note)
    return [Variant(title, make_step(module.train(), x, labels)) for title, module in modules.items()]


def make_step(module: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    optimizers = Optimizers(module, TrainingOptions(steps=1, learning_rate=0.01, schedule="constant"), 1)

    def step() -> None:
        optimizers.zero_grad()
        functional.cross_entropy(module(x), labels).backward()
        optimizers.step(0)

    return step


def measure(variants: list[Variant], rounds: int) -> dict[str, list[float]]:
    for variant in variants:
        for _ in range(3):
            variant.step()
    times: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            variant.step()
            start = time.perf_counter()
            variant.step()
            times[variant.name].append(time.perf_counter() - start)
    return times


def report(name: str, shape: tuple[int, ...], times: dict[str, list[float]]) -> None:
    print(f"\n{name}, {'x'.join(map(str, shape))}        ms a step   least     ratio")
    base = statistics.median(times["plain float, eager"])
    for title, values in times.items():
        median = statistics.median(values)
        target = f"  (target {TARGETS[title]})" if title in TARGETS else ""
        print(f"  {title:24} {1e3 * median:9.2f} {1e3 * min(values):9.2f} {median / base:8.2f}{target}")


if __name__ == "__main__":
    main()
