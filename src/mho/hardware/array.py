"""What cells and wires really are: conductances, how well they are written and read, how they age, what fails.

Everything is ideal where it is left out: levels lie evenly from no conductance at all, are written exactly and stay.
What follows from it for the results of an array is in `mho.array`.
"""

from __future__ import annotations

import itertools
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StrictInt, model_validator

from mho.hardware.converters import MAX_LINES
from mho.hardware.section import (
    ElectronVolts,
    Kelvins,
    Ohms,
    Ratio,
    Seconds,
    Section,
    Siemens,
    above,
    above_zero,
    from_zero,
)

MAX_SIEMENS = 1
MAX_RATIO = 100_000
MAX_DEVIATION = 10
"""Ten times the range, or ten times the conductance itself: no device is worse."""
MAX_OHMS = 1_000_000
MAX_SECONDS = 1_000_000
MAX_KELVINS = 2000
MAX_ELECTRON_VOLTS = 100
MAX_READS = 10**18
MAX_PULSES = 10_000

_INFINITE: Literal["infinite"] = "infinite"
_LINEAR: Literal["linear"] = "linear"
_NEVER: Literal["never"] = "never"

Deviation = Annotated[Ratio, *from_zero(MAX_DEVIATION)]
"""A standard deviation, as a part of something."""
Share = Annotated[Ratio, *from_zero(1)]
SegmentResistance = Annotated[Ohms, *from_zero(MAX_OHMS)]


class PartOf(StrEnum):
    """What a standard deviation is a part of.

    Attributes:
        RANGE: of the conductance range, highest less lowest level: the same for every cell.
        CONDUCTANCE: of the cell's own conductance.
    """

    RANGE = "range"
    CONDUCTANCE = "conductance"


class OffCurrent(StrEnum):
    """What happens to the current of the lowest level, which is not zero where the on/off ratio is finite.

    Attributes:
        SUBTRACTED: an ideal column of cells in the lowest level stands beside and its current is subtracted before
            conversion. Differential encodings need no such column: the lowest levels cancel.
        KEPT: it counts. Columns that are subtracted from each other before conversion still cancel it.
    """

    SUBTRACTED = "subtracted"
    KEPT = "kept"


class State(StrEnum):
    """An end of the conductance range.

    Attributes:
        LRS: low resistance, the highest level.
        HRS: high resistance, the lowest level.
    """

    LRS = "lrs"
    HRS = "hrs"


class DrivenEnds(StrEnum):
    """Which ends of wordlines are driven.

    Attributes:
        LEFT: the left end, before column 0; the right end is open.
        BOTH: both ends, with the same voltage.
    """

    LEFT = "left"
    BOTH = "both"


class Placement(StrEnum):
    """Which lines of a crossbar take the rows and columns of what is written.

    Attributes:
        AS_MAPPED: each its own.
        FAULT_AWARE: chosen by the stuck cells of the crossbar, which are known from a test, so that what they make of
            the digits hurts least. Tables in the periphery of each crossbar lead row drives and column sums there.
    """

    AS_MAPPED = "as-mapped"
    FAULT_AWARE = "fault-aware"


class Compensation(StrEnum):
    """What makes up for stuck cells.

    Attributes:
        NONE: nothing.
        DIGITS: other digits are written into good cells that count for the same weight.
    """

    NONE = "none"
    DIGITS = "digits"


