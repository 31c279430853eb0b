"""How long a program takes: what its instructions do, times what each costs. Exact, in picoseconds.

Nothing is run. For one crossbar, the instruction tree gives the number of executions of each write and each MVM; the
cost model predicts the same from the mapping alone, and a property test compares the two. For a chip, the schedule of
the program is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

from mho.errors import ProgramError
from mho.formats import PS_PER_MS
from mho.mapping.event_counts import EventCounts
from mho.program.chip_work import derive_chip_work
from mho.program.instruction_costs import count_operations, count_shift_add, price_layer
from mho.program.instructions import DigitalProduct, Layer, Mvm, ShiftAdd, SumInputs, WriteDynamicTile, WriteTile
from mho.program.program import Program, walk
from mho.program.reloads import ProgramReloads
from mho.program.window_proof import find_window_sizes
from mho.scheduling.asap import check_batch
from mho.simulation.plan_timing import PlanTiming
from mho.simulation.reload_program_timing import ReloadProgramTiming, time_reload_program


@dataclass(frozen=True)
class LayerTiming:
    """One layer, one sample: crossbar writes, MVMs and the time they take."""

    name: str
    writes: int
    mvms: int
    write_ps: int
    read_ps: int

    @property
    def latency_ps(self) -> int:
        """Writes and reads, ps."""
        return self.write_ps + self.read_ps


@dataclass(frozen=True)
class ProgramTiming:
    """All layers of one sample, one after the other; digital work is taken to be hidden behind the crossbar.

    Attributes:
        layers: when each works, in execution order.
    """

    layers: tuple[LayerTiming, ...]

    @property
    def latency_ps(self) -> int:
        """Time of one sample, ps."""
        return sum(layer.latency_ps for layer in self.layers)

    @property
    def latency_ms(self) -> float:
        """Time of one sample, ms."""
        return self.latency_ps / PS_PER_MS

    @property
    def writes(self) -> int:
        """Crossbar writes of all layers."""
        return sum(layer.writes for layer in self.layers)

    @property
    def mvms(self) -> int:
        """MVMs of all layers."""
        return sum(layer.mvms for layer in self.layers)


def time_program(program: Program) -> ProgramTiming:
    """Time one sample of `program` on one crossbar, used again for every tile.

    Raises:
        ProgramError: the program has a schedule for a chip, see `time_on_chip`.
    """
    if program.schedule is not None:
        raise ProgramError(
            "its tiles have crossbars of their own: there are no times on one crossbar", where=program.name,
            hint="mho simulate --timing gives its times on the chip; mho compile --crossbars 1 takes one crossbar",
        )  # fmt: skip
    return ProgramTiming(tuple(_time_layer(program, layer) for layer in program.layers))


def _time_layer(program: Program, layer: Layer) -> LayerTiming:
    counts = EventCounts(0, 0, 0, 0)
    for item, times in walk(layer.body):
        if isinstance(item, WriteTile | WriteDynamicTile):
            joins = isinstance(item, WriteTile) and item.joins
            counts += EventCounts(0 if joins else times, 0, 0, 0)
        elif isinstance(item, Mvm):
            counts += EventCounts(0, times, 0, 0)
        elif isinstance(item, ShiftAdd):
            one = count_shift_add(program, item)
            counts += EventCounts(0, 0, times * one.conversions, times * one.operations)
        elif isinstance(item, SumInputs | DigitalProduct):
            counts += EventCounts(0, 0, 0, times * count_operations(program, item))
    prices = price_layer(program, layer)
    writing = prices.writing_ps(counts, is_stored_dynamically=False)
    return LayerTiming(layer.name, counts.tiles, counts.mvms, writing, prices.reading_ps(counts))


def time_on_chip(
    program: Program, *, batch: int | None = None, with_spans: bool = False
) -> PlanTiming | ReloadProgramTiming:
    """Return the times of the schedule that a program carries.

    Times and dependencies are those of the program's own instructions; nothing else of where it came from is known.

    Args:
        program: with a schedule, verified.
        batch: inputs that follow each other, 1 or more; where tiles are rewritten, those that the program was compiled
            for. None: 1, or those.
        with_spans: record when every copy worked.

    Returns:
        Where weights stay, times that are simulated at first use, with interconnect and buffers; where tiles are
        rewritten, when each is written and read.

    Raises:
        ProgramError: the program has no schedule, or rewrites tiles for another batch.
        ScheduleError: a batch below 1, or too large.
    """
    if isinstance(program.schedule, ProgramReloads):
        return time_reload_program(program, batch=batch)
    work = derive_chip_work(program, find_window_sizes(program))
    inputs = 1 if batch is None else batch
    check_batch(work.graph, inputs)
    return PlanTiming(work.graph, work.plan, program.accelerator, inputs, with_spans)
