"""Quick costs of rewritten tiles, against the schedules that a longer search finds."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.network.layers import derive_layer_table
from mho.policy import BitWidths, Policy
from mho.scheduling.chip_cost import ChipCostModel
from mho.scheduling.cost_objective import CostObjective
from mho.scheduling.regime import Regime
from mho.scheduling.reload_schedule import schedule_network_reload

NETWORK = make_residual()
LAYERS = derive_layer_table(NETWORK)


@pytest.mark.parametrize("crossbars", [2, 3, 5])
def test_quick_costs_are_near_those_of_the_schedule(crossbars):
    hardware = make_accelerator(
        rows=16, cols=16, crossbars=crossbars, energy={"mvm_pj": 3, "cell_write_pj": 2, "crossbar_leakage_uw": 5}
    )
    model, draw = ChipCostModel(NETWORK, hardware, CostObjective.ENERGY), np.random.default_rng(crossbars)
    for _ in range(4):
        widths = draw.integers(4, 9, (len(LAYERS), 2)).tolist()
        policy = Policy({layer.name: BitWidths(*pair) for layer, pair in zip(LAYERS, widths, strict=True)})
        quick, schedule = model.cost(policy), schedule_network_reload(LAYERS, policy, hardware)
        if quick.regime is Regime.WEIGHT_STATIONARY:
            continue
        assert 0.9 < quick.latency_ps / schedule.latency_ps < 1.3
        assert quick.energy_aj == pytest.approx(schedule.price().energy.total_aj, rel=0.3)
        assert 0.5 < float(quick.cell_writes) / schedule.cell_writes_per_input < 2
