"""A batch that a file fixes is taken off where samples are independent, and stays where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from bits import assert_same_bits
from hypothesis import HealthCheck, given, settings
from network_checks import verify_network
from onnx_models import model, node, run_onnxruntime
from random_digital import random_digital_network
from random_networks import choosers, random_inputs, random_network
from torch import nn

import mho
from mho.errors import InputFileError, UnsupportedOperationError
from mho.network.one_sample import take_one_sample
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float, run_quantized
from mho.quantization.export_check import compare_with_onnxruntime

RNG = np.random.default_rng(0)
WEIGHTS = {"w": RNG.normal(size=(3, 3, 3, 3)).astype(np.float32), "v": RNG.normal(size=(48, 5)).astype(np.float32)}
CLASSIFIER = [
    node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
    node("Add", "c b", "a"),
    node("Reshape", "a s", "r"),
    node("MatMul", "r v"),
]


def classifier(bias: np.ndarray) -> onnx.ModelProto:
    """A network of 3 x 4 x 4 images that is fixed to batches of 4."""
    constants = {**WEIGHTS, "s": np.array([4, -1]), "b": bias.astype(np.float32)}
    return model(CLASSIFIER, {"x": (4, 3, 4, 4)}, constants)


def test_a_batch_of_independent_samples_is_taken_off() -> None:
    proto = classifier(np.repeat(RNG.normal(size=(1, 3, 4, 4)), 4, axis=0))
    network = take_one_sample(read_onnx(proto))
    verify_network(network)
    assert network.inputs[0].shape == (1, 3, 4, 4)
    x = RNG.normal(size=(4, 3, 4, 4)).astype(np.float32)
    assert np.allclose(run_float(network, x)["y"], run_onnxruntime(proto, {"x": x}), rtol=1e-5, atol=1e-5)


def test_operations_that_are_fixed_to_the_batch_are_named() -> None:
    moved = [node("Transpose", "x", "t", perm=[1, 0]), node("Relu", "t", "r"), node("Transpose", "r", perm=[1, 0])]
    with pytest.raises(UnsupportedOperationError, match=r"batch of 4: tensor 't' has its samples elsewhere") as caught:
        take_one_sample(read_onnx(model(moved, {"x": (4, 3)})))
    assert "batch of 1" in caught.value.hint


def test_an_axis_with_constants_of_its_own_is_no_batch() -> None:
    network = read_onnx(classifier(RNG.normal(size=(4, 3, 4, 4))))
    assert take_one_sample(network) is network


@pytest.mark.parametrize("made", [node("Softmax", "x", axis=0), node("ReduceSum", "x", keepdims=1)])
def test_an_axis_along_which_elements_meet_is_no_batch(made: onnx.NodeProto) -> None:
    network = read_onnx(model(made, {"x": (4, 3)}))
    assert take_one_sample(network) is network


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(choosers())
def test_one_sample_gives_the_bits_that_it_gives_in_a_batch(chooser) -> None:
    network = random_digital_network(chooser) if chooser.integer(0, 1) else random_network(chooser)
    try:
        one = take_one_sample(network)
    except UnsupportedOperationError:
        return
    (tensor,), inputs = network.inputs, random_inputs(network, 2)
    together = run_quantized(network, inputs)
    verify_network(one)
    if one is network:
        return
    assert one.inputs[0].shape == (1, *tensor.shape[1:])
    alone = run_quantized(one, {tensor.name: inputs[tensor.name].reshape(-1, *one.inputs[0].shape)})
    name = network.outputs[0].name
    assert_same_bits({name: alone[name].reshape(together[name].shape)}, together)


def test_load_cost_and_quantize_agree_on_one_sample_of_a_module_and_of_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    onnx.save(classifier(np.zeros((1, 3, 4, 4))), tmp_path / "four.onnx")
    one, four = (mho.load(module, torch.zeros(size, 1, 8, 8)) for size in (1, 4))
    assert mho.cost(four, "pelke2026-4bit").latency_ps == mho.cost(one, "pelke2026-4bit").latency_ps
    file = mho.load(tmp_path / "four.onnx")
    assert file.inputs[0].shape == (1, 3, 4, 4)
    samples = RNG.normal(size=(8, 3, 4, 4)).astype(np.float32)
    quantized = mho.quantize(file, "8/8", samples)
    assert mho.simulate(mho.compile(quantized, "pelke2026-4bit"), samples)["y"].shape == (8, 5)
    with pytest.raises(InputFileError, match=r"takes \[4, 3, 4, 4\]"):
        compare_with_onnxruntime(quantized, tmp_path / "four.onnx", samples)


@pytest.mark.parametrize("example", [(torch.zeros(1, 4), 5), "1,4", 4])
def test_an_example_that_is_neither_a_tensor_nor_its_shape_is_refused(example) -> None:
    with pytest.raises(UnsupportedOperationError, match="example input of type"):
        mho.load(nn.Linear(4, 5), example)
