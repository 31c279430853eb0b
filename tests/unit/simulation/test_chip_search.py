from __future__ import annotations

import pytest
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.errors import ScheduleError
from mho.quantization.policy import BitWidths, Policy
from mho.scheduling.chip_schedule import ChipDemand
from mho.scheduling.duplication import Objective
from mho.simulation.chip_search import simulate_best
from mho.simulation.chip_timing import simulate_chip

SLOW = {"kind": "bus", "bytes_per_cycle": 1, "cycle_ns": 300, "hop_latency_cycles": 1}


@pytest.fixture(scope="module")
def network():
    return make_residual()


def schedules(network, *, objective=Objective.LATENCY, batch=1, **sections):
    hardware = make_accelerator(rows=32, cols=16, cell_bits=4, crossbars=80, chip={"cores": 8}, **sections)
    policy = Policy.uniform(network.layer_names, BitWidths(4, 4))
    return ChipDemand.of(network, policy, hardware).list_schedules(objective, batch)


def test_schedules_fill_less_and_less_of_the_same_chip(network):
    listed = list(schedules(network))
    used = [schedule.plan.used_crossbars for schedule in listed]
    assert used == sorted(used, reverse=True)
    assert used[-1] == listed[0].minimal_crossbars < used[0] <= 80
    assert set(listed[-1].copies.values()) == {1}
    assert {schedule.plan.chip for schedule in listed} == {listed[0].accelerator.chip}


def test_a_slow_interconnect_makes_fewer_copies_better(network):
    everything = [
        (simulate_chip(one.graph, one.plan, one.accelerator).latency_ps, one.plan.used_crossbars)
        for one in schedules(network, interconnect=SLOW)
    ]
    found, timing = simulate_best(schedules(network, interconnect=SLOW))
    assert timing.latency_ps == min(everything)[0] < everything[0][0]
    assert (timing.latency_ps, found.plan.used_crossbars) in everything


def test_of_an_ideal_chip_only_the_fullest_is_simulated(network):
    listed = schedules(network)
    found, timing = simulate_best(listed)
    assert timing.latency_ps == found.timing.makespan_ps
    assert next(listed).plan.used_crossbars < found.plan.used_crossbars, "the others are still to come"


def test_intervals_are_compared_where_a_batch_shows_them(network):
    listed = list(schedules(network, objective=Objective.INTERVAL, batch=4, interconnect=SLOW))
    intervals = [simulate_chip(one.graph, one.plan, one.accelerator, batch=4).interval_ps for one in listed]
    _, timing = simulate_best(listed, with_spans=True)
    assert timing.interval_ps == min(intervals)
    assert timing.spans


def test_plans_that_buffers_do_not_hold_are_passed_over(network):
    sizes = range(8, 400, 8)
    outcomes = []
    for size in sizes:
        listed = list(schedules(network, interconnect=SLOW, buffers={"input_bytes": size, "output_bytes": 4000}))
        fits = [_is_held(one) for one in listed]
        outcomes.append(any(fits))
        if any(fits):
            found, _ = simulate_best(listed)
            assert _is_held(found)
        else:
            with pytest.raises(ScheduleError, match="input buffer"):
                simulate_best(listed)
        if any(fits) and not fits[0]:
            return  # the fullest was passed over
    raise AssertionError(f"no size tells plans apart: {outcomes}")


def _is_held(schedule):
    try:
        simulate_chip(schedule.graph, schedule.plan, schedule.accelerator)
    except ScheduleError:
        return False
    return True


def test_nothing_to_simulate_is_an_error():
    with pytest.raises(ScheduleError, match="no schedule to simulate"):
        simulate_best([])
