"""A search problem without training: ResNet-18's latencies on the paper's crossbar, and a smooth model of accuracy.

As a script it searches slowly with a log, beside other searches on a storage: ``python search_problem.py METHOD BUDGET
LOG BATCH URL``.
"""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import sys
import time
import zlib
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import numpy as np

from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import Measurement
from mho.bit_search.layer_features import scale_features
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import LocalMeasurer
from mho.bit_search.runner import SearchLimits, run_search
from mho.bit_search.shared_measurer import share
from mho.bit_search.space import SearchSpace
from mho.cost_model.latency_table import LatencyTable
from mho.hardware.loading import load_accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import MvmLayer


@cache
def resnet18_layers() -> tuple[MvmLayer, ...]:
    """ResNet-18 at 224x224, in torchvision's order."""
    layers = [MvmLayer("conv1", "conv", 64, 147, 112 * 112, 1)]
    channels, side = 64, 56
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            side = side // 2 if stage > 1 and block == 0 else side
            layers.append(MvmLayer(f"{name}.conv1", "conv", width, 9 * channels, side * side, 1))
            layers.append(MvmLayer(f"{name}.conv2", "conv", width, 9 * width, side * side, 1))
            if channels != width:
                layers.append(MvmLayer(f"{name}.downsample.0", "conv", width, channels, side * side, 1))
            channels = width
    return (*layers, MvmLayer("fc", "linear", 1000, 512, 1, 1))


@cache
def small_layers() -> tuple[MvmLayer, ...]:
    """Six layers of ResNet-18: the first, the last, and one of each stage between them."""
    layers = resnet18_layers()
    return tuple(layers[number] for number in (0, 1, 6, 11, 16, 20))


def resnet18_space(*, prune: bool = True, **limits) -> SearchSpace:
    """The space of ResNet-18 on the paper's 4-bit crossbar and mapping, bits 1..8 by default."""
    return space_of(resnet18_layers(), prune=prune, **limits)


def small_space(*, prune: bool = True, **limits) -> SearchSpace:
    """The same of `small_layers`, where methods take little time."""
    return space_of(small_layers(), prune=prune, **limits)


def space_of(layers: tuple[MvmLayer, ...], *, prune: bool, **limits) -> SearchSpace:
    """The space of some layers on the paper's 4-bit crossbar and mapping."""
    table = LatencyTable.build(layers, load_accelerator("pelke2026-4bit"), model=MappingModel.PAPER)
    raw = [
        [2 * (x.kind == "linear"), x.inputs, x.outputs, 1, 3, x.inputs * x.outputs, x.positions, k, ]
        for k, x in enumerate(layers)
    ]  # fmt: skip
    constraints = SearchConstraints(**{"min_weight_bits": 1, "min_act_bits": 1, **limits})
    features = scale_features(np.array(raw, dtype=np.float64))
    return SearchSpace.build(table.layer_names, table.latency_ps[:, :8, :8], features, constraints, prune=prune)


class SmoothEvaluator:
    """Every layer's operands cost loss by their bits; accuracy falls with it; both are noisy, by the policy's seed."""

    fidelity = "smooth"

    def __init__(self, layer_names, seed=0, *, noise=0.001, seconds=0.0):
        draws = np.random.default_rng(seed)
        self.weights = dict(zip(layer_names, draws.lognormal(0, 1, len(layer_names)) * 0.0064, strict=True))
        self.acts = dict(zip(layer_names, draws.lognormal(0, 1, len(layer_names)) * 0.0096, strict=True))
        self.decay = 3.5
        self.seed, self.noise, self.seconds, self.calls = seed, noise, seconds, 0
        self.problem = {"kind": "smooth", "seed": seed}

    def damage(self, policy):
        return sum(
            self.weights[name] * self.decay ** (2.0 - bits.weight_bits)
            + self.acts[name] * self.decay ** (2.0 - bits.act_bits)
            for name, bits in policy.layers.items()
        )

    def true_accuracy(self, policy):
        return 0.7 * math.exp(-self.damage(policy))

    def seed_for(self, policy):
        return zlib.crc32(repr((self.seed, sorted(policy.layers.items()))).encode())

    def evaluate(self, policy):
        self.calls += 1
        time.sleep(self.seconds)
        noise = np.random.default_rng(self.seed_for(policy)).normal(size=2) * self.noise
        return Measurement.of(1.2 + 2.0 * self.damage(policy) + noise[0], self.true_accuracy(policy) + noise[1])


@dataclasses.dataclass(frozen=True)
class SmoothRecipe:
    """Makes a `SmoothEvaluator` in another process, which dies of the policies of some seeds.

    `deadly` are their seeds; the processes die as long as `tries` has fewer than `lives` lines, and each adds one.
    """

    layer_names: tuple
    seconds: float = 0.0
    deadly: tuple = ()
    tries: Path | None = None
    lives: int = 1
    gpus: int = 0

    def make(self):
        return DeadlyEvaluator(self)


class DeadlyEvaluator(SmoothEvaluator):
    def __init__(self, recipe):
        super().__init__(recipe.layer_names, seconds=recipe.seconds)
        self.recipe = recipe

    def evaluate(self, policy):
        recipe = self.recipe
        if self.seed_for(policy) in recipe.deadly:
            with recipe.tries.open("a", encoding="utf-8") as file:
                file.write("tried\n")
            if len(recipe.tries.read_text(encoding="utf-8").splitlines()) <= recipe.lives:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(policy)


def search_at_once(method, budget, batch, *, log=None, workers=None, recipe=None, measurer=None):
    """Search ResNet-18's space, several policies at once."""
    space = resnet18_space(prune=method != "rl-paper")
    evaluator = SmoothEvaluator(space.layer_names)
    options = SearchLimits(budget, batch=batch)
    log = EvaluationLog(None, evaluator.problem) if log is None else log
    recipe = recipe or SmoothRecipe(space.layer_names)
    opened = nullcontext(measurer) if workers is None else workers.open(evaluator, lambda: recipe, batch)
    with opened as measures:
        generator = np.random.default_rng(0)
        return run_search(method, space, evaluator, log, options, generator, measurer=measures)


def search(
    method, budget, *, seed=0, log_path=None, seconds=0.0, allowed=1.0, on_progress=None, space=None, noise=0.001
):
    """Search ResNet-18's space with a smooth evaluator."""
    space = space or resnet18_space(prune=method != "rl-paper")
    evaluator = SmoothEvaluator(space.layer_names, seed, noise=noise, seconds=seconds)
    log = EvaluationLog(log_path, evaluator.problem)
    options = SearchLimits(budget, allowed_drop=allowed)
    return run_search(method, space, evaluator, log, options, np.random.default_rng(seed), on_progress)


def search_beside_others(method, budget, path, batch, url, *, seconds=0.05):
    """Search slowly with a log, sharing a storage; return the result and how many policies were evaluated."""
    space = resnet18_space()
    evaluator = SmoothEvaluator(space.layer_names, seconds=seconds)
    log = EvaluationLog(path, evaluator.problem)
    with share(LocalMeasurer(evaluator), url, space, evaluator, log, 1) as measurer:
        options = SearchLimits(budget, batch=batch)
        generator = np.random.default_rng(0)
        result = run_search(method, space, evaluator, log, options, generator, measurer=measurer)
    return result, evaluator.calls


if __name__ == "__main__":
    search_beside_others(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
