"""Layers on several virtual chips at once: as each chip by itself, and exact where nothing errs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from network_builder import NetworkBuilder
from quantized_layers import dense, inputs_for, only_module, product, quantized

from mho.array.conductances import Conditions
from mho.data.dataset import Split
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.layer_mapping import MappingModel
from mho.quantization.mvm_products import multiply, multiply_parts
from mho.quantization.normal_numbers import NumberTables, TableNumbers, VirtualChips
from mho.quantization.qat import TrainableNetwork
from mho.quantization.range_renewal import RangeRenewal
from mho.quantization.statistical_noise import StatisticalNoise
from mho.quantization.virtual_chips import ChannelCorrection, VirtualLayer, VirtualSample, run_on_chips

TABLES = NumberTables(torch.device("cpu"), 5)
ERRORS = {"programming_error": 0.05, "read_noise": 0.03, "stuck_on_rate": 0.02}


def convolution(groups: int = 1) -> tuple[TrainableNetwork, torch.Tensor]:
    net = NetworkBuilder((1, 4, 5, 6))
    net.conv(6, 3, groups=groups, name="conv")
    x = inputs_for(net.build(), 12)
    return quantized(net.build(), x), x


LAYERS = {
    "convolution": convolution,
    "in groups": lambda: convolution(2),
    "dense": lambda: dense(samples=12),
    "dense, signed": lambda: dense(samples=12, is_signed=True),
    "activations": lambda: product(12),
}


def only_name(trainable: TrainableNetwork) -> str:
    (name,) = trainable.mvm_modules
    return name


def statistical(
    trainable: TrainableNetwork, accelerator: Accelerator, model: MappingModel, conditions: Conditions | None = None
) -> StatisticalNoise:
    """Return arrays for the one layer of a network, ideal ones too."""
    assert trainable.policy is not None
    (arrays,) = arrays_of_network(trainable.network, trainable.policy, accelerator, model).values()
    return StatisticalNoise(accelerator, arrays, 0, conditions or Conditions(), renewal=RangeRenewal(), meter=None)


def run(trainable: TrainableNetwork, x: torch.Tensor, layer: StatisticalNoise, chips: VirtualChips) -> torch.Tensor:
    module = only_module(trainable)
    virtual = VirtualLayer(layer, recalibrates=False)
    virtual.chips, module.evaluated_by = chips, virtual.multiply
    with torch.no_grad():
        return trainable.eval()(x)


@pytest.mark.parametrize("model", list(MappingModel))
@pytest.mark.parametrize("kind", list(LAYERS))
def test_chips_at_once_give_what_each_gives_by_itself(kind: str, model: MappingModel) -> None:
    trainable, x = LAYERS[kind]()
    accelerator = make_accelerator(48, 24, 2, encoding="offset", array=ERRORS)
    layer = statistical(trainable, accelerator, model)
    chips = VirtualChips(TABLES, 3, 0, 4, 4, 0, 3, 12)
    together = run(trainable, x, layer, chips)
    alone = [run(trainable, x[3 * chip : 3 * chip + 3], layer, chips.take(chip, 1)) for chip in range(4)]
    assert torch.equal(run(trainable, x, layer, chips), together)
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-4, atol=1e-4 * float(together.std()))


@pytest.mark.parametrize("kind", list(LAYERS))
def test_ideal_cells_give_exact_integers(kind: str) -> None:
    trainable, x = LAYERS[kind]()
    with torch.no_grad():
        exact = trainable.eval()(x)
    layer = statistical(trainable, make_accelerator(48, 24, 2), MappingModel.PAPER)
    found = run(trainable, x, layer, VirtualChips(TABLES, 3, 0, 4, 4, 0, 3, 12))
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5 * float(exact.std()))


@pytest.mark.parametrize("size", [3, 60])
def test_products_of_parts_are_those_of_each_part(size: int) -> None:
    """Short ones lie side by side, long ones follow each other."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 4, size, size, generator=generator)
    weights = torch.randn(3, 8, 2, 3, 3, generator=generator)
    geometry = ("conv", (2, 1), (1, 0), (1, 1), 2)
    each = [multiply(part, weight, None, geometry) for part, weight in zip(x.split(2), weights, strict=True)]
    torch.testing.assert_close(multiply_parts(x, weights, geometry), torch.cat(each), rtol=1e-4, atol=1e-4)
    rows, matrices = torch.randn(6, 7, 5, generator=generator), torch.randn(3, 4, 5, generator=generator)
    each = [multiply(part, one, None, ("linear",)) for part, one in zip(rows.split(2), matrices, strict=True)]
    torch.testing.assert_close(multiply_parts(rows, matrices, ("linear",)), torch.cat(each), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("row", [7, 5_000_000])
def test_rows_of_numbers_do_not_depend_on_how_many_are_taken(row: int) -> None:
    def numbers(first: int) -> TableNumbers:
        return TableNumbers(TABLES, 9, first, 3)

    whole = numbers(0)
    both = [whole.draw((3, row)), whole.draw((3, row))]
    assert torch.equal(numbers(1).draw((2, row)), both[0][1:])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both[0][0], both[0][1])
    assert abs(float(both[0].mean())) < 5 / both[0].numel() ** 0.5
    assert float(both[0].std()) == pytest.approx(1, abs=0.5 if row < 100 else 0.01)


