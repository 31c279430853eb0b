"""`TrainableNetwork` computes what the integer reference computes, layer by layer, and gives the integers back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import SeededChooser, networks, random_inputs, random_network

from mho.network.graph import Network, TensorInfo
from mho.network.reference import run_quantized
from mho.quantization.modules import SharedConstants, build_module
from mho.quantization.qat import TrainableNetwork


def _every_tensor(network: Network, inputs: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Run the reference and return all its tensors as [N, *S]."""
    infos = tuple(TensorInfo(node.output, network.shapes[node.output]) for node in network.nodes)
    found = run_quantized(replace(network, outputs=infos), inputs)
    values = {info.name: torch.from_numpy(found[info.name].reshape(-1, *info.shape)) for info in infos}
    return values | {name: torch.from_numpy(array) for name, array in inputs.items()}


def _assert_layers_agree(network: Network, seed: int) -> None:
    values = _every_tensor(network, random_inputs(network, 3, seed))
    trainable = TrainableNetwork(network).eval()
    constants = SharedConstants(trainable.network.constants)
    for node in trainable.network.nodes:
        operands = [values[name] for name in node.inputs if name in values]
        with torch.no_grad():
            ours = build_module(trainable.network, node, constants).eval()(*operands)
        expected = values[node.output]
        tolerance = 2e-5 * float(expected.abs().max()) + 1e-6
        torch.testing.assert_close(
            ours, expected, rtol=1e-4, atol=tolerance, msg=lambda text, n=node: f"{n.name}: {text}"
        )


def _assert_integers_survive(network: Network) -> None:
    again = TrainableNetwork(network).to_quantized_network()
    for mine, other in zip(again.mvm_nodes, network.mvm_nodes, strict=True):
        assert mine.quantization is not None
        assert other.quantization is not None
        pairs = [(mine.quantization.input, other.quantization.input)]
        pairs.append((mine.quantization.weight, other.quantization.weight))
        for ours, theirs in pairs:
            assert (ours.qmin, ours.qmax, ours.bits) == (theirs.qmin, theirs.qmax, theirs.bits)
            assert np.array_equal(*np.broadcast_arrays(ours.zero_points, theirs.zero_points))
            assert np.array_equal(*np.broadcast_arrays(ours.scales, theirs.scales))
        if other.op != "matmul":
            np.testing.assert_array_equal(again.constants[mine.inputs[1]], network.constants[other.inputs[1]])


@given(networks(), st.integers(0, 1000))
@settings(max_examples=examples(60), deadline=None)
def test_layers_agree_with_the_reference_and_integers_survive(network: Network, seed: int) -> None:
    _assert_layers_agree(network, seed)
    _assert_integers_survive(network)


@pytest.mark.parametrize("seed", range(25))
def test_the_same_for_plain_seeds(seed: int) -> None:
    network = random_network(SeededChooser(seed))
    _assert_layers_agree(network, seed)
    _assert_integers_survive(network)
