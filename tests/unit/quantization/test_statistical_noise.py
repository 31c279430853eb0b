"""Noise-aware training by statistics: the moments that tiles have, at a small part of their cost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from network_builder import NetworkBuilder
from quantized_layers import classified_squares, inputs_for, noise_for, only_layer, only_module, product, quantized

from mho.array.calibration import RangeMethod, RangeRule
from mho.array.cell_statistics import cell_statistics
from mho.array.product import ArrayProduct
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.qat import TrainableNetwork
from mho.quantization.range_renewal import RangeRenewal
from mho.quantization.statistical_noise import StatisticalNoise
from mho.quantization.tile_noise import _Read
from mho.quantization.training import TrainingProgress, train
from mho.quantization.weight_moments import find_moments

CHIPS = 30
CELLS = {"programming_error": 0.05, "programming_error_of": "range", "read_noise": 0.03, "read_noise_of": "range"}
CALIBRATED = {"adc_bits": 6, "adc_range": "calibrated-layer"}


def convolution(bits: str = "4/4") -> tuple[TrainableNetwork, torch.Tensor]:
    """Return a convolution of images without a sign, in several windows of positions, and some of these."""
    net = NetworkBuilder((1, 2, 5, 6))
    net.add("relu")
    net.conv(3, 3, name="conv")
    x = inputs_for(net.build(), 6)
    return quantized(net.build(), x, bits), x


def draw(trainable: TrainableNetwork, x: torch.Tensor, noise: ArrayNoise, chips: int = CHIPS) -> np.ndarray:
    """Return the results of a network of one layer on many chips, less those of exact integers."""
    generator, found = torch.Generator().manual_seed(1), []
    with torch.no_grad():
        exact = trainable(x)
        with noise.on(trainable):
            for _ in range(chips):
                noise.redraw(generator)
                found.append((trainable(x) - exact).numpy())
    return np.array(found, dtype=np.float64)


@pytest.mark.parametrize("model", list(MappingModel))
@pytest.mark.parametrize(
    ("encoding", "errors", "converters"),
    [
        ("differential-columns", 1, {}),
        ("differential-rows", 1, {"dac_bits": 2}),
        ("offset", 1, {}),
        ("differential-columns", 1, CALIBRATED),
        ("differential-columns", 0.6, CALIBRATED),
        ("offset", 1, CALIBRATED),
    ],
)
def test_results_have_the_moments_that_tiles_give(
    encoding: str, errors: float, converters: dict[str, Any], model: MappingModel
) -> None:
    """Of all results together: the mean error within a part of its spread, the spread within a fifth.

    ADCs round much of the errors of cells off, which read counts as whole steps.
    """
    trainable, x = convolution()
    array = {**CELLS, **{key: round(errors * CELLS[key], 9) for key in ("programming_error", "read_noise")}}
    accelerator = make_accelerator(48, 24, 2, encoding=encoding, array=array, converters=converters)
    drawn = {}
    for method in ("tiles", "statistical"):
        noise = noise_for(trainable, accelerator, model, method=method, renewal=RangeRenewal(steps=5))
        drawn[method] = draw(trainable, x, noise, CHIPS if method == "tiles" else 4 * CHIPS)
    spread = np.sqrt(np.square(drawn["tiles"]).mean())
    assert np.abs(drawn["statistical"].mean((0, 1, 3, 4)) - drawn["tiles"].mean((0, 1, 3, 4))).max() < 0.3 * spread
    assert np.sqrt(np.square(drawn["statistical"]).mean()) == pytest.approx(spread, rel=0.2)


class _KilledError(Exception):
    pass


def test_a_training_ends_in_the_same_bytes_after_a_kill(residual: Callable[..., Network], tmp_path: Path) -> None:
    """Errors of converters are measured at the start of an epoch, so none is lost with the process."""
    array = {"programming_error": 0.05, "stuck_on_rate": 0.01, "read_noise": 0.02}
    accelerator = make_accelerator(64, 32, 4, array=array, converters={"adc_bits": 6, "adc_range": "calibrated-layer"})

    def fit(checkpoint: Path | None, last_step: int = 99, seed: int = 1) -> dict[str, torch.Tensor]:
        trainable, split, options = classified_squares(residual())
        options = replace(options, epochs=2)
        noise = noise_for(trainable, accelerator, method="statistical", renewal=RangeRenewal(steps=3))
        assert {type(layer) for layer in noise.layers.values()} == {StatisticalNoise}

        def stop(progress: TrainingProgress) -> None:
            if progress.step > last_step:
                raise _KilledError

        with contextlib.suppress(_KilledError):
            train(trainable, split, options, torch.Generator().manual_seed(seed), checkpoint, stop, noise)
        return trainable.state_tensors()

    whole = fit(None)
    fit(tmp_path / "cut", last_step=5)
    again = fit(tmp_path / "cut")
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    assert not torch.equal(whole["fc.weight"], fit(None, seed=2)["fc.weight"])


def test_errors_of_converters_are_measured_when_ranges_are_due_and_not_where_they_are_kept() -> None:
    trainable, x = convolution()
    accelerator = make_accelerator(48, 24, 2, converters={"adc_bits": 4, "adc_range": "calibrated-layer"})
    noise = noise_for(trainable, accelerator, method="statistical", renewal=RangeRenewal(steps=2))
    layer, generator, found = only_layer(noise), torch.Generator().manual_seed(1), []
    with noise.on(trainable), torch.no_grad():
        for _ in range(4):
            noise.redraw(generator)
            trainable(x * (1 + len(found)))
            found.append(layer.errors)
        assert [one is found[0] for one in found] == [True, True, False, False]
        layer.keep_errors(found[0])
        noise.begin_epoch()
        trainable(x)
        assert layer.errors is found[0]


@pytest.mark.parametrize("layer", [convolution, product])
def test_errors_are_the_same_whether_clipping_is_counted_or_not(
    layer: Callable[[], tuple[TrainableNetwork, torch.Tensor]],
) -> None:
    trainable, x = layer()
    accelerator = make_accelerator(
        48, 24, 2, array=CELLS, converters={"adc_bits": 2, "adc_range": "calibrated-layer", "adc_offset_lsb": 0.5}
    )
    arrays = arrays_of_network(trainable.network, trainable.policy, accelerator, MappingModel.PAPER)
    renewal, found = RangeRenewal(RangeRule(RangeMethod.PERCENTILE, 0.5)), []
    for trains in (True, False):
        noise = ArrayNoise(accelerator, arrays, renewal=renewal, method="statistical", trains=trains)
        with noise.on(trainable), torch.no_grad():
            noise.redraw(torch.Generator().manual_seed(1))
            trainable(x)
        found.append(only_layer(noise).errors)
    assert found[0].passed is not None
    assert float(found[0].deviation.max()) > 0
    assert found[1].passed is None
    assert found[0].kept == found[1].kept
    for name in ("gain", "bias", "deviation"):
        assert torch.equal(getattr(found[0], name), getattr(found[1], name))


def test_the_same_cells_behind_ideal_converters_are_read_without_noise() -> None:
    """Reads are all that errs here: what is measured behind ideal converters is exact, and all of it is kept."""
    trainable, x = convolution()
    reads = {"read_noise": 0.03, "read_noise_of": "range"}
    accelerator = make_accelerator(48, 24, 2, array=reads, converters={"adc_bits": 8, "adc_range": "calibrated-layer"})
    noise = noise_for(trainable, accelerator, method="statistical")
    with noise.on(trainable), torch.no_grad():
        noise.redraw(torch.Generator().manual_seed(1))
        trainable(x)
    assert only_layer(noise).errors.kept == 1.0


@pytest.mark.parametrize("layer", [convolution, product])
def test_a_measurement_makes_each_product_of_weights_once_behind_ideal_converters(
    layer: Callable[[], tuple[TrainableNetwork, torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges are found with them; products of activations differ by sample, and are made as they come."""
    trainable, x = layer()
    accelerator = make_accelerator(48, 24, 2, array=CELLS, converters={"adc_bits": 3, "adc_range": "calibrated-layer"})
    made: list[tuple[bool, int, int | None]] = []

    def make(self: _Read, hardware: Accelerator, **options: Any) -> ArrayProduct:
        made.append((not hardware.converters.has_calibrated_adc, self.number, self.sample))
        return product_of_read(self, hardware, **options)

    product_of_read = _Read.product
    monkeypatch.setattr(_Read, "product", make)
    noise = noise_for(trainable, accelerator, method="statistical")
    with noise.on(trainable), torch.no_grad():
        noise.redraw(torch.Generator().manual_seed(1))
        trainable(x)
    ideal = [read for read in made if read[0]]
    assert ideal
    assert (len(ideal) == len(set(ideal))) == (layer is convolution)


