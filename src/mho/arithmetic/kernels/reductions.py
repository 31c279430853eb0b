"""Kernels of the reductions of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mho.arithmetic.attributes import Attributes, get_int, get_ints
from mho.arithmetic.kernels.adapters import Kernel, with_attributes
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


def _arg_max(x: Tensor, attributes: Attributes) -> Tensor:
    """Index of the largest element along `axis`, of equal ones the first, or the last with `select_last_index`."""
    values = x.movedim(get_int(attributes, "axis") + 1, -1)
    places = torch.arange(values.shape[-1], dtype=torch.float32, device=x.device)
    is_last, most = bool(get_int(attributes, "select_last_index")), float(values.shape[-1] - 1)
    is_largest = (values == values.amax(-1, keepdim=True)) | values.isnan()
    found = torch.where(is_largest, places, -1.0 if is_last else most)
    result = found.amax(-1) if is_last else found.amin(-1)
    return result.unsqueeze(get_int(attributes, "axis") + 1) if attributes["keepdims"] else result


def _sort(x: Tensor, attributes: Attributes) -> tuple[Tensor, Tensor]:
    """Sort along `axis` and keep `k`: of equal elements the earlier first."""
    dim = get_int(attributes, "axis") + 1
    values, indices = torch.sort(x, stable=True, dim=dim, descending=bool(get_int(attributes, "largest")))
    k = get_int(attributes, "k")
    return values.narrow(dim, 0, k), indices.narrow(dim, 0, k)


run_arg_max = with_attributes(_arg_max)
run_top_k = with_attributes(lambda x, attributes: _sort(x, attributes)[0])
run_top_k_indices = with_attributes(lambda x, attributes: _sort(x, attributes)[1].to(torch.float32))
