"""Other simulators at the job of `benchmarks/crossbar.py`, where they are installed: the same weights, inputs and sums.

    pip install aihwkit aihwkit-lightning    # in an environment of their own
    git clone https://github.com/sandialabs/cross-sim && pip install ./cross-sim

CrossSim slices weights and inputs itself. Around aihwkit, slicing is emulated at its cheapest: a tile for each weight
slice, one batch of all input steps, and one shifted sum at the end.
Everything they answer is compared with the plain definition before it is timed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

CLIPPED = 127
"""Largest sum that peers' 8-bit ADCs read with a step of 1; they have as many codes below zero as above."""
NOISE = 0.02

Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Sliced:
    """The job as peers are given it.

    Attributes:
        slices: differences of columns, float32 [slices, rows, outputs], whole numbers up to `largest_digit`.
        weights: what they stand for, int64 [rows, outputs].
        codes: inputs, uint8 [batch, rows].
        cell_bits, input_bits: of a slice, of an input, which is fed bit by bit.
    """

    slices: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    cell_bits: int
    input_bits: int

    @property
    def largest_digit(self) -> int:
        return (1 << self.cell_bits) - 1

    def bits(self) -> torch.Tensor:
        """Return all input steps after each other, float32 [steps * batch, rows]."""
        steps = np.arange(self.input_bits, dtype=np.uint8)[:, None, None]
        return torch.from_numpy((self.codes >> steps & 1).astype(np.float32)).flatten(0, 1)

    def expect(self, kind: str) -> np.ndarray:
        """Return the results that a path of this kind is to give, on average, [batch, outputs]."""
        if kind != "clipped":
            return self.codes.astype(np.int64) @ self.weights
        total = np.zeros((len(self.codes), self.weights.shape[1]))
        for step in range(self.input_bits):
            bits = (self.codes >> step & 1).astype(np.float32)
            for number, digits in enumerate(self.slices):
                total += np.clip(bits @ digits, -CLIPPED, CLIPPED) * 2.0 ** (step + self.cell_bits * number)
        return total

    def add_up(self, sums: torch.Tensor, digit: int) -> torch.Tensor:
        """Return the shifted sum over steps of one slice, [batch, outputs], of [steps * batch, outputs]."""
        steps = sums.view(self.input_bits, len(self.codes), -1)
        total = steps[-1].clone()
        for step in reversed(range(self.input_bits - 1)):
            total.mul_(2).add_(steps[step])
        return total.mul_(1 << self.cell_bits * digit)


@dataclass(frozen=True)
class Peer:
    """A path of another simulator.

    Attributes:
        name: of it.
        kind: which path of NumPy and of mho it stands beside: "ideal", "clipped" or "noise".
        package: that must be importable.
        make: gives what is timed.
    """

    name: str
    kind: str
    package: str
    make: Callable[[Sliced], Run]

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None

    def prepare(self, job: Sliced) -> tuple[Run | None, str]:
        """Return what is timed and what its answers are worth, or why there is none.

        Whatever another package raises is reported: its versions are not known here.
        """
        if not self.is_installed:
            return None, f"not installed ({self.package})"
        try:
            run = self.make(job)
            gap = np.abs(run() - job.expect(self.kind))
        except Exception as error:
            return None, f"does not run here: {type(error).__name__}: {str(error).splitlines()[0]}"
        if self.kind == "noise":
            return run, f"deviates by {gap.std():,.0f} on average"
        return (
            run,
            "exact" if gap.max() < 0.5 else f"{100 * (gap < 0.5).mean():.2f} % exact, off by up to {gap.max():,.0f}",
        )


def list_peers() -> Iterator[Peer]:
    yield Peer("aihwkit-lightning, ideal ADC", "ideal", "aihwkit_lightning", lambda job: lightning(job, clips=False))
    yield Peer("aihwkit-lightning, clipped ADC", "clipped", "aihwkit_lightning", lambda job: lightning(job, clips=True))
    yield Peer("aihwkit torch tile, ideal ADC", "ideal", "aihwkit", lambda job: aihwkit(job, "torch", clips=False))
    yield Peer("aihwkit torch tile, clipped ADC", "clipped", "aihwkit", lambda job: aihwkit(job, "torch", clips=True))
    yield Peer("aihwkit C++ tile, ideal ADC", "ideal", "aihwkit", lambda job: aihwkit(job, "C++", clips=False))
    yield Peer("aihwkit C++ tile, clipped ADC", "clipped", "aihwkit", lambda job: aihwkit(job, "C++", clips=True))
    yield Peer("aihwkit C++ tile, read noise", "noise", "aihwkit", lambda job: aihwkit(job, "C++", False, noise=NOISE))
    yield Peer("CrossSim, ideal ADC", "ideal", "simulator", lambda job: crosssim(job, clips=False))
    yield Peer("CrossSim, clipped ADC", "clipped", "simulator", lambda job: crosssim(job, clips=True))
    yield Peer("CrossSim, read noise", "noise", "simulator", lambda job: crosssim(job, clips=False, noise=NOISE))


