import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_training import digits_network

from mho.data import DataSpec, load_dataset
from mho.evaluation.networks import evaluate_network
from mho.network.onnx_reader import read_onnx
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.task.task import CLASSIFICATION
from mho.workflow import policy_stages
from mho.workflow.policy_stages import (
    AVERAGED,
    CALIBRATED,
    POLICY_FILE,
    QUANTIZED_FILE,
    SEARCH_FILE,
    TRAINED,
    TrainFinalists,
    quantize_policy,
)
from mho.workflow.training_settings import TrainingSettings

TRAINING = TrainingSettings(epochs=1, learning_rate=0.1)


class FinalistsWithoutTraining(TrainFinalists):
    """Takes what training came to from its search's figures."""

    def _policy(self, index):
        return Policy({"fc": BitWidths(4, 1 + index)})

    def _train(self, policy, place, report):  # noqa: ARG002
        place.mkdir()
        index = policy["fc"].act_bits - 1
        for file in (QUANTIZED_FILE, POLICY_FILE):
            (place / file).write_text(f"of {index}")
        accuracy = self.search.figures["trained"][index]
        error = (accuracy * (1 - accuracy) / 400) ** 0.5
        validation = {"accuracy": accuracy, "count": 400, "loss": 1.0 / (2 + index), "standard_error": error}
        return {"validation": validation, "notes": [], "points": [], "policy": policy.to_json(), "sensitivities": {}}


@pytest.mark.parametrize(
    ("trained", "tried", "taken", "noted"),
    [
        ({1: 0.96, 3: 0.9, 0: 0.9}, [1], 1, False),
        ({1: 0.90, 3: 0.951, 0: 0.9}, [1, 3], 3, False),
        ({1: 0.90, 3: 0.94, 0: 0.94}, [1, 3, 0], 3, True),
    ],
)
def test_the_fastest_finalist_that_keeps_the_drop_is_taken_else_the_most_accurate_with_a_note(
    tmp_path, trained, tried, taken, noted
):
    figures, folder = _finish(tmp_path, trained, 1.0)
    assert (figures["finalists"], figures["index"], bool(figures["notes"])) == (tried, taken, noted)
    assert (folder / QUANTIZED_FILE).read_text() == f"of {taken}"


def test_within_a_cost_budget_all_finalists_are_trained_and_the_most_accurate_is_taken(tmp_path):
    figures, folder = _finish(tmp_path, {1: 0.97, 3: 0.98, 0: 0.98}, None)
    assert (figures["finalists"], figures["index"], figures["notes"]) == ([1, 3, 0], 3, [])
    assert (folder / QUANTIZED_FILE).read_text() == "of 3"


@pytest.mark.parametrize(
    ("raised", "accuracy", "taken", "message"),
    [(6, 0.99, 6, "raised fc 4/2 to 4/7"), (0, 0.97, 1, "not kept"), (None, 0.0, 1, "no bit more")],
)
def test_a_last_budget_is_kept_where_the_policy_with_more_bits_is_better(tmp_path, raised, accuracy, taken, message):
    class Budget:
        share = 0.02

        def spend(self, policy, sensitivities):
            assert (policy["fc"], sensitivities) == (BitWidths(4, 2), {})
            return None if raised is None else Policy({"fc": BitWidths(4, 1 + raised)})

    figures, folder = _finish(tmp_path, {1: 0.97, 3: 0.9, 0: 0.9} | {raised: accuracy}, 1.0, Budget())
    assert (folder / QUANTIZED_FILE).read_text() == f"of {taken}"
    assert (figures["index"], figures["policy"]["layers"]["fc"]["act_bits"]) == (1, 1 + taken)
    assert message in figures["notes"][-1]


def _finish(tmp_path, trained, allowed_drop, last_budget=None):
    (tmp_path / SEARCH_FILE).write_text(json.dumps({"records": []}))
    stage = FinalistsWithoutTraining(
        prepared=SimpleNamespace(material=SimpleNamespace(dataset=SimpleNamespace(task=CLASSIFICATION))),
        search=SimpleNamespace(folder=tmp_path, figures={"order": [1, 3, 0], "trained": trained}),
        reference=SimpleNamespace(figures={"validation": {"accuracy": 0.96}}),
        training=TRAINING,
        allowed_drop=allowed_drop,
        finalists=3,
        seed=0,
        last_budget=last_budget,
    )
    folder = Path(tmp_path / "found")
    folder.mkdir()
    return stage.make(folder, print), folder


