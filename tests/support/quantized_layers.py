"""Small quantized networks, some of one product, and arrays for them to train on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from network_builder import NetworkBuilder

from mho.array.nonidealities import ADC, DAC, idealize
from mho.data.dataset import Split
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.calibration import calibrate
from mho.quantization.modules import MvmModule
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training_options import TrainingOptions


def inputs_for(network: Network, count: int = 64, seed: int = 1, mean: float = 0.0) -> torch.Tensor:
    """Return normal numbers [count, *S[1:]] for the one input of a network."""
    shape = network.inputs[0].shape[1:]
    return mean + torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def quantized(network: Network, x: torch.Tensor, bits: str = "4/4") -> TrainableNetwork:
    """Return a network that is calibrated on `x` and quantized to uniform widths, in training mode."""
    trainable = TrainableNetwork(network)
    calibrate(trainable, x)
    trainable.set_policy(Policy.uniform(trainable.mvm_modules, BitWidths.parse(bits)))
    return trainable.train()


def dense(
    bits: str = "4/4", *, inputs: int = 20, samples: int = 5, is_signed: bool = False, seed: int = 3
) -> tuple[TrainableNetwork, torch.Tensor]:
    """Return a dense layer of 3 outputs, after a ReLU where its inputs have no sign, and samples for it."""
    net = NetworkBuilder((1, inputs), seed)
    if not is_signed:
        net.add("relu")
    net.linear(3, name="fc")
    x = inputs_for(net.build(), samples, seed)
    return quantized(net.build(), x, bits), x


def product(samples: int = 3) -> tuple[TrainableNetwork, torch.Tensor]:
    """Return tokens in two heads, with another sign, times the tokens themselves, and samples for it."""
    net = NetworkBuilder((1, 2, 3, 5))
    net.add("neg")
    net.matmul(name="product")
    x = inputs_for(net.build(), samples)
    return quantized(net.build(), x), x


def noise_for(
    trainable: TrainableNetwork, accelerator: Accelerator, model: MappingModel = MappingModel.PAPER, **options: Any
) -> ArrayNoise:
    """Return arrays for the layers of a network, mapped as for ideal ADCs where theirs are not calibrated; by tiles."""
    assert trainable.policy is not None
    maps = accelerator if accelerator.converters.has_calibrated_adc else idealize(accelerator, (*ADC, *DAC))
    arrays = arrays_of_network(trainable.network, trainable.policy, maps, model)
    return ArrayNoise(accelerator, arrays, **({"method": "tiles"} | options))


def only_module(trainable: TrainableNetwork) -> MvmModule:
    """Return the one MVM layer of a network."""
    (module,) = trainable.mvm_modules.values()
    return module


def only_layer(noise: ArrayNoise) -> Any:
    """Return what arrays do to the one layer of a network."""
    (layer,) = noise.layers.values()
    return layer


def straight_through(
    module: MvmModule,
    streamed: torch.Tensor,
    stored: torch.Tensor,
    cells: torch.Tensor,
    residual: torch.Tensor,
    passed: torch.Tensor | None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the result of a layer on arrays, and the logarithms of its steps, in float64 for plain autograd.

    What arrays add is a constant of the step in integers, and as much of the product passes as is not clipped.

    Args:
        module: the layer.
        streamed, stored: float64 operands, leaves or what came of them.
        cells: the integers that the cells stand for.
        residual, passed: as of the layer's noise.
    """
    quantizers = module.input_quantizer, module.weight_quantizer
    logs = [one.log_ratio.detach().double().requires_grad_() for one in quantizers]
    steps = [one.base_step.double() * log.exp() for one, log in zip(quantizers, logs, strict=True)]
    codes = _rounded(streamed / steps[0], module.input_quantizer)
    integers = _rounded(stored / (steps[1][:, None] if steps[1].dim() else steps[1]), module.weight_quantizer)
    integers = integers + (cells.double() - integers).detach()
    result = codes @ (integers.t() if module.op == "linear" else integers)
    share = torch.ones_like(result) if passed is None else passed.double()
    result = (share * result + ((1 - share) * result).detach() + residual.double()) * steps[0] * steps[1]
    bias = module.corrected_bias()
    return result if bias is None else result + bias.detach().double(), logs


def _rounded(values: torch.Tensor, quantizer: Any) -> torch.Tensor:
    inside = values.clamp(float(quantizer.lower), float(quantizer.upper))
    return inside + (inside.round() - inside).detach()


def classified_squares(network: Network) -> tuple[TrainableNetwork, Split, TrainingOptions]:
    """Return a quantized network, images whose colours tell their class, and options of a short training."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, size=64)
    images = random.normal(size=(64, 3, 8, 8)).astype(np.float32)
    images += 3 * np.stack([labels & 1, labels >> 1 & 1, labels >> 2], axis=1)[:, :, None, None].astype(np.float32)
    split = Split(images, labels, (0.0,), (1.0,))
    trainable = quantized(network, torch.from_numpy(split.inputs(slice(None))))
    return trainable, split, TrainingOptions(epochs=3, batch_size=16, learning_rate=0.02)
