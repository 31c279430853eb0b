"""What is done to a chip before it is asked: ADCs are calibrated and channels corrected, on data of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from mho.array.calibration import RangeRule
from mho.array.conductances import Conditions
from mho.hardware.spec import Accelerator
from mho.program.program import Program
from mho.simulation.adc_ranges import calibrate_adcs
from mho.simulation.analog import DEFAULT_BATCH
from mho.simulation.chip_answers import Outputs, run_on_chip
from mho.simulation.recalibration import recalibrate

Inputs = Mapping[str, NDArray[Any]] | NDArray[Any]


@dataclass(frozen=True, eq=False)
class ChipCare:
    """How chips are prepared.

    Attributes:
        inputs: on which ranges and corrections are found, as for `mho.simulation.analog.AnalogExecutor.run`.
        rule: how ranges of ADCs follow from sums.
        calibrates_when_reading: whether ranges are found under the conditions of the reads, or at once after the write.
        recalibrates: whether channels are corrected, under the conditions of the reads.
    """

    inputs: Inputs
    rule: RangeRule = field(default_factory=RangeRule)
    calibrates_when_reading: bool = True
    recalibrates: bool = False


def ask_chip(
    program: Program,
    seed: int,
    inputs: Inputs,
    *,
    hardware: Accelerator | None = None,
    conditions: Conditions | None = None,
    care: ChipCare | None = None,
    batch_size: int = DEFAULT_BATCH,
) -> Outputs:
    """Write a program into the chip of a seed, prepare it as far as it needs that, and ask it.

    Args:
        program, seed, inputs, hardware, conditions, batch_size: as for `mho.simulation.chip_answers.run_on_chip`.
        care: ADCs are calibrated where the hardware has such, channels recalibrated where it says so. None: nothing is
            done, and hardware with calibrated ADCs is refused.

    Returns:
        float32 outputs [N, ...] by name.

    Raises:
        MhoError: the chip cannot run the program, or inputs do not suit it.
    """
    hardware = program.accelerator if hardware is None else hardware
    ranges, corrections = None, None
    if care is not None and hardware.converters.has_calibrated_adc:
        ranges = calibrate_adcs(
            program,
            seed,
            care.inputs,
            hardware=hardware,
            rule=care.rule,
            conditions=conditions if care.calibrates_when_reading else None,
            batch_size=batch_size,
        )
    is_earlier = care is not None and not care.calibrates_when_reading
    if care is not None and care.recalibrates:
        corrections = recalibrate(
            program,
            seed,
            care.inputs,
            hardware=hardware,
            conditions=conditions,
            ranges=ranges,
            transferred=is_earlier,
            batch_size=batch_size,
        )
    return run_on_chip(
        program,
        seed,
        inputs,
        hardware=hardware,
        conditions=conditions,
        ranges=ranges,
        corrections=corrections,
        transferred=is_earlier,
        batch_size=batch_size,
    )
