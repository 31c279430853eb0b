"""The cost model of chips: exact where nothing is carried, never better than what is proven, links as in simulation."""

from functools import cache

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_residual
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.hardware.loading import override
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import derive_layer_table
from mho.policy import BitWidths, Policy
from mho.scheduling.bounds import bound_makespan
from mho.scheduling.chip_cost import ChipCostModel
from mho.scheduling.chip_schedule import schedule_network
from mho.scheduling.cost_objective import CostObjective
from mho.scheduling.duplication import Objective, count_interval_copies
from mho.scheduling.option_table import OptionTable
from mho.scheduling.quick_plan import Chooser
from mho.scheduling.routes import Routes
from mho.scheduling.transfer_timing import time_with_transfers
from mho.simulation.chip_timing import simulate_chip

ENERGY = {"mvm_pj": 3, "adc_pj": 0.5, "cell_write_pj": 2, "hop_pj_per_byte": 4, "crossbar_leakage_uw": 2}
NETWORKS = {"residual": make_residual(), "attention": make_attention()}
IDEAL = make_accelerator(rows=16, cols=16, cell_bits=2, dac_bits=2, crossbars=64, chip={"cores": 8}, energy=ENERGY)
MESH = make_accelerator(
    rows=16, cols=16, cell_bits=2, dac_bits=2, crossbars=64, chip={"cores": 32}, energy=ENERGY,
    interconnect={"kind": "mesh", "bytes_per_cycle": 1, "cycle_ns": 4, "hop_latency_cycles": 8},
)  # fmt: skip
WIDTHS = st.builds(BitWidths, st.integers(2, 8), st.integers(2, 8))


@cache
def _model(name: str, crossbars: int, objective: CostObjective, *, is_mesh: bool = False) -> ChipCostModel:
    accelerator: Accelerator = override(MESH if is_mesh else IDEAL, crossbars=crossbars)
    return ChipCostModel(NETWORKS[name], accelerator, objective)


def _draw(data: st.DataObject, name: str) -> Policy:
    return Policy({layer: data.draw(WIDTHS) for layer in NETWORKS[name].layer_names})


@pytest.mark.parametrize("name", NETWORKS)
@given(data=st.data())
@settings(max_examples=examples(30))
def test_without_carrying_the_cost_is_the_plans_and_no_bound_is_beaten(name, data):
    model, policy = _model(name, 64, CostObjective.LATENCY), _draw(data, name)
    found = model.plan(policy)
    assert found is not None
    assert found.cost.latency_ps == simulate_chip(found.graph, found.plan, model.accelerator).total_ps
    assert found.cost.crossbars == found.plan.used_crossbars <= 64
    searched = schedule_network(NETWORKS[name], policy, IDEAL).ideal.makespan_ps
    assert found.cost.latency_ps <= 1.2 * searched
    assert bound_makespan(found.graph, 64, known=[found.plan.copies]).bound_ps <= found.cost.latency_ps


@pytest.mark.parametrize("name", NETWORKS)
@given(data=st.data())
@settings(max_examples=examples(30))
def test_the_interval_is_that_of_the_exact_choice_and_falls_with_crossbars(name, data):
    policy = _draw(data, name)
    costs = [_model(name, crossbars, CostObjective.INTERVAL).cost(policy).interval_ps for crossbars in (48, 64, 96)]
    assert sorted(costs, reverse=True) == costs
    exact = schedule_network(NETWORKS[name], policy, IDEAL, objective=Objective.INTERVAL).ideal.interval_ps
    assert exact <= costs[1] <= 1.001 * exact


@given(data=st.data())
@settings(max_examples=examples(20))
def test_energy_is_that_of_the_schedule_and_not_much_more_than_the_fastest_plans(data):
    policy = _draw(data, "attention")
    model = _model("attention", 64, CostObjective.ENERGY)
    fastest = schedule_network(NETWORKS["attention"], policy, IDEAL)
    energy = fastest.price().energy.total_aj
    assert model.cost(policy).energy_aj <= 1.15 * energy  # other plans are tried: of 200 drawn the worst took 10 % more
    found = model.plan(policy)
    assert found is not None
    leaked = 64 * found.cost.latency_ps * 2
    assert leaked < found.cost.energy_aj == model.cost(policy).energy_aj


@pytest.mark.parametrize("name", NETWORKS)
@given(data=st.data())
@settings(max_examples=examples(30))
def test_what_is_carried_takes_the_links_of_the_simulation(name, data):
    model = _model(name, 64, CostObjective.LATENCY, is_mesh=True)
    found = model.plan(_draw(data, name))
    assert found is not None
    routes = Routes(model.accelerator.interconnect, model.accelerator.chip)
    carried = time_with_transfers(found.graph, found.plan, routes, model.accelerator.buffers.input_limit)
    simulated = simulate_chip(found.graph, found.plan, model.accelerator)
    assert carried.byte_hops == simulated.byte_hops
    if carried.is_free:
        assert carried.latency_ps == pytest.approx(simulated.total_ps, rel=0.02)


@given(data=st.data())
@settings(max_examples=examples(60))
def test_choices_have_the_fewest_copies_that_keep_up(data):
    network = NETWORKS["residual"]
    table = OptionTable(derive_layer_table(network), IDEAL, MappingModel.BEST, with_energy=False)
    options = [table.options(name, data.draw(WIDTHS)) for name in network.layer_names]
    chooser = Chooser(options)
    limits = chooser.list_limits(4)
    found = chooser.choose(limits, np.full(len(limits), 64, np.int64), (1.0,))
    assert found
    for choice in found:
        assert choice.crossbars <= 64
        for listed, number, copies in zip(options, choice.options, choice.copies, strict=True):
            assert count_interval_copies(listed.layers[number].cost, choice.interval_ps) <= copies
