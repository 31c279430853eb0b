from __future__ import annotations

import pytest
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.errors import ScheduleError
from mho.policy import BitWidths, Policy
from mho.scheduling.chip_schedule import ChipDemand
from mho.scheduling.duplication import Objective
from mho.simulation.chip_search import simulate_best
from mho.simulation.chip_timing import simulate_chip
from mho.simulation.plan_timing import TOLERANCE

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
        (simulate_chip(one.graph, one.plan, one.accelerator).total_ps, one.plan.used_crossbars)
        for one in schedules(network, interconnect=SLOW)
    ]
    found = simulate_best(schedules(network, interconnect=SLOW))
    assert found.timing.latency_ps == min(everything)[0] < everything[0][0]
    assert (found.timing.latency_ps, found.plan.used_crossbars) in everything


def test_the_latency_is_that_of_one_input_whatever_the_batch(network):
    alone, several = (simulate_best(schedules(network, batch=batch, interconnect=SLOW)) for batch in (1, 6))
    assert several.timing.latency_ps == alone.timing.latency_ps < several.timing.batch.finish_ps[0]
    assert several.plan.used_crossbars == alone.plan.used_crossbars
    assert several.timing.interval_ps == alone.timing.interval_ps


def test_of_an_ideal_chip_only_the_fullest_is_simulated(network):
    listed = schedules(network)
    found = simulate_best(listed)
    assert found.timing.latency_ps == found.ideal.makespan_ps
    assert found.timing.interval_ps == found.ideal.interval_ps
    assert next(listed).plan.used_crossbars < found.plan.used_crossbars, "the others are still to come"


@pytest.mark.parametrize("batch", [1, 4])
def test_the_best_for_the_interval_has_the_least_of_a_full_pipeline(network, batch):
    listed = list(schedules(network, objective=Objective.INTERVAL, batch=batch, interconnect=SLOW))
    totals = [
        [simulate_chip(one.graph, one.plan, one.accelerator, batch=inputs).total_ps for inputs in (64, 128)]
        for one in listed
    ]
    intervals = [(longer - shorter) / 64 for shorter, longer in totals]
    found = simulate_best(listed, with_spans=True)
    assert found.timing.interval_ps == pytest.approx(min(intervals), rel=TOLERANCE)
    assert max(intervals) > 1.5 * min(intervals), "plans differ"
    assert found.timing.interval_ps > 2 * listed[0].ideal.interval_ps, "the ideal interconnect tells another"
    assert found.timing.batch.spans


def test_plans_that_buffers_do_not_hold_are_passed_over(network):
    sizes = range(8, 400, 8)
    outcomes = []
    for size in sizes:
        listed = list(schedules(network, interconnect=SLOW, buffers={"input_bytes": size, "output_bytes": 4000}))
        fits = [_is_held(one) for one in listed]
        outcomes.append(any(fits))
        if any(fits):
            found = simulate_best(listed)
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
