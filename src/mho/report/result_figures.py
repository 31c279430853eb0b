"""What a result of a run is made of: figures of networks, layers, mappings, the search, checks, stages and files.

Times are in microseconds (one inference of one sample) or seconds (of the run), accuracies fractions in 0..1, losses
natural logarithms (cross entropy).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mho.cost_model.document import leave_out_adc_bits
from mho.evaluation.chips import describe_chips
from mho.evaluation.confidence import MeanBand, find_band, find_mean_band
from mho.frozen_model import FrozenModel
from mho.mapping.layer_mapping import MappingModel
from mho.policy import write_widths
from mho.report.result_task import TaskFigures
from mho.scheduling.regime import Regime

Share = Annotated[float, Field(ge=0, le=1)]
Quality = float
"""An accuracy, 0..1; of other tasks than classification, a quality by the task's metric."""
Count = Annotated[int, Field(ge=0)]
Duration = Annotated[float, Field(ge=0)]


class Score(FrozenModel):
    """How well a network answers samples."""

    correct: Count | None = None
    """Samples classified correctly; null of other tasks than classification."""
    count: Annotated[int, Field(ge=1)]
    """Samples answered."""
    accuracy: Quality
    """correct / count; of other tasks the quality by the task's metric, more is better."""
    loss: float | None = None
    """Mean of the task's loss (of classification, cross entropy), where it was measured."""
    standard_error: Annotated[float, Field(ge=0)] | None = None
    """Of the accuracy, by the choice of samples; 0 of a metric of the user's, null in results that predate it."""


class Candidate(FrozenModel):
    """One of the networks that are compared."""

    name: str
    """`float`, `reference` or `found`."""
    label: str
    """For people."""
    made_by: str = ""
    """How it was quantized: `training` or `calibration`, whichever was more accurate on validation data; empty for
    float."""
    validation: Score
    """On validation data: on chips where these count, with samples of all chips counted."""
    test: Score
    """On test data: the final figure; of what, `tested_on` of the result says."""
    integer_reference: Score | None = None
    """On test data, with every sum exact: what ideal chips answer. None for the float network."""
    latency_us: float | None
    """Time of one inference on the machine, of the program's schedule; none for the float network, which does not run
    there."""
    speedup: float | None
    """Against uniform 8/8 on the same machine under the same mapping."""
    tiles: int | None
    """Crossbar writes of one inference: none where weights stay."""
    mvms: int | None
    """Crossbar reads of one inference."""
    weight_bits: float
    """Mean over all weights."""
    act_bits: float
    """Mean over all inputs of MVM layers, each counted by its multiply-accumulates."""


class MappingFigures(FrozenModel):
    """The same policies under one mapping."""

    mapping: MappingModel
    """`best`, or `paper` (arXiv 2601.21737)."""
    reason: str = ""
    """Why layers cannot be mapped so, where they cannot: then all figures are null."""
    reference_latency_us: float | None = None
    """Time of one inference at uniform 8/8."""
    found_latency_us: float | None = None
    """Time of one inference with the found policy."""
    speedup: float | None = None
    """reference_latency_us / found_latency_us."""


class AbsentPart(FrozenModel):
    """A part of the report that could not be had."""

    part: str
    """Which, for people."""
    reason: str
    """Why."""


