"""The cost of a policy on a chip that a search sees is within 5 % of what the event simulation of its plan gives."""

from functools import cache

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_residual

from mho.hardware.loading import load_accelerator, override
from mho.hardware.spec import Accelerator
from mho.network.graph import Network
from mho.network.loading import load_network
from mho.policy import BitWidths, Policy
from mho.scheduling.chip_cost import ChipCostModel
from mho.scheduling.cost_objective import CostObjective
from mho.simulation.plan_timing import PlanTiming

TOLERANCE = 0.05


@cache
def _network(name: str) -> Network:
    made = {"residual block": make_residual, "attention": make_attention}
    return made[name]() if name in made else load_network(name)


def _connected(kind: str, width: int) -> Accelerator:
    return make_accelerator(
        rows=256, cols=256, cell_bits=4, dac_bits=2, crossbars=256, chip={"cores": 32},
        interconnect={"kind": kind, "bytes_per_cycle": width, "cycle_ns": 1, "hop_latency_cycles": 2},
    )  # fmt: skip


CHIPS = {
    "clsa-256": load_accelerator("clsa-256"),
    "isaac": load_accelerator("isaac"),
    "puma": load_accelerator("puma"),
    "pelke2026, 96 crossbars": override(load_accelerator("pelke2026-4bit"), crossbars=96),
    "bus of 2 bytes": _connected("bus", 2),
    "bus of 32 bytes": _connected("bus", 32),
    "mesh of 2 bytes": _connected("mesh", 2),
    "mesh of 32 bytes": _connected("mesh", 32),
}
CASES = [
    *((network, chip) for network in ("residual block", "attention") for chip in CHIPS),
    *(("vgg9", chip) for chip in ("isaac", "puma", "bus of 2 bytes", "mesh of 2 bytes")),
    pytest.param("resnet20", "isaac", marks=pytest.mark.slow),
    ("torchvision:resnet18", "clsa-256"),
]
WITHOUT_INTERVAL = {"attention"}
"""Few windows share copies that are written for every input: in a full pipeline their reads and writes interleave."""


def _draw(network: Network, number: int) -> Policy:
    """Draw widths of every layer; number 0 is uniform 8/8."""
    if not number:
        return Policy.uniform(network.layer_names, BitWidths(8, 8))
    draws = np.random.default_rng(number)
    return Policy({name: BitWidths(*map(int, draws.integers(2, 9, 2))) for name in network.layer_names})


@pytest.mark.parametrize(("name", "chip"), CASES)
def test_latency_and_interval_are_those_of_the_simulation(name, chip):
    network, accelerator = _network(name), CHIPS[chip]
    model = ChipCostModel(network, accelerator, CostObjective.LATENCY)
    found = model.plan(_draw(network, 1 + len(chip)))
    assert found is not None
    simulated = PlanTiming(found.graph, found.plan, accelerator)
    assert not found.cost.is_rough
    assert found.cost.latency_ps == pytest.approx(simulated.latency_ps, rel=TOLERANCE)
    if name not in WITHOUT_INTERVAL:
        assert found.cost.interval_ps <= simulated.interval_ps + 1
        assert found.cost.interval_ps == pytest.approx(simulated.interval_ps, rel=TOLERANCE)
    if accelerator.interconnect.is_ideal:
        assert found.cost.latency_ps == simulated.latency_ps
