"""What a chip takes of energy, area and endurance: unit values that an accelerator may specify.

A key that is left out is unspecified: `mho.cost` lists what it would count, and never takes it as zero.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, StrictInt, model_validator

from mho.hardware.section import (
    Microwatts,
    Picojoules,
    Section,
    SquareMicrometres,
    Volts,
    above_zero,
    from_zero,
    to_steps,
)

MAX_PICOJOULES = 1_000_000_000
"""One millijoule: reading a whole crossbar once takes less."""
MAX_MICROWATTS = 1_000_000_000
MAX_SQUARE_MICROMETRES = 1_000_000_000
MAX_SUPPLY_VOLTS = 100
MAX_CELL_WRITES = 10**18


UnitEnergy = Annotated[Picojoules, *from_zero(MAX_PICOJOULES)] | None
Leakage = Annotated[Microwatts, *from_zero(MAX_MICROWATTS)] | None
UnitArea = Annotated[SquareMicrometres, *from_zero(MAX_SQUARE_MICROMETRES)] | None


class _UnitValues(Section):
    """Values that may be left out."""

    @property
    def is_specified(self) -> bool:
        """True where any value is given."""
        return any(getattr(self, name) is not None for name in type(self).model_fields)


class Energy(_UnitValues):
    """What each thing that a chip does takes, pJ, and what it loses while it is on, uW."""

    mvm_pj: UnitEnergy = Field(
        default=None, description="One MVM of one crossbar with one input slice, pJ, however many cells are in use."
    )
    cell_read_pj: UnitEnergy = Field(
        default=None,
        description="One cell in an MVM, pJ, where its row is driven and its column is read, whatever it holds. "
        "Added to mvm_pj where both are specified.",
    )
    adc_pj: UnitEnergy = Field(default=None, description="One conversion of one column, pJ.")
    adc_pj_per_bit: UnitEnergy = Field(
        default=None,
        description="Instead of adc_pj: one conversion, pJ for each bit of converters.adc_bits (of an ideal ADC: for "
        "each bit that the largest column sum needs).",
    )
    adc_supply_v: Annotated[Volts, *above_zero(MAX_SUPPLY_VOLTS)] | None = Field(
        default=None,
        description="Instead of adc_pj: supply voltage V of the ADCs, V; one conversion with b bits then takes "
        "(100 b + 0.001 4^b) V^2 fJ, the formula of ZigZag-IMC.",
    )
    dac_pj: UnitEnergy = Field(default=None, description="One row that is driven with one input slice, pJ.")
    cell_write_pj: UnitEnergy = Field(
        default=None,
        description="Writing one cell, pJ, with all program-and-verify steps; one pulse with its verification where "
        "array.pulse_error is not 0.",
    )
    operation_pj: UnitEnergy = Field(default=None, description="One addition or multiply-add of the digital unit, pJ.")
    float_multiply_pj: UnitEnergy = Field(
        default=None, description="One multiplication of the digital unit between layers in float32, pJ."
    )
    float_add_pj: UnitEnergy = Field(
        default=None, description="One addition or comparison of the digital unit between layers in float32, pJ."
    )
    integer_multiply_pj: UnitEnergy = Field(
        default=None, description="One multiplication of the digital unit between layers by 32-bit integers, pJ."
    )
    integer_add_pj: UnitEnergy = Field(
        default=None, description="One addition or comparison of the digital unit between layers of integers, pJ."
    )
    buffer_pj_per_byte: UnitEnergy = Field(
        default=None, description="Reading or writing one byte of a core's buffers, pJ."
    )
    hop_pj_per_byte: UnitEnergy = Field(
        default=None, description="Carrying one byte over one hop of the interconnect (over the bus), pJ."
    )
    memory_pj_per_byte: UnitEnergy = Field(
        default=None, description="Bringing one byte from or to the outside of the chip, pJ."
    )
    crossbar_leakage_uw: Leakage = Field(
        default=None, description="Power that one crossbar with its converters takes all the time, uW."
    )
    core_leakage_uw: Leakage = Field(
        default=None, description="Power that one core takes all the time, uW, beside its crossbars."
    )

    @model_validator(mode="after")
    def _check_adc(self) -> Energy:
        given = [name for name in ("adc_pj", "adc_pj_per_bit", "adc_supply_v") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} say the energy of a conversion twice; give one of them")
        return self

    def conversion_aj(self, bits: int) -> int | None:
        """Return the energy of one conversion with so many bits, whole attojoules; None where it is unspecified.

        Source of the formula by supply voltage: ZigZag-IMC, (100 b + 0.001 4^b) V^2 fJ for b bits.
        """
        if self.adc_pj_per_bit is not None:
            return bits * to_steps(self.adc_pj_per_bit, 6)
        if self.adc_supply_v is not None:
            return round((100_000 * bits + Decimal(4**bits)) * self.adc_supply_v**2)
        return None if self.adc_pj is None else to_steps(self.adc_pj, 6)


class Area(_UnitValues):
    """What each thing on a chip takes of its surface, um2."""

    crossbar_um2: UnitArea = Field(
        default=None, description="The cells of one crossbar, um2, without those of array.spare_cols."
    )
    adc_um2: UnitArea = Field(
        default=None,
        description="One ADC, um2; a crossbar has one for every converters.columns_per_adc columns, two at least "
        "where their difference is converted.",
    )
    dac_um2: UnitArea = Field(default=None, description="One DAC, um2; a crossbar has one a row.")
    digital_um2: UnitArea = Field(default=None, description="The digital unit of one core with its control, um2.")
    buffers_um2: UnitArea = Field(default=None, description="All buffers of one core, um2.")
    router_um2: UnitArea = Field(
        default=None, description="What connects one core to the others and its crossbars to its buffers, um2."
    )
    outside_um2: UnitArea = Field(
        default=None, description="What stands once on a chip, such as links to the outside, um2."
    )


class Endurance(Section):
    """How long cells live."""

    cell_writes: Annotated[StrictInt, Field(ge=1, le=MAX_CELL_WRITES)] | None = Field(
        default=None,
        description="Writes (with all their program-and-verify steps) that a cell survives; pulses where "
        "array.pulse_error is not 0.",
    )