def test_what_is_clipped_passes_no_gradient() -> None:
    trainable, x = convolution()
    accelerator = make_accelerator(48, 24, 2, converters={"adc_bits": 2, "adc_range": "calibrated-layer"})
    noise = noise_for(trainable, accelerator, method="statistical")
    noise.redraw(torch.Generator().manual_seed(1))
    gradients = []
    for is_noisy in (False, True):
        live = x.clone().requires_grad_()
        with noise.on(trainable) if is_noisy else contextlib.nullcontext():
            trainable(live).sum().backward()
        gradients.append(live.grad)
    passed = only_layer(noise).passed()
    assert passed.shape == (3, 1, 1)
    assert 0 < float(passed.min()) < 1
    assert float(gradients[1].abs().sum()) < float(gradients[0].abs().sum())


def test_tensors_are_made_on_the_device_of_the_network() -> None:
    """On a device that computes nothing, a tensor of another one is an error."""
    trainable, x = convolution()
    accelerator = make_accelerator(48, 24, 2, encoding="offset", array=CELLS)
    noise = noise_for(trainable, accelerator, method="statistical")
    layer, module = only_layer(noise), only_module(trainable)
    layer.set_chip(3)
    codes, integers = x.to("meta"), module.weight.detach().to("meta")
    assert layer.weights(integers).device == codes.device
    assert layer.residual(codes, integers, module.geometry, 0).device == codes.device


