"""Functions of one number of which layers read only the codes, for less than the exact result takes.

A limit that lies outside of a layer's grid, as that of ReLU often does, changes no code, since quantizing never
decreases: nothing is computed. Other functions are evaluated in float32 wherever the code is sure. The exact functions
(`mho.arithmetic.kernels.transcendental`) are sequences of operations in float64, up to 90 times as slow as torch's own.
Torch's are off by less than `_TOLERANCE` of their result and of 1, which is far less than a step of a grid of some
bits. So where its result lies farther than that from the middle between two codes, both have the same code; only the
others, and what is not finite, are computed exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from mho.arithmetic.attributes import Attributes
from mho.arithmetic.exactness import exact_products
from mho.arithmetic.operations import OPERATIONS
from mho.program.instructions import Digital, QuantizeInput
from mho.simulation.quantize_input import quantize

_LIMITS = frozenset({"clip", "relu"})
_FUNCTIONS = frozenset({"erf", "gelu", "sigmoid", "silu", "tanh"})
_TOLERANCE = 2.0**-18
"""Ten times the largest error that was seen: 3.7e-7 of the result and of 1."""
_MOST_DOUBT = 0.02
"""Of a step, to each side of its middle: with more, exact computation takes what is saved."""
_BLOCK = 1 << 16


class CodedFunction:
    """Runs one operation so that its result has the codes of the exact result, on one grid."""

    def __init__(self, item: Digital, grid: QuantizeInput, doubt: float) -> None:
        operation = OPERATIONS[item.op]
        self._exact = _of_one(operation.run, item.attributes)
        self._fast = _of_one(operation.train, item.attributes)
        self._scale = torch.full((1,), grid.scale, dtype=torch.float32)
        self._sure = 0.5 - doubt

    @classmethod
    def find(cls, item: Digital, grids: Sequence[QuantizeInput]) -> CodedFunction | None:
        """Return how a function runs where its code is sure, or None: everywhere exactly; see `find_for_codes`."""
        kinds = {(grid.scale, grid.zero_point, grid.qmin, grid.qmax, grid.binary) for grid in grids}
        grid = grids[0]
        if item.op not in _FUNCTIONS or len(kinds) > 1 or grid.binary or not _is_close(item.op):
            return None
        largest = max(abs(code - grid.zero_point) for code in (grid.qmin, grid.qmax)) + 1
        doubt = _TOLERANCE * (1 / abs(grid.scale) + largest)
        return cls(item, grid, doubt) if doubt < _MOST_DOUBT else None

    def run(self, operands: list[Tensor]) -> Tensor:
        """Take float32 [N, *S]; return float32 with the codes of the exact result, in the memory order of the operand.

        Its numbers themselves differ from the exact ones within the tolerance.
        """
        x = operands[0]
        result = torch.empty_like(x)
        if result.stride() != x.stride():
            x = x.contiguous()
            result = torch.empty_like(x)
        flat, values = (tensor.as_strided((tensor.numel(),), (1,)) for tensor in (result, x))
        sure = torch.empty(values.numel(), dtype=torch.bool)
        for start in range(0, values.numel(), _BLOCK):
            block = slice(start, start + _BLOCK)
            flat[block] = self._fast(values[block])
            steps = flat[block] / self._scale
            # Of infinities and NaN the difference is NaN, which is not below.
            torch.le(steps.sub_(steps.round()).abs_(), self._sure, out=sure[block])
        doubtful = (~sure).nonzero().squeeze(1)
        flat[doubtful] = self._exact(values[doubtful])
        return result


def find_for_codes(item: Digital, grids: Sequence[QuantizeInput]) -> Callable[[list[Tensor]], Tensor] | None:
    """Return what runs `item` where only layers read its output; None: nothing but the operation itself.

    Args:
        item: the operation.
        grids: how each layer that reads the output makes codes of it; at least one.
    """
    if item.op in _LIMITS:
        ends = OPERATIONS[item.op].run([torch.tensor([-math.inf, math.inf])], item.attributes)
        return (lambda operands: operands[0]) if all(_holds(ends, grid) for grid in grids) else None
    function = CodedFunction.find(item, grids)
    return None if function is None else function.run


def _holds(ends: Tensor, grid: QuantizeInput) -> bool:
    """Tell whether smallest and largest value have the first and last code."""
    return not grid.binary and quantize(grid, ends).tolist() == [grid.qmin, grid.qmax]


def _of_one(kernel: Callable[[list[Tensor], Attributes], Tensor], attributes: Attributes) -> Callable[[Tensor], Tensor]:
    return lambda x: kernel([x], attributes)


@cache
def _is_close(name: str) -> bool:
    """Tell whether torch's float32 function is as close as is assumed, with another half to spare, on this machine."""
    x = torch.linspace(-16, 16, (1 << 15) + 1)
    operation = OPERATIONS[name]
    forms: list[Attributes] = [{"approximate": kind} for kind in ("none", "tanh")] if name == "gelu" else [{}]
    with exact_products():
        pairs = [(operation.run([x], form).double(), operation.train([x], form).double()) for form in forms]
    return all(bool(((fast - exact).abs() <= _TOLERANCE / 2 * (1 + exact.abs())).all()) for exact, fast in pairs)
