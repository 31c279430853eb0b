"""The tables of the search benchmark, and whether its claims hold."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

PAPER, STRONGEST = "rl-paper", "evolution"
"""Baselines: the paper's agent, and the best method of others that has no model of the loss."""

FEWER, FASTER = 4.0, {"vgg11": 1.1, "resnet20": 1.25}
"""What is claimed: so many times fewer evaluations to where `rl-paper` ends; so many times faster at the end."""
RESAMPLES, CONFIDENCE = 2000, 0.95


@dataclass(frozen=True)
class Run:
    """One search, judged without noise.

    Attributes:
        speedups: float64 [evaluations]: of the fastest policy so far that truly keeps the drop.
        policy_speedups, losses: float64 [policies]: of every policy, losses in points against 8/8.
        picks: by number of evaluations: index of the policy that the search would have returned.
        allowed: points that may be lost.
    """

    method: str
    budget: int
    seed: int
    speedups: FloatArray
    policy_speedups: FloatArray
    losses: FloatArray
    picks: dict[int, int | None]
    allowed: float
    ms_per_evaluation: float

    @classmethod
    def of(cls, result: dict[str, Any]) -> Run:
        task = result["task"]
        each = result["reference_cost"] / np.array(result["costs"], np.float64)
        accuracies = np.array(result["accuracies"])
        kept = np.zeros(result["evaluations"])
        kept[np.array(result["evaluated_at"]) - 1] = np.where(accuracies >= result["target"] - 1e-12, each, 0.0)
        losses = 100.0 * (result["target"] - accuracies) + task["allowed_drop"]
        picks = {int(count): index for count, index in result["picked"].items()}
        return cls(
            task["method"], task["budget"], task["seed"], np.maximum.accumulate(kept), each, losses, picks,
            task["allowed_drop"], 1000.0 * result["seconds"] / result["evaluations"],
        )  # fmt: skip

    def found(self, count: int) -> float:
        """Return the speedup found within so many evaluations; a search that ended earlier found no more."""
        return float(self.speedups[min(count, len(self.speedups)) - 1])

    def picked(self, count: int) -> tuple[float, float]:
        """Return speedup and true loss, points, of what the search would return; 1 and 0 where that is nothing."""
        index = self.picks[count] if count in self.picks else self.picks[max(self.picks)]
        return (1.0, 0.0) if index is None else (float(self.policy_speedups[index]), float(self.losses[index]))

    def reaches(self, speedup: float) -> float:
        """Return the evaluations that it takes to find a speedup; infinite where it is not found."""
        found = np.flatnonzero(self.speedups >= speedup - 1e-9)
        return float(found[0] + 1) if len(found) else float("inf")


def show_problem(
    problem: str,
    policies: int,
    results: Sequence[dict[str, Any]],
    optimum: float,
    options: argparse.Namespace,
    checkpoints: Sequence[int],
) -> None:
    """Print all tables of a problem."""
    runs = [Run.of(result) for result in results]
    last = max(options.budgets)
    counts = sorted({*(count for count in checkpoints if count < last), last})
    noise = "exact measurements" if options.no_noise else "measurements with noise"
    print(
        f"\n{problem}: surrogate {options.model!r} of {policies} policies, {noise}, {options.drop:g} points may be lost"
    )
    print(f"best known policy that truly keeps them: {optimum:.3f}x; 8/8 is 1x")
    methods = [name for name in options.methods if any(run.method == name for run in runs)]
    print("\nfound after N evaluations, median [quartiles] over seeds")
    print(f"{'method':10} seeds " + " ".join(f"{count:>18}" for count in counts))
    for method in methods:
        chosen = [of_budget(runs, method, count) for count in counts]
        cells = [quartiles([run.found(n) for run in some]) for n, some in zip(counts, chosen, strict=True)]
        print(f"{method:10} {len(chosen[-1]):5} " + " ".join(f"{cell:>18}" for cell in cells))
    show_ends(runs, methods, last, optimum)
    if PAPER in methods:
        show_claims(problem, runs, methods, last)
    for baseline in (PAPER, STRONGEST):
        show_ratios(runs, methods, baseline, options.budgets)


def of_budget(runs: Sequence[Run], method: str, count: int) -> list[Run]:
    """Return the runs of a method with that budget, or the beginning of those with the next larger one."""
    budgets = sorted({run.budget for run in runs if run.method == method and run.budget >= count})
    return [run for run in runs if run.method == method and budgets and run.budget == budgets[0]]


