"""What it takes to cost a policy under each objective of a search, as ratios to the latency.

    python benchmarks/objective_costs.py [--networks resnet20 torchvision:vgg16] [--policies 20]

Random policies on `rram-hfo2` with one crossbar, with half of those that hold 8/8 once (tiles are rewritten) and with a
quarter more (weights stay). The first policies fill what costs keep of layers; the others are timed. Seconds are
processor time of this machine; ratios are to the latency on the same crossbars.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

import mho
from mho.bit_search.api import make_space
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.objective import Objective
from mho.bit_search.space import SearchSpace
from mho.hardware.loading import load_accelerator, override
from mho.policy import Policy

PRESET = "rram-hfo2"
WARM = 10
"""Policies that fill what costs keep, for each that is timed."""


def draw(space: SearchSpace, generator: np.random.Generator) -> Policy:
    """Return a random policy of a space."""
    return Policy({layer.name: layer.choices[generator.integers(len(layer.choices))] for layer in space.layers})


def time_costs(space: SearchSpace, warm: Sequence[Policy], policies: Sequence[Policy]) -> float:
    """Return the processor time of costing a policy, s."""
    for policy in warm:
        space.cost_of(policy)
    start = time.process_time()
    for policy in policies:
        space.cost_of(policy)
    return (time.process_time() - start) / len(policies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet20", "torchvision:vgg16"])
    parser.add_argument("--policies", type=int, default=20)
    options = parser.parse_args()
    console = Console(width=130)
    for name in options.networks:
        network, limits = mho.load(name), SearchConstraints()
        least = make_space(
            network, override(load_accelerator(PRESET), crossbars=2), limits, objective=Objective.CROSSBARS
        ).reference_cost
        table = Table(title=f"{name}: processor time a policy, as ratios to latency")
        for column in ("crossbars", "latency, ms", *(one for one in Objective if one is not Objective.LATENCY)):
            table.add_column(column, justify="right")
        for crossbars in (1, max(2, least // 2), least + least // 4):
            hardware, seconds = override(load_accelerator(PRESET), crossbars=crossbars), {}
            for objective in Objective:
                space = make_space(network, hardware, limits, objective=objective)
                generator = np.random.default_rng(1)
                drawn = [draw(space, generator) for _ in range((1 + WARM) * options.policies)]
                warm = WARM * options.policies
                seconds[objective] = time_costs(space, drawn[:warm], drawn[warm:])
            own = seconds.pop(Objective.LATENCY)
            table.add_row(f"{crossbars:,}", f"{1e3 * own:.2f}", *(f"{one / own:.2f}" for one in seconds.values()))
        console.print(table)


if __name__ == "__main__":
    main()
