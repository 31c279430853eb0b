"""Smoothing: channels of activations get scales and shifts of their own, so that a grid of one step fits them all.

An operand of a layer has one step. Where a few channels are many times as large as the others, as after a LayerNorm or
in a GELU, the others get few of its integers; weights have a step for each output and tolerate large columns better. So
each channel is shifted by the middle of its range and divided by

    scale = range^a / largest weight^(1 - a)

(SmoothQuant, Xiao et al. 2022, arXiv 2211.10438, equation 4; shifts: Outlier Suppression+, Wei et al. 2023, arXiv
2304.09145), which the weights make up for (`mho.quantization.channel_scaling`). a = 1 makes all channels alike, and in
a chain of convolutions and ReLUs it is cross-layer equalization (Nagel et al. 2019, arXiv 1906.04721). For each tensor
that one of several a is taken, with or without a shift, which leaves the layers' outputs the least error with both
operands rounded to the policy's widths; where that gains little, nothing is changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.network.graph import Network
from mho.policy import MAX_BITS, BitWidths, Policy
from mho.quantization.calibration import calibrate_weights, check_samples
from mho.quantization.channel_scaling import Channels, Consumers, find_consumers, scale_channels
from mho.quantization.joint_inputs import Inputs
from mho.quantization.layer_fitting import VectorSampler
from mho.quantization.modules import MvmModule
from mho.quantization.network_parts import Streams, samples_that_fit
from mho.quantization.qat import Step, TrainableNetwork
from mho.quantization.quantizers import weight_bounds
from mho.quantization.step_search import Sign, StreamedValues

_EXPONENTS = (0.5, 0.75, 1.0)
_LEAST = 1e-3
"""Of the largest channel: smaller ones are scaled as if they were this large."""

_SHARE_FOLDED, _SHARE_INSERTED = 0.9, 0.5
"""Of the squared error of a layer's outputs, what smoothing must at most leave: where constants that are there take it
in, and where the digital unit has to multiply."""

_SAMPLES, _VECTORS, _OUTPUTS, _VALUES = 512, 1_024, 96, 16_384
"""That a choice is made on, at most: samples; vectors and outputs of a layer; values of a tensor."""

_HELD_OUT = 4
"""One of so many samples has no part in ranges while errors are compared: others may have larger values in any channel,
and the more alike channels are, the more of these are clipped."""


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Scale, float64 [channels], and shift, the same or None."""

    scale: Channels
    shift: Channels | None


class _Seen:
    """What is kept of the tensor of a group: each channel's range, and vectors of every layer.

    Attributes:
        low, high: of the samples that are not held out, and of all, [2, channels].
        vectors: of each layer.
    """

    def __init__(self, group: Consumers, modules: Mapping[str, MvmModule], samples: int) -> None:
        self.low = np.full((2, group.channels), np.inf)
        self.high = -self.low
        self.samples = samples
        self._samplers = {n.name: VectorSampler(modules[n.name], samples, _VECTORS) for n in group.layers}
        self.vectors: dict[str, list[Tensor]] = {name: [] for name in self._samplers}

    def look(self, layer: str, x: Tensor, first: int) -> None:
        """Take the streamed operand of a layer."""
        self.vectors[layer].append(self._samplers[layer].take(x, first))
        axis = x.dim() - (3 if self._samplers[layer].is_conv else 1)
        channels = x.movedim(axis, 1).reshape(len(x), x.shape[axis], -1)
        low, high = (end.numpy() for end in torch.aminmax(channels, dim=2))
        is_held = _held_out(len(x), first)
        for place, chosen in enumerate((~is_held, np.full(len(x), True))):
            self.low[place] = np.minimum(self.low[place], low[chosen].min(0, initial=np.inf))
            self.high[place] = np.maximum(self.high[place], high[chosen].max(0, initial=-np.inf))


def _held_out(count: int, first: int = 0) -> NDArray[np.bool_]:
    """Return which of `count` samples, the first of them number `first`, are held out."""
    return np.arange(first, first + count) % _HELD_OUT == _HELD_OUT - 1


@torch.no_grad()
def smooth(network: Network, policy: Policy, inputs: Inputs) -> Network:
    """Return a network of the same function in float that loses less when it is quantized.

    Args:
        network: to be quantized; one in integers counts as what these stand for.
        policy: the widths to come; layers of 16 bits stay as they are.
        inputs: [N, *S] or [N, *S[1:]], of several inputs together; the first 512 samples are used, or as many as fit.

    Returns:
        Layers have the names that they had; where nothing is to gain, the network itself.

    Raises:
        DataError: no samples, NaN or infinity in them.
    """
    check_samples(inputs)
    trainable = TrainableNetwork(network).eval()
    in_float = smoothed = trainable.to_network()
    groups = [g for g in find_consumers(in_float) if any(policy[n.name].act_bits <= MAX_BITS for n in g.layers)]
    for group, seen in _observe(trainable, groups, inputs[: samples_that_fit(trainable, min(_SAMPLES, len(inputs)))]):
        is_unsigned = trainable.is_non_negative(group.layers[0].name)
        choice = _choose(group, seen, trainable.mvm_modules, policy, is_unsigned=is_unsigned)
        if choice is not None:
            smoothed = scale_channels(smoothed, group, choice.scale, choice.shift)
    return network if smoothed is in_float else smoothed


