"""The nodes of a Network as torch modules: what `TrainableNetwork` is made of.

Tensors are [N, *S]. Where S[0] is 1, `takes_squeezed` says which nodes also take and give [N, *S[1:]]: that keeps
images four-dimensional, so that convolutions, BatchNorm and compilers see their usual memory formats.

Parameters: weights and biases of MVM layers, and what the records of other operations call learned. Every other
constant (position embeddings, attention scales) stays as it is: a graph does not say which of them was learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mho.arithmetic.attributes import get_float, get_int, get_ints
from mho.arithmetic.operations import OPERATIONS
from mho.errors import UnsupportedOperationError
from mho.network.graph import Network, Node
from mho.quantization.layer_noise import LayerNoise
from mho.quantization.mvm_products import Geometry, multiply
from mho.quantization.quantizers import Quantizer, fake_quantized_product, nonzero_scales

BATCH_NORM_MOMENTUM = 0.1
"""Share of a batch's statistics in the running ones."""


class SharedConstants:
    """Hands out one tensor for each constant, so that layers that share a constant share its parameter."""

    def __init__(self, constants: Mapping[str, np.ndarray]) -> None:
        self._constants = constants
        self._parameters: dict[str, nn.Parameter] = {}
        self._statistics: dict[str, Tensor] = {}

    def parameter(self, name: str, values: Tensor | None = None) -> nn.Parameter:
        """Return the parameter of constant `name`, starting from `values` where the constant holds integers."""
        if name not in self._parameters:
            self._parameters[name] = nn.Parameter(self.fixed(name).to(torch.float32) if values is None else values)
        return self._parameters[name]

    def statistic(self, name: str) -> Tensor:
        """Return the running statistic that starts from constant `name`."""
        return self._statistics.setdefault(name, self.fixed(name).to(torch.float32))

    def fixed(self, name: str) -> Tensor:
        """Return a copy of the constant."""
        return torch.from_numpy(np.array(self._constants[name]))


