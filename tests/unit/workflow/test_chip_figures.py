from __future__ import annotations

import pytest
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.workflow.chip_figures import INPUTS, schedule_policies


@pytest.fixture(scope="module")
def network():
    return make_residual()


def policies(network, **widths):
    return {
        name: (f"the {name}", Policy.uniform(network.layer_names, BitWidths(*pair))) for name, pair in widths.items()
    }


def chip(crossbars):
    return make_accelerator(rows=16, cols=16, cell_bits=2, crossbars=crossbars)


def test_narrow_layers_are_faster_on_the_same_chip(network):
    found = schedule_policies(
        network, policies(network, reference=(8, 8), found=(4, 4)), chip(40), model=MappingModel.BEST
    )
    reference, policy = found.figures
    assert (reference.label, policy.label) == ("the reference", "the found")
    assert reference.speedup == 1
    assert policy.speedup == reference.latency_us / policy.latency_us > 2, "fewer slices, and more copies"
    assert policy.minimal_crossbars < reference.minimal_crossbars
    for one in found.figures:
        assert one.bound_us <= one.latency_us < one.total_us < INPUTS * one.latency_us
        assert one.interval_us < one.latency_us
        assert one.used_crossbars <= 40
    assert len(found.timeline.legend) == INPUTS


def test_a_policy_that_does_not_fit_is_rewritten_for_every_inference(network):
    given = policies(network, reference=(8, 8), found=(2, 2))
    demand = schedule_policies(network, given, chip(40), model=MappingModel.BEST).figures[0].minimal_crossbars
    found = schedule_policies(network, given, chip(demand - 1), model=MappingModel.BEST)
    reference, policy = found.figures
    assert reference.is_reloaded
    assert (reference.minimal_crossbars, reference.speedup) == (demand, 1)
    assert reference.writes > 0
    assert reference.bound_us <= reference.latency_us == reference.interval_us
    assert not policy.is_reloaded
    assert policy.writes is None
    assert policy.speedup == reference.latency_us / policy.latency_us > 1
    assert len(found.timeline.legend) == INPUTS
    (alone,) = schedule_policies(
        network, policies(network, found=(8, 8)), chip(demand - 1), model=MappingModel.BEST
    ).figures
    assert alone.model_copy(update={"name": "reference", "label": reference.label}) == reference


def test_a_policy_that_cannot_be_scheduled_is_told_with_its_reason(network):
    hardware = make_accelerator(
        rows=16, cols=16, cell_bits=2, crossbars=40, buffers={"input_bytes": 3, "output_bytes": 3}
    )
    given = policies(network, reference=(8, 8), found=(2, 2))
    reference = schedule_policies(network, given, hardware, model=MappingModel.BEST).figures[0]
    assert "buffer" in reference.reason
    assert reference.latency_us is None


def test_one_crossbar_is_no_chip(network):
    found = schedule_policies(network, policies(network, found=(4, 4)), chip(1), model=MappingModel.BEST)
    assert found.figures == ()
    assert found.timeline is None
