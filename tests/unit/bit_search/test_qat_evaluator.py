import dataclasses
import pickle
import re

import numpy as np
import pytest
import torch

from mho.bit_search.api import SearchOptions, search
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import Variant, problem_hash
from mho.bit_search.layer_features import LAYER_FEATURES, layer_features
from mho.bit_search.log import EvaluationLog
from mho.bit_search.qat_evaluator import ChanceLevelTest, QatEvaluator, StoppedTrainingError
from mho.bit_search.screening import Screening
from mho.data.dataset import Dataset, Split
from mho.errors import ConfigError
from mho.network.graph import Network, Node, TensorInfo
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import TrainingProgress, evaluate, train
from mho.quantization.training_options import TrainingOptions


def conv(name, source, output, groups, stride):
    attributes = {"kernel": (3, 3), "strides": (stride, stride), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
    return Node(name, "conv", (source, f"{name}.weight"), output, {**attributes, "groups": groups})


@pytest.fixture(scope="module")
def network():
    draws = np.random.default_rng(0)
    sizes = {"first": (4, 1, 3, 3), "depthwise": (4, 1, 3, 3), "second": (6, 4, 3, 3), "fc": (3, 96)}
    constants = {f"{n}.weight": (draws.normal(size=s) / 3).astype(np.float32) for n, s in sizes.items()}
    nodes = (
        conv("first", "x", "a", 1, 2),
        Node("relu", "relu", ("a",), "b"),
        conv("depthwise", "b", "c", 4, 1),
        conv("second", "c", "d", 1, 1),
        Node("flat", "reshape", ("d",), "e", {"shape": (1, 96)}),
        Node("fc", "linear", ("e", "fc.weight"), "y"),
    )
    shapes = {"x": (1, 1, 8, 8), "e": (1, 96), "y": (1, 3)}
    shapes |= dict.fromkeys("abc", (1, 4, 4, 4)) | {"d": (1, 6, 4, 4)}
    return Network("tiny", (TensorInfo("x", (1, 1, 8, 8)),), (TensorInfo("y", (1, 3)),), nodes, constants, shapes)


@pytest.fixture(scope="module")
def dataset():
    draws = np.random.default_rng(1)
    means = draws.normal(size=(3, 1, 8, 8)).astype(np.float32)

    def split(count):
        labels = np.arange(count) % 3
        images = means[labels] + draws.normal(size=(count, 1, 8, 8)).astype(np.float32)
        return Split(images.astype(np.float32), labels, (0.0,), (1.0,))

    return Dataset("blobs", 3, split(96), split(48), split(48), split(48))


OPTIONS = TrainingOptions(steps=4, batch_size=16, learning_rate=0.02)


def make(network, dataset, options=OPTIONS, seed=0, effort="fast"):
    trainable = TrainableNetwork(network)
    table = calibrate(trainable, torch.from_numpy(dataset.calibration.inputs(slice(None))))
    parts = dataset.train, dataset.calibration, dataset.validation
    return QatEvaluator(trainable, table, *parts, options, seed=seed, effort=effort), trainable


def policy(bits, network):
    return Policy.uniform(network.layer_names, BitWidths.parse(bits))


def test_measurements_do_not_depend_on_what_was_measured_before(network, dataset):
    one, _ = make(network, dataset)
    other, _ = make(network, dataset)
    policies = [policy(bits, network) for bits in ("8/8", "2/3", "4/4")]
    forward = [one.evaluate(p) for p in policies]
    backward = [other.evaluate(p) for p in reversed(policies)]
    assert forward == backward[::-1]
    assert len({m.score for m in forward}) == 3


def test_training_makes_a_difference_and_its_seed_too(network, dataset):
    trained, again = make(network, dataset)[0], make(network, dataset, seed=1)[0]
    only_calibrated = make(network, dataset, options=None)[0]
    scores = {e.evaluate(policy("4/4", network)).score for e in (trained, again, only_calibrated)}
    assert len(scores) == 3
    assert only_calibrated.fidelity == "post-training quantization"
    assert trained.fidelity == "calibration or 4 steps of training on 96 samples"


def test_candidates_can_be_fitted_before_they_are_measured_and_training_ends_no_worse(network, dataset):
    widths = [policy(bits, network) for bits in ("3/4", "2/4")]
    fast, good = make(network, dataset, None)[0], make(network, dataset, None, effort="good")[0]
    measured = [good.evaluate(one) for one in widths]
    assert measured == [good.recipe().make().evaluate(one) for one in widths]
    assert all(one.score != fast.evaluate(two).score for one, two in zip(measured, widths, strict=True))
    assert good.fidelity == "post-training quantization, good effort"
    assert (good.problem["effort"], "effort" in fast.problem) == ("good", False)
    both = make(network, dataset, effort="good")[0]
    assert all(both.evaluate(two).score <= one.score for one, two in zip(measured, widths, strict=True))


@pytest.mark.parametrize(("learning_rate", "keeps"), [(0.02, "training"), (1.0, "calibration")])
def test_the_better_of_calibration_and_training_is_measured(network, dataset, learning_rate, keeps):
    options = dataclasses.replace(OPTIONS, learning_rate=learning_rate)
    trainable = make(network, dataset, options)[1]
    uniform = policy("8/8", network)
    calibrated = make(network, dataset, None)[0].evaluate(uniform)
    trainable.set_policy(uniform)
    train(trainable, dataset.train, options, torch.Generator().manual_seed(0))
    trained = evaluate(trainable, dataset.calibration)
    assert (trained.loss < calibrated.score) == (keeps == "training")
    measured = make(network, dataset, options)[0].evaluate(uniform)
    assert measured.score == min(trained.loss, calibrated.score)
    expected = evaluate(trainable, dataset.validation).accuracy if keeps == "training" else calibrated.accuracy
    assert measured.accuracy == expected


def test_the_float_weights_are_back_after_restoring(network, dataset):
    evaluator, trainable = make(network, dataset)
    before = evaluate(trainable, dataset.validation)
    evaluator.evaluate(policy("2/2", network))
    assert evaluate(trainable, dataset.validation) != before
    evaluator.restore()
    assert evaluate(trainable, dataset.validation) == before


def test_a_training_that_diverges_is_a_failed_measurement(network, dataset):
    evaluator, _ = make(network, dataset, TrainingOptions(steps=30, batch_size=16, learning_rate=1e12))
    measurement = evaluator.evaluate(policy("8/8", network))
    assert (measurement.score, measurement.accuracy) == (None, None)
    assert measurement.note


def test_the_problem_names_weights_data_training_and_seed(network, dataset):
    base = make(network, dataset)[0].problem
    swapped = Dataset("blobs", 3, dataset.train, dataset.calibration, dataset.test, dataset.validation)
    others = [
        make(network, dataset, seed=1)[0].problem,
        make(network, dataset, options=None)[0].problem,
        make(network, swapped)[0].problem,
        make(network.with_nodes(network.nodes, {k: v * 2 for k, v in network.constants.items()}), dataset)[0].problem,
    ]
    assert make(network, dataset)[0].problem == base
    assert all(other != base for other in others)


def test_test_data_is_never_seen_and_a_search_goes_on_from_its_log(network, dataset, tmp_path):
    poisoned = Split(np.full_like(dataset.test.images, np.nan), dataset.test.labels, (0.0,), (1.0,))
    blind = Dataset("blobs", 3, dataset.train, dataset.calibration, dataset.validation, poisoned)

    def run(budget):
        return search(
            network, blind, "pelke2026-4bit", budget=budget, method="random", allowed_drop=20.0,
            training=OPTIONS, log_path=tmp_path / "log.jsonl",
        )  # fmt: skip

    first, longer = run(3), run(5)
    assert longer.records[:3] == first.records
    assert all(record.is_ok for record in longer.records)
    assert longer.require_best().policy["first"] == BitWidths(8, 8)


def test_features_are_derived_from_the_network_and_scaled(network):
    features = {name: layer_features(network)[:, k].tolist() for k, name in enumerate(LAYER_FEATURES)}
    assert features["kind"] == [0.0, 0.5, 0.0, 1.0]
    assert features["stride"] == [1.0, 0.5, 0.5, 0.0]
    assert features["kernel_size"] == [1.0, 1.0, 1.0, 0.0]
    assert features["index"] == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0])
    weights = np.array([36, 36, 216, 288])
    assert features["weights"] == pytest.approx((weights - 36) / 252)
    sizes = np.array([64, 16, 16, 96])
    assert features["input_size"] == pytest.approx((sizes - 16) / 80)


