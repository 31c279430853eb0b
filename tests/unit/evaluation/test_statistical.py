"""Accuracies by the statistical model of arrays: close to those of sampled chips, and the same whatever came before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerators import make_accelerator, with_array
from small_training import digits_network

import mho
from mho.array.conductances import Conditions
from mho.data.loading import load_dataset
from mho.data.spec import DataSpec
from mho.evaluation.chips import SampledChips
from mho.evaluation.networks import ChipEvaluator
from mho.evaluation.statistical import StatisticalEvaluator, why_unsupported
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.quantization import statistical_layers
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import evaluate

IDEAL = make_accelerator(32, 32, 2)
NOISY = with_array(IDEAL, programming_error=0.12, read_noise=0.03)
STUCK = with_array(NOISY, stuck_on_rate=0.002)
CONVERTED = with_array(NOISY, {"adc_bits": 5, "adc_range": "calibrated-columns"})
DRIFTING = with_array(IDEAL, drift_exponent=0.05, drift_exponent_std=0.04)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DataSpec(name="digits", calibration=200, validation=200), np.random.default_rng(0))


@pytest.fixture(scope="module")
def trainable(dataset):
    network = TrainableNetwork(digits_network(dataset))
    calibrate(network, torch.from_numpy(dataset.calibration.inputs(slice(None))))
    return network


def widths(trainable, bits):
    trainable.set_policy(Policy.uniform(trainable.network.layer_names, BitWidths.parse(bits)))
    return trainable


def model(hardware, dataset, conditions=None, mapping=MappingModel.PAPER, seed=3):
    chips = SampledChips(10, hardware, conditions or Conditions())
    return StatisticalEvaluator(chips, hardware, dataset.calibration, mapping=mapping, seed=seed)


def test_ideal_arrays_have_the_accuracy_of_the_integers(trainable, dataset):
    (found,) = model(IDEAL, dataset).evaluate(widths(trainable, "4/4"), (dataset.validation,))
    assert found == evaluate(trainable, dataset.validation)


def test_layers_of_policies_long_ago_are_forgotten_and_found_again(trainable, dataset, monkeypatch):
    """Of 1,776 weights a policy, those of two policies are kept."""
    monkeypatch.setattr(statistical_layers, "_MOST_WEIGHTS", 3600)
    evaluator, split = model(CONVERTED, dataset), (dataset.validation,)
    before = [evaluator.evaluate(widths(trainable, bits), split) for bits in ("4/4", "5/5", "6/6")]
    assert {bits for _, bits, *_ in evaluator._layers._layers} == {BitWidths(5, 5), BitWidths(6, 6)}
    assert [evaluator.evaluate(widths(trainable, bits), split) for bits in ("4/4", "5/5", "6/6")] == before


@pytest.mark.parametrize("mapping", list(MappingModel))
@pytest.mark.parametrize(
    ("hardware", "conditions"),
    [(NOISY, None), (CONVERTED, None), (DRIFTING, Conditions(1e4))],
    ids=["errors of cells", "and ADCs", "drift"],
)
def test_accuracies_are_close_to_those_of_ten_sampled_chips(trainable, dataset, mapping, hardware, conditions):
    network, test = widths(trainable, "4/4"), dataset.validation
    (estimated,) = model(hardware, dataset, conditions, mapping).evaluate(network, (test,))
    chips = SampledChips(10, hardware, conditions or Conditions())
    sampled = ChipEvaluator(chips, hardware, dataset.calibration, mapping=mapping, seed=3)
    (found,) = sampled.evaluate(network, (test,))
    assert abs(estimated.accuracy - found.accuracy) < 0.12
    assert estimated.accuracy < evaluate(network, test).accuracy


def test_accuracies_of_chips_whose_channels_are_corrected_are_close_to_those_of_sampled_ones(trainable, dataset):
    """Drift alone ruins the network; what is common to a channel is taken off."""
    hardware, later, test = with_array(DRIFTING, drift_exponent=0.2), Conditions(1e4), dataset.validation
    network, found = widths(trainable, "4/4"), {}
    for recalibrates in (False, True):
        chips = SampledChips(4, hardware, later, recalibrates)
        options = {"mapping": MappingModel.PAPER, "seed": 3}
        found[recalibrates] = [
            kind(chips, hardware, dataset.calibration, **options).evaluate(network, (test,))[0].accuracy
            for kind in (StatisticalEvaluator, ChipEvaluator)
        ]
    assert abs(found[True][0] - found[True][1]) < 0.05
    assert min(found[True]) > max(found[False]) + 0.1


def test_an_accuracy_depends_on_nothing_that_was_evaluated_before(trainable, dataset):
    splits = (dataset.validation,)
    fresh, used = model(CONVERTED, dataset), model(CONVERTED, dataset)
    for bits in ("3/3", "4/3", "3/4"):
        used.evaluate(widths(trainable, bits), splits)
    found = fresh.evaluate(widths(trainable, "4/4"), splits)
    assert used.evaluate(trainable, splits) == found == used.evaluate(trainable, splits)
    assert model(CONVERTED, dataset, seed=4).evaluate(trainable, splits) != found


def test_what_is_kept_is_that_of_the_weights_at_hand(trainable, dataset):
    """A network that was trained further has errors of converters of its own."""
    used = model(CONVERTED, dataset)
    before = used.evaluate(widths(trainable, "4/4"), (dataset.validation,))
    other = TrainableNetwork(trainable.network)
    calibrate(other, torch.from_numpy(dataset.calibration.inputs(slice(None))))
    with torch.no_grad():
        for module in other.mvm_modules.values():
            module.weight.neg_()
    after = used.evaluate(widths(other, "4/4"), (dataset.validation,))
    assert after == model(CONVERTED, dataset).evaluate(other, (dataset.validation,)) != before


def test_layers_are_as_they_were_afterwards(trainable, dataset):
    widths(trainable, "4/4").train()
    model(NOISY, dataset).evaluate(trainable, (dataset.validation,))
    assert trainable.training
    assert all(module.arrays is None and module.evaluated_by is None for module in trainable.mvm_modules.values())


@pytest.mark.parametrize("values", [{"placement": "fault-aware"}, {"fault_compensation": "digits"}])
def test_what_depends_on_the_faults_of_each_chip_is_refused(dataset, values):
    hardware = with_array(STUCK, **values)
    assert why_unsupported(STUCK) is None
    assert why_unsupported(with_array(hardware, stuck_on_rate=0)) is None
    assert why_unsupported(hardware) is not None
    with pytest.raises(mho.MhoError, match="stuck cells of each chip") as found:
        model(hardware, dataset)
    assert "sampled chips" in str(found.value)


def test_a_network_in_float_is_refused(trainable, dataset):
    trainable.set_policy(None)
    with pytest.raises(mho.MhoError, match="in float"):
        model(NOISY, dataset).evaluate(trainable, (dataset.validation,))


def test_the_problem_tells_hardware_conditions_mapping_and_method(dataset):
    problems = [
        model(hardware, dataset, conditions, mapping).problem
        for hardware, conditions, mapping in (
            (NOISY, None, MappingModel.PAPER),
            (CONVERTED, None, MappingModel.PAPER),
            (DRIFTING, None, MappingModel.PAPER),
            (DRIFTING, Conditions(1e4), MappingModel.PAPER),
            (NOISY, None, MappingModel.BEST),
        )
    ]
    assert len({str(sorted(problem.items())) for problem in problems}) == 5
