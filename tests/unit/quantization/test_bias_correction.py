from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quantized_layers import inputs_for

from mho.data.dataset import Split
from mho.network.graph import Network
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.quantization.bias_correction import MeanOperand, correct_means, mean_vectors
from mho.quantization.calibration import calibrate
from mho.quantization.modules import MvmModule, SharedConstants
from mho.quantization.ptq import quantize
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import train
from mho.quantization.training_options import TrainingOptions


def _depthwise(builder: Callable[..., Any]) -> Network:
    """A depthwise convolution without bias, then a layer with BatchNorm and one with a bias."""
    b = builder((1, 6, 9, 9))
    b.conv(6, groups=6, stride=2, pads=(0, 1, 1, 0), name="depthwise")
    b.add("relu")
    b.conv(5, kernel=1, pads=(0, 0, 0, 0), name="pointwise")
    b.batch_norm("bn")
    b.add("reduce_mean", axes=(2, 3), keepdims=False)
    b.linear(4, name="fc")
    return b.build()


def _inputs(network: Network, count: int = 40) -> torch.Tensor:
    """Samples whose mean is far from zero."""
    return inputs_for(network, count, seed=0, mean=1.5)


def _quantized_to(network: Network, bits: str) -> TrainableNetwork:
    trainable = TrainableNetwork(network, Policy.uniform(network.layer_names, BitWidths.parse(bits))).eval()
    calibrate(trainable, _inputs(network))
    return trainable


def _outputs(module: MvmModule, operand: torch.Tensor) -> torch.Tensor:
    """Return what one layer gives, [outputs, ...]."""
    with torch.no_grad():
        return module(operand).movedim(1 if module.op == "conv" else -1, 0).flatten(1)


