"""What a run's programs answer on chips: cells, wires and converters are those that the accelerator tells.

The chips are those that `mho simulate --seed` simulates: seeds 1, 2 and so on. Ranges of calibrated ADCs are found on
each chip, from calibration images, as `mho calibrate` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.data.dataset import Split
from mho.report.result import ChipAnswers
from mho.workflow.array_judge import images_for_ranges
from mho.workflow.checks import judge_logits

if TYPE_CHECKING:
    from mho.program.program import Program

Images = NDArray[np.float32]


def ask_chips(
    files: Mapping[str, Path], chips: int, test: Split, calibration: Split, report: Callable[[float, str], None]
) -> dict[str, Any]:
    """Return what programs get right on chips: the number of images, and for each program accuracies by seed.

    Args:
        files: programs, by name.
        chips: how many, 1 or more.
        test: what they are asked.
        calibration: what ranges follow from.
        report: told of the share that is done, 0..1, and of what is being done.

    Raises:
        MhoError: a program does what chips do not.
    """
    from mho.program.container import read_program

    inputs, seen = test.inputs(slice(None)), images_for_ranges(calibration)
    found: dict[str, Any] = {"images": len(test)}
    for number, (name, path) in enumerate(files.items()):
        program = read_program(path)
        accuracies = []
        for seed in range(1, chips + 1):
            report((number + (seed - 1) / chips) / len(files), f"chip {seed}, {path.name}")
            logits = _ask(program, seed, inputs, seen)
            accuracies.append(float(judge_logits(logits, test.labels)["accuracy"]))
        found[name] = accuracies
    return found


def _ask(program: Program, seed: int, inputs: Images, seen: Images) -> NDArray[np.float32]:
    from mho.simulation.adc_ranges import calibrate_adcs
    from mho.simulation.chip_answers import run_on_chip

    ranges = None
    if (hardware := program.accelerator).converters.has_calibrated_adc:
        ranges = calibrate_adcs(program, seed, seen, hardware=hardware)
    (logits,) = run_on_chip(program, seed, inputs, ranges=ranges).values()
    return logits


def tell_chips(answers: Sequence[ChipAnswers]) -> str:
    """Tell in a sentence what programs answer on chips; there is one program or more."""
    count = len(answers[0].accuracies)
    words = ", ".join(f"{one.label} {_tell_spread(one)}" for one in answers)
    return (
        f"On {count} {'chip' if count == 1 else 'chips'}, whose cells, wires and converters are what the accelerator"
        f" tells, with {answers[0].images} test images: {words}."
    )


def _tell_spread(one: ChipAnswers) -> str:
    """Return mean, least and most accuracy in percent."""
    least, most = 100 * min(one.accuracies), 100 * max(one.accuracies)
    return f"{100 * one.mean:.2f} %" + ("" if len(one.accuracies) == 1 else f" ({least:.2f} to {most:.2f})")
