from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from quantized_layers import inputs_for, quantized

from mho.network.graph import Network
from mho.network.reference import run_float, run_quantized
from mho.quantization.qat import TrainableNetwork


@pytest.mark.parametrize(
    ("kind", "bits", "seed"),
    [
        *(("residual", bits, seed) for seed, bits in enumerate(["1/3", "2/4", "8/8", "16/16"])),
        *(("attention", bits, seed) for seed, bits in enumerate(["4/4", "1/3", "8/8"])),
    ],
)
def test_the_folded_integers_answer_like_the_trained_module(
    request: pytest.FixtureRequest, kind: str, bits: str, seed: int
) -> None:
    network = request.getfixturevalue(kind)(seed)
    trainable = quantized(network, inputs_for(network, 100), bits)
    _move(trainable, network)
    x = inputs_for(network, 50, 2)
    with torch.no_grad():
        ours = trainable.eval()(x).numpy()
    (integers,) = run_quantized(trainable.to_quantized_network(), x.numpy()).values()
    # A sum in another order may push a value over a rounding point: one step of one activation, rarely.
    close = np.abs(ours - integers) <= 1e-4 * np.abs(integers).max()
    assert close.mean() > 0.97
    assert (ours.argmax(-1) == integers.argmax(-1)).mean() > 0.97


def _move(trainable: TrainableNetwork, network: Network) -> None:
    """Make two training steps, so that steps, statistics and weights are not the calibrated ones."""
    optimizer = torch.optim.SGD(trainable.parameters(), lr=0.01)
    trainable.train()
    for seed in (5, 6):
        optimizer.zero_grad()
        trainable(inputs_for(network, 32, seed)).square().mean().backward()
        optimizer.step()


def test_folding_negative_factors_keeps_integers_and_turns_scales_around(builder: type) -> None:
    b = builder((1, 2, 5, 5))
    b.conv(4, name="conv")
    b.batch_norm("bn")
    b.constants["bn.scale"] = np.float32([-1.5, 0.5, 0.0, 2.0])
    network = b.build()
    x = inputs_for(network, 20, 0)
    trainable = quantized(network, x, "4/8").eval()
    node = trainable.to_quantized_network().nodes[0]
    scales = node.quantization.weight.scales
    assert (np.sign(scales) == [-1, 1, 0, 1]).all()
    (integers,) = run_quantized(trainable.to_quantized_network(), x.numpy()).values()
    np.testing.assert_allclose(integers, trainable(x).detach().numpy(), rtol=1e-4, atol=1e-4)


def test_sixteen_bits_are_as_good_as_float(residual: Callable[..., Network]) -> None:
    network = residual()
    x = inputs_for(network, 100, 0)
    trainable = quantized(network, x, "16/16")
    (exact,) = run_float(network, x.numpy()).values()
    (integers,) = run_quantized(trainable.to_quantized_network(), x.numpy()).values()
    assert np.abs(integers - exact).max() < 1e-3 * np.abs(exact).max()


def test_equal_constants_that_a_file_keeps_once_are_trained_apart(builder: Callable[..., Any]) -> None:
    net = builder((1, 3, 6, 6))
    net.constants |= {"ones": np.ones(4, np.float32), "zeros": np.zeros(4, np.float32)}
    for _ in range(2):
        net.conv(4)
        # Scale and variance, bias and mean of both layers.
        net.add("batch_norm", "ones", "zeros", "zeros", "ones", axis=1, epsilon=1e-5)
        net.add("relu")
    network = net.build()
    trainable = TrainableNetwork(network)
    _move(trainable, network)
    x = inputs_for(network, 8, 2)
    with torch.no_grad():
        ours = trainable.eval()(x).numpy()
    (exported,) = run_float(trainable.to_network(), x.numpy()).values()
    np.testing.assert_allclose(ours, exported, rtol=1e-4, atol=1e-5)
    means = [node.inputs[3] for node in trainable.to_network().nodes if node.op == "batch_norm"]
    assert len(set(means)) == 2, "each layer has statistics of its own"


def test_a_normalization_that_is_used_twice_keeps_one_set_of_constants(builder: Callable[..., Any]) -> None:
    net = builder((1, 4, 6, 6))
    net.conv(4, name="first")
    names = [net.constant(f"bn.{key}", 4, low=0.5) for key in ("weight", "bias", "mean", "var")]
    net.add("batch_norm", *names, axis=1, epsilon=1e-5)
    net.conv(4, name="second")
    net.add("batch_norm", *names, axis=1, epsilon=1e-5)
    network = net.build()
    assert TrainableNetwork(network).network is network
