"""CLSA-CIM's networks on its chip: layers that overlap, and copies of the slow ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from mho.hardware.loading import load_accelerator
from mho.hardware.spec import Accelerator
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.network.loading import load_network
from mho.policy import BitWidths, Policy
from mho.scheduling.asap import time_asap
from mho.scheduling.bounds import bound_makespan
from mho.scheduling.chip_schedule import ChipSchedule, schedule_network
from mho.scheduling.duplication import copy_slowest_first
from mho.simulation.chip_timing import simulate_chip

BUDGETS = (0, 16, 32)
"""Crossbars beyond the minimal ones."""
STEP_PS = 1_400_000
"""One MVM."""


@dataclass(frozen=True)
class Published:
    """What is known of a network: minimal crossbars, steps layer by layer, bounds for `BUDGETS` without filling."""

    crossbars: int
    steps: int
    bounds: tuple[float, float, float]


PUBLISHED: Mapping[str, Published] = {
    "tinyyolov3": Published(142, 232_882, (1.35, 18.8, 33.6)),
    "tinyyolov4": Published(117, 113_061, (2.61, 18.3, 31.4)),
    "torchvision:vgg16": Published(233, 137_788, (2.75, 11.0, 19.2)),
    "resnet50v1": Published(390, 58_310, (4.65, 18.6, 37.2)),
    "resnet152v1": Published(936, 85_358, (6.80, 27.2, 54.4)),
}
COLUMNS = (
    *("network", "least", "steps", "more", "no filling", "published", "proven", "branched", "mho", "of proven"),
    *("of branched", "slowest first", "choosing, s", "bounds, s", "simulation, s"),
)
QUICK = ("tinyyolov3", "torchvision:vgg16")
TITLE = """convolutions on clsa-256, layers that overlap on the least crossbars and more, over layer by layer
(published: up to 29.2x; bounds: "no filling" ignores how the pipeline fills; "proven" in integers, "branched" not)"""


def report(console: Console, quick: bool) -> None:
    hardware = load_accelerator("clsa-256")
    table = Table(title=TITLE)
    for title in COLUMNS:
        table.add_column(title, justify="left" if title == "network" else "right")
    for name in QUICK if quick else PUBLISHED:
        network = load_network(name)
        for number, more in enumerate(BUDGETS):
            table.add_row(*make_row(name, network, hardware, number, more))
        table.add_section()
    console.print(table)


def make_row(name: str, network: Network, hardware: Accelerator, number: int, more: int) -> list[str]:
    known = PUBLISHED[name]
    start = time.process_time()
    schedule = schedule_convolutions(network, hardware, known.crossbars + more)
    chosen = time.process_time()
    bounds = bound_makespan(schedule.graph, known.crossbars + more, known=[schedule.copies], branch=True)
    bounded = time.process_time()
    simulated = simulate_chip(schedule.graph, schedule.plan, schedule.accelerator).total_ps
    end = time.process_time()
    check(schedule, known, simulated)
    layer_by_layer = schedule.minimal_ps
    greedy = time_asap(schedule.graph, copy_slowest_first(schedule.graph, known.crossbars + more)).makespan_ps
    simple = max(bounds.total_work_ps, bounds.slowest_layer_ps)
    proven = max(simple, bounds.dependency_ps, bounds.head_tail_ps)
    speedups = [layer_by_layer / time_ps for time_ps in (simple, proven, bounds.bound_ps, simulated, greedy)]
    return [
        name.split(":")[-1] if not number else "",
        str(schedule.minimal_crossbars) if not number else "",
        f"{layer_by_layer // STEP_PS:,}" if not number else "",
        f"+{more}",
        f"{speedups[0]:.2f}x",
        f"{known.bounds[number]}x",
        *(f"{speedup:.2f}x" for speedup in speedups[1:4]),
        f"{proven / simulated:.1%}",
        f"{bounds.bound_ps / simulated:.1%}",
        f"{speedups[4]:.2f}x",
        *(f"{seconds:.1f}" for seconds in (chosen - start, bounded - chosen)),
        f"{end - bounded:.2f}",
    ]


def schedule_convolutions(network: Network, hardware: Accelerator, crossbars: int) -> ChipSchedule:
    convolutions = [layer.name for layer in derive_layer_table(network) if layer.kind == "conv"]
    policy = Policy.uniform(network.layer_names, BitWidths(8, 8))
    return schedule_network(network, policy, hardware, crossbars=crossbars, layers=convolutions)


def check(schedule: ChipSchedule, known: Published, simulated_ps: int) -> None:
    """Compare crossbars and steps with those that are known, and the simulation against the closed form."""
    found = schedule.minimal_crossbars, schedule.minimal_ps // STEP_PS
    if found != (known.crossbars, known.steps):
        raise SystemExit(f"{schedule.graph.name}: {found}, but {(known.crossbars, known.steps)} are known")
    if simulated_ps != schedule.ideal.makespan_ps:
        raise SystemExit(
            f"{schedule.graph.name}: simulated {simulated_ps} ps, {schedule.ideal.makespan_ps} in closed form"
        )
