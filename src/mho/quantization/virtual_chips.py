"""A layer on several chips at once: each part of the samples is multiplied by weights of its own, by one product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.data.dataset import Split
from mho.quantization.batches import samples_at_once
from mho.quantization.channel_statistics import measure_channels, scale_to
from mho.quantization.devices import device_of
from mho.quantization.mvm_products import Geometry, multiply, multiply_parts
from mho.quantization.normal_numbers import NumberTables, VirtualChips
from mho.quantization.qat import TrainableNetwork
from mho.quantization.quantizers import Quantizer
from mho.quantization.statistical_noise import StatisticalNoise

_WEIGHTS_AT_ONCE = 1 << 25
"""Weights of all chips of a layer that are held at a time, at most: 128 MiB."""


class VirtualLayer:
    """What computes a layer in evaluation.

    Attributes:
        chips: that it computes on; None: exact integers, whose channels are measured where channels are corrected.
        correction: of the channels of each chip; None: they stay as they are.
    """

    def __init__(self, noise: StatisticalNoise, *, recalibrates: bool) -> None:
        self._noise = noise
        self.chips: VirtualChips | None = None
        self.correction = ChannelCorrection() if recalibrates else None

    def multiply(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        input_q: Quantizer,
        weight_q: Quantizer,
        geometry: Geometry,
    ) -> Tensor:
        """Return what chips give for a product, plus the bias; operands as for `fake_quantized_product`, padded."""
        streamed, integers = input_q.centred_codes(x), weight_q.centred_codes(weight)
        if self.chips is None:
            found = multiply(streamed, integers, None, geometry)
        else:
            found = self._run(self.chips, streamed, integers, geometry, input_q.code_of_zero())
        steps = (input_q.step() * weight_q.step()).reshape(-1)
        column = (-1, 1, 1) if geometry[0] == "conv" else (-1,)
        if bias is None:
            found = found.mul_(steps.reshape(column))
        else:
            found = torch.addcmul(bias.reshape(column), found, steps.reshape(column))
        if self.correction is None:
            return found
        return self.correction.correct(found, 0 if self.chips is None else self.chips.chips, geometry)

    def _run(self, chips: VirtualChips, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor:
        """Return what all chips give, in integers."""
        is_stored = geometry[0] == "matmul"  # each sample has its own
        at_once = chips.chips if is_stored else max(1, min(chips.chips, _WEIGHTS_AT_ONCE // integers.numel()))
        parts = []
        for first in range(0, chips.chips, at_once):
            some = chips.take(first, min(at_once, chips.chips - first))
            samples = slice(first * chips.samples_of_chip, (first + some.chips) * chips.samples_of_chip)
            own = integers[samples] if is_stored else integers
            parts.append(self._add(some, streamed[samples], own, geometry, offset))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _add(self, chips: VirtualChips, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor:
        """Return what some chips give, in integers."""
        noise = self._noise
        noise.set_chips(chips)
        weights = noise.weights(integers)
        if geometry[0] == "matmul":
            product = multiply(streamed, weights, None, geometry)
        else:
            product = multiply_parts(streamed, weights if chips.chips > 1 else weights[None], geometry)
        residual = noise.residual(streamed, integers, geometry, offset)
        return product if residual is None else product.add_(residual)


class ChannelCorrection:
    """Scale and shift of each channel of each chip, as `mho.simulation.recalibration` finds them.

    Of some samples that run exactly first, and then, the same ones, on every chip: the mean and the standard deviation
    of a channel are those of the exact results. Of a product of activations all channels have one correction.
    """

    def __init__(self) -> None:
        self._wanted: tuple[Tensor, Tensor] | None = None
        self._found: tuple[Tensor, Tensor] | None = None

    def correct(self, results: Tensor, chips: int, geometry: Geometry) -> Tensor:
        """Return the results of chips [chips * samples, ...] with channels corrected.

        The first results are those of no chip, and stay as they are; the next ones tell the correction.
        """
        if not chips:
            self._wanted = _measure(results, 1, geometry)
            return results
        assert self._wanted is not None, "exact results come first"
        if self._found is None:
            (wanted, wanted_mean), (found, found_mean) = self._wanted, _measure(results, chips, geometry)
            scale = scale_to(wanted, found)
            self._found = scale, wanted_mean - scale * found_mean
        scale, shift = self._found
        return (results.unflatten(0, (chips, -1)) * scale + shift).flatten(0, 1)


def _measure(results: Tensor, chips: int, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Return standard deviation and mean of each channel of each chip, lined up with [chips, samples, ...]."""
    return measure_channels(results.unflatten(0, (chips, -1)), geometry, chip_axes=1)


