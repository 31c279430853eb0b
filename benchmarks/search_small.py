"""How far search methods are from the proven optimum, where it is known: a synthetic accuracy that adds up over layers.

    python benchmarks/search_small.py [--problems small resnet18] [--methods rl exact ...] [--budgets 50 100 200]
                                      [--seeds 5] [--noise 0.001] [--jobs 2] [--out FILE]

Latencies are real: ResNet-18 at 224x224 on `pelke2026-4bit` under the paper's mapping, 1 to 8 bits, the first and the
last layer held at 8/8. The loss of a policy is a sum over layers and operands; sensitivities differ by layer
(lognormal) and fall by 3.5 for each bit; accuracy falls with it, and both are measured with noise. So the best policy
within a loss of one point is known: of `resnet18` by a mixed-integer program over the true sums, of `small`, the same
network with three layers free, by trying all policies.

For each method and number of evaluations: speedup over uniform 8/8 of the policy that the search would return then,
mean and standard deviation over seeds; that over the optimum's; the points that it truly loses (more than 1 is luck
that the measurement had); and processor seconds of a whole search. Methods that take note of their budget are run once
for each, and --out keeps every run (JSON lines), so that a kill loses only those in the making.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import numpy as np
import torch
from search_problem import SmoothEvaluator, resnet18_layers, resnet18_space

from mho.bit_search.goal import select_best
from mho.bit_search.knapsack import solve_knapsack
from mho.bit_search.log import EvaluationLog
from mho.bit_search.methods import METHODS
from mho.bit_search.runner import SearchLimits, run_search
from mho.bit_search.space import SearchSpace
from mho.policy import BitWidths, Policy

PROBLEMS = ("small", "resnet18")
FREE = ("layer2.0.conv1", "layer3.0.conv2", "layer3.1.conv2")
ANYTIME = ("rl-paper", "greedy", "random", "uniform")
"""Methods that do the same whatever their budget."""
DROP = 0.01


def make_space(problem: str, *, prune: bool) -> SearchSpace:
    if problem == "resnet18":
        return resnet18_space(prune=prune)
    pins = {layer.name: BitWidths(8, 8) for layer in resnet18_layers() if layer.name not in FREE}
    return resnet18_space(prune=prune, pins=pins, min_weight_bits=2, min_act_bits=2)


def find_optimum(problem: str, space: SearchSpace, evaluator: SmoothEvaluator) -> float:
    """Return the largest speedup of a policy that truly loses no more than may be lost."""
    target = evaluator.true_accuracy(space.reference_policy) - DROP
    names = space.layer_names
    if problem == "small":
        chosen = itertools.product(*(layer.choices for layer in space.layers))
        policies = [Policy(dict(zip(names, bits, strict=True))) for bits in chosen]
        fit = [space.cost_of(policy) for policy in policies if evaluator.true_accuracy(policy) >= target]
        return space.reference_cost / min(fit)
    increases = [np.array([evaluator.damage(Policy({n.name: b})) for b in n.choices]) for n in space.layers]
    costs = [np.array(layer.costs, dtype=np.float64) for layer in space.layers]
    best = solve_knapsack(costs, increases, -math.log(target / 0.7))
    assert best is not None, "8/8 fits"
    picked = zip(space.layers, best.tolist(), strict=True)
    return space.reference_cost / space.cost_of(Policy({layer.name: layer.choices[k] for layer, k in picked}))


def run(problem: str, method: str, budget: int, seed: int, noise: float, checkpoints: list[int]) -> dict[str, Any]:
    """Run one search; tell what it would have returned after each number of evaluations."""
    torch.set_num_threads(1)
    space = make_space(problem, prune=METHODS[method].prunes)
    evaluator = SmoothEvaluator(space.layer_names, seed, noise=noise)
    begin = time.process_time()
    result = run_search(
        method,
        space,
        evaluator,
        EvaluationLog(None, {}),
        SearchLimits(budget, 100 * DROP),
        np.random.default_rng(seed),
    )
    seconds = time.process_time() - begin
    reference = evaluator.true_accuracy(space.reference_policy)
    found: dict[str, Any] = {}
    for count in checkpoints:
        inside = [record for record in result.records[:count] if space.contains(record.policy)]
        best = select_best(result.goal, inside)
        speedup = 1.0 if best is None else space.reference_cost / best.cost
        lost = 0.0 if best is None else 100 * (reference - evaluator.true_accuracy(best.policy))
        found[str(count)] = {"speedup": speedup, "lost": lost}
    optimum = find_optimum(problem, make_space(problem, prune=True), evaluator)
    return {
        "problem": problem, "method": method, "budget": budget, "seed": seed, "noise": noise,
        "found": found, "optimum": optimum,
        "evaluated": len(result.records), "ended": result.ended, "seconds": seconds,
    }  # fmt: skip


def plan(options: argparse.Namespace) -> list[tuple[str, str, int, int, float, list[int]]]:
    """Return all searches, seeds outermost."""
    most, budgets = max(options.budgets), sorted(options.budgets)
    return [
        (problem, method, budget, seed, options.noise, budgets if method in ANYTIME else [budget])
        for seed in range(options.seeds)
        for problem in options.problems
        for method in options.methods
        for budget in budgets
        if budget == most or method not in ANYTIME
    ]


def show(runs: list[dict[str, Any]], problem: str, budgets: list[int]) -> None:
    mine = [run for run in runs if run["problem"] == problem]
    if not mine:
        return
    optima = list({run["seed"]: run["optimum"] for run in mine}.values())
    print(f"\n{problem}: optimum {np.mean(optima):.3f}x, mean of {len(optima)} seeds")
    print("| method | " + " | ".join(f"{n} evaluations" for n in budgets) + " | of the optimum | lost | s a search |")
    print("|---|" + "---|" * (len(budgets) + 3))
    for method in dict.fromkeys(run["method"] for run in mine):
        cells, shares, lost, seconds = [], [], [], []
        for budget in budgets:
            own = [run for run in mine if run["method"] == method and str(budget) in run["found"]]
            speedups = [run["found"][str(budget)]["speedup"] for run in own]
            cells.append(f"{np.mean(speedups):.3f} ± {np.std(speedups):.3f}" if own else "")
            shares.append(
                np.mean([s / run["optimum"] for s, run in zip(speedups, own, strict=True)]) if own else np.nan
            )
            lost.append(np.mean([run["found"][str(budget)]["lost"] for run in own]) if own else np.nan)
            seconds += [run["seconds"] for run in own if run["budget"] == max(budgets)]
        both = (" / ".join(f"{value:{form}}" for value in values) for values, form in ((shares, ".3f"), (lost, ".2f")))
        print(f"| {method} | {' | '.join(cells)} | {' | '.join(both)} | {np.mean(seconds or [np.nan]):.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--budgets", nargs="+", type=int, default=[50, 100, 200])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--noise", type=float, default=0.001, help="standard deviation of accuracy and loss (0.001)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="file of finished runs, which are not made again")
    options = parser.parse_args()
    runs = []
    if options.out is not None and options.out.exists():
        runs = [json.loads(line) for line in options.out.read_text(encoding="utf-8").splitlines()]
    done = {(run["problem"], run["method"], run["budget"], run["seed"], run["noise"]) for run in runs}
    missing = [task for task in plan(options) if task[:5] not in done]
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        for number, future in enumerate(as_completed([pool.submit(run, *task) for task in missing]), start=1):
            runs.append(future.result())
            print(f"{number} of {len(missing)}", end="\r", file=sys.stderr, flush=True)
            if options.out is not None:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(runs[-1]) + "\n")
    print(file=sys.stderr)
    runs = [run for run in runs if run["noise"] == options.noise]
    for problem in options.problems:
        show(runs, problem, sorted(options.budgets))


if __name__ == "__main__":
    main()
