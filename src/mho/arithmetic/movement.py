"""Records of the operations that move numbers without changing them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import Attributes, Shape, get_float, get_floats, get_int, get_ints
from mho.arithmetic.operation import Attribute, Operation, RequiredWindows, Use, as_first, as_operands, each_apart
from mho.arithmetic.required_windows import along, first_of, largest, pad_rank, stretch
from mho.arithmetic.shapes import ShapeError, broadcast


def _reshape_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """The attribute `shape`, complete and of the same size."""
    shape = get_ints(attributes, "shape")
    if math.prod(shape) != math.prod(shapes[0]):
        raise ShapeError(f"{list(shapes[0])} does not reshape to {list(shape)}")
    return shape


def _transpose_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Axis i of the output is axis perm[i] of the input."""
    perm = get_ints(attributes, "perm")
    if sorted(perm) != list(range(len(shapes[0]))):
        raise ShapeError(f"{list(perm)} is no permutation of the axes of {list(shapes[0])}")
    return tuple(shapes[0][axis] for axis in perm)


def _concat_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Operands side by side along `axis`."""
    axis = get_int(attributes, "axis")
    first = shapes[0]
    for shape in shapes:
        if len(shape) != len(first) or shape[:axis] != first[:axis] or shape[axis + 1 :] != first[axis + 1 :]:
            raise ShapeError(f"{list(first)} and {list(shape)} do not stack along axis {axis}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def _slice_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Along axes[i]: from starts[i] to ends[i] (exclusive; -1 stands before index 0 where the step is negative)."""
    shape = list(shapes[0])
    triples = zip(
        get_ints(attributes, "starts"), get_ints(attributes, "ends"), get_ints(attributes, "steps"), strict=True
    )
    for axis, (start, end, step) in zip(get_ints(attributes, "axes"), triples, strict=True):
        shape[axis] = len(range(start, end, step))
    return tuple(shape)


def _gather_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """x, constant indices (any shape): the indices' axes take the place of `axis`."""
    axis = get_int(attributes, "axis")
    return (*shapes[0][:axis], *shapes[1], *shapes[0][axis + 1 :])


def _check_indices(shapes: Sequence[Shape], attributes: Attributes, constants: Mapping[int, NDArray[Any]]) -> None:
    """Indices are constant integers within the axis."""
    indices, size = constants.get(1), shapes[0][get_int(attributes, "axis")]
    if indices is None or indices.dtype.kind not in "iu":
        raise ShapeError("its second operand is no constant of integers")
    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < size):
        raise ShapeError(f"indices {int(indices.min())}..{int(indices.max())}, which lie not within 0..{size - 1}")


def _embed_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """indices (any shape), table[rows, ...]: the axes of a row follow those of the indices."""
    del attributes
    if not shapes[1]:
        raise ShapeError("its table has no rows")
    return (*shapes[0], *shapes[1][1:])


def _check_table(shapes: Sequence[Shape], attributes: Attributes, constants: Mapping[int, NDArray[Any]]) -> None:
    """The table is a constant."""
    del shapes, attributes
    if 1 not in constants:
        raise ShapeError("its table is no constant")


def _embed_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    required = first_of(use, operands)
    return required.reshape(*required.shape, *(1,) * (len(use.shape) - required.ndim))


def _scatter_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """data, indices[n], updates: n slices along `axis` that take the places of those that the indices name."""
    (data, indices, updates), axis = shapes, get_int(attributes, "axis")
    if len(indices) != 1 or updates != (*data[:axis], *indices, *data[axis + 1 :]):
        raise ShapeError(f"{list(updates)} at {list(indices)} places along axis {axis} of {list(data)}")
    return data


def _check_scattered(shapes: Sequence[Shape], attributes: Attributes, constants: Mapping[int, NDArray[Any]]) -> None:
    """Indices and updates are computed; data may be constant."""
    del shapes, attributes
    if set(constants) - {0}:
        raise ShapeError("its indices or updates are constant")


