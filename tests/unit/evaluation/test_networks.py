"""Networks that are evaluated on arrays: results are those of `mho.simulate` on the same arrays and chips."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from small_training import digits_network

import mho
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import Variant
from mho.bit_search.qat_evaluator import QatEvaluator
from mho.data.loading import load_dataset
from mho.data.spec import DataSpec
from mho.evaluation.accuracy import choose_evaluators, sample_chips
from mho.evaluation.chips import SampledChips
from mho.evaluation.networks import ChipEvaluator, score_outputs
from mho.hardware.loading import override
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.seeds import derive_seed
from mho.task.task import CLASSIFICATION

CONVERTERS = {"adc_range": "calibrated-columns", "adc_latency_us_per_bit": 0.2, "columns_per_adc": 4}
CONVERTERS |= {"column_difference": "analog"}
HARDWARE = make_accelerator(32, 32, 2, adc_bits=8, converters=CONVERTERS, array={"programming_error": 0.3})


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DataSpec(name="digits", calibration=60, validation=100), np.random.default_rng(0))


@pytest.fixture(scope="module")
def trained(dataset):
    return digits_network(dataset)


def quantized(trained, dataset, bits):
    network = TrainableNetwork(trained)
    table = calibrate(network, torch.from_numpy(dataset.calibration.inputs(slice(None))))
    network.set_policy(Policy.uniform(trained.layer_names, BitWidths.parse(bits)))
    return network, table


def on_chips(dataset, hardware=HARDWARE, **options):
    chips = sample_chips(hardware, mho.Conditions(), hardware)
    options = {"accuracy_of": "sampled-chips", "mapping": MappingModel.PAPER, "seed": 1, **options}
    return choose_evaluators(options.pop("accuracy_of"), chips, hardware, dataset.calibration, **options).candidates


def test_chips_that_are_all_alike_are_evaluated_as_the_one_that_they_are(trained, dataset):
    network, _ = quantized(trained, dataset, "6/6/4")
    alike = make_accelerator(32, 32, 2, adc_bits=8, converters=CONVERTERS)
    evaluator = on_chips(dataset, alike, mapping=MappingModel.BEST)
    (found,) = evaluator.evaluate(network, (dataset.validation,))
    program = mho.compile(network.to_quantized_network(), alike, adc_bits=4)
    ranges = mho.calibrate(program, dataset.calibration.inputs(slice(None)), seed=9)
    outputs = mho.simulate(program, dataset.validation.inputs(slice(None)), seed=9, ranges=ranges)
    assert found == score_outputs(outputs, dataset.validation.labels, CLASSIFICATION)
    assert (found.count, evaluator.words) == (100, "on 1 sampled chip of test")
    assert on_chips(dataset, alike, accuracy_of="auto").words == "by the statistical model of test"


def test_few_bits_of_adcs_lose_what_exact_integers_do_not_tell(trained, dataset):
    evaluator = on_chips(dataset, make_accelerator(32, 32, 2, adc_bits=8, converters=CONVERTERS))
    losses = []
    for bits in ("6/6/2", "6/6/4", "6/6/8", "6/6"):
        network, _ = quantized(trained, dataset, bits)
        losses.append(evaluator.evaluate(network, (dataset.validation,))[0].loss)
    assert losses[0] > losses[1] + 0.02
    assert losses[1] > losses[2] - 0.02
    assert losses[2] == losses[3]


def test_policies_that_are_evaluated_on_chips_belong_to_another_problem(trained, dataset):
    network, table = quantized(trained, dataset, "6/6")
    splits = dataset.train, dataset.calibration, dataset.validation
    evaluator = on_chips(dataset)
    plain, aware = (
        QatEvaluator(network, table, *splits, None, seed=1, network_evaluator=one) for one in (None, evaluator)
    )
    assert "network_evaluator" not in plain.problem
    assert aware.problem["network_evaluator"] == dict(evaluator.problem)
    assert aware.fidelity == f"{plain.fidelity}, evaluated {evaluator.words}"
    policies = [Policy.uniform(trained.layer_names, BitWidths(6, 6, bits)) for bits in (2, 8)]
    assert plain.evaluate(policies[0]) == plain.evaluate(policies[1])
    assert aware.evaluate(policies[0]).score > aware.evaluate(policies[1]).score + 0.02
    exact = aware.at(Variant(is_exact=True))
    assert (exact.fidelity, exact.evaluate(policies[0])) == (plain.fidelity, plain.evaluate(policies[0]))
    assert (aware.is_on_chips, exact.is_on_chips) == (True, False)


LIMITS = SearchConstraints(hold_first_last=None, adc_bits=(3, 4, 6), min_weight_bits=7, min_act_bits=7)
WANTED = {"method": "random", "budget": 2, "allowed_drop": 90.0}


def test_searching_in_python_evaluates_on_chips_and_counts_drops_from_ideal_integers(trained, dataset):
    found = mho.search(trained, dataset, HARDWARE, **WANTED, options=mho.SearchOptions(constraints=LIMITS))
    assert set(found.require_best().policy.adc_bits) == set(trained.layer_names)
    exactly = mho.search(
        trained, dataset, HARDWARE, **WANTED,
        options=mho.SearchOptions(constraints=SearchConstraints(hold_first_last=None), accuracy_of="exact"),
    )  # fmt: skip
    assert "by the statistical model of test" in found.reference.fidelity
    assert found.goal.reference_accuracy == exactly.reference.accuracy
    assert found.reference.accuracy < exactly.reference.accuracy, "cells of 30 % error lose some"
    later = mho.SearchOptions(constraints=LIMITS, conditions=mho.Conditions(1e4), accuracy_of="sampled-chips")
    worn = HARDWARE.model_copy(update={"array": make_accelerator(array=WORN).array})
    aged = mho.search(trained, dataset, worn, **WANTED, options=later)
    assert "on 3 sampled chips of test, 10,000 s after the write" in aged.reference.fidelity


def test_adc_bits_cannot_be_searched_by_exact_integers(trained, dataset):
    options = mho.SearchOptions(constraints=LIMITS, accuracy_of="exact")
    with pytest.raises(mho.MhoError, match="candidates are evaluated exactly"):
        mho.search(trained, dataset, HARDWARE, **WANTED, options=options)


def test_what_the_model_leaves_out_is_evaluated_on_sampled_chips_and_said(dataset):
    array = {"stuck_on_rate": 0.01, "placement": "fault-aware"}
    hardware = make_accelerator(32, 32, 2, array=array)
    chips = sample_chips(hardware, mho.Conditions(), hardware)
    options = {"mapping": MappingModel.PAPER, "seed": 1}
    found = choose_evaluators("auto", chips, hardware, dataset.calibration, **options)
    assert (found.candidates, found.has_model) == (found.finalists, False)
    assert found.note.startswith(
        "Candidates are evaluated on 3 sampled chips of test: the model has no array.placement"
    )
    with pytest.raises(mho.MhoError, match="the statistical model has no"):
        choose_evaluators("statistical", chips, hardware, dataset.calibration, **options)


def test_hardware_that_reads_all_sums_exactly_is_evaluated_by_exact_integers(dataset):
    assert on_chips(dataset, make_accelerator(32, 32, 2)) is None
    resolving = make_accelerator(32, 32, 2, adc_bits=12)
    assert on_chips(dataset, resolving) is None
    coarse = make_accelerator(32, 32, 2, adc_bits=6)
    assert sample_chips(coarse, mho.Conditions(), resolving) is not None, "programs have sums that it does not resolve"


COMPILED = make_accelerator(32, 32, 2, adc_bits=12)
CALIBRATED = {"adc_range": "calibrated-columns"}
WORN = {"programming_error": 0.1, "drift_exponent": 0.05, "drift_exponent_std": 0.02}


def make_evaluator(dataset, chips, machine=COMPILED):
    return ChipEvaluator(chips, machine, dataset.calibration, mapping=MappingModel.PAPER, seed=5)


@pytest.mark.parametrize(("converters", "crossbars"), [({}, 1), ({"adc_bits": 5, **CALIBRATED}, 1), ({}, 6), ({}, 60)])
def test_it_tells_the_mean_of_chips_at_their_age_with_the_program_of_the_machine(
    trained, dataset, converters, crossbars
):
    network, _ = quantized(trained, dataset, "4/4")
    hardware, later = make_accelerator(32, 32, 2, array=WORN, converters=converters), mho.Conditions(1e4)
    machine = override(COMPILED, crossbars=crossbars)
    on_arrays = make_evaluator(dataset, SampledChips(2, hardware, later), machine)
    (found,) = on_arrays.evaluate(network, (dataset.validation,))
    program = mho.compile(network.to_quantized_network(), machine, mapping="paper")
    assert (program.regime == "one-crossbar") == (crossbars == 1)
    shown = []
    for number in range(2):
        chip = {"seed": derive_seed(5, f"judged chip {number}"), "hardware": hardware, "conditions": later}
        seen = dataset.calibration.inputs(slice(None))
        ranges = mho.calibrate(program, seen, **chip) if converters else None
        outputs = mho.simulate(program, dataset.validation.inputs(slice(None)), **chip, ranges=ranges)
        shown.append(score_outputs(outputs, dataset.validation.labels, CLASSIFICATION))
    assert shown[0] != shown[1]
    assert found.count == 200
    assert found.loss == pytest.approx((shown[0].loss + shown[1].loss) / 2)
    assert found.accuracy == pytest.approx((shown[0].correct + shown[1].correct) / 200)


def test_its_problem_and_words_tell_the_chips(dataset):
    hardware = make_accelerator(32, 32, 2, array=WORN)
    evaluators = [
        make_evaluator(dataset, SampledChips(2, hardware, mho.Conditions())),
        make_evaluator(dataset, SampledChips(2, hardware, mho.Conditions(1e4))),
        make_evaluator(dataset, SampledChips(3, hardware, mho.Conditions())),
        make_evaluator(dataset, SampledChips(2, COMPILED, mho.Conditions())),
    ]
    assert len({repr(dict(on_arrays.problem)) for on_arrays in evaluators}) == 4
    assert evaluators[1].words == "on 2 sampled chips of test, 10,000 s after the write"


def test_logits_are_scored_by_their_largest_element_and_cross_entropy():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32))
    found = score_outputs({"logits": logits + 500.0}, np.array([0, 1]), CLASSIFICATION)
    assert (found.correct, found.count, found.accuracy) == (1, 2, 0.5)
    assert found.loss == pytest.approx(-(np.log(0.7) + np.log(0.1)) / 2, abs=1e-4)