def _operands(trainable: TrainableNetwork, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what every MVM layer multiplies in the float network."""
    found: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, operands, name=name: found.update({name: operands[0]}))
        for name, module in trainable.mvm_modules.items()
    ]
    with torch.no_grad(), trainable.in_float():
        trainable(inputs)
    for handle in hooks:
        handle.remove()
    return found


@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    groups=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 100),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_weights_times_mean_vectors_are_the_mean_outputs(
    builder: type, kernel: int, stride: int, pads: tuple[int, int, int, int], groups: int, seed: int
) -> None:
    b = builder((1, 4, 7, 6), seed)
    b.conv(8, kernel, stride, pads, groups, name="conv")
    network = b.build()
    module = MvmModule(network, network.nodes[0], SharedConstants(network.constants))
    x, mean = torch.randn(11, 1, 4, 7, 6, dtype=torch.float64), MeanOperand("conv")
    for batch in x.split(4):
        mean.add(batch)
    vectors = mean_vectors(mean.value(), module)
    assert vectors.shape == (groups, 4 // groups * kernel * kernel)
    weight = module.weight.detach().double()
    products = torch.einsum("gor,gr->go", weight.reshape(groups, 8 // groups, -1), vectors).flatten()
    module.double()
    torch.testing.assert_close(products, module(x).mean((0, 1, 3, 4)).detach())


@pytest.mark.parametrize("shape", [(11, 6), (11, 1, 3, 6)])
def test_a_linear_layers_mean_is_over_samples_and_tokens(builder: type, shape: tuple[int, ...]) -> None:
    b = builder((1, 6))
    b.linear(5, bias=False, name="fc")
    network = b.build()
    module = MvmModule(network, network.nodes[0], SharedConstants(network.constants))
    x, mean = torch.randn(shape), MeanOperand("linear")
    for batch in x.split(4):
        mean.add(batch)
    vectors = mean_vectors(mean.value(), module)
    torch.testing.assert_close(vectors, x.double().reshape(-1, 6).mean(0, keepdim=True))


@pytest.mark.parametrize("bits", ["1/16", "2/16", "5/16"])
def test_rounding_keeps_the_means_of_every_layer_and_never_adds_error(builder: type, bits: str) -> None:
    network = _depthwise(builder)
    trainable, inputs = _quantized_to(network, bits), _inputs(network)
    for name, operand in _operands(trainable, inputs).items():
        module = trainable.mvm_modules[name]
        corrected = _outputs(module, operand)
        module.bias_correction.zero_()
        plain = _outputs(module, operand)
        module.quantized = False
        exact = _outputs(module, operand)
        scale = float(exact.abs().max())
        torch.testing.assert_close(corrected.mean(1), exact.mean(1), rtol=0, atol=2e-4 * scale)
        errors = [(outputs - exact).square().mean(1) for outputs in (corrected, plain)]
        assert (errors[0] <= errors[1] + 1e-7 * scale**2).all()
        assert float(errors[0].sum()) < 0.9 * float(errors[1].sum())


def test_the_integers_answer_with_the_correction(builder: type) -> None:
    network, inputs = _depthwise(builder), _inputs(_depthwise(builder))
    trainable = _quantized_to(network, "3/8")
    quantized = quantize(network, trainable.policy, inputs)
    assert len(quantized.node("depthwise").inputs) == 3, "the layer has got a bias"
    (integers,) = run_quantized(quantized, inputs.numpy()).values()
    with torch.no_grad():
        np.testing.assert_allclose(integers, trainable(inputs).numpy(), rtol=1e-3, atol=1e-4)
        exact = TrainableNetwork(network).eval()(inputs).numpy()
        for module in trainable.mvm_modules.values():
            module.bias_correction.zero_()
        plain = trainable(inputs).numpy()
    assert np.square(integers - exact).mean() < 0.5 * np.square(plain - exact).mean()


def test_weights_that_lie_on_their_grid_bring_no_bias(builder: type) -> None:
    b = builder((1, 4))
    b.linear(3, bias=False, name="fc")
    b.constants["fc.weight"] = np.float32([[127, -5, 0, 1], [64, 127, -127, 2], [-127, 3, 8, 9]]) / 64
    network = b.build()
    quantized = quantize(network, Policy({"fc": BitWidths(8, 8)}), _inputs(network))
    assert len(quantized.nodes[0].inputs) == 2


def test_float_mode_training_and_imported_integers_know_no_correction(builder: type) -> None:
    network = _depthwise(builder)
    trainable = _quantized_to(network, "2/8")
    inputs = _inputs(network, 8)
    with torch.no_grad(), trainable.in_float():
        assert torch.equal(trainable(inputs), TrainableNetwork(network).eval()(inputs))
    imported = TrainableNetwork(trainable.to_quantized_network())
    assert not any(module.bias_correction.any() for module in imported.mvm_modules.values())
    assert all(module.bias_correction.any() for module in trainable.mvm_modules.values())
    split = Split(inputs.numpy(), np.arange(8) % 4, (0.0,), (1.0,))
    train(trainable, split, TrainingOptions(steps=1, batch_size=8), torch.Generator().manual_seed(0))
    assert not any(module.bias_correction.any() for module in trainable.mvm_modules.values())


def test_products_of_activations_have_none(attention: Callable[..., Network]) -> None:
    table = calibrate(TrainableNetwork(attention()), torch.randn(9, 4, 6))
    assert table.bias_correction("scores", 4) is None
    assert table.bias_correction("query", 4).shape == (6,)


def test_corrections_of_each_width_are_of_its_own_grid() -> None:
    weight, vectors = torch.tensor([[0.6, -0.2], [0.1, 0.9]]), torch.tensor([[1.0, 10.0]], dtype=torch.float64)
    steps = torch.tensor([[0.4, 0.5], [0.1, 0.1]])
    corrections = torch.stack(
        [correct_means(weight, step, bits, vectors) for step, bits in zip(steps, (2, 8), strict=True)]
    )
    # To 2 bits: [0.4, 0.0] (a tie goes to the even integer) and [0.0, 0.5].
    torch.testing.assert_close(corrections, torch.tensor([[0.2 - 2.0, 0.1 + 4.0], [0.0, 0.0]]), rtol=0, atol=1e-5)
