"""Fits one layer to what the float network's layer gives: the step of its inputs, its integers, steps and bias."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mho.quantization.modules import MvmModule
from mho.quantization.rounding import Integers, RoundingProblem, Vectors, learn_rounding

_MOST_VECTORS = 32_768
_LEAST_VECTORS = 4_096
_VECTORS_PER_INPUT = 8
_MOST_VALUES = 1 << 25
"""Vectors that a layer is fitted on: some for each of its inputs, within bounds, of so many values together."""

_MOST_INPUTS = 4_096
"""Of an output that are rounded together: the memory of their products grows with the square."""

_STEP_FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
_STEP_VECTORS = 2_048


@dataclass(frozen=True, eq=False)
class LayerState:
    """What fitting changes of a layer, to go back to."""

    weight: Tensor
    weight_steps: Tensor
    act_step: Tensor
    correction: Tensor

    @classmethod
    def of(cls, module: MvmModule) -> LayerState:
        """Return copies of a layer's tensors."""
        assert module.weight is not None
        assert module.bias_correction is not None
        tensors = (
            module.weight, module.weight_quantizer.base_step, module.input_quantizer.base_step, module.bias_correction
        )  # fmt: skip
        return cls(*(tensor.detach().clone() for tensor in tensors))

    @torch.no_grad()
    def put_back(self, module: MvmModule) -> None:
        """Copy everything back."""
        assert module.weight is not None
        assert module.bias_correction is not None
        module.weight.copy_(self.weight)
        module.weight_quantizer.base_step.copy_(self.weight_steps)
        module.input_quantizer.base_step.copy_(self.act_step)
        module.bias_correction.copy_(self.correction)


