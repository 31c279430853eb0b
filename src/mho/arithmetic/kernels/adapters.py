"""Kernels from plain functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from mho.arithmetic.attributes import Attributes, get_float

Kernel = Callable[[Sequence[Tensor], Attributes], Tensor]


def unary(function: Callable[[Tensor], Tensor]) -> Kernel:
    """Return the kernel that applies `function` to the only operand."""
    return lambda operands, _: function(operands[0])


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Kernel:
    """Return the kernel that applies `function` to both operands."""
    return lambda operands, _: function(operands[0], operands[1])


def with_attributes(function: Callable[[Tensor, Attributes], Tensor]) -> Kernel:
    """Return the kernel that applies `function` to the only operand and the attributes."""
    return lambda operands, attributes: function(operands[0], attributes)


def with_number(function: Callable[[Tensor, float], Tensor], key: str) -> Kernel:
    """Return the kernel that applies `function` to the only operand and the attribute `key`, a number."""
    return lambda operands, attributes: function(operands[0], get_float(attributes, key))
