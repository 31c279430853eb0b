"""Torch modules: module paths as names, the table of layers, and a module left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from network_checks import verify_network
from torch import nn

from mho.errors import InputFileError, UnsupportedOperationError
from mho.models import build_model
from mho.network.layers import ConvShape, MvmLayer, derive_layer_table
from mho.network.loading import load_network
from mho.network.reference import run_float
from mho.network.torch_reader import read_torch


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.head(mixed.mean(dim=1))


def test_module_paths_are_layer_names_and_the_network_is_apart_from_its_module() -> None:
    module = _Net()
    module.stem[1].eval()
    network = read_torch(module, (1, 3, 4, 4))
    verify_network(network)
    assert derive_layer_table(network) == (
        MvmLayer("stem.0", "conv", 8, 27, 16, 1, ConvShape(1, (4, 4), (4, 4), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))),
        MvmLayer("attention.in_proj", "linear", 24, 8, 16, 1),
        MvmLayer("attention.query_key", "matmul", 16, 4, 16, 2),
        MvmLayer("attention.attention_value", "matmul", 4, 16, 16, 2),
        MvmLayer("attention.out_proj", "linear", 8, 8, 16, 1),
        MvmLayer("head", "linear", 5, 8, 1, 1),
    )
    assert len(network.node("stem.0").inputs) == 2
    assert "batch_norm" in {node.op for node in network.nodes}
    assert module.training
    assert not module.stem[1].training
    assert len(network.node("attention.out_proj").inputs) == 3, "a bias of zeros is a parameter"
    before = {name: value.copy() for name, value in network.constants.items()}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    for name, value in network.constants.items():
        assert np.array_equal(value, before[name])


def test_a_module_that_cannot_be_exported_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    class Sorter(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(UnsupportedOperationError, match="Sorter: torch cannot export it"):
        read_torch(Sorter(), (1, 2))
    with pytest.raises(UnsupportedOperationError, match=r"does not fit the module(.|\n)*batch axis"):
        read_torch(nn.Conv2d(1, 4, 3), (1, 8, 8, 1))
    assert capfd.readouterr() == ("", ""), "torch's own remarks are kept from the user"


def test_weights_that_are_not_finite_are_named() -> None:
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight[0, 0] = torch.nan
    with pytest.raises(InputFileError, match=r"'weight' \(1 of 4\)"):
        read_torch(module, (1, 2))


@pytest.mark.parametrize(
    ("name", "size", "layers", "first", "last"),
    [
        pytest.param("vgg16", 32, 16, "features.0", "classifier.6", marks=pytest.mark.slow),
        ("resnet18", 32, 21, "conv1", "fc"),
        pytest.param("resnet50", 32, 54, "conv1", "fc", marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", 32, 53, "features.0.0", "classifier.1", marks=pytest.mark.slow),
        pytest.param("vit_b_32", 224, 74, "conv_proj", "heads.head", marks=pytest.mark.slow),
    ],
)
def test_torchvisions_networks_have_the_papers_layers_and_compute_what_torch_does(
    name: str, size: int, layers: int, first: str, last: str
) -> None:
    shape = (3, size, size)
    network = load_network(f"torchvision:{name}", input_shape=shape, seed=1)
    verify_network(network)
    assert len(network.layer_names) == layers
    assert (network.layer_names[0], network.layer_names[-1]) == (first, last)
    module = build_model(f"torchvision:{name}", 1000, shape, torch.Generator().manual_seed(1)).eval()
    x = np.random.default_rng(0).normal(0, 1, (2, *shape)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    found = run_float(network, x)[network.outputs[0].name]
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(expected).max())))
    if name == "vit_b_32":
        table = {layer.name: layer for layer in derive_layer_table(network)}
        block = "encoder.layers.encoder_layer_0"
        assert table["conv_proj"].positions == 49
        assert table[f"{block}.self_attention.query_key"] == MvmLayer(
            f"{block}.self_attention.query_key", "matmul", 50, 64, 50, 12
        )
        assert table[f"{block}.self_attention.attention_value"].inputs == 50
        assert table[f"{block}.mlp.0"].positions == 50