@dataclass(frozen=True, eq=False)
class VirtualSample:
    """Several chips, the same for all networks.

    Attributes:
        tables: random numbers, on the networks' device.
        seed: of all chips.
        chips: how many.
        seen: samples whose results tell the correction of the channels of each chip; None: none are corrected.
    """

    tables: NumberTables
    seed: int
    chips: int
    seen: Split | None = None


def run_on_chips(
    trainable: TrainableNetwork, layers: Mapping[str, StatisticalNoise], split: Split, of: VirtualSample
) -> NDArray[np.float32]:
    """Return the logits [samples, classes] of a network whose samples are dealt to chips, as many to each.

    Args:
        trainable: the network, quantized.
        layers: what arrays do to its layers; those that are left out compute exact integers.
        split: the samples: the first ones are those of the first chip. There are as many chips at most.
        of: the chips.
    """
    count = min(of.chips, len(split))
    per_chip = -(-len(split) // count)
    places = np.resize(np.arange(len(split)), count * per_chip).reshape(count, -1)  # the last chip's are filled up
    at_once, found = max(1, samples_at_once(split) // count), []
    with _on_chips(trainable, layers, recalibrates=of.seen is not None) as network:
        if of.seen is not None:
            samples = of.seen.inputs(slice(None))
            network.run(samples, None)
            rows = VirtualChips(of.tables, of.seed, 0, count, count, 0, len(samples), count * len(samples))
            network.run(np.tile(samples, (count, *(1,) * (samples.ndim - 1))), rows)
        for start in range(0, per_chip, at_once):
            some = places[:, start : start + at_once]
            each = some.shape[1]
            rows = VirtualChips(of.tables, of.seed, 0, count, count, start * count, each, count * per_chip)
            found.append(network.run(split.inputs(some.reshape(-1)), rows).reshape(count, each, -1))
    logits = np.concatenate(found, axis=1)
    return logits.reshape(count * per_chip, -1)[: len(split)]


class _NetworkOnChips:
    """A network whose layers compute on chips."""

    def __init__(self, trainable: TrainableNetwork, layers: Mapping[str, VirtualLayer]) -> None:
        self._trainable, self._layers, self._device = trainable, layers, device_of(trainable)

    def run(self, samples: NDArray[np.float32], chips: VirtualChips | None) -> NDArray[np.float32]:
        """Return the logits of samples, on chips or exactly."""
        for layer in self._layers.values():
            layer.chips = chips
        with torch.no_grad():
            logits: NDArray[np.float32] = self._trainable(torch.from_numpy(samples).to(self._device)).cpu().numpy()
        return logits


@contextmanager
def _on_chips(
    trainable: TrainableNetwork, layers: Mapping[str, StatisticalNoise], *, recalibrates: bool
) -> Iterator[_NetworkOnChips]:
    """Let layers of a network compute on chips within the block, in evaluation mode."""
    modules, was_training = trainable.mvm_modules, trainable.training
    on_chips = {name: VirtualLayer(layer, recalibrates=recalibrates) for name, layer in layers.items()}
    trainable.eval()
    for name, one in on_chips.items():
        modules[name].evaluated_by = one.multiply
    try:
        yield _NetworkOnChips(trainable, on_chips)
    finally:
        for name in layers:
            modules[name].evaluated_by = None
        trainable.train(was_training)
