"""All search methods on surrogates of short trainings, with equal numbers of evaluations.

    python benchmarks/search.py [--problems resnet20 vgg11] [--methods rl rl-paper ...] [--budgets 50 200] [--seeds 10]
    python benchmarks/search.py --only-tables

The surrogate of each problem is fitted to its published log (`search_surrogate.py`; `search_log.py` makes logs), so a
search takes seconds and many seeds can be run. Measurements have the noise of real ones; all methods of one seed meet
the same noise. What a method found is judged without noise, so luck does not count:

- found: speedup over 8/8 of the fastest policy evaluated that truly keeps the allowed drop;
- picked: speedup of the policy that the search would return, from what it measured, and how much that truly loses.

With --repeats a policy is measured with so many other seeds before it may win; that counts into the evaluations.
`rl-paper` measures once, as its paper has it, whatever --repeats.

Every run is one file in --out; a kill loses the runs in the making, and the same command goes on. Methods that take
note of their budget are run once for each; the others once for the largest, as smaller ones are its beginning.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from search_models import MODELS
from search_optimum import find_optimum
from search_problems import PROBLEMS
from search_surrogate import Log, Surrogate, log_path, measure_noise, read_repeats
from search_tables import FASTER, PAPER, show_problem

import mho
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import Measurement, Variant
from mho.bit_search.log import EvaluationLog
from mho.bit_search.methods import METHODS
from mho.bit_search.runner import SearchLimits, run_search
from mho.bit_search.search_state import SearchProgress
from mho.bit_search.space import SearchSpace
from mho.cache_folder import write_atomically
from mho.policy import Policy

ANYTIME = ("rl-paper", "greedy", "uniform", "random")
"""Methods that do the same whatever their budget."""
CONSTRAINTS = SearchConstraints(weight_bits_multiple=4)
CHECKPOINTS = (10, 25, 50, 100, 200, 400)


@dataclass(frozen=True)
class Task:
    """One search: what identifies its result."""

    problem: str
    method: str
    budget: int
    seed: int
    allowed_drop: float
    model: str
    with_noise: bool
    log: str
    repeats: int

    @property
    def name(self) -> str:
        """Name of its file: what people tell it by, and a hash of all of it."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.problem}.{self.method}.{self.budget}.seed{self.seed}.{digest[:12]}.json"


