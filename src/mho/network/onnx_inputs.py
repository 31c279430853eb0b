"""The shapes of a network's inputs: the file's, or what is given where that leaves them open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mho.errors import InputFileError, suggest
from mho.input_files import check_memory
from mho.network.draft import MAX_RANK
from mho.network.tensor_budget import float_bytes

if TYPE_CHECKING:
    import onnx_ir

InputShapes = Mapping[str, Sequence[int]] | Sequence[int]


def shapes_by_name(input_shapes: InputShapes | None, names: list[str], where: str) -> dict[str, tuple[int, ...]]:
    """Return what is given by the names of inputs. Raises `InputFileError` where names do not fit."""
    if input_shapes is None:
        return {}
    if not isinstance(input_shapes, Mapping):
        if len(names) != 1:
            raise InputFileError(
                f"one input shape for {len(names)} inputs", where=where, expected=f"shapes of {', '.join(names)}"
            )
        return {names[0]: tuple(input_shapes)}
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
        if given[:1] == (1,) and dims and dims[0]:  # one sample of a file that is fixed to a batch
            given = (dims[0], *given[1:])
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
    return tuple(1 if dim is None else dim for dim in dims)
