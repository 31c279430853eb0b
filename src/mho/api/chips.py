"""Chips that are not ideal: estimated, calibrated and corrected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mho.api.arguments import (
    Hardware,
    MappingName,
    PlacementName,
    as_conditions,
    as_inputs,
    as_labelled,
    as_program,
    as_ranges,
    check_number,
    chip_hardware,
)
from mho.argument_checks import check_arguments
from mho.hardware.loading import as_accelerator
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.network.graph import Network

if TYPE_CHECKING:
    from mho.api.arguments import Inputs, Samples
    from mho.array.conductances import Conditions
    from mho.evaluation.estimate import AccuracyEstimate
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


@check_arguments()
def estimate(
    network: Network,
    accelerator: Hardware,
    samples: Samples,
    *,
    mapping: MappingName = DEFAULT_MODEL,
    conditions: Conditions | None = None,
    calibration: Inputs | str | Path | None = None,
    chips: int = 0,
    seed: int = 0,
) -> AccuracyEstimate:
    """Estimate the accuracy of a quantized network on chips of an accelerator, by the statistical model of its arrays.

    Args:
        network: quantized, with one input; its integers and widths count.
        accelerator: the hardware, or a preset's name or TOML file.
        samples: inputs, as for `simulate`, and their labels, integers [N], a DataLoader of both, or an .npz file, the
            labels by the name "labels".
        mapping: "best", any exact mapping, or "paper", that of arXiv 2601.21737.
        conditions: when and how cells are read; None: at once.
        calibration: other inputs, on which errors of converters are measured and ADCs find their ranges; None: samples.
        chips: how many are simulated beside the estimate.
        seed: of the random numbers.

    Raises:
        MhoError: the network is in float or cannot be mapped, samples do not suit it, or the model leaves out something
            that the hardware has.
    """
    from mho.array.conductances import Conditions
    from mho.evaluation.estimate import estimate_accuracy, only_input
    from mho.evaluation.samples import read_inputs

    check_number("chips", chips, 0, where="mho.estimate")
    check_number("seed", seed, 0, where="mho.estimate")
    seen = None
    if calibration is not None:
        found = read_inputs(calibration) if isinstance(calibration, (str, Path)) else as_inputs(calibration)
        seen = only_input(found, where="calibration")
    return estimate_accuracy(
        network,
        as_accelerator(accelerator),
        as_labelled(samples),
        calibration=seen,
        mapping=MappingModel(mapping),
        conditions=as_conditions(conditions) or Conditions(),
        chips=chips,
        seed=seed,
    )