def _observe(trainable: TrainableNetwork, groups: list[Consumers], inputs: Inputs) -> Iterator[tuple[Consumers, _Seen]]:
    """Run the float network and give what is seen of each group, as soon as all its layers have run."""
    seen = {group.tensor: _Seen(group, trainable.mvm_modules, len(inputs)) for group in groups}
    tensors = {node.name: group.tensor for group in groups for node in group.layers}
    last = {group.layers[-1].name: group for group in groups}

    def look(step: Step, operands: list[Tensor], first: int) -> None:
        if step.name in tensors:
            seen[tensors[step.name]].look(step.name, operands[0], first)

    streams = Streams(trainable, inputs)
    for step in trainable.steps:
        streams.advance_exact((step,), look)
        if step.name in last:
            group = last[step.name]
            yield group, seen.pop(group.tensor)


def _choose(
    group: Consumers, seen: _Seen, modules: Mapping[str, MvmModule], policy: Policy, *, is_unsigned: bool
) -> _Candidate | None:
    """Return the candidate of least error, or None where it gains too little."""
    problems = [
        _Problem(modules[name], torch.cat(vectors, 2), policy[name], is_unsigned, seen.samples)
        for name, vectors in seen.vectors.items()
    ]
    allowed = _SHARE_INSERTED if group.maker is None else _SHARE_FOLDED
    plain = _Candidate(np.ones(group.channels), None)
    least, best = sum(problem.error(plain) for problem in problems) * allowed, None
    columns = np.max([problem.largest_weights(group.channels) for problem in problems], axis=0)
    for exponent, is_shifted in itertools.product(_EXPONENTS, (False, True) if group.is_shiftable else (False,)):
        tried, final = (
            _candidate(low, high, columns, exponent, is_shifted=is_shifted)
            for low, high in zip(seen.low, seen.high, strict=True)
        )
        error = sum(problem.error(tried) for problem in problems)
        if error < least:
            least, best = error, final
    return best


def _candidate(low: Channels, high: Channels, columns: Channels, exponent: float, *, is_shifted: bool) -> _Candidate:
    """Return the candidate for channels of that range, and weights of that largest magnitude."""
    shift = (low + high) / 2 if is_shifted else None
    reach = (high - low) / 2 if is_shifted else np.maximum(-low, high)
    reach, weights = (np.maximum(one, _LEAST * one.max() or 1.0) for one in (reach, columns))
    scale = reach**exponent / weights ** (1 - exponent)
    return _Candidate(scale / np.exp(np.log(scale).mean()), shift)


class _Problem:
    """The output error of one layer with both operands rounded.

    Args:
        module: with float weights.
        vectors: [groups, inputs, vectors] of its streamed operand, as many of each sample.
        widths: to round to.
        is_unsigned: whether the operand cannot be negative.
        samples: that the vectors are of; those held out are what errors are measured on.
    """

    def __init__(self, module: MvmModule, vectors: Tensor, widths: BitWidths, is_unsigned: bool, samples: int) -> None:
        assert module.weight is not None
        groups = len(vectors)
        self._widths, self._sign = widths, Sign.NON_NEGATIVE if is_unsigned else Sign.MEASURED
        self._groups = groups
        weight = module.weight.detach().reshape(groups, -1, vectors.shape[1])
        self._weight = weight[:, :: max(1, weight.shape[1] // max(1, _OUTPUTS // groups))]
        is_held = torch.from_numpy(_held_out(samples)).repeat_interleave(vectors.shape[2] // samples)
        self._fitted, self._held = vectors[..., ~is_held], vectors[..., is_held]
        if not len(is_held[is_held]):
            self._held = self._fitted
        self._wanted = self._weight @ self._held
        self._size = self._wanted.var(2, correction=0).mean().clamp_min(torch.finfo(torch.float32).tiny)

    def largest_weights(self, channels: int) -> Channels:
        """Return the largest magnitude of the weights of each channel, [channels]."""
        per_input = self._weight.abs().amax(1).reshape(channels, -1).amax(1)
        found: Channels = per_input.numpy().astype(np.float64)
        return found

    def error(self, candidate: _Candidate) -> float:
        """Return the mean square error of the outputs, but for their means, as a share of their variance."""
        taps = self._held.shape[1] * self._groups // len(candidate.scale)

        def column(values: Channels) -> Tensor:
            return torch.from_numpy(values.astype(np.float32)).repeat_interleave(taps).reshape(self._groups, -1, 1)

        scale = column(candidate.scale)
        shift = None if candidate.shift is None else column(candidate.shift)
        lost = self._round_weights(scale.mT) @ self._round(scale, shift) - self._wanted
        return float((lost - lost.mean(2, keepdim=True)).square().mean() / self._size)

    def _round(self, scale: Tensor, shift: Tensor | None) -> Tensor:
        """Return the vectors held out on the grid of the others."""
        bits, moved = self._widths.act_bits, 0.0 if shift is None else shift
        if bits > MAX_BITS:
            return self._held
        values = ((self._fitted - moved) / scale).flatten()
        kept = torch.cat((values[:: max(1, len(values) // _VALUES)], torch.stack(values.aminmax())))
        grid = StreamedValues(kept).find_grid(bits, self._sign if shift is None else Sign.MEASURED)
        codes = ((self._held - moved) / scale / grid.step).round_()
        return codes.clamp_(-grid.zero_point, (1 << bits) - 1 - grid.zero_point) * grid.step * scale + moved

    def _round_weights(self, scale: Tensor) -> Tensor:
        scaled = self._weight * scale
        rows = scaled.flatten(0, 1)
        steps = calibrate_weights(rows, self._widths.weight_bits)[:, None]
        if self._widths.weight_bits == 1:
            codes = torch.where(rows >= 0, 1.0, -1.0)
        else:
            codes = (rows / steps).round_().clamp_(*weight_bounds(self._widths.weight_bits))
        return (codes * steps).reshape(scaled.shape) / scale