class Clock:
    """An evaluator that takes the time of another, so that a method's own time can be separated from it."""

    def __init__(self, evaluator: Surrogate, spent: list[float]) -> None:
        self._evaluator, self.spent = evaluator, spent

    @property
    def fidelity(self) -> str:
        return self._evaluator.fidelity

    @property
    def problem(self) -> Mapping[str, Any]:
        return self._evaluator.problem

    def seed_for(self, policy: Policy) -> int:
        return self._evaluator.seed_for(policy)

    def at(self, variant: Variant) -> Clock:
        """Return a clock of another variant, which this one's time takes in."""
        return Clock(self._evaluator.at(variant), self.spent)

    def relative_cost(self, variant: Variant) -> float:
        return self._evaluator.relative_cost(variant)

    def evaluate(self, policy: Policy) -> Measurement:
        begin = time.process_time()
        found = self._evaluator.evaluate(policy)
        self.spent.append(time.process_time() - begin)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=FASTER, default=list(FASTER))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--budgets", nargs="+", type=int, default=[50, 200], help="evaluations (50 200)")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=4, help="other seeds before a policy may win (4)")
    parser.add_argument("--drop", type=float, default=1.0, help="points of accuracy that may be lost (1)")
    parser.add_argument("--model", choices=MODELS, default="index+process", help="of the surrogate (index+process)")
    parser.add_argument("--no-noise", action="store_true", help="measurements are exact")
    parser.add_argument("--logs", type=Path, help="folder of logs (the published ones)")
    parser.add_argument("--out", type=Path, default=Path("search_runs"), help="folder of results (search_runs)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    parser.add_argument("--only-tables", action="store_true", help="of the runs that are finished")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        for problem in options.problems:
            run(problem, options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(problem: str, options: argparse.Namespace) -> None:
    path = log_path(problem, options.logs)
    tasks = plan(problem, path, options)
    missing = [task for task in tasks if not (options.out / task.name).exists()]
    if missing and not options.only_tables:
        context = multiprocessing.get_context("spawn")
        setup = (problem, path, options.model, not options.no_noise)
        with ProcessPoolExecutor(options.jobs, context, _set_up, setup) as pool:
            pending = {pool.submit(_search, task): task for task in missing}
            for number, future in enumerate(as_completed(pending), start=1):
                task = pending[future]
                write_atomically(options.out / task.name, (json.dumps(future.result()) + "\n").encode())
                print(f"{number:4} of {len(missing)}: {task.name}", file=sys.stderr, flush=True)
    finished = [task for task in tasks if (options.out / task.name).exists()]
    results = [json.loads((options.out / task.name).read_text(encoding="utf-8")) for task in finished]
    log, surrogate, space, _ = prepare(problem, path, options.model, with_noise=not options.no_noise)
    target = true_target(surrogate, space, options.drop)
    best = find_optimum(space, lambda policies: surrogate.means(policies)[1], target)
    show_problem(problem, len(log), results, space.reference_cost / space.cost_of(best), options, CHECKPOINTS)


def plan(problem: str, path: Path, options: argparse.Namespace) -> list[Task]:
    """Return all searches of a problem, seeds outermost, so that every method has some early."""
    Log.read(path)  # tells where there is none
    digest = hashlib.sha256(path.read_bytes())
    for other in read_repeats(path):
        digest.update(other.score.tobytes())
    common = (options.drop, options.model, not options.no_noise, digest.hexdigest())
    repeats = 0 if options.no_noise else options.repeats
    return [
        Task(problem, method, budget, seed, *common, 0 if method == PAPER else repeats)
        for seed in range(1, options.seeds + 1)
        for method in options.methods
        for budget in sorted(options.budgets)
        if budget == max(options.budgets) or method not in ANYTIME
    ]


def prepare(
    problem: str, path: Path, model: str, *, with_noise: bool
) -> tuple[Log, Surrogate, SearchSpace, SearchSpace]:
    """Return the log, its surrogate, and the space: pruned, and as `rl-paper` takes it."""
    log = Log.read(path)
    noise = measure_noise(log, read_repeats(path)) if with_noise else None
    spaces = (PROBLEMS[problem].space(CONSTRAINTS, prune=prune) for prune in (True, False))
    return log, Surrogate(log, noise, seed=0, model=model), *spaces  # type: ignore[return-value]


def true_target(surrogate: Surrogate, space: SearchSpace, drop: float) -> float:
    """Return the accuracy that a policy must truly have."""
    return float(surrogate.means([space.reference_policy])[1][0]) - drop / 100.0


_PREPARED: list[tuple[Log, Surrogate, SearchSpace, SearchSpace]] = []
"""Of a worker process: what its tasks share."""


def _set_up(problem: str, path: Path, model: str, with_noise: bool) -> None:
    torch.set_num_threads(1)
    _PREPARED.append(prepare(problem, path, model, with_noise=with_noise))


def _search(task: Task) -> dict[str, Any]:
    """Run one search and return what it evaluated, judged without noise."""
    _, surrogate, pruned, whole = _PREPARED[0]
    space = whole if task.method == "rl-paper" else pruned
    evaluator = Clock(surrogate.with_seed(task.seed), [])
    log = EvaluationLog(None, evaluator.problem)
    options = SearchLimits(task.budget, task.allowed_drop, repeats=task.repeats)
    picks: dict[int, Policy | None] = {}

    def note(progress: SearchProgress) -> None:
        """Keep what the search would have returned at every checkpoint."""
        picks.update({
            count: None if progress.best is None else progress.best.policy
            for count in CHECKPOINTS
            if progress.spent <= count <= task.budget
        })  # fmt: skip

    begin = time.process_time()
    result = run_search(task.method, space, evaluator, log, options, np.random.default_rng(task.seed), note)
    seconds = time.process_time() - begin - sum(evaluator.spent)
    policies = [record.policy for record in result.records]
    scores, accuracies = surrogate.means(policies)
    picks[task.budget] = None if result.best is None else result.best.policy
    return {
        "task": asdict(task),
        "reference_cost": space.reference_cost,
        "target": true_target(surrogate, space, task.allowed_drop),
        "costs": [record.cost for record in result.records],
        "evaluations": len(log),
        "evaluated_at": [record.index + 1 for record in result.records],
        "accuracies": accuracies.tolist(),
        "scores": scores.tolist(),
        "measured": [record.accuracy for record in result.records],
        "picked": {str(n): None if policy is None else policies.index(policy) for n, policy in picks.items()},
        "winner": None if result.best is None else result.best.policy.to_json(),
        "ended": result.ended,
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
