"""The table of arXiv 2601.21737, and what better mapping adds to it, from layer tables derived from torchvision's
networks.

    python benchmarks/paper.py [--accelerator pelke2026-4bit] [--layers]

All figures are for one sample on the paper's crossbar. "speedup" is over uniform 8/8 in the paper's own model; it is
the product of what the mapping gives (the paper's 8/8 over ours) and what the policy gives (our 8/8 over ours).
"bound" is what no exact mapping of this kind can beat. The VGG-16 policy is the published one; the others are of its
kind: 8/8 for the first and the last layer, weights of one cell, activations of 3 to 7 bits. Depthwise convolutions
are compared with mapping one channel a tile, which is the paper's model of a group.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from mho.cache_folder import cache_folder
from mho.cost_model.bounds import NetworkBound, bound_network
from mho.cost_model.latency import NetworkCost, cost_network
from mho.cost_model.latency_table import LatencyTable
from mho.cost_model.layer_tables import load_layer_table
from mho.hardware.loading import load_accelerator
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel, describe_mapping
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy

NETWORKS = ("vgg16", "resnet18", "resnet50", "vit_b_32", "mobilenet_v2")
PUBLISHED = {"vgg16": "8/8 4/7 4/6 4/3 4/5 4/4 4/4 4/6 4/4 4/2 4/6 4/3 4/7 8/8 4/7 8/8"}
ACTIVATIONS = (4, 5, 6, 3, 7)
"""Bits of activations, in turn, where no policy is published."""
REFERENCE = BitWidths(8, 8)


@dataclass(frozen=True)
class Comparison:
    """One network: the paper's model and the best mapping, each at 8/8 and with the policy."""

    network: str
    layers: tuple[MvmLayer, ...]
    paper_reference: NetworkCost
    paper: NetworkCost
    best_reference: NetworkCost
    best: NetworkCost
    bound: NetworkBound
    table_s: float

    @property
    def mapping_factor(self) -> float:
        return self.paper_reference.latency_ps / self.best_reference.latency_ps

    @property
    def policy_factor(self) -> float:
        return self.best_reference.latency_ps / self.best.latency_ps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", default="pelke2026-4bit")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="torchvision's names")
    parser.add_argument("--layers", action="store_true", help="tell how every layer is mapped")
    options = parser.parse_args()
    hardware = load_accelerator(options.accelerator)
    comparisons = [compare(name, hardware) for name in options.networks]
    console = Console(width=150)
    console.print(tabulate(comparisons))
    for comparison in comparisons:
        if depthwise := [index for index, layer in enumerate(comparison.layers) if is_depthwise(layer)]:
            report_depthwise(console, comparison, depthwise)
    if options.layers:
        for comparison in comparisons:
            console.print(tabulate_layers(comparison))


def compare(name: str, hardware: Accelerator) -> Comparison:
    layers = load_layer_table(f"torchvision:{name}", input_shape=None, cache=cache_folder()).layers
    policy, reference = make_policy(name, layers), Policy.uniform((layer.name for layer in layers), REFERENCE)
    start = time.process_time()
    LatencyTable.build(layers, hardware, model=MappingModel.BEST)
    seconds = time.process_time() - start
    best = cost_network(layers, policy, hardware, model=MappingModel.BEST)
    return Comparison(
        network=name,
        layers=layers,
        paper_reference=cost_network(layers, reference, hardware, model=MappingModel.PAPER),
        paper=cost_network(layers, policy, hardware, model=MappingModel.PAPER),
        best_reference=cost_network(layers, reference, hardware, model=MappingModel.BEST),
        best=best,
        bound=bound_network(best.mapping, hardware),
        table_s=seconds,
    )


def make_policy(name: str, layers: tuple[MvmLayer, ...]) -> Policy:
    names = [layer.name for layer in layers]
    if name in PUBLISHED:
        return Policy(dict(zip(names, map(BitWidths.parse, PUBLISHED[name].split()), strict=True)))
    policy = Policy({one: BitWidths(4, ACTIVATIONS[number % len(ACTIVATIONS)]) for number, one in enumerate(names, -1)})
    return policy.replace({names[0]: REFERENCE, names[-1]: REFERENCE})


def tabulate(comparisons: list[Comparison]) -> Table:
    table = Table(title="latency of one sample, ms")
    for title in (
        *("network", "paper 8/8", "paper policy", "speedup", "ours 8/8", "ours policy", "speedup"),
        *("= mapping", "x policy", "bound", "ours / bound", "table, s"),
    ):
        table.add_column(title, justify="left" if title == "network" else "right")
    for one in comparisons:
        reference, best = one.paper_reference.latency_ps, one.best.latency_ps
        table.add_row(
            one.network,
            *(milliseconds(cost.latency_ps) for cost in (one.paper_reference, one.paper)),
            f"{reference / one.paper.latency_ps:.3f}x",
            *(milliseconds(cost.latency_ps) for cost in (one.best_reference, one.best)),
            *(f"{factor:.3f}x" for factor in (reference / best, one.mapping_factor, one.policy_factor)),
            milliseconds(one.bound.latency_ps),
            f"{best / one.bound.latency_ps:.3f}",
            f"{one.table_s:.2f}",
        )
    return table


def is_depthwise(layer: MvmLayer) -> bool:
    return layer.kind == "conv" and layer.repeat > 1 and layer.outputs == 1


def report_depthwise(console: Console, one: Comparison, numbers: list[int]) -> None:
    """Tell how much faster depthwise layers and the whole network are than with one channel a tile, both at 8/8."""
    times = [
        sum(cost.layers[number].latency_ps for number in numbers) for cost in (one.paper_reference, one.best_reference)
    ]
    whole = one.paper_reference.latency_ps / one.best_reference.latency_ps
    console.print(
        f"{one.network}: {len(numbers)} depthwise layers {times[0] / times[1]:.1f}x, the network {whole:.1f}x over "
        "one channel a tile (8/8)"
    )


def tabulate_layers(one: Comparison) -> Table:
    table = Table(title=f"{one.network}: how each layer is mapped")
    for title in ("layer", "W/A", "paper ms", "ours ms", "ours / bound", "mapping"):
        table.add_column(title)
    for paper, best, bound in zip(one.paper.layers, one.best.layers, one.bound.layers, strict=True):
        mapping = best.mapping
        table.add_row(
            *(mapping.layer.name, str(mapping.bits), milliseconds(paper.latency_ps), milliseconds(best.latency_ps)),
            *(f"{best.latency_ps / bound.latency_ps:.3f}", f"{mapping.encoding}: {describe_mapping(mapping)}"),
        )
    return table


def milliseconds(picoseconds: int) -> str:
    return f"{picoseconds / 1e9:,.1f}"


if __name__ == "__main__":
    main()
