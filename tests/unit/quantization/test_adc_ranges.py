"""Ranges of calibrated ADCs in training: those of chips, renewed in time, and no gradient from what is clipped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerators import make_accelerator

from mho.array.calibration import RangeMethod, RangeRule
from mho.data.dataset import Split
from mho.errors import ConfigError
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.model import MappingModel
from mho.network.graph import Network, Node, TensorInfo
from mho.policy import BitWidths, Policy
from mho.program.lowering import compile_network
from mho.quantization.adc_ranges import RangeRenewal
from mho.quantization.array_noise import ArrayNoise, leave_out
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import TrainingProgress, train
from mho.quantization.training_options import TrainingOptions
from mho.simulation.adc_ranges import calibrate_ranges
from mho.simulation.analog import AnalogExecutor

EXTREMES, HALF = RangeRule(RangeMethod.EXTREMES), RangeRule(RangeMethod.PERCENTILE, 0.5)


def hardware(adc_bits: int | str = 4, adc_range: str = "calibrated-columns", **array: Any) -> Accelerator:
    """Return 16 x 12 cells of two bits; one step takes all four bits of an input."""
    return make_accelerator(
        16, 12, 2, dac_bits=4, converters={"adc_bits": adc_bits, "adc_range": adc_range}, array=array
    )


def dense(bits: str = "2/4") -> tuple[TrainableNetwork, torch.Tensor]:
    """Return a dense layer of 10 inputs and 3 outputs after a ReLU, and inputs for it."""
    torch.manual_seed(3)
    constants = {"w": torch.randn(3, 10).numpy(), "b": np.linspace(-1, 1, 3, dtype=np.float32)}
    nodes = (Node("relu", "relu", ("x",), "r"), Node("fc", "linear", ("r", "w", "b"), "y"))
    shapes = {"x": (1, 10), "r": (1, 10), "y": (1, 3)}
    network = Network("one", (TensorInfo("x", (1, 10)),), (TensorInfo("y", (1, 3)),), nodes, constants, shapes)
    trainable, x = TrainableNetwork(network), torch.randn(40, 10)
    calibrate(trainable, x)
    trainable.set_policy(Policy.uniform(trainable.mvm_modules, BitWidths.parse(bits)))
    return trainable.train(), x


def noise_for(trainable: TrainableNetwork, accelerator: Accelerator, rule: RangeRule, steps: int = 100) -> ArrayNoise:
    assert trainable.policy is not None
    arrays = arrays_of_network(trainable.network, trainable.policy, accelerator, MappingModel.PAPER)
    return ArrayNoise(accelerator, arrays, renewal=RangeRenewal(rule, steps))


def run(trainable: TrainableNetwork, noise: ArrayNoise, x: torch.Tensor) -> torch.Tensor:
    with noise.on(trainable), torch.no_grad():
        return trainable(x)


@pytest.mark.parametrize("adc_range", ["calibrated-columns", "calibrated-slices", "calibrated-layer"])
@pytest.mark.parametrize("rule", [EXTREMES, HALF, RangeRule()])
def test_layers_convert_as_chips_whose_ranges_come_from_the_same_inputs(adc_range: str, rule: RangeRule) -> None:
    trainable, x = dense()
    accelerator = hardware(3, adc_range)
    program = compile_network(trainable.to_quantized_network(), accelerator, model=MappingModel.PAPER)
    ranges = calibrate_ranges(program, 0, x.numpy(), hardware=accelerator, rule=rule)
    wanted = AnalogExecutor(program, 0, hardware=accelerator, ranges=ranges).run(x.numpy())["y"]
    found = run(trainable, noise_for(trainable, accelerator, rule), x).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    exact = trainable.eval()(x).detach().numpy()
    assert np.abs(found - exact).max() > 1e-3


@pytest.mark.parametrize("model", MappingModel)
@pytest.mark.parametrize("encoding", ["differential-columns", "offset"])
def test_tiles_in_training_have_the_weight_slices_of_chips(encoding: str, model: MappingModel) -> None:
    """Digits in two slices, and ones, in two tiles; in the best mapping one takes two bits of inputs at once."""
    trainable, _ = dense("4/4")
    assert trainable.policy is not None
    accelerator = make_accelerator(8, 12, 2, encoding=encoding, mapping={"allowed": {"encodings": [encoding]}})
    arrays = arrays_of_network(trainable.network, trainable.policy, accelerator, model)
    program = compile_network(trainable.to_quantized_network(), accelerator, model=model)
    layouts = [tile.layout for part in arrays["fc"].parts for tile in part.make_tiles()]
    on_chip = [tile.product.layout for tile in AnalogExecutor(program, 0).tiles["fc"]]
    assert len(layouts) == len(on_chip) > 1
    for one, other in zip(layouts, on_chip, strict=True):
        assert one.is_correction is not None
        np.testing.assert_array_equal(one.is_correction, other.is_correction)
        np.testing.assert_array_equal(one.col_weight, other.col_weight)
        np.testing.assert_array_equal(one.row_shift, other.row_shift)
    assert any(layout.is_correction.any() for layout in layouts) == (encoding == "offset")


def test_bits_of_a_layer_of_its_own_are_those_that_its_ranges_are_for() -> None:
    trainable, x = dense()
    policy = trainable.policy
    assert policy is not None
    arrays = {
        bits: arrays_of_network(trainable.network, policy.with_adc_bits(own), hardware(6), MappingModel.PAPER)
        for bits, own in ((2, {"fc": 2}), (6, {}))
    }
    few, all_of_few, many = (
        run(trainable, ArrayNoise(hardware(most), arrays[own], renewal=RangeRenewal(EXTREMES)), x)
        for most, own in ((6, 2), (2, 6), (6, 6))
    )
    assert torch.equal(few, all_of_few)
    assert not torch.equal(few, many)


def test_ranges_stay_until_they_are_due() -> None:
    """Small inputs after large ones are read as coarsely as these, until ranges are found again."""
    trainable, x = dense()
    noise, generator = noise_for(trainable, hardware(2), EXTREMES, steps=3), torch.Generator().manual_seed(1)
    small, read = x / 4, []
    noise.redraw(generator)
    run(trainable, noise, x)
    for _ in range(3):
        noise.redraw(generator)
        read.append(run(trainable, noise, small))
    own = run(trainable, noise_for(trainable, hardware(2), EXTREMES), small)
    assert torch.equal(read[0], read[1])
    assert not torch.equal(read[0], own)
    assert torch.equal(read[2], own)
    noise.redraw(generator)
    run(trainable, noise, x)
    noise.begin_epoch()
    assert torch.equal(run(trainable, noise, small), own)


def test_what_is_clipped_passes_no_gradient() -> None:
    """As plain autograd has it where, in integers, only the share that is not clipped follows both operands."""
    trainable, x = dense()
    noise = noise_for(trainable, hardware(3), HALF)
    given = x.clone().requires_grad_()
    with noise.on(trainable):
        y = trainable(given)
    (layer,), (module,) = noise.layers.values(), trainable.mvm_modules.values()
    passed = layer.passed()
    assert passed is not None
    assert set(np.unique(passed.numpy())) == {0.0, 0.5, 1.0}, "both columns, one of them, or none"
    factors = torch.arange(1.0, 1 + y.numel()).reshape(y.shape)
    (y * factors).sum().backward()
    quantizers = module.input_quantizer, module.weight_quantizer
    logs = [one.log_ratio.detach().double().requires_grad_() for one in quantizers]
    steps = [one.base_step.double() * log.exp() for one, log in zip(quantizers, logs, strict=True)]
    inputs, weight = x.double().requires_grad_(), module.weight.detach().double().requires_grad_()

    def rounded(values: torch.Tensor, quantizer: Any) -> torch.Tensor:
        inside = values.clamp(float(quantizer.lower), float(quantizer.upper))
        return inside + (inside.round() - inside).detach()

    follows = rounded(inputs.relu() / steps[0], quantizers[0]) @ rounded(weight / steps[1][:, None], quantizers[1]).t()
    follows = follows * passed
    read = (y - module.corrected_bias()).detach().double() / (steps[0] * steps[1]).detach()
    by_hand = (follows + (read - follows).detach()) * steps[0] * steps[1]
    wanted = torch.autograd.grad((by_hand * factors).sum(), [inputs, weight, *logs])
    scales = [1, 1, *(float(one.gradient_scale) for one in quantizers)]
    found = [given.grad, module.weight.grad, *(one.log_ratio.grad for one in quantizers)]
    for got, want, scale in zip(found, wanted, scales, strict=True):
        assert got is not None
        torch.testing.assert_close(got.double(), want * scale, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(module.bias.grad, factors.sum(0))


def test_ranges_that_hold_everything_pass_all_gradients() -> None:
    trainable, x = dense()
    noise = noise_for(trainable, hardware(16), EXTREMES)
    with noise.on(trainable):
        y = trainable(x)
    y.square().sum().backward()
    (module,) = trainable.mvm_modules.values()
    found = module.weight.grad.clone()
    trainable.zero_grad()
    trainable(x).square().sum().backward()
    torch.testing.assert_close(found, module.weight.grad, rtol=1e-4, atol=1e-4)


def test_training_goes_on_to_the_same_bytes_after_a_kill(residual: Callable[..., Network], tmp_path: Path) -> None:
    """An epoch starts with ranges of its own, so what was forgotten with the process is found again."""

    def fit(checkpoint: Path, last_step: int) -> TrainableNetwork:
        random = np.random.default_rng(5)
        images = random.normal(size=(24, 3, 8, 8)).astype(np.float32)
        split = Split(images, random.integers(0, 5, 24), (0.0,), (1.0,))
        trainable = TrainableNetwork(residual())
        calibrate(trainable, torch.from_numpy(images))
        trainable.set_policy(Policy.uniform(trainable.mvm_modules, BitWidths(4, 4)))
        converters = {"adc_bits": 5, "adc_range": "calibrated-layer"}
        accelerator = make_accelerator(64, 32, 4, converters=converters, array={"read_noise": 0.05})
        noise = noise_for(trainable, accelerator, EXTREMES, steps=2)
        options = TrainingOptions(epochs=2, batch_size=8, learning_rate=0.01)

        def stop(progress: TrainingProgress) -> None:
            if progress.step > last_step:
                raise _KilledError

        with contextlib.suppress(_KilledError):
            train(trainable, split, options, torch.Generator().manual_seed(1), checkpoint, stop, noise)
        return trainable

    whole = fit(tmp_path / "whole", 99).state_tensors()
    fit(tmp_path / "cut", 4)
    again = fit(tmp_path / "cut", 99).state_tensors()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


class _KilledError(Exception):
    pass


def test_without_converters_ranges_are_left_out() -> None:
    ideal = leave_out(hardware(4, "calibrated-layer"), converters=True)
    assert ideal.converters.has_ideal_adc
    assert not ideal.converters.has_calibrated_adc


def test_impossible_renewals_are_errors() -> None:
    with pytest.raises(ConfigError, match="0 steps"):
        RangeRenewal(steps=0)
