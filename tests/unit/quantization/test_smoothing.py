"""Smoothed networks: the same function in float, a smaller error in integers, and programs that answer exactly."""

import functools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import mho
from mho.network.graph import Network
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.quantization.export import write_qcdq_onnx
from mho.quantization.export_check import compare_with_onnxruntime
from mho.quantization.ptq import quantize
from mho.quantization.qat import TrainableNetwork
from mho.quantization.smoothing import smooth

CHANNELS = 16


def _make_uneven(values: Tensor, seed: int) -> None:
    """Let channels of a parameter differ by two orders of magnitude."""
    exponents = torch.randn(len(values), generator=torch.Generator().manual_seed(seed))
    values.data.mul_(torch.exp(1.5 * exponents).reshape(-1, *(1,) * (values.dim() - 1)))


class _Attention(nn.Module):
    """A LayerNorm before two layers and a residual sum (its scale folds), and one behind (it does not)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(CHANNELS), nn.LayerNorm(CHANNELS)
        self.one, self.two, self.last = (nn.Linear(CHANNELS, CHANNELS) for _ in range(3))
        for norm in (self.first, self.second):
            _make_uneven(norm.weight, 1)
            norm.bias.data.copy_(norm.weight.data.roll(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        x = self.second(x + functional.gelu(self.one(y)) * self.two(y))
        return x + self.last(x)


class _Separable(nn.Module):
    """A depthwise layer between two others, with channels of very different size."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.norm = nn.Conv2d(2, CHANNELS, 1, bias=False), nn.BatchNorm2d(CHANNELS)
        self.depthwise = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS)
        self.project = nn.Conv2d(CHANNELS, 4, 1)
        _make_uneven(self.norm.weight, 2)
        _make_uneven(self.depthwise.weight, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.depthwise(torch.relu(self.norm(self.expand(x)))))
        return self.project(x)


NETWORKS = {"attention": (_Attention, (1, 6, CHANNELS)), "separable": (_Separable, (1, 2, 6, 6))}


@pytest.fixture(params=NETWORKS, scope="module")
def case(request: pytest.FixtureRequest) -> tuple[Network, Tensor]:
    return _load(request.param), _draw(request.param, 48, 1)


@functools.cache
def _load(name: str) -> Network:
    module, shape = NETWORKS[name]
    torch.manual_seed(0)
    return mho.load(module().eval(), torch.zeros(shape))


def _draw(name: str, count: int, seed: int) -> Tensor:
    return torch.randn(count, *NETWORKS[name][1][1:], generator=torch.Generator().manual_seed(seed))


def _run(network: Network, samples: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = TrainableNetwork(network).eval()(samples)
    return found


def _policy(network: Network, bits: str = "8/6") -> Policy:
    return Policy.uniform(network.layer_names, BitWidths.parse(bits))


def test_a_smoothed_network_computes_the_same_and_loses_less_in_integers(case):
    network, samples = case
    policy, others = _policy(network), torch.randn(64, *samples.shape[1:], generator=torch.Generator().manual_seed(2))
    smoothed, wanted = smooth(network, policy, samples), _run(network, others)
    assert smoothed.layer_names == network.layer_names
    torch.testing.assert_close(_run(smoothed, others), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    before, after = (
        float((_run(quantize(one, policy, samples), others) - wanted).square().mean()) for one in (network, smoothed)
    )
    assert after < 0.5 * before


def test_operations_are_added_only_where_no_constants_take_the_scale_in():
    added = {}
    for name in NETWORKS:
        network = _load(name)
        smoothed = smooth(network, _policy(network), _draw(name, 48, 1))
        known = {node.name for node in network.nodes}
        added[name] = {node.name.split(".smoothing")[0] for node in smoothed.nodes if node.name not in known}
    assert added == {"attention": {"last"}, "separable": set()}


def test_smoothed_networks_become_programs_and_files_that_answer_exactly(case, tmp_path):
    network, samples = case
    quantized = mho.quantize(network, "8/8", samples, effort="good")
    program, inputs = mho.compile(quantized, "pelke2026-4bit"), samples[:3].numpy()
    for name, answer in mho.simulate(program, inputs).items():
        assert np.array_equal(answer, run_quantized(quantized, inputs)[name])
    write_qcdq_onnx(quantized, tmp_path / "quantized.onnx")
    assert compare_with_onnxruntime(quantized, tmp_path / "quantized.onnx", inputs).is_explained


def test_a_layer_with_even_channels_stays_as_it_is():
    torch.manual_seed(0)
    network = mho.load(nn.Linear(8, 8), torch.zeros(1, 8))
    even = torch.linspace(-1, 1, 64)
    samples = torch.stack([even[torch.randperm(64)] for _ in range(8)], dim=1)
    assert smooth(network, _policy(network), samples) is network


def test_layers_of_16_bits_and_layers_that_share_weights_stay_as_they_are(case):
    network, samples = case
    assert smooth(network, _policy(network, "16/16"), samples) is network
    twin = mho.load(nn.Sequential(*[nn.Linear(8, 8)] * 2), torch.zeros(1, 8))
    assert smooth(twin, _policy(twin), torch.randn(32, 8) * torch.logspace(-2, 2, 8)) is twin
