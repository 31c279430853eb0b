"""Layers that digital units compute while all tiles stay: who computes which, how units are shared, when it pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_residual

from mho.errors import MappingError, ScheduleError
from mho.hardware.loading import override
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.scheduling.bottleneck import find_bottleneck
from mho.scheduling.chip_cost import ChipCostModel
from mho.scheduling.chip_schedule import ChipDemand, schedule_network
from mho.scheduling.cost_objective import CostObjective
from mho.scheduling.digital_units import (
    assign_units,
    bound_units,
    divide_units,
    list_divisions,
    run_alone,
    share_units,
)
from mho.scheduling.placement import place_copies
from mho.scheduling.regime import Regime
from mho.scheduling.work_graph import LayerWork, Need, WorkGraph
from mho.simulation.chip_search import SimulatedSchedule, find_schedule
from mho.simulation.chip_timing import Cause, simulate_chip

NETWORK = make_residual()
POLICY = Policy.uniform(NETWORK.layer_names, BitWidths(4, 4))

FEW = 5
"""Crossbars that do not hold all layers."""
RULES = "auto", "none"


def make_chip(crossbars, rule="auto", cores=1, operation_us=1e-6, **changes):
    return make_accelerator(
        rows=16, cols=16, chip={"crossbars": crossbars, "cores": cores}, digital={"operation_latency_us": operation_us},
        mapping={"digital_layers": rule}, **changes,
    )  # fmt: skip


def schedule_on_few(rule, operation_us=1e-6, **pins):
    return find_schedule(
        ChipDemand.of(NETWORK, POLICY, override(make_chip(FEW, rule, operation_us=operation_us), **pins))
    )


def work(name, windows, window_ps, *, unit=0, write_ps=0, needs=()):
    digital_ps = 4 if unit is None else window_ps
    crossbars = 2 if unit is None else 0
    return LayerWork(
        name, None, crossbars, windows, window_ps, needs, write_ps=write_ps, unit=unit, digital_ps=digital_ps
    )


GRAPH = WorkGraph(
    "graph",
    (
        work("long", 10, 6),
        work("cells", 10, 100, unit=None, needs=(Need("long", np.arange(1, 11)),)),
        work("written", 4, 5, write_ps=10),
        work("short", 5, 2),
    ),
)


def test_a_unit_is_divided_among_its_layers_in_proportion_to_their_work():
    shared = divide_units(GRAPH, 1)
    assert shared["cells"] is GRAPH["cells"]
    assert [shared[name].window_ps for name in ("long", "written", "short")] == [10, 17, 20]  # 100 ps of work in all
    assert [shared[name].write_ps for name in ("long", "written", "short")] == [0, 10, 0]
    assert run_alone(shared)["short"].window_ps == 2
    assert (bound_units(GRAPH, 1), bound_units(GRAPH, 2)) == (130, 65)  # with 40 ps of the layer in crossbars
    alone = share_units(GRAPH, {"long": 0, "written": 1, "short": 2})
    assert [one.window_ps for one in alone.layers] == [one.window_ps for one in GRAPH.layers]


def test_units_of_several_cores_get_about_the_same_work():
    assert assign_units(GRAPH, 2) == {"long": 0, "written": 1, "short": 1}
    shared = divide_units(GRAPH, 2)
    assert [shared[name].unit for name in ("long", "cells", "written", "short")] == [0, None, 1, 1]
    assert (shared["long"].window_ps, shared["short"].window_ps) == (6, 8)
    with pytest.raises(ScheduleError, match="units for other layers"):
        share_units(GRAPH, {"long": 0})


def test_layers_move_to_units_in_the_order_of_what_crossbars_they_free():
    cells = replace(work("cells", 10, 100, unit=None), crossbars=3)
    options = [(work("expensive", 10, 90), cells), (cells,), (work("cheap", 10, 9), cells), (work("pinned", 1, 1),)]
    assert list_divisions(options) == [
        (False, False, False, True),
        (False, False, True, True),
        (True, False, True, True),
    ]
    assert list_divisions([(cells,), (cells,)]) == [(False, False)]


def test_tiles_stay_where_a_unit_takes_the_layers_that_do_not_fit_and_that_is_faster():
    assert schedule_on_few("none").regime is Regime.TIME_MULTIPLEXED
    found = schedule_on_few("auto", operation_us=0.01, never_digital=["first", "third", "head"])
    assert isinstance(found, SimulatedSchedule)
    assert found.regime is Regime.WEIGHT_STATIONARY
    assert any(mapping.is_digital for mapping in found.mappings.values())
    assert (found.used_crossbars <= FEW, found.cell_writes_per_input, found.lifetime_inputs) == (True, 0, None)
    slow, without = (schedule_on_few(rule, operation_us=10) for rule in RULES)
    assert slow.regime is Regime.TIME_MULTIPLEXED
    assert slow.latency_ps <= without.latency_ps


def test_a_fast_unit_makes_a_chip_that_holds_all_tiles_no_slower_and_a_slow_one_takes_nothing():
    without, fast, slow = (
        schedule_network(NETWORK, POLICY, make_chip(60, rule, operation_us=time))
        for rule, time in (("none", 1e-6), ("auto", 1e-6), ("auto", 10))
    )
    assert fast.latency_ps < without.latency_ps
    assert not any(mapping.is_digital for mapping in slow.mappings.values())


@pytest.mark.parametrize("cores", [1, 4])
def test_pinned_layers_are_digital_on_a_chip_whose_tiles_stay_and_costs_say_what_it_takes(cores):
    chip = override(make_chip(60, "none", cores), always_digital=["second", "head"])
    found = schedule_network(NETWORK, POLICY, chip)
    assert [name for name, mapping in found.mappings.items() if mapping.is_digital] == ["second", "head"]
    assert [found.plan.places[name][0].crossbars for name in ("second", "head")] == [(), ()]
    assert {found.plan.places[name][0].home for name in ("second", "head")} == ({0} if cores == 1 else {0, 1})
    simulated = simulate_chip(found.graph, found.plan, chip).total_ps
    assert found.bound_ps <= simulated
    assert bound_units(found.graph, cores) <= simulated
    cost = ChipCostModel(NETWORK, chip, CostObjective.LATENCY).cost(POLICY)
    assert cost.regime is Regime.WEIGHT_STATIONARY
    assert 0.7 * simulated <= cost.latency_ps <= 1.3 * simulated
    operations = sum(one.operations for one in found.count_activities().values())
    assert operations >= sum(found.mappings[name].extra_operations for name in ("second", "head")) > 0
    with pytest.raises(MappingError, match="no MVM layer"):
        schedule_network(NETWORK, POLICY, override(chip, always_digital=["secnd"]))


def test_a_product_of_activations_on_a_unit_writes_no_cell():
    network = make_attention()
    policy = Policy.uniform(network.layer_names, BitWidths(4, 4))
    products = [name for name in network.layer_names if name not in ("queries", "keys", "head")]
    for names, writes in (([], 1), (products, 0)):
        chip = override(make_chip(40, "none"), always_digital=names, never_digital=[] if names else products)
        found = schedule_network(network, policy, chip)
        assert found.cell_writes_per_input == writes
        assert ChipCostModel(network, chip, CostObjective.LIFETIME).cost(policy).cell_writes == writes


def test_a_schedule_that_may_reload_tiles_and_keeps_all_is_weight_stationary():
    chip = make_chip(60, "none")
    found = ChipDemand.of(NETWORK, POLICY, chip, model=MappingModel.BEST).schedule_reload()
    assert (found.writes, found.regime) == (0, Regime.WEIGHT_STATIONARY)
    few = ChipDemand.of(NETWORK, POLICY, override(chip, crossbars=3)).schedule_reload()
    assert (few.writes > 0, few.regime) == (True, Regime.TIME_MULTIPLEXED)


def test_a_unit_does_the_digital_work_of_one_window_at_a_time():
    """Two layers that need nothing of each other, of four windows: 10 ps side by side, digital work of 6 ps in turn."""
    works = tuple(LayerWork(name, None, 1, 4, 16, (), digital_ps=6) for name in ("one", "other"))
    graph, copies = WorkGraph("pair", works), {"one": 1, "other": 1}
    for cores, expected in ((1, 16 + 3 * 16 + 6), (2, 4 * 16)):
        chip = make_chip(2, "none", cores)
        timing = simulate_chip(graph, place_copies(graph, copies, chip.chip), chip)
        assert timing.total_ps == expected
        first, second = timing.layers
        assert (first.busy_ps, second.busy_ps) == (64, 64)
        assert (second.lost_ps[Cause.DIGITAL] > 0) == (cores == 1)
        for layer in timing.layers:
            assert layer.busy_ps + sum(layer.lost_ps.values()) == timing.total_ps
    bottleneck = find_bottleneck(graph, place_copies(graph, copies, make_chip(2, "none").chip), make_chip(2, "none"))
    assert (bottleneck.resource, bottleneck.busy_ps) == ("copies of one", 64)
    busy = WorkGraph("busy", tuple(replace(work, window_ps=40, digital_ps=36) for work in works))
    bottleneck = find_bottleneck(busy, place_copies(busy, copies, make_chip(2, "none").chip), make_chip(2, "none"))
    assert (bottleneck.resource, bottleneck.busy_ps) == ("digital unit of core 0", 288)
