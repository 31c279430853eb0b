"""Networks that are judged on arrays: what their ADCs make of them, as programs and ranges of the same kind tell it."""

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
from mho.mapping.model import MappingModel
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.workflow.array_judge import ArrayJudge, with_ideal_cells
from mho.workflow.checks import judge_logits
from mho.workflow.search_settings import SearchSettings

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
    judge = ArrayJudge(HARDWARE, dataset.calibration, seed=5)
    (found,) = judge.judge(network, (dataset.validation,))
    ideal = with_ideal_cells(HARDWARE)
    assert ideal.array == make_accelerator().array
    assert ideal.converters == HARDWARE.converters
    program = mho.compile(network.to_quantized_network(), ideal, adc_bits=4)
    ranges = mho.calibrate(program, dataset.calibration.inputs(slice(None)), seed=9)
    (logits,) = mho.simulate(program, dataset.validation.inputs(slice(None)), seed=9, ranges=ranges).values()
    told = judge_logits(logits, dataset.validation.labels)
    assert (found.correct, found.count, found.loss) == (told["correct"], 100, told["loss"])


def test_few_bits_lose_what_exact_integers_do_not_tell(trained, dataset):
    judge = ArrayJudge(HARDWARE, dataset.calibration, mapping=MappingModel.PAPER)
    losses = []
    for bits in ("6/6/2", "6/6/4", "6/6/8", "6/6"):
        network, _ = quantized(trained, dataset, bits)
        losses.append(judge.judge(network, (dataset.validation,))[0].loss)
    assert losses[0] > losses[1] + 0.02
    assert losses[1] > losses[2] - 0.02
    assert losses[2] == losses[3]


def test_an_evaluator_with_a_judge_measures_what_it_says_and_belongs_to_another_problem(trained, dataset):
    network, table = quantized(trained, dataset, "6/6")
    splits = dataset.train, dataset.calibration, dataset.validation
    judge = ArrayJudge(HARDWARE, dataset.calibration, mapping=MappingModel.PAPER)
    plain, judged = (QatEvaluator(network, table, *splits, None, seed=1, judge=one) for one in (None, judge))
    assert "judge" not in plain.problem
    assert judged.problem["judge"] == dict(judge.problem)
    assert judged.fidelity == f"{plain.fidelity}, judged {judge.words}"
    policies = [Policy.uniform(trained.layer_names, BitWidths(6, 6, bits)) for bits in (2, 8)]
    assert plain.evaluate(policies[0]) == plain.evaluate(policies[1])
    assert judged.evaluate(policies[0]).score > judged.evaluate(policies[1]).score + 0.02


def test_searching_in_python_takes_a_judge_and_refuses_to_go_without(trained, dataset):
    limits = SearchConstraints(hold_first_last=None, adc_bits=(3, 4, 6), min_weight_bits=6, min_act_bits=6)
    wanted = {"method": "random", "budget": 4, "constraints": limits, "allowed_drop_points": 50.0}
    with pytest.raises(mho.MhoError, match="candidates are asked exactly"):
        mho.search(trained, dataset, HARDWARE, **wanted)
    judge = ArrayJudge(HARDWARE, dataset.calibration)
    best = mho.search(trained, dataset, HARDWARE, judge=judge, **wanted).require_best()
    assert set(best.policy.adc_bits) == set(trained.layer_names)


def test_settings_without_adc_bits_are_written_as_ever_and_those_with_come_back():
    plain = SearchSettings(budget=5)
    assert "adc_bits" not in plain.model_dump(mode="json")
    assert not plain.has_adc_bits
    told = SearchSettings(budget=5, adc_bits=[4, 6])
    assert SearchSettings(**told.model_dump(mode="json")) == told
    assert told.has_adc_bits
    assert SearchSettings(budget=5, pins={"a": "4/4/5"}).has_adc_bits
    assert SearchSettings(budget=5, hold_first_last="8/8/6").has_adc_bits