class MvmModule(nn.Module):
    """One MVM layer: the float product, or the product of both operands rounded to their grids.

    Attributes:
        weight: [O, C / groups, kh, kw] or [O, K]; None for a product of two activations.
        bias: [O] or None.
        bias_correction: [O], added to the outputs where quantized (`mho.quantization.bias_correction`); None for a
            product of two activations.
        input_quantizer, weight_quantizer: grids of the streamed and of the stored operand.
        quantized: whether the grids are used; False is the exact float layer.
        arrays: what arrays make of the integers while training; None for nothing.
        evaluated_by: what computes the quantized product in evaluation mode instead; None for exact integers. It is
            given both operands, the bias, both quantizers and the geometry.
        product_type: in which floating point the product is computed while training; None for float32.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    bias_correction: Tensor | None

    def __init__(self, network: Network, node: Node, constants: SharedConstants) -> None:
        super().__init__()
        self.op = node.op
        self.constant_names = node.inputs[1:] if node.op != "matmul" else ()
        self.quantized = node.quantization is not None
        self.arrays: LayerNoise | None = None
        self.evaluated_by: Callable[..., Tensor] | None = None
        self.product_type: torch.dtype | None = None
        self.geometry, self.padding = _geometry(node)
        self.input_quantizer = Quantizer(None, math.prod(network.shapes[node.inputs[0]]))
        if node.op == "matmul":
            self.weight, self.bias = None, None
            self.weight_quantizer = Quantizer(None, math.prod(network.shapes[node.inputs[1]]))
        else:
            self.weight_quantizer = _weight_quantizer(network, node)
            self.weight = constants.parameter(node.inputs[1], _imported_weights(network, node))
            self.bias = constants.parameter(node.inputs[2]) if len(node.inputs) > 2 else None
        correction = None if self.weight is None else torch.zeros(len(self.weight))
        self.register_buffer("bias_correction", correction)
        if node.quantization is not None:
            self.input_quantizer.set_grid(node.quantization.input)
            self.weight_quantizer.set_grid(node.quantization.weight)

    def forward(self, x: Tensor, stored: Tensor | None = None) -> Tensor:
        """Map x [N, (B,) C, H, W] (conv), [N, ..., K] (linear) or x, stored [N, ..., M, K], [N, ..., K, P] (matmul)."""
        weight = self.weight if stored is None else stored
        assert weight is not None, "a product of activations has two"
        if x.dim() == 5 and self.op == "conv":
            return self._convolve(x.flatten(0, 1), weight).unflatten(0, x.shape[:2])
        return self._convolve(x, weight) if self.op == "conv" else self._multiply(x, weight)

    def corrected_bias(self) -> Tensor | None:
        """Return the bias of the quantized layer, [O]; None for a product of two activations."""
        if self.bias is None or self.bias_correction is None:
            return self.bias_correction
        return self.bias + self.bias_correction

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._multiply(x if self.padding is None else functional.pad(x, self.padding), weight)

    def _multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        kind = self.product_type if self.training else None
        if not self.quantized:
            return multiply(x, weight, self.bias, self.geometry, kind)
        bias = self.corrected_bias()
        operands = x, weight, bias, self.input_quantizer, self.weight_quantizer, self.geometry
        if not self.training and self.evaluated_by is not None:
            return self.evaluated_by(*operands)
        return fake_quantized_product(*operands, self.arrays if self.training else None, kind)


class BatchNormModule(nn.Module):
    """Batch normalization that lives: batch statistics in training, running ones otherwise.

    Attributes:
        is_fixed: normalize by the running statistics in training too, and leave them as they are.
        is_shared: batch statistics are those of all processes of a training (`mho.quantization.process_group`).
    """

    def __init__(self, network: Network, node: Node, constants: SharedConstants) -> None:
        super().__init__()
        self.trailing = len(network.shapes[node.output]) - get_int(node.attributes, "axis") - 1
        scale, bias, mean, variance = self.constant_names = node.inputs[1:]
        self.epsilon = get_float(node.attributes, "epsilon")
        self.weight = constants.parameter(scale)
        self.bias = constants.parameter(bias)
        self.is_fixed = False
        self.is_shared = False
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", constants.statistic(mean))
        self.register_buffer("running_var", constants.statistic(variance))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize over all axes but the node's."""
        leading = x.dim() - self.trailing - 1
        if leading == 1:
            return self._normalize(x)
        return self._normalize(x.flatten(0, leading - 1)).unflatten(0, x.shape[:leading])

    def _normalize(self, flat: Tensor) -> Tensor:
        if self.is_shared and self.training and not self.is_fixed:
            return self._normalize_together(flat)
        return functional.batch_norm(
            flat,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training and not self.is_fixed,
            BATCH_NORM_MOMENTUM,
            self.epsilon,
        )

    def _normalize_together(self, flat: Tensor) -> Tensor:
        """Normalize by the mean and variance over the samples of all processes, which have as many each."""
        from torch import distributed

        others = [dim for dim in range(flat.dim()) if dim != 1]
        count = flat.numel() // flat.shape[1] * distributed.get_world_size()
        column = (-1, *(1,) * (flat.dim() - 2))
        mean = _sum_over_processes(flat.sum(others)) / count
        centred = flat - mean.reshape(column)
        variance = _sum_over_processes((centred * centred).sum(others)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, BATCH_NORM_MOMENTUM)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), BATCH_NORM_MOMENTUM)
        scale = self.weight * torch.rsqrt(variance + self.epsilon)
        return centred * scale.reshape(column) + self.bias.reshape(column)


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; every one's result counts in the gradient of each one's term."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004 - torch's
        from torch import distributed

        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _SumOverProcesses.forward(ctx, gradient.contiguous())


