"""A run's programs on sampled chips: cells, wires and converters are those of an accelerator, the run's or another.

The chips are those that `mho simulate --seed` simulates: seeds 1, 2 and so on. Ranges of calibrated ADCs are found on
each chip, from calibration images, under the conditions under which it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.array.conductances import Conditions, Device, check_conditions
from mho.array.nonidealities import check_conditions_take_effect
from mho.data.dataset import Split
from mho.errors import ConfigError
from mho.hardware.spec import Accelerator
from mho.report.result_figures import tell_which
from mho.workflow.array_judge import images_for_ranges
from mho.workflow.checks import judge_logits
from mho.workflow.config import NoiseSettings, SimulationSettings
from mho.workflow.noise import load_alike, noise_conditions

if TYPE_CHECKING:
    from mho.program.program import Program

Images = NDArray[np.float32]

AUTO_CHIPS = 5
"""Chips that are sampled where they differ and the user gives no number."""
AUTO_SAMPLES = (50, 500)
"""The fewest and the most test samples of each chip where the user gives no number."""
AUTO_MACS = 3e10
"""Multiply-accumulates on all chips together where the user gives no number of samples: minutes, at some 10 ns each."""


@dataclass(frozen=True)
class Chips:
    """Which chips are asked.

    Attributes:
        count: how many, 1 or more, of seeds 1, 2 and so on.
        hardware: their cells, wires and converters.
        conditions: when and how they are read.
    """

    count: int
    hardware: Accelerator
    conditions: Conditions

    @property
    def words(self) -> str:
        """Which chips, and when they are read."""
        return tell_which(self.count, self.hardware.name, **asdict(self.conditions))

    def judge(
        self, program: Program, seed: int, inputs: Images, labels: NDArray[Any], seen: Images, *, batch_size: int
    ) -> dict[str, Any]:
        """Return what the chip of a seed gets right, as `mho.workflow.checks.judge_logits` tells it.

        Args:
            program: that it runs.
            seed: of the chip.
            inputs, labels: what it is asked, [n, ...], and what is right, [n].
            seen: inputs from which ranges of calibrated ADCs follow.
            batch_size: inputs at once.

        Raises:
            MhoError: the program does what chips do not.
        """
        from mho.simulation.chip_trial import ChipCare, ask_chip

        (logits,) = ask_chip(
            program,
            seed,
            inputs,
            hardware=self.hardware,
            conditions=self.conditions,
            care=ChipCare(seen),
            batch_size=batch_size,
        ).values()
        return judge_logits(logits, labels)


def read_chips(settings: SimulationSettings, noise: NoiseSettings | None, accelerator: Accelerator) -> Chips | None:
    """Return the chips that a run samples; None where it samples none.

    Args:
        settings: of the run.
        noise: what its training meets.
        accelerator: the run's.

    Raises:
        ConfigError, InputFileError: their accelerator cannot be read or does not fit the run's, or is not told although
            training meets another one; conditions that it cannot have or does not notice.
    """
    if settings.chips == 0:
        return None
    if settings.chips == "auto":
        return _sample_automatically(settings, noise, accelerator)
    if settings.accelerator is None and noise is not None:
        trained = load_alike(noise.accelerator, accelerator, where="qat.noise.accelerator")
        if (trained.array, trained.converters) != (accelerator.array, accelerator.converters):
            raise ConfigError(
                f"chips are asked, and training meets {trained.name}, not {accelerator.name}",
                where="simulation.accelerator",
                expected="the name of the one whose chips are meant",
            )
    hardware = load_alike(settings.accelerator, accelerator, where="simulation.accelerator")
    return Chips(settings.chips, hardware, _read_conditions(settings, hardware))


def _sample_automatically(
    settings: SimulationSettings, noise: NoiseSettings | None, accelerator: Accelerator
) -> Chips | None:
    """Return the chips of the hardware that training meets, or else of the run's; None where all of it is ideal."""
    from mho.array.nonidealities import chips_differ, is_ideal

    name, where, conditions = settings.accelerator, "simulation.accelerator", None
    if noise is not None and name is None:
        name, where, conditions = noise.accelerator, "qat.noise.accelerator", noise_conditions(noise)
    hardware = load_alike(name, accelerator, where=where)
    told = _read_conditions(settings, hardware)
    conditions = told if conditions is None or told != Conditions() else conditions
    if settings.accelerator is None and is_ideal(hardware, conditions):
        return None
    return Chips(AUTO_CHIPS if chips_differ(hardware.array, hardware.converters) else 1, hardware, conditions)


def _read_conditions(settings: SimulationSettings, hardware: Accelerator) -> Conditions:
    """Return when and how chips are read. Raises `ConfigError` where that cannot be or changes nothing."""
    conditions = Conditions(settings.elapsed_s, settings.temperature_k, settings.reads)
    check_conditions_take_effect(conditions, hardware, where="simulation")
    try:
        check_conditions(Device.of(hardware), conditions)
    except ConfigError as error:
        raise ConfigError(error.what, where="simulation", expected=error.expected) from error
    return conditions


def count_samples(settings: SimulationSettings, chips: Chips, macs: int) -> int:
    """Return how many test samples each chip answers, at most, of a network with so many multiply-accumulates."""
    if settings.chip_images != "auto":
        return settings.chip_images
    least, most = AUTO_SAMPLES
    return min(most, max(least, int(AUTO_MACS / (2 * chips.count * max(1, macs)))))


def ask_chips(
    files: Mapping[str, Path], chips: Chips, test: Split, calibration: Split, report: Callable[[float, str], None]
) -> dict[str, Any]:
    """Return what programs get right on chips.

    Args:
        files: programs, by name.
        chips: which.
        test: what they are asked.
        calibration: what ranges follow from.
        report: told of the share that is done, 0..1, and of what is being done.

    Returns:
        The number of samples, the name of the hardware, conditions, and for each program accuracies by seed.

    Raises:
        MhoError: a program does what chips do not.
    """
    from mho.program.container import read_program
    from mho.simulation.analog import DEFAULT_BATCH

    inputs, seen = test.inputs(slice(None)), images_for_ranges(calibration)
    found: dict[str, Any] = {"images": len(test), "hardware": chips.hardware.name, **asdict(chips.conditions)}
    for number, (name, path) in enumerate(files.items()):
        program = read_program(path)
        accuracies = []
        for seed in range(1, chips.count + 1):
            report((number + (seed - 1) / chips.count) / len(files), f"chip {seed}, {path.name}")
            told = chips.judge(program, seed, inputs, test.labels, seen, batch_size=DEFAULT_BATCH)
            accuracies.append(float(told["accuracy"]))
        found[name] = accuracies
    return found