class ChipFigures(FrozenModel):
    """A policy on the machine: one crossbar is used again for every tile; weights stay and layers overlap; or tiles are
    rewritten, layer after layer."""

    name: str
    """`reference` or `found`."""
    label: str
    """For people."""
    reason: str = ""
    """In results that predate programs for the machine: why there is no schedule; then all figures are null."""
    regime: Regime | None = None
    """What becomes of tiles; null where there is no schedule."""
    minimal_crossbars: int | None = None
    """The fewest crossbars that hold each layer once; for one crossbar, in the mappings that it has."""
    used_crossbars: int | None = None
    """Crossbars that hold something, copies included."""
    latency_us: float | None = None
    """Time of one inference, with interconnect and buffers of the accelerator."""
    bound_us: float | None = None
    """What no schedule of these mappings beats on this machine; proven."""
    interval_us: float | None = None
    """Time between inferences of a full pipeline."""
    total_us: float | None = None
    """Time of three inferences that follow each other."""
    energy_pj: float | None = None
    """Energy of one inference, leakage of the machine included; null where the accelerator specifies none. `splits` has
    its components."""
    writes: int | None = None
    """Crossbars that are written for one inference."""
    cell_writes_per_input: float | None = None
    """How often one inference writes a cell of the crossbar that is written most often."""
    cell_writes_per_day: float | None = None
    """The same in a day of inferences without a pause."""
    lifetime_inputs: int | None = None
    """Inferences until cells may fail; null where nothing is written or the accelerator specifies no endurance."""
    lifetime_days: float | None = None
    """Days of inferences without a pause until then; null alike."""
    speedup: float | None = None
    """latency_us of uniform 8/8 on the same machine / latency_us."""

    @model_validator(mode="before")
    @classmethod
    def _name_regime(cls, content: Any) -> Any:
        """Name the regime of results that predate its name."""
        if not isinstance(content, dict) or "is_reloaded" not in content:
            return content
        rest = {key: value for key, value in content.items() if key != "is_reloaded"}
        if rest.get("regime") is None and not rest.get("reason"):
            rest["regime"] = Regime.TIME_MULTIPLEXED if content["is_reloaded"] else Regime.WEIGHT_STATIONARY
        return rest


class ZeroSliceFigures(FrozenModel):
    """Reads that drive zero input slices only: the hardware may skip them. Measured on test samples."""

    name: str
    """`reference` or `found`."""
    label: str
    """For people."""
    images: Annotated[int, Field(ge=1)]
    """Test samples on which it was measured."""
    share: Share
    """Share of all reads that may be skipped."""
    latency_us: float
    """Mean time of one inference where they are."""
    min_latency_us: float
    """Shortest of these times."""
    max_latency_us: float
    """Longest of these times."""


class ChipAccuracies(FrozenModel):
    """Accuracies of a program on sampled chips."""

    name: str
    """`reference` or `found`."""
    label: str
    """For people."""
    images: Annotated[int, Field(ge=1)]
    """Test samples that each chip answers."""
    hardware: str
    """Name of the accelerator whose cells, wires and converters the chips have."""
    elapsed_s: float | None = None
    """Time since the cells were written, s; null where they are read at once."""
    temperature_k: float | None = None
    """Temperature, K; null where it is that at which drift was measured."""
    reads: Annotated[int, Field(ge=0)] = 0
    """Reads since the cells were written."""
    accuracies: tuple[Quality, ...]
    """Of chips of seeds 1, 2 and so on."""
    task: TaskFigures = TaskFigures()
    """What accuracies are."""

    @property
    def mean(self) -> float:
        """Mean accuracy, 0..1."""
        return sum(self.accuracies) / len(self.accuracies)

    @property
    def band(self) -> MeanBand:
        """The mean with its confidence interval over chips."""
        if self.task.is_classification:
            return find_band([round(share * self.images) for share in self.accuracies], self.images)
        return find_mean_band(self.accuracies, worst=self.task.judged_by.worst)

    @property
    def chips(self) -> str:
        """Which chips were sampled, and when they were read."""
        return describe_chips(len(self.accuracies), self.hardware, self.elapsed_s, self.temperature_k, self.reads)