def test_stuck_cells_are_few_and_large_with_the_moments_of_all_cells() -> None:
    """Weights whose good cells are exact: what varies is that of stuck cells, in a few of them."""
    trainable, _ = convolution()
    hardware = make_accelerator(48, 24, 2, array={"stuck_on_rate": 0.01, "stuck_off_rate": 0.02})
    layer, module = only_layer(noise_for(trainable, hardware, method="statistical")), only_module(trainable)
    integers = (torch.arange(module.weight.numel()) % 3 - 1).reshape(module.weight.shape).float()
    errors = []
    for chip in range(400):
        layer.set_chip(chip)
        errors.append((layer.weights(integers) - integers).double())
    (arrays,) = arrays_of_network(trainable.network, trainable.policy, hardware, MappingModel.PAPER).values()
    cells = arrays.parts[0].cells_of_weight()
    whole = find_moments(cells, cell_statistics(hardware), 4, 1).weight
    for integer in (-1, 0, 1):
        own = torch.stack(errors)[:, integers == integer]
        place = int(np.flatnonzero(cells.integers == integer)[0])
        assert abs(float(own.mean()) - (whole.mean[place] - integer)) < 5 * float(own.std()) / own.numel() ** 0.5
        assert float(own.var()) == pytest.approx(whole.variance[place], rel=0.2)
        assert 0 < float((own != 0).double().mean()) < 0.3
