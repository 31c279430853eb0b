"""The benchmark of the statistical model runs float networks on what they take, and refuses those that know nothing."""

import argparse
import sys
from pathlib import Path

import pytest
from small_training import digits_network

from mho.errors import ConfigError
from mho.network.input_normalization import normalize_input
from mho.quantization.export import write_float_onnx
from mho.quantization.training import evaluate

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from statistical_model import load, prepare


@pytest.fixture(scope="module")
def dataset():
    return load("digits")


@pytest.fixture(scope="module")
def network(dataset):
    return digits_network(dataset)


def options(network, path):
    write_float_onnx(network, path)
    return argparse.Namespace(network=path, images=100)


def test_a_network_that_normalizes_its_inputs_takes_raw_samples(network, dataset, tmp_path):
    plain, same = prepare(dataset, options(network, tmp_path / "plain.onnx"))
    own = normalize_input(network, dataset.train.normalization)
    normalizing, raw = prepare(dataset, options(own, tmp_path / "own.onnx"))
    assert same is dataset
    found = [evaluate(*one).accuracy for one in ((plain, same.test), (normalizing, raw.test))]
    assert found[0] == pytest.approx(found[1], abs=0.01)
    assert found[0] > 0.8


def test_a_network_that_is_not_better_than_chance_is_refused(network, dataset, tmp_path):
    blind = normalize_input(network, [("mul", 0 * dataset.train.normalization[0][1])])
    with pytest.raises(ConfigError, match="the float network is right in"):
        prepare(dataset, options(blind, tmp_path / "blind.onnx"))
