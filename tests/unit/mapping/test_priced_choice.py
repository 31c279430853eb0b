"""Mappings by energy, and by the product of energy and time."""

from itertools import product

import numpy as np
import pytest
from accelerators import make_accelerator
from mapped_networks import conv

import mho
from mho.cost_model.energy import energy_layer
from mho.cost_model.latency import cost_layer, cost_network
from mho.cost_model.latency_table import LatencyTable
from mho.errors import MhoError
from mho.hardware.loading import override
from mho.hardware.spec import Accelerator
from mho.mapping.best_mapping import choose_mapping
from mho.mapping.explain import explain_mapping
from mho.mapping.layer_mapping import LayerMapping, MappingModel
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy
from mho.scheduling.options import CopyCost, list_chip_options

ENERGY = {
    "mvm_pj": 20, "cell_read_pj": 0.01, "adc_pj": 2, "dac_pj": 0.5, "cell_write_pj": 30, "operation_pj": 0.4,
    "buffer_pj_per_byte": 1.5, "memory_pj_per_byte": 20, "crossbar_leakage_uw": 4,
}  # fmt: skip
FASTEST = make_accelerator(64, 64, 2, energy=ENERGY, digital={"operation_latency_us": 0.0005})
LAYERS = (
    conv("conv", 8, 4, 10),
    conv("wide", 3, 40, 6),
    conv("depthwise", 1, 1, 8, repeat=16),
    MvmLayer("linear", "linear", 40, 100, 1, 1),
    MvmLayer("scores", "matmul", 16, 16, 16, 2),
)
BITS = BitWidths(4, 6)
OBJECTIVES = ("latency", "energy", "energy-delay")


def by(objective: str, hardware: Accelerator = FASTEST) -> Accelerator:
    return override(hardware, mapping_objective=objective)


def price(mapping: LayerMapping, hardware: Accelerator = FASTEST, batch: int = 1) -> tuple[int, float]:
    cost = cost_layer(mapping, hardware, batch=batch)
    return cost.latency_ps, energy_layer(cost, hardware, batch=batch).energy.total_aj


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_each_objective_finds_the_least_of_its_own(layer: MvmLayer, batch: int) -> None:
    found = {
        objective: price(choose_mapping(layer, BITS, by(objective), batch=batch), batch=batch)
        for objective in OBJECTIVES
    }
    assert found["latency"][0] == min(time for time, _ in found.values())
    assert found["energy"][1] <= 1.001 * min(energy for _, energy in found.values())
    assert found["energy-delay"][0] * found["energy-delay"][1] == min(time * energy for time, energy in found.values())


def test_some_layer_takes_less_energy_in_another_mapping_than_the_fastest() -> None:
    pairs = [[price(choose_mapping(layer, BITS, by(one)))[1] for one in ("latency", "energy")] for layer in LAYERS]
    assert any(energy < 0.9 * fastest for fastest, energy in pairs)


@pytest.mark.parametrize("layer", LAYERS[:3], ids=lambda layer: layer.name)
def test_nothing_that_was_not_taken_needs_less_energy(layer: MvmLayer) -> None:
    hardware = by("energy")
    mapping = choose_mapping(layer, BITS, hardware)
    others = explain_mapping(mapping, hardware, MappingModel.BEST).alternatives
    energies = [price(one.mapping)[1] for one in others if one.mapping is not None]
    assert price(mapping)[1] <= 1.001 * min(energies)


def test_the_bound_on_errors_holds_under_every_objective() -> None:
    hardware = by("energy", make_accelerator(64, 64, 2, energy=ENERGY, array={"programming_error": 0.02}))
    mapping = choose_mapping(LAYERS[0], BITS, hardware)
    assert explain_mapping(mapping, hardware, MappingModel.BEST).keeps_bound


@pytest.mark.parametrize("objective", ["energy", "energy-delay"])
def test_tables_of_searches_hold_the_times_of_the_mappings(objective: str) -> None:
    hardware = by(objective)
    layers = (MvmLayer("first", "linear", 8, 16, 1, 1), MvmLayer("second", "linear", 6, 8, 1, 1), LAYERS[0])
    table = LatencyTable.build(layers, hardware)
    for weight_bits, act_bits in product((2, 8), (1, 5)):
        policy = Policy.uniform([layer.name for layer in layers], BitWidths(weight_bits, act_bits))
        cost = cost_network(layers, policy, hardware)
        assert table.policy_latency_ps(policy) == cost.latency_ps
    assert cost.mapping.joins(1), "layers share a write where their mappings fit"


def test_options_of_a_chip_follow_the_objective() -> None:
    least = {
        objective: [
            (price(one)[1], CopyCost.of(one, FASTEST).work_ps)
            for one in list_chip_options(LAYERS[0], BITS, by(objective), MappingModel.BEST)
        ]
        for objective in OBJECTIVES
    }
    assert min(energy for energy, _ in least["energy"]) <= min(energy for energy, _ in least["latency"])
    assert min(work for _, work in least["latency"]) == min(min(work for _, work in own) for own in least.values())
    for own in least.values():
        assert np.all(np.diff([work for _, work in own]) < 0)


def test_energy_must_be_specified() -> None:
    with pytest.raises(MhoError, match="specifies no energy"):
        mho.accelerator("pelke2026-4bit", mapping_objective="energy")
    with pytest.raises(MhoError, match=r"mapping\.objective"):
        mho.accelerator("isaac", mapping_objective="speed")
