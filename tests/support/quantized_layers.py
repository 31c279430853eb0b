"""Small quantized networks, some of one product, and arrays for them to train on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mho.array.nonidealities import ADC, DAC, idealize
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network, Node, TensorInfo
from mho.policy import BitWidths, Policy
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.calibration import calibrate
from mho.quantization.modules import MvmModule
from mho.quantization.qat import TrainableNetwork

HEADS, TOKENS, INPUTS = 2, 3, 5


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


def dense_network(weights: torch.Tensor, *, is_signed: bool) -> Network:
    """Return a float network of a dense layer, after a ReLU where its inputs have no sign."""
    outputs, inputs = weights.shape
    constants = {"w": weights.numpy(), "b": np.linspace(-1, 1, outputs, dtype=np.float32)}
    layer = Node("fc", "linear", ("x" if is_signed else "r", "w", "b"), "y")
    nodes = (layer,) if is_signed else (Node("relu", "relu", ("x",), "r"), layer)
    shapes = {"x": (1, inputs), "y": (1, outputs)} | ({} if is_signed else {"r": (1, inputs)})
    infos = [TensorInfo(name, shapes[name]) for name in "xy"]
    return Network("one", (infos[0],), (infos[1],), nodes, constants, shapes)


def dense(
    bits: str = "4/4", *, inputs: int = 20, samples: int = 5, is_signed: bool = False
) -> tuple[TrainableNetwork, torch.Tensor]:
    """Return a dense layer of 3 outputs, and samples for it."""
    torch.manual_seed(3)
    network, x = dense_network(torch.randn(3, inputs) / 4, is_signed=is_signed), torch.randn(samples, inputs)
    return quantized(network, x, bits), x


def product_network() -> Network:
    """Return a float network: tokens, with another sign, times themselves."""
    shape, square = (1, HEADS, TOKENS, INPUTS), (1, HEADS, TOKENS, TOKENS)
    shapes = {"x": shape, "n": shape, "t": (1, HEADS, INPUTS, TOKENS), "y": square}
    nodes = (
        Node("turned", "neg", ("x",), "n"),
        Node("transposed", "transpose", ("n",), "t", {"perm": (0, 1, 3, 2)}),
        Node("product", "matmul", ("n", "t"), "y"),
    )
    return Network("square", (TensorInfo("x", shape),), (TensorInfo("y", square),), nodes, {}, shapes)


def product(samples: int = 3) -> tuple[TrainableNetwork, torch.Tensor]:
    """Return a product of activations, and samples for it."""
    torch.manual_seed(1)
    x = torch.randn(samples, HEADS, TOKENS, INPUTS)
    return quantized(product_network(), x), x


def noise_for(
    trainable: TrainableNetwork, accelerator: Accelerator, model: MappingModel = MappingModel.PAPER, **options: Any
) -> ArrayNoise:
    """Return arrays for the layers of a network, mapped as for ideal ADCs where theirs are not calibrated."""
    assert trainable.policy is not None
    maps = accelerator if accelerator.converters.has_calibrated_adc else idealize(accelerator, (*ADC, *DAC))
    return ArrayNoise(accelerator, arrays_of_network(trainable.network, trainable.policy, maps, model), **options)


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
