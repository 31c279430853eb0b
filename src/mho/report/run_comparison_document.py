"""The result of `mho report A B` as a JSON document, with a published schema."""

from __future__ import annotations

from typing import Literal

from mho.display import Table, Tabular
from mho.frozen_model import FrozenModel
from mho.report.result_figures import Quality, Share
from mho.report.result_task import TaskFigures

Side = Literal["first", "second"]


class ComparedSide(FrozenModel):
    """One of two runs."""

    run: str
    """As the user gave it."""
    name: str
    """Name of the run."""
    network: str
    """The network."""
    data: str
    """The dataset."""
    accelerator: str
    """The accelerator."""
    version: str
    """Version of mho that made it."""
    sentence: str
    """Its result in one sentence."""


class SettingDifference(FrozenModel):
    """A setting, or a value of the accelerator, that differs."""

    key: str
    """Such as `search.budget`, or `hardware.crossbar.rows` for a value of the accelerator's description."""
    first: str | None
    """As JSON; null where the first run has no such setting."""
    second: str | None
    """The same of the second run."""


class ComparedPolicyLayer(FrozenModel):
    """One layer under the found policy of each run; null where a run has no layer of that name."""

    layer: str
    """Layer name."""
    first_bits: str | None
    """Bits of weights and activations, and of ADCs where the layer has its own, such as 4/4 or 4/4/6."""
    second_bits: str | None
    """The same in the second run."""
    first_latency_us: float | None
    """Writes and reads of one inference, us."""
    second_latency_us: float | None
    """The same in the second run, us."""


class ComparedMeasure(FrozenModel):
    """A figure of the found policy that no chance touches."""

    name: str
    """For people, such as `latency of one inference`."""
    unit: str
    """`us`, `pJ`, `B`, `bits`, `x` (times) or empty for counts."""
    first: float | None
    """Of the first run; null where it has none."""
    second: float | None
    """Of the second run; null where it has none."""
    ratio: float | None
    """second / first; null where one is missing or the first is 0."""
    better: Side | None
    """Whose figure is better; null where they are equal, one is missing, or neither way is better."""


class AccuracyInterval(FrozenModel):
    """An accuracy and the interval in which it lies with 95 % confidence."""

    accuracy: Quality
    """Share of samples classified correctly, or quality by another metric; of several chips, their mean."""
    low: Quality | None
    """Lower end of the interval; null where there is none, as of one chip."""
    high: Quality | None
    """Upper end of the interval."""
    count: int
    """Samples; of chips, chips."""


class ComparedAccuracy(FrozenModel):
    """An accuracy of the found policy in both runs."""

    name: str
    """For people: of what it is."""
    task: TaskFigures = TaskFigures()
    """What accuracies are."""
    first: AccuracyInterval | None
    """In the first run; null where it was not measured."""
    second: AccuracyInterval | None
    """In the second run; null where it was not measured."""
    difference: float | None = None
    """second less first; null where one is missing or they are not comparable."""
    low: float | None = None
    """Lower end of the interval of the difference, with 95 % confidence; null where there is none."""
    high: float | None = None
    """Its upper end."""
    p_value: Share | None = None
    """How probable so large a difference is where there is none; null where it cannot be computed."""
    test: str
    """How the p-value was found, or why there is none."""
    better: Side | None = None
    """Who is more accurate by more than chance (p below 0.05); null where that is neither."""


class RunComparison(FrozenModel, Tabular):
    """Two runs, compared: what differs, and which is better."""

    first: ComparedSide
    """The first run."""
    second: ComparedSide
    """The second run."""
    settings: tuple[SettingDifference, ...]
    """Settings and values of accelerators that differ; names and folders of runs aside."""
    measures: tuple[ComparedMeasure, ...]
    """Time, energy, size; the first is the latency of one inference on one crossbar."""
    accuracies: tuple[ComparedAccuracy, ...]
    """Accuracies on test data; the first is the one that the verdict goes by."""
    layers: tuple[ComparedPolicyLayer, ...]
    """Policies, layer by layer."""
    better: Side | None
    """Which run is better: faster and not less accurate by more than chance, or more accurate and not slower; null
    where neither is."""
    verdict: str
    """The same in words."""
    notes: tuple[str, ...]
    """What to keep in mind, such as that test data differ."""

    def __repr__(self) -> str:
        return f"RunComparison({self.verdict})"

    def table(self) -> Table:
        """Return one row a figure, with its unit, then one an accuracy, in 0..1."""
        measures = (
            (f"{one.name}, {one.unit}".rstrip(", "), one.first, one.second, one.better) for one in self.measures
        )
        accuracies = (
            (one.name, *(None if side is None else side.accuracy for side in (one.first, one.second)), one.better)
            for one in self.accuracies
        )
        return Table(self.verdict, ("figure", "first", "second", "better"), (*measures, *accuracies))
