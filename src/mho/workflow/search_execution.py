"""How a run's search is carried out, which changes none of its figures: by which processes, beside whom."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mho.ray_pool import import_ray
from mho.workflow.search_settings import SearchSettings

if TYPE_CHECKING:
    import numpy as np

    from mho.bit_search.log import EvaluationLog
    from mho.bit_search.measurers import Measurer
    from mho.bit_search.own_method import OwnMethod
    from mho.bit_search.qat_evaluator import QatEvaluator
    from mho.bit_search.runner import SearchLimits, SearchResult
    from mho.bit_search.search_state import SearchProgress
    from mho.bit_search.space import SearchSpace


@dataclass(frozen=True)
class SearchExecution:
    """See the module.

    Attributes:
        processes: of this machine that evaluate policies, or at most so many of the cluster; None: this one alone, or
            as many as the cluster has room for.
        ray: address of a Ray cluster that evaluates, or "local"; None: this machine.
    """

    processes: int | None = None
    ray: str | None = None

    def check(self, settings: SearchSettings) -> None:
        """Check that it, and what shows the search, fit a search, before hours of training.

        Raises:
            ConfigError: more processes than policies that are proposed at once.
            MissingExtraError: Ray, or what is to show the search, is not installed.
        """
        from mho.bit_search.workers import Workers

        Workers(self.processes, self.ray).check(settings.batch)
        if self.ray is not None:
            import_ray()
        if settings.trackers:
            from mho.bit_search.tracking import check_trackers

            check_trackers(settings.trackers)

    def open(
        self, space: SearchSpace, evaluator: QatEvaluator, log: EvaluationLog, batch: int, *, storage: str | None
    ) -> AbstractContextManager[Measurer]:
        """Return, as a context, what measures: arguments and errors are `mho.bit_search.measurers.open_measurer`'s."""
        from mho.bit_search.workers import Workers, open_measurer

        return open_measurer(Workers(self.processes, self.ray), storage, space, evaluator, log, batch)

    def carry_out(
        self,
        method: str | OwnMethod,
        space: SearchSpace,
        evaluator: QatEvaluator,
        log: EvaluationLog,
        options: SearchLimits,
        generator: np.random.Generator,
        on_progress: Callable[[SearchProgress], None],
        *,
        storage: str | None,
        **others: Any,
    ) -> SearchResult:
        """Run a search.

        Args:
            storage: URL of a database of trials that searches share, "sqlite" for a file beside the log; None: none.
            others: these and the ones before, and errors, are those of `mho.bit_search.runner.run_search`.
        """
        from mho.bit_search.runner import run_search

        with self.open(space, evaluator, log, options.batch, storage=storage) as measurer:
            return run_search(
                method, space, evaluator, log, options, generator, on_progress, measurer=measurer, **others
            )
