"""What tiles that are rewritten take, batch after batch: times, writes, lifetime, of a schedule or of its program."""

from __future__ import annotations

from functools import cached_property

from mho.cost_model.endurance import count_lifetime_inputs
from mho.formats import PS_PER_MS
from mho.hardware.spec import Accelerator
from mho.scheduling.gantt import BARS, GanttChart
from mho.scheduling.reload_gantt import draw_reload
from mho.scheduling.reload_tiles import NetworkTiles
from mho.scheduling.reload_timing import ReloadPlan, ReloadTiming, measure_gaps
from mho.scheduling.reload_writes import count_writes


class ReloadCycle:
    """A period of batches that repeats.

    Attributes:
        accelerator: the hardware.
        work: the tiles.
        plan: which tiles stay, and how many crossbars share a tile's windows.
        timing: a period of batches, with the spans of all tiles.
    """

    accelerator: Accelerator
    work: NetworkTiles
    plan: ReloadPlan
    timing: ReloadTiming

    @property
    def crossbars(self) -> int:
        """Crossbars of the chip."""
        return self.accelerator.chip.crossbars

    @property
    def batch(self) -> int:
        """Inputs for which weights are written once."""
        return self.work.batch

    @property
    def used_crossbars(self) -> int:
        """Crossbars that hold tiles for good or are rewritten."""
        return self.plan.crossbars

    @property
    def latency_ps(self) -> int:
        """Mean time of a batch, and so from batch to batch, ps, rounded up."""
        return self.timing.interval_ps

    @property
    def latency_ms(self) -> float:
        """Mean time of a batch, ms."""
        return self.latency_ps / PS_PER_MS

    @property
    def interval_ps(self) -> float:
        """Time for one input, ps."""
        return self.latency_ps / self.batch

    @property
    def total_ps(self) -> int:
        """Time of a batch, ps."""
        return self.latency_ps

    @property
    def writes(self) -> int:
        """Writes of all crossbars for a batch."""
        return count_writes(self.work, self.plan)

    @cached_property
    def busiest_writes(self) -> tuple[int, int]:
        """Writes of the crossbar that is written most often, and in how many batches."""
        return _count_busiest(self.timing, self.plan)

    @property
    def cell_writes_per_input(self) -> float:
        """How often one input writes a cell of the crossbar that is written most often."""
        writes, batches = self.busiest_writes
        return writes / (batches * self.batch)

    @property
    def lifetime_inputs(self) -> int | None:
        """Inputs until the cells of the crossbar that is written most often may fail.

        None where nothing is written, or the accelerator has no endurance figure.
        """
        writes, batches = self.busiest_writes
        return count_lifetime_inputs(self.accelerator, writes, inputs=batches * self.batch)

    @property
    def levelled_lifetime_inputs(self) -> int | None:
        """The same where crossbars trade places now and then, so that all are written alike."""
        return count_lifetime_inputs(self.accelerator, self.writes, inputs=self.crossbars * self.batch)

    @property
    def waiting_ps(self) -> int:
        """Time of the period in which nothing is read and no digital work is done: all wait for writes, ps."""
        working = [(span.read[0], span.held_until) for span in self.timing.spans]
        for ends in self.timing.layer_ends_ps:
            working += [(end - extra, end) for end, extra in zip(ends, self.work.extra_ps, strict=True)]
        return measure_gaps(working, 0)

    def draw_gantt(self, limit: int = BARS) -> GanttChart:
        """Return what the crossbars do in one period of the steady state, in about `limit` bars."""
        return draw_reload(self.work, self.plan, self.timing, self.accelerator.chip, limit)


def _count_busiest(timing: ReloadTiming, plan: ReloadPlan) -> tuple[int, int]:
    """Return the writes of the crossbar that is written most often, and in how many batches: a cycle of roles."""
    writes = [0] * plan.rotating
    for span in timing.spans:
        if span.write is not None:
            writes[span.crossbar] += 1
    busiest, seen = (0, 1), [False] * plan.rotating
    for role in range(plan.rotating):
        total = length = 0
        while not seen[role]:
            seen[role] = True
            total, length, role = total + writes[role], length + timing.inputs, timing.next_roles[role]
        if length and total * busiest[1] > busiest[0] * length:
            busiest = total, length
    return busiest
