"""Programs: compiled, timed, run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mho.api.arguments import (
    Arrays,
    Hardware,
    MappingName,
    ObjectiveName,
    PlacementName,
    as_conditions,
    as_corrections,
    as_inputs,
    as_program,
    as_ranges,
    check_number,
    chip_hardware,
)
from mho.argument_checks import check_arguments
from mho.display import Table, Tabular
from mho.errors import ConfigError, MhoError, ProgramError
from mho.hardware.loading import as_accelerator, override
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.network.graph import Network

if TYPE_CHECKING:
    from mho.api.arguments import Inputs
    from mho.array.conductances import Conditions
    from mho.program.digital_work import DigitalWork
    from mho.program.program import Program
    from mho.scheduling.schedule import Schedule
    from mho.simulation.adc_ranges import AdcRanges
    from mho.simulation.channel_corrections import ChannelCorrections
    from mho.simulation.plan_timing import PlanTiming
    from mho.simulation.reload_program_timing import ReloadProgramTiming
    from mho.simulation.timing import ProgramTiming
    from mho.simulation.zero_slices import ZeroSlices

EngineName = Literal["executor", "interpreter"]


class Outputs(dict[str, NDArray[np.float32]], Tabular):
    """Outputs by name, float32 [N, ...]."""

    def __repr__(self) -> str:
        return f"Outputs({', '.join(f'{name}: float32 {list(values.shape)}' for name, values in self.items())})"

    def table(self) -> Table:
        """Return one row an output."""
        rows = (
            (name, " x ".join(map(str, values.shape)), float(values.min()), float(values.mean()), float(values.max()))
            for name, values in self.items()
        )
        return Table(repr(self), ("output", "shape", "least", "mean", "greatest"), tuple(rows))


@check_arguments()
def compile(
    quantized: Network,
    accelerator: Hardware,
    *,
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
    adc_bits: Mapping[str, int] | int | None = None,
    crossbars: int | None = None,
    objective: ObjectiveName | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Program:
    """Compile a quantized network into a verified program of what the crossbars of the accelerator allow.

    One crossbar is used again for every tile. Several hold all tiles, slow layers in copies, where they suffice; where
    they do not, tiles are rewritten. `Program.regime` says which, and the program carries the schedule.

    Args:
        quantized: its integers do not depend on the mapping, nor do the program's outputs.
        accelerator: the hardware, or a preset's name or TOML file.
        mapping: "best", the cheapest exact mapping of each layer, or "paper", that of arXiv 2601.21737.
        batch: inputs that share the writes of weights; an error where all tiles stay. On one crossbar it changes the
            choice of mappings alone.
        adc_bits: with how many bits calibrated ADCs convert the sums of layers, by name (`Policy.adc_bits` holds those
            of a policy), or of all; layers that are not named: with `converters.adc_bits` of the accelerator.
        crossbars: instead of the accelerator's; 1 makes a program of one crossbar on any accelerator.
        objective: of the schedule, as for `mho.schedule`, None for the latency; an error where tiles do not stay.
        metadata: JSON values that the program carries along (names, hashes).

    Raises:
        MhoError: the network is not quantized, or does not fit the accelerator; says what would help.
    """
    from mho.evaluation.compilation import compile_for_machine
    from mho.scheduling.duplication import Objective

    return compile_for_machine(
        quantized,
        override(as_accelerator(accelerator), crossbars=crossbars),
        model=MappingModel(mapping),
        objective=None if objective is None else Objective(objective),
        batch=batch,
        adc_bits=dict.fromkeys(quantized.layer_names, adc_bits) if isinstance(adc_bits, int) else adc_bits,
        metadata=metadata,
    )


@check_arguments()
def compile_schedule(quantized: Network, schedule: Schedule) -> Program:
    """Compile a quantized network for the chip that it was scheduled on; the program carries the schedule.

    Args:
        quantized: its integers do not depend on the schedule, nor do the program's outputs.
        schedule: what `mho.schedule` made of the same network, with all of its layers; weights stay or are rewritten.

    Raises:
        MhoError: the network is not quantized, or the schedule is that of another.
    """
    from mho.program.lowering import compile_schedule
    from mho.scheduling.chip_schedule import ChipSchedule
    from mho.scheduling.reload_schedule import ReloadSchedule

    if not isinstance(schedule, ChipSchedule | ReloadSchedule):
        kind = type(schedule).__name__
        raise MhoError(f"a {kind} is no schedule", where="mho.compile_schedule", expected="what mho.schedule makes")
    return compile_schedule(quantized, schedule)


@check_arguments()
def digital_work(program: Program | str | Path) -> DigitalWork:
    """Count what a program's digital unit computes between layers for one sample, in float32 or on integers.

    Its energy follows where the accelerator specifies it (`energy.float_multiply_pj`, `energy.integer_add_pj`, ...),
    its time where `digital.operation_latency_us` is a number.

    Args:
        program: or its file.
    """
    from mho.program.digital_work import count_digital_work

    return count_digital_work(as_program(program))


@check_arguments()
def timing(
    program: Program | str | Path, *, batch: int | None = None
) -> ProgramTiming | PlanTiming | ReloadProgramTiming:
    """Return how long a program takes, from its own instructions; it is not run.

    Args:
        program: what `mho.compile` or `mho.compile_schedule` made, or the path of a .mho file.
        batch: inputs that follow each other, for a program whose weights stay, by default 1. Where tiles are rewritten,
            inputs of a batch share the writes of weights, and the program has it.

    Returns:
        Where tiles stay and layers overlap, a `mho.simulation.plan_timing.PlanTiming`, simulated with interconnect and
        buffers; where tiles are reloaded, a `mho.simulation.reload_program_timing.ReloadProgramTiming`, of a batch; on
        one crossbar, a `mho.simulation.timing.ProgramTiming`. All have `latency_ps` and `writes`.

    Raises:
        InputFileError, ProgramError: the file is not a sound program; a batch that it does not have.
        ScheduleError: buffers are too small for the schedule.
    """
    from mho.simulation.timing import time_on_chip, time_program

    program = as_program(program)
    if program.schedule is not None:
        found = time_on_chip(program, batch=batch)
        _ = found.batch  # simulated now, so that buffers which are too small are an error here
        return found
    if batch not in (None, 1):
        raise ProgramError(f"a batch of {batch}", where=program.name, expected="a program that carries a schedule")
    return time_program(program)


@check_arguments()
def simulate(
    program: Program | str | Path,
    inputs: Inputs,
    *,
    engine: EngineName = "executor",
    batch_size: int | None = None,
    seed: int | None = None,
    hardware: Hardware | None = None,
    conditions: Conditions | None = None,
    ranges: AdcRanges | str | Path | None = None,
    placement: PlacementName | None = None,
    corrections: ChannelCorrections | str | Path | None = None,
    transferred: bool = False,
) -> Outputs:
    """Run a program, or a program file, on samples; return its outputs by name, float32 [N, ...].

    Without a seed every sum is read exactly: the integers of the quantized network. With one, the program runs on the
    chip that the seed gives, whose cells, wires and converters are what the hardware says.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: arrays or tensors [N, ...] by input name, or the only input; or a torch DataLoader or Dataset of them.
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
    program, inputs = as_program(program), as_inputs(inputs)
    check_number("batch_size", batch_size, 1, where="mho.simulate")
    if seed is not None:
        if engine != "executor":
            raise ConfigError("a chip has an engine of its own", where="mho.simulate", hint="leave out engine")
        from mho.evaluation.chip import write_chip
        from mho.simulation.analog import DEFAULT_BATCH

        chip = write_chip(
            program,
            seed,
            hardware=chip_hardware(program, hardware, placement),
            conditions=as_conditions(conditions),
            ranges=as_ranges(ranges),
            corrections=as_corrections(corrections),
            transferred=transferred,
        )
        return Outputs(chip.run(inputs, DEFAULT_BATCH if batch_size is None else batch_size))
    if transferred or any(given is not None for given in (hardware, conditions, ranges, placement, corrections)):
        raise ConfigError(
            "hardware, conditions, ranges, placement, corrections, transferred are of a chip",
            where="mho.simulate",
            expected="a seed",
        )
    return Outputs(_run_exactly(program, inputs, engine, batch_size))


def _run_exactly(
    program: Program, inputs: Arrays, engine: EngineName, batch_size: int | None
) -> dict[str, NDArray[np.float32]]:
    if engine == "interpreter":
        from mho.simulation.interpreter import interpret

        return interpret(program, inputs).outputs
    from mho.simulation.executor import Executor

    return Executor(program).run(inputs, batch_size)


@check_arguments()
def count_zero_slices(
    program: Program | str | Path,
    inputs: Inputs,
    *,
    batch_size: int | None = None,
) -> ZeroSlices:
    """Count the MVMs that hardware may skip because all rows that they drive carry a zero input slice.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: as for `simulate`: real ones, as this depends on them.
        batch_size: samples at once; never changes results.

    Returns:
        By layer and sample, skipped MVMs and the time that they and what follows them would take, ps.

    Raises:
        DataError: an input is missing, unknown, of another shape or not finite.
        InputFileError, ProgramError: the file is not a sound program.
    """
    from mho.simulation.zero_slices import count_zero_slices as count

    check_number("batch_size", batch_size, 1, where="mho.count_zero_slices")
    return count(as_program(program), as_inputs(inputs), batch_size)
