"""Kernels that move numbers without changing them, on [N, *S]; attributes speak about S."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mho.arithmetic.attributes import Attributes, get_float, get_floats, get_int, get_ints
from mho.arithmetic.kernels.adapters import with_attributes
from mho.errors import DataError


def _reshape(x: Tensor, attributes: Attributes) -> Tensor:
    """To the per-sample shape `shape`."""
    return x.reshape(x.shape[0], *get_ints(attributes, "shape"))


def _transpose(x: Tensor, attributes: Attributes) -> Tensor:
    """Axis i of the output is axis perm[i] of the input."""
    return x.permute(0, *(axis + 1 for axis in get_ints(attributes, "perm")))


def run_concat(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Side by side along `axis`. An operand of lower rank is a constant and is repeated for every sample."""
    rank = max(operand.dim() for operand in operands)
    samples = next(operand.shape[0] for operand in operands if operand.dim() == rank)
    full = [o if o.dim() == rank else o.expand(samples, *o.shape) for o in operands]
    return torch.cat(full, dim=get_int(attributes, "axis") + 1)


def _slice(x: Tensor, attributes: Attributes) -> Tensor:
    """Along axes[i]: from starts[i] to ends[i] in steps[i]; a negative step walks backwards."""
    keys = ("axes", "starts", "ends", "steps")
    for axis, start, end, step in zip(*(get_ints(attributes, key) for key in keys), strict=True):
        if step > 0:
            x = x[(slice(None),) * (axis + 1) + (slice(start, end, step),)]
        else:
            x = x.index_select(axis + 1, torch.arange(start, end, step, device=x.device))
    return x


def run_gather(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Pick constant `indices` (>= 0, any shape) along `axis`; the indices' axes take its place."""
    x, indices = operands
    dim = get_int(attributes, "axis") + 1
    picked = x.index_select(dim, indices.reshape(-1).to(torch.int64))
    return picked.reshape(*x.shape[:dim], *indices.shape, *x.shape[dim + 1 :])


def run_embed(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Look rows of a constant table up: whole numbers of any shape -> their shape, then that of a row.

    Raises:
        DataError: an index is no whole number, or lies outside the table; -1 is its last row.
    """
    del attributes
    indices, table = operands
    rows = table.shape[0]
    chosen = _whole_indices(indices, rows, f"into a table of {rows} rows", where="embedding")
    return functional.embedding(chosen, table.reshape(rows, -1)).reshape(*indices.shape, *table.shape[1:])


def _whole_indices(indices: Tensor, size: int, what: str, *, where: str) -> Tensor:
    """Return indices, counted from 0, as integers. Raises `DataError` for others than whole numbers -size..size-1."""
    fits = (indices == indices.round()) & (indices >= -size) & (indices < size)
    # A compiled network looks up without this check, which would cut it in two, and fails at places outside a table.
    if not torch.compiler.is_compiling() and not bool(fits.all()):
        raise DataError(
            f"index {float(indices[~fits].flatten()[0]):g} {what}", where=where,
            expected=f"whole numbers from 0 to {size - 1}",
        )  # fmt: skip
    return torch.where(indices < 0, indices + size, indices).to(torch.int64)


def run_scatter(operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Let slices of `updates` along `axis` take the places of those of `data` that `indices` name; the last stays.

    Raises:
        DataError: an index is no whole number, or lies outside of the axis; -1 is its last slice.
    """
    data, indices, updates = operands
    dim = get_int(attributes, "axis") + 1
    data = data if data.dim() == updates.dim() else data.expand(updates.shape[0], *data.shape)
    places = _whole_indices(indices, data.shape[dim], f"of {data.shape[dim]} slices", where="scatter")
    order = torch.arange(places.shape[-1], device=data.device)
    named = places[:, None, :] == torch.arange(data.shape[dim], device=data.device)[:, None]
    last = torch.where(named, order, -1).amax(-1)  # [samples, size of the axis]: which update stays there, or -1
    shape = [size if axis in (0, dim) else 1 for axis, size in enumerate(data.shape)]
    last = last.reshape(shape)
    return torch.where(last >= 0, updates.gather(dim, last.clamp_min(0).expand_as(data)), data)


def _expand(x: Tensor, attributes: Attributes) -> Tensor:
    """Repeat along axes of size 1 up to the per-sample shape `shape`."""
    shape = get_ints(attributes, "shape")
    missing = len(shape) - (x.dim() - 1)
    return x.reshape(x.shape[0], *(1,) * missing, *x.shape[1:]).expand(x.shape[0], *shape)


def _pad(x: Tensor, attributes: Attributes) -> Tensor:
    """Pad with `value`: `pads` holds what goes before each axis, then what goes after each."""
    pads = get_ints(attributes, "pads")
    rank = len(pads) // 2
    reversed_pads = [pads[axis + side * rank] for axis in range(rank - 1, -1, -1) for side in range(2)]
    return functional.pad(x, reversed_pads, value=get_float(attributes, "value"))


def _resize_nearest(x: Tensor, attributes: Attributes) -> Tensor:
    """Repeat each element as often as the whole-numbered `scales` say, one an axis."""
    for axis, scale in enumerate(get_floats(attributes, "scales")):
        if scale != 1:
            x = x.repeat_interleave(int(scale), dim=axis + 1)
    return x


run_reshape = with_attributes(_reshape)
run_transpose = with_attributes(_transpose)
run_slice = with_attributes(_slice)
run_expand = with_attributes(_expand)
run_pad = with_attributes(_pad)
run_resize_nearest = with_attributes(_resize_nearest)
