"""What stands between digital numbers and the array: DACs and ADCs."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StrictInt, model_validator

from mho.hardware.section import Microseconds, Ratio, Section, from_zero, to_steps, within

MAX_LINES = 65536
MAX_DAC_BITS = 8
MAX_ADC_BITS = 16
MAX_LATENCY_US = 1_000_000
"""One second: no real crossbar is slower."""
MAX_ERROR_LSB = 1000

_IDEAL: Literal["ideal"] = "ideal"


class AdcRange(StrEnum):
    """What the codes of an ADC are spread over.

    Attributes:
        FULL_SCALE: every sum that rows, cells and DACs can give.
        CALIBRATED_LAYER: what occurs in data, one range for all columns of a layer.
        CALIBRATED_SLICES: what occurs in data, one range for each weight slice of a layer: the columns whose sums count
            equally much. An ADC that serves several of them switches its range between conversions.
        CALIBRATED_COLUMNS: what occurs in data, one range for the columns of each ADC.

    What calibrated ranges leave out or resolve too coarsely is lost: programs may have sums that they do not resolve.
    """

    FULL_SCALE = "full-scale"
    CALIBRATED_LAYER = "calibrated-layer"
    CALIBRATED_SLICES = "calibrated-slices"
    CALIBRATED_COLUMNS = "calibrated-columns"


class ColumnDifference(StrEnum):
    """Where the two columns of differential columns are subtracted.

    Attributes:
        DIGITAL: each column is converted; the digital unit subtracts.
        ANALOG: the currents are subtracted, and the difference is converted once, with a sign. The two columns share
            an ADC.
    """

    DIGITAL = "digital"
    ANALOG = "analog"


class ConversionTime(StrEnum):
    """What an accelerator specifies of the time of conversions.

    Attributes:
        SPECIFIED: a time for each bit, on top of the MVM's.
        WITHIN_MVM: the MVM's latency holds it, as a source says.
        UNSPECIFIED: nothing. Conversions take no time of their own, an assumption.
    """

    SPECIFIED = "specified"
    WITHIN_MVM = "within-mvm"
    UNSPECIFIED = "unspecified"


class Converters(Section):
    """What stands between digital numbers and the array."""

    dac_bits: StrictInt = Field(
        ge=1,
        le=MAX_DAC_BITS,
        description="Bits of an input that one MVM takes. A wider input is fed in several slices.",
    )
    dac_latency_us_per_step: Microseconds = Field(
        default=Decimal(0),
        ge=0,
        le=MAX_LATENCY_US,
        json_schema_extra={"minimum": 0, "maximum": MAX_LATENCY_US},
        description="Time of one step of a pulse-width DAC, whose longest pulse has 2^dac_bits - 1 of them, us, on top "
        "of crossbar.mvm_latency_us. 0: inputs are voltages, or their pulses are counted in mvm_latency_us.",
    )
    adc_bits: Annotated[StrictInt, Field(ge=1, le=MAX_ADC_BITS)] | Literal["ideal"] = Field(
        description='Resolution with which a column sum is read, or "ideal": every sum is read exactly. '
        "An ideal ADC is an assumption, not a device: 256 rows of 4-bit cells need 12 bits, and time and energy by the "
        "bit count that many.",
    )
    columns_per_adc: StrictInt = Field(
        default=1,
        ge=1,
        le=MAX_LINES,
        description="Columns that share one ADC, which converts them one after the other. Columns in use are taken to "
        "be spread evenly over the ADCs.",
    )
    adc_latency_us_per_bit: Microseconds = Field(
        default=Decimal(0),
        ge=0,
        le=MAX_LATENCY_US,
        json_schema_extra={"minimum": 0, "maximum": MAX_LATENCY_US},
        description="Time that one conversion takes for each bit of adc_bits (successive approximation; of an ideal "
        "ADC: for each bit that the largest column sum needs), us, on top of crossbar.mvm_latency_us. 0: conversion is "
        "counted in mvm_latency_us, which a source given for this key confirms, or it takes no time of its own.",
    )

    column_difference: ColumnDifference = Field(
        default=ColumnDifference.DIGITAL,
        description='Where the two columns of differential columns are subtracted: "digital", after each is converted; '
        '"analog", before one conversion of the difference, by an ADC that serves both columns at least.',
    )
    adc_range: AdcRange = Field(
        default=AdcRange.FULL_SCALE,
        description='What the codes of adc_bits are spread over: "full-scale", every sum that can occur; '
        '"calibrated-layer", "calibrated-slices" or "calibrated-columns", what occurs in data, in a whole layer, in '
        "each of its weight slices (columns that count equally much) or in the columns of each ADC.",
    )
    adc_offset_lsb: Annotated[Ratio, *from_zero(MAX_ERROR_LSB)] = Field(
        default=Decimal(0),
        description="Standard deviation of the offset of each ADC, in steps of its codes (Gaussian, for good).",
    )
    adc_gain_error: Annotated[Ratio, *from_zero(1)] = Field(
        default=Decimal(0),
        description="Standard deviation of the relative gain error of each ADC (Gaussian, for good).",
    )
    dac_inl_lsb: Annotated[Ratio, *within(MAX_ERROR_LSB)] = Field(
        default=Decimal(0),
        description="Integral non-linearity of the DACs: how far the middle of the range is above the straight line "
        "between its ends, in steps of dac_bits. A DAC of one bit has none.",
    )

    @model_validator(mode="after")
    def _check_adc_errors(self) -> Converters:
        if self.has_ideal_adc and self.has_adc_errors:
            raise ValueError('adc_offset_lsb and adc_gain_error need adc_bits as a number; "ideal" has no errors')
        return self

    @model_validator(mode="after")
    def _check_dac(self) -> Converters:
        if 4 * abs(self.dac_inl_lsb) > (1 << self.dac_bits) - 1:
            raise ValueError("dac_inl_lsb is so large that a larger input drives less; at most a quarter of the range")
        return self

    @property
    def drive_latency_us(self) -> Decimal:
        """Time of the longest pulse of a pulse-width DAC beyond what the MVM's latency holds, us."""
        return self.dac_latency_us_per_step * ((1 << self.dac_bits) - 1)

    @property
    def adc_latency_ps_per_bit(self) -> int:
        """Time of one bit of a conversion beyond what the MVM's latency holds, ps."""
        return to_steps(self.adc_latency_us_per_bit, 6)

    @property
    def has_ideal_adc(self) -> bool:
        """True where every column sum is read exactly."""
        return self.adc_bits == _IDEAL

    @property
    def has_adc_errors(self) -> bool:
        """True where ADCs have offsets or gain errors."""
        return bool(self.adc_offset_lsb or self.adc_gain_error)

    @property
    def has_linear_dac(self) -> bool:
        """True where a code drives exactly that many DAC steps."""
        return self.dac_bits == 1 or not self.dac_inl_lsb

    @property
    def has_calibrated_adc(self) -> bool:
        """True where codes are spread over what occurs in data, whatever else can occur."""
        return not self.has_ideal_adc and self.adc_range is not AdcRange.FULL_SCALE

    @property
    def columns_sharing_adc(self) -> int:
        """Columns that share one ADC: two at least where their difference is converted."""
        return max(self.columns_per_adc, 2 if self.column_difference is ColumnDifference.ANALOG else 1)

    def count_adcs(self, cols: int) -> int:
        """Return the ADCs of a crossbar of `cols` columns."""
        return -(-cols // self.columns_sharing_adc)
