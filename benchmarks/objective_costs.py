"""What it takes to cost a policy in a search.

    python benchmarks/objective_costs.py [--networks resnet20 torchvision:vgg16] [--policies 20]
    python benchmarks/objective_costs.py --parts chips

- `objectives`: each objective, as ratios to the latency. Random policies on `rram-hfo2` with one crossbar, with half of
  those that hold 8/8 once (tiles are rewritten) and with a quarter more (weights stay). The first policies fill what
  costs keep of layers; the others are timed. Ratios are to the latency on the same crossbars.
- `chips`: the latency on chips with a mesh, without and with tiles that are rewritten: mean and longest of random
  policies, and of policies that differ from the one before in one layer. Beside it the limit: one pass over the windows
  of the plan that a policy is costed by, with an ideal interconnect. Any cost needs one of them.

Seconds are processor time of this machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from results import processor
from rich.console import Console
from rich.table import Table

import mho
from mho.bit_search.api import make_space
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.objective import Objective
from mho.bit_search.policy_costs import ChipCosts
from mho.bit_search.space import SearchSpace
from mho.hardware.loading import load_accelerator, override
from mho.policy import Policy
from mho.scheduling.asap import time_asap
from mho.scheduling.chip_cost import ChipCostModel

PRESET = "rram-hfo2"
CHIPS = (
    ("torchvision:resnet18", "isaac", 16_128),
    ("torchvision:vgg16", "rram-hfo2", 1_000),
    ("torchvision:vit_b_32", "isaac", 16_128),
    ("resnet20", "neurram", 48),
)
"""Networks, presets and crossbars of the part `chips`."""
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


def compare_objectives(console: Console, networks: Sequence[str], policies: int) -> None:
    """Print what other objectives take, as ratios to the latency."""
    for name in networks:
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
                drawn = [draw(space, generator) for _ in range((1 + WARM) * policies)]
                warm = WARM * policies
                seconds[objective] = time_costs(space, drawn[:warm], drawn[warm:])
            own = seconds.pop(Objective.LATENCY)
            table.add_row(f"{crossbars:,}", f"{1e3 * own:.2f}", *(f"{one / own:.2f}" for one in seconds.values()))
        console.print(table)


def change(space: SearchSpace, policy: Policy, generator: np.random.Generator) -> Policy:
    """Return a policy with other widths of one layer."""
    free = [layer for layer in space.layers if len(layer.choices) > 1]
    layer = free[generator.integers(len(free))]
    others = [bits for bits in layer.choices if bits != policy[layer.name]]
    return Policy({**policy.layers, layer.name: others[generator.integers(len(others))]})


def time_each(model: ChipCostModel, policies: Sequence[Policy]) -> list[float]:
    """Return the processor time of each policy, s."""
    seconds = []
    for policy in policies:
        start = time.process_time()
        model.cost(policy)
        seconds.append(time.process_time() - start)
    return seconds


def time_windows(model: ChipCostModel, policies: Sequence[Policy]) -> float | None:
    """Return the processor time of one pass over the windows of the plans of policies, s; None where tiles are
    rewritten."""
    plans = [model.plan(policy) for policy in policies]
    start = time.process_time()
    for plan in plans:
        if plan is None:
            return None
        time_asap(plan.graph, plan.plan.copies)
    return (time.process_time() - start) / len(plans)


def compare_chips(policies: int) -> None:
    """Print what costs on chips take."""
    print(f"processor time a policy, ms, on {processor()}")
    for name, preset, crossbars in CHIPS:
        hardware = override(load_accelerator(preset), crossbars=crossbars)
        space = make_space(mho.load(name), hardware, SearchConstraints(), objective=Objective.LATENCY)
        assert isinstance(space.costs, ChipCosts), "a chip of several crossbars"
        model, generator = space.costs.model, np.random.default_rng(1)
        drawn = [draw(space, generator) for _ in range(policies)]
        near = [drawn[-1]]
        for _ in range(policies):
            near.append(change(space, near[-1], generator))
        whole, changed = time_each(model, drawn), time_each(model, near[1:])
        limit = time_windows(model, drawn[:5])
        shown = "-" if limit is None else f"{1e3 * limit:.1f}"
        print(
            f"{name} on {crossbars:,} of {preset}: drawn {1e3 * np.mean(whole):.0f} longest {1e3 * max(whole):.0f}"
            f" one layer changed {1e3 * np.mean(changed):.0f} longest {1e3 * max(changed):.0f} limit {shown}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("objectives", "chips"), default=["objectives"])
    parser.add_argument("--networks", nargs="+", default=["resnet20", "torchvision:vgg16"])
    parser.add_argument("--policies", type=int, default=20)
    options = parser.parse_args()
    if "objectives" in options.parts:
        compare_objectives(Console(width=130), options.networks, options.policies)
    if "chips" in options.parts:
        compare_chips(options.policies)


if __name__ == "__main__":
    main()
