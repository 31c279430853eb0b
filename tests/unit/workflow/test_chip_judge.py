"""Networks that were trained for chips are judged on chips: the answers are those of `mho simulate`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from small_training import digits_network

import mho
from mho.data.loading import load_dataset
from mho.data.spec import DataSpec
from mho.mapping.model import MappingModel
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.seeds import derive_seed
from mho.workflow.checks import judge_logits
from mho.workflow.chip_judge import ChipJudge
from mho.workflow.chips import Chips

COMPILED = make_accelerator(32, 32, 2, adc_bits=12)
CALIBRATED = {"adc_range": "calibrated-columns"}
WORN = {"programming_error": 0.1, "drift_exponent": 0.05, "drift_exponent_std": 0.02}


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DataSpec(name="digits", calibration=60, validation=100), np.random.default_rng(0))


@pytest.fixture(scope="module")
def network(dataset):
    network = TrainableNetwork(digits_network(dataset))
    calibrate(network, torch.from_numpy(dataset.calibration.inputs(slice(None))))
    network.set_policy(Policy.uniform(network.network.layer_names, BitWidths(4, 4)))
    return network


def make_judge(dataset, chips):
    return ChipJudge(chips, COMPILED, dataset.calibration, mapping=MappingModel.PAPER, seed=5)


@pytest.mark.parametrize("converters", [{}, {"adc_bits": 5, **CALIBRATED}])
def test_it_tells_the_mean_of_chips_at_their_age(network, dataset, converters, tmp_path):
    hardware, later = make_accelerator(32, 32, 2, array=WORN, converters=converters), mho.Conditions(1e4)
    judge = make_judge(dataset, Chips(2, hardware, later))
    (found,) = judge.judge(network, (dataset.validation,))
    program = mho.compile(network.to_quantized_network(), COMPILED, mapping="paper")
    told = []
    for number in range(2):
        chip = {"seed": derive_seed(5, f"judged chip {number}"), "hardware": hardware, "conditions": later}
        seen = dataset.calibration.inputs(slice(None))
        ranges = mho.calibrate(program, seen, **chip) if converters else None
        (logits,) = mho.simulate(program, dataset.validation.inputs(slice(None)), **chip, ranges=ranges).values()
        told.append(judge_logits(logits, dataset.validation.labels))
    assert told[0] != told[1]
    assert found.count == 100
    assert found.loss == pytest.approx((told[0]["loss"] + told[1]["loss"]) / 2)
    assert found.accuracy == pytest.approx((told[0]["correct"] + told[1]["correct"]) / 200)
    mho.save(program, tmp_path / "p.mho")
    assert judge.ask_file(tmp_path / "p.mho", (dataset.validation,)) == ((found,), None)


def test_its_problem_and_words_tell_the_chips(dataset):
    hardware = make_accelerator(32, 32, 2, array=WORN)
    judges = [
        make_judge(dataset, Chips(2, hardware, mho.Conditions())),
        make_judge(dataset, Chips(2, hardware, mho.Conditions(1e4))),
        make_judge(dataset, Chips(3, hardware, mho.Conditions())),
        make_judge(dataset, Chips(2, COMPILED, mho.Conditions())),
    ]
    assert len({repr(dict(judge.problem)) for judge in judges}) == 4
    assert judges[1].words == "on 2 sampled chips of test, 10,000 s after the write"
    assert judges[0].told.startswith("2 sampled chips of test, for whose cells")
