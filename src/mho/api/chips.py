"""Chips that are not ideal: calibrated and corrected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mho.api.arguments import (
    Hardware,
    PlacementName,
    as_conditions,
    as_inputs,
    as_program,
    as_ranges,
    check_number,
    chip_hardware,
)
from mho.argument_checks import check_arguments

if TYPE_CHECKING:
    from mho.api.arguments import Inputs
    from mho.array.conductances import Conditions
    from mho.program.program import Program
    from mho.simulation.adc_ranges import AdcRanges
    from mho.simulation.channel_corrections import ChannelCorrections

RangeMethodName = Literal["extremes", "percentile", "mse"]


@check_arguments()
def calibrate(
    program: Program | str | Path,
    inputs: Inputs,
    *,
    seed: int,
    hardware: Hardware | None = None,
    method: RangeMethodName = "mse",
    share: float = 0.9999,
    per: Literal["layer", "slice", "adc"] | None = None,
    conditions: Conditions | None = None,
    placement: PlacementName | None = None,
) -> AdcRanges:
    """Find the ranges of a chip's ADCs from the column sums that occur in data; `mho.save` writes them.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: calibration data, as for `simulate`; a few hundred real samples.
        seed: of the chip.
        hardware: of the chip, with `converters.adc_bits` as a number; None: what the program was compiled for.
        method: "extremes" (all that occurs), "percentile" (`share` of it) or "mse" (the part of the extremes with the
            least mean squared error).
        share: of the sums that is kept, for "percentile".
        per: what shares a range: "layer", all columns of a layer, "slice", those of each of its weight slices, or
            "adc", those of each ADC; None: what the hardware says.
        conditions: when and how warm its cells are read.
        placement: as for `simulate`.

    Raises:
        ConfigError: ADCs are ideal, nothing says what shares a range, or the hardware does not fit the program.
        DataError: inputs do not fit, or there are none.
    """
    from mho.array.calibration import RangeMethod, RangeRule
    from mho.hardware.converters import AdcRange
    from mho.simulation.adc_ranges import calibrate_adcs

    kinds = {
        None: None,
        "layer": AdcRange.CALIBRATED_LAYER,
        "slice": AdcRange.CALIBRATED_SLICES,
        "adc": AdcRange.CALIBRATED_COLUMNS,
    }
    program = as_program(program)
    return calibrate_adcs(
        program,
        seed,
        as_inputs(inputs),
        hardware=chip_hardware(program, hardware, placement),
        adc_range=kinds[per],
        rule=RangeRule(RangeMethod(method), share),
        conditions=as_conditions(conditions),
    )


@check_arguments()
def recalibrate(
    program: Program | str | Path,
    inputs: Inputs,
    *,
    seed: int,
    hardware: Hardware | None = None,
    conditions: Conditions | None = None,
    ranges: AdcRanges | str | Path | None = None,
    placement: PlacementName | None = None,
    transferred: bool = False,
    batch_size: int | None = None,
) -> ChannelCorrections:
    """Find the scale and the bias of each channel that put right what a chip's cells do to it; `mho.save` writes them.

    The chip runs the inputs layer by layer, with exact integers beside it; each channel gets their mean and standard
    deviation.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: calibration data, as for `simulate`; some dozens of real samples, without labels.
        seed: of the chip.
        hardware: of the chip; None: what the program was compiled for.
        conditions: when and how warm its cells are read.
        ranges: of calibrated ADCs, as `mho.calibrate` finds them for the same chip, or their file.
        placement: as for `simulate`.
        transferred: take ranges although they were found on another chip, for other cells or at another age.
        batch_size: samples on the chip at once; changes corrections only where reads are noisy.

    Raises:
        DataError: inputs do not fit.
        InputFileError, ProgramError: a file is not a sound program, or no ranges.
        ConfigError: hardware, conditions or ranges do not fit the program; ranges were found elsewhere.
    """
    from mho.simulation.recalibration import recalibrate as find

    program = as_program(program)
    check_number("batch_size", batch_size, 1, where="mho.recalibrate")
    return find(
        program,
        seed,
        as_inputs(inputs),
        hardware=chip_hardware(program, hardware, placement),
        conditions=as_conditions(conditions),
        ranges=as_ranges(ranges),
        transferred=transferred,
        batch_size=batch_size,
    )
