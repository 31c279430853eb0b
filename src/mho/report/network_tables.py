"""What a result tells of networks as tables of a page: the confusion matrix of few classes, the worst of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mho.cost_model.energy import Component
from mho.report.result_networks import ClassErrors, ConfusedClasses, CostSplit

MATRIX_CLASSES = 20
"""Classes up to which a page has room for a matrix."""
LISTED = 30
"""Classes, and confusions, that a page lists where there are more."""


@dataclass(frozen=True)
class ClassRow:
    """One class: its number, its samples, and of each network accuracy and loss (None where there are no samples)."""

    number: int
    count: int
    accuracies: tuple[float | None, ...]
    losses: tuple[float | None, ...]

    @property
    def increase(self) -> float | None:
        """Loss of the last network less that of the one before it."""
        *_, before, after = self.losses
        return None if before is None or after is None else after - before


def build_matrix(errors: ClassErrors) -> list[list[int]] | None:
    """Return samples by class (rows) and predicted class (columns); None where there are too many classes."""
    return None if len(errors.classes) > MATRIX_CLASSES else errors.matrix()


def list_confusions(errors: ClassErrors) -> tuple[ConfusedClasses, ...]:
    """Return the most frequent confusions."""
    return errors.confusions[:LISTED]


def list_classes(errors: Sequence[ClassErrors]) -> list[ClassRow]:
    """Return a row for each class; of many those whose loss the last network increases most over the one before it.

    Args:
        errors: of at least two networks, of the same samples.
    """
    rows = [
        ClassRow(
            number,
            same[0].count,
            tuple(one.correct / one.count if one.count else None for one in same),
            tuple(one.loss for one in same),
        )
        for number, same in enumerate(zip(*(one.classes for one in errors), strict=True))
    ]
    if len(rows) <= LISTED:
        return rows
    return sorted((row for row in rows if row.increase is not None), key=lambda row: -(row.increase or 0.0))[:LISTED]


def list_energy_components(splits: Sequence[CostSplit]) -> list[Component]:
    """Return the components that take energy in any of the networks."""
    return [one for one in Component if any(one in (split.energy_pj or {}) for split in splits)]