def _scatter_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    """Whichever slice an update falls on, any of them may be read."""
    axis, (data, indices, updates) = get_int(use.attributes, "axis"), operands
    known = [one for one in (data, None if updates is None else largest(updates, axis)) if one is not None]
    if indices is not None:
        known.append(largest(indices, 0).reshape((1,) * len(use.shape)))
    return reduce(np.maximum, known)


def _expand_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """The attribute `shape`, which the input broadcasts to."""
    shape = get_ints(attributes, "shape")
    if broadcast(shapes[0], shape) != shape:
        raise ShapeError(f"{list(shapes[0])} does not expand to {list(shape)}")
    return shape


def _pad_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """`pads` holds what goes before each axis, then what goes after each axis; all >= 0."""
    pads = get_ints(attributes, "pads")
    rank = len(shapes[0])
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        raise ShapeError(f"pads {list(pads)} for {list(shapes[0])}")
    return tuple(size + before + after for size, before, after in zip(shapes[0], pads[:rank], pads[rank:], strict=True))


def _resize_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Whole-numbered `scales`, one an axis."""
    scales = get_floats(attributes, "scales")
    if len(scales) != len(shapes[0]):
        raise ShapeError(f"scales {list(scales)} for {list(shapes[0])}")
    return tuple(int(size * scale) for size, scale in zip(shapes[0], scales, strict=True))


def _reshape_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    """Axes that are equal all along stay so; the rest are given their full sizes where they are merged or split."""
    old, new = use.shapes[0], use.shape
    full: list[int] = []
    result: list[int] = []
    for olds, news in _match_axes(old, new):
        is_equal = all(first_of(use, operands).shape[axis] == 1 for axis in olds)
        full += [] if is_equal else olds
        result += [1 if is_equal else new[axis] for axis in news]
    return stretch(first_of(use, operands), old, full).reshape(result)


def _match_axes(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Cut the axes of two shapes of one size into the shortest runs that hold equally many elements."""
    runs: list[tuple[list[int], list[int]]] = []
    olds: list[int] = []
    news: list[int] = []
    sizes = [1, 1]
    places = [0, 0]
    while places[0] < len(old) or places[1] < len(new):
        side = 0 if places[1] == len(new) or (sizes[0] <= sizes[1] and places[0] < len(old)) else 1
        sizes[side] *= (old, new)[side][places[side]]
        (olds, news)[side].append(places[side])
        places[side] += 1
        if sizes[0] == sizes[1]:
            runs.append((olds, news))
            olds, news, sizes = [], [], [1, 1]
    if olds or news:  # what is left has no elements to speak of
        runs.append((olds, news))
    return runs


def _transpose_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    return first_of(use, operands).transpose(get_ints(use.attributes, "perm"))


def _concat_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    axis = get_int(use.attributes, "axis")
    known = [operand for operand in operands if operand is not None]
    common = np.broadcast_shapes(*((*o.shape[:axis], 1, *o.shape[axis + 1 :]) for o in known))
    parts = [
        np.broadcast_to(np.int32(0) if o is None else o, (*common[:axis], shape[axis], *common[axis + 1 :]))
        for o, shape in zip(operands, use.shapes, strict=True)
    ]
    return np.concatenate(parts, axis=axis)


def _slice_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    required = first_of(use, operands)
    keys = ("axes", "starts", "ends", "steps")
    for axis, start, end, stride in zip(*(get_ints(use.attributes, key) for key in keys), strict=True):
        if required.shape[axis] > 1:
            required = required[along(axis, np.arange(start, end, stride))]
    return required


def _gather_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    axis, indices = get_int(use.attributes, "axis"), use.constants[1].astype(np.int64)
    required = first_of(use, operands)
    return required.take(np.zeros((1,) * indices.ndim, np.int64) if required.shape[axis] == 1 else indices, axis=axis)


def _expand_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    return pad_rank(first_of(use, operands), len(use.shape))


