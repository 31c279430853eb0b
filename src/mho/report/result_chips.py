"""What a result tells of chips that are not ideal: what was reached, what costs accuracy, the mapping, the model.

Accuracies are fractions in 0..1, or of other tasks than classification qualities by their metric.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mho.frozen_model import FrozenModel
from mho.report.result_figures import Count, Quality


class TargetFigures(FrozenModel):
    """Whether the found policy keeps the allowed drop, on validation data, after its full training."""

    accuracy: float
    """What is wanted: uniform 8/8 with exact integers, less the allowed drop."""
    found: Quality
    """What the found policy has."""
    reference: Quality
    """What uniform 8/8 has, evaluated as the found policy is."""
    is_reached: bool
    """True where the found policy has as much."""

    @property
    def missing(self) -> float:
        """Quality that is missing; 0 where it is reached."""
        return 0.0 if self.is_reached else self.accuracy - self.found


class ErrorSource(FrozenModel):
    """One kind of errors of a chip, and what the found policy's accuracy is without it, all others as they are."""

    name: str
    """For people."""
    keys: tuple[str, ...]
    """Keys of the accelerator that are set to their ideal values."""
    accuracy: Quality
    """Without it, on validation data."""


class ErrorSources(FrozenModel):
    """What costs accuracy on chips: the found policy with one kind of errors left out at a time."""

    chips: Annotated[int, Field(ge=1)]
    """Sampled chips, the same for all."""
    samples: Annotated[int, Field(ge=1)]
    """Validation samples of each."""
    accuracy: Quality
    """With all errors, on these."""
    exact_accuracy: Quality
    """With none of them."""
    sources: tuple[ErrorSource, ...]
    """That which costs most first."""


class TriedBound(FrozenModel):
    """Uniform 8/8 under the mappings of one bound on their error."""

    max_error: str
    """The bound: `mapping.max_error` of the accelerator."""
    cost: Count
    """Of the objective, in its unit."""
    accuracy: Quality
    """On chips, on validation data, calibrated."""


class MappingChoice(FrozenModel):
    """How the bound on the error that mappings cause was chosen."""

    chosen: Count
    """Place of the chosen one in `tried`."""
    tried: tuple[TriedBound, ...]
    """Those whose mappings differ, the loosest first."""
    unit: str
    """Of costs."""
    exact_accuracy: Quality
    """Of uniform 8/8 with exact integers, calibrated."""
    target_accuracy: float
    """That less the allowed drop."""


class ComparedPolicy(FrozenModel):
    """A policy that the statistical model and sampled chips evaluated."""

    index: Count
    """Place in the search."""
    model: Quality
    """Accuracy by the statistical model."""
    chips: Quality
    """Mean accuracy on sampled chips."""


class ModelAgreement(FrozenModel):
    """How well the statistical model, which evaluated the search's candidates, orders policies as sampled chips do."""

    policies: tuple[ComparedPolicy, ...]
    """Calibrated networks: uniform 8/8, the finalists, and others from the best to the worst."""
    samples: Annotated[int, Field(ge=1)]
    """Validation samples."""
    rank_correlation: Annotated[float, Field(ge=-1, le=1)] | None
    """Spearman's; null where accuracies are all alike, or of fewer than three policies."""
    mean_difference: Quality
    """Mean absolute difference of accuracies."""
