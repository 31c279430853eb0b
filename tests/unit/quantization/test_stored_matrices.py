"""Stored operands as matrices and back, and activations that are written into cells while a network trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from torch import nn

from mho.array.calibration import RangeMethod, RangeRule
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import LayerArrays, arrays_of_network
from mho.mapping.model import MappingModel
from mho.network.graph import Network, Node, TensorInfo
from mho.policy import BitWidths, Policy
from mho.quantization.adc_ranges import RangeRenewal
from mho.quantization.array_noise import ArrayNoise, leave_out
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.stored_matrices import give_constants, give_matrices, give_results, take_matrices

HEADS, TOKENS, INPUTS, OUTPUTS = 2, 3, 5, 4
ERRORS = {"programming_error": 0.1}
VARIATION = {"cell_variation": 0.2}
CALIBRATED = {"adc_bits": 2, "adc_range": "calibrated-layer"}


def hardware(**changes: dict[str, Any]) -> Accelerator:
    return make_accelerator(16, 12, 2, **changes)


def product() -> Network:
    """Return a float network: tokens, with another sign, times themselves."""
    shape, square = (1, HEADS, TOKENS, INPUTS), (1, HEADS, TOKENS, TOKENS)
    shapes = {"x": shape, "n": shape, "t": (1, HEADS, INPUTS, TOKENS), "y": square}
    nodes = (
        Node("turned", "neg", ("x",), "n"),
        Node("transposed", "transpose", ("n",), "t", {"perm": (0, 1, 3, 2)}),
        Node("product", "matmul", ("n", "t"), "y"),
    )
    return Network("square", (TensorInfo("x", shape),), (TensorInfo("y", square),), nodes, {}, shapes)


def on_arrays(network: Network, given: torch.Tensor, accelerator: Accelerator) -> tuple[Any, ArrayNoise]:
    """Return a network at 4/4 that is calibrated for what is given, and its arrays."""
    trainable = TrainableNetwork(network)
    calibrate(trainable, given)
    policy = Policy.uniform(trainable.mvm_modules, BitWidths(4, 4))
    trainable.set_policy(policy)
    ideal = leave_out(accelerator, converters=True)
    arrays = arrays_of_network(network, policy, ideal, MappingModel.PAPER)
    renewal = RangeRenewal(RangeRule(RangeMethod.PERCENTILE, 0.9), steps=1)
    return trainable.train(), ArrayNoise(accelerator, arrays, renewal=renewal)


def tokens(samples: int = 3) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(samples, HEADS, TOKENS, INPUTS)


def layout(*, is_stored: bool) -> LayerArrays:
    sizes = {"groups": HEADS, "outputs": OUTPUTS, "inputs": INPUTS, "positions": TOKENS, "pixels": (1, TOKENS)}
    return LayerArrays(**sizes, weight_offset=0, input_bits=4, parts=(), is_stored=is_stored)


def test_products_of_matrices_are_those_of_operands() -> None:
    torch.manual_seed(1)
    x, stored = (torch.randint(-7, 8, (3, HEADS, *size)).float() for size in ((TOKENS, INPUTS), (INPUTS, OUTPUTS)))
    arrays = layout(is_stored=True)
    matrices = take_matrices(stored, arrays)
    assert matrices.shape == (3, HEADS, OUTPUTS, INPUTS)
    assert torch.equal(give_matrices(matrices, arrays, stored), stored)
    ones = give_matrices(np.ones((3, HEADS, 1, INPUTS)), arrays, stored)
    assert torch.equal(x @ ones, x.sum(dim=-1, keepdim=True))
    results = torch.from_numpy(matrices) @ x.to(torch.int64).transpose(2, 3)  # [samples, groups, outputs, positions]
    assert torch.equal(give_results(results, x @ stored, ("matmul",)), x @ stored)
    constants = np.arange(3 * HEADS * OUTPUTS).reshape(3, HEADS, OUTPUTS)
    added = give_constants(constants, stored, ("matmul",))
    assert torch.equal(added.expand(3, HEADS, TOKENS, OUTPUTS)[:, :, 0], torch.from_numpy(constants).float())


def test_weights_are_those_of_one_sample() -> None:
    weights = torch.randint(-7, 8, (HEADS * OUTPUTS, INPUTS)).float()
    arrays = layout(is_stored=False)
    matrices = take_matrices(weights, arrays)
    assert matrices.shape == (1, HEADS, OUTPUTS, INPUTS)
    assert torch.equal(give_matrices(matrices, arrays, weights), weights)
    assert give_constants(np.ones((1, HEADS, OUTPUTS)), weights, ("linear",)).shape == (HEADS * OUTPUTS,)


@pytest.mark.parametrize("converters", [{}, {"adc_bits": 3}, CALIBRATED])
@pytest.mark.parametrize(("array", "differs"), [(ERRORS, True), (VARIATION, False)])
def test_each_sample_has_errors_of_its_own_write_in_the_same_cells(
    array: dict[str, Any], differs: bool, converters: dict[str, Any]
) -> None:
    given = tokens(1).repeat(2, 1, 1, 1)
    trainable, noise = on_arrays(product(), given, hardware(array=array, converters=converters))
    noise.redraw(torch.Generator().manual_seed(2))
    with noise.on(trainable), torch.no_grad():
        first, second = trainable(given)
    trainable.eval()
    assert not torch.equal(first, trainable(given)[0])
    assert torch.equal(first, second) is not differs


@pytest.mark.parametrize("converters", [{}, {"adc_bits": 3}, CALIBRATED])
def test_gradients_of_both_operands_pass_straight_through(converters: dict[str, Any]) -> None:
    """By plain autograd in float64: what arrays add is a constant, and as much of it passes as is not clipped."""
    given = tokens()
    array = {**ERRORS, "read_noise": 0.05, "read_noise_of": "range"}
    trainable, noise = on_arrays(product(), given, hardware(array=array, converters=converters))
    (module,), (layer,) = trainable.mvm_modules.values(), noise.layers.values()
    quantizers, generator = (module.input_quantizer, module.weight_quantizer), torch.Generator()
    noise.redraw(generator.manual_seed(2))
    with torch.no_grad():
        codes = [one.codes(values) for one, values in zip(quantizers, (-given, -given.mT), strict=True)]
        cells = layer.weights(codes[1]).double()
        residual = layer.residual(codes[0], codes[1], ("matmul",), 8).double()
        share = layer.passed()
    passed = torch.ones_like(residual) if share is None else share.double()
    assert bool((passed < 1).any()) is (converters == CALIBRATED)
    noise.redraw(generator.manual_seed(2))
    live = given.clone().requires_grad_()
    with noise.on(trainable):
        y = trainable(live)
    ramp = torch.arange(y.numel()).reshape(y.shape) / y.numel()
    (y * ramp).sum().backward()

    exact = given.double().requires_grad_()
    logs = [one.log_ratio.detach().double().requires_grad_() for one in quantizers]
    steps = [one.base_step.double() * log.exp() for one, log in zip(quantizers, logs, strict=True)]
    streamed, stored = (
        _rounded(values / step, one) for values, step, one in zip((-exact, -exact.mT), steps, quantizers, strict=True)
    )
    integers = streamed @ (stored + (cells - stored).detach())
    followed = passed * integers + ((1 - passed) * integers).detach() + residual
    wanted = followed * steps[0] * steps[1]
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=1e-5)
    grad, *of_logs = torch.autograd.grad((wanted * ramp).sum(), [exact, *logs])
    torch.testing.assert_close(live.grad.double(), grad, rtol=1e-4, atol=1e-4)
    for one, want in zip(quantizers, of_logs, strict=True):
        torch.testing.assert_close(one.log_ratio.grad.double(), want * float(one.gradient_scale), rtol=1e-4, atol=1e-4)


def _rounded(values: torch.Tensor, quantizer: Any) -> torch.Tensor:
    inside = values.clamp(float(quantizer.lower), float(quantizer.upper))
    return inside + (inside.round() - inside).detach()


def test_steps_of_both_operands_learn_on_arrays(attention: Callable[..., Network]) -> None:
    given = torch.randn(4, 4, 6)
    trainable, noise = on_arrays(attention(), given, hardware(array=ERRORS, converters=CALIBRATED))
    assert set(noise.layers) == set(trainable.mvm_modules)
    noise.redraw(torch.Generator().manual_seed(2))
    with noise.on(trainable):
        y = trainable(given)
        nn.functional.cross_entropy(y.flatten(0, 1), torch.arange(len(y.flatten(0, 1))) % 3).backward()
    for name in ("scores", "mix"):
        module = trainable.mvm_modules[name]
        for one in (module.input_quantizer, module.weight_quantizer):
            assert float(one.log_ratio.grad) != 0, name
