"""Kernels of the reductions of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mho.arithmetic.attributes import Attributes, get_ints
from mho.arithmetic.kernels.adapters import Kernel
from mho.arithmetic.kernels.trees import merge_axes, tree_max, tree_sum


def mean(values: Tensor) -> Tensor:
    """Return the mean along the last axis, which is dropped."""
    return tree_sum(values) / torch.full((1,), float(values.shape[-1]), device=values.device)


def reduce_axes(x: Tensor, axes: Sequence[int], keepdims: bool, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Reduce `axes` of the sample by `reduce`, which drops the last axis of a tensor."""
    result = reduce(merge_axes(x, axes))
    if keepdims:
        result = result.reshape([1 if dim - 1 in axes else size for dim, size in enumerate(x.shape)])
    return result


def _run(reduce: Callable[[Tensor], Tensor]) -> Kernel:
    def run(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        return reduce_axes(operands[0], get_ints(attributes, "axes"), bool(attributes["keepdims"]), reduce)

    return run


def _train(native: Any) -> Kernel:
    def train(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        dims = [axis + 1 for axis in get_ints(attributes, "axes")]
        result: Tensor = native(operands[0], dims, keepdim=bool(attributes["keepdims"]))
        return result

    return train


run_reduce_mean, train_reduce_mean = _run(mean), _train(torch.mean)
run_reduce_sum, train_reduce_sum = _run(tree_sum), _train(torch.sum)
run_reduce_max, train_reduce_max = _run(tree_max), _train(torch.amax)
