"""What the time of a network is made of."""

from __future__ import annotations

import pytest
from accelerators import make_accelerator

from mho.cost_model.latency import cost_network
from mho.cost_model.time_components import TimeComponent, split_time
from mho.hardware.loading import load_accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy

LAYERS = (MvmLayer("a", "conv", 64, 576, 100, 1), MvmLayer("b", "matmul", 30, 40, 8, 2))
POLICY = Policy.uniform(("a", "b"), BitWidths(6, 5))
CHARGED = make_accelerator(
    64, 64, 2, adc_bits=6, converters={"adc_latency_us_per_bit": 0.2, "columns_per_adc": 4},
    digital={"operation_latency_us": 0.001},
)  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("hardware", [CHARGED, load_accelerator("pelke2026-4bit")], ids=["charged", "hidden"])
def test_components_add_up_to_the_time_of_the_network(hardware, batch):
    cost = cost_network(LAYERS, POLICY, hardware, batch=batch)
    parts = split_time(cost, hardware)
    assert sum(parts.values()) == cost.latency_ps
    assert parts[TimeComponent.READ] == cost.mvms * batch * hardware.mvm_latency_ps


def test_what_is_not_charged_for_takes_no_time():
    hardware = load_accelerator("pelke2026-4bit")
    parts = split_time(cost_network(LAYERS, POLICY, hardware, model=MappingModel.PAPER), hardware)
    assert (parts[TimeComponent.CONVERSION], parts[TimeComponent.DIGITAL]) == (0, 0)
    assert all(split_time(cost_network(LAYERS, POLICY, CHARGED), CHARGED).values())
