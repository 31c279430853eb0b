from dataclasses import replace

import pytest
from mapped_networks import LAYERS, make_map, make_stack

from mho.cost_model.bounds import bound_network
from mho.cost_model.latency import cost_network
from mho.errors import MappingError
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.occupancy import count_cells
from mho.policy import BitWidths, Policy


@pytest.mark.parametrize("model", MappingModel)
@pytest.mark.parametrize("batch", [1, 4])
def test_times_are_those_of_the_cost_model(model, batch):
    found = make_map(model=model, batch=batch)
    policy = Policy.uniform([layer.name for layer in LAYERS], BitWidths(4, 3))
    cost = cost_network(LAYERS, policy, found.accelerator, model=model, batch=batch)
    assert tuple(layer.cost for layer in found.layers) == cost.layers
    assert found.latency_ps == cost.latency_ps
    assert [layer.explanation.time_ps for layer in found.layers] == [layer.latency_ps for layer in cost.layers]


def test_bounds_and_cells_are_those_of_each_layer_and_add_up():
    found = make_map()
    policy = Policy.uniform([layer.name for layer in LAYERS], BitWidths(4, 3))
    bound = bound_network(cost_network(LAYERS, policy, found.accelerator).mapping, found.accelerator)
    assert tuple(layer.bound for layer in found.layers) == bound.layers
    assert found.bound_ps == bound.latency_ps
    for layer in found.layers:
        assert layer.cells == count_cells(layer.mapping, found.accelerator)
        assert layer.over_bound >= 1
    assert found.cells.all == sum(layer.mapping.tiles for layer in found.layers) * 32 * 24


def test_layers_that_are_alike_are_reported_under_their_own_names():
    twin = replace(LAYERS[0], name="twin")
    found = make_map(layers=(LAYERS[0], twin))
    assert [layer.name for layer in found.layers] == ["stem", "twin"]
    assert found.layer("twin").explanation.mapping.layer == twin
    assert found.layer("twin").cells == found.layer("stem").cells


def test_an_unknown_layer_is_an_error_that_names_the_nearest():
    with pytest.raises(MappingError, match="did you mean 'depthwise'"):
        make_map().layer("deptwise")


def test_one_layer_alone_has_only_its_own_figures():
    found = make_map()
    alone = found.only("head")
    assert alone.layers == (found.layer("head"),)
    assert alone.latency_ps == found.layer("head").cost.latency_ps


def test_layers_in_one_crossbar_tell_what_that_saves():
    found = make_stack(batch=2)
    first, second = found.layers
    assert second.written_with == "first"
    assert (first.placement.row, first.placement.col) != (second.placement.row, second.placement.col)
    assert found.neighbours("first") == (second,)
    assert found.neighbours("second") == (first,)
    alone = sum(layer.explanation.by_itself.time_ps for layer in found.layers)
    assert first.explanation.saved_ps == second.explanation.saved_ps == alone - found.latency_ps > 0
    assert (first.explanation.stack, second.explanation.stack) == (("second",), ("first",))
    assert [layer.explanation.time_ps for layer in found.layers] == [layer.cost.latency_ps for layer in found.layers]


def test_the_cells_of_a_crossbar_that_layers_share_count_once():
    found = make_stack()
    assert found.cells.all == 32 * 48
    assert found.cells.digits == sum(layer.cells.digits for layer in found.layers)


def test_a_layer_in_a_crossbar_of_its_own_has_no_neighbours():
    found = make_map()
    assert found.neighbours("head") == ()
    assert found.layer("head").explanation.by_itself is None
    assert found.layer("head").explanation.saved_ps == 0