def test_an_evaluator_made_from_a_recipe_in_another_process_measures_the_same(network, dataset):
    evaluator, trainable = make(network, dataset)
    policy = Policy.uniform(trainable.network.layer_names, BitWidths(3, 4))
    evaluator.evaluate(policy)  # leaves trained weights behind, which a recipe must not hold
    recipe = pickle.loads(pickle.dumps(evaluator.recipe()))
    threads = torch.get_num_threads()
    made = recipe.make()
    assert torch.get_num_threads() == threads
    assert problem_hash(made.problem) == problem_hash(evaluator.problem)
    assert made.fidelity == evaluator.fidelity
    assert made.evaluate(policy) == evaluator.evaluate(policy)


def test_shorter_and_repeated_variants_share_the_network_and_leave_the_full_one_as_it_was(network, dataset):
    evaluator, trainable = make(network, dataset)
    policy = Policy.uniform(trainable.network.layer_names, BitWidths(3, 4))
    full = evaluator.evaluate(policy)
    calibrated, _ = make(network, dataset, options=None)
    shorter, _ = make(network, dataset, options=dataclasses.replace(OPTIONS, steps=2))
    assert evaluator.at(Variant(steps=0)).evaluate(policy) == calibrated.evaluate(policy)
    assert evaluator.at(Variant(steps=2)).evaluate(policy) == shorter.evaluate(policy)
    again = evaluator.at(Variant(repeat=1))
    assert again.evaluate(policy) == again.evaluate(policy) != full
    assert evaluator.evaluate(policy) == full
    names = [evaluator.at(v).fidelity for v in (Variant(steps=0), Variant(steps=2), Variant(repeat=1))]
    assert names == [
        "post-training quantization",
        "calibration or 2 steps of training on 96 samples",
        "calibration or 4 steps of training on 96 samples, again with seed 1",
    ]
    assert again.seed_for(policy) != evaluator.seed_for(policy)
    assert problem_hash(again.problem) == problem_hash(evaluator.problem), "one log holds them all"
    judged, scored, trained = 48 + 48, 48, 3 * 4 * 16  # the calibrated network is scored before it is trained
    full_work = judged + scored + trained
    assert evaluator.relative_cost(Variant(steps=0)) == judged / full_work
    assert evaluator.relative_cost(Variant(steps=2)) == (judged + scored + trained / 2) / full_work
    with pytest.raises(ConfigError, match="calibrated only"):
        calibrated.at(Variant(steps=0))


