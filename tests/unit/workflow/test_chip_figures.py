from __future__ import annotations

import pytest
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.evaluation.deployment import find_deployment
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.report.result_text import describe_machine
from mho.scheduling.regime import Regime
from mho.workflow.chip_figures import INPUTS, describe_deployments, draw_timeline

LABELS = {"reference": "uniform 8/8", "found": "found policy"}


@pytest.fixture(scope="module")
def network():
    return make_residual()


def chip(crossbars, **changes):
    return make_accelerator(rows=16, cols=16, cell_bits=2, crossbars=crossbars, **changes)


def deploy(network, hardware, reference=(8, 8), found=(4, 4)):
    return {
        name: find_deployment(network, Policy.uniform(network.layer_names, BitWidths(*pair)), hardware)
        for name, pair in (("reference", reference), ("found", found))
    }


def test_narrow_layers_are_faster_on_the_same_chip(network):
    deployed = deploy(network, chip(40))
    reference, policy = describe_deployments(deployed, LABELS)
    assert (reference.label, policy.label) == ("uniform 8/8", "found policy")
    assert reference.speedup == 1
    assert policy.speedup == pytest.approx(reference.latency_us / policy.latency_us)
    assert policy.speedup > 2, "fewer slices, and more copies"
    assert policy.minimal_crossbars < reference.minimal_crossbars
    for one in (reference, policy):
        assert one.regime == "weight-stationary"
        assert one.bound_us <= one.latency_us < one.total_us < INPUTS * one.latency_us
        assert one.interval_us < one.latency_us
        assert one.used_crossbars <= 40
        assert (one.writes, one.lifetime_inputs, one.cell_writes_per_day) == (0, None, 0)
    assert len(draw_timeline(deployed["found"]).legend) == INPUTS
    assert f"stay in {policy.used_crossbars} of 40 crossbars" in describe_machine(policy, 40)


def test_a_policy_that_does_not_fit_is_rewritten_for_every_inference(network):
    demand = deploy(network, chip(40))["reference"].minimal_crossbars
    hardware = chip(demand - 1, endurance={"cell_writes": 10_000})
    deployed = deploy(network, hardware, found=(2, 2))
    reference, policy = describe_deployments(deployed, LABELS)
    assert reference.regime is Regime.TIME_MULTIPLEXED
    assert (reference.minimal_crossbars, reference.speedup) == (demand, 1)
    assert reference.writes > 0
    assert reference.bound_us <= reference.latency_us == reference.interval_us
    assert reference.lifetime_inputs == int(10_000 / reference.cell_writes_per_input)
    days = reference.lifetime_inputs * reference.interval_us / 86_400e6
    assert reference.lifetime_days == pytest.approx(days)
    assert reference.cell_writes_per_day * reference.lifetime_days == pytest.approx(10_000, rel=1e-3)
    assert (policy.regime, policy.writes, policy.lifetime_inputs) == (Regime.WEIGHT_STATIONARY, 0, None)
    assert policy.speedup == pytest.approx(reference.latency_us / policy.latency_us)
    assert draw_timeline(deployed["reference"]).legend[0][1] == "written"
    shown = describe_machine(reference, demand - 1)
    assert f"{reference.writes:,} writes an inference; its cells last {reference.lifetime_inputs:,} inf" in shown


def test_one_crossbar_is_written_with_every_tile(network):
    deployed = deploy(network, chip(1, endurance={"cell_writes": 1000}))
    reference, policy = describe_deployments(deployed, LABELS)
    assert policy.regime == "one-crossbar"
    assert (policy.used_crossbars, policy.writes) == (1, policy.cell_writes_per_input)
    assert policy.lifetime_inputs == 1000 // policy.writes > reference.lifetime_inputs
    assert draw_timeline(deployed["found"]) is None


@pytest.mark.parametrize("model", list(MappingModel))
@pytest.mark.parametrize("crossbars", [1, 5, 60])
def test_layers_add_up_to_the_whole(network, crossbars, model):
    policy = Policy.uniform(network.layer_names, BitWidths(8, 8))
    deployment = find_deployment(network, policy, chip(crossbars), model=model)
    times = [layer.latency_ps for layer in deployment.layers]
    if deployment.regime == "weight-stationary":
        assert max(times) <= deployment.latency_ps
    else:
        assert sum(times) == deployment.latency_ps
    assert list(deployment.mappings) == list(network.layer_names)
    assert deployment.bound_ps <= deployment.latency_ps