class Array(Section):
    """What the cells and wires of a crossbar really are."""

    lrs_siemens: Annotated[Siemens, *above_zero(MAX_SIEMENS)] | None = Field(
        default=None, description="Conductance of the highest level, S. Only wires need it; the rest is relative."
    )
    on_off_ratio: Annotated[Ratio, *above(1, MAX_RATIO)] | Literal["infinite"] = Field(
        default=_INFINITE,
        description='Conductance of the highest level over that of the lowest, or "infinite": the lowest does not '
        "conduct.",
    )
    levels: tuple[Share, ...] | Literal["linear"] = Field(
        default=_LINEAR,
        description="Conductances of all levels, as parts of the range: from 0 (lowest) to 1 (highest), rising; "
        'or "linear": evenly spaced.',
    )
    off_current: OffCurrent = Field(
        default=OffCurrent.SUBTRACTED,
        description='Current of the lowest level: "subtracted" by an ideal reference column, or "kept".',
    )
    programming_error: Deviation | tuple[Deviation, ...] = Field(
        default=Decimal(0),
        description="Standard deviation of a Gaussian error of each cell that is written, left after program and "
        "verify and new with every write: one figure, or one a level. No conductance falls below zero.",
    )
    programming_error_of: PartOf = Field(
        default=PartOf.RANGE,
        description='What programming_error is a part of: the "range" of conductances, or the "conductance" of the '
        "level.",
    )
    pulse_error: Deviation = Field(
        default=Decimal(0),
        description="Standard deviation of the Gaussian error of the first programming pulse of a cell, a part of "
        "what programming_error is a part of. Pulses follow until one lands within verify_tolerance or verify_pulses "
        "are spent; programming_error is what comes on top after that. Where it is not 0, "
        "crossbar.write_latency_us, energy.cell_write_pj and endurance.cell_writes are those of one pulse.",
    )
    pulse_error_ratio: Annotated[Ratio, *from_zero(1)] = Field(
        default=Decimal(1), description="Error of each further pulse over that of the one before."
    )
    verify_tolerance: Deviation = Field(
        default=Decimal(0),
        description="How far a cell may be off to be left as it is, either way, as a part of the same. 0: all pulses "
        "are spent.",
    )
    verify_pulses: Annotated[StrictInt, Field(ge=1, le=MAX_PULSES)] = Field(
        default=1, description="Pulses that a write may take of a cell; the last one stays, wherever it lands."
    )
    cell_variation: Deviation = Field(
        default=Decimal(0),
        description="Cell-to-cell variation: standard deviation of the logarithm of a factor (log-normal, mean 1) that "
        "every cell has for good.",
    )
    stuck_on_rate: Share = Field(
        default=Decimal(0), description="Share of cells that stay in the highest level, whatever is written."
    )
    stuck_off_rate: Share = Field(
        default=Decimal(0), description="Share of cells that stay in the lowest level, whatever is written."
    )
    spare_cols: Annotated[StrictInt, Field(ge=0, le=MAX_LINES)] = Field(
        default=0,
        description="Columns that a crossbar has beside crossbar.cols, right of them. Mappings do not see them; "
        "fault-aware placement may use them instead of others.",
    )
    placement: Placement = Field(
        default=Placement.AS_MAPPED,
        description='Which lines take the rows and columns of what is written: "as-mapped", each its own, or '
        '"fault-aware", chosen by the stuck cells of the crossbar.',
    )
    fault_compensation: Compensation = Field(
        default=Compensation.NONE,
        description='What makes up for stuck cells: "none", or "digits" of good cells that count for the same weight, '
        "as far as they reach; this needs linear levels.",
    )
    read_noise: Deviation = Field(
        default=Decimal(0),
        description="Standard deviation of a Gaussian deviation of each cell, new at every read.",
    )
    read_noise_of: PartOf = Field(
        default=PartOf.CONDUCTANCE,
        description='What read_noise is a part of: the "range" of conductances, or the "conductance" of the cell.',
    )
    read_noise_averaging_s: Annotated[Seconds, *above_zero(MAX_SECONDS)] | None = Field(
        default=None,
        description="Time tau over which one read averages 1/f noise, s: read_noise is that at drift_reference_s and "
        "grows with the time t since the write as sqrt(ln((t + tau) / (2 tau))). Left out: it does not grow.",
    )
    drift_exponent: Annotated[Ratio, *from_zero(1)] = Field(
        default=Decimal(0), description="Mean exponent nu of drift, G(t) = G(t0) (t / t0)^-nu."
    )
    drift_exponent_std: Annotated[Ratio, *from_zero(1)] = Field(
        default=Decimal(0), description="Standard deviation of the exponent from cell to cell (Gaussian, not below 0)."
    )
    drift_reference_s: Annotated[Seconds, *above_zero(MAX_SECONDS)] = Field(
        default=Decimal(1), description="Time t0 after the write at which conductances are what was written, s."
    )
    drift_reference_k: Annotated[Kelvins, *above_zero(MAX_KELVINS)] = Field(
        default=Decimal(300), description="Temperature at which the exponent was measured, K."
    )
    drift_activation_ev: Annotated[ElectronVolts, *above_zero(MAX_ELECTRON_VOLTS)] | None = Field(
        default=None,
        description="Activation energy of drift, eV: at another temperature, time runs faster by Arrhenius' factor. "
        "Left out: drift does not depend on temperature.",
    )
    read_disturb_reads: Annotated[StrictInt, Field(ge=1, le=MAX_READS)] | Literal["never"] = Field(
        default=_NEVER,
        description="Reads after which a cell's distance to the state that reads push it to has shrunk to 1/e, or "
        '"never".',
    )
    read_disturb_towards: State = Field(
        default=State.LRS, description='State that reads push cells to: "lrs" (highest level) or "hrs" (lowest).'
    )
    row_segment_ohm: SegmentResistance = Field(
        default=Decimal(0), description="Resistance of a wordline from one cell to the next, ohm."
    )
    col_segment_ohm: SegmentResistance = Field(
        default=Decimal(0), description="Resistance of a bitline from one cell to the next, ohm."
    )
    driven_ends: DrivenEnds = Field(
        default=DrivenEnds.LEFT,
        description='Ends at which wordlines are driven: "left", or "both" with the same voltage. Columns are read at '
        "their lower ends.",
    )

    @model_validator(mode="after")
    def _check_levels(self) -> Array:
        if isinstance(self.levels, str):
            return self
        rises = all(low < high for low, high in itertools.pairwise(self.levels))
        if len(self.levels) < 2 or self.levels[0] != 0 or self.levels[-1] != 1 or not rises:
            raise ValueError("levels do not rise from 0 to 1")
        return self

    @model_validator(mode="after")
    def _check_compensation(self) -> Array:
        if self.fault_compensation is Compensation.DIGITS and not isinstance(self.levels, str):
            raise ValueError('fault_compensation = "digits" needs levels = "linear"')
        return self

    @model_validator(mode="after")
    def _check_rates(self) -> Array:
        if self.stuck_on_rate + self.stuck_off_rate > 1:
            raise ValueError("stuck_on_rate and stuck_off_rate are more than 1 together")
        return self

    @model_validator(mode="after")
    def _check_wires(self) -> Array:
        if self.has_wires and self.lrs_siemens is None:
            raise ValueError("row_segment_ohm and col_segment_ohm need lrs_siemens")
        return self

    @model_validator(mode="after")
    def _check_averaging(self) -> Array:
        if self.read_noise_averaging_s is not None and self.read_noise_averaging_s >= self.drift_reference_s:
            raise ValueError(
                f"read_noise_averaging_s is {self.read_noise_averaging_s}, not below drift_reference_s "
                f"({self.drift_reference_s}), at which read_noise is known"
            )
        return self

    def check_cell_bits(self, cell_bits: int) -> None:
        """Check that values given by level are as many as the levels.

        Raises:
            ValueError: there are more or fewer values than levels.
        """
        levels = 1 << cell_bits
        for name in ("levels", "programming_error"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != levels:
                raise ValueError(f"array.{name} has {len(value)} levels, but cells of {cell_bits} bits have {levels}")

    @property
    def has_wires(self) -> bool:
        """True where wires have a resistance."""
        return bool(self.row_segment_ohm or self.col_segment_ohm)

    @property
    def has_programming_error(self) -> bool:
        """True where what is written differs from what was meant."""
        error = self.programming_error
        return bool(self.pulse_error) or (any(error) if isinstance(error, tuple) else bool(error))

    @property
    def has_stuck_cells(self) -> bool:
        """True where some cells do not take what is written."""
        return bool(self.stuck_on_rate or self.stuck_off_rate)

    @property
    def gets_around_stuck_cells(self) -> bool:
        """True where what is written, or where, depends on stuck cells."""
        is_aware = self.placement is Placement.FAULT_AWARE or self.fault_compensation is Compensation.DIGITS
        return self.has_stuck_cells and is_aware

    @property
    def drifts(self) -> bool:
        """True where conductances change with time."""
        return bool(self.drift_exponent or self.drift_exponent_std)

    @property
    def has_growing_noise(self) -> bool:
        """True where read noise grows with the time since the write."""
        return bool(self.read_noise) and self.read_noise_averaging_s is not None
