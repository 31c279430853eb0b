"""What a chip answers, beside what exact integers answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.array.conductances import Conditions
from mho.hardware.spec import Accelerator
from mho.program.program import Program
from mho.simulation.adc_ranges import AdcRanges
from mho.simulation.analog import DEFAULT_BATCH, AnalogExecutor
from mho.simulation.channel_corrections import ChannelCorrections
from mho.simulation.chip_origin import ChipOrigin

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Difference:
    """How an output of a chip differs from that of exact integers.

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


def run_on_chip(
    program: Program,
    seed: int,
    inputs: Mapping[str, Any] | NDArray[Any],
    *,
    hardware: Accelerator | None = None,
    conditions: Conditions | None = None,
    ranges: AdcRanges | None = None,
    corrections: ChannelCorrections | None = None,
    transferred: bool = False,
    batch_size: int | None = None,
) -> Outputs:
    """Run a program on the chip that a seed gives; return float32 outputs [N, ...] by name.

    Args:
        program, seed, inputs: as for `mho.simulation.analog.AnalogExecutor`.
        hardware: cells, wires and converters; None: those that the program was compiled for.
        conditions: when and how cells are read; None: at once.
        ranges: of calibrated ADCs; they also say what codes are spread over.
        corrections: of channels; None: constants are those of the program.
        transferred: whether ranges and corrections of another chip, other cells or another age are meant.
        batch_size: samples at once; None: 16.

    Raises:
        MhoError: as `AnalogExecutor`; or ranges or corrections are those of another program or, where they are not
            `transferred`, of another chip.
    """
    executor = write_chip(
        program,
        seed,
        hardware=hardware,
        conditions=conditions,
        ranges=ranges,
        corrections=corrections,
        transferred=transferred,
    )
    return executor.run(inputs, DEFAULT_BATCH if batch_size is None else batch_size)


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
    """Write a program into the chip that a seed gives. Arguments and errors are those of `run_on_chip`."""
    hardware = program.accelerator if hardware is None else hardware
    if ranges is not None:
        hardware = ranges.fit(program, seed, hardware, conditions, transferred=transferred)
    if corrections is not None:
        here = ChipOrigin.of(program, seed, hardware, conditions, None if ranges is None else ranges.digest)
        corrections.origin.check(here, "corrections", where=hardware.name, transferred=transferred)
        program = corrections.correct(program)
    layers = None if ranges is None else ranges.layers
    return AnalogExecutor(program, seed, hardware=hardware, conditions=conditions, ranges=layers)
