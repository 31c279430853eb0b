"""Every preset answers on a chip of its own, and networks train for those whose cells or converters are not ideal."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from small_training import coloured_split

import mho
from mho.hardware.array import Array
from mho.hardware.loading import list_presets, load_accelerator, override
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network, Node, TensorInfo
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import train
from mho.quantization.training_options import TrainingOptions
from mho.workflow.noise import find_noise, make_noise
from mho.workflow.training_settings import NoiseSettings, QatSettings

DEVIATING = {"fefet", "hermes-pcm", "neurram", "rram-hfo2"}
"""Presets whose cells are not written or read exactly."""
CALIBRATED = {"hermes-pcm", "neurram", "stt-mram"}
"""Presets whose ADCs have ranges from data."""


def small_network() -> Network:
    """Return a convolution and a dense layer of 144 inputs."""
    random = np.random.default_rng(1)
    shapes = {"x": (1, 3, 8, 8), "c": (1, 4, 6, 6), "r": (1, 4, 6, 6), "f": (1, 144), "y": (1, 5)}
    kernels, weights = random.normal(0, 0.3, (4, 3, 3, 3)), random.normal(0, 0.2, (5, 144))
    constants = {"kernels": kernels.astype(np.float32), "weights": weights.astype(np.float32)}
    conv = {"kernel": (3, 3), "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "groups": 1}
    nodes = (
        Node("conv", "conv", ("x", "kernels"), "c", conv),
        Node("relu", "relu", ("c",), "r"),
        Node("flatten", "reshape", ("r",), "f", {"shape": (1, 144)}),
        Node("head", "linear", ("f", "weights"), "y"),
    )
    ends = (TensorInfo(name, shapes[name]) for name in "xy")
    return Network("small", (next(ends),), (next(ends),), nodes, constants, shapes)


@functools.cache
def images() -> np.ndarray:
    return coloured_split(24).inputs(slice(None))


@functools.cache
def quantized_network() -> Network:
    return mho.quantize(small_network(), "4/4", images())


def test_it_is_known_which_presets_are_not_ideal():
    presets = {name: load_accelerator(name) for name in list_presets()}
    ideal = Array()
    errors = (
        "programming_error",
        "read_noise",
        "cell_variation",
        "stuck_on_rate",
        "stuck_off_rate",
        "row_segment_ohm",
    )
    found = {
        name for name, one in presets.items() if any(getattr(one.array, key) != getattr(ideal, key) for key in errors)
    }
    assert found == DEVIATING
    assert {name for name, one in presets.items() if one.converters.has_calibrated_adc} == CALIBRATED


@pytest.mark.parametrize("name", list_presets())
def test_a_network_answers_on_a_chip_of_every_preset(name):
    """Where nothing deviates, to the last bit: the six bits of the MRAM tell these sums apart. Elsewhere each seed has
    answers of its own, which lean on the exact ones. Chips have two cores."""
    chip = (hardware := load_accelerator(name)).chip
    few = override(hardware, crossbars=min(2, chip.cores) * chip.crossbars_per_core)
    program = mho.compile(quantized_network(), few)
    seeds = (3, 4)
    ranges = {seed: mho.calibrate(program, images()[8:], seed=seed) if name in CALIBRATED else None for seed in seeds}
    (found,), (again,), (other,) = (
        mho.simulate(program, images()[:8], seed=seed, ranges=ranges[seed]).values() for seed in (3, 3, 4)
    )
    (exact,) = mho.simulate(program, images()[:8]).values()
    assert found.shape == exact.shape == (8, 5)
    assert np.isfinite(found).all()
    assert (found == again).all()
    assert (found == other).all() == (name not in DEVIATING)
    if name in DEVIATING:
        assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.6
    else:
        assert (found == exact).all()


def train_a_step(name: str | None) -> dict[str, torch.Tensor]:
    """Return what a step of training makes of the network, on the arrays of a preset or on exact integers."""
    trainable = TrainableNetwork(small_network())
    calibrate(trainable, torch.from_numpy(images()))
    trainable.set_policy(Policy.uniform(trainable.mvm_modules, BitWidths(4, 4)))
    noise, options = None, TrainingOptions(epochs=1, batch_size=16, learning_rate=0.05)
    if name is not None:
        hardware = load_accelerator(name)
        settings = QatSettings(steps=1, learning_rate=0.05, noise=NoiseSettings())
        found = find_noise(settings, hardware, None)
        assert found is not None
        noise = make_noise(trainable, found, hardware, MappingModel.PAPER)
        assert bool(noise.layers) == (name in DEVIATING | CALIBRATED)
    train(trainable, coloured_split(16), options, torch.Generator().manual_seed(1), noise=noise)
    return trainable.state_tensors()


@pytest.fixture(scope="module")
def exact_step() -> dict[str, torch.Tensor]:
    return train_a_step(None)


@pytest.mark.parametrize("name", sorted({*DEVIATING, *CALIBRATED, "sram-analog"}))
def test_a_network_trains_a_step_for_every_technology(name, exact_step):
    """Weights change; where cells deviate, otherwise than without arrays, else to the same bits."""
    found = train_a_step(name)
    assert all(torch.isfinite(value).all() for value in found.values())
    for key, constant in (("conv.weight", "kernels"), ("head.weight", "weights")):
        assert not np.array_equal(found[key].detach().numpy(), small_network().constants[constant])
        assert torch.equal(found[key], exact_step[key]) == (name not in DEVIATING)
