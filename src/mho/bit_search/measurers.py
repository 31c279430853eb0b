"""What measures the policies of a search: this process, processes beside it, or a Ray cluster.

A measurement depends on the policy alone, so who makes it changes no figure, as long as all compute with as many
threads and the same versions. Evaluators cannot be sent to other processes; what they are made from can
(`EvaluatorRecipe`).
"""

from __future__ import annotations

import importlib.metadata
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mho.bit_search.evaluation import (
    FAILED,
    FULL,
    OK,
    EvaluationRecord,
    Evaluator,
    Measurement,
    Variant,
    VariedEvaluator,
    problem_hash,
)
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError
from mho.policy import Policy
from mho.ray_pool import RayPool
from mho.worker_pool import GivenUp, ProcessPool

ATTEMPTS = 3
"""How often a policy may cost the process that measures it its life before it counts as failed."""


@dataclass(frozen=True)
class Timed:
    """A measurement and what it took.

    Attributes:
        measurement: of a policy.
        seconds: wall time.
        is_lost: whether nothing was measured, as processes died of it.
    """

    measurement: Measurement
    seconds: float
    is_lost: bool = False


class Measurer(ABC):
    """Measures policies, several at a time where it can."""

    @abstractmethod
    def measure(self, policies: Sequence[Policy], variant: Variant = FULL) -> Iterator[tuple[int, Timed]]:
        """Yield the number of each policy with its measurement, in the order in which they come."""

    def keep(self, record: EvaluationRecord) -> None:  # noqa: B027 - most have nothing to do
        """Receive the record of a full evaluation that was made here, once it is in the log."""


class LocalMeasurer(Measurer):
    """Measures policies in this process, one after the other."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def measure(self, policies: Sequence[Policy], variant: Variant = FULL) -> Iterator[tuple[int, Timed]]:
        """Yield number and measurement of each, in order."""
        evaluator = variant_of(self._evaluator, variant)
        for number, policy in enumerate(policies):
            yield number, timed(evaluator, policy)


def variant_of(evaluator: Evaluator, variant: Variant) -> Evaluator:
    """Return what evaluates otherwise than in full. Raises `ConfigError` where an evaluator has no variants."""
    if variant == FULL:
        return evaluator
    if not isinstance(evaluator, VariedEvaluator):
        raise ConfigError(
            "evaluations have no shorter or repeated variants", where="search", expected="candidates that are trained"
        )
    return evaluator.at(variant)


def timed(evaluator: Evaluator, policy: Policy) -> Timed:
    """Measure a policy, and the time that it takes."""
    begin = time.perf_counter()
    measurement = evaluator.evaluate(policy)
    return Timed(measurement, round(time.perf_counter() - begin, 6))


def make_record(
    policy: Policy, timed: Timed, evaluator: Evaluator, space: SearchSpace, method: str
) -> EvaluationRecord:
    """Return the record of a measurement that `evaluator` made of a policy, at its cost in `space`, for a log."""
    measured = timed.measurement
    is_ok = measured.score is not None and measured.accuracy is not None
    return EvaluationRecord(
        policy=policy,
        score=measured.score,
        accuracy=measured.accuracy,
        cost=space.cost_of(policy),
        objective=space.objective,
        seed=evaluator.seed_for(policy),
        seconds=timed.seconds,
        method=method,
        index=0,
        fidelity=evaluator.fidelity,
        status=OK if is_ok else FAILED,
        note=measured.note,
    )


class EvaluatorRecipe(Protocol):
    """Makes an evaluator in another process; picklable, and of plain values only."""

    @property
    def gpus(self) -> int:
        """GPUs that each evaluator takes."""
        ...

    def make(self) -> Evaluator:
        """Return the evaluator. Called once a process, it may set the process up, as to threads."""
        ...


@dataclass(frozen=True)
class PolicyTask:
    """A policy that a worker is to measure.

    Attributes:
        content: the policy as JSON.
        problem: hash of the problem, which the worker must have too.
        variant: how it is to be measured.
    """

    content: dict[str, Any]
    problem: str
    variant: Variant = FULL

    @property
    def place(self) -> str:
        """What it is about, for messages."""
        return "evaluation of a policy"


@dataclass(frozen=True)
class MakeWork:
    """Makes, in a worker, what measures policies."""

    recipe: EvaluatorRecipe
    versions: dict[str, str]

    def __call__(self) -> Callable[[PolicyTask], Timed]:
        """Return what measures.

        Raises:
            ConfigError: this machine has other versions.
        """
        if (here := library_versions()) != self.versions:
            unlike = [f"{name} {here[name]}" for name in here if here[name] != self.versions[name]]
            raise ConfigError(
                f"a worker has {', '.join(unlike)}",
                where="search",
                expected=", ".join(f"{name} {version}" for name, version in self.versions.items()),
                hint="figures depend on versions: install the same on all machines",
            )
        evaluator = self.recipe.make()
        ours = problem_hash(evaluator.problem)

        def work(task: PolicyTask) -> Timed:
            if task.problem != ours:
                raise ConfigError("a worker would measure another problem", where="search")
            return timed(variant_of(evaluator, task.variant), Policy.from_json(task.content, where=task.place))

        return work


def library_versions() -> dict[str, str]:
    """Return the versions of what measurements depend on."""
    return {name: importlib.metadata.version(name) for name in ("mho", "torch", "numpy")}


class PoolMeasurer(Measurer):
    """Measures policies in a pool of workers, which starts and ends with this as a context.

    Args:
        pool: of `MakeWork`.
        problem: hash of the problem.
    """

    def __init__(self, pool: ProcessPool[PolicyTask, Timed] | RayPool[PolicyTask, Timed], problem: str) -> None:
        self._pool, self._problem = pool, problem

    def __enter__(self) -> PoolMeasurer:
        self._pool.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.__exit__(*error)

    def measure(self, policies: Sequence[Policy], variant: Variant = FULL) -> Iterator[tuple[int, Timed]]:
        """Yield number and measurement of each as they come; one that workers die of, time and again, has failed."""
        tasks = [PolicyTask(policy.to_json(), self._problem, variant) for policy in policies]
        for number, answer in self._pool.answers(tasks):
            if isinstance(answer, GivenUp):
                note = f"{answer.reason}, {ATTEMPTS} times"
                yield number, Timed(Measurement(None, None, note), 0.0, is_lost=True)
            else:
                yield number, answer
