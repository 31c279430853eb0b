import pytest
from accelerators import make_accelerator

from mho.cost_model.latency import cost_network
from mho.errors import ScheduleError
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.network_mapping import map_network
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy
from mho.scheduling.options import list_chip_options
from mho.scheduling.reload_network import schedule_network_reload
from mho.scheduling.reload_schedule import schedule_reload

HARDWARE = make_accelerator(rows=16, cols=16, crossbars=3)
LAYERS = [MvmLayer("first", "linear", 40, 20, 30, 1), MvmLayer("second", "linear", 3, 40, 6, 1)]
POLICY = Policy.uniform([layer.name for layer in LAYERS], BitWidths(4, 3))


@pytest.mark.parametrize("model", MappingModel)
def test_one_crossbar_takes_what_the_cost_model_says(model):
    schedule = schedule_network_reload(LAYERS, POLICY, HARDWARE, crossbars=1, model=model, batch=2)
    assert schedule.interval_ps == cost_network(LAYERS, POLICY, HARDWARE, model=model, batch=2).latency_ps


def test_the_faster_of_both_mappings_is_taken_on_the_crossbars_of_the_accelerator():
    best = MappingModel.BEST
    fewest = [list_chip_options(layer, POLICY[layer.name], HARDWARE, best)[0] for layer in LAYERS]
    cheapest = map_network(LAYERS, POLICY, HARDWARE, best)
    times = [schedule_reload(mapping, HARDWARE).interval_ps for mapping in (cheapest, fewest)]
    schedule = schedule_network_reload(LAYERS, POLICY, HARDWARE)
    assert schedule.crossbars == 3
    assert schedule.interval_ps == min(times)


def test_impossible_numbers_are_an_error():
    with pytest.raises(ScheduleError, match="at least 1"):
        schedule_network_reload([], Policy({}), HARDWARE)
    with pytest.raises(ScheduleError, match="at least 1"):
        schedule_network_reload(LAYERS, POLICY, HARDWARE, crossbars=0)
