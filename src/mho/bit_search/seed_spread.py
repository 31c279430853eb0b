"""How far measurements of a search can be trusted: best policy and reference, measured again with other seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mho.bit_search.evaluation import EvaluationRecord


@dataclass(frozen=True)
class Spread:
    """What several seeds make of one policy.

    Attributes:
        scores, accuracies: of the seeds, the search's own first; of those that did not fail.
        failed: how many seeds failed.
    """

    scores: tuple[float, ...]
    accuracies: tuple[float, ...]
    failed: int = 0

    @classmethod
    def of(cls, records: Sequence[EvaluationRecord]) -> Spread:
        """Take records of one policy, the search's own first."""
        known = [(r.score, r.accuracy) for r in records if r.score is not None and r.accuracy is not None]
        return cls(tuple(score for score, _ in known), tuple(a for _, a in known), len(records) - len(known))

    @property
    def score_deviation(self) -> float | None:
        """Standard deviation of the scores; None below two."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def accuracy_deviation(self) -> float | None:
        """Standard deviation of the accuracies, 0..1; None below two."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "scores": list(self.scores),
            "accuracies": list(self.accuracies),
            "score_deviation": self.score_deviation,
            "accuracy_deviation": self.accuracy_deviation,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class Noise:
    """The spread of the best policy and the reference over seeds."""

    best: Spread
    reference: Spread

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"best": self.best.to_json(), "reference": self.reference.to_json()}

    def __str__(self) -> str:
        """Describe it in a sentence."""
        seeds = len(self.best.scores) + self.best.failed
        return (
            f"Over {seeds} seeds, accuracies on validation data vary by {_points(self.best)} points for the best policy"
            f" and by {_points(self.reference)} for uniform 8/8 (standard deviation)."
        )


def _points(spread: Spread) -> str:
    deviation = spread.accuracy_deviation
    return "an unknown number of" if deviation is None else f"{100 * deviation:.2f}"
