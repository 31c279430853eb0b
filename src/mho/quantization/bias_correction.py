"""Bias correction: what rounding the weights adds to the mean of a layer's outputs, so that it can be taken off again.

A layer maps input vectors r to W r. With rounded weights W' its outputs have another mean: by E[W' r] - E[W r] =
(W' - W) E[r]. Where an output has few weights, as in depthwise convolutions, their errors do not cancel, the shift is
many times the noise of rounding, and the layers after it see inputs of another mean. It is known once E[r] is (Nagel et
al. 2019, arXiv 1906.04721, section 4.2; there estimated from BatchNorm, here measured), and the bias undoes it for
nothing. Training needs none of this: BatchNorm and biases learn the means that its own weights make.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mho.quantization.modules import MvmModule
from mho.quantization.quantizers import Quantizer, weight_bounds


class MeanOperand:
    """Mean of a layer's streamed operand over samples: [C, H, W] for a convolution, [K] for a linear layer."""

    def __init__(self, op: str) -> None:
        self._kept_axes = 3 if op == "conv" else 1
        self._sum: Tensor | None = None
        self._count = 0

    def add(self, values: Tensor) -> None:
        """Take [n, (B,) C, H, W] or [n, ..., K] into the mean."""
        leading = list(range(values.dim() - self._kept_axes))
        total = values.detach().sum(leading).to("cpu", torch.float64)
        self._sum = total if self._sum is None else self._sum + total
        self._count += values.shape[: len(leading)].numel()

    def value(self) -> Tensor:
        """Return the mean, float64."""
        assert self._sum is not None, "used after the first batch"
        return self._sum / self._count


def mean_vectors(mean: Tensor, module: MvmModule) -> Tensor:
    """Return E[r], the mean over output positions of the input vectors of the weights, [groups, inputs of a group].

    Args:
        mean: of the streamed operand, as `MeanOperand` has it. Padding counts, as zeros.
        module: the layer, with a weight.
    """
    if module.op != "conv":
        return mean[None]
    _, strides, pads, dilations, groups = module.geometry  # type: ignore[misc]
    assert module.weight is not None, "a convolution has weights"
    image = mean[None] if module.padding is None else functional.pad(mean[None], module.padding)
    kernel = tuple(module.weight.shape[2:])
    windows = functional.unfold(image, kernel, dilations, pads, strides)
    return windows.mean(2).reshape(groups, -1)


@torch.no_grad()
def correct_means(weight: Tensor, step: Tensor, bits: int, vectors: Tensor) -> Tensor:
    """Return (W - W') E[r]: what outputs need to keep their means, float32 [outputs].

    Args:
        weight: W, float32 [outputs, ...], groups one after the other.
        step: of each output, float32 [outputs].
        bits: of the grid that W is rounded to.
        vectors: E[r], float64 [groups, inputs of a group].
    """
    weight = weight.detach().cpu()
    quantizer = Quantizer(len(weight), 1)
    quantizer.set_bounds(bits, *weight_bounds(bits), step)
    lost = (weight - quantizer(weight)).reshape(len(vectors), -1, vectors.shape[1]).to(torch.float64)
    return torch.matmul(lost, vectors[:, :, None]).flatten().to(torch.float32)


def clear_corrections(module: nn.Module) -> None:
    """Set the corrections of all MVM layers in `module` to zero: they hold for the weights they were made for."""
    for layer in module.modules():
        if isinstance(layer, MvmModule) and layer.bias_correction is not None:
            layer.bias_correction.zero_()
