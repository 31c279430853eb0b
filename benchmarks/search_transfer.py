"""What a saved agent of `rl` is worth elsewhere, and how good a front one search gives.

    python benchmarks/search_transfer.py [--problem synthetic] [--seeds 10] [--budget 48] [--parts accelerator front]
    python benchmarks/search_transfer.py --problem vgg11 --parts network --network vgg8

On a surrogate of a published log (`search_surrogate.py`), or on `synthetic`: ResNet-18's latencies and a loss that adds
up over layers (`search_small.py`). What policies find is judged without noise.

- accelerator: an agent searches for one accelerator (4-bit cells, the paper's mapping) and is saved; then for another
  one (128x128, 2-bit cells) it starts where it left off, beside an untrained agent and `exact`. Shown: after how many
  evaluations each reaches what the untrained agent ends with. The saved agent learned under other noise.
- network: the same for another network on the same accelerator, on a surrogate of its own log.
- front: one search for the whole front (`whole_front`) against a search of its own for each of five allowed losses, of
  as many evaluations each (or other than --front-budget). Shown: the speedup of both at each loss.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import numpy as np
import torch
from numpy.typing import NDArray
from search import CONSTRAINTS
from search_problem import SmoothEvaluator, resnet18_layers, resnet18_space
from search_problems import PROBLEMS, accelerator
from search_surrogate import Log, Surrogate, log_path, measure_noise, read_repeats

import mho
from mho.bit_search.agent_file import SavedAgent
from mho.bit_search.api import make_space
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import Evaluator
from mho.bit_search.log import EvaluationLog
from mho.bit_search.methods import MethodOptions
from mho.bit_search.runner import SearchLimits, SearchResult, run_search
from mho.bit_search.space import SearchSpace
from mho.cost_model.latency_table import LatencyTable
from mho.hardware.loading import accelerator_from_json, load_accelerator
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.policy import Policy

SYNTHETIC = "synthetic"
DROP = 1.0
DROPS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Points of accuracy that may be lost, of the front's five budgets."""
TARGET_CELL_BITS, TARGET_SIDE = 2, 128
PARTS = ("accelerator", "network", "front")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=(SYNTHETIC, *PROBLEMS), default=SYNTHETIC)
    parser.add_argument("--log", type=Path, help="of the problem (the published one)")
    parser.add_argument("--model", default="index+process", help="of the surrogate (index+process)")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=48, help="evaluations of every search (48)")
    parser.add_argument("--front-budget", type=int, help="evaluations of the search of the whole front (--budget)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["accelerator", "front"])
    parser.add_argument("--network", choices=PROBLEMS, default="vgg8", help="that agents are taken to (vgg8)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        run(options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


class Truth(Protocol):
    """A network whose policies can be evaluated at once, with noise and without."""

    space: SearchSpace
    target: SearchSpace
    """Of the accelerator that agents are taken to."""

    def evaluator(self, seed: int) -> Evaluator:
        """Return what measures policies, with the noise of a seed."""

    def accuracies(self, policies: Sequence[Policy]) -> NDArray[np.float64]:
        """Return what policies truly get right."""


class SurrogateTruth:
    def __init__(self, problem: str, log: Path | None, model: str) -> None:
        path = log or log_path(problem)
        known, repeats = Log.read(path), read_repeats(path)
        self._surrogate = Surrogate(known, measure_noise(known, repeats) if repeats else None, seed=0, model=model)
        self.space = PROBLEMS[problem].space(CONSTRAINTS, prune=True)
        limits = SearchConstraints(weight_bits_multiple=TARGET_CELL_BITS)
        self.target = make_space(
            PROBLEMS[problem].network(), other(accelerator()), limits, mapping=MappingModel.PAPER, prune=True
        )

    def evaluator(self, seed: int) -> Evaluator:
        return self._surrogate.with_seed(seed)

    def accuracies(self, policies: Sequence[Policy]) -> NDArray[np.float64]:
        return self._surrogate.means(policies)[1]


class SyntheticTruth:
    """Sensitivities of layers are those of one seed; the seed of an evaluator is that of its noise."""

    def __init__(self) -> None:
        self.space = resnet18_space(min_weight_bits=2, min_act_bits=2)
        table = LatencyTable.build(
            resnet18_layers(), other(load_accelerator("pelke2026-4bit")), model=MappingModel.PAPER
        )
        self.target = SearchSpace.build(
            table.layer_names, table.latency_ps[:, :8, :8], self.space.features, SearchConstraints(), prune=True
        )
        self._true = SmoothEvaluator(self.space.layer_names, 0)

    def evaluator(self, seed: int) -> Evaluator:
        found = SmoothEvaluator(self.space.layer_names, 0)
        found.seed = seed
        return found

    def accuracies(self, policies: Sequence[Policy]) -> NDArray[np.float64]:
        return np.array([self._true.true_accuracy(policy) for policy in policies])


def run(options: argparse.Namespace) -> None:
    truth = SyntheticTruth() if options.problem == SYNTHETIC else SurrogateTruth(
        options.problem, options.log, options.model
    )  # fmt: skip
    print(f"{options.problem}: {options.seeds} seeds, {options.budget} evaluations a search")
    if "accelerator" in options.parts:
        place = f"{TARGET_SIDE}x{TARGET_SIDE} with {TARGET_CELL_BITS}-bit cells"
        show_transfer(options, truth, truth, truth.target, place)
    if "network" in options.parts:
        target = SurrogateTruth(options.network, None, options.model)
        show_transfer(options, truth, target, target.space, options.network)
    if "front" in options.parts:
        show_front(options, truth)


def other(hardware: Accelerator) -> Accelerator:
    """Return the accelerator that agents are taken to."""
    content = hardware.to_json()
    content["name"] = "taken-to"
    content["crossbar"].update(rows=TARGET_SIDE, cols=TARGET_SIDE, cell_bits=TARGET_CELL_BITS)
    return accelerator_from_json(content, where="taken-to")


def search(
    method: str, space: SearchSpace, truth: Truth, budget: int, seed: int, *,
    drop: float = DROP, saved: SavedAgent | None = None, whole_front: bool = False,
) -> SearchResult:  # fmt: skip
    evaluator = truth.evaluator(seed)
    return run_search(
        method, space, evaluator, EvaluationLog(None, evaluator.problem),
        SearchLimits(budget, drop, whole_front=whole_front), np.random.default_rng(seed),
        method_options=MethodOptions(saved=saved),
    )  # fmt: skip


def found_gains(result: SearchResult, truth: Truth, space: SearchSpace, drop: float) -> NDArray[np.float64]:
    """Return the best true speedup within the drop after each evaluation, [evaluations]; uniform 8/8 counts."""
    accuracies = truth.accuracies([record.policy for record in result.records])
    gains = np.array([space.reference_cost / record.cost for record in result.records])
    return np.maximum.accumulate(np.where(accuracies >= accuracies[0] - drop / 100 - 1e-12, gains, 1.0))


def show_transfer(options: argparse.Namespace, truth: Truth, target: Truth, space: SearchSpace, place: str) -> None:
    """Print what agents that searched in `truth` are worth in `target` with its costs of `space`."""
    curves: dict[str, list[NDArray[np.float64]]] = {"rl, saved agent": [], "rl, untrained": [], "exact": []}
    for seed in range(1, options.seeds + 1):
        earlier = search("rl", truth.space, truth, options.budget, 1000 + seed)
        saved = earlier.agent
        for name, method, agent in (
            ("rl, saved agent", "rl", saved), ("rl, untrained", "rl", None), ("exact", "exact", None),
        ):  # fmt: skip
            result = search(method, space, target, options.budget, seed, saved=agent)
            curves[name].append(found_gains(result, target, space, DROP))
        print(f"seed {seed} of {options.seeds}", file=sys.stderr, flush=True)
    ends = [float(curve[-1]) for curve in curves["rl, untrained"]]
    print(f"\nto {place}, {DROP:g} point allowed")
    checkpoints = [count for count in (4, 6, 12, 24, 48, 96) if count <= options.budget]
    print(f"{'':18} {'evaluations to the untrained end':>34}  speedup after {checkpoints}")
    for name, found in curves.items():
        needed = [reach(curve, end) for curve, end in zip(found, ends, strict=True)]
        shown = " ".join(f"{np.mean([curve[min(n, len(curve)) - 1] for curve in found]):.3f}" for n in checkpoints)
        counted = [n for n in needed if n is not None]
        summary = f"median {np.median([n or options.budget + 1 for n in needed]):.0f}, reached in {len(counted)}"
        print(f"{name:18} {summary:>34}  {shown}")


def reach(curve: NDArray[np.float64], wanted: float) -> int | None:
    """Return how many evaluations a search took to get within 0.1 % of a speedup."""
    there = np.flatnonzero(curve >= wanted * 0.999)
    return int(there[0]) + 1 if len(there) else None


def show_front(options: argparse.Namespace, truth: Truth) -> None:
    space, budget = truth.space, options.front_budget or options.budget
    whole: dict[float, list[float]] = {drop: [] for drop in DROPS}
    own: dict[float, list[float]] = {drop: [] for drop in DROPS}
    for seed in range(1, options.seeds + 1):
        front = search("rl", space, truth, budget, seed, whole_front=True)
        for drop in DROPS:
            whole[drop].append(float(found_gains(front, truth, space, drop)[-1]))
            single = search("rl", space, truth, options.budget, seed, drop=drop)
            own[drop].append(float(found_gains(single, truth, space, drop)[-1]))
        print(f"seed {seed} of {options.seeds}", file=sys.stderr, flush=True)
    print(f"\none search of the whole front, {budget} evaluations in all, against {options.budget} for each loss")
    print(f"{'points allowed':>14} {'whole front':>12} {'own search':>11} {'ratio':>7}")
    for drop in DROPS:
        pair = mean(whole[drop]), mean(own[drop])
        print(f"{drop:14g} {pair[0]:11.3f}x {pair[1]:10.3f}x {pair[0] / pair[1]:7.3f}")


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


if __name__ == "__main__":
    main()
