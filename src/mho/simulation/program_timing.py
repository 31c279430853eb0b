"""When everything happens that a program for a chip tells, with the interconnect and the buffers of its accelerator."""

from __future__ import annotations

from mho.program.chip_work import derive_chip_work
from mho.program.program import Program
from mho.program.window_proof import find_window_sizes
from mho.scheduling.asap import check_batch
from mho.simulation.plan_timing import PlanTiming


def time_on_chip(program: Program, *, batch: int = 1, with_spans: bool = False) -> PlanTiming:
    """Return the times of the schedule that a program carries; they are simulated when they are first asked for.

    Times and dependencies are those of the program's own instructions; nothing else of where it came from is known.

    Args:
        program: with a schedule, verified.
        batch: inputs that follow each other, 1 or more.
        with_spans: tell when every copy worked.

    Raises:
        ProgramError: the program has no schedule.
        ScheduleError: a batch below 1, or too large.
    """
    work = derive_chip_work(program, find_window_sizes(program))
    check_batch(work.graph, batch)
    return PlanTiming(work.graph, work.plan, program.accelerator, batch, with_spans)
