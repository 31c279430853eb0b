"""What a search method is: it proposes policies, and learns from the records of their evaluations.

Whoever runs a method (`bit_search.runner`) evaluates, counts and logs. A method must be deterministic under its
generator: a search goes on after a kill by replaying it against the log.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from mho.bit_search.evaluation import EvaluationRecord
from mho.policy import Policy

if TYPE_CHECKING:
    from mho.bit_search.agent_file import SavedAgent


class SearchMethod(Protocol):
    """Proposes policies and learns from what they turned out to be."""

    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        """Return the next policy to evaluate; None where nothing is left to propose.

        Args:
            pending: policies of this batch that were proposed and are not evaluated yet. A method that does not propose
                a policy again does not propose these either.
        """
        ...

    def tell(self, record: EvaluationRecord) -> None:
        """Learn from the record of the policy that was proposed last.

        The reference's comes first, then those of earlier searches. Where another seed has measured a policy,
        methods that support a warm start get it again, as the record of the mean.

        Args:
            record: the policy, its cost, and where it `is_ok` its score (loss) and accuracy.
        """
        ...


@runtime_checkable
class SavesAgent(Protocol):
    """A method whose agent can be kept."""

    def save(self) -> SavedAgent:
        """Return what it has learned."""
        ...
