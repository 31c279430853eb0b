"""Noise-aware training: fresh chips, statistics of cells, straight-through gradients, no change on ideal arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from quantized_layers import (
    classified_squares,
    dense,
    noise_for,
    only_layer,
    only_module,
    product,
    quantized,
    straight_through,
)
from torch import nn

from mho.array.calibration import RangeMethod, RangeRule
from mho.array.conductances import Conditions
from mho.errors import PolicyError, UnsupportedOperationError
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.qat import TrainableNetwork
from mho.quantization.range_renewal import RangeRenewal
from mho.quantization.tile_noise import TileNoise
from mho.quantization.training import train
from mho.quantization.weight_noise import WeightNoise

ENCODINGS = ("differential-columns", "differential-rows", "offset")
CHIPS = 400
ERRORS = {"programming_error": 0.1}
CALIBRATED = {"adc_bits": 2, "adc_range": "calibrated-layer"}
RENEWAL = RangeRenewal(RangeRule(RangeMethod.PERCENTILE, 0.9), steps=1)


def hardware(encoding: str = "differential-columns", **changes: dict[str, Any]) -> Accelerator:
    return make_accelerator(16, 12, 2, encoding=encoding, **changes)


def integers(trainable: TrainableNetwork) -> torch.Tensor:
    module = only_module(trainable)
    return module.weight_quantizer.codes(module.weight.detach())


def drawn_weights(trainable: TrainableNetwork, noise: ArrayNoise) -> np.ndarray:
    """Return the integers that cells stand for on many chips, [chips, outputs, inputs]."""
    whole, generator, draws = integers(trainable), torch.Generator().manual_seed(1), []
    for _ in range(CHIPS):
        noise.redraw(generator)
        draws.append(only_layer(noise).weights(whole).numpy())
    return np.array(draws, dtype=np.float64)


def _mean_and_variance(level: np.ndarray, std: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the moments of max(0, level + std n), n standard normal."""
    z = level / std
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    mean = level * below + std * density
    return mean, (level**2 + std**2) * below + level * std * density - mean**2


