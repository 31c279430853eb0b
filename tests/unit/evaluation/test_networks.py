"""Networks that are evaluated on arrays: results are those of `mho.simulate` on the same arrays and chips."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from small_training import digits_network

import mho
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.qat_evaluator import QatEvaluator
from mho.data.loading import load_dataset
from mho.data.spec import DataSpec
from mho.evaluation.chips import SampledChips
from mho.evaluation.networks import ArrayEvaluator, ChipEvaluator, score_logits, with_ideal_cells
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.seeds import derive_seed

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


def test_it_tells_what_a_chip_of_ideal_cells_answers_whose_adcs_are_calibrated(trained, dataset):
    network, _ = quantized(trained, dataset, "6/6/4")
    on_arrays = ArrayEvaluator(HARDWARE, dataset.calibration, seed=5)
    (found,) = on_arrays.evaluate(network, (dataset.validation,))
    ideal = with_ideal_cells(HARDWARE)
    assert ideal.array == make_accelerator().array
    assert ideal.converters == HARDWARE.converters
    program = mho.compile(network.to_quantized_network(), ideal, adc_bits=4)
    ranges = mho.calibrate(program, dataset.calibration.inputs(slice(None)), seed=9)
    outputs = mho.simulate(program, dataset.validation.inputs(slice(None)), seed=9, ranges=ranges)
    assert found == score_logits(outputs, dataset.validation.labels)
    assert found.count == 100


def test_few_bits_lose_what_exact_integers_do_not_tell(trained, dataset):
    on_arrays = ArrayEvaluator(HARDWARE, dataset.calibration, mapping=MappingModel.PAPER)
    losses = []
    for bits in ("6/6/2", "6/6/4", "6/6/8", "6/6"):
        network, _ = quantized(trained, dataset, bits)
        losses.append(on_arrays.evaluate(network, (dataset.validation,))[0].loss)
    assert losses[0] > losses[1] + 0.02
    assert losses[1] > losses[2] - 0.02
    assert losses[2] == losses[3]


def test_an_evaluator_with_a_judge_measures_what_it_says_and_belongs_to_another_problem(trained, dataset):
    network, table = quantized(trained, dataset, "6/6")
    splits = dataset.train, dataset.calibration, dataset.validation
    on_arrays = ArrayEvaluator(HARDWARE, dataset.calibration, mapping=MappingModel.PAPER)
    plain, judged = (
        QatEvaluator(network, table, *splits, None, seed=1, network_evaluator=one) for one in (None, on_arrays)
    )
    assert "network_evaluator" not in plain.problem
    assert judged.problem["network_evaluator"] == dict(on_arrays.problem)
    assert judged.fidelity == f"{plain.fidelity}, evaluated {on_arrays.words}"
    policies = [Policy.uniform(trained.layer_names, BitWidths(6, 6, bits)) for bits in (2, 8)]
    assert plain.evaluate(policies[0]) == plain.evaluate(policies[1])
    assert judged.evaluate(policies[0]).score > judged.evaluate(policies[1]).score + 0.02


def test_searching_in_python_takes_an_evaluator_of_networks_and_refuses_to_go_without(trained, dataset):
    limits = SearchConstraints(hold_first_last=None, adc_bits=(3, 4, 6), min_weight_bits=6, min_act_bits=6)
    wanted = {"method": "random", "budget": 4, "allowed_drop_points": 50.0}
    with pytest.raises(mho.MhoError, match="candidates are evaluated exactly"):
        mho.search(trained, dataset, HARDWARE, **wanted, options=mho.SearchOptions(constraints=limits))
    on_arrays = ArrayEvaluator(HARDWARE, dataset.calibration)
    best = mho.search(
        trained, dataset, HARDWARE, **wanted,
        options=mho.SearchOptions(constraints=limits, network_evaluator=on_arrays),
    ).require_best()  # fmt: skip
    assert set(best.policy.adc_bits) == set(trained.layer_names)


COMPILED = make_accelerator(32, 32, 2, adc_bits=12)
CALIBRATED = {"adc_range": "calibrated-columns"}
WORN = {"programming_error": 0.1, "drift_exponent": 0.05, "drift_exponent_std": 0.02}


def make_evaluator(dataset, chips):
    return ChipEvaluator(chips, COMPILED, dataset.calibration, mapping=MappingModel.PAPER, seed=5)


@pytest.mark.parametrize("converters", [{}, {"adc_bits": 5, **CALIBRATED}])
def test_it_tells_the_mean_of_chips_at_their_age(trained, dataset, converters):
    network, _ = quantized(trained, dataset, "4/4")
    hardware, later = make_accelerator(32, 32, 2, array=WORN, converters=converters), mho.Conditions(1e4)
    on_arrays = make_evaluator(dataset, SampledChips(2, hardware, later))
    (found,) = on_arrays.evaluate(network, (dataset.validation,))
    program = mho.compile(network.to_quantized_network(), COMPILED, mapping="paper")
    told = []
    for number in range(2):
        chip = {"seed": derive_seed(5, f"judged chip {number}"), "hardware": hardware, "conditions": later}
        seen = dataset.calibration.inputs(slice(None))
        ranges = mho.calibrate(program, seen, **chip) if converters else None
        outputs = mho.simulate(program, dataset.validation.inputs(slice(None)), **chip, ranges=ranges)
        told.append(score_logits(outputs, dataset.validation.labels))
    assert told[0] != told[1]
    assert found.count == 100
    assert found.loss == pytest.approx((told[0].loss + told[1].loss) / 2)
    assert found.accuracy == pytest.approx((told[0].correct + told[1].correct) / 200)
    assert on_arrays.evaluate_program(program, (dataset.validation,)) == ((found,), None)


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
    assert evaluators[0].description.startswith("2 sampled chips of test, for whose cells")


def test_logits_are_scored_by_their_largest_element_and_cross_entropy():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32))
    found = score_logits({"logits": logits + 500.0}, np.array([0, 1]))
    assert (found.correct, found.count, found.accuracy) == (1, 2, 0.5)
    assert found.loss == pytest.approx(-(np.log(0.7) + np.log(0.1)) / 2, abs=1e-4)
