"""Where a search measures: in this process, in others or on a Ray cluster, alone or beside other searches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from mho.bit_search.evaluation import Evaluator, problem_hash
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import (
    ATTEMPTS,
    EvaluatorRecipe,
    LocalMeasurer,
    MakeWork,
    Measurer,
    PoolMeasurer,
    library_versions,
)
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError
from mho.ray_pool import RayPool
from mho.worker_pool import ProcessPool


@dataclass(frozen=True)
class Workers:
    """Where a search measures.

    Attributes:
        processes: of this machine, or at most so many of the cluster; None: this process alone, or a process for each
            processor of the cluster.
        ray: address of a Ray cluster, or "local"; None: this machine.
    """

    processes: int | None = None
    ray: str | None = None

    def check(self, batch: int) -> None:
        """Check them against the number of policies at once. Raises `ConfigError`."""
        if self.processes is not None and not 1 <= self.processes <= batch:
            raise ConfigError(
                f"{self.processes} processes for {batch} {'policy' if batch == 1 else 'policies'} at once",
                where="search",
                expected=f"1..{batch} processes",
                hint=f"set batch to {max(self.processes, 1)} or a multiple of it: methods then propose so many"
                " policies at once, which changes what they propose",
            )

    def at_once(self, batch: int) -> int:
        """Return how many policies they measure at the same time, at most."""
        return batch if self.ray is not None and self.processes is None else self.processes or 1

    def open(
        self, evaluator: Evaluator, make_recipe: Callable[[], EvaluatorRecipe], batch: int
    ) -> AbstractContextManager[Measurer]:
        """Return, as a context, what measures; processes end with it.

        Args:
            evaluator: what this process would measure with.
            make_recipe: what others make such an evaluator from; called where there are others.
            batch: how many policies are proposed at once.

        Raises:
            ConfigError: more processes than policies at once.
            MissingExtraError: Ray is not installed.
        """
        self.check(batch)
        if self.ray is None and self.processes in (None, 1):
            return nullcontext(LocalMeasurer(evaluator))
        recipe, problem = make_recipe(), problem_hash(evaluator.problem)
        make = MakeWork(recipe, library_versions())
        if self.ray is None:
            return PoolMeasurer(ProcessPool(make, self.processes or 1, attempts=ATTEMPTS), problem)
        return PoolMeasurer(
            RayPool(self.ray, make, self.processes or batch, attempts=ATTEMPTS, gpus=recipe.gpus), problem
        )


class PackableEvaluator(Evaluator, Protocol):
    """An evaluator that other processes can make anew."""

    def recipe(self) -> EvaluatorRecipe:
        """Return what they make it from."""
        ...


@contextmanager
def open_measurer(
    workers: Workers,
    storage: str | None,
    space: SearchSpace,
    evaluator: PackableEvaluator,
    log: EvaluationLog,
    batch: int,
) -> Iterator[Measurer]:
    """Return, as a context, what measures for a search.

    Args:
        workers: where.
        storage: URL of a database that searches share, "sqlite" for a file beside the log; None: none.
        space: tells costs.
        evaluator: of this process.
        log: of the search.
        batch: how many policies are proposed at once.

    Raises:
        ConfigError: more processes than policies at once, or there is no log to be beside of.
        MissingExtraError: Ray is not installed.
        MhoError: there is no such cluster or storage.
    """
    with workers.open(evaluator, evaluator.recipe, batch) as measurer:
        if storage is None:
            yield measurer
            return
        from mho.bit_search.shared_measurer import share

        with share(measurer, storage, space, evaluator, log, workers.at_once(batch)) as sharing:
            yield sharing
