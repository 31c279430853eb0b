"""Costs on one crossbar, as sums over layers: exactly those of the whole network, layers that share writes included."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.bit_search.objective import Objective
from mho.bit_search.policy_costs import make_costs
from mho.cost_model.endurance import count_network_writes
from mho.cost_model.energy import energy_network
from mho.cost_model.latency import cost_network
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.scheduling.cost_objective import weigh_writes

NETWORK = make_residual()
ENERGY = {
    "mvm_pj": 3.7, "cell_write_pj": 2, "operation_pj": 0.31, "buffer_pj_per_byte": 0.7, "memory_pj_per_byte": 11,
    "crossbar_leakage_uw": 5, "core_leakage_uw": 0.013,
}  # fmt: skip


def list_costs(policy, hardware, model):
    """Costs by objective, from the cost of the whole network; and whether layers are written at once."""
    cost = cost_network(NETWORK, policy, hardware, model=model)
    energy = energy_network(cost, hardware).energy.total_aj
    return {
        Objective.INTERVAL: cost.latency_ps,
        Objective.ENERGY: energy,
        Objective.ENERGY_DELAY: energy * cost.latency_ps,
        Objective.LIFETIME: weigh_writes(count_network_writes(cost), cost.latency_ps),
    }, cost.writes < cost.tiles


@pytest.mark.parametrize("model", MappingModel)
@pytest.mark.parametrize("allowed", [{}, {"shared_writes": False}])
@pytest.mark.parametrize("size", [16, 128])
def test_costs_by_layer_are_those_of_the_whole_network(size, allowed, model):
    hardware = make_accelerator(
        rows=size, cols=size, energy=ENERGY, mapping={"allowed": allowed}, digital={"operation_latency_us": 0.000007}
    )
    models = {
        objective: make_costs(NETWORK, hardware, objective, model)
        for objective in (Objective.INTERVAL, Objective.ENERGY, Objective.ENERGY_DELAY, Objective.LIFETIME)
    }
    generator, shared = np.random.default_rng(size), False
    for _ in range(6):
        widths = generator.integers(2, 5, (len(NETWORK.layer_names), 2))
        policy = Policy(
            {name: BitWidths(*map(int, own)) for name, own in zip(NETWORK.layer_names, widths, strict=True)}
        )
        expected, shares = list_costs(policy, hardware, model)
        shared |= shares
        assert {objective: costs.cost_of(policy) for objective, costs in models.items()} == expected
    assert shared == (not allowed and model is not MappingModel.PAPER)