class VectorSampler:
    """Takes an even selection of a layer's input vectors, the same positions of each stream.

    Args:
        module: with a weight.
        samples: that will come.
        most: vectors to take, about.
    """

    def __init__(self, module: MvmModule, samples: int, most: int = _MOST_VECTORS) -> None:
        assert module.weight is not None
        self._module = module
        self._groups = module.geometry[4] if module.op == "conv" else 1  # type: ignore[misc]
        self._inputs = module.weight[0].numel()
        wanted = min(_MOST_VECTORS, max(_LEAST_VECTORS, _VECTORS_PER_INPUT * self._inputs))
        wanted = max(1, min(wanted, most, _MOST_VALUES // (self._inputs * self._groups)))
        self._each = -(-wanted // samples)

    @property
    def is_conv(self) -> bool:
        """Whether the layer is a convolution."""
        return self._module.op == "conv"

    def take(self, x: Tensor, first: int) -> Tensor:
        """Return vectors [groups, inputs, vectors] of the layer's streamed operand.

        Args:
            x: [n, (B,) C, H, W] or [n, ..., K].
            first: number of the first sample, which the choice of positions depends on.
        """
        if self.is_conv:
            x = x.flatten(0, 1) if x.dim() == 5 else x
            return self._take_windows(x, first)
        x = x.reshape(len(x), -1, x.shape[-1])
        chosen = self._positions(len(x), x.shape[1], first)
        return x[torch.arange(len(x))[:, None], chosen].flatten(0, 1).t()[None].contiguous()

    def _positions(self, count: int, positions: int, first: int) -> Tensor:
        """Return positions of each sample, [count, ...]: evenly spread, and others for each sample."""
        each = min(self._each, positions)
        if each == positions:
            return torch.arange(positions).expand(count, positions)
        turns = torch.arange(first, first + count, dtype=torch.float64)[:, None] * 0.6180339887498949
        places = torch.arange(each, dtype=torch.float64)[None] / each
        return (((places + turns) % 1.0) * positions).to(torch.int64).clamp_(max=positions - 1)

    def _take_windows(self, x: Tensor, first: int) -> Tensor:
        _, strides, pads, dilations, groups = self._module.geometry  # type: ignore[misc]
        padding = self._module.padding or (pads[1], pads[1], pads[0], pads[0])
        x = functional.pad(x, padding)
        weight = self._module.weight
        assert weight is not None
        kernel = weight.shape[2:]
        sizes = [
            (size - gap * (k - 1) - 1) // stride + 1
            for size, k, stride, gap in zip(x.shape[2:], kernel, strides, dilations, strict=True)
        ]
        chosen = self._positions(len(x), sizes[0] * sizes[1], first)
        rows = (chosen // sizes[1] * strides[0])[..., None] + torch.arange(kernel[0]) * dilations[0]
        columns = (chosen % sizes[1] * strides[1])[..., None] + torch.arange(kernel[1]) * dilations[1]
        samples = torch.arange(len(x))[:, None, None, None]
        # [n, each, kh, kw, C]
        windows = x.permute(0, 2, 3, 1)[samples, rows[..., :, None], columns[..., None, :]]
        windows = windows.flatten(0, 1).permute(3, 1, 2, 0)
        return windows.reshape(groups, -1, windows.shape[-1])


@torch.no_grad()
def fit_layer(module: MvmModule, fitted: Vectors, held: Vectors, row_scales: Tensor | None = None) -> bool:
    """Give a quantized layer the input step, integers, weight steps and bias of small output error.

    Its weight becomes the rounded one, so that rounding it again gives the same integers.

    Args:
        module: quantized by calibration, with its float weights.
        fitted: vectors of both networks, not rounded yet.
        held: others. Where the output error on them is not smaller than by calibration, the layer stays as it is.
        row_scales: what a unit of each output counts where the input step is chosen, [outputs]; None: all alike.

    Returns:
        Whether the layer has changed.
    """
    assert module.weight is not None
    assert module.bias_correction is not None
    before = LayerState.of(module)
    weight = module.weight.reshape(len(fitted.given), -1, fitted.given.shape[1])
    calibrated = module.weight_quantizer(module.weight).reshape(weight.shape)
    least = _rounded(module, held).output_error(calibrated, weight)
    _choose_act_step(module, weight, fitted, row_scales)
    fitted = _rounded(module, fitted)
    rounded = _learn(module, weight, fitted, _rounded(module, held))
    if _rounded(module, held).output_error(rounded, weight) >= least:
        before.put_back(module)
        return False
    means = (vectors.mean(2, keepdim=True) for vectors in (fitted.wanted, fitted.given))
    wanted, given = (one @ mean for one, mean in zip((weight, rounded), means, strict=True))
    module.bias_correction.copy_((wanted - given).flatten())
    module.weight.copy_(rounded.reshape(module.weight.shape))
    return True


def _rounded(module: MvmModule, vectors: Vectors) -> Vectors:
    return Vectors(vectors.wanted, module.input_quantizer(vectors.given))


def _learn(module: MvmModule, weight: Tensor, fitted: Vectors, held: Vectors) -> Tensor:
    """Return the rounded weights, and set their steps; very long rows are rounded in pieces, with the given steps."""
    quantizer, inputs = module.weight_quantizer, weight.shape[2]
    grid = Integers(int(quantizer.lower), int(quantizer.upper), bool(quantizer.binary))
    steps = quantizer.step().reshape(weight.shape[:2])
    pieces = [slice(start, start + _MOST_INPUTS) for start in range(0, inputs, _MOST_INPUTS)]
    found = []
    for piece in pieces:
        problem = RoundingProblem.of(weight[..., piece], fitted.take(piece), held.take(piece))
        integers, steps = learn_rounding(problem, steps, grid, keeps_steps=len(pieces) > 1)
        found.append(integers)
    quantizer.base_step.copy_(steps.flatten())
    return torch.cat(found, 2) * steps[..., None]


def _choose_act_step(module: MvmModule, weight: Tensor, vectors: Vectors, row_scales: Tensor | None) -> None:
    """Set the input step, near the calibrated one, that changes the outputs least."""
    quantizer = module.input_quantizer
    stride = max(1, vectors.given.shape[2] // _STEP_VECTORS)
    given, wanted = vectors.given[..., ::stride], weight @ vectors.wanted[..., ::stride]
    scales = 1.0 if row_scales is None else row_scales.reshape(len(weight), -1, 1)
    calibrated, errors = quantizer.base_step.clone(), []
    for factor in _STEP_FACTORS:
        quantizer.base_step.copy_(calibrated * factor)
        lost = (weight @ quantizer(given) - wanted) * scales
        errors.append(float((lost - lost.mean(2, keepdim=True)).square().sum(dtype=torch.float64)))
    best = min(range(len(errors)), key=lambda k: (errors[k], abs(_STEP_FACTORS[k] - 1)))
    quantizer.base_step.copy_(calibrated * _STEP_FACTORS[best])
