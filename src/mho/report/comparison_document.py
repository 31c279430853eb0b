"""The result of `mho compare` as a JSON document, with a published schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mho.cost_model.area import AreaComponent
from mho.cost_model.document import leave_out_adc_bits
from mho.cost_model.energy import Component
from mho.display import Cell, Table, Tabular
from mho.formats import plural
from mho.frozen_model import FrozenModel
from mho.hardware.converters import ConversionTime
from mho.mapping.layer_mapping import MappingModel
from mho.scheduling.regime import Regime


class ComparedWidths(FrozenModel):
    """What cells and converters take at once, and how the layers' widths are cut for them."""

    cell_bits: int
    """Bits that a cell holds."""
    one_cell_weight_bits: int
    """The widest weight that one cell holds, or one pair of cells where an encoding takes two."""
    dac_bits: int
    """The widest input that one MVM takes."""
    adc_bits: int | Literal["ideal"]
    """Bits of an ADC."""
    layer_adc_bits: tuple[int, int] | None
    """Bits with which sums of layers are converted, fewest and most, where the policy tells some; else null."""
    full_adc_bits: int
    """Bits that tell apart every sum of all rows that may be driven at once, in every encoding that is allowed."""
    adc_rows: int
    """Rows that are driven at once, so that the ADC tells apart every sum."""
    weight_slices: tuple[int, int]
    """Columns of cells over which a weight (one sign part of it) is spread, fewest and most of all layers."""
    input_steps: tuple[int, int]
    """MVMs in which an input is fed, fewest and most of all layers."""


class ChipAccuracy(FrozenModel):
    """How right chips of several seeds answer."""

    mean: float = Field(ge=0, le=1)
    """Mean accuracy over chips."""
    worst: float = Field(ge=0, le=1)
    """Accuracy of the worst chip."""
    right: tuple[int, ...]
    """Samples that each chip classifies correctly, by seed."""

    @classmethod
    def of(cls, right: Sequence[int], samples: int) -> ChipAccuracy:
        """Return it of the correct samples of each chip, of so many."""
        return cls(mean=sum(right) / (len(right) * samples), worst=min(right) / samples, right=tuple(right))


class ComparedRun(FrozenModel):
    """The network on one accelerator. Times, energies and writes are of one input."""

    regime: Regime
    """Whether weights stay, tiles are rewritten, or one crossbar is used again for every tile."""
    widths: ComparedWidths
    """What cells and converters take at once."""
    crossbars: int = Field(ge=1)
    """Crossbars of the chip."""
    tiles: int = Field(ge=0)
    """Tiles of all layers, copies aside."""
    latency_us: float = Field(ge=0)
    """Time of one input that has the chip to itself, us; where a batch shares writes, of the whole batch."""
    interval_us: float = Field(ge=0)
    """Time between inputs of a full pipeline, us. Where weights stay, both are simulated with interconnect and
    buffers (closed forms of an ideal interconnect where `is_simulated` is false). Where tiles are rewritten, and on one
    crossbar, transfers between cores are not modelled."""
    is_interval_settled: bool
    """False where the interval still changed when its simulation ended."""
    energy_pj: float | None = Field(ge=0)
    """Energy as far as it is specified, pJ; null where the accelerator specifies none."""
    energy_untold: tuple[Component, ...]
    """Components that do something whose unit energies the accelerator does not tell: not in `energy_pj`."""
    cell_writes: float = Field(ge=0)
    """How often one input writes a cell of the crossbar that is written most often; 0: nothing wears."""
    lifetime_inputs: int | None = Field(ge=0)
    """Inputs until cells may fail; null where nothing wears, or the accelerator tells no endurance."""
    accuracy: ChipAccuracy | None
    """Accuracy of the accelerator's arrays at once after they were written; null without samples, or where
    `accuracy_problem` says why not."""
    aged_accuracy: ChipAccuracy | None
    """Accuracy `elapsed_s` after they were written; null alike, and without `elapsed_s`."""
    accuracy_problem: str | None
    """Why its arrays cannot be simulated, at once or `elapsed_s` after they were written."""


