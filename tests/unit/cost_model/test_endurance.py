import pytest
from accelerators import make_accelerator

from mho.cost_model.endurance import count_lifetime_inputs, count_network_lifetime
from mho.cost_model.latency import cost_network
from mho.errors import MappingError
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy

HARDWARE = make_accelerator(endurance={"cell_writes": 1000})


@pytest.mark.parametrize(("writes", "inputs", "lifetime"), [(1, 1, 1000), (3, 1, 333), (3, 8, 2666), (1001, 1, 0)])
def test_a_chip_lasts_until_its_most_written_cell_fails(writes, inputs, lifetime):
    assert count_lifetime_inputs(HARDWARE, writes, inputs=inputs) == lifetime


def test_cells_wear_with_every_pulse():
    array = {"pulse_error": 0.05, "verify_pulses": 4}  # no tolerance: all four are spent
    pulsed = make_accelerator(endurance={"cell_writes": 1000}, array=array)
    assert count_lifetime_inputs(pulsed, 3) == 1000 // 12
    assert count_lifetime_inputs(pulsed, 3, inputs=8) == 8000 // 12


def test_nothing_is_reported_where_endurance_is_not_or_nothing_wears():
    assert count_lifetime_inputs(make_accelerator(), 5) is None
    assert count_lifetime_inputs(HARDWARE, 0) is None


@pytest.mark.parametrize(("writes", "inputs"), [(-1, 1), (1, 0)])
def test_impossible_numbers_are_an_error(writes, inputs):
    with pytest.raises(MappingError, match="expected"):
        count_lifetime_inputs(HARDWARE, writes, inputs=inputs)


@pytest.mark.parametrize(("batch", "lifetime"), [(1, 1000 // (15 + 4)), (5, 1000 * 5 // (15 + 5 * 4))])
def test_one_crossbar_is_written_for_every_tile_and_for_stored_activations_of_each_sample(batch, lifetime):
    layers = [MvmLayer("dense", "linear", 10, 20, 3, 1), MvmLayer("scores", "matmul", 1, 5, 7, 4)]
    policy = Policy.uniform(["dense", "scores"], BitWidths(4, 3))
    cost = cost_network(layers, policy, HARDWARE, model=MappingModel.PAPER, batch=batch)
    assert [layer.writes for layer in cost.layers] == [15, 4]
    assert count_network_lifetime(cost, HARDWARE) == lifetime
