"""What a plan takes with interconnect and buffers: latency, time of a batch, and the interval of a full pipeline.

The *interval* is the time that a further input adds to a long batch, all of whose inputs wait at the chip. It is
measured between a simulation of n inputs and one of 2n: how long the pipeline takes to fill and to drain is in both, so
that neither counts. (The mean time between the ends of a few inputs is no measure of it: where links are contended, the
first input of a batch ends late, and the last ones, which nothing follows, end early.) The interval is never below the
time for which an input takes the busiest resource (`mho.scheduling.bottleneck`). It has settled once it is within
`TOLERANCE` of that bound, or above it and within `TOLERANCE` of the interval between n / 2 and n inputs, and no layer
runs further and further ahead of the last one, which ends when buffers are full; until then n is doubled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

from mho.formats import PS_PER_MS
from mho.hardware.spec import Accelerator
from mho.scheduling.asap import MOST_WINDOWS
from mho.scheduling.bottleneck import Bottleneck, find_bottleneck
from mho.scheduling.placement import ChipPlan
from mho.scheduling.work_graph import WorkGraph
from mho.simulation.chip_timing import ChipTiming, simulate_chip

TOLERANCE = 0.02
"""Of the interval, as a share of it."""
_WINDOWS = 50_000
"""Windows of the first two simulations together, about: more are simulated where three inputs have more."""
_MOST_WINDOWS = 100_000
"""Windows of the longest simulation, alike."""
_MOST_INPUTS = 32
"""Inputs of the first simulation at most."""
_DOUBLINGS = 3
"""How often the number of inputs is doubled at most."""
_ABREAST = 0.9
"""Share of the interval that a further input takes in a layer which does not run ahead, at least."""


@dataclass(frozen=True)
class SteadyInterval:
    """Time between inputs of a full pipeline.

    Attributes:
        interval_ps: ps.
        bottleneck: the resource that limits it, and for how long an input takes that.
        inputs: of the longest simulation; 0 where nothing is in the way, so that the bottleneck alone gives it.
        is_settled: False where it still changed by more than `TOLERANCE`, or buffers were yet to fill, when the
            simulations ended.
    """

    interval_ps: float
    bottleneck: Bottleneck
    inputs: int
    is_settled: bool

    @property
    def busy(self) -> float:
        """Share of the interval for which an input takes the bottleneck: the rest is lost to waits and full buffers."""
        return self.bottleneck.busy_ps / self.interval_ps if self.interval_ps else 1.0


@dataclass(frozen=True, eq=False)
class PlanTiming:
    """What a plan takes, simulated with interconnect and buffers when it is first read.

    Each may raise `ScheduleError`: buffers are too small, so that copies wait for each other for ever.

    Attributes:
        graph: the layers.
        plan: where their copies lie.
        accelerator: interconnect and buffers.
        inputs: of the batch, 1 or more.
        with_spans: whether `batch` records when every copy worked.
    """

    graph: WorkGraph
    plan: ChipPlan
    accelerator: Accelerator
    inputs: int = 1
    with_spans: bool = False

    @cached_property
    def alone(self) -> ChipTiming:
        """The simulation of one input that has the chip to itself."""
        return self.batch if self.inputs == 1 else simulate_chip(self.graph, self.plan, self.accelerator)

    @cached_property
    def batch(self) -> ChipTiming:
        """The simulation of all inputs of the batch, which wait at the chip from the start."""
        return simulate_chip(self.graph, self.plan, self.accelerator, batch=self.inputs, with_spans=self.with_spans)

    @cached_property
    def bottleneck(self) -> Bottleneck:
        """The resource that bounds the interval, which takes no simulation."""
        return find_bottleneck(self.graph, self.plan, self.accelerator)

    @cached_property
    def steady(self) -> SteadyInterval:
        """The interval, and how it was found."""
        bottleneck = self.bottleneck
        if self.accelerator.has_ideal_transfers and not any(layer.digital_ps for layer in self.graph.layers):
            return SteadyInterval(float(bottleneck.busy_ps), bottleneck, inputs=0, is_settled=True)
        windows = max(sum(layer.windows for layer in self.graph.layers), 1)
        if 2 * windows > MOST_WINDOWS:  # more than fit a simulation: one input after the other can always be had
            return SteadyInterval(float(self.latency_ps), bottleneck, inputs=1, is_settled=False)
        inputs = min(max(_WINDOWS // (3 * windows), 1), _MOST_INPUTS)
        most = max(_MOST_WINDOWS // windows, 2 * inputs)
        shorter, further_ps, is_settled = self._simulate(inputs), inf, False
        for _ in range(_DOUBLINGS):
            if is_settled or 2 * inputs > most:
                break
            before_ps, longer = further_ps, self._simulate(2 * inputs)
            further_ps = (longer.total_ps - shorter.total_ps) / inputs
            is_settled = is_settled_at(further_ps, before_ps, bottleneck) and self._is_abreast(
                shorter, longer, further_ps
            )
            inputs, shorter = 2 * inputs, longer
        interval_ps = max(further_ps, float(bottleneck.busy_ps))
        return SteadyInterval(interval_ps, bottleneck, inputs, is_settled)

    def run(self) -> None:
        """Run all simulations, so that none fails later. Raises `ScheduleError`."""
        _ = self.alone, self.batch, self.steady

    @property
    def latency_ps(self) -> int:
        """Time of one input that has the chip to itself, ps."""
        return self.alone.total_ps

    @property
    def latency_ms(self) -> float:
        """Time of one input that has the chip to itself, ms."""
        return self.latency_ps / PS_PER_MS

    @property
    def interval_ps(self) -> float:
        """Time between inputs of a full pipeline, ps."""
        return self.steady.interval_ps

    @property
    def interval_ms(self) -> float:
        """Time between inputs of a full pipeline, ms."""
        return self.interval_ps / PS_PER_MS

    @property
    def writes(self) -> int:
        """Crossbars that are written for one input: those of stored operands, in every copy that has a window."""
        copies = ((layer, len(self.plan.places[layer.name])) for layer in self.graph.layers if layer.write_ps)
        return sum(layer.crossbars * min(count, layer.windows) for layer, count in copies)

    @property
    def total_ps(self) -> int:
        """Time until the last input of the batch is finished, ps."""
        return self.batch.total_ps

    def _simulate(self, inputs: int) -> ChipTiming:
        if inputs in (1, self.inputs):
            return self.alone if inputs == 1 else self.batch
        return simulate_chip(self.graph, self.plan, self.accelerator, batch=inputs)

    def _is_abreast(self, shorter: ChipTiming, longer: ChipTiming, interval_ps: float) -> bool:
        """Tell whether a further input takes in every layer what it takes in all; buffers without limit never fill."""
        if self.accelerator.buffers.input_limit is None:
            return True
        least_ps = _ABREAST * interval_ps * (len(longer.finish_ps) - len(shorter.finish_ps))
        pairs = zip(shorter.layers, longer.layers, strict=True)
        return all(later.finish_ps - sooner.finish_ps >= least_ps for sooner, later in pairs)


def is_settled_at(further_ps: float, before_ps: float, bottleneck: Bottleneck) -> bool:
    """Tell whether a further input takes what it takes of a full pipeline. What is below the bound fills it yet.

    Args:
        further_ps: what a further input adds between n and 2n inputs, ps.
        before_ps: the same between n / 2 and n inputs, ps; infinite where that is not known.
        bottleneck: the bound.
    """
    if further_ps < (1 - TOLERANCE) * bottleneck.busy_ps:
        return False
    return min(further_ps - bottleneck.busy_ps, abs(further_ps - before_ps)) <= TOLERANCE * further_ps
