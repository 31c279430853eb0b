"""The public boundary of samples: from what a user passes to tensors [N, *S] and back.

`S` is a tensor's per-sample shape, which keeps ONNX's batch axis (fixed to 1). Here alone is it decided how a user may
leave that axis out. No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import DataError, check_float32_range


def to_samples(array: Any, shape: tuple[int, ...], *, where: str = "input") -> NDArray[np.float32]:
    """Return `array` as contiguous float32 [N, *shape].

    Args:
        array: [N, *shape] or, where shape[0] is 1, [N, *shape[1:]]; real numbers.
        shape: per-sample shape.
        where: what the array is, for the error.

    Raises:
        DataError: another shape, no samples, not numbers, NaN or infinity, numbers beyond float32.
    """
    try:
        values = np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"not an array of numbers: {error}", where=where, expected="real numbers") from error
    if values.dtype.kind not in "fiub":
        raise DataError(f"array of type {values.dtype}", where=where, expected="real numbers")
    if values.ndim == 0 or values.shape[1:] not in accepted_shapes(shape):
        raise shape_error(values.shape, shape, where=where)
    if not values.shape[0]:
        raise DataError("no samples", where=where, expected="at least one")
    with np.errstate(over="ignore"):  # values beyond float32 are refused below
        writeable = np.require(values, np.float32, ["C", "W"])  # torch shares no other memory
    samples = writeable.reshape(values.shape[0], *shape)
    if not np.isfinite(samples).all():
        check_float32_range(values, where=where)
        raise DataError("NaN or infinite values", where=where, expected="finite numbers")
    return samples


def accepted_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes that one sample may have in an array of samples: the usual one, without an axis of 1, first."""
    return (shape[1:], shape) if shape[:1] == (1,) else (shape,)


def shape_error(given: Sequence[int], shape: tuple[int, ...], *, where: str) -> DataError:
    """Return what is wrong with an array of the shape `given`, where samples of `shape` are needed, and what helps."""
    given, accepted = tuple(given), accepted_shapes(shape)
    hint = ""
    if given in accepted:
        hint = "one sample? x[None] adds the axis of samples"
    elif any(len(form) == 3 and given[1:] == (*form[1:], form[0]) for form in accepted):
        hint = "channels last? x.transpose(0, 3, 1, 2), of a tensor x.permute(0, 3, 1, 2)"
    forms = " or ".join(f"[N, {', '.join(map(str, form))}]" if form else "[N]" for form in accepted)
    return DataError(f"shape {list(given)}", where=where, expected=forms, hint=hint)


def from_samples(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return [N, *shape] as a user sees it: without the leading axis of `shape` where that is 1.

    Every NaN becomes the same one: sign and payload of NaN depend on the processor.
    """
    undefined = np.isnan(array)
    if undefined.any():
        array = np.where(undefined, array.dtype.type(np.nan), array)
    return array.reshape(array.shape[0], *shape[1:]) if shape[:1] == (1,) else array
