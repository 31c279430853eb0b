"""When the tiles of a program that rewrites them are written and read: from its own instructions and schedule alone."""

from __future__ import annotations

from dataclasses import dataclass

from mho.errors import ProgramError
from mho.hardware.spec import Accelerator
from mho.program.program import Program
from mho.program.reload_work import derive_reload_work
from mho.scheduling.given_reloads import time_reloads
from mho.scheduling.reload_cycle import ReloadCycle
from mho.scheduling.reload_tiles import NetworkTiles
from mho.scheduling.reload_timing import ReloadPlan, ReloadTiming


@dataclass(frozen=True, eq=False)
class ReloadProgramTiming(ReloadCycle):
    """A period of batches of a program; see `ReloadCycle`. Its times are those of the schedule that it was made of.

    Attributes:
        accelerator: the hardware.
        work: the tiles, each a group of its own, in the order in which the program writes them.
        plan: which of them stay, and how many crossbars share the windows of each.
        timing: with the spans of all tiles.
    """

    accelerator: Accelerator
    work: NetworkTiles
    plan: ReloadPlan
    timing: ReloadTiming


def time_reload_program(program: Program, *, batch: int | None = None) -> ReloadProgramTiming:
    """Return the times of a verified program whose tiles are reloaded.

    Args:
        program: that carries a schedule with reloads.
        batch: inputs that share the writes of weights, which the program was compiled for; None: as many.

    Raises:
        ProgramError: the program has no such schedule, or another batch.
        ScheduleError: its periods do not settle.
    """
    work = derive_reload_work(program)
    if batch not in (None, work.tiles.batch):
        raise ProgramError(
            f"a batch of {batch}", where=program.name, expected=f"the {work.tiles.batch} that it was compiled for",
            hint="compile it with another batch: inputs of one share the writes of weights",
        )  # fmt: skip
    timing = time_reloads(work.tiles, work.plan, work.reloads)
    return ReloadProgramTiming(program.accelerator, work.tiles, work.plan, timing)
