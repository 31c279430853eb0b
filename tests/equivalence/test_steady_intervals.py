"""The interval of ResNet-8 at 8/8 on `puma` and `isaac` is what further inputs add to a long simulation, to 5 %."""

import pytest

from mho.hardware.loading import load_accelerator
from mho.network.loading import load_network
from mho.policy import BitWidths, Policy
from mho.scheduling.chip_schedule import schedule_network
from mho.simulation.chip_search import SimulatedSchedule
from mho.simulation.chip_timing import simulate_chip

pytestmark = pytest.mark.figures

INPUTS, TOLERANCE = 24, 0.05


@pytest.mark.parametrize("name", [pytest.param("isaac", marks=pytest.mark.slow), "puma"])
def test_the_interval_is_what_further_inputs_add_to_a_long_simulation(name):
    network, hardware = load_network("resnet8"), load_accelerator(name)
    policy = Policy.uniform(network.layer_names, BitWidths(8, 8))
    schedule = SimulatedSchedule.of(schedule_network(network, policy, hardware))
    steady = schedule.timing.steady
    ends = [
        simulate_chip(schedule.graph, schedule.plan, hardware, batch=inputs).total_ps
        for inputs in (INPUTS // 2, INPUTS)
    ]
    assert steady.interval_ps == pytest.approx((ends[1] - ends[0]) / (INPUTS // 2), rel=TOLERANCE)
    assert steady.bottleneck.busy_ps <= steady.interval_ps <= ends[1] / INPUTS
    assert steady.interval_ps > 5 * schedule.ideal.interval_ps, "an ideal interconnect gives another"
    assert steady.is_settled
