"""Ranges of calibrated ADCs in training: those of chips, renewed in time, and no gradient from what is clipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from quantized_layers import dense, noise_for, only_layer, only_module

from mho.array.calibration import RangeMethod, RangeRule
from mho.errors import ConfigError
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.layer_mapping import MappingModel
from mho.program.lowering import compile_network
from mho.quantization import range_renewal
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.qat import TrainableNetwork
from mho.quantization.range_renewal import RangeRenewal
from mho.simulation.adc_ranges import calibrate_adcs
from mho.simulation.analog import AnalogExecutor

EXTREMES, HALF = RangeRule(RangeMethod.EXTREMES), RangeRule(RangeMethod.PERCENTILE, 0.5)


def hardware(adc_bits: int | str = 4, adc_range: str = "calibrated-columns", **array: Any) -> Accelerator:
    """Return 16 x 12 cells of two bits; one step takes all four bits of an input."""
    return make_accelerator(
        16, 12, 2, dac_bits=4, converters={"adc_bits": adc_bits, "adc_range": adc_range}, array=array
    )


def layer() -> tuple[TrainableNetwork, torch.Tensor]:
    """Return a dense layer of 10 inputs and 3 outputs after a ReLU, and inputs for it."""
    return dense("2/4", inputs=10, samples=40)


def run(trainable: TrainableNetwork, noise: ArrayNoise, x: torch.Tensor) -> torch.Tensor:
    with noise.on(trainable), torch.no_grad():
        return trainable(x)


@pytest.mark.parametrize("kept_bytes", [0, 2000])
def test_ranges_are_the_same_whether_sums_are_kept_or_found_twice(
    kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 2,000 bytes some reads are kept, and not all."""
    trainable, x = layer()
    accelerator, found = hardware(3, programming_error=0.1), []
    for size in (range_renewal._KEPT_BYTES, kept_bytes):
        monkeypatch.setattr(range_renewal, "_KEPT_BYTES", size)
        noise = noise_for(trainable, accelerator, renewal=RangeRenewal(RangeRule()))
        run(trainable, noise, x)
        found.append(only_layer(noise)._ranges._ranges)
    for one, other in zip(*found, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("adc_range", "rule"),
    [
        ("calibrated-columns", EXTREMES),
        ("calibrated-columns", HALF),
        ("calibrated-slices", HALF),
        ("calibrated-layer", EXTREMES),
        ("calibrated-layer", RangeRule()),
    ],
)
def test_layers_convert_as_chips_whose_ranges_come_from_the_same_inputs(adc_range: str, rule: RangeRule) -> None:
    trainable, x = layer()
    accelerator = hardware(3, adc_range)
    program = compile_network(trainable.to_quantized_network(), accelerator, model=MappingModel.PAPER)
    ranges = calibrate_adcs(program, 0, x.numpy(), hardware=accelerator, rule=rule).layers
    wanted = AnalogExecutor(program, 0, hardware=accelerator, ranges=ranges).run(x.numpy())["fc_out"]
    found = run(trainable, noise_for(trainable, accelerator, renewal=RangeRenewal(rule)), x).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    exact = trainable.eval()(x).detach().numpy()
    assert np.abs(found - exact).max() > 1e-3


@pytest.mark.parametrize("model", MappingModel)
@pytest.mark.parametrize("encoding", ["differential-columns", "offset"])
def test_tiles_in_training_have_the_weight_slices_of_chips(encoding: str, model: MappingModel) -> None:
    """Digits in two slices, and ones, in two tiles; in the best mapping one takes two bits of inputs at once."""
    trainable, _ = dense("4/4", inputs=10, samples=40)
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
    trainable, x = layer()
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
    trainable, x = layer()
    noise, generator = (
        noise_for(trainable, hardware(2), renewal=RangeRenewal(EXTREMES, 3)),
        torch.Generator().manual_seed(1),
    )
    small, read = x / 4, []
    noise.redraw(generator)
    run(trainable, noise, x)
    for _ in range(3):
        noise.redraw(generator)
        read.append(run(trainable, noise, small))
    own = run(trainable, noise_for(trainable, hardware(2), renewal=RangeRenewal(EXTREMES)), small)
    assert torch.equal(read[0], read[1])
    assert not torch.equal(read[0], own)
    assert torch.equal(read[2], own)
    noise.redraw(generator)
    run(trainable, noise, x)
    noise.begin_epoch()
    assert torch.equal(run(trainable, noise, small), own)


def test_what_passes_is_the_share_of_a_result_that_is_not_clipped() -> None:
    trainable, x = layer()
    noise = noise_for(trainable, hardware(3), renewal=RangeRenewal(HALF))
    run(trainable, noise, x)
    assert set(np.unique(only_layer(noise).passed())) == {0.0, 0.5, 1.0}, "both columns, one of them, or none"


def test_ranges_that_hold_everything_pass_all_gradients() -> None:
    trainable, x = layer()
    noise = noise_for(trainable, hardware(16), renewal=RangeRenewal(EXTREMES))
    with noise.on(trainable):
        y = trainable(x)
    y.square().sum().backward()
    module = only_module(trainable)
    found = module.weight.grad.clone()
    trainable.zero_grad()
    trainable(x).square().sum().backward()
    torch.testing.assert_close(found, module.weight.grad, rtol=1e-4, atol=1e-4)


def test_impossible_renewals_are_errors() -> None:
    with pytest.raises(ConfigError, match="0 steps"):
        RangeRenewal(steps=0)
