from __future__ import annotations

import itertools

import pytest
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.errors import ScheduleError
from mho.policy import BitWidths, Policy
from mho.scheduling.chip_schedule import ChipDemand
from mho.scheduling.duplication import Objective
from mho.simulation.chip_search import simulate_best
from mho.simulation.chip_timing import simulate_chip
from mho.simulation.plan_timing import TOLERANCE, PlanTiming

SLOW = {"kind": "bus", "bytes_per_cycle": 1, "cycle_ns": 300, "hop_latency_cycles": 1}


@pytest.fixture(scope="module")
def network():
    return make_residual()


def make_demand(network, crossbars=80, **sections):
    hardware = make_accelerator(
        rows=32, cols=16, cell_bits=4, crossbars=crossbars, chip={"cores": crossbars // 10}, **sections
    )
    return ChipDemand.of(network, Policy.uniform(network.layer_names, BitWidths(4, 4)), hardware)


def list_all(demand, objective=Objective.LATENCY, batch=1):
    sizes = demand.list_sizes()
    return [one for size in sizes for one in demand.list_schedules(size, objective, batch, is_quick=True)]


def test_sizes_reach_from_all_crossbars_to_the_fewest(network):
    demand = make_demand(network)
    sizes = demand.list_sizes()
    assert sizes[0] == 80
    assert sizes[-1] == demand.minimal_crossbars < 10
    assert all(smaller < size <= 1.5 * smaller for size, smaller in itertools.pairwise(sizes))
    assert set(sizes) - {80} <= set(make_demand(network, 160).list_sizes())
    listed = list_all(demand)
    assert {schedule.plan.chip for schedule in listed} == {demand.accelerator.chip}
    assert set(demand.schedule_fewest().copies.values()) == {1}


def test_a_slow_interconnect_makes_fewer_copies_better(network):
    demand = make_demand(network, interconnect=SLOW)
    full = demand.schedule()
    everything = [simulate_chip(one.graph, one.plan, one.accelerator).total_ps for one in (full, *list_all(demand))]
    found = simulate_best(demand)
    assert found.timing.latency_ps <= min(everything) < everything[0]
    assert found.plan.used_crossbars < full.plan.used_crossbars
    assert found.timing.latency_ps == simulate_chip(found.graph, found.plan, found.accelerator).total_ps


@pytest.mark.parametrize(
    ("objective", "batch"), [(Objective.LATENCY, 1), (Objective.LATENCY, 4), (Objective.INTERVAL, 1)]
)
@pytest.mark.parametrize("interconnect", [SLOW, SLOW | {"kind": "mesh"}], ids=["bus", "mesh"])
def test_a_larger_chip_is_not_slower(network, interconnect, objective, batch):
    found = [
        simulate_best(make_demand(network, crossbars, interconnect=interconnect), objective, batch=batch).value_ps
        for crossbars in (10, 20, 40, 160)
    ]
    assert found == sorted(found, reverse=True)
    assert interconnect is SLOW or found[-1] < found[0], "a bus of this kind pays for no second core"


def test_a_chip_takes_the_plans_of_a_smaller_one(network):
    mesh = SLOW | {"kind": "mesh"}
    small, large = (make_demand(network, crossbars, interconnect=mesh) for crossbars in (60, 160))
    size = small.list_sizes()[1]
    values = [
        {
            simulate_chip(one.graph, one.plan, one.accelerator).total_ps
            for one in demand.list_schedules(size, Objective.LATENCY, is_quick=True)
        }
        for demand in (small, large)
    ]
    assert len(values[0]) > 1, "the order of cores counts"
    assert values[0] <= values[1]


@pytest.mark.parametrize("batch", [1, 6])
def test_the_best_for_the_latency_finishes_the_batch_first(network, batch):
    demand = make_demand(network, interconnect=SLOW | {"kind": "mesh"})
    listed = list_all(demand, batch=batch)
    totals = [simulate_chip(one.graph, one.plan, one.accelerator, batch=batch).total_ps for one in listed]
    found = simulate_best(demand, batch=batch)
    assert found.total_ps <= min(totals) < max(totals)
    assert found.total_ps == found.timing.batch.finish_ps[-1] >= found.least_value_ps
    assert found.latency_ps == simulate_chip(found.graph, found.plan, found.accelerator).total_ps


def test_of_an_ideal_chip_the_plan_on_all_crossbars_is_simulated(network):
    demand = make_demand(network)
    found = simulate_best(demand)
    assert found.timing.latency_ps == found.ideal.makespan_ps
    assert found.timing.interval_ps == found.ideal.interval_ps
    assert found.plan == demand.schedule().plan


@pytest.mark.parametrize("batch", [1, 4])
def test_the_best_for_the_interval_has_the_least_of_a_full_pipeline(network, batch):
    demand = make_demand(network, interconnect=SLOW)
    listed = list_all(demand, Objective.INTERVAL, batch)
    totals = [
        [simulate_chip(one.graph, one.plan, one.accelerator, batch=inputs).total_ps for inputs in (64, 128)]
        for one in listed
    ]
    intervals = [(longer - shorter) / 64 for shorter, longer in totals]
    found = simulate_best(demand, Objective.INTERVAL, batch=batch, with_spans=True)
    assert found.timing.interval_ps == pytest.approx(min(intervals), rel=TOLERANCE)
    assert max(intervals) > 1.5 * min(intervals), "plans differ"
    assert found.timing.interval_ps > 2 * listed[0].ideal.interval_ps, "the ideal interconnect tells another"
    assert found.timing.batch.spans


def test_plans_that_buffers_do_not_hold_are_passed_over(network):
    outcomes = []
    for size in range(8, 400, 8):
        demand = make_demand(network, interconnect=SLOW, buffers={"input_bytes": size, "output_bytes": 4000})
        fits = [_is_held(one) for one in list_all(demand)]
        outcomes.append(any(fits))
        if any(fits):
            assert _is_held(simulate_best(demand))
        else:
            with pytest.raises(ScheduleError, match="input buffer"):
                simulate_best(demand)
        if any(fits) and not all(fits):
            return  # some were passed over
    raise AssertionError(f"no size tells plans apart: {outcomes}")


def _is_held(schedule):
    try:
        PlanTiming(schedule.graph, schedule.plan, schedule.accelerator).run()
    except ScheduleError:
        return False
    return True