def test_trainings_that_guess_are_stopped_halfway_where_that_is_asked_for(network, dataset):
    hopeless = dataclasses.replace(OPTIONS, steps=8, learning_rate=1e-6)
    trainable = TrainableNetwork(network)
    table = calibrate(trainable, torch.from_numpy(dataset.calibration.inputs(slice(None))))
    wrong = dataclasses.replace(dataset.train, labels=np.random.default_rng(2).permutation(dataset.train.labels))
    parts = wrong, dataset.calibration, dataset.validation
    patient = QatEvaluator(trainable, table, *parts, hopeless, seed=0)
    stopping = QatEvaluator(trainable, table, *parts, hopeless, seed=0, stops_hopeless=True)
    policy = Policy.uniform(network.layer_names, BitWidths(3, 4))
    stopped = stopping.evaluate(policy)
    assert re.fullmatch(r"stopped after 4 of 8 steps: a loss of \d\.\d{3}, and guessing has 1\.099", stopped.note)
    assert stopped.score is not None
    assert patient.evaluate(policy).note == ""
    assert problem_hash(patient.problem) != problem_hash(stopping.problem)
    assert stopping.recipe().make().evaluate(policy) == stopped
    learning = dataclasses.replace(OPTIONS, steps=40, learning_rate=0.1)
    right = QatEvaluator(
        TrainableNetwork(network), table, dataset.train, *parts[1:], learning, seed=0, stops_hopeless=True
    )
    assert right.evaluate(Policy.uniform(network.layer_names, BitWidths(8, 8))).note == ""


