"""When everything happens that a program for a chip tells, with the interconnect and the buffers of its accelerator."""

from __future__ import annotations

from mho.program.chip_work import derive_chip_work
from mho.program.program import Program
from mho.program.window_proof import find_window_sizes
from mho.simulation.chip_timing import ChipTiming, simulate_chip


def time_on_chip(program: Program, *, batch: int = 1, with_spans: bool = False) -> ChipTiming:
    """Simulate the schedule that a program carries.

    Times and dependencies are those of the program's own instructions; nothing else of where it came from is known.

    Args:
        program: with a schedule, verified.
        batch: inputs that follow each other, 1 or more.
        with_spans: tell when every copy worked.

    Raises:
        ProgramError: the program has no schedule.
        ScheduleError: a batch below 1; or buffers are too small, so that copies wait for each other for ever.
    """
    work = derive_chip_work(program, find_window_sizes(program))
    return simulate_chip(work.graph, work.plan, program.accelerator, batch=batch, with_spans=with_spans)
