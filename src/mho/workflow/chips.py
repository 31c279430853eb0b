"""What a run's programs answer on chips: cells, wires and converters are those that the accelerator tells.

The chips are those that `mho simulate --seed` simulates: seeds 1, 2 and so on. Ranges of calibrated ADCs are found on
each chip, from calibration images, as `mho calibrate` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mho.data.dataset import Split
from mho.workflow.checks import judge_logits

if TYPE_CHECKING:
    from mho.program.program import Program

CALIBRATION_IMAGES = 100
"""Images that ranges of ADCs follow from, spread over the calibration split; all where it has fewer."""


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

    seen = calibration.spread(min(CALIBRATION_IMAGES, len(calibration)))
    found: dict[str, Any] = {"images": len(test)}
    for number, (name, path) in enumerate(files.items()):
        program = read_program(path)
        accuracies = []
        for seed in range(1, chips + 1):
            report((number + (seed - 1) / chips) / len(files), f"chip {seed}, {path.name}")
            accuracies.append(_ask(program, seed, test, seen))
        found[name] = accuracies
    return found


def _ask(program: Program, seed: int, test: Split, seen: Split) -> float:
    from mho.simulation.adc_ranges import calibrate_adcs
    from mho.simulation.chip_answers import run_on_chip

    ranges = None
    if (hardware := program.accelerator).converters.has_calibrated_adc:
        inputs = seen.inputs(slice(None))
        ranges = calibrate_adcs(program, seed, inputs, hardware=hardware)
    (logits,) = run_on_chip(program, seed, test.inputs(slice(None)), ranges=ranges).values()
    return float(judge_logits(logits, test.labels)["accuracy"])


def tell_chips(figures: Mapping[str, Any]) -> str:
    """Tell in a sentence what `ask_chips` found of uniform 8/8 and of the found policy."""
    count, labels = len(figures["found"]), {"reference": "uniform 8/8", "found": "found policy"}
    words = ", ".join(f"{label} {tell_spread(figures[name])}" for name, label in labels.items())
    return (
        f"On {count} {'chip' if count == 1 else 'chips'}, whose cells, wires and converters are what the accelerator"
        f" tells, with {figures['images']} test images: {words}."
    )


def tell_spread(accuracies: Sequence[float]) -> str:
    """Return mean, least and most of accuracies in percent."""
    percents = 100 * np.asarray(accuracies)
    spread = "" if len(percents) == 1 else f" ({percents.min():.2f} to {percents.max():.2f})"
    return f"{percents.mean():.2f} %{spread}"
