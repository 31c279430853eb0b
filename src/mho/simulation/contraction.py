"""Exact products of whole numbers on floating-point hardware, by the cheapest route that is proven exact.

A contraction multiplies streamed whole numbers x in low..high with a matrix and gives float32(total), the exact total rounded
once to nearest even. Its bound limits every partial sum in any order: the larger of what positive and negative terms can
add up to. Below 2^24 float32 is exact; otherwise the inputs are split into parts which are (no more arithmetic, only
additions), or, where a single input exceeds it, float64 is used, exact below 2^53.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.errors import ProgramError
from mho.simulation.exactness import FLOAT32_LIMIT, FLOAT64_LIMIT

_MAX_PARTS = 32


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


def choose_route(terms: NDArray[np.float64], layer: str, *, may_split: bool = True) -> Route:
    """Choose the cheapest exact route.

    Args:
        terms: [outputs, inputs], the largest absolute partial sum that each input adds to each output, whole numbers.
        layer: for the error.
        may_split: False where the inputs cannot be split (groups).

    Raises:
        ProgramError: not even the smallest parts are exact in float64.
    """
    for dtype, limit in ((torch.float32, FLOAT32_LIMIT), (torch.float64, FLOAT64_LIMIT)):
        edges = _split(terms, limit, _MAX_PARTS if may_split else 1)
        if edges:
            return Route(dtype, edges)
    raise ProgramError("sums pass 2^53 in too many parts", where=f"layer {layer}", hint="lower its bit widths")


def _split(terms: NDArray[np.float64], limit: int, max_parts: int) -> tuple[int, ...]:
    """Return the edges of the fewest equal parts whose bounds stay below `limit`, or nothing."""
    inputs = terms.shape[1]
    demand = float(terms.sum(axis=1).max())
    parts = int(demand // limit) + 1
    while parts <= min(max_parts, inputs):
        edges = np.linspace(0, inputs, parts + 1).astype(int)
        if np.add.reduceat(terms, edges[:-1], axis=1).max() < limit:
            return tuple(edges.tolist())
        parts += 1
    return ()


def contract(route: Route, product: Callable[[slice], Tensor], residual: Tensor | None) -> Tensor:
    """Return float32(sum of the parts' products + residual), rounded once.

    Args:
        product: gives the exact product of one part, in the route's type.
        residual: whole numbers to add, int64, broadcastable; None for none.
    """
    totals = [product(part) for part in route.parts()]
    if residual is None and len(totals) == 1:
        return totals[0].to(torch.float32)
    if residual is None and len(totals) == 2 and route.dtype is torch.float32:
        # Both are exact, so the one rounding of this addition is that of the exact total.
        return totals[0].add_(totals[1])
    exact = totals[0].to(torch.int64)
    for total in totals[1:]:
        exact += total.to(torch.int64)
    return (exact if residual is None else exact + residual).to(torch.float32)