class ComparedAccelerator(FrozenModel):
    """One line of the table."""

    accelerator: str
    """Its name."""
    rows: int
    """Rows of a crossbar."""
    cols: int
    """Columns of a crossbar."""
    run: ComparedRun | None
    """The network on it; null where `problem` says why that cannot be."""
    problem: str | None
    """Why the network does not run on it."""
    area_mm2: float | None = Field(ge=0)
    """Area of the chip as far as it is specified, mm2; null where the accelerator specifies none."""
    area_untold: tuple[AreaComponent, ...]
    """Components whose unit area the accelerator does not tell: not in `area_mm2`."""
    endurance_writes: int | None = Field(ge=1)
    """Writes that a cell survives; null where the accelerator does not tell it."""
    conversion_time: ConversionTime
    """Whether the time of conversions is specified for each bit, is within the MVM's as a source says, or is
    unspecified, so that conversions take no time of their own."""
    keys_to_set: tuple[str, ...]
    """Values that no source gives, so that what follows from them is as good as your own figures."""


class ComparedLayer(FrozenModel):
    """Widths of one layer."""

    name: str
    """Layer name."""
    weight_bits: int
    """Bits of a weight, or of the stored operand of a product."""
    act_bits: int
    """Bits of an input."""
    adc_bits: int | None = None
    """Bits with which its sums are converted; left out where these are all that ADCs have."""

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return leave_out_adc_bits(handler(self))


class Comparison(FrozenModel, Tabular):
    """One network on several accelerators."""

    network: str
    """The network as the user gave it."""
    mapping: MappingModel
    """`best`: exact mappings that the accelerators allow; `paper`: im2col as in arXiv 2601.21737."""
    batch: int = Field(ge=1)
    """Inputs that follow each other; where tiles are rewritten, they share the writes."""
    is_simulated: bool
    """Whether chips whose weights stay were simulated with interconnect and buffers; else their times are those of an
    ideal interconnect and unlimited buffers."""
    layers: tuple[ComparedLayer, ...]
    """Widths of all MVM layers, in execution order."""
    accelerators: tuple[ComparedAccelerator, ...]
    """In the order in which the user gave them."""
    samples: int | None = Field(ge=1)
    """Samples with labels; null without them."""
    seed: int | None
    """Of the first chip of each accelerator; null without samples."""
    chips: int | None = Field(ge=1)
    """Chips of each accelerator, whose seeds follow each other; null without samples."""
    elapsed_s: float | None
    """Time after the write at which chips are evaluated again, s; null where they are evaluated only at once."""
    calibration_samples: int | None = Field(ge=1)
    """Samples on which calibrated ADCs find their ranges; null without."""
    is_recalibrated: bool
    """Whether channels are corrected on these samples, whenever chips are evaluated."""
    exact_accuracy: float | None = Field(ge=0, le=1)
    """Accuracy of the integer reference, on any accelerator; null without samples, or where no
    program could be compiled."""

    def __repr__(self) -> str:
        return f"Comparison({self._summary})"

    @property
    def _summary(self) -> str:
        return f"{self.network} on {plural(len(self.accelerators), 'accelerator')}"

    def table(self) -> Table:
        """Return one row an accelerator; times and energies of one input, accuracies in 0..1."""
        columns = ("accelerator", "regime", "crossbars", "latency_ms", "interval_ms", "energy_uj", "area_mm2")
        return Table(
            self._summary,
            (*columns, "accuracy", "worst_accuracy", "aged_accuracy", "lifetime_inputs", "problem"),
            tuple(_row(one) for one in self.accelerators),
        )


def _row(one: ComparedAccelerator) -> tuple[Cell, ...]:
    run = one.run
    if run is None:
        return (one.accelerator, *(None,) * 5, one.area_mm2, *(None,) * 4, one.problem)
    energy = None if run.energy_pj is None else run.energy_pj / 1e6
    now, aged = run.accuracy, run.aged_accuracy
    return (
        one.accelerator, str(run.regime), run.crossbars, run.latency_us / 1e3, run.interval_us / 1e3, energy,
        one.area_mm2, None if now is None else now.mean, None if now is None else now.worst,
        None if aged is None else aged.mean, run.lifetime_inputs, run.accuracy_problem,
    )  # fmt: skip
