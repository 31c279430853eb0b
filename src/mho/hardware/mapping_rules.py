"""The rules of the mapping: which ways of laying weights into cells a chip can do, and which of them is taken."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, WithJsonSchema, field_validator, model_validator

from mho.hardware.converters import MAX_LINES
from mho.hardware.section import Ratio, Seconds, Section, above_zero

MAX_RELATIVE_ERROR = 1000
MAX_SECONDS_ELAPSED = 1_000_000_000_000

LayerName = Annotated[str, Field(min_length=1)]

ErrorBound = Decimal | Literal["auto", "none", "least"]
"""Values of `mapping.max_error`."""


class Encoding(StrEnum):
    """How signed weights become conductances, which are never negative.

    Attributes:
        DIFFERENTIAL_COLUMNS: two columns a weight, one for its positive and one for its negative part; the currents of
            the two bitlines are subtracted.
        DIFFERENTIAL_ROWS: two rows a weight; the row of the negative part is driven with the inverted input voltage, so
            that the bitline subtracts by itself.
        OFFSET: a constant is added to every weight so that none is negative; one more column of ones gives the sum of
            the inputs, with which the constant is taken back digitally.
        OFFSET_DIGITAL: the same without the column: the digital unit adds up each input vector once.
        TWOS_COMPLEMENT: cells hold the bits of the two's complement; the columns of the sign bit are subtracted.
    """

    DIFFERENTIAL_COLUMNS = "differential-columns"
    DIFFERENTIAL_ROWS = "differential-rows"
    OFFSET = "offset"
    OFFSET_DIGITAL = "offset-digital"
    TWOS_COMPLEMENT = "twos-complement"


PAPER_ENCODINGS = (Encoding.DIFFERENTIAL_COLUMNS, Encoding.DIFFERENTIAL_ROWS, Encoding.OFFSET)
"""Encodings that the model of arXiv 2601.21737 counts."""


class DigitalLayers(StrEnum):
    """Which layers with weights the digital unit may compute instead of crossbars.

    Attributes:
        NONE: none of them; only products of two activations.
        DEPTHWISE: convolutions whose groups have one input channel each, which fill few cells of a crossbar.
        AUTO: any layer.
        ALWAYS: it computes every layer, whatever that takes.
        NEVER: no layer, nor products of two activations.
    """

    NONE = "none"
    DEPTHWISE = "depthwise"
    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class MappingObjective(StrEnum):
    """Which mapping of a layer is taken, of those that keep the bound on errors.

    Attributes:
        LATENCY: the fastest.
        ENERGY: that of the least energy, as far as it is specified.
        ENERGY_DELAY: that of the least product of both.
    """

    LATENCY = "latency"
    ENERGY = "energy"
    ENERGY_DELAY = "energy-delay"


class AllowedMappings(Section):
    """What the choice of mappings may use; by default everything that is exact."""

    encodings: tuple[Encoding, ...] = Field(
        default=tuple(Encoding), min_length=1, description="Encodings that the periphery of the crossbar can do."
    )
    window_positions: StrictInt = Field(
        default=MAX_LINES,
        ge=1,
        le=MAX_LINES,
        description="Output positions that one MVM may serve (shifted, duplicated kernels). 1: no windows.",
    )
    input_slices_per_mvm: StrictInt = Field(
        default=MAX_LINES,
        ge=1,
        le=MAX_LINES,
        description="Input slices that one MVM may take side by side, on rows of their own. 1: one after the other.",
    )
    groups_per_tile: StrictInt = Field(
        default=MAX_LINES,
        ge=1,
        le=MAX_LINES,
        description="Groups of a convolution or heads of attention that may share a tile, block-diagonally.",
    )
    splits: StrictBool = Field(
        default=True,
        description="Whether parts of one layer may be mapped differently (remainders of rows and columns).",
    )
    shared_writes: StrictBool = Field(
        default=True,
        description="Whether layers that follow each other may lie in one crossbar together and be written at once.",
    )

    @field_validator("encodings")
    @classmethod
    def _sort(cls, value: tuple[Encoding, ...]) -> tuple[Encoding, ...]:
        return tuple(encoding for encoding in Encoding if encoding in value)


class MappingRules(Section):
    """How weights are laid into cells."""

    encoding: Annotated[
        Encoding, WithJsonSchema({"enum": [encoding.value for encoding in PAPER_ENCODINGS], "type": "string"})
    ] = Field(
        description="How signed weights become conductances in the paper's mapping: two columns a weight, two rows a "
        "weight, or one column with a constant added and a correction column. The best mapping takes any of "
        "`mapping.allowed.encodings`."
    )
    allowed: AllowedMappings = Field(
        default_factory=AllowedMappings, description="What the choice of the best mapping may use."
    )
    digital_layers: DigitalLayers = Field(
        default=DigitalLayers.NONE,
        description="Which layers with weights the best mapping may leave to the digital unit, exactly, where that is "
        'faster: "none", "depthwise" convolutions, or any ("auto"); "always": it computes every layer; "never": no '
        'layer, nor products of two activations. "depthwise", "auto" and "always" need '
        "digital.operation_latency_us.",
    )
    always_digital: tuple[LayerName, ...] = Field(
        default=(),
        description="Names of layers that the digital unit computes, whatever digital_layers says and whatever it "
        "takes. Needs digital.operation_latency_us. A network without such a layer is an error.",
    )
    never_digital: tuple[LayerName, ...] = Field(
        default=(),
        description="Names of layers that lie in crossbars, whatever digital_layers says. A network without such a "
        "layer is an error.",
    )
    objective: MappingObjective = Field(
        default=MappingObjective.LATENCY,
        description="Which of all mappings of a layer is the best: that of the least time, energy, or product of both "
        '("latency", "energy", "energy-delay"), on one crossbar; energy is what the table [energy] specifies.',
    )
    max_error: Annotated[Ratio, *above_zero(MAX_RELATIVE_ERROR)] | Literal["auto", "none", "least"] = Field(
        default="auto",
        description="Error that cells and converters may cause at the output of a layer, RMS over the standard "
        'deviation of the exact output: the best mapping is the fastest within it. "none": the fastest of all. "auto": '
        "a default bound where cells or converters are not ideal. Where no mapping keeps it, one is taken whose error "
        'is worth its time. "least": one of about the least error, whatever time it takes.',
    )
    elapsed_s: Annotated[Seconds, *above_zero(MAX_SECONDS_ELAPSED)] | None = Field(
        default=None,
        description="Time since the write at which errors count that mapping.max_error bounds, s; left out: at once.",
    )

    @field_validator("encoding")
    @classmethod
    def _check_paper(cls, value: Encoding) -> Encoding:
        if value not in PAPER_ENCODINGS:
            raise ValueError(
                f"is {value.value!r}, which the paper's mapping lacks (it may stand in mapping.allowed.encodings)"
            )
        return value

    @model_validator(mode="after")
    def _check_encoding(self) -> MappingRules:
        if self.allows_paper or not set(PAPER_ENCODINGS) & set(self.allowed.encodings):
            return self
        raise ValueError(f"encoding is {self.encoding.value!r}, which mapping.allowed.encodings does not name")

    @model_validator(mode="after")
    def _check_pins(self) -> MappingRules:
        if twice := sorted({*self.always_digital} & {*self.never_digital}):
            raise ValueError(f"{twice[0]!r} stands in always_digital and in never_digital")
        return self

    @property
    def allows_paper(self) -> bool:
        """True where the encoding of the paper's mapping is allowed; false where only others are."""
        return self.encoding in self.allowed.encodings