def _moments(encoding: str, weights: np.ndarray, std: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of the integers that cells of two bits stand for, worked out by hand.

    Weights of four bits reach from -7 to 7: two digits of a part with a sign, or of the weight plus 7.
    """
    if encoding == "offset":
        parts, offset = [(1, weights + 7)], 7
    else:
        parts, offset = [(1, np.maximum(weights, 0)), (-1, np.maximum(-weights, 0))], 0
    mean, variance = np.zeros(weights.shape), np.zeros(weights.shape)
    for sign, magnitude in parts:
        for number in range(2):
            found = _mean_and_variance((magnitude >> 2 * number & 3).astype(float), std)
            mean += sign * 4**number * found[0]
            variance += 16**number * found[1]
    if offset:  # the column of ones has errors too
        found = _mean_and_variance(np.ones(()), std)
        mean, variance = mean - offset * found[0], variance + offset**2 * found[1]
    return mean, variance


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_weights_have_the_moments_of_their_cells(encoding: str) -> None:
    """Means within five standard errors, variances within five of theirs (a Gaussian's, twice over for its tails)."""
    trainable, _ = dense()
    drawn = drawn_weights(trainable, noise_for(trainable, hardware(encoding, array=ERRORS)))
    mean, variance = _moments(encoding, integers(trainable).numpy().astype(np.int64), 0.3)
    assert (np.abs(drawn.mean(0) - mean) < 5 * np.sqrt(variance / CHIPS)).all()
    assert (np.abs(drawn.var(0, ddof=1) / variance - 1) < 10 * math.sqrt(2 / CHIPS)).all()
    assert abs((drawn.var(0, ddof=1) / variance).mean() - 1) < 0.1
    if encoding == "offset":  # outputs share the errors of the column of ones
        errors = drawn - drawn.mean(axis=0)
        shared = (errors[:, 0] * errors[:, 1]).mean(axis=0)
        assert abs(shared.mean() / (49 * float(_mean_and_variance(np.ones(()), 0.3)[1])) - 1) < 0.1


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_read_noise_has_its_closed_form(encoding: str, is_signed: bool) -> None:
    """Every cell deviates by 0.3 steps: variances are 0.09 times squares of steps times squares of columns."""
    trainable, x = dense(is_signed=is_signed)
    noise = noise_for(trainable, hardware(encoding, array={"read_noise": 0.1, "read_noise_of": "range"}))
    module = only_module(trainable)
    steps = (module.input_quantizer.step() * module.weight_quantizer.step()).detach().numpy()
    with noise.on(trainable), torch.no_grad():
        draws = np.array([trainable(x).numpy() for _ in range(CHIPS)], dtype=np.float64) / steps
    with torch.no_grad():
        plain = trainable(x).numpy() / steps
        codes = module.input_quantizer.codes(x if is_signed else x.clamp(min=0)).numpy().astype(np.int64)
        codes += module.input_quantizer.code_of_zero() - int(module.input_quantizer.zero_point)
    squares = sum((codes >> bit & 1) * 4**bit for bit in range(4)).sum(axis=1)
    columns = 17 * (1 if encoding == "offset" else 2) + (49 if encoding == "offset" else 0)
    variance = 0.09 * columns * squares[:, None]
    assert (np.abs(draws.mean(0) - plain) < 5 * np.sqrt(variance / CHIPS)).all()
    assert (np.abs(draws.var(0, ddof=1) / variance - 1) < 5 * math.sqrt(2 / CHIPS)).all()


@pytest.mark.parametrize("converters", [{}, {"adc_bits": 3}, CALIBRATED])
@pytest.mark.parametrize("layer", [dense, product])
def test_gradients_pass_straight_through_but_for_what_is_clipped(
    layer: Callable[..., tuple[TrainableNetwork, torch.Tensor]], converters: dict[str, Any]
) -> None:
    """As plain autograd in float64 has them, where errors, noise and what converters do are constants of the step."""
    trainable, x = layer()
    array = {**ERRORS, "read_noise": 0.05, "read_noise_of": "range"}
    noise = noise_for(trainable, hardware(array=array, converters=converters), renewal=RENEWAL)
    module, on_arrays, generator = only_module(trainable), only_layer(noise), torch.Generator()
    assert type(on_arrays) is (TileNoise if converters else WeightNoise)
    leaves = [x.double().requires_grad_()]
    if layer is dense:
        leaves.append(module.weight.detach().double().requires_grad_())
    operands = (leaves[0].relu(), leaves[1]) if layer is dense else (-leaves[0], leaves[0].mT)
    quantizers = module.input_quantizer, module.weight_quantizer
    noise.redraw(generator.manual_seed(2))
    with torch.no_grad():
        codes = [one.codes(values.float()) for one, values in zip(quantizers, operands, strict=True)]
        codes[0] -= int(module.input_quantizer.zero_point)
        cells = on_arrays.weights(codes[1])
        residual = on_arrays.residual(codes[0], codes[1], module.geometry, module.input_quantizer.code_of_zero())
        passed = on_arrays.passed()
    assert (passed is not None and bool((passed < 1).any())) is (converters == CALIBRATED)
    noise.redraw(generator.manual_seed(2))
    live = x.clone().requires_grad_()
    with noise.on(trainable):
        y = trainable(live)
    ramp = torch.arange(y.numel()).reshape(y.shape) / y.numel()
    (y * ramp).sum().backward()
    wanted, logs = straight_through(module, *operands, cells, residual, passed)
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=1e-5)
    found = [live, *([module.weight] if layer is dense else []), *(one.log_ratio for one in quantizers)]
    scales = [1.0] * len(leaves) + [float(one.gradient_scale) for one in quantizers]
    for got, want, scale in zip(
        found, torch.autograd.grad((wanted * ramp).sum(), [*leaves, *logs]), scales, strict=True
    ):
        torch.testing.assert_close(got.grad.double(), want * scale, rtol=1e-4, atol=1e-4)
    if layer is dense:
        torch.testing.assert_close(module.bias.grad, ramp.sum(0))


def test_converters_clip_and_round_as_on_chips() -> None:
    """Two rows of 3 and an ADC of one bit: every column reads 0 or all of the full scale of 6."""
    trainable, _ = dense("3/1", inputs=2, samples=8)
    arrays = noise_for(trainable, make_accelerator(2, 2, 2, converters={"adc_bits": 1}))
    codes, whole = (
        torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]),
        torch.tensor([[3.0, 2.0], [0.0, 0.0], [0.0, 0.0]]),
    )
    found = only_layer(arrays).residual(codes, whole, ("linear",), 0)
    assert found[:, 0].tolist() == [6 - 5, 0 - 3, 0]  # 3 of 6 is half a step: to the even code 0


