"""Operations that pick, scatter and pad by constant indices: where each element of the result comes from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mho.network.draft import Unsupported
from mho.network.onnx_composites import composed
from mho.network.onnx_graph import NUMBERS, Converter
from mho.network.onnx_steps import Steps
from mho.network.onnx_values import Activation, normalize_axis

_MOST_INDICES = 1 << 24
_MOST_MASKED = 1 << 22
_INT64 = 7
"""ONNX's number of the type."""


def _pick(steps: Steps, x: str, places: NDArray[np.int64]) -> str:
    """Return elements of `x`, by their places in row-major order."""
    flat = steps.reshape(x, math.prod(steps.shape(x)))
    return steps("Gather", flat, steps.constant(np.ascontiguousarray(places)), axis=0)


def _numbered(shape: tuple[int, ...]) -> NDArray[np.int64]:
    if math.prod(shape) > _MOST_INDICES:
        raise Unsupported(f"picks from {list(shape)}: more than {_MOST_INDICES} elements")
    return np.arange(math.prod(shape)).reshape(shape)


def _indices(steps: Steps, limits: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the constant indices, counted from 0; `limits` holds one for their last axis, or one for all."""
    array = steps.reader.constant(steps.node, 1, "indices")
    if array.dtype.kind not in "iu":
        raise Unsupported(f"indices of {array.dtype}")
    indices, sizes = array.astype(np.int64), np.array(limits)
    if ((indices < -sizes) | (indices >= sizes)).any():
        raise Unsupported(f"indices beyond {list(limits)}")
    return np.asarray(np.where(indices < 0, indices + sizes, indices))


def _select(steps: Steps, rows: str, index: str) -> str:
    """Return rows of a matrix [n, m] by computed indices [k]: those that differ are masked, and what is left summed."""
    (count, width), (wanted,) = steps.shape(rows), steps.shape(index)
    if count * width * wanted > _MOST_MASKED:
        raise Unsupported(
            f"picks {wanted} of {count} rows of {width} by computed indices: more than {_MOST_MASKED} products"
        )
    index = steps("Where", steps("Less", index, steps.whole(0)), steps("Add", index, steps.whole(count)), index)
    mask = steps("Equal", steps.reshape(index, wanted, 1, 1), steps.constant(np.arange(count)[:, None]))
    zero = steps.constant(np.zeros((), np.dtype(steps.reader.type_of(rows))))
    kept = steps("Where", mask, steps.reshape(rows, 1, count, width), zero)
    return steps("ReduceSum", kept, steps.whole(1), keepdims=0)


def _gather_nd_computed(steps: Steps) -> str:
    """Elements by indices that depend on the input."""
    x, index = steps.operand(0), steps("Cast", steps.operand(1), to=_INT64)
    shape, (*leading, depth) = steps.shape(x), steps.shape(index)
    if steps.node.integer("batch_dims", 0) or depth > len(shape):
        raise Unsupported("its indices are computed, not constant")
    strides = [math.prod(shape[axis + 1 : depth]) for axis in range(depth)]
    sizes = steps.whole(*shape[:depth])
    index = steps("Where", steps("Less", index, steps.whole(0)), steps("Add", index, sizes), index)
    place = steps("ReduceSum", steps("Mul", index, steps.whole(*strides)), steps.whole(-1), keepdims=0)
    rows = steps.reshape(x, math.prod(shape[:depth]), math.prod(shape[depth:]))
    found = _select(steps, rows, steps.reshape(place, math.prod(leading)))
    return steps.reshape(found, *leading, *shape[depth:])


def gather_computed(steps: Steps) -> str:
    """Return what Gather picks from an activation by indices that depend on the input."""
    x, index = steps.operand(0), steps("Cast", steps.operand(1), to=_INT64)
    shape, wanted = steps.shape(x), steps.shape(index)
    axis = normalize_axis(steps.node.integer("axis", 0), len(shape))
    rest = (*shape[:axis], *shape[axis + 1 :])
    perm = (axis, *(a for a in range(len(shape)) if a != axis))
    rows = steps.reshape(steps("Transpose", x, perm=perm), shape[axis], math.prod(rest))
    found = steps.reshape(_select(steps, rows, steps.reshape(index, math.prod(wanted))), *wanted, *rest)
    order = (
        *range(len(wanted), len(wanted) + axis),
        *range(len(wanted)),
        *range(len(wanted) + axis, len(wanted) + len(rest)),
    )
    return steps("Transpose", found, perm=order)


def _gather_nd(steps: Steps) -> str:
    if not steps.reader.is_fixed(steps.operand(1)):
        return _gather_nd_computed(steps)
    x, batch = steps.operand(0), steps.node.integer("batch_dims", 0)
    shape = steps.shape(x)
    depth = steps.shape(steps.operand(1))[-1]
    if not 0 <= batch < len(shape) or batch + depth > len(shape):
        raise Unsupported(f"indices of {depth} numbers after {batch} axes of {list(shape)}")
    indices, numbered = _indices(steps, shape[batch : batch + depth]), _numbered(shape)
    if not batch:
        return _pick(steps, x, numbered[tuple(np.moveaxis(indices, -1, 0))])
    leading = math.prod(shape[:batch])
    numbered, indices = numbered.reshape(leading, *shape[batch:]), indices.reshape(leading, *indices.shape[batch:])
    rows = [one[tuple(np.moveaxis(index, -1, 0))] for one, index in zip(numbered, indices, strict=True)]
    return _pick(steps, x, np.stack(rows).reshape(*shape[:batch], *rows[0].shape))


def _gather_elements(steps: Steps) -> str:
    x = steps.operand(0)
    shape = steps.shape(x)
    axis = normalize_axis(steps.node.integer("axis", 0), len(shape))
    if steps.reader.is_fixed(x) and not steps.reader.is_fixed(steps.operand(1)):
        return _look_up(steps, x, axis)
    indices = _indices(steps, (shape[axis],))
    cut = tuple(slice(None) if a == axis else slice(size) for a, size in enumerate(indices.shape))
    return _pick(steps, x, np.take_along_axis(_numbered(shape)[cut], indices, axis))


def _look_up(steps: Steps, table: str, axis: int) -> str:
    """Return elements of a constant by indices that depend on the input: of one list, or all of them the same."""
    array, shape = steps.reader.constant(steps.node, 0, "data"), steps.shape(steps.operand(1))
    if (array == array.flat[0]).all():
        return steps.constant(np.full(shape, array.flat[0]))
    if any(size != 1 for a, size in enumerate(array.shape) if a != axis):
        raise Unsupported("picks from several lists by indices that depend on the input")
    return steps("Gather", steps.reshape(table, -1), steps.operand(1), axis=0)


def _scatter(steps: Steps, places: NDArray[np.int64]) -> str:
    """Return the data with the updates, in row-major order, at their places; the last of several stays."""
    if steps.node.text("reduction", "none") != "none":
        raise Unsupported(f"scatters by {steps.node.text('reduction', 'none')}")
    data, updates = steps.operand(0), steps.operand(2)
    shape, size = steps.shape(data), math.prod(steps.shape(data))
    chosen = _numbered(shape).reshape(-1).copy()
    chosen[places.reshape(-1)] = size + np.arange(places.size)
    flat = [steps.reshape(name, math.prod(steps.shape(name))) for name in (data, updates)]
    both = steps("Concat", *flat, axis=0)
    return steps("Gather", both, steps.constant(chosen.reshape(shape)), axis=0)


def _scatter_nd(steps: Steps) -> str:
    shape = steps.shape(steps.operand(0))
    indices = _indices(steps, shape[: steps.shape(steps.operand(1))[-1]])
    return _scatter(steps, _numbered(shape)[tuple(np.moveaxis(indices, -1, 0))])


def _scatter_slices(steps: Steps, axis: int) -> str:
    """Put whole slices at places that depend on the input: each slice has one index, which is repeated all over it."""
    if steps.node.text("reduction", "none") != "none":
        raise Unsupported(f"scatters by {steps.node.text('reduction', 'none')}")
    data, indices, updates = (steps.reader.tensor(steps.node, index, NUMBERS) for index in range(3))
    if steps.reader.is_fixed(steps.operand(2)):
        raise Unsupported("scatters constants by computed indices")
    count = steps.shape(steps.operand(1))[axis]
    repeated = steps.reader.draft.producers().get(indices)
    if repeated is not None and repeated.op == "expand":
        (indices,) = repeated.inputs
    if math.prod(shape := steps.reader.shape(indices)) != count or (count > 1 and shape[axis] != count):
        raise Unsupported("scatters single elements, not whole slices, by computed indices")
    if shape != (count,):
        indices = steps.reader.emit(steps.node, "reshape", [indices], {"shape": (count,)}, step="places").output
    made = steps.reader.emit(steps.node, "scatter", [data, indices, updates], {"axis": axis}).output
    steps.reader.bind(made, Activation(made, steps.reader.type_of(steps.operand(0))))
    return made


def _scatter_elements(steps: Steps) -> str:
    shape = steps.shape(steps.operand(0))
    axis = normalize_axis(steps.node.integer("axis", 0), len(shape))
    if not steps.reader.is_fixed(steps.operand(1)):
        return _scatter_slices(steps, axis)
    indices = _indices(steps, (shape[axis],))
    cut = tuple(slice(None) if a == axis else slice(size) for a, size in enumerate(indices.shape))
    return _scatter(steps, np.take_along_axis(_numbered(shape)[cut], indices, axis))


def _depth_to_space(steps: Steps) -> str:
    x, block = steps.operand(0), steps.node.integer("blocksize", 1)
    batch, channels, height, width = steps.shape(x)
    if block < 1 or channels % (block * block):
        raise Unsupported(f"turns {channels} channels into blocks of {block} x {block}")
    kept = channels // (block * block)
    if steps.node.text("mode", "DCR") == "DCR":
        apart, perm = (block, block, kept), (0, 3, 4, 1, 5, 2)
    else:
        apart, perm = (kept, block, block), (0, 1, 4, 2, 5, 3)
    moved = steps("Transpose", steps.reshape(x, batch, *apart, height, width), perm=perm)
    return steps.reshape(moved, batch, kept, height * block, width * block)


def _space_to_depth(steps: Steps) -> str:
    x, block = steps.operand(0), steps.node.integer("blocksize", 1)
    batch, channels, height, width = steps.shape(x)
    if block < 1 or height % block or width % block:
        raise Unsupported(f"cuts {height} x {width} into blocks of {block} x {block}")
    apart = steps.reshape(x, batch, channels, height // block, block, width // block, block)
    moved = steps("Transpose", apart, perm=(0, 3, 5, 1, 2, 4))
    return steps.reshape(moved, batch, channels * block * block, height // block, width // block)


def pad_by_mode(steps: Steps, x: str, pads: tuple[int, ...], mode: str) -> str:
    """Return `x` with what lies before and after each axis repeated: `reflect`, `edge` or `wrap`; pads may cut."""
    rank = len(pads) // 2
    for axis, (before, after) in enumerate(zip(pads[:rank], pads[rank:], strict=True)):
        size = steps.shape(x)[axis]
        cut = np.arange(max(0, -before), size - max(0, -after))
        grown = (max(0, before), max(0, after))
        if not cut.size or (mode == "reflect" and max(grown) >= cut.size):
            raise Unsupported(f"pads {size} elements by {before} and {after}: {mode}")
        kind = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}[mode]
        places = np.pad(cut, grown, mode=kind)  # type: ignore[call-overload]
        if before or after:
            x = steps("Gather", x, steps.constant(places), axis=axis)
    return x


CONVERTERS: dict[str, Converter] = {
    "GatherND": composed(_gather_nd),
    "GatherElements": composed(_gather_elements),
    "ScatterND": composed(_scatter_nd),
    "ScatterElements": composed(_scatter_elements),
    "DepthToSpace": composed(_depth_to_space),
    "SpaceToDepth": composed(_space_to_depth),
}
