from __future__ import annotations

from itertools import product

import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_chain, make_residual

from mho.errors import ScheduleError
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import derive_layer_table
from mho.policy import BitWidths, Policy
from mho.scheduling.asap import time_asap
from mho.scheduling.bounds import bound_makespan
from mho.scheduling.dependencies import build_work_graph
from mho.scheduling.duplication import Objective, choose_copies
from mho.scheduling.option_search import OptionSearch
from mho.scheduling.options import CopyCost, list_network_options

ACCELERATOR = make_accelerator(rows=64, cols=32, cell_bits=2)
BITS = BitWidths(8, 8)


def choose_options(network, options, accelerator, crossbars, objective):
    return OptionSearch(network, options, accelerator).choose(crossbars, objective)


def list_options(network, model=MappingModel.BEST):
    layers = derive_layer_table(network)
    policy = Policy.uniform((layer.name for layer in layers), BITS)
    return list_network_options(layers, policy, ACCELERATOR, model)


@pytest.fixture(scope="module")
def chain():
    return make_chain()


@pytest.fixture(scope="module")
def residual():
    return make_residual()


def count_fewest(options):
    return sum(CopyCost.of(listed[0], ACCELERATOR).crossbars for listed in options.values())


def list_everything(options, crossbars):
    """Yield interval and latency layer by layer of every option and number of copies of each layer that fits."""
    choices = []
    for listed in options.values():
        costs = [CopyCost.of(mapping, ACCELERATOR) for mapping in listed]
        choices.append(
            [
                (cost.crossbars * copies, -(-cost.work_ps // copies), -(-cost.windows // copies) * cost.window_ps)
                for cost in costs
                for copies in range(1, crossbars // cost.crossbars + 1)
            ]
        )
    for chosen in product(*choices):
        if sum(cost for cost, _, _ in chosen) <= crossbars:
            yield max(interval for _, interval, _ in chosen), sum(time for _, _, time in chosen)


@pytest.mark.parametrize("spare", [0, 1, 5, 17])
def test_interval_and_layer_by_layer_are_the_best_of_all_options_and_copies(chain, spare):
    options = list_options(chain)
    assert all(len(listed) > 2 for listed in options.values()), "otherwise the test says little"
    crossbars = count_fewest(options) + spare
    everything = list(list_everything(options, crossbars))
    interval = choose_options(chain, options, ACCELERATOR, crossbars, Objective.INTERVAL)
    assert interval.duplication.value_ps == min(interval for interval, _ in everything)
    stepwise = choose_options(chain, options, ACCELERATOR, crossbars, Objective.LAYER_BY_LAYER)
    assert stepwise.duplication.value_ps == min(time for _, time in everything)


@pytest.mark.parametrize("spare", [0, 3, 20, 200])
def test_latency_gains_from_options_and_stays_above_its_bound(residual, spare):
    options = list_options(residual)
    crossbars = count_fewest(options) + spare
    fewest = build_work_graph(residual, {name: listed[0] for name, listed in options.items()}, ACCELERATOR)
    copies_alone = choose_copies(fewest, crossbars, Objective.LATENCY).value_ps
    found = choose_options(residual, options, ACCELERATOR, crossbars, Objective.LATENCY)
    duplication = found.duplication
    assert duplication.crossbars <= crossbars
    assert duplication.value_ps == time_asap(found.graph, duplication.copies).makespan_ps
    assert duplication.value_ps <= copies_alone
    assert duplication.value_ps < copies_alone or spare < 20, "options beat copies where there is room"
    assert bound_makespan(found.graph, crossbars).bound_ps <= duplication.value_ps


@pytest.mark.parametrize("objective", Objective)
def test_the_same_is_found_again(residual, objective):
    options = list_options(residual)
    first, second = (choose_options(residual, options, ACCELERATOR, 40, objective) for _ in range(2))
    assert [layer.mapping for layer in first.graph.layers] == [layer.mapping for layer in second.graph.layers]
    assert first.duplication == second.duplication


@pytest.mark.parametrize("objective", Objective)
def test_stored_operands_are_counted(objective):
    network = make_attention()
    options = list_options(network)
    crossbars = count_fewest(options) + 6
    found = choose_options(network, options, ACCELERATOR, crossbars, objective)
    assert sum(layer.write_ps > 0 for layer in found.graph.layers) == 2
    assert found.duplication.crossbars <= crossbars


def test_without_a_choice_only_copies_are_chosen(residual):
    options = list_options(residual, MappingModel.PAPER)
    crossbars = count_fewest(options) + 7
    found = choose_options(residual, options, ACCELERATOR, crossbars, Objective.LATENCY)
    assert found.duplication == choose_copies(found.graph, crossbars, Objective.LATENCY)


def test_too_few_crossbars_are_explained_with_demand_limit_and_levers(residual):
    options = list_options(residual)
    demand = count_fewest(options)
    with pytest.raises(ScheduleError) as caught:
        choose_options(residual, options, ACCELERATOR, demand - 1, Objective.LATENCY)
    assert f"take {demand} crossbars" in str(caught.value)
    assert f"the chip has {demand - 1}" in str(caught.value)
    assert "second" in caught.value.expected
    assert "--crossbars" in caught.value.hint


def test_one_more_crossbar_is_not_slower_where_one_start_alone_leads_astray(residual):
    chip = make_accelerator(rows=32, cols=32, cell_bits=4)
    layers = derive_layer_table(residual)
    policy = Policy.uniform((layer.name for layer in layers), BitWidths(4, 4))
    options = list_network_options(layers, policy, chip, MappingModel.BEST)
    latencies = [
        choose_options(residual, options, chip, crossbars, Objective.LATENCY).duplication.value_ps
        for crossbars in range(19, 23)
    ]
    assert sorted(latencies, reverse=True) == latencies