def test_losses_of_steps_are_distinguished_over_epochs():
    test = ChanceLevelTest(3)
    for step, mean in enumerate((9.0, 9.0, 1.0, 1.0, 9.0, 5.0, 1.0), start=1):  # epochs of two steps
        test(TrainingProgress((step + 1) // 2, 8, step, 16, mean, 0.0, 0.0))
    with pytest.raises(StoppedTrainingError, match=r"stopped after 8 of 16 steps: a loss of 3\.500"):
        test(TrainingProgress(4, 8, 8, 16, 2.0, 0.0, 0.0))


def test_a_search_from_python_screens_repeats_and_stores(network, dataset, tmp_path):
    found = search(
        network, dataset, "pelke2026-4bit", method="random", budget=6, allowed_drop=60.0,
        training=OPTIONS, log_path=tmp_path / "log.jsonl",
        options=SearchOptions(
            constraints=SearchConstraints(hold_first_last=None), batch=4, storage="sqlite",
            screening=Screening((0,)), repeats=1, stop_hopeless=True,
        ),
    )  # fmt: skip
    assert 4.5 < found.spent <= 6
    assert {record.status for record in found.records} == {"ok", "screened"}
    assert found.noise is not None
    assert len(found.noise.best.scores) == 2
    assert (tmp_path / "log.db").exists()
    fidelities = {record.fidelity for record in EvaluationLog.read(tmp_path / "log.jsonl").records}
    assert fidelities == {
        "post-training quantization",
        "calibration or 4 steps of training on 96 samples",
        "calibration or 4 steps of training on 96 samples, again with seed 1",
    }


def test_training_images_that_are_not_trained_on_are_not_sent(network, dataset):
    calibrated_only, trainable = make(network, dataset, options=None)
    recipe = calibrated_only.recipe()
    assert len(recipe.train) == 1
    policy = Policy.uniform(trainable.network.layer_names, BitWidths(3, 4))
    assert recipe.make().evaluate(policy) == calibrated_only.evaluate(policy)


def test_a_search_trains_once_for_all_candidates_or_each_but_not_both(network, dataset):
    training = TrainingOptions(steps=3, batch_size=32, learning_rate=0.01)
    once = SearchOptions(shared_training=dataclasses.replace(training, distillation=0.5))
    found = search(network, dataset, "pelke2026-4bit", budget=3, method="random", options=once)
    plain = search(network, dataset, "pelke2026-4bit", budget=3, method="random")
    assert {record.fidelity for record in found.records} == {"post-training quantization"}
    assert found.reference.score != plain.reference.score, "candidates start from other weights"
    with pytest.raises(ConfigError, match="shared_training"):
        search(network, dataset, "pelke2026-4bit", budget=3, method="random", training=training, options=once)


def test_candidates_may_learn_from_the_float_network(network, dataset):
    def score(share):
        trainable = TrainableNetwork(network)
        table = calibrate(trainable, torch.from_numpy(dataset.calibration.inputs(slice(None))))
        options = TrainingOptions(steps=4, batch_size=32, learning_rate=0.05, distillation=share)
        evaluator = QatEvaluator(
            trainable, table, dataset.train, dataset.calibration, dataset.validation, options, seed=1
        )
        return evaluator.evaluate(Policy.uniform(network.layer_names, BitWidths(3, 3))).score

    assert score(0.0) != score(0.9)