class LayerCostFigures(FrozenModel):
    """What one layer costs under one policy."""

    weight_bits: int
    """Bits of a weight."""
    act_bits: int
    """Bits of an input."""
    adc_bits: int | None = None
    """Bits with which sums are converted; not there where they are those of the accelerator."""
    rows: int
    """Physical rows, before tiling."""
    cols: int
    """Physical columns, before tiling."""
    layout: str
    """The mapping in words."""
    copies: int = 1
    """Copies that share its windows."""
    crossbars: int | None = None
    """Tiles of all copies; null in results that predate it."""
    tiles: int
    """Crossbar writes of one inference: none where weights stay."""
    mvms: int
    """Crossbar reads."""
    latency_us: float
    """Writes and reads; where weights stay, the windows of one copy, while other layers work too; where tiles are
    rewritten, from the end of the layer before to its own."""
    error: float | None = None
    """Error that cells and converters are predicted to cause at its output, RMS over the standard deviation of the
    exact output; null in results that predate it."""
    max_error: float | None = None
    """Bound on that error, 0: as little as may be; null: none."""

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return leave_out_adc_bits(handler(self))

    @property
    def is_above_bound(self) -> bool:
        """True where no mapping that is worth its time keeps the bound."""
        return bool(self.max_error) and (self.error or 0.0) > (self.max_error or 0.0) * (1 + 1e-9)

    @property
    def bits(self) -> str:
        """All widths, such as 4/4 or 4/4/6."""
        return write_widths(self.weight_bits, self.act_bits, self.adc_bits)


class LayerFigures(FrozenModel):
    """One MVM layer."""

    name: str
    """Layer name."""
    kind: str
    """`conv`, `linear` or `matmul`."""
    outputs: int
    """Outputs of the logical matrix."""
    inputs: int
    """Inputs of the logical matrix."""
    positions: int
    """Input vectors of one inference."""
    repeat: int
    """Independent matrices (groups, heads)."""
    macs: int
    """Multiply-accumulates of one inference."""
    reference: LayerCostFigures
    """Under uniform 8/8."""
    found: LayerCostFigures
    """Under the found policy."""


class TrainingPoint(FrozenModel):
    """State of a training after an epoch."""

    epoch: float
    """Epochs done."""
    loss: float
    """Mean training loss of the epoch."""


class TrainingFigures(FrozenModel):
    """One training."""

    name: str
    """`float`, `reference` or `found`."""
    label: str
    """For people."""
    points: tuple[TrainingPoint, ...]
    """By epoch."""


class Check(FrozenModel):
    """Two ways of computing the same, compared."""

    name: str
    """Short name."""
    claim: str
    """What must be true."""
    images: Count
    """Test samples on which it was checked."""
    differing: Count
    """Images that broke the claim."""
    passed: bool
    """True where the claim held."""
    detail: str
    """More about it: numbers compared, or the first difference and its reason."""


class StageFigures(FrozenModel):
    """One stage of the run."""

    name: str
    """Stage."""
    title: str
    """For people."""
    seconds: Duration
    """Working time, over all interruptions."""
    key: str
    """Hash of everything that it came from."""
    digest: str
    """Hash of what it made."""


class FileFigures(FrozenModel):
    """A file of the run."""

    path: str
    """Inside the run directory."""
    what: str
    """For people."""
    bytes: Count
    """Size."""
    sha256: str
    """Hash of its content."""


class NetworkFigures(FrozenModel):
    """The network."""

    source: str
    """Name, function or file."""
    parameters: int
    """Numbers in its constants."""
    macs: int
    """Multiply-accumulates of one inference."""
    mvm_layers: int
    """Layers that run in crossbars."""
    input_shape: tuple[int, ...]
    """One sample."""


class NormalizationStep(FrozenModel):
    """An operation of the normalization, in float32."""

    operation: Literal["sub", "mul", "add"]
    """What is done to each sample."""
    numbers: tuple[float, ...]
    """With what: one number a channel, or one for all."""


class DataFigures(FrozenModel):
    """The data."""

    name: str
    """Dataset."""
    classes: tuple[str, ...]
    """Class names."""
    train: int
    """Training samples."""
    calibration: int
    """Calibration samples."""
    validation: int
    """Validation samples."""
    test: int
    """Test samples."""
    samples: Literal["uint8", "int32", "float32"] | None = None
    """Type of the samples as the dataset gives them, which network files and programs of the run take; null in results
    that predate it."""
    normalization: tuple[NormalizationStep, ...] = ()
    """What the network does to them first: part of every network file and program of the run."""
    sha256: str
    """Hash of all samples and labels, in their order."""
    test_sha256: str | None = None
    """Hash of the test samples that the programs classified, and of their labels; null in results that predate it."""
