"""A layer on several chips at once: each part of the samples is multiplied by weights of its own, by one product."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.data.dataset import Split
from mho.quantization.batches import samples_at_once
from mho.quantization.devices import device_of
from mho.quantization.mvm_products import Geometry, multiply, multiply_parts
from mho.quantization.normal_numbers import NumberTables, VirtualChips
from mho.quantization.qat import TrainableNetwork
from mho.quantization.quantizers import Quantizer
from mho.quantization.statistical_noise import StatisticalNoise

_WEIGHTS_AT_ONCE = 1 << 25
"""Weights of all chips of a layer that are held at a time, at most: 128 MiB."""


class VirtualLayer:
    """What computes a layer in evaluation, on the chips that were given last."""

    def __init__(self, noise: StatisticalNoise, chips: VirtualChips) -> None:
        self._noise, self._chips = noise, chips

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
        chips, per_chip, offset = self._chips, self._chips.samples_of_chip, input_q.code_of_zero()
        is_stored = geometry[0] == "matmul"  # each sample has its own
        at_once = chips.chips if is_stored else max(1, min(chips.chips, _WEIGHTS_AT_ONCE // weight.numel()))
        parts = []
        for first in range(0, chips.chips, at_once):
            some = chips.take(first, min(at_once, chips.chips - first))
            samples = slice(first * per_chip, (first + some.chips) * per_chip)
            parts.append(self._add(some, streamed[samples], integers, geometry, offset))
        found = parts[0] if len(parts) == 1 else torch.cat(parts)
        steps = (input_q.step() * weight_q.step()).reshape(-1)
        column = (-1, 1, 1) if geometry[0] == "conv" else (-1,)
        if bias is None:
            return found.mul_(steps.reshape(column))
        return torch.addcmul(bias.reshape(column), found, steps.reshape(column))

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


def run_on_chips(
    trainable: TrainableNetwork,
    layers: Mapping[str, StatisticalNoise],
    split: Split,
    chips: int,
    tables: NumberTables,
    seed: int,
) -> NDArray[np.float32]:
    """Return the logits [samples, classes] of a network whose samples are dealt to chips, as many to each.

    Args:
        trainable: the network, quantized.
        layers: what arrays do to its layers; those that are left out compute exact integers.
        split: the samples: the first ones are those of the first chip.
        chips: how many, or as many as there are samples.
        tables: random numbers, on the network's device.
        seed: of all chips.
    """
    count = min(chips, len(split))
    per_chip = -(-len(split) // count)
    places = np.resize(np.arange(len(split)), count * per_chip).reshape(
        count, per_chip
    )  # the last chip's are filled up
    at_once, device = max(1, samples_at_once(split) // count), device_of(trainable)
    modules, was_training, found = trainable.mvm_modules, trainable.training, []
    trainable.eval()
    try:
        for start in range(0, per_chip, at_once):
            some = places[:, start : start + at_once]
            each = some.shape[1]
            rows = VirtualChips(tables, seed, 0, count, count, start * count, each, count * per_chip)
            for name, layer in layers.items():
                modules[name].evaluated_by = VirtualLayer(layer, rows).multiply
            with torch.no_grad():
                logits = trainable(torch.from_numpy(split.inputs(some.reshape(-1))).to(device))
            found.append(logits.cpu().numpy().reshape(count, each, -1))
    finally:
        for name in layers:
            modules[name].evaluated_by = None
        trainable.train(was_training)
    logits = np.concatenate(found, axis=1)
    return logits.reshape(count * per_chip, -1)[: len(split)]
