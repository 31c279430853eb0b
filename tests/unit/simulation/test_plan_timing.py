from __future__ import annotations

from math import inf

import pytest
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.errors import ScheduleError
from mho.policy import BitWidths, Policy
from mho.scheduling.bottleneck import Bottleneck
from mho.scheduling.chip_schedule import ChipSchedule, schedule_network
from mho.simulation.chip_timing import simulate_chip
from mho.simulation.plan_timing import TOLERANCE, PlanTiming, is_settled_at

BUS = {"kind": "bus", "bytes_per_cycle": 1, "cycle_ns": 300, "hop_latency_cycles": 1}


def make_timing(inputs=1, crossbars=40, cores=8, **sections):
    network = make_residual()
    hardware = make_accelerator(rows=32, cols=16, cell_bits=4, crossbars=crossbars, chip={"cores": cores}, **sections)
    schedule: ChipSchedule = schedule_network(network, Policy.uniform(network.layer_names, BitWidths(4, 4)), hardware)
    return schedule, PlanTiming(schedule.graph, schedule.plan, hardware, inputs)


def test_an_ideal_chip_takes_an_input_every_time_its_slowest_layer_takes():
    schedule, timing = make_timing(inputs=3)
    assert timing.interval_ps == timing.steady.bottleneck.busy_ps == schedule.ideal.interval_ps
    assert (timing.steady.inputs, timing.steady.is_settled, timing.steady.busy) == (0, True, 1)
    assert timing.steady.bottleneck.resource.startswith("copies of ")
    assert (timing.latency_ps, timing.alone.finish_ps) == (schedule.ideal.makespan_ps, (schedule.ideal.makespan_ps,))


def test_a_busy_bus_limits_a_pipeline_whose_first_few_inputs_end_close_to_each_other():
    schedule, timing = make_timing(inputs=3, interconnect=BUS)
    ends = timing.batch.finish_ps
    assert timing.steady.bottleneck.resource == "bus"
    assert timing.steady.is_settled
    assert 0.98 <= timing.steady.busy <= 1
    assert (ends[-1] - ends[0]) / 2 < timing.interval_ps / 2, "which is why their mean is not taken"
    assert timing.interval_ps > 2 * schedule.ideal.interval_ps
    assert timing.latency_ps == simulate_chip(schedule.graph, schedule.plan, schedule.accelerator).total_ps < ends[0]


def test_full_buffers_lengthen_the_interval_beyond_the_bottleneck():
    """On one core all layers share a buffer: once the first has filled it with what is not read yet, others wait."""
    schedule, timing = make_timing(crossbars=5, cores=1, buffers={"input_bytes": 96})
    assert timing.steady.bottleneck.busy_ps == schedule.ideal.interval_ps
    assert timing.steady.is_settled
    assert timing.steady.busy == pytest.approx(0.8)
    ends = simulate_chip(schedule.graph, schedule.plan, timing.accelerator, batch=40).finish_ps
    assert (ends[30] - ends[10]) / 20 == pytest.approx(timing.interval_ps, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("further", "before", "is_settled"),
    [
        (100, inf, True),  # the bound itself
        (101, 300, True),  # within 2 % of it
        (120, 119, True),  # longer, and the same twice
        (120, 110, False),
        (120, inf, False),
        (90, 90, False),  # the pipeline still fills: no interval is below the bound
    ],
)
def test_an_interval_is_settled_at_its_bound_or_where_it_stays(further, before, is_settled):
    assert is_settled_at(further, before, Bottleneck("bus", 100)) is is_settled


def test_nothing_is_simulated_before_it_is_asked_for():
    _, timing = make_timing(interconnect=BUS, buffers={"input_bytes": 1})
    with pytest.raises(ScheduleError, match="buffer"):
        timing.run()


def test_where_two_inputs_are_too_many_windows_the_interval_is_the_latency(monkeypatch):
    schedule, timing = make_timing(interconnect=BUS)
    windows = sum(layer.windows for layer in schedule.graph.layers)
    monkeypatch.setattr("mho.simulation.plan_timing.MOST_WINDOWS", 2 * windows - 1)
    assert timing.steady.inputs == 1
    assert not timing.steady.is_settled
    assert timing.interval_ps == timing.latency_ps
