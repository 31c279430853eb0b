"""Measuring beside other searches: what one of them has measured, or is at, is not measured again.

Searches that share a storage (`bit_search.trial_storage`) and propose the same policies, such as the same command on
several machines, so share the work, and each ends with the result that it would have had alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy.engine import URL

from mho.bit_search.evaluation import FULL, EvaluationRecord, Evaluator, Variant
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import Measurer, Timed
from mho.bit_search.space import SearchSpace
from mho.bit_search.trial_storage import TrialStorage
from mho.errors import ConfigError
from mho.policy import Policy

POLL_S = 0.5
"""How often the storage is read for what another search evaluates."""

BESIDE_THE_LOG = "sqlite"


@contextmanager
def share(
    measurer: Measurer, storage: str, space: SearchSpace, evaluator: Evaluator, log: EvaluationLog, at_once: int
) -> Iterator[SharingMeasurer]:
    """Return, as a context, what measures beside other searches; the storage is given what the log holds.

    Args:
        measurer: who measures.
        storage: URL of a database, or "sqlite" for a file beside the log.
        space: tells costs.
        evaluator: tells problem and fidelity.
        log: of this search.
        at_once: see `SharingMeasurer`.

    Raises:
        ConfigError: there is no log to be beside of.
        InputFileError: there is no such storage.
    """
    if storage == BESIDE_THE_LOG:
        if log.path is None:
            raise ConfigError(
                "a storage beside the log, and no log is kept",
                where="search: storage",
                expected="a log, or a URL such as sqlite:///trials.db",
            )
        file = str(log.path.absolute().with_suffix(".db"))
        storage = URL.create("sqlite", database=file).render_as_string()  # folders may have a ? in their names
    opened = TrialStorage(storage, evaluator.problem, space.objective, space.reference_cost, evaluator.fidelity)
    try:
        for record in log.records:
            cost = space.cost_of(record.policy)
            opened.add(replace(record, cost=cost, objective=space.objective))
        yield SharingMeasurer(measurer, opened, at_once)
    finally:
        opened.close()


class SharingMeasurer(Measurer):
    """Takes from a storage what others have measured, and measures the rest.

    Args:
        measurer: who measures.
        storage: what is shared.
        at_once: how many policies the measurer is given at a time; other searches may take the rest.
    """

    def __init__(self, measurer: Measurer, storage: TrialStorage, at_once: int) -> None:
        self._measurer, self._storage, self._at_once = measurer, storage, at_once

    def measure(self, policies: Sequence[Policy], variant: Variant = FULL) -> Iterator[tuple[int, Timed]]:
        """Yield number and measurement of each as they come, wherever from; only full evaluations are shared."""
        if variant != FULL:
            yield from self._measurer.measure(policies, variant)
            return
        left = dict(enumerate(policies))
        while left:
            self._storage.refresh()
            for number, policy in list(left.items()):
                if (found := self._storage.find(policy)) is not None:
                    del left[number]
                    yield number, Timed(*found)
            if mine := self._claim(left):
                for place, timed in self._measurer.measure([left[number] for number in mine]):
                    del left[mine[place]]
                    yield mine[place], timed
            elif left:
                time.sleep(POLL_S)

    def keep(self, record: EvaluationRecord) -> None:
        """Store a record."""
        self._measurer.keep(record)
        self._storage.add(record)

    def _claim(self, left: Mapping[int, Policy]) -> list[int]:
        """Take policies that no other search is at, as many as are measured at once; return their numbers."""
        mine: list[int] = []
        for number, policy in left.items():
            if len(mine) == self._at_once:
                break
            if not self._storage.is_busy(policy) and self._storage.claim(policy):
                mine.append(number)
        return mine