def test_places_are_as_many_as_the_rate_says_in_each_row() -> None:
    places = TableNumbers(TABLES, 9, 0, 3).draw_places(0.01, 3, 100_000)
    counts = torch.bincount(places // 100_000, minlength=3)
    assert all(abs(int(count) - 1000) < 5 * 1000**0.5 for count in counts)
    some = TableNumbers(TABLES, 9, 1, 3).draw_places(0.01, 2, 100_000)
    assert torch.equal(some.sort().values, (places[places >= 100_000] - 100_000).sort().values)


def test_samples_come_back_in_order_where_chips_have_parts_of_other_lengths() -> None:
    """Ideal cells: the logits of 11 samples on 4 chips are those of the network; each is that of its own sample."""
    trainable, x = dense(samples=12)
    layer = statistical(trainable, make_accelerator(48, 24, 2), MappingModel.PAPER)
    split = Split(x[:11].numpy(), np.zeros(11, dtype=np.int64), None, None)
    with torch.no_grad():
        exact = trainable.eval()(x[:11]).flatten(1)
    trainable.train()
    found = run_on_chips(trainable, {"fc": layer}, split, VirtualSample(TABLES, 3, 4))
    torch.testing.assert_close(torch.from_numpy(found), exact)
    assert trainable.training
    assert only_module(trainable).evaluated_by is None


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind != "activations"])
def test_a_correction_of_channels_takes_off_what_all_cells_have_in_common(kind: str) -> None:
    trainable, x = LAYERS[kind]()
    hardware = make_accelerator(48, 24, 2, array={"drift_exponent": 0.1, "drift_reference_s": 1.0})
    layer = statistical(trainable, hardware, MappingModel.PAPER, Conditions(1e4))
    with torch.no_grad():
        exact = trainable.eval()(x).flatten(1)
    split = Split(x.numpy(), np.zeros(len(x), dtype=np.int64), None, None)
    errors = {}
    for seen in (None, split.spread(5)):
        found = run_on_chips(trainable, {only_name(trainable): layer}, split, VirtualSample(TABLES, 3, 4, seen))
        errors[seen is not None] = float((torch.from_numpy(found) - exact).abs().max())
    assert errors[True] < 1e-3 * errors[False]


def test_channels_of_each_chip_get_the_mean_and_deviation_of_exact_results() -> None:
    correction, generator = ChannelCorrection(), torch.Generator().manual_seed(1)
    exact = torch.randn(5, 3, 4, 4, generator=generator)
    on_chips = torch.cat([exact * 2 + 1, exact * -0.5, exact + torch.tensor([1.0, 2, 3])[:, None, None]])
    geometry = ("conv", (1, 1), (0, 0), (1, 1), 1)
    assert correction.correct(exact, 0, geometry) is exact
    corrected = correction.correct(on_chips, 3, geometry)
    wanted = torch.cat([exact, 2 * exact.mean((0, 2, 3), keepdim=True) - exact, exact])
    torch.testing.assert_close(corrected, wanted)
    torch.testing.assert_close(correction.correct(on_chips + 1, 3, geometry).unflatten(0, (3, 5))[2], exact + 1)
