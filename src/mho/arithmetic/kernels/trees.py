"""Sums and maxima by a fixed-order binary tree in float32.

The tree depends on the number of terms alone: the terms count as padded to a power of two, and the upper half is added
to the lower until one is left. So a result does not depend on the batch, on threads or on the engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def tree_sum(x: Tensor, dim: int = -1) -> Tensor:
    """Sum over one axis of a float32 tensor, which is dropped."""
    return reduce_tree(x, dim, torch.add, 0.0)


def maximum(x: Tensor, y: Tensor) -> Tensor:
    """Return the larger of each pair; of zeros +0 where one is, which torch leaves to the processor."""
    return torch.where((x == 0) & (y == 0), x + y, torch.maximum(x, y))


def tree_max(x: Tensor, dim: int = -1) -> Tensor:
    """Maximum over one axis, which is dropped."""
    return reduce_tree(x, dim, maximum, -math.inf)


def tree_sum_of(terms: Sequence[Tensor]) -> Tensor:
    """Sum of equally shaped tensors by the same tree as `tree_sum` over them stacked."""
    left = list(terms)
    half = 1 << max(0, (len(left) - 1).bit_length() - 1)
    while len(left) > 1:
        left = [left[i] + left[i + half] if i + half < len(left) else left[i] for i in range(half)]
        half //= 2
    return left[0]


def reduce_tree(x: Tensor, dim: int, combine: Callable[[Tensor, Tensor], Tensor], neutral: float) -> Tensor:
    """Combine the elements along one axis, which is dropped; `neutral` where there are none."""
    values = x.movedim(dim, -1)
    count = values.shape[-1]
    if not count:
        return values.new_full(values.shape[:-1], neutral)
    half = 1 << max(0, (count - 1).bit_length() - 1)
    while values.shape[-1] > 1:
        upper = values[..., half:]
        lower = values[..., :half]
        size = upper.shape[-1]
        if size == half:
            values = combine(lower, upper)
        else:
            values = torch.cat((combine(lower[..., :size], upper), lower[..., size:]), dim=-1)
        half //= 2
    return values[..., 0]


def merge_axes(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Move `axes` (of the sample, from 0) to the end as one axis, in increasing order."""
    kept = [dim for dim in range(x.dim()) if dim - 1 not in axes]
    moved = x.permute(*kept, *(axis + 1 for axis in sorted(axes)))
    return moved.reshape(*(x.shape[dim] for dim in kept), math.prod(x.shape[axis + 1] for axis in axes))
