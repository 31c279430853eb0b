"""One sampled chip: a program is written into it, calibrated and corrected where that is wanted, and run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mho.array.calibration import RangeRule
from mho.array.conductances import Conditions
from mho.evaluation.samples import Inputs
from mho.hardware.spec import Accelerator
from mho.program.program import Program

if TYPE_CHECKING:
    from mho.simulation.adc_ranges import AdcRanges
    from mho.simulation.analog import AnalogExecutor
    from mho.simulation.channel_corrections import ChannelCorrections

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Difference:
    """How an output of a chip differs from that of the integer reference.

    Attributes:
        samples: how many there are.
        others: samples whose largest element is another one.
        deviation: root of the mean squared difference, as a share of that of the exact output; 0 where both are equal,
            infinite where the exact output is 0 and the other is not.
    """

    samples: int
    others: int
    deviation: float

    @classmethod
    def of(cls, found: NDArray[np.floating], exact: NDArray[np.floating]) -> Difference:
        """Compare outputs [N, ...] of one shape."""
        if not found.size:
            return cls(len(found), 0, 0.0)
        one, other = (array.reshape(len(array), -1).astype(np.float64) for array in (found, exact))
        gap, size = (float(np.sqrt(np.square(values).mean())) for values in (one - other, other))
        deviation = gap / size if size else (np.inf if gap else 0.0)
        return cls(len(one), int((one.argmax(axis=1) != other.argmax(axis=1)).sum()), float(deviation))

    @property
    def share(self) -> float:
        """Share of samples whose largest element is another one, 0..1."""
        return self.others / self.samples if self.samples else 0.0


def write_chip(
    program: Program,
    seed: int,
    *,
    hardware: Accelerator | None = None,
    conditions: Conditions | None = None,
    ranges: AdcRanges | None = None,
    corrections: ChannelCorrections | None = None,
    transferred: bool = False,
) -> AnalogExecutor:
    """Return the executor of a program on the chip of a seed.

    Args:
        program, seed: as for `mho.simulation.analog.AnalogExecutor`.
        hardware: cells, wires and converters; None: those that the program was compiled for.
        conditions: when and how cells are read; None: at once.
        ranges: of calibrated ADCs; they also say which ADCs share a range.
        corrections: of channels; None: constants are those of the program.
        transferred: accept ranges and corrections of another chip, other cells or another age.

    Raises:
        MhoError: as `AnalogExecutor`; or ranges or corrections are those of another program or, where they are not
            `transferred`, of another chip.
    """
    from mho.simulation.analog import AnalogExecutor
    from mho.simulation.chip_origin import ChipOrigin

    hardware = program.accelerator if hardware is None else hardware
    if ranges is not None:
        hardware = ranges.fit(program, seed, hardware, conditions, transferred=transferred)
    if corrections is not None:
        here = ChipOrigin.of(program, seed, hardware, conditions, None if ranges is None else ranges.digest)
        corrections.origin.check(here, "corrections", where=hardware.name, transferred=transferred)
        program = corrections.correct(program)
    layers = None if ranges is None else ranges.layers
    return AnalogExecutor(program, seed, hardware=hardware, conditions=conditions, ranges=layers)


@dataclass(frozen=True, eq=False)
class ChipPreparation:
    """How a chip is prepared before it is evaluated.

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


def run_prepared_chip(
    program: Program,
    seed: int,
    inputs: Inputs,
    *,
    hardware: Accelerator | None = None,
    conditions: Conditions | None = None,
    preparation: ChipPreparation | None = None,
    batch_size: int | None = None,
) -> Outputs:
    """Write a program into the chip of a seed, prepare the chip, and run it; return float32 outputs [N, ...] by name.

    Args:
        program, seed, hardware, conditions: as for `write_chip`.
        inputs: as for `mho.simulation.analog.AnalogExecutor.run`.
        preparation: ADCs are calibrated where the hardware has calibrated ones, channels corrected where it says so.
            None: neither, and hardware with calibrated ADCs is refused.
        batch_size: samples at once; None: `mho.simulation.analog.DEFAULT_BATCH`.

    Raises:
        MhoError: the chip cannot run the program, or inputs do not suit it.
    """
    from mho.simulation.adc_ranges import calibrate_adcs
    from mho.simulation.analog import DEFAULT_BATCH
    from mho.simulation.recalibration import recalibrate

    batch_size = DEFAULT_BATCH if batch_size is None else batch_size
    hardware = program.accelerator if hardware is None else hardware
    ranges, corrections, is_earlier = None, None, False
    if preparation is not None:
        is_earlier = not preparation.calibrates_when_reading
        if hardware.converters.has_calibrated_adc:
            ranges = calibrate_adcs(
                program, seed, preparation.inputs, hardware=hardware, rule=preparation.rule,
                conditions=None if is_earlier else conditions, batch_size=batch_size,
            )  # fmt: skip
        if preparation.recalibrates:
            corrections = recalibrate(
                program, seed, preparation.inputs, hardware=hardware, conditions=conditions, ranges=ranges,
                transferred=is_earlier, batch_size=batch_size,
            )  # fmt: skip
    executor = write_chip(
        program, seed, hardware=hardware, conditions=conditions, ranges=ranges, corrections=corrections,
        transferred=is_earlier,
    )  # fmt: skip
    return executor.run(inputs, batch_size)
