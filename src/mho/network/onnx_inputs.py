"""The shapes of a network's inputs: the file's, or what is given where that leaves them open."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mho.errors import InputFileError, suggest
from mho.input_files import check_memory
from mho.network.draft import MAX_RANK
from mho.network.tensor_budget import float_bytes

if TYPE_CHECKING:
    import onnx_ir

_TIME = re.compile(r"(?i)t|time.*|.*seq.*|.*len(gth)?|.*frames?|.*tokens?|.*steps?")
"""Names of a first axis that is no batch."""

InputShapes = Mapping[str, Sequence[int]] | Sequence[int]


def shapes_by_name(input_shapes: InputShapes | None, names: list[str], where: str) -> dict[str, tuple[int, ...]]:
    """Return what is given by the names of inputs; one shape is that of all. Raises `InputFileError` for odd names."""
    if input_shapes is None:
        return {}
    if not isinstance(input_shapes, Mapping):
        return dict.fromkeys(names, tuple(input_shapes))
    for name in input_shapes:
        if name not in names:
            raise InputFileError(
                f"no input {name!r}", where=where, expected=", ".join(names), hint=suggest(name, names)
            )
    return {name: tuple(shape) for name, shape in input_shapes.items()}


def input_shape(value: onnx_ir.Value, given: tuple[int, ...] | None, where: str) -> tuple[int, ...]:
    """Return the shape of an input; the file's where nothing is given. Raises `InputFileError`, `MemoryBudgetError`."""
    shape = _known_shape(value, given, where)
    if min(shape, default=1) < 1:
        raise InputFileError(f"input {value.name!r} is empty: {list(shape)}", where=where)
    if len(shape) > MAX_RANK:
        raise InputFileError(f"input {value.name!r} has {len(shape)} axes", where=where, expected=f"at most {MAX_RANK}")
    check_memory(float_bytes(shape), f"input {value.name!r} of shape {list(shape)}", where=where)
    return shape


def _known_shape(value: onnx_ir.Value, given: tuple[int, ...] | None, where: str) -> tuple[int, ...]:
    if value.shape is None:
        if given is None:
            raise InputFileError(
                f"the shape of input {value.name!r} is not in the file", where=where, hint="give it: input_shape"
            )
        return given
    # Some exporters write -1 where an axis is open.
    dims = [dim if isinstance(dim, int) and dim >= 0 else None for dim in value.shape]
    if given is not None:
        if given[:1] == (1,) and len(given) == len(dims) + 1:  # all axes of the file were given
            given = given[1:]
        elif given[:1] == (1,) and dims and dims[0]:  # one sample of a file that is fixed to a batch
            given = (dims[0], *given[1:])
        elif given[:1] == (1,):
            _check_batch(value, dims, where)
        if len(given) != len(dims) or any(d not in (None, g) for d, g in zip(dims, given, strict=False)):
            raise InputFileError(
                f"input {value.name!r} of shape {list(given)}", where=where, expected=f"the file's {value.shape}"
            )
        return given
    if None in dims[1:]:
        raise InputFileError(
            f"input {value.name!r} has symbolic axes {value.shape}",
            where=where,
            expected="a known size of every axis but the first",
            hint="give the shape of one sample, without batch axis: --input-shape, or input_shape of mho.load",
        )
    _check_batch(value, dims, where)
    return tuple(1 if dim is None else dim for dim in dims)


def _check_batch(value: onnx_ir.Value, dims: list[int | None], where: str) -> None:
    """Refuse to take an open first axis for a batch where its name says that it is time."""
    first = value.shape[0] if value.shape is not None and dims and dims[0] is None else 0
    name = "" if isinstance(first, int) else str(first.value)
    if _TIME.fullmatch(name):
        raise InputFileError(
            f"the first axis of input {value.name!r} is {name!r}: no batch, as it seems", where=where,
            expected="its length", hint="give the shape of all axes: --input-shape, or input_shape of mho.load",
        )  # fmt: skip
