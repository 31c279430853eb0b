"""The registry of operations: what each node of a Network computes on tensors [N, *S].

`Operation.run` is what the reference, both engines and every comparison use: elementwise steps rounded to float32 and
reductions in a fixed order, so a digital result depends neither on N nor on threads. `Operation.train` may be
differentiated: torch's own kernels where the fixed order would be slow, otherwise the same function. The float forms of
conv, linear and matmul are torch's in both, since a quantized network computes these in integers; they alone may
differ in their last bits between batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mho.arithmetic import movement, pooling, reductions, requantize, transcendental
from mho.arithmetic.attributes import Attributes, Shape, get_float, get_int, get_ints, get_text
from mho.arithmetic.shapes import SHAPE_RULES, ShapeRule

Kernel = Callable[[Sequence[Tensor], Attributes], Tensor]


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        name: as in `Node.op`.
        infer_shape: per-sample output shape from the operands' shapes and the attributes.
        run: operands in the node's order (activations [N, *S], constants as they are) and attributes -> [N, *S'].
        train: the differentiable form; equal to `run` within float32 rounding.
    """

    name: str
    infer_shape: ShapeRule
    run: Kernel
    train: Kernel


def _conv(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    x, weight, *bias = operands
    top, left, bottom, right = get_ints(attributes, "pads")
    flat = x.flatten(0, 1)
    padding = (top, left)
    if (top, left) != (bottom, right):
        flat, padding = functional.pad(flat, (left, right, top, bottom)), (0, 0)
    result = functional.conv2d(
        flat,
        weight,
        bias[0] if bias else None,
        get_ints(attributes, "strides"),
        padding,
        get_ints(attributes, "dilations"),
        get_int(attributes, "groups"),
    )
    return result.unflatten(0, x.shape[:2])


def _linear(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    del attributes
    return functional.linear(operands[0], operands[1], operands[2] if len(operands) > 2 else None)


def _matmul(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    del attributes
    return torch.matmul(operands[0], operands[1])


def _reciprocal(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    del attributes
    return torch.ones_like(operands[0]) / operands[0]


def _hard_sigmoid(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    x = operands[0]
    return (x * get_float(attributes, "alpha") + get_float(attributes, "beta")).clamp(0.0, 1.0)


def _hard_swish(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    del attributes
    x = operands[0]
    return x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)


def _minimum(x: Tensor, y: Tensor) -> Tensor:
    return -reductions.maximum(-x, -y)


def _power(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    return transcendental.power(operands[0], get_float(attributes, "exponent"))


def _batch_norm_factors(
    operands: Sequence[Tensor], attributes: Attributes, root: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    x, scale, bias, mean, _ = operands
    shape = [1] * x.dim()
    shape[get_int(attributes, "axis") + 1] = -1
    return (scale / root).reshape(shape), mean.reshape(shape), bias.reshape(shape)


def _batch_norm(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    root = transcendental.sqrt(operands[4] + get_float(attributes, "epsilon"))
    factor, mean, bias = _batch_norm_factors(operands, attributes, root)
    return (operands[0] - mean) * factor + bias


def _batch_norm_train(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    root = torch.sqrt(operands[4] + get_float(attributes, "epsilon"))
    factor, mean, bias = _batch_norm_factors(operands, attributes, root)
    return operands[0] * factor + (bias - mean * factor)


def _layer_norm(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    x, scale, *bias = operands
    axis, epsilon = get_int(attributes, "axis"), get_float(attributes, "epsilon")
    return reductions.layer_norm(x, scale, bias[0] if bias else None, axis, epsilon)


def _layer_norm_train(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    x, scale, *bias = operands
    shape = x.shape[get_int(attributes, "axis") + 1 :]
    offset = bias[0].expand(shape) if bias else None
    return functional.layer_norm(x, shape, scale.expand(shape), offset, get_float(attributes, "epsilon"))


def _reduce(kind: str) -> Kernel:
    def run(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        axes = get_ints(attributes, "axes")
        return reductions.reduce_axes(operands[0], axes, bool(attributes["keepdims"]), kind)

    return run


def _reduce_train(kind: str) -> Kernel:
    natives: dict[str, Any] = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}
    native = natives[kind]

    def train(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        dims = [axis + 1 for axis in get_ints(attributes, "axes")]
        return native(operands[0], dims, keepdim=bool(attributes["keepdims"]))

    return train


def _fake_quantize(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    zero_point, qmin, qmax = (get_int(attributes, key) for key in ("zero_point", "qmin", "qmax"))
    return requantize.fake_quantize(operands[0], get_float(attributes, "scale"), zero_point, qmin, qmax)


def _fake_quantize_train(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    zero_point, qmin, qmax = (get_int(attributes, key) for key in ("zero_point", "qmin", "qmax"))
    scale = get_float(attributes, "scale")
    x = operands[0]
    kept = x.clamp((qmin - zero_point) * scale, (qmax - zero_point) * scale)
    return kept + (requantize.fake_quantize(x, scale, zero_point, qmin, qmax) - kept).detach()


def _unary(function: Callable[[Tensor], Tensor]) -> Kernel:
    return lambda operands, _: function(operands[0])


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Kernel:
    return lambda operands, _: function(operands[0], operands[1])


def _with_attributes(function: Callable[[Tensor, Attributes], Tensor]) -> Kernel:
    return lambda operands, attributes: function(operands[0], attributes)


def _clip(x: Tensor, attributes: Attributes) -> Tensor:
    return x.clamp(get_float(attributes, "min"), get_float(attributes, "max"))


def _where(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Select: the first operand where the third, a constant mask (bool), is True, and the second elsewhere."""
    del attributes
    return torch.where(operands[2], operands[0], operands[1])


def _leaky_relu(x: Tensor, attributes: Attributes) -> Tensor:
    return torch.where(x >= 0, x, x * get_float(attributes, "alpha"))


_KERNELS: dict[str, tuple[Kernel, Kernel | None]] = {
    "conv": (_conv, None),
    "linear": (_linear, None),
    "matmul": (_matmul, None),
    "relu": (_unary(torch.relu), None),
    "clip": (_with_attributes(_clip), None),
    "leaky_relu": (_with_attributes(_leaky_relu), None),
    "sigmoid": (_unary(transcendental.sigmoid), _unary(torch.sigmoid)),
    "hard_sigmoid": (_hard_sigmoid, None),
    "hard_swish": (_hard_swish, None),
    "silu": (_unary(transcendental.silu), _unary(functional.silu)),
    "tanh": (_unary(transcendental.tanh), _unary(torch.tanh)),
    "gelu": (
        lambda operands, attributes: transcendental.gelu(operands[0], get_text(attributes, "approximate")),
        lambda operands, attributes: functional.gelu(operands[0], approximate=get_text(attributes, "approximate")),
    ),
    "erf": (_unary(transcendental.erf), _unary(torch.erf)),
    "exp": (_unary(transcendental.exp), _unary(torch.exp)),
    "log": (_unary(transcendental.log), _unary(torch.log)),
    "sqrt": (_unary(transcendental.sqrt), _unary(torch.sqrt)),
    "reciprocal": (_reciprocal, None),
    "neg": (_unary(torch.neg), None),
    "abs": (_unary(torch.abs), None),
    "pow": (_power, lambda operands, attributes: operands[0] ** get_float(attributes, "exponent")),
    "softmax": (
        lambda operands, attributes: reductions.softmax(operands[0], get_int(attributes, "axis")),
        lambda operands, attributes: torch.softmax(operands[0], get_int(attributes, "axis") + 1),
    ),
    "log_softmax": (
        lambda operands, attributes: reductions.log_softmax(operands[0], get_int(attributes, "axis")),
        lambda operands, attributes: torch.log_softmax(operands[0], get_int(attributes, "axis") + 1),
    ),
    "add": (_binary(torch.add), None),
    "sub": (_binary(torch.sub), None),
    "mul": (_binary(torch.mul), None),
    "div": (_binary(torch.div), None),
    "where": (_where, None),
    "minimum": (_binary(_minimum), _binary(torch.minimum)),
    "maximum": (_binary(reductions.maximum), _binary(torch.maximum)),
    "batch_norm": (_batch_norm, _batch_norm_train),
    "layer_norm": (_layer_norm, _layer_norm_train),
    "max_pool": (_with_attributes(pooling.max_pool), None),
    "average_pool": (_with_attributes(pooling.average_pool), _with_attributes(pooling.average_pool_for_training)),
    "reduce_mean": (_reduce("mean"), _reduce_train("mean")),
    "reduce_sum": (_reduce("sum"), _reduce_train("sum")),
    "reduce_max": (_reduce("max"), _reduce_train("max")),
    "reshape": (_with_attributes(movement.reshape), None),
    "transpose": (_with_attributes(movement.transpose), None),
    "concat": (movement.concat, None),
    "slice": (_with_attributes(movement.slice_axes), None),
    "gather": (lambda operands, attributes: movement.gather(operands[0], operands[1], attributes), None),
    "expand": (_with_attributes(movement.expand), None),
    "pad": (_with_attributes(movement.pad), None),
    "cast": (_with_attributes(movement.cast), None),
    "resize_nearest": (_with_attributes(movement.resize_nearest), None),
    "fake_quantize": (_fake_quantize, _fake_quantize_train),
}

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {name: Operation(name, SHAPE_RULES[name], run, train or run) for name, (run, train) in _KERNELS.items()}
)
"""Every operation by name."""

__all__ = ["OPERATIONS", "Kernel", "Operation", "Shape"]
