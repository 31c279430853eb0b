"""The search in a result: its evaluations, the effect of bits of single layers, and what other searches found.

Losses are those on the calibration split (of classification natural logarithms: cross entropy), accuracies fractions in
0..1, or of other tasks qualities by their metric (`TaskFigures`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mho.bit_search.verdicts import Verdict
from mho.cost_model.document import leave_out_adc_bits
from mho.formats import plural
from mho.frozen_model import FrozenModel
from mho.policy import write_widths
from mho.report.result_figures import Count, Duration, Quality
from mho.report.result_task import TaskFigures


class EvaluationFigures(FrozenModel):
    """One policy that the search tried."""

    index: int
    """Place in the search, from 0."""
    method: str
    """Who proposed it."""
    weight_bits: tuple[int, ...]
    """By layer, in execution order."""
    act_bits: tuple[int, ...]
    """By layer, in execution order."""
    adc_bits: tuple[int | None, ...] | None = None
    """By layer, in execution order: null for those of the accelerator; not there where no layer has its own."""
    cost: float
    """Under the search's objective, in its unit."""
    gain: float
    """Cost of uniform 8/8 / cost."""
    score: float | None
    """Loss on the calibration split."""
    accuracy: float | None
    """On validation data, after the short training of the search."""
    seconds: Duration
    """Time that measuring took."""
    note: str
    """Why it failed, where it did."""
    on_front: bool
    """No other policy costs at most as much and is more accurate."""
    seeds: Annotated[int, Field(ge=1)] = 1
    """With how many seeds it was measured: score and accuracy are their means."""
    smoothed: Quality | None = None
    """Accuracy as smoothed along the score (`mho.bit_search.goal`); null where there is none, and in results that
    predate it."""
    low: Quality | None = None
    """Lower end of the 95 % interval of the mean over seeds (Student's t); null where only the mean is kept."""
    high: Quality | None = None
    """Its upper end."""
    verdict: Verdict | None = None
    """What became of it, and why; null in results that predate it."""

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return leave_out_adc_bits(handler(self))

    @property
    def bits(self) -> tuple[str, ...]:
        """All widths of each layer, such as 4/4 or 4/4/6."""
        own = self.adc_bits or (None,) * len(self.weight_bits)
        widths = zip(self.weight_bits, self.act_bits, own, strict=True)
        return tuple(write_widths(*each) for each in widths)


class SearchFigures(FrozenModel):
    """How the policy was found."""

    task: TaskFigures = TaskFigures()
    """What networks were judged by: what accuracies are, here and in all of the result."""
    method: str
    """Search method."""
    objective: str
    """What was made least: `latency`, `interval`, `energy`, `energy-delay`, `crossbars` or `lifetime`."""
    objective_words: str
    """The same for people."""
    unit: str
    """Of costs: `ps`, `aJ`, `aJ ps`, `crossbars` or `writes`."""
    fidelity: str
    """How each policy was measured."""
    budget: int
    """Policies that it was allowed to evaluate."""
    space: str
    """Number of policies in the search space, exact, in decimal."""
    allowed_drop: float | None
    """How much may be lost against uniform 8/8, in the unit of the task's metric, points of accuracy for instance; null
    where the cost was limited instead."""
    target_accuracy: float | None
    """Smallest accuracy that was accepted, on validation data; null where the cost was limited instead."""
    smoothed_target: Quality | None = None
    """Smallest smoothed accuracy that was accepted; null where the cost was limited, and in results that predate it."""
    cost_budget: float | None = None
    """What the policy might cost, in `unit`: the most accurate one within it was searched; null: no limit."""
    best: int
    """Index of the policy that was trained and compiled."""
    missed: str = ""
    """What the search did not reach, by how much, and what may help; then the policy nearest to the goal was taken.
    Empty where a policy keeps the goal."""
    failed: str = ""
    """The error that ended the search; what it had evaluated before was taken. Empty where there was none."""
    finalists: tuple[int, ...]
    """Indices of the policies that were trained fully, in that order."""
    evaluations: tuple[EvaluationFigures, ...]
    """Every policy tried, the reference first."""

    @property
    def spent(self) -> str:
        """What the budget went to: ``30 evaluations: 15 policies, 15 repeats with further seeds``."""
        policies = plural(len(self.evaluations), "policy", "policies")
        repeats = sum(entry.seeds for entry in self.evaluations) - len(self.evaluations)
        if not repeats:
            return policies
        every = plural(len(self.evaluations) + repeats, "evaluation")
        return f"{every}: {policies}, {plural(repeats, 'repeat')} with further seeds"

    def accepts(self, entry: EvaluationFigures) -> bool:
        """Tell whether a policy is accurate enough, or where its cost was limited, cheap enough."""
        if entry.accuracy is None:
            return False
        if self.cost_budget is not None:
            return entry.cost <= self.cost_budget
        return self.target_accuracy is None or entry.accuracy >= self.target_accuracy - 1e-12


class StepWorth(FrozenModel):
    """What other bits of one operand of a layer would make of the found policy."""

    bits: int
    """Instead of those it has."""
    cost: float
    """Of the whole policy then less its cost now, in the objective's unit; exact."""
    loss: float
    """Loss then less the loss now, in the most probable posterior sample."""
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
    accuracy: Quality
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
    """Of the best policy, before full training; null: there is none."""
    gain: float | None
    """Cost of uniform 8/8 / cost."""
    accuracy: Quality | None
    """Of the best policy, on validation data, before full training."""
    course: tuple[BestSoFar, ...]
    """The best so far, after more and more evaluations."""
