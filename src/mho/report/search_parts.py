"""What a result tells of a search beyond its evaluations: what bits of layers are worth, and what other searches found.

Losses are natural logarithms (cross entropy on the calibration split), accuracies fractions in 0..1.
"""

from __future__ import annotations

from mho.frozen_model import FrozenModel
from mho.report.result_figures import Count, Share


class StepWorth(FrozenModel):
    """What other bits of one operand of a layer would make of the found policy."""

    bits: int
    """Instead of those it has."""
    cost: float
    """Of the whole policy then less its cost now, in the objective's unit; exact."""
    loss: float
    """Loss then less the loss now, in the most probable world."""
    low: float
    """Its 10th percentile, of what evaluations leave possible."""
    high: float
    """Its 90th percentile."""


class OperandWorth(FrozenModel):
    """What the bits of one operand of one layer are worth."""

    layer: str
    """Layer name."""
    operand: str
    """`weight`, `activation` or `ADC`."""
    bits: int
    """Under the found policy, as the search evaluated it."""
    less: StepWorth | None
    """The next fewer bits; null where there are none."""
    more: StepWorth | None
    """The next more bits; null where there are none."""


class BestSoFar(FrozenModel):
    """What a search had after some evaluations."""

    evaluated: Count
    """Distinct policies, uniform 8/8 counted in."""
    gain: float
    """Cost of uniform 8/8 / cost of the best one so far."""
    accuracy: Share
    """Of it, on validation data."""


class SearchSummary(FrozenModel):
    """A search in the run's directory: the run's own, and those of `mho search` with the same evaluations."""

    name: str
    """Of its stage."""
    method: str
    """Search method."""
    objective: str
    """What was made least."""
    unit: str
    """Of costs."""
    goal: str
    """What was looked for, for people."""
    evaluated: Count
    """Distinct policies, uniform 8/8 counted in."""
    cost: float | None
    """Of the winner, before full training; null: there is none."""
    gain: float | None
    """Cost of uniform 8/8 / cost."""
    accuracy: Share | None
    """Of the winner, on validation data, before full training."""
    course: tuple[BestSoFar, ...]
    """The best so far, after more and more evaluations."""
