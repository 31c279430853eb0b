"""Where weights lie on the machine that is described, for one policy after the other."""

from __future__ import annotations

import pytest
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.cost_model.latency import cost_network
from mho.evaluation.machine_arrays import MachineArrays
from mho.hardware.loading import override
from mho.mapping.layer_arrays import LayerArrays
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import derive_layer_table
from mho.policy import BitWidths, Policy
from mho.scheduling.chip_cost import ChipCostModel
from mho.scheduling.cost_objective import CostObjective

NETWORK = make_residual()
WIDE, NARROW = (Policy.uniform(NETWORK.layer_names, BitWidths(bits, bits)) for bits in (8, 2))
CHIP = make_accelerator(rows=16, cols=16, crossbars=30, digital={"operation_latency_us": 0.02})


def count_tiles(arrays: dict[str, LayerArrays]) -> dict[str, int]:
    return {name: sum(len(part.make_tiles()) for part in one.parts) for name, one in arrays.items()}


@pytest.mark.parametrize("crossbars", [3, 30])
def test_layers_lie_as_in_the_plan_that_the_policy_is_costed_by(crossbars):
    chip = override(CHIP, crossbars=crossbars, always_digital=["second"])
    arrays = MachineArrays(chip, MappingModel.BEST)
    costs = ChipCostModel(NETWORK, chip, CostObjective.LATENCY)
    for policy in (WIDE, NARROW):
        planned = {name: one.tiles for name, one in costs.map_layers(policy).items() if name != "second"}
        assert costs.map_layers(policy)["second"].is_digital
        assert count_tiles(arrays.find(NETWORK, policy)) == planned
    found = arrays.find(NETWORK, WIDE)
    assert list(found) == ["first", "third", "head"]
    assert all(arrays.find(NETWORK, WIDE)[name] is one for name, one in found.items())


def test_one_crossbar_has_the_mappings_of_its_programs():
    crossbar = override(CHIP, crossbars=1)
    cost = cost_network(derive_layer_table(NETWORK), WIDE, crossbar)
    expected = {one.mapping.layer.name: one.mapping.tiles for one in cost.layers}
    assert count_tiles(MachineArrays(crossbar, MappingModel.BEST).find(NETWORK, WIDE)) == expected
