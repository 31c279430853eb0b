"""When everything happens on a chip of many crossbars: an event-driven simulation.

Every copy of a layer takes its windows in order, one after the other. A window starts once what it needs is finished
and has arrived, its crossbars hold the operand that belongs to its input, and the buffers behind it have room for what
it makes. What a window makes goes to the layers that need it over the interconnect. Events are handled in order of
time, and of their making where times are equal. Transfers that are ready at the same instant set out once all of them
are known: those of the earliest input first, of it those of the first layer, of that those of the first window. The
same plan always gives the same times, exact in picoseconds.

A window is done when the digital unit of its copy's home has done its digital work, which does that of one window at a
time, first come first served.

With an ideal interconnect, unlimited buffers and digital work that takes no time this is the closed form of
`mho.scheduling.asap`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mho.hardware.spec import Accelerator
from mho.scheduling.asap import check_batch, check_copies
from mho.scheduling.placement import ChipPlan
from mho.scheduling.work_graph import WorkGraph
from mho.simulation.chip_machine import Machine
from mho.simulation.chip_state import Cause as Cause
from mho.simulation.chip_state import LayerState
from mho.simulation.chip_state import Span as Span


@dataclass(frozen=True)
class LayerActivity:
    """What one layer did.

    Attributes:
        name, copies, crossbars: which layer, how often it lies on the chip, crossbars of all copies.
        start_ps, finish_ps: of its first and last window.
        busy_ps: time of all windows, added up over copies.
        lost_ps: time in which copies stood still until the end of the simulation, added up, by cause.
    """

    name: str
    copies: int
    crossbars: int
    start_ps: int
    finish_ps: int
    busy_ps: int
    lost_ps: Mapping[Cause, int]


@dataclass(frozen=True)
class ChipTiming:
    """The result of a simulation.

    Attributes:
        layers: in execution order.
        total_ps: until the last input was finished.
        finish_ps: when each input was finished. All wait at the chip from the start, so that where links or buffers are
            contended the first one ends later than if it were alone (`mho.simulation.plan_timing`).
        core_busy: for each core, the share of its crossbars' time in which they were read.
        interconnect_ps: time in which the bus, or all links together, were held.
        links: that carried something (1 for a bus).
        byte_hops: bytes times links that they took.
        buffer_bytes: the most that any core kept of inputs, and of outputs. None where the interconnect is ideal and
            buffers are unlimited: nothing is counted then.
        spans: when copies worked; empty unless requested.
    """

    layers: tuple[LayerActivity, ...]
    total_ps: int
    finish_ps: tuple[int, ...]
    core_busy: tuple[float, ...]
    interconnect_ps: int
    links: int
    byte_hops: int
    buffer_bytes: tuple[int, int] | None
    spans: tuple[Span, ...]


def simulate_chip(
    graph: WorkGraph, plan: ChipPlan, accelerator: Accelerator, *, batch: int = 1, with_spans: bool = False
) -> ChipTiming:
    """Simulate a plan.

    Args:
        graph: the layers.
        plan: where their copies lie.
        accelerator: interconnect and buffers.
        batch: inputs that follow each other, 1 or more.
        with_spans: record when every copy worked.

    Raises:
        ScheduleError: a batch below 1, or too large; or buffers are too small, so that copies wait for each other for
            ever: says which and for what.
    """
    check_batch(graph, batch)
    check_copies(graph, plan.copies)
    machine = Machine(graph, plan, accelerator, batch, with_spans)
    machine.run()
    return _describe(machine, plan)


def _describe(machine: Machine, plan: ChipPlan) -> ChipTiming:
    """Return what a machine that has run did."""
    layers = list(machine.layers.values())
    finishes = tuple(max(ends) for ends in zip(*(layer.ends_ps for layer in layers), strict=True))
    total = max(finishes)
    for layer in layers:
        for copy in layer.copies:
            copy.stand_still(total, Cause.DONE)
    carrier = machine.carrier
    return ChipTiming(
        layers=tuple(_describe_layer(layer) for layer in layers),
        total_ps=total,
        finish_ps=finishes,
        core_busy=_share_cores(layers, plan, total),
        interconnect_ps=carrier.busy_ps,
        links=carrier.links,
        byte_hops=carrier.byte_hops,
        buffer_bytes=machine.most_kept(),
        spans=tuple(machine.spans),
    )


def _describe_layer(layer: LayerState) -> LayerActivity:
    return LayerActivity(
        name=layer.work.name,
        copies=len(layer.copies),
        crossbars=len(layer.copies) * layer.work.crossbars,
        start_ps=layer.start_ps or 0,
        finish_ps=max(layer.ends_ps),
        busy_ps=sum(copy.busy_ps for copy in layer.copies),
        lost_ps={cause: sum(copy.lost_ps[cause] for copy in layer.copies) for cause in Cause},
    )


def _share_cores(layers: list[LayerState], plan: ChipPlan, total: int) -> tuple[float, ...]:
    busy, size = [0] * plan.chip.cores, plan.chip.crossbars_per_core
    for layer in layers:
        for copy in layer.copies:
            for crossbar in copy.place.crossbars:
                busy[crossbar // size] += copy.busy_ps
    return tuple(one / (size * total) if total else 0.0 for one in busy)
