"""Efforts beyond fast: smaller errors of outputs on samples held out, and integers that programs answer exactly."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.errors import DataError, PolicyError
from mho.network.graph import Network
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.quantization import reconstruction
from mho.quantization.calibration import calibrate
from mho.quantization.effort import steps_of
from mho.quantization.layer_fitting import VectorSampler
from mho.quantization.network_parts import find_parts, join_blocks
from mho.quantization.qat import TrainableNetwork
from mho.quantization.reconstruction import reconstruct


class _Residual(nn.Module):
    """A stem, a residual block with a depthwise and a grouped layer, and two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, padding=1)
        self.inner = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 1, groups=2, bias=False), nn.BatchNorm2d(8),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 12), nn.ReLU(), nn.Linear(12, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        return self.head(torch.relu(x + self.inner(x)))


def _draw(count: int, seed: int) -> torch.Tensor:
    """Return samples whose pixels depend on each other, as those of images do: there rounding can be learned."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(9))
    shares = torch.randn(count, 6, generator=generator)
    noise = torch.randn(count, 2, 6, 6, generator=generator)
    return torch.einsum("ns,schw->nchw", shares, patterns) + 0.1 * noise


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    module = _Residual().train()
    for _ in range(3):
        module(_draw(32, 0))
    return mho.load(module.eval(), torch.zeros(1, 2, 6, 6))


@pytest.fixture(scope="module")
def samples() -> torch.Tensor:
    return _draw(96, 1)


def _calibrated(network: Network, samples: torch.Tensor, bits: BitWidths) -> TrainableNetwork:
    trainable = TrainableNetwork(network).eval()
    calibrate(trainable, samples)
    trainable.set_policy(Policy.uniform(network.layer_names, bits))
    return trainable


@pytest.mark.parametrize("bits", [BitWidths(2, 8), BitWidths(3, 8), BitWidths(4, 8)])
def test_good_loses_less_than_calibration_on_samples_that_nothing_saw(network, samples, bits):
    trainable, others = _calibrated(network, samples, bits), _draw(200, 2)
    with torch.no_grad():
        with trainable.in_float():
            wanted = trainable(others)
        before = (trainable(others) - wanted).square().mean()
        found = reconstruct(trainable, samples, "good")
        after = (trainable(others) - wanted).square().mean()
    assert after < 0.8 * before
    assert found.error < found.calibrated_error
    assert (found.samples, found.held_out) == (84, 12)


def test_best_loses_less_than_good(network, samples):
    """Of few bits, on samples that neither saw; together, since roundings of one processor may spoil one of them."""
    others, errors = _draw(200, 2), {"good": 0.0, "best": 0.0}
    for effort, bits in itertools.product(errors, (BitWidths(2, 2), BitWidths(2, 3))):
        trainable = _calibrated(network, samples, bits)
        reconstruct(trainable, samples, effort)
        with torch.no_grad():
            quantized = trainable(others)
            with trainable.in_float():
                errors[effort] += float((quantized - trainable(others)).square().mean())
    assert errors["best"] < 0.95 * errors["good"]


@pytest.fixture
def few_steps(monkeypatch):
    """Let `best` be quick."""

    def shortened(effort):
        steps = steps_of(effort)
        return replace(steps, descent_steps=min(steps.descent_steps, 5))

    monkeypatch.setattr(reconstruction, "steps_of", shortened)


@pytest.mark.parametrize("effort", ["good", "best"])
def test_fitted_networks_become_programs_that_answer_exactly(network, samples, effort, few_steps):
    quantized = mho.quantize(network, "3/4", samples, effort=effort)
    program = mho.compile(quantized, "pelke2026-4bit")
    inputs = samples[:4].numpy()
    for name, answer in mho.simulate(program, inputs).items():
        assert np.array_equal(answer, run_quantized(quantized, inputs)[name])


def test_the_module_computes_what_its_integers_do_and_learns_as_before(network, samples, few_steps):
    trainable = _calibrated(network, samples, BitWidths(4, 4))
    learned = {name for name, parameter in trainable.named_parameters() if parameter.requires_grad}
    reconstruct(trainable, samples, "best")
    assert {name for name, parameter in trainable.named_parameters() if parameter.requires_grad} == learned
    assert not any(buffer.requires_grad for buffer in trainable.buffers())
    integers = run_quantized(trainable.to_quantized_network(), samples[:16].numpy())
    with torch.no_grad():
        outputs = trainable(samples[:16]).numpy()
    np.testing.assert_allclose(outputs, next(iter(integers.values())), atol=1e-4)


def test_equal_inputs_and_seeds_give_equal_bytes(network, samples, few_steps):
    one, other = (mho.quantize(network, "3/4", samples, effort="best", seed=3) for _ in range(2))
    assert all(np.array_equal(values, other.constants[name]) for name, values in one.constants.items())


@pytest.mark.parametrize("count", [1, 2, 9])
def test_few_samples_are_enough_to_run(network, samples, count):
    trainable = _calibrated(network, samples, BitWidths(4, 4))
    found = reconstruct(trainable, samples[:count], "good")
    assert found.error <= found.calibrated_error


def test_progress_ends_whole_and_what_stops_it_leaves_the_network_as_it_was(network, samples, few_steps):
    trainable, shown = _calibrated(network, samples, BitWidths(4, 4)), []
    before = {name: tensor.clone() for name, tensor in trainable.state_tensors().items()}

    def stop(progress):
        shown.append(progress)
        if len(shown) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct(trainable, samples, "good", on_progress=stop)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainable.state_tensors().items())
    shown.clear()
    reconstruct(trainable, samples, "best", on_progress=shown.append)
    assert [progress.is_finished for progress in shown] == [False] * 8 + [True]
    assert shown[-1].fraction == 1
    assert shown[1].seconds_left > 0


def test_a_network_in_float_and_no_samples_are_refused(network, samples):
    trainable = TrainableNetwork(network).eval()
    with pytest.raises(PolicyError, match="in float"):
        reconstruct(trainable, samples, "good")
    with pytest.raises(DataError, match="no samples"):
        reconstruct(_calibrated(network, samples, BitWidths(4, 4)), samples[:0], "good")


def test_layers_that_share_weights_and_products_of_activations_stay_calibrated():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.fc(torch.relu(self.fc(x)))
            return y @ x.transpose(1, 2)

    torch.manual_seed(2)
    inputs = torch.randn(40, 4, 6)
    network = mho.load(Shared(), torch.zeros(1, 4, 6))
    trainable = _calibrated(network, inputs, BitWidths(4, 4))
    before = {name: tensor.clone() for name, tensor in trainable.state_tensors().items()}
    found = reconstruct(trainable, inputs, "good")
    assert found.error == found.calibrated_error
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainable.state_tensors().items())


def test_blocks_start_where_one_tensor_crosses(network):
    trainable = TrainableNetwork(network).eval()
    parts = find_parts(trainable, 10)
    assert [part.crossing for part in parts] == [1, 1, 2, 1, 1]
    assert [len(block) for block in join_blocks(parts)] == [1, 2, 1, 1]
    assert [step for part in parts for step in part.steps] == list(trainable.steps)


def test_cuts_that_memory_does_not_hold_are_none(network):
    assert len(find_parts(TrainableNetwork(network), 10**9)) == 1


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_sampled_windows_are_those_that_the_convolution_multiplies(groups):
    torch.manual_seed(4)
    convolution = nn.Conv2d(4, 8, 3, stride=2, padding=1, dilation=2, groups=groups, bias=False)
    network = mho.load(convolution, torch.zeros(1, 4, 9, 9))
    trainable, x = TrainableNetwork(network), torch.randn(5, 4, 9, 9)
    (module,) = trainable.mvm_modules.values()
    vectors = VectorSampler(module, 5).take(x, 0)
    assert vectors.shape == (groups, 36 // groups, 5 * 16)
    with torch.no_grad():
        products = (module.weight.reshape(groups, -1, 36 // groups) @ vectors).reshape(8, 5, 16)
        torch.testing.assert_close(products.transpose(0, 1).reshape(5, 8, 4, 4), convolution(x))
