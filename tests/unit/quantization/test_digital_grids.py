"""Grids of the tensors between layers: their bits and signs, their way through ONNX files, and training with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bits import assert_same_bits
from network_builder import NetworkBuilder, attention, residual

from mho.errors import DataError
from mho.network.graph import Network
from mho.network.integer_lowering import lower_to_integers
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.quantization.digital_grids import assign_digital_grids
from mho.quantization.export import build_qcdq_model
from mho.quantization.ptq import quantize
from mho.quantization.qat import TrainableNetwork


def _quantized(network: Network) -> tuple[Network, np.ndarray]:
    inputs = np.random.default_rng(0).standard_normal((40, *network.inputs[0].shape)).astype(np.float32)
    return quantize(network, Policy.uniform(network.layer_names, BitWidths(8, 8)), inputs), inputs


def test_functions_alone_get_ten_bits_and_others_those_that_are_asked_for() -> None:
    builder = NetworkBuilder((1, 4, 6))
    builder.linear(6, name="first")
    builder.add("sigmoid", name="gate")
    builder.linear(6, name="second")
    builder.add("relu", name="kept")
    quantized, inputs = _quantized(builder.build())
    for bits, expected in (
        (16, {"first": (-512, 511), "kept": (0, 65535)}),
        (8, {"first": (-128, 127), "kept": (0, 255)}),
    ):
        network = assign_digital_grids(quantized, inputs, bits=bits)
        found = {}
        for node in network.nodes:
            if node.op == "fake_quantize":
                maker = next(one for one in network.nodes if one.output == node.inputs[0])
                found[maker.name] = (node.attributes["qmin"], node.attributes["qmax"])
        assert found == expected


@pytest.mark.parametrize("make", [residual, attention])
def test_a_file_keeps_the_grids(make) -> None:
    quantized, inputs = _quantized(make())
    network = assign_digital_grids(quantized, inputs)
    again = read_onnx(build_qcdq_model(network))
    (ours,), (theirs,) = (run_quantized(lower_to_integers(one).network, inputs).values() for one in (network, again))
    assert np.array_equal(ours, theirs)


def test_training_rounds_where_the_network_does() -> None:
    quantized, inputs = _quantized(residual())
    network = assign_digital_grids(quantized, inputs, bits=8)
    module = TrainableNetwork(network).eval()
    outputs = module(torch.from_numpy(inputs))
    (expected,) = run_quantized(network, inputs).values()
    step = next(node.attributes["scale"] for node in network.nodes if node.output == network.outputs[0].name)
    assert np.abs(outputs.detach().numpy() - expected).max() <= 2 * step
    outputs.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


def test_a_tensor_that_is_not_finite_is_named() -> None:
    builder = NetworkBuilder((1, 4, 6))
    builder.linear(6, name="first")
    builder.add("log", name="logarithm")
    quantized, inputs = _quantized(builder.build())
    with pytest.raises(DataError, match="logarithm_out"):
        assign_digital_grids(quantized, inputs)


@pytest.mark.parametrize("bits", [8, 16])
def test_masks_of_any_size_give_one_grid_and_a_probability_of_exactly_0(bits: int) -> None:
    scales = set()
    for masked in (-np.inf, np.finfo(np.float32).min, -1e4):
        builder = NetworkBuilder((1, 4, 6))
        builder.linear(6, name="scores")
        builder.constants["mask"] = np.triu(np.full((4, 6), masked, np.float32), 3)
        builder.add("add", "mask", name="masked")
        builder.add("softmax", axis=2)
        quantized, inputs = _quantized(builder.build())
        network = assign_digital_grids(quantized, inputs, bits=bits)
        (grid,) = [node for node in network.nodes if node.inputs[0] == "masked_out"]
        scales.add(grid.attributes["scale"])
        found, wanted = (
            next(iter(run_quantized(one, inputs).values())) for one in (lower_to_integers(network).network, quantized)
        )
        assert not np.triu(found, 3).any()
        assert np.abs(found - wanted).max() <= {8: 0.15, 16: 0.001}[bits]
        module = TrainableNetwork(network).train()
        module(torch.from_numpy(inputs)).square().sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())
    assert len(scales) == 1


def test_integers_are_the_same_whatever_the_batch() -> None:
    quantized, inputs = _quantized(residual())
    network = lower_to_integers(assign_digital_grids(quantized, inputs)).network
    whole = run_quantized(network, inputs)
    parts = [run_quantized(network, inputs[start : start + 7]) for start in range(0, len(inputs), 7)]
    assert_same_bits(whole, {name: np.concatenate([part[name] for part in parts]) for name in whole})