def lightning(job: Sliced, *, clips: bool) -> Run:
    """aihwkit-lightning: linear layers whose output bound counts in inputs' range times the largest weight."""
    from aihwkit_lightning.nn import AnalogLinear
    from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig

    layers = []
    for digits in job.slices:
        config = TorchInferenceRPUConfig()
        config.forward.inp_res = -1
        if clips:
            config.pre_post.input_range.enable = True
            config.pre_post.input_range.init_value = 1.0
            config.forward.out_bound = CLIPPED / float(np.abs(digits).max())
            config.forward.out_res = 2 * CLIPPED
        layer = AnalogLinear(digits.shape[0], digits.shape[1], bias=False, rpu_config=config)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(digits.T.copy()))
        layers.append(layer.eval())

    def run() -> np.ndarray:
        bits = job.bits()
        with torch.inference_mode():
            return sum(job.add_up(layer(bits), number) for number, layer in enumerate(layers)).numpy()

    return run


def aihwkit(job: Sliced, tile: str, clips: bool, *, noise: float = 0.0) -> Run:
    """aihwkit's tiles; weights are parts of the largest digit, so sums and the bound of the ADC are too."""
    from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
    from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType, WeightNoiseType
    from aihwkit.simulator.tiles.inference import InferenceTile
    from aihwkit.simulator.tiles.inference_torch import TorchInferenceTile

    config: Any = TorchInferenceRPUConfig() if tile == "torch" else InferenceRPUConfig()
    forward = config.forward
    forward.is_perfect = False
    forward.inp_res = forward.out_res = -1
    forward.inp_bound, forward.out_bound = 1.0, 1e6
    forward.inp_noise = forward.out_noise = 0.0
    forward.noise_management = NoiseManagementType.NONE
    forward.bound_management = BoundManagementType.NONE
    if clips:
        forward.out_bound, forward.out_res = CLIPPED / job.largest_digit, 1 / (2 * CLIPPED)
    if noise:
        forward.w_noise, forward.w_noise_type = noise, WeightNoiseType.ADDITIVE_CONSTANT
    tiles = []
    for digits in job.slices:
        kind = TorchInferenceTile if tile == "torch" else InferenceTile
        one = kind(digits.shape[1], digits.shape[0], config)
        one.set_weights(torch.from_numpy(digits.T.copy()) / job.largest_digit)
        # Only one of both is a torch module; the other learns at each call that it does not train.
        tiles.append(one.eval() if tile == "torch" else partial(one.forward, is_test=True))

    def run() -> np.ndarray:
        bits = job.bits()
        with torch.inference_mode():
            parts = (job.add_up(one(bits), number) for number, one in enumerate(tiles))
            return (sum(parts) * job.largest_digit).numpy()

    return run


def crosssim(job: Sliced, *, clips: bool, noise: float = 0.0) -> Run:
    """CrossSim's bit-sliced core of balanced pairs, with digital accumulation of input bits."""
    from simulator import AnalogCore, CrossSimParameters

    params = CrossSimParameters()
    params.core.style = "BITSLICED"
    params.core.bit_sliced.style = "BALANCED"
    params.core.bit_sliced.num_slices = len(job.slices)
    params.core.weight_bits = job.cell_bits * len(job.slices)
    params.xbar.device.cell_bits = job.cell_bits
    params.xbar.device.infinite_on_off_ratio = True
    params.xbar.dac.mvm.model = "QuantizerDAC"
    params.xbar.dac.mvm.bits = job.input_bits
    params.xbar.dac.mvm.signed = False
    params.xbar.dac.mvm.input_bitslicing = True
    params.core.mapping.inputs.mvm.min = 0.0
    params.core.mapping.inputs.mvm.max = float((1 << job.input_bits) - 1)
    params.xbar.adc.mvm.adc_per_ibit = True
    if clips:
        params.xbar.adc.mvm.model = "SignMagnitudeADC"
        params.xbar.adc.mvm.bits = 8
        params.xbar.adc.mvm.signed = True
        params.xbar.adc.mvm.adc_range_option = "CALIBRATED"
        bound = CLIPPED / job.largest_digit
        params.xbar.adc.mvm.calibrated_range = np.array([[-bound, bound]] * len(job.slices))
    if noise:
        params.xbar.device.read_noise.enable = True
        params.xbar.device.read_noise.model = "NormalProportionalDevice"
        params.xbar.device.read_noise.magnitude = noise
    core = AnalogCore(job.weights.T.astype(np.float64), params)
    inputs = job.codes.T.astype(np.float64)
    return lambda: np.asarray(core.matmat(inputs)).T
