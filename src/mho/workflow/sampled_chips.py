"""The sampled chips of a run: cells, wires and converters are those of an accelerator, the run's or another.

They have the seeds 1, 2 and so on, as those of `mho simulate --seed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mho.array.conductances import Conditions, Device, check_conditions
from mho.array.nonidealities import check_conditions_take_effect
from mho.data.dataset import Split
from mho.errors import ConfigError
from mho.evaluation.accuracy import sample_chips
from mho.evaluation.chips import SampledChips
from mho.evaluation.networks import pool_chips, samples_for_ranges, score_chips
from mho.hardware.spec import Accelerator
from mho.workflow.config import SimulationSettings
from mho.workflow.noise import load_alike, noise_conditions
from mho.workflow.training_settings import NoiseSettings

AUTO_SAMPLES = (50, 500)
"""The fewest and the most test samples of each chip where the user gives no number."""
AUTO_MACS = 3e10
"""Multiply-accumulates on all chips together where the user gives no number of samples: minutes, at some 10 ns each."""


def read_chips(
    settings: SimulationSettings, noise: NoiseSettings | None, accelerator: Accelerator
) -> SampledChips | None:
    """Return the chips that a run samples; None where it samples none, or where they compute as exact integers do.

    Args:
        settings: of the run.
        noise: what its training includes of non-ideal arrays.
        accelerator: the run's.

    Raises:
        ConfigError, InputFileError: their accelerator cannot be read or does not fit the run's, or is missing although
            training is for another one; conditions that are impossible or change nothing; channels are to be corrected
            on chips that need none.
    """
    chips = _find_chips(settings, noise, accelerator)
    if settings.recalibration == "none":
        return chips
    if chips is None:
        raise ConfigError(
            f"chips of {accelerator.name} compute as exact integers do: there is nothing to correct",
            where="simulation.recalibration",
            expected='"none"',
        )
    return replace(chips, recalibrates=True)


def _find_chips(
    settings: SimulationSettings, noise: NoiseSettings | None, accelerator: Accelerator
) -> SampledChips | None:
    if settings.chips == 0:
        return None
    if settings.chips == "auto":
        return _sample_automatically(settings, noise, accelerator)
    if settings.accelerator is None and noise is not None:
        trained = load_alike(noise.accelerator, accelerator, where="qat.noise.accelerator")
        if (trained.array, trained.converters) != (accelerator.array, accelerator.converters):
            raise ConfigError(
                f"chips are sampled, and training is for {trained.name}, not {accelerator.name}",
                where="simulation.accelerator",
                expected="the name of the one whose chips are meant",
            )
    hardware = load_alike(settings.accelerator, accelerator, where="simulation.accelerator")
    return sample_chips(hardware, _read_conditions(settings, hardware), accelerator, settings.chips)


def _sample_automatically(
    settings: SimulationSettings, noise: NoiseSettings | None, accelerator: Accelerator
) -> SampledChips | None:
    """Return the chips of the hardware that training is for, or else of the run's; None where all of it is ideal."""
    name, where, conditions = settings.accelerator, "simulation.accelerator", None
    if noise is not None and name is None:
        name, where, conditions = noise.accelerator, "qat.noise.accelerator", noise_conditions(noise)
    hardware = load_alike(name, accelerator, where=where)
    own = _read_conditions(settings, hardware)
    conditions = own if conditions is None or own != Conditions() else conditions
    return sample_chips(hardware, conditions, accelerator)


def _read_conditions(settings: SimulationSettings, hardware: Accelerator) -> Conditions:
    """Return when and how chips are read. Raises `ConfigError` where that is impossible or changes nothing."""
    conditions = Conditions(settings.elapsed_s, settings.temperature_k, settings.reads)
    check_conditions_take_effect(conditions, hardware, where="simulation")
    try:
        check_conditions(Device.of(hardware), conditions)
    except ConfigError as error:
        raise ConfigError(error.what, where="simulation", expected=error.expected) from error
    return conditions


def count_samples(settings: SimulationSettings, chips: SampledChips, macs: int) -> int:
    """Return how many test samples each chip classifies, at most, by a network with so many multiply-accumulates."""
    if settings.chip_images != "auto":
        return settings.chip_images
    least, most = AUTO_SAMPLES
    return min(most, max(least, int(AUTO_MACS / (2 * chips.count * max(1, macs)))))


def evaluate_programs(
    files: Mapping[str, Path],
    chips: SampledChips,
    test: Split,
    calibration: Split,
    report: Callable[[float, str], None],
) -> dict[str, Any]:
    """Return how accurate programs are on chips.

    Args:
        files: programs, by name.
        chips: which.
        test: what they classify.
        calibration: what ranges of calibrated ADCs follow from, under the conditions of the chips.
        report: is given the share that is done, 0..1, and a description.

    Returns:
        The number of samples, the name of the hardware, conditions, and for each program accuracies by seed; and under
        "pooled" the mean accuracy and loss of each, with counts over all chips.

    Raises:
        MhoError: chips cannot run a program.
    """
    from mho.program.container import read_program

    seen = samples_for_ranges(calibration)
    found: dict[str, Any] = {"images": len(test), "hardware": chips.hardware.name, **asdict(chips.conditions)}
    found["pooled"] = {}
    for number, (name, path) in enumerate(files.items()):

        def show(seed: int, number: int = number, path: Path = path) -> None:
            report((number + (seed - 1) / chips.count) / len(files), f"chip {seed}, {path.name}")

        scores = score_chips(read_program(path), chips, range(1, chips.count + 1), test, seen, on_chip=show)
        found[name] = [score.accuracy for score in scores]
        found["pooled"][name] = asdict(pool_chips(scores))
    return found


def write_ranges(program_file: Path, chips: SampledChips, calibration: Split, path: Path) -> None:
    """Write the ranges of calibrated ADCs of the first chip, for `mho simulate`; nothing where ADCs have none."""
    if not chips.hardware.converters.has_calibrated_adc:
        return
    from mho.program.container import read_program
    from mho.simulation import adc_ranges

    ranges = adc_ranges.calibrate_adcs(
        read_program(program_file),
        1,
        samples_for_ranges(calibration),
        hardware=chips.hardware,
        conditions=chips.conditions,
    )
    adc_ranges.write_ranges(ranges, path)
