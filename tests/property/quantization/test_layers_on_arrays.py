"""On arrays that are ideal, layers answer as they do without them: any mapping, geometry, width and sign."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from accelerators import accelerators, make_accelerator
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from network_builder import NetworkBuilder
from quantized_layers import inputs_for, quantized
from random_networks import SeededChooser, random_network

from mho.array.conductances import Conditions
from mho.errors import MappingError
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import LayerArrays, arrays_of_network
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Node
from mho.policy import BitWidths, Policy
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.qat import TrainableNetwork
from mho.quantization.tile_noise import TileNoise
from mho.quantization.weight_noise import WeightNoise


@st.composite
def layers(draw: Any) -> tuple[TrainableNetwork, torch.Tensor]:
    """Strategy of quantized networks of one layer, with what runs through it."""
    kind, seed = draw(st.sampled_from(["linear", "conv", "matmul"])), draw(st.integers(0, 100))
    groups = draw(st.integers(1, 3)) if kind == "conv" else 1
    if kind == "linear":
        shape: tuple[int, ...] = draw(st.sampled_from([(7,), (5, 4)]))
    elif kind == "matmul":
        shape = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 7))
    else:
        shape = (groups * draw(st.integers(1, 2)), *draw(st.sampled_from([(5, 6), (6, 6)])))
    net = NetworkBuilder((1, *shape), seed)
    if draw(st.booleans()):  # else inputs have a sign
        net.add("relu")
    if kind == "linear":
        net.linear(draw(st.integers(1, 5)), name="layer")
    elif kind == "matmul":
        net.matmul(name="layer")
    else:
        net.conv(
            groups * draw(st.integers(1, 2)),
            draw(st.sampled_from([(1, 1), (3, 3), (2, 3)])),
            draw(st.sampled_from([(1, 1), (2, 2), (1, 2)])),
            draw(st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 0, 2)])),
            groups,
            draw(st.sampled_from([(1, 1), (1, 1), (2, 1)])),
            bias=True,
            name="layer",
        )
    x = inputs_for(net.build(), 3, seed)
    return quantized(net.build(), x, f"{draw(st.integers(1, 6))}/{draw(st.integers(1, 5))}"), x


def on_ideal_arrays(module: Any, accelerator: Accelerator, arrays: LayerArrays) -> Iterator[None]:
    """Let a layer meet ideal arrays: tile by tile, and where that is possible by its integers."""
    for kind in (TileNoise, WeightNoise) if all(part.is_plain for part in arrays.parts) else (TileNoise,):
        module.arrays = kind(accelerator, arrays, 0, Conditions(), one_crossbar=True)
        yield


@settings(max_examples=examples(60), deadline=None)
@given(layers(), accelerators(), st.sampled_from(list(MappingModel)))
def test_ideal_arrays_change_no_bit(
    layer: tuple[TrainableNetwork, torch.Tensor], accelerator: Accelerator, model: MappingModel
) -> None:
    trainable, x = layer
    assert trainable.policy is not None
    try:
        arrays = arrays_of_network(trainable.network, trainable.policy, accelerator, model)
    except MappingError:
        return  # the paper's mapping takes no integers of 1 bit on cells that are too small, nor rows beyond the ADC
    plain = trainable(x)
    for name, found in arrays.items():
        for _ in on_ideal_arrays(trainable.mvm_modules[name], accelerator, found):
            assert torch.equal(trainable(x), plain)


@pytest.mark.parametrize("model", list(MappingModel))
@pytest.mark.parametrize("seed", [3, 24, 25, 51, 59, 60, 82])
def test_ideal_arrays_change_nothing_of_imported_integers(seed: int, model: MappingModel) -> None:
    """Whatever grids they have: zero points, an uneven range, unsigned or binary integers."""
    network = random_network(SeededChooser(seed))
    encoding = ("offset", "differential-columns")[seed // 4 % 2]
    accelerator = make_accelerator(*((8, 7, 2), (1, 1, 1), (2, 3, 1), (4, 2, 4))[seed % 4], encoding=encoding)
    trainable = TrainableNetwork(network).train()
    assert trainable.policy is not None
    try:
        arrays = arrays_of_network(network, trainable.policy, accelerator, model)
    except MappingError:
        return
    with ArrayNoise(accelerator, arrays).on(trainable):  # all zero points are those that were mapped
        pass
    generator = torch.Generator().manual_seed(seed)
    for node in network.mvm_nodes:
        if node.name not in arrays:
            continue
        module, found = trainable.mvm_modules[node.name], arrays[node.name]
        names = node.inputs if node.op == "matmul" else node.inputs[:1]
        operands = [2 * torch.randn(2, *network.shapes[name], generator=generator) for name in names]
        plain = module(*operands)
        # Sums that float32 does not hold are rounded otherwise.
        tolerance = 0.0 if _largest_sum(node, found.inputs) <= 2**24 else 1e-5 * float(plain.detach().abs().max())
        for _ in on_ideal_arrays(module, accelerator, found):
            torch.testing.assert_close(module(*operands), plain, rtol=0, atol=tolerance)


def _largest_sum(node: Node, inputs: int) -> int:
    assert node.quantization is not None
    streamed, stored = node.quantization.input, node.quantization.weight
    largest = [np.abs(np.subtract.outer([one.qmin, one.qmax], one.zero_points)).max() for one in (streamed, stored)]
    return inputs * int(largest[0]) * int(largest[1])


def test_the_tiles_of_a_part_cover_its_matrix_once() -> None:
    net = NetworkBuilder((1, 4, 6, 6))
    net.conv(6, name="layer")
    network = net.build()
    policy = Policy.uniform(network.layer_names, BitWidths(4, 4))
    arrays = arrays_of_network(network, policy, make_accelerator(10, 7, 2), MappingModel.PAPER)
    (part,) = arrays["layer"].parts
    covered = np.zeros((len(part.row_sign), len(part.col_weight)), dtype=int)
    for tile in part.make_tiles():
        covered[tile.rows, tile.cols] += 1
    assert (covered == 1).all()