@pytest.fixture(scope="module")
def prepared():
    """A trained network of two layers in place of a run's prepared one."""
    dataset = load_dataset(DataSpec(name="digits", calibration=60, validation=100), np.random.default_rng(0))
    network = digits_network(dataset)
    table = calibrate(TrainableNetwork(network), torch.from_numpy(dataset.calibration.inputs(slice(None))))

    def trainable():
        module = TrainableNetwork(network)
        module.set_calibration(table)
        return module

    def calibrated(policy, _seed, _report):
        module = trainable()
        module.set_policy(policy)
        return module

    material = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(
        material=material, trainable=trainable, calibrated=calibrated, effort="fast",
        finish=TrainableNetwork.to_quantized_network,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("right", "loss", "is_better"),
    [(244, 0.12, False), (242, 0.08, True), (248, 0.12, True), (236, 0.08, False), (242, 0.10, False)],
)
def test_networks_within_a_standard_error_are_compared_by_loss(right, loss, is_better):
    """Of 250 samples, of which the other gets 242: the standard error is 2.8 samples."""
    one = {"accuracy": right / 250, "count": 250, "loss": loss}
    other = {"accuracy": 242 / 250, "loss": 0.10, "standard_error": (242 / 250 * 8 / 250 / 250) ** 0.5}
    assert policy_stages._is_better(one, other) == is_better


@pytest.mark.parametrize("spoils", [True, False])
def test_training_that_ends_below_calibration_alone_is_not_kept(prepared, monkeypatch, tmp_path, spoils):
    policy = Policy.uniform(prepared.trainable().mvm_modules, BitWidths(8, 8) if spoils else BitWidths(2, 2))

    def train(module, *_):
        """Forget what was learned, or take the bits back."""
        for parameter in module.parameters():
            parameter.data *= 0.0 if spoils else 1.0
        if not spoils:
            module.set_policy(Policy.uniform(module.mvm_modules, BitWidths(8, 8)))
        return [{"epoch": 1.0, "loss": 1.0}], []

    monkeypatch.setattr(policy_stages, "train_with_progress", train)
    figures = quantize_policy(prepared, policy, TRAINING, 0, tmp_path, print)
    by = figures["validation_by"]
    assert figures["made_by"] == (CALIBRATED if spoils else TRAINED)
    assert figures["validation"] == by[figures["made_by"]] == max(by.values(), key=lambda one: one["accuracy"])
    assert bool(figures["notes"]) == spoils
    assert (AVERAGED in by) == spoils
    written = TrainableNetwork(read_onnx(tmp_path / QUANTIZED_FILE))
    assert (
        evaluate_network(written, prepared.material.dataset.validation)["correct"] == figures["validation"]["correct"]
    )


def test_training_starts_from_the_calibrated_network_as_it_was_fitted(prepared, monkeypatch, tmp_path):
    policy, seen = Policy.uniform(prepared.trainable().mvm_modules, BitWidths(3, 3)), []

    def fitted(policy, _seed, _report):
        module = prepared.calibrated(policy, 0, print)
        for layer in module.mvm_modules.values():
            layer.weight.data += 0.01
            layer.weight_quantizer.base_step *= 1.1
        return module

    def train(module, *_):
        seen.append({name: tensor.clone() for name, tensor in module.state_tensors().items()})
        return [], []

    monkeypatch.setattr(policy_stages, "train_with_progress", train)
    quantize_policy(SimpleNamespace(**{**vars(prepared), "calibrated": fitted}), policy, TRAINING, 0, tmp_path, print)
    wanted = fitted(policy, 0, print).state_tensors()
    assert seen[0].keys() == wanted.keys()
    assert all(torch.equal(seen[0][name], wanted[name]) for name in wanted)


def test_without_a_training_calibration_alone_is_measured(prepared, tmp_path):
    policy = Policy.uniform(prepared.trainable().mvm_modules, BitWidths(4, 4))
    figures = quantize_policy(prepared, policy, None, 0, tmp_path, print)
    assert (figures["made_by"], list(figures["validation_by"]), figures["notes"]) == (CALIBRATED, [CALIBRATED], [])