def _sum_over_processes(values: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(values)
    return total


def set_product_type(module: nn.Module, product_type: torch.dtype | None) -> None:
    """Let all MVM layers in `module` compute their products in that floating point while training."""
    for found in module.modules():
        if isinstance(found, MvmModule):
            found.product_type = product_type


def share_norms(module: nn.Module, is_shared: bool) -> None:
    """Let all batch normalizations in `module` use the statistics of all processes of a training, or their own."""
    for found in module.modules():
        if isinstance(found, BatchNormModule):
            found.is_shared = is_shared


def fix_norms(module: nn.Module, is_fixed: bool) -> None:
    """Let all batch normalizations in `module` use fixed statistics in training, or those of batches again."""
    for found in module.modules():
        if isinstance(found, BatchNormModule):
            found.is_fixed = is_fixed


class DigitalModule(nn.Module):
    """Any other operation, computed by its differentiable form in `mho.arithmetic`."""

    def __init__(self, node: Node, constants: SharedConstants, constant_names: Sequence[str]) -> None:
        super().__init__()
        self.attributes = dict(node.attributes)
        self.kernel = OPERATIONS[node.op].train
        self.constant_names = constant_names
        learned = OPERATIONS[node.op].learned
        slots: list[str | None] = []
        for index, name in enumerate(node.inputs):
            if name not in constant_names:
                slots.append(None)
            elif 0 < index <= len(learned):
                slots.append(learned[index - 1])
                self.register_parameter(learned[index - 1], constants.parameter(name))
            else:
                slots.append(f"constant_{index}")
                self.register_buffer(f"constant_{index}", constants.fixed(name), persistent=False)
        self.slots = tuple(slots)
        self.learned = {slot: name for slot, name in zip(slots, node.inputs, strict=True) if slot in learned}
        """Parameter -> the constant of the network that it starts from."""

    def forward(self, *activations: Tensor) -> Tensor:
        """Apply the operation to its activations, in the node's order."""
        remaining = iter(activations)
        operands = [next(remaining) if slot is None else getattr(self, slot) for slot in self.slots]
        return self.kernel(operands, self.attributes)


def takes_squeezed(network: Network, node: Node) -> bool:
    """Whether the node can work on tensors without the leading axis of S, which is 1 for all of them."""
    shapes = [network.shapes[name] for name in node.inputs if name in network.shapes]
    constants = [network.constants[name] for name in node.inputs if name in network.constants]
    if any(shape[:1] != (1,) or len(shape) < 2 for shape in (*shapes, network.shapes[node.output])):
        return False
    if OPERATIONS[node.op].is_elementwise:  # a constant of lower rank broadcasts alike
        return len(set(shapes)) == 1 and all(constant.ndim < len(shapes[0]) for constant in constants)
    return node.op in ("conv", "linear") or (node.op == "batch_norm" and get_int(node.attributes, "axis") > 0)


def build_module(network: Network, node: Node, constants: SharedConstants) -> nn.Module:
    """Return the module of one node.

    Raises:
        UnsupportedOperationError: no such operation.
    """
    if node.is_mvm:
        return MvmModule(network, node, constants)
    if node.op == "batch_norm":
        return BatchNormModule(network, node, constants)
    if node.op not in OPERATIONS:
        raise UnsupportedOperationError(f"operation {node.op!r} cannot be trained", where=node.name)
    return DigitalModule(node, constants, [name for name in node.inputs if name in network.constants])


def _geometry(node: Node) -> tuple[Geometry, tuple[int, int, int, int] | None]:
    """Return the product, and the padding to apply before it where that differs between sides."""
    if node.op != "conv":
        return (node.op,), None
    top, left, bottom, right = get_ints(node.attributes, "pads")
    (stride_h, stride_w), (dilation_h, dilation_w) = (get_ints(node.attributes, k) for k in ("strides", "dilations"))
    symmetric = (top, left) == (bottom, right)
    geometry = (
        "conv",
        (stride_h, stride_w),
        (top, left) if symmetric else (0, 0),
        (dilation_h, dilation_w),
        get_int(node.attributes, "groups"),
    )
    return geometry, None if symmetric else (left, right, top, bottom)


def _weight_quantizer(network: Network, node: Node) -> Quantizer:
    shape = network.constants[node.inputs[1]].shape
    zero_points = node.quantization.weight.zero_points if node.quantization is not None else np.zeros(())
    per_output = bool((zero_points != zero_points.flat[0]).any())
    return Quantizer(shape[0], math.prod(shape[1:]), per_output_bounds=per_output)


def _imported_weights(network: Network, node: Node) -> Tensor | None:
    """Return the float weights that integers stand for, or None where the constant is float already."""
    if node.quantization is None:
        return None
    grid, integers = node.quantization.weight, network.constants[node.inputs[1]]
    column = (-1,) + (1,) * (integers.ndim - 1)
    scales = np.broadcast_to(grid.scales, integers.shape[:1]).reshape(column)
    zero_points = np.broadcast_to(grid.zero_points, integers.shape[:1]).reshape(column)
    centred = (integers.astype(np.int64) - zero_points).astype(np.float32)
    return torch.from_numpy(centred * nonzero_scales(scales))
