"""What the networks of a run are made of."""

from __future__ import annotations

import numpy as np
import pytest

from mho.cost_model.document import to_microseconds
from mho.cost_model.energy import energy_network
from mho.cost_model.latency import cost_network
from mho.cost_model.network_map import NetworkMap
from mho.evaluation.classes import Predictions
from mho.evaluation.deployment import CrossbarDeployment
from mho.hardware.loading import load_accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy
from mho.workflow import breakdowns
from mho.workflow.breakdowns import describe_errors, measure_size, split_cost

LAYERS = (
    MvmLayer("a", "conv", 8, 27, 36, 1),
    MvmLayer("b", "matmul", 9, 8, 4, 2),
    MvmLayer("c", "linear", 10, 64, 1, 1),
)
POLICY = Policy({"a": BitWidths(4, 8), "b": BitWidths(8, 8), "c": BitWidths(3, 2)})


def test_errors_give_the_confusion_matrix_with_the_correct_ones(monkeypatch):
    labels, predicted = np.array([0, 0, 0, 1, 2]), np.array([1, 1, 0, 1, 0])
    predictions = Predictions(predicted, np.arange(5) / 2)
    found = describe_errors("found", "found policy", labels, predictions, 3)
    assert [(one.count, one.correct, one.loss) for one in found.classes] == [(3, 1, 0.5), (1, 1, 1.5), (1, 0, 2.0)]
    assert [(one.actual, one.predicted, one.count) for one in found.confusions] == [(0, 1, 2), (2, 0, 1)]
    assert found.other_errors == 0
    monkeypatch.setattr(breakdowns, "MOST_CONFUSIONS", 1)
    cut = describe_errors("found", "found policy", labels, predictions, 3)
    assert (len(cut.confusions), cut.other_errors) == (1, 1), "what is not listed is counted"


def test_weights_of_products_of_activations_are_not_stored():
    size = measure_size("float", "float32", LAYERS, network_bytes=5000)
    assert (size.weights, size.weight_bits) == (8 * 27 + 640, 32 * (8 * 27 + 640))
    assert (size.tiles, size.cells, size.program_bytes) == (None, None, None)


def test_cells_are_those_of_the_map_of_the_network():
    hardware = load_accelerator("pelke2026-4bit")
    cost = cost_network(LAYERS, POLICY, hardware)
    deployment = CrossbarDeployment(hardware, MappingModel.BEST, cost)
    size = measure_size(
        "found", "found policy", LAYERS, network_bytes=900, policy=POLICY, deployment=deployment, program_bytes=700,
        device_bytes=(900, 80),
    )  # fmt: skip
    cells = NetworkMap.of(LAYERS, POLICY, hardware).cells
    assert (size.weight_bits, size.program_bytes) == (4 * 8 * 27 + 3 * 640, 700)
    assert (size.flash_bytes, size.ram_bytes) == (900, 80)
    assert (size.tiles, size.cells, size.digit_cells) == (cost.writes, cells.all, cells.digits)


@pytest.mark.parametrize(("preset", "has_energy"), [("isaac", True), ("pelke2026-4bit", False)])
def test_time_and_energy_are_those_of_the_cost_model(preset, has_energy):
    hardware = load_accelerator(preset)
    cost = cost_network(LAYERS, POLICY, hardware)
    split = split_cost("found", "found policy", CrossbarDeployment(hardware, MappingModel.BEST, cost))
    assert sum(split.time_us.values()) == pytest.approx(to_microseconds(cost.latency_ps))
    assert (split.energy_pj is not None) == has_energy
    if split.energy_pj is not None:
        whole = energy_network(cost, hardware).energy
        assert split.total_energy_pj == pytest.approx(whole.total_pj) == pytest.approx(sum(split.energy_pj.values()))
        assert split.energy_untold == whole.unspecified
