from __future__ import annotations

import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_residual

from mho.errors import ConfigError, PolicyError, ScheduleError
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.scheduling.asap import time_asap
from mho.scheduling.chip_schedule import schedule_network
from mho.scheduling.duplication import Objective

ENERGY = {"mvm_pj": 3, "cell_write_pj": 7, "hop_pj_per_byte": 5, "crossbar_leakage_uw": 2, "core_leakage_uw": 11}
ACCELERATOR = make_accelerator(
    rows=32, cols=16, cell_bits=4, crossbars=40, chip={"cores": 4}, energy=ENERGY, endurance={"cell_writes": 1000}
)


def uniform(network, bits=(4, 4)):
    return Policy.uniform(network.layer_names, BitWidths(*bits))


@pytest.fixture(scope="module")
def network():
    return make_residual()


@pytest.fixture(scope="module")
def schedule(network):
    return schedule_network(network, uniform(network), ACCELERATOR, batch=3)


def test_its_parts_agree(schedule):
    assert schedule.plan.copies == dict(schedule.copies)
    assert schedule.plan.used_crossbars == schedule.duplication.crossbars <= 40
    assert schedule.batch == 3
    assert schedule.ideal.makespan_ps == schedule.duplication.value_ps
    assert schedule.ideal.total_ps == time_asap(schedule.graph, schedule.copies, batch=3).total_ps
    assert list(schedule.mappings) == ["first", "second", "third", "head"]


def test_bounds_hold_and_overlap_gains(schedule):
    assert schedule.bounds.bound_ps <= schedule.ideal.makespan_ps <= schedule.layer_by_layer.makespan_ps
    assert schedule.interval_bound_ps <= schedule.ideal.interval_ps
    assert schedule.minimal_crossbars <= schedule.plan.used_crossbars
    assert schedule.ideal.makespan_ps < schedule.minimal_ps


@pytest.mark.parametrize("objective", Objective)
def test_each_objective_is_best_at_its_own(network, objective):
    values = {}
    for other in Objective:
        found = schedule_network(network, uniform(network), ACCELERATOR, objective=other)
        times = {
            Objective.LATENCY: found.ideal.makespan_ps,
            Objective.INTERVAL: found.ideal.interval_ps,
            Objective.LAYER_BY_LAYER: found.layer_by_layer.makespan_ps,
        }
        values[other] = times[objective]
        assert found.objective is other
    assert values[objective] == min(values.values())


def test_cores_keep_their_size_when_crossbars_are_overridden(network):
    found = schedule_network(network, uniform(network), ACCELERATOR, crossbars=60)
    assert (found.accelerator.chip.crossbars, found.accelerator.chip.cores) == (60, 6)
    assert found.plan.chip == found.accelerator.chip
    with pytest.raises(ConfigError, match="a multiple of 10, such as 60 or 70"):
        schedule_network(network, uniform(network), ACCELERATOR, crossbars=64)


def test_layers_may_be_left_off_the_chip(network):
    convolutions = ["first", "second", "third"]
    found = schedule_network(network, uniform(network), ACCELERATOR, layers=convolutions)
    assert list(found.mappings) == list(found.policy.layers) == convolutions


def test_the_papers_mapping_is_im2col(network):
    found = schedule_network(network, uniform(network), ACCELERATOR, model=MappingModel.PAPER, crossbars=80)
    assert {layer.windows for layer in found.graph.layers} == {64, 16, 1}


def test_what_is_wrong_is_explained(network):
    with pytest.raises(ScheduleError, match="did you mean 'third'"):
        schedule_network(network, uniform(network), ACCELERATOR, layers=["thrid"])
    with pytest.raises(ScheduleError, match="no layer is to lie on the chip"):
        schedule_network(network, uniform(network), ACCELERATOR, layers=[])
    policy = Policy({name: BitWidths(4, 4) for name in ("first", "second", "third")})
    with pytest.raises(PolicyError, match="layers without bit widths: head"):
        schedule_network(network, policy, ACCELERATOR)
    with pytest.raises(ScheduleError, match="a batch of 0"):
        schedule_network(network, uniform(network), ACCELERATOR, batch=0)


def test_weights_that_stay_are_not_written(schedule):
    spent = schedule.price()
    assert all(layer.activity.cell_writes == 0 for layer in spent.layers)
    spent_aj = {str(component): aj for component, aj in spent.energy.component_aj.items()}
    reads = 3 * sum(mapping.mvms for mapping in schedule.mappings.values())
    assert spent_aj == {
        "crossbar": reads * 3_000_000,
        "leakage": schedule.ideal.total_ps * (40 * 2 + 4 * 11),
    }
    assert schedule.lifetime_inputs is None


def test_operands_made_on_the_way_are_written_into_every_copy():
    network = make_attention()
    single = schedule_network(network, uniform(network), ACCELERATOR, model=MappingModel.PAPER, crossbars=10)
    several = schedule_network(network, uniform(network), ACCELERATOR, model=MappingModel.PAPER, crossbars=40, batch=2)
    (product, *_) = [name for name, mapping in several.mappings.items() if mapping.layer.is_stored_dynamically]
    few, many = single.copies[product], several.copies[product]
    assert few < many <= several.graph[product].windows
    writes = [
        next(layer.activity.cell_writes for layer in one.price().layers if layer.name == product)
        for one in (single, several)
    ]
    assert writes[1] * few == 2 * many * writes[0] > 0
    assert several.lifetime_inputs == 1000