def quartiles(values: Sequence[float]) -> str:
    if not values:
        return "-"
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.3f} [{low:.2f} {high:.2f}]"


def show_ends(runs: Sequence[Run], methods: Sequence[str], last: int, optimum: float) -> None:
    """Print what the methods end with, and at what price."""
    paper = [run.found(last) for run in of_budget(runs, PAPER, last)]
    goal = float(np.median(paper)) if paper else float("nan")
    print(f"\nafter {last} evaluations{f'; {PAPER} ends with {goal:.3f}x' if paper else ''}")
    titles = f"{'of best':>7} {'picked':>18} {'truly lost':>11} {'kept':>5} {'evaluations to it':>18} {'ms each':>8}"
    print(f"{'method':10} {titles}")
    for method in methods:
        chosen = of_budget(runs, method, last)
        if not chosen:
            continue
        picked = [run.picked(last) for run in chosen]
        kept = sum(loss <= run.allowed + 1e-9 for run, (_, loss) in zip(chosen, picked, strict=True))
        reach = [run.reaches(goal) for run in chosen] if paper else []
        print(
            f"{method:10} {np.median([run.found(last) for run in chosen]) / optimum:7.3f} "
            f"{quartiles([speedup for speedup, _ in picked]):>18} {np.median([loss for _, loss in picked]):11.2f} "
            f"{f'{kept}/{len(chosen)}':>5} {evaluations(reach):>18} "
            f"{np.median([run.ms_per_evaluation for run in chosen]):8.0f}"
        )


def evaluations(counts: Sequence[float]) -> str:
    if not counts:
        return "-"
    middle, missed = median(counts), sum(not np.isfinite(count) for count in counts)
    return f"{'not' if not np.isfinite(middle) else f'{middle:.0f}'}{f' ({missed} never)' if missed else ''}"


def median(values: Sequence[float]) -> float:
    """Return the median; of an even number the larger of the middle two, so that infinity does not blur it."""
    return float(np.sort(values)[len(values) // 2])


def show_claims(problem: str, runs: Sequence[Run], methods: Sequence[str], last: int) -> None:
    """Print, for every method, whether it is as much better than `rl-paper` as is claimed."""
    paper = of_budget(runs, PAPER, last)
    goal = float(np.median([run.found(last) for run in paper]))
    print(f"\nagainst {PAPER}: claimed are {FEWER:g}x fewer evaluations and {FASTER[problem]:g}x faster")
    for method in methods:
        chosen = of_budget(runs, method, last)
        if method == PAPER or not chosen:
            continue
        fewer = last / median([run.reaches(goal) for run in chosen])
        quarter = of_budget(runs, method, round(last / FEWER))
        early = float(np.median([run.found(round(last / FEWER)) for run in quarter]))
        faster, low, high = ratio([run.found(last) for run in chosen], [run.found(last) for run in paper])
        by_quarter = f"at a quarter of them {early:.3f}x: {says(early >= goal - 1e-9)}"
        at_end = f"{faster:.3f}x [{low:.3f} {high:.3f}] faster: {says(faster >= FASTER[problem])}"
        print(f"{method:10} {fewer:6.1f}x fewer: {says(fewer >= FEWER)} ({by_quarter}); {at_end}")


def show_ratios(runs: Sequence[Run], methods: Sequence[str], baseline: str, budgets: Sequence[int]) -> None:
    """Print how much faster the policies are that each method finds than those of a baseline, at every budget."""
    if baseline not in methods:
        return
    print(f"\nspeedup found over that of {baseline} [95 % over seeds]")
    for method in methods:
        if method == baseline:
            continue
        cells = []
        for count in sorted(budgets):
            ours, theirs = ([run.found(count) for run in of_budget(runs, name, count)] for name in (method, baseline))
            cells.append("{:.3f} [{:.2f} {:.2f}]".format(*ratio(ours, theirs)) if ours and theirs else "-")
        print(
            f"{method:10} "
            + "  ".join(f"after {count}: {cell}" for count, cell in zip(sorted(budgets), cells, strict=True))
        )


def says(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the ratio of medians, and its bootstrap interval over seeds."""
    generator = np.random.default_rng(0)

    def draw(values: Sequence[float]) -> FloatArray:
        return np.median(np.array(values)[generator.integers(len(values), size=(RESAMPLES, len(values)))], axis=1)

    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(draw(ours) / draw(theirs), [tail, 1.0 - tail])
    return float(np.median(ours) / np.median(theirs)), float(low), float(high)
