"""Exact products of whole numbers on floating-point hardware, by the cheapest route that is proven exact.

A contraction multiplies streamed whole numbers x in low..high with a matrix and gives float32(total), the exact total
rounded once to nearest even. Its bound limits every partial sum in any order: the larger of what positive and
negative terms can add up to. Below 2^24 float32 is exact; otherwise the inputs are split into parts which are (no
more arithmetic, only additions), or, where a single input exceeds it, float64 is used, exact below 2^53.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.arithmetic.limits import FLOAT32_LIMIT, FLOAT64_LIMIT
from mho.errors import ProgramError

_MAX_PARTS = 8
_MAX_BINS = 1024
_BLOCK_WEIGHTS = 1 << 20


@dataclass(frozen=True)
class Route:
    """How a contraction is computed: in which type, and with its inputs split at which places.

    `edges` are the bounds of the parts, from 0 to the number of inputs (channels of a group for a convolution).
    """

    dtype: torch.dtype
    edges: tuple[int, ...]

    def __str__(self) -> str:
        parts = len(self.edges) - 1
        return f"{str(self.dtype).removeprefix('torch.')}, {parts} part{'s' if parts > 1 else ''}"

    def parts(self) -> list[slice]:
        """Return the parts."""
        return [slice(start, stop) for start, stop in zip(self.edges[:-1], self.edges[1:], strict=True)]


@dataclass(frozen=True, eq=False)
class PartialSums:
    """How large partial sums can become.

    Attributes:
        upper, lower: [outputs, bins], whole numbers >= 0: how much the inputs of one bin can raise and lower a partial
            sum of an output, at most.
        edges: [bins + 1], the inputs at which bins start, and their number.
    """

    upper: NDArray[np.float64]
    lower: NDArray[np.float64]
    edges: NDArray[np.int64]

    @classmethod
    def of_matrix(cls, matrix: NDArray[np.float32], low: int, high: int) -> PartialSums:
        """Bound the sums of `matrix` [outputs, inputs, kernel] times whole numbers low <= 0 .. high >= 0."""
        outputs, inputs, kernel = matrix.shape
        edges = np.append(np.arange(0, inputs, max(1, inputs // _MAX_BINS)), inputs)
        upper, lower = np.empty((2, outputs, edges.size - 1))
        step = max(1, _BLOCK_WEIGHTS // (inputs * kernel))
        for start in range(0, outputs, step):
            block = matrix[start : start + step].reshape(-1, inputs * kernel)
            both = np.add.reduceat(np.abs(block), edges[:-1] * kernel, axis=1, dtype=np.float64)
            difference = np.add.reduceat(block, edges[:-1] * kernel, axis=1, dtype=np.float64)
            positive, negative = (both + difference) / 2, (both - difference) / 2
            upper[start : start + step] = positive * high - negative * low
            lower[start : start + step] = negative * high - positive * low
        return cls(upper, lower, edges)

    def largest(self, bins: NDArray[np.int64]) -> float:
        """Return the largest partial sum of parts that start at `bins`."""
        return max(float(np.add.reduceat(side, bins, axis=1).max()) for side in (self.upper, self.lower))


def choose_route(sums: PartialSums, layer: str, *, may_split: bool = True) -> Route:
    """Choose the cheapest exact route.

    Args:
        sums: how large partial sums can become.
        layer: for the error.
        may_split: False where the inputs cannot be split (groups).

    Raises:
        ProgramError: not even the smallest parts are exact in float64.
    """
    for dtype, limit in ((torch.float32, FLOAT32_LIMIT), (torch.float64, FLOAT64_LIMIT)):
        edges = _split(sums, limit, _MAX_PARTS if may_split else 1)
        if edges:
            return Route(dtype, edges)
    raise ProgramError("sums pass 2^53 in too many parts", where=f"layer {layer}", hint="lower its bit widths")


def _split(sums: PartialSums, limit: int, max_parts: int) -> tuple[int, ...]:
    """Return the edges of the fewest equal parts whose bounds stay below `limit`, or nothing."""
    bins = sums.edges.size - 1
    parts = int(sums.largest(np.zeros(1, np.int64)) // limit) + 1
    while parts <= min(max_parts, bins):
        edges = np.linspace(0, bins, parts + 1).astype(np.int64)
        if sums.largest(edges[:-1]) < limit:
            return tuple(sums.edges[edges].tolist())
        parts += 1
    return ()


def contract(
    route: Route, product: Callable[[slice], Tensor], residual: Tensor | None, *, is_exact: bool = False
) -> Tensor:
    """Return float32(sum of the parts' products + residual), rounded once; the sum itself, int64, if `is_exact`.

    Args:
        product: gives the exact product of one part, in the route's type.
        residual: whole numbers to add, int64, broadcastable; None for none.
    """
    totals = [product(part) for part in route.parts()]
    if is_exact:
        exact = sum(total.to(torch.int64) for total in totals)
        assert isinstance(exact, Tensor), "there is a part"
        return exact if residual is None else exact + residual
    if residual is None and len(totals) == 1:
        return totals[0].to(torch.float32)
    if residual is None and len(totals) == 2 and route.dtype is torch.float32:
        # Both are exact, so the one rounding of this addition is that of the exact total.
        return totals[0].add_(totals[1])
    exact = totals[0].to(torch.int64)
    for total in totals[1:]:
        exact += total.to(torch.int64)
    return (exact if residual is None else exact + residual).to(torch.float32)
