"""The log of the search benchmark: short trainings of policies spread over the space, one line of JSON each.

    python benchmarks/search_log.py --problem vgg11 --train-float --data CIFAR10
    python benchmarks/search_log.py --problem vgg11 --data CIFAR10 --count 500 --log vgg11.jsonl
    python benchmarks/search_log.py --problem resnet20 --weights resnet20.safetensors --data CIFAR10 --count 500 \\
        --log resnet20.jsonl

Policies come in a fixed order from several sources in turn (`SOURCES`), drawn from the seed and from what the log holds
so far. A kill loses the evaluation in the making; the same command goes on, whatever --count. `--repeat SEED` measures
every STRIDE-th policy of the log with another seed into a log of its own (the noise of a measurement), `--steps N` with
longer trainings (what the short ones are worth).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from search_problems import DATA, PROBLEMS, SEED, Problem, dataset, train_float

import mho
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import FAILED, OK, EvaluationRecord
from mho.bit_search.goal import Goal, front_of
from mho.bit_search.log import EvaluationLog
from mho.bit_search.method import SearchMethod
from mho.bit_search.methods import method_factory
from mho.bit_search.qat_evaluator import QatEvaluator
from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import draw_policy
from mho.policy import BitWidths, Policy
from mho.quantization.allocator import keep_freed_memory

ALLOWED_DROP_POINTS = 1.0
METHOD_BUDGET = 100
"""What a method that proposes policies for the log may use."""
MAX_CHANGED = 4


class Drawer:
    """Draws the policies of the log; all randomness of a policy is of its number and source."""

    def __init__(self, problem: Problem) -> None:
        self.main = problem.space(SearchConstraints(weight_bits_multiple=4), prune=True)
        self.paper = problem.space(SearchConstraints(weight_bits_multiple=4), prune=False)
        self.full = problem.space(SearchConstraints(hold_first_last=None), prune=False)
        self.records: list[EvaluationRecord] = []
        self._methods: dict[str, SearchMethod] = {}

    def start(self, reference: EvaluationRecord) -> None:
        """Learn what uniform 8/8 gives."""
        assert reference.accuracy is not None, "uniform 8/8 was measured"
        assert reference.score is not None, "uniform 8/8 was measured"
        self._reference = reference
        self._goal = Goal(
            reference.accuracy, ALLOWED_DROP_POINTS, self.main.reference_cost, reference.score, self.main.objective
        )

    def method(self, name: str) -> SearchMethod:
        """Return a method at work, with the reference reported to it first."""
        if name not in self._methods:
            space = self.paper if name == "rl-paper" else self.main
            made = method_factory(name)(space, self._goal, METHOD_BUDGET, np.random.default_rng([SEED, len(name)]))
            made.tell(self._reference)
            self._methods[name] = made
        return self._methods[name]

    def near_uniform(self, generator: np.random.Generator) -> Policy:
        """Draw one pair of widths for all layers, and others for a few of them."""
        pair = BitWidths(int(generator.integers(2, 9)), int(generator.integers(2, 9)))
        layers = {
            name: pair if k in range(1, len(self.full.layers) - 1) else BitWidths(8, 8)
            for k, name in enumerate(self.full.layer_names)
        }
        return self.change(self.full, Policy(layers), int(generator.integers(0, MAX_CHANGED + 1)), generator)

    def near_front(self, generator: np.random.Generator) -> Policy:
        """Change one layer or two of a policy on the front of what was measured so far."""
        inside = [record for record in self.records if self.main.contains(record.policy)]
        if not inside:
            return draw_policy(self.main, generator, spread=True)
        front = front_of([replace(record, accuracy=-record.score) for record in inside if record.score is not None])
        chosen = front[int(generator.integers(len(front)))].policy
        return self.change(self.main, chosen, int(generator.integers(1, 3)), generator)

    def change(self, space: SearchSpace, policy: Policy, count: int, generator: np.random.Generator) -> Policy:
        """Give `count` layers other choices of the space."""
        free = [layer for layer in space.layers if len(layer.choices) > 1]
        layers = dict(policy.layers)
        for k in generator.choice(len(free), size=count, replace=False):
            options = [bits for bits in free[k].choices if bits != layers[free[k].name]]
            layers[free[k].name] = options[int(generator.integers(len(options)))]
        return Policy({name: layers[name] for name in space.layer_names})


@dataclass(frozen=True)
class Source:
    """Where policies of the log come from: what it is called there, and what draws one."""

    name: str
    draw: Callable[[Drawer, np.random.Generator], Policy | None]


def visited(method: str) -> Source:
    """Return the source of what a method asks for; it learns what its policies were measured to be."""
    return Source(f"visited:{method}", lambda drawer, _: drawer.method(method).ask())


SOURCES = (
    Source("spread", lambda drawer, generator: draw_policy(drawer.main, generator, spread=True)),
    Source("spread-full", lambda drawer, generator: draw_policy(drawer.full, generator, spread=True)),
    visited("rl"),
    Source("independent", lambda drawer, generator: draw_policy(drawer.main, generator, spread=False)),
    Source("near-front", lambda drawer, generator: drawer.near_front(generator)),
    Source("spread", lambda drawer, generator: draw_policy(drawer.main, generator, spread=True)),
    Source("near-uniform", lambda drawer, generator: drawer.near_uniform(generator)),
    visited("rl-paper"),
    Source("near-front", lambda drawer, generator: drawer.near_front(generator)),
    Source("independent-full", lambda drawer, generator: draw_policy(drawer.full, generator, spread=False)),
)
"""They take turns in this order. `main` is the space of the paper's mapping (weights of 4 or 8 bits, ends at 8/8)
without dominated choices, `full` every pair of 2..8 bits in every layer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=PROBLEMS, required=True)
    parser.add_argument("--data", type=Path, required=True, help="where CIFAR-10 lies")
    parser.add_argument("--weights", type=Path, help="of the float network (the published ones)")
    parser.add_argument("--log", type=Path, help="the log to go on with")
    parser.add_argument("--count", type=int, default=500, help="policies in the log (500)")
    parser.add_argument("--repeat", type=int, metavar="SEED", help="measure policies of the log with another seed")
    parser.add_argument("--steps", type=int, help="measure policies of the log with trainings of so many steps")
    parser.add_argument("--stride", type=int, default=20, help="of --repeat and --steps: every so many policies (20)")
    parser.add_argument("--train-float", action="store_true", help="train the float network and write its weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        run(options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    problem = PROBLEMS[options.problem]
    data = dataset(options.data)
    if options.train_float:
        out = options.weights or problem.weights or DATA / f"search_{problem.name}.safetensors"
        train_float(problem, data, out, out.with_suffix(".checkpoint"))
        return
    path = options.log or Path(f"{problem.name}.jsonl")
    log = EvaluationLog(path, problem.evaluator(data, options.weights, seed=SEED).problem)
    if options.repeat is None and options.steps is None:
        fill(problem, problem.evaluator(data, options.weights, seed=SEED), log, options.count)
        return
    seed, name = options.repeat or SEED, f".seed{options.repeat}" if options.repeat else ""
    evaluator = problem.evaluator(data, options.weights, seed=seed, steps=options.steps)
    other = path.with_suffix(f"{name}{f'.steps{options.steps}' if options.steps else ''}.jsonl")
    measure_again(problem, evaluator, log, EvaluationLog(other, evaluator.problem), options.stride, options.count)


def fill(problem: Problem, evaluator: QatEvaluator, log: EvaluationLog, count: int) -> None:
    """Measure policies until the log holds `count`; what it holds already is gone through again without measuring."""
    drawer = Drawer(problem)
    space = drawer.main
    reference = measure(space, evaluator, log, space.reference_policy, "reference")
    drawer.start(reference)
    drawer.records.append(reference)
    done, number = {reference.policy}, 0
    while len(done) < count:
        source = SOURCES[number % len(SOURCES)]
        policy = source.draw(drawer, np.random.default_rng([SEED, number]))
        number += 1
        if policy is None:
            continue
        record = measure(space, evaluator, log, policy, source.name)
        if source.name.startswith("visited:"):
            drawer.method(source.name.removeprefix("visited:")).tell(record)
        if policy not in done:
            done.add(policy)
            drawer.records.append(record)


def measure_again(
    problem: Problem, evaluator: QatEvaluator, log: EvaluationLog, other: EvaluationLog, stride: int, count: int
) -> None:
    """Measure every `stride`-th policy of `log` into `other`, until that holds `count`."""
    space = problem.space(SearchConstraints(hold_first_last=None), prune=False)
    for record in log.records[::stride][:count]:
        measure(space, evaluator, other, record.policy, record.method)


def measure(
    space: SearchSpace, evaluator: QatEvaluator, log: EvaluationLog, policy: Policy, source: str
) -> EvaluationRecord:
    """Return the record of a policy: from the log, or measured now."""
    found = log.find(policy, evaluator.fidelity)
    if found is not None:
        return found
    begin = time.perf_counter()
    measured = evaluator.evaluate(policy)
    is_ok = measured.score is not None and measured.accuracy is not None
    record = log.append(EvaluationRecord(
        policy=policy, score=measured.score, accuracy=measured.accuracy, cost=space.cost_of(policy),
        objective=space.objective, seed=evaluator.seed_for(policy), seconds=round(time.perf_counter() - begin, 3),
        method=source, index=0, fidelity=evaluator.fidelity, status=OK if is_ok else FAILED, note=measured.note,
    ))  # fmt: skip
    show = "failed" if record.score is None else f"loss {record.score:.4f}, accuracy {record.accuracy:.4f}"
    print(f"{len(log):5} {source:18} {show}, {space.reference_cost / record.cost:.2f}x, {record.seconds:.1f} s",
          flush=True)  # fmt: skip
    return record


if __name__ == "__main__":
    main()