def test_ideal_arrays_train_as_none_do(residual: Callable[..., Network]) -> None:
    """Bit for bit; an ADC that reads every sum counts as ideal, and no random number is drawn."""
    results = []
    for adc_bits in (None, "ideal", 12):
        trainable, split, options = classified_squares(residual())
        noise = None if adc_bits is None else noise_for(trainable, hardware(converters={"adc_bits": adc_bits}))
        assert noise is None or not noise.layers
        train(trainable, split, options, torch.Generator().manual_seed(1), noise=noise)
        results.append(trainable.state_tensors())
    for name, tensor in results[0].items():
        assert all(torch.equal(tensor, other[name]) for other in results[1:]), name


@pytest.mark.parametrize("model", list(MappingModel))
def test_errors_of_zero_are_plain_bits_in_both_directions(
    residual: Callable[..., Network], model: MappingModel
) -> None:
    """Drift that the cold keeps from beginning: cells are written and read, and give whole numbers."""
    trainable, split, _ = classified_squares(residual())
    x, labels = torch.from_numpy(split.inputs(slice(8))), torch.from_numpy(split.labels[:8].copy())
    drifting = hardware(array={"drift_exponent": 0.1, "drift_activation_ev": 0.3})
    assert not noise_for(trainable, drifting, model).layers  # at once there is nothing to meet
    noise = noise_for(trainable, drifting, model, conditions=Conditions(elapsed_s=2, temperature_k=200))
    assert set(noise.layers) == set(trainable.mvm_modules)
    found = []
    for is_noisy in (False, True):
        trainable.zero_grad()
        trainable.train()
        if is_noisy:
            with noise.on(trainable):
                nn.functional.cross_entropy(trainable(x), labels).backward()
        else:
            nn.functional.cross_entropy(trainable(x), labels).backward()
        found.append({n: p.grad.clone() for n, p in trainable.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_conditions_age_the_cells() -> None:
    """Drift of exponent 0.5 after four times the reference time halves every conductance."""
    trainable, _ = dense()
    noise = noise_for(trainable, hardware(array={"drift_exponent": 0.5}), conditions=Conditions(elapsed_s=4))
    whole = integers(trainable)
    torch.testing.assert_close(only_layer(noise).weights(whole), whole / 2)


def test_noise_of_other_widths_or_networks_is_refused() -> None:
    trainable, _ = dense("4/4")
    noise = noise_for(trainable, hardware(array=ERRORS))
    other, _ = dense("4/3")
    with pytest.raises(PolicyError, match="3 bits, but 4"), noise.on(other):
        pass
    trainable.set_policy(None)
    with pytest.raises(PolicyError, match="in float"), noise.on(trainable):
        pass
    with pytest.raises(UnsupportedOperationError, match="TrainableNetwork"), noise.on(nn.Linear(2, 2)):
        pass
    other, _ = dense()
    only_module(other).weight_quantizer.zero_point.fill_(1)
    with pytest.raises(PolicyError, match="zero points"), noise.on(other):
        pass


def test_training_has_the_errors_that_a_budget_of_pulses_leaves() -> None:
    trainable, _ = dense()
    pulses = {"pulse_error": 0.2, "verify_tolerance": 0.05}
    errors = []
    for count in (1, 20):
        noise = noise_for(trainable, hardware(array={**pulses, "verify_pulses": count}))
        only_layer(noise).set_chip(3)
        threes = torch.full_like(only_module(trainable).weight.detach(), 3.0)
        errors.append(float((only_layer(noise).weights(threes) - threes).square().mean()))
    assert 0 < errors[1] < 0.2 * errors[0]


def test_arrays_that_get_around_stuck_cells_are_refused() -> None:
    placed = hardware(array={"stuck_on_rate": 0.1, "placement": "fault-aware"})
    with pytest.raises(UnsupportedOperationError, match="placement"):
        ArrayNoise(placed, {})
    made_up = hardware(array={"stuck_on_rate": 0.1, "fault_compensation": "digits"})
    with pytest.raises(UnsupportedOperationError, match="fault_compensation"):
        ArrayNoise(made_up, {})
    ArrayNoise(hardware(array={"placement": "fault-aware", "fault_compensation": "digits"}), {})


@pytest.mark.parametrize("adc_bits", ["ideal", 6])
@pytest.mark.parametrize("one_crossbar", [True, False])
@pytest.mark.parametrize("kind", ["programming_error", "cell_variation"])
def test_every_layer_has_errors_of_its_own_but_one_crossbar_the_same_cells(
    adc_bits: int | str, one_crossbar: bool, kind: str
) -> None:
    trainable, x = dense()
    found = noise_for(trainable, hardware(array={kind: 0.1}, converters={"adc_bits": adc_bits}))
    arrays = arrays_of_network(trainable.network, trainable.policy, hardware(), MappingModel.PAPER)["fc"]
    noise = ArrayNoise(found.hardware, {"first": arrays, "second": arrays}, one_crossbar=one_crossbar, method="tiles")
    whole, codes = integers(trainable), torch.ones(1, x.shape[1])
    first, second = (
        layer.weights(whole) if adc_bits == "ideal" else layer.residual(codes, whole, ("linear",), 0)
        for layer in noise.layers.values()
    )
    assert torch.equal(first, second) is (one_crossbar and kind == "cell_variation")


@pytest.mark.parametrize("converters", [{}, {"adc_bits": 3}, CALIBRATED])
@pytest.mark.parametrize(("array", "differs"), [(ERRORS, True), ({"cell_variation": 0.2}, False)])
def test_each_sample_of_a_stored_activation_has_errors_of_its_own_write_in_the_same_cells(
    array: dict[str, Any], differs: bool, converters: dict[str, Any]
) -> None:
    trainable, x = product(1)
    noise = noise_for(trainable, hardware(array=array, converters=converters), renewal=RENEWAL)
    noise.redraw(torch.Generator().manual_seed(2))
    with noise.on(trainable), torch.no_grad():
        first, second = trainable(x.repeat(2, 1, 1, 1))
    assert not torch.equal(first, trainable.eval()(x)[0])
    assert torch.equal(first, second) is not differs


def test_steps_of_both_operands_of_attention_learn_on_arrays(attention: Callable[..., Network]) -> None:
    x = torch.randn(4, 4, 6)
    trainable = quantized(attention(), x)
    noise = noise_for(trainable, hardware(array=ERRORS, converters=CALIBRATED), renewal=RENEWAL)
    assert set(noise.layers) == set(trainable.mvm_modules)
    noise.redraw(torch.Generator().manual_seed(2))
    with noise.on(trainable):
        y = trainable(x).flatten(0, 1)
        nn.functional.cross_entropy(y, torch.arange(len(y)) % 3).backward()
    for name in ("scores", "mix"):
        module = trainable.mvm_modules[name]
        for one in (module.input_quantizer, module.weight_quantizer):
            assert float(one.log_ratio.grad) != 0, name