def _pad_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    pads = get_ints(use.attributes, "pads")
    widths = list(zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True))
    axes = [axis for axis, width in enumerate(widths) if any(width)]
    return np.pad(stretch(first_of(use, operands), use.shapes[0], axes), widths)


def _resize_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    required = first_of(use, operands)
    for axis, scale in enumerate(get_floats(use.attributes, "scales")):
        if required.shape[axis] > 1:
            required = required.repeat(int(scale), axis=axis)
    return required


def _pad_sign(use: Use, known: Sequence[bool]) -> bool:
    return known[0] and get_float(use.attributes, "value") >= 0


def _keeps_padded_samples(use: Use) -> bool:
    pads = get_ints(use.attributes, "pads")
    return pads[0] == pads[len(use.shape)] == 0


_INTS = Attribute("ints")
_SHAPE = {"shape": Attribute("ints", is_operand=True)}

OPERATIONS = (
    Operation(
        name="reshape", kernels="movement", shape=_reshape_shape, attributes=_SHAPE, moves=True,
        required_windows=_reshape_windows, non_negative=as_operands, keeps_samples=each_apart,
    ),
    Operation(
        name="transpose", kernels="movement", shape=_transpose_shape, attributes={"perm": _INTS}, moves=True,
        onnx="Transpose", required_windows=_transpose_windows, non_negative=as_operands,
        keeps_samples=lambda use: get_ints(use.attributes, "perm")[0] == 0,
    ),
    Operation(
        name="concat", kernels="movement", shape=_concat_shape, operands=(1, None),
        attributes={"axis": Attribute("int")}, onnx="Concat", moves=True, required_windows=_concat_windows,
        non_negative=as_operands, keeps_samples=lambda use: use.attributes["axis"] != 0 and not use.constants,
    ),
    Operation(
        name="slice", kernels="movement", shape=_slice_shape, moves=True,
        attributes=dict.fromkeys(("axes", "starts", "ends", "steps"), _INTS),
        required_windows=_slice_windows, non_negative=as_operands,
        keeps_samples=lambda use: 0 not in get_ints(use.attributes, "axes"),
    ),
    Operation(
        name="gather", kernels="movement", shape=_gather_shape, operands=(2, 2), attributes={"axis": Attribute("int")},
        onnx="Gather", moves=True, required_windows=_gather_windows, non_negative=as_first,
        keeps_samples=lambda use: use.attributes["axis"] != 0, check_constants=_check_indices,
    ),
    Operation(
        name="embed", kernels="movement", shape=_embed_shape, operands=(2, 2), required_windows=_embed_windows,
        non_negative=lambda use, _: bool((use.constants[1] >= 0).all()), keeps_samples=lambda use: bool(use.shapes[0]),
        check_constants=_check_table, learned=("weight",),
    ),
    Operation(
        name="scatter", kernels="movement", shape=_scatter_shape, operands=(3, 3),
        attributes={"axis": Attribute("int")}, required_windows=_scatter_windows,
        non_negative=lambda _, known: known[0] and known[2], keeps_samples=lambda _: False,
        check_constants=_check_scattered,
    ),
    Operation(
        name="expand", kernels="movement", shape=_expand_shape, attributes=_SHAPE, onnx="Expand", moves=True,
        required_windows=_expand_windows, non_negative=as_operands,
        keeps_samples=lambda use: len(use.shape) == len(use.shapes[0]),
    ),
    Operation(
        name="pad", kernels="movement", shape=_pad_shape, onnx="Pad",
        attributes={"pads": Attribute("ints", is_operand=True), "value": Attribute("float", is_operand=True)},
        required_windows=_pad_windows, non_negative=_pad_sign, keeps_samples=_keeps_padded_samples, takes_integers=True,
    ),
    Operation(
        name="resize_nearest", kernels="movement", shape=_resize_shape, attributes={"scales": Attribute("floats")},
        moves=True, required_windows=_resize_windows, non_negative=as_operands, keeps_samples=each_apart,
    ),
)  # fmt: skip
