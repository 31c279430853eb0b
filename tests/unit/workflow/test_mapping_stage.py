"""The bound on the error of mappings that a run chooses: the cheapest within the drop, else the most accurate."""

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from small_training import digits_network

from mho.array.conductances import Conditions
from mho.bit_search.objective import Objective
from mho.bit_search.policy_costs import make_costs
from mho.cost_model.latency import cost_network
from mho.data import DataSpec, load_dataset
from mho.evaluation.accuracy import Evaluators
from mho.evaluation.chips import SampledChips
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.policy import UNIFORM_REFERENCE, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.export import write_float_onnx
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import Evaluation
from mho.workflow.config import EvaluationSettings
from mho.workflow.mapping_stage import ChooseMapping, is_bound_open
from mho.workflow.network_stages import FLOAT_FILE
from mho.workflow.search_settings import SearchSettings

NOISY = make_accelerator(32, 32, 2, array={"programming_error": 0.1})


@pytest.fixture(scope="module")
def network():
    dataset = load_dataset(DataSpec(name="digits", calibration=60, validation=100), np.random.default_rng(0))
    return dataset, digits_network(dataset)


@dataclass(frozen=True)
class Prepared:
    """A trained network whose accuracy on chips is given by the bound."""

    dataset: object
    network: object
    accuracies: dict
    accelerator: Accelerator = NOISY
    folder: Path | None = None

    @property
    def float_network(self):
        return SimpleNamespace(folder=self.folder)

    @property
    def material(self):
        return SimpleNamespace(
            dataset=self.dataset, accelerator=self.accelerator, mapping=MappingModel.BEST,
            chips=SampledChips(3, self.accelerator, Conditions(1e4)),
        )  # fmt: skip

    def on(self, accelerator):
        return replace(self, accelerator=accelerator)

    def trainable(self):
        module = TrainableNetwork(self.network)
        module.set_calibration(calibrate(module, torch.from_numpy(self.dataset.calibration.inputs(slice(None)))))
        return module

    def evaluators(self, *_):
        correct = self.accuracies.get(str(self.accelerator.mapping.max_error), 0)
        return Evaluators(SimpleNamespace(evaluate=lambda *_, **__: (Evaluation(1.0, correct / 100, 100, correct),)))


def choose(network, accuracies, accelerator=NOISY, folder=None, **goal):
    stage = ChooseMapping(
        Prepared(*network, accuracies, accelerator, folder),
        tuple(network[1].layer_names),
        EvaluationSettings(),
        SearchSettings(method="random", budget=4, **goal),
        0,
    )
    figures = stage.make(None, lambda *_: None)
    return figures, stage.apply(figures).material.accelerator.mapping.max_error


def test_the_cheapest_mapping_within_the_allowed_drop_is_taken_else_the_most_accurate(network):
    figures, bound = choose(network, {"none": 100}, allowed_drop=5.0)
    assert bound == "none"
    bounds = [one["max_error"] for one in figures["tried"]]
    assert bounds[0] == "none"
    assert len(bounds) > 1, "tighter bounds take other mappings"
    assert figures["tried"][0]["cost"] == min(one["cost"] for one in figures["tried"])
    tight = bounds[-1]
    assert choose(network, {tight: 100}, allowed_drop=5.0)[1] == Decimal(tight)
    assert choose(network, {"none": 40, bounds[1]: 50, tight: 50}, allowed_drop=5.0)[1] == Decimal(bounds[1]), (
        "the cheaper of equals"
    )


def test_a_bound_is_open_where_it_is_left_to_the_run_and_accuracies_of_chips_count(network):
    prepared = Prepared(*network, {})
    assert is_bound_open(prepared.material, EvaluationSettings())
    assert not is_bound_open(prepared.material, EvaluationSettings(accuracy_of="exact"))
    assert not is_bound_open(prepared.on(NOISY.with_max_error(0.1)).material, EvaluationSettings())


def test_latency_is_that_of_the_whole_accelerator(network):
    many = make_accelerator(32, 32, 2, array={"programming_error": 0.1}, chip={"crossbars": 200})
    figures, _ = choose(network, {"none": 100}, many, allowed_drop=5.0)
    layers, policy = network[1], Policy.uniform(network[1].layer_names, UNIFORM_REFERENCE)
    for one in figures["tried"]:
        bound = one["max_error"]
        hardware = many.with_max_error(bound if bound == "none" else Decimal(bound))
        assert one["cost"] == make_costs(layers, hardware, Objective.LATENCY, MappingModel.BEST).cost_of(policy)
        assert one["cost"] < cost_network(layers, policy, hardware).latency_ps / 2


def test_bounds_under_which_every_policy_costs_more_than_the_budget_are_passed_over(network, tmp_path):
    _, own = network
    write_float_onnx(own, tmp_path / FLOAT_FILE)
    tried = choose(network, {"none": 100}, allowed_drop=5.0)[0]["tried"]
    bounds, costs = ([one[key] for one in tried] for key in ("max_error", "cost"))
    assert costs[0] < costs[-1]
    limits = {"min_weight_bits": 8, "min_act_bits": 8, "folder": tmp_path}
    accuracies = {bounds[0]: 40, bounds[-1]: 100}
    assert choose(network, accuracies, cost_budget=f"{costs[-1]} ps", **limits)[1] == Decimal(bounds[-1])
    figures, bound = choose(network, accuracies, cost_budget=f"{costs[-1] - 1} ps", **limits)
    assert bound != Decimal(bounds[-1])
    assert bounds[-1] in figures["beyond_budget"]
    assert bounds[-1] not in [one["max_error"] for one in figures["tried"]]
