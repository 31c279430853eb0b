"""Programs from Python: run, timed, calibrated and studied. `mho` gives these functions at its top."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mho.errors import ConfigError, MhoError, ProgramError
from mho.hardware.array import Placement
from mho.hardware.loading import as_accelerator, override
from mho.hardware.spec import Accelerator

if TYPE_CHECKING:
    from mho.array.conductances import Conditions
    from mho.program.program import Program
    from mho.report.study_document import StudyResult
    from mho.simulation.adc_ranges import AdcRanges
    from mho.simulation.corrections import ChannelCorrections
    from mho.simulation.plan_timing import PlanTiming
    from mho.simulation.timing import ProgramTiming
    from mho.simulation.zero_slices import ZeroSlices

Engine = Literal["executor", "interpreter"]
PlacementName = Literal["as-mapped", "fault-aware"]
RangeMethodName = Literal["extremes", "percentile", "mse"]


def timing(program: Program | str | Path, *, batch: int = 1) -> ProgramTiming | PlanTiming:
    """Tell how long a program takes, from its own instructions; it is not run.

    Args:
        program: what `mho.compile` or `mho.compile_schedule` made, or the path of a .mho file.
        batch: inputs that follow each other, for a program that carries a schedule.

    Returns:
        For a program with a schedule a `mho.simulation.plan_timing.PlanTiming`, simulated with interconnect and
        buffers; for a program of one crossbar a `mho.simulation.timing.ProgramTiming`. Both have `latency_ps`.

    Raises:
        InputFileError, ProgramError: the file is not a sound program; a batch for a program of one crossbar.
        ScheduleError: buffers are too small for the schedule.
    """
    from mho.simulation.program_timing import time_on_chip
    from mho.simulation.timing import time_program

    program = _program(program)
    if program.schedule is not None:
        found = time_on_chip(program, batch=batch)
        _ = found.batch  # simulated now, so that buffers which are too small are an error here
        return found
    if batch != 1:
        raise ProgramError(f"a batch of {batch}", where=program.name, expected="a program that carries a schedule")
    return time_program(program)


def simulate(
    program: Program | str | Path,
    inputs: Mapping[str, NDArray[Any]] | NDArray[Any],
    *,
    engine: Engine = "executor",
    batch_size: int | None = None,
    seed: int | None = None,
    hardware: Accelerator | str | Path | None = None,
    conditions: Conditions | None = None,
    ranges: AdcRanges | str | Path | None = None,
    placement: PlacementName | None = None,
    corrections: ChannelCorrections | str | Path | None = None,
    transferred: bool = False,
) -> dict[str, NDArray[np.float32]]:
    """Run a program, or a program file, on samples; return its outputs by name, float32 [N, ...].

    Without a seed every sum is read exactly: the integers of the quantized network. With one, the program runs on the
    chip that the seed gives, whose cells, wires and converters are what the hardware says.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: arrays [N, ...] by input name, or the only input.
        engine: "executor" (fast) or "interpreter" (instruction by instruction); both give the same bits.
        batch_size: samples at once; never changes results but for noise of reads.
        seed: of a chip, at least 0; None: exact integers. The other arguments need it.
        hardware: of the chip; None: what the program was compiled for. A preset's name, a TOML file or a value.
        conditions: when and how warm its cells are read, and how often they were; None: at once.
        ranges: of calibrated ADCs, as `mho.calibrate` finds them, or their file.
        placement: "as-mapped" or "fault-aware": lines of crossbars are chosen by their stuck cells; None: what the
            hardware says.
        corrections: of channels, as `mho.recalibrate` finds them, or their file; None: as the program says.
        transferred: take ranges and corrections although they were found on another chip, for other cells or at another
            age; never for another program or other ADCs.

    Raises:
        DataError: an input is missing, unknown, of another shape or not finite.
        InputFileError, ProgramError: a file is not a sound program, no ranges or no corrections.
        ConfigError: hardware, conditions, ranges or corrections do not fit the program, or there is no seed for them;
            ranges or corrections were found elsewhere.
        UnsupportedOperationError: the program does what chips do not.
    """
    program = _program(program)
    if seed is not None:
        from mho.simulation.chip_answers import run_on_chip
        from mho.simulation.corrections import read_corrections

        if engine != "executor":
            raise ConfigError("a chip has an engine of its own", where="mho.simulate", hint="leave out engine")
        return run_on_chip(
            program,
            seed,
            inputs,
            hardware=_fit_hardware(program, hardware, placement, where="mho.simulate"),
            conditions=conditions,
            ranges=_ranges(ranges),
            corrections=read_corrections(corrections) if isinstance(corrections, (str, Path)) else corrections,
            transferred=transferred,
            batch_size=batch_size,
        )
    if transferred or any(given is not None for given in (hardware, conditions, ranges, placement, corrections)):
        raise ConfigError(
            "hardware, conditions, ranges, placement, corrections, transferred are of a chip",
            where="mho.simulate",
            expected="a seed",
        )
    if engine == "interpreter":
        from mho.simulation.interpreter import interpret

        return interpret(program, inputs).outputs
    if engine != "executor":
        raise MhoError(f"unknown engine {engine!r}", where="mho.simulate", expected="'executor' or 'interpreter'")
    from mho.simulation.executor import Executor

    return Executor(program).run(inputs, batch_size)


def calibrate(
    program: Program | str | Path,
    inputs: Mapping[str, NDArray[Any]] | NDArray[Any],
    *,
    seed: int,
    hardware: Accelerator | str | Path | None = None,
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
    if method not in tuple(RangeMethod) or per not in kinds:
        raise MhoError(
            f"method {method!r}, per {per!r}",
            where="mho.calibrate",
            expected="'extremes', 'percentile' or 'mse'; 'layer', 'slice' or 'adc'",
        )
    program = _program(program)
    return calibrate_adcs(
        program,
        seed,
        inputs,
        hardware=_fit_hardware(program, hardware, placement, where="mho.calibrate"),
        adc_range=kinds[per],
        rule=RangeRule(RangeMethod(method), share),
        conditions=conditions,
    )


def recalibrate(
    program: Program | str | Path,
    inputs: Mapping[str, NDArray[Any]] | NDArray[Any],
    *,
    seed: int,
    hardware: Accelerator | str | Path | None = None,
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

    program = _program(program)
    return find(
        program,
        seed,
        inputs,
        hardware=_fit_hardware(program, hardware, placement, where="mho.recalibrate"),
        conditions=conditions,
        ranges=_ranges(ranges),
        transferred=transferred,
        batch_size=batch_size,
    )


def count_zero_slices(
    program: Program | str | Path,
    inputs: Mapping[str, NDArray[Any]] | NDArray[Any],
    *,
    batch_size: int | None = None,
) -> ZeroSlices:
    """Count the MVMs that hardware may skip because all rows that they drive carry a zero input slice.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: arrays [N, ...] by input name, or the only input: real ones, as this depends on them.
        batch_size: samples at once; never changes results.

    Returns:
        By layer and sample, skipped MVMs and the time that they and what follows them would take, ps.

    Raises:
        DataError: an input is missing, unknown, of another shape or not finite.
        InputFileError, ProgramError: the file is not a sound program.
    """
    from mho.simulation.zero_slices import count_zero_slices as count

    return count(_program(program), inputs, batch_size)


def study(
    study: Mapping[str, Any] | str | Path,
    *,
    program: Program | None = None,
    samples: tuple[Mapping[str, NDArray[Any]] | NDArray[Any], NDArray[Any]] | None = None,
    calibration: Mapping[str, NDArray[Any]] | NDArray[Any] | None = None,
    directory: str | Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
    fresh: bool = False,
) -> StudyResult:
    """Sweep parameters of arrays and converters over chips of many seeds, as `mho study` does.

    Answers are kept in the study's directory: called again, also with more points or seeds, it goes on where it was.

    Args:
        study: a study's TOML file, or the same tables as dictionaries; keys of sweeps and base may be dotted.
        program: what `mho.compile` made, instead of the table program.
        samples: inputs, as for `simulate`, and their labels, integers [N], instead of the tables data and samples.file.
        calibration: inputs on which calibrated ADCs find their ranges and channels are corrected, instead of
            calibration.file; calibration.images of them are taken.
        directory: where results go, instead of the study's own; studies/NAME where it tells none.
        processes: that ask chips, at least 1; changes no figure. None: this one, or all processors of a Ray cluster.
            More than 1 import the calling script anew: keep what it does under ``if __name__ == "__main__":``.
        ray: address of a Ray cluster that asks them: "host:port", "auto", or "local" for one on this machine.
        fresh: forget what earlier studies left in the directory.

    Raises:
        MhoError: anything wrong with what was given, told before any chip is asked; another study uses the directory.
    """
    from mho.report.comparison_accuracy import LabelledSamples
    from mho.workflow.study import run_study
    from mho.workflow.study_config import load_study, study_from_json

    if isinstance(study, (str, Path)):
        where, config = str(study), load_study(study)
    else:
        where, config = "study", study_from_json(study, where="study")
    if processes is not None and processes < 1:
        raise MhoError(f"processes is {processes}", where="mho.study", expected="at least 1")
    return run_study(
        config,
        where=where,
        directory=None if directory is None else Path(directory),
        processes=processes,
        ray=ray,
        fresh=fresh,
        program=program,
        samples=None if samples is None else LabelledSamples(*samples),
        calibration=calibration,
    ).result


def _fit_hardware(
    program: Program, hardware: Accelerator | str | Path | None, placement: PlacementName | None, *, where: str
) -> Accelerator:
    """Return the hardware that a program runs on, with another placement where one is asked for."""
    fitting = program.accelerator if hardware is None else as_accelerator(hardware)
    if placement is None:
        return fitting
    if placement not in tuple(Placement):
        raise MhoError(f"unknown placement {placement!r}", where=where, expected="'as-mapped' or 'fault-aware'")
    return override(fitting, placement=Placement(placement))


def _ranges(ranges: AdcRanges | str | Path | None) -> AdcRanges | None:
    if isinstance(ranges, (str, Path)):
        from mho.simulation.adc_ranges import read_ranges

        return read_ranges(ranges)
    return ranges


def _program(program: Program | str | Path) -> Program:
    if isinstance(program, (str, Path)):
        from mho.program.container import read_program

        return read_program(Path(program))
    return program
