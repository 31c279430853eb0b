"""Layers that are pinned to the digital unit or to crossbars by name."""

import pytest
from accelerators import make_accelerator
from mapped_networks import conv

from mho.cost_model.energy import Component, energy_network
from mho.cost_model.latency import cost_network
from mho.cost_model.latency_table import LatencyTable
from mho.errors import ConfigError, MappingError, MhoError
from mho.hardware.loading import override
from mho.hardware.spec import Accelerator
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy
from mho.scheduling.reload_schedule import schedule_network_reload

HARDWARE = make_accelerator(
    32, 32, 2, digital={"operation_latency_us": 0.05}, energy={"operation_pj": 2, "mvm_pj": 5, "memory_pj_per_byte": 3}
)
"""A digital unit that is slow: by itself it takes no layer with weights."""
LAYERS = (
    conv("first", 4, 2, 6),
    conv("second", 4, 4, 6),
    MvmLayer("third", "linear", 4, 16, 1, 1),
    MvmLayer("fourth", "linear", 4, 16, 1, 1),
)
POLICY = Policy.uniform([layer.name for layer in LAYERS], BitWidths(4, 4))


def find_digital(hardware: Accelerator) -> list[str]:
    cost = cost_network(LAYERS, POLICY, hardware)
    return [one.mapping.layer.name for one in cost.layers if one.mapping.is_digital]


@pytest.mark.parametrize("names", [["first"], ["third"], ["second", "fourth"]])
def test_layers_with_such_a_name_are_digital_and_no_others(names: list[str]) -> None:
    assert find_digital(HARDWARE) == []
    assert find_digital(override(HARDWARE, always_digital=names)) == names


def test_layers_stay_in_crossbars_by_name_whatever_the_rule_is() -> None:
    content = HARDWARE.to_json()
    content["digital"]["operation_latency_us"] = 1e-6
    content["mapping"]["digital_layers"] = "auto"
    auto = Accelerator.model_validate(content)
    assert find_digital(auto) == list(POLICY.layers)
    assert find_digital(override(auto, never_digital=["second"])) == ["first", "third", "fourth"]


def test_every_layer_or_none_is_a_rule_too() -> None:
    content = HARDWARE.to_json()
    content["mapping"]["digital_layers"] = "always"
    always = Accelerator.model_validate(content)
    assert find_digital(always) == list(POLICY.layers)
    assert find_digital(override(always, never_digital=["first"])) == ["second", "third", "fourth"]


def test_tables_of_searches_and_energies_follow_pins() -> None:
    pinned = override(HARDWARE, always_digital=["second"])
    cost = cost_network(LAYERS, POLICY, pinned)
    assert LatencyTable.build(LAYERS, pinned).policy_latency_ps(POLICY) == cost.latency_ps
    energy = energy_network(cost, pinned).layers[1].energy
    operations = cost.layers[1].mapping.counts.operations
    assert energy.component_aj[Component.DIGITAL] == operations * 2_000_000
    assert energy.component_aj[Component.MEMORY] > 0, "its weights come from outside"
    assert Component.CROSSBAR not in energy.component_aj


def test_tiles_that_are_rewritten_leave_pinned_layers_to_the_digital_unit() -> None:
    pinned = override(HARDWARE, always_digital=["second"], crossbars=2)
    schedule = schedule_network_reload(LAYERS, POLICY, pinned)
    assert [one.layer.name for one in schedule.network.layers if one.is_digital] == ["second"]


def test_a_name_that_no_layer_has_is_an_error_with_the_nearest() -> None:
    with pytest.raises(MappingError, match="'secnd' is pinned") as caught:
        find_digital(override(HARDWARE, always_digital=["secnd"]))
    assert "second" in caught.value.hint
    with pytest.raises(MappingError, match="pinned"):
        LatencyTable.build(LAYERS, override(HARDWARE, never_digital=["secnd"]))


def test_pins_that_contradict_or_need_a_digital_unit_are_errors() -> None:
    with pytest.raises(ConfigError, match="always_digital and in never_digital"):
        override(HARDWARE, always_digital=["first"], never_digital=["first"])
    with pytest.raises(MhoError, match="first is always_digital"):
        override(make_accelerator(), always_digital=["first"])
