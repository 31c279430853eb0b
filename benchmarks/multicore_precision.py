"""Mixed precision on one crossbar and on a chip of many, where what it frees holds copies.

The chip has as many crossbars as the network needs at least at 8/8, or some more. On one crossbar, tiles are written
one after the other and the time is that of `mho cost`.
"""

from __future__ import annotations

from paper import make_policy
from rich.console import Console
from rich.table import Table

from mho.cost_model.latency import cost_network
from mho.hardware.loading import load_accelerator
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.network.loading import load_network
from mho.policy import UNIFORM_REFERENCE, Policy
from mho.scheduling.chip_schedule import ChipSchedule, schedule_network
from mho.scheduling.duplication import Objective
from mho.scheduling.options import CopyCost, list_network_options

CASES = (
    ("pelke2026-4bit", "torchvision:vgg16"),
    ("pelke2026-4bit", "torchvision:resnet18"),
    ("pelke2026-4bit", "vgg9"),
    ("pelke2026-2bit", "vgg9"),
)
FACTORS = (1.0, 1.25, 2.0)
"""Crossbars of the chip over the minimal ones at 8/8."""
TITLE = """what a policy gains over 8/8, best mapping
(VGG-16: the published policy; the others: first and last layer 8/8, else weights of 4 bits, activations of 3 to 7)"""
COLUMNS = (
    *("cells", "network", "one crossbar, ms: 8/8", "policy", "gain", "chip", "least: 8/8, policy"),
    *("one input, us: 8/8", "policy", "gain", "over bound", "interval, us: 8/8", "policy", "gain"),
)


def report(console: Console, quick: bool) -> None:
    table = Table(title=TITLE)
    for title in COLUMNS:
        table.add_column(title, justify="left" if title in ("cells", "network") else "right")
    for preset, name in CASES[1:2] if quick else CASES:
        network, hardware = load_network(name), load_accelerator(preset)
        for number, factor in enumerate(FACTORS):
            table.add_row(*make_row(name, network, hardware, number, factor))
        table.add_section()
    console.print(table)


def make_row(name: str, network: Network, hardware: Accelerator, number: int, factor: float) -> list[str]:
    layers = derive_layer_table(network)
    policies = Policy.uniform(network.layer_names, UNIFORM_REFERENCE), make_policy(name.split(":")[-1], layers)
    alone = [cost_network(layers, policy, hardware, model=MappingModel.BEST).latency_ps for policy in policies]
    least = [count_least(network, policy, hardware) for policy in policies]
    crossbars = int(least[0] * factor)
    fast = [schedule(network, policy, hardware, crossbars, Objective.LATENCY) for policy in policies]
    often = [schedule(network, policy, hardware, crossbars, Objective.INTERVAL) for policy in policies]
    latencies, intervals = [one.ideal.makespan_ps for one in fast], [one.ideal.interval_ps for one in often]
    over = [one.ideal.makespan_ps / one.bounds.bound_ps - 1 for one in fast]
    cells = f"{hardware.crossbar.cell_bits}-bit"
    first = [
        cells,
        name.split(":")[-1],
        f"{alone[0] / 1e9:,.1f}",
        f"{alone[1] / 1e9:,.1f}",
        f"{alone[0] / alone[1]:.2f}x",
    ]
    return [
        *(first if not number else [""] * len(first)),
        f"{crossbars:,} ({factor:g})",
        f"{least[0]:,}, {least[1]:,}" if not number else "",
        *(f"{latency / 1e6:,.1f}" for latency in latencies),
        f"{latencies[0] / latencies[1]:.2f}x",
        ", ".join(f"{share:.1%}" for share in over),
        *(f"{interval / 1e6:,.1f}" for interval in intervals),
        f"{intervals[0] / intervals[1]:.2f}x",
    ]


def count_least(network: Network, policy: Policy, hardware: Accelerator) -> int:
    options = list_network_options(derive_layer_table(network), policy, hardware, MappingModel.BEST)
    return sum(CopyCost.of(listed[0], hardware).crossbars for listed in options.values())


def schedule(
    network: Network, policy: Policy, hardware: Accelerator, crossbars: int, objective: Objective
) -> ChipSchedule:
    return schedule_network(network, policy, hardware, crossbars=crossbars, objective=objective)
