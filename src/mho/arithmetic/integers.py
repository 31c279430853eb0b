"""Records of the operations of an integer-only digital unit; `mho.arithmetic.kernels.integers` defines them.

They act on centred integers v = code - zero point, which mean scale * v: no zero point stands in any formula. Their
result is clamp(RS(x, shift), low, high), see `mho.arithmetic.fixed_point`. Constants are multipliers, int32, offsets,
int64, and tables, int32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import Attributes, Shape, get_int, get_ints
from mho.arithmetic.elementwise import keeps_aligned_samples
from mho.arithmetic.fixed_point import LARGEST_MULTIPLIER, LARGEST_OFFSET, LARGEST_SHIFT
from mho.arithmetic.limits import LARGEST_INTEGER
from mho.arithmetic.movement import OPERATIONS as _MOVEMENTS
from mho.arithmetic.normalizations import OPERATIONS as _NORMALIZATIONS
from mho.arithmetic.operation import Attribute, Operation, RequiredWindows, Use, unknown
from mho.arithmetic.pooling import OPERATIONS as _POOLINGS
from mho.arithmetic.reductions import OPERATIONS as _REDUCTIONS
from mho.arithmetic.required_windows import of_aligned
from mho.arithmetic.shapes import ShapeError, broadcast, infer_broadcast

_FLOAT = {operation.name: operation for operation in (*_MOVEMENTS, *_NORMALIZATIONS, *_POOLINGS, *_REDUCTIONS)}
_RANGE = {"low": Attribute("int"), "high": Attribute("int")}
_RESULT = {"shift": Attribute("int"), **_RANGE}
_MULTIPLIER = {"multiplier": Attribute("int")}

TABLE_BITS = 10
"""The most bits of what a table is indexed by."""
FINE_POWERS = 256
"""Entries of the first of the two tables of softmax."""


def check_range(attributes: Attributes) -> None:
    """Raise `ShapeError` where attributes do not keep the limits of integer operations."""
    low, high, shift = (get_int(attributes, key) if key in attributes else 0 for key in ("low", "high", "shift"))
    if not (-LARGEST_INTEGER <= low <= high <= LARGEST_INTEGER and 0 <= shift <= LARGEST_SHIFT):
        raise ShapeError(f"integers {low}..{high} with a shift of {shift}")
    multipliers = [get_int(attributes, "multiplier")] if "multiplier" in attributes else []
    multipliers += get_ints(attributes, "multipliers") if "multipliers" in attributes else ()
    if any(abs(one) > LARGEST_MULTIPLIER for one in multipliers):
        raise ShapeError(f"multipliers {multipliers} take more than 32 bits")


def _with_shape_of_first(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """The constants broadcast to the first operand."""
    check_range(attributes)
    if broadcast(*shapes) != shapes[0]:
        raise ShapeError(f"{[list(shape) for shape in shapes[1:]]} do not broadcast to {list(shapes[0])}")
    return shapes[0]


def _aligned(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    check_range(attributes)
    if "multipliers" in attributes and len(get_ints(attributes, "multipliers")) != len(shapes):
        raise ShapeError(f"{len(shapes)} operands and multipliers {attributes['multipliers']}")
    return infer_broadcast(shapes, attributes)


def _first_alone(name: str) -> Any:
    """Return the shape rule of the float operation `name`, for the first operand alone."""

    def rule(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
        check_range(attributes)
        result = _FLOAT[name].shape(shapes[:1], attributes)
        if name == "average_pool" and broadcast(shapes[1], result[-2:]) != result[-2:]:
            raise ShapeError(f"multipliers {list(shapes[1])} for {list(result)}")
        return result

    return rule


def _layer_norm_shape(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    check_range(attributes)
    if get_int(attributes, "epsilon") < 0:
        raise ShapeError(f"epsilon is {attributes['epsilon']}")
    return _FLOAT["layer_norm"].shape(shapes, attributes)


def _constants(*limits: int) -> Any:
    """Return the rule that all operands but the first are constant integers within limits."""

    def rule(shapes: Sequence[Shape], attributes: Attributes, constants: Mapping[int, NDArray[Any]]) -> None:
        del shapes, attributes
        for number, limit in enumerate(limits, start=1):
            values = constants.get(number)
            if values is None or values.dtype.kind not in "iu" or values.dtype == np.uint64 or not values.size:
                raise ShapeError(f"operand {number} is no constant of integers")
            if max(-int(values.min()), int(values.max())) > limit:
                raise ShapeError(f"operand {number} holds integers beyond {limit}")

    return rule


def _check_table(shapes: Sequence[Shape], attributes: Attributes, constants: Mapping[int, NDArray[Any]]) -> None:
    _constants(LARGEST_INTEGER)(shapes, attributes, constants)
    if len(shapes[1]) != 1 or shapes[1][0] > 1 << TABLE_BITS:
        raise ShapeError(f"a table of {list(shapes[1])}")


def _check_powers(shapes: Sequence[Shape], attributes: Attributes, constants: Mapping[int, NDArray[Any]]) -> None:
    _constants(1 << 30, 1 << 30)(shapes, attributes, constants)
    if shapes[1] != (FINE_POWERS,) or len(shapes[2]) != 1 or min(int(constants[k].min()) for k in (1, 2)) < 0:
        raise ShapeError(f"powers {list(shapes[1])} and {list(shapes[2])}")
    # The power of 0, the largest one's, is 1: no sum of powers is 0.
    if not int(constants[1][0]) == int(constants[2][0]) == 1 << 30:
        raise ShapeError("the first powers are not 1")


def _of_first(_use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    first = operands[0]
    assert first is not None, "the other operands are constants"
    return first


def _like(name: str, float_name: str, **facts: Any) -> Operation:
    """Return the integer form of a float operation: windows and samples are the same."""
    given = _FLOAT[float_name]
    return _integer(
        name, required_windows=given.required_windows, keeps_samples=given.keeps_samples, **facts
    )  # fmt: skip


def _integer(name: str, **facts: Any) -> Operation:
    rules: dict[str, Any] = {
        "shape": _with_shape_of_first, "required_windows": of_aligned, "keeps_samples": keeps_aligned_samples,
    }  # fmt: skip
    return Operation(name=name, kernels="integers", non_negative=unknown, is_lowered=True, **rules | facts)


OPERATIONS = (
    _integer("int_quantize", attributes={"scale": Attribute("float"), **_RANGE}, is_elementwise=True),
    _integer("int_dequantize", attributes={"scale": Attribute("float")}, is_elementwise=True),
    _integer(
        "int_scale", attributes=_RESULT, operands=(3, 3), is_elementwise=True,
        check_constants=_constants(LARGEST_MULTIPLIER, LARGEST_OFFSET),
    ),
    _integer(
        "int_add", attributes={"multipliers": Attribute("ints"), **_RESULT}, operands=(1, None), shape=_aligned,
        is_elementwise=True,
    ),
    _integer("int_mul", attributes=_MULTIPLIER | _RESULT, operands=(2, 2), shape=_aligned, is_elementwise=True),
    _integer("int_div", attributes=_MULTIPLIER | _RESULT, operands=(2, 2), shape=_aligned, is_elementwise=True),
    _integer(
        "int_table", attributes={"first": Attribute("int")}, operands=(2, 2), shape=lambda shapes, _: shapes[0],
        required_windows=_of_first, keeps_samples=lambda _: True, is_elementwise=True, check_constants=_check_table,
    ),
    _like(
        "int_embed", "embed", operands=(2, 2), shape=_FLOAT["embed"].shape, check_constants=_constants(LARGEST_INTEGER),
    ),
    _like(
        "int_average_pool", "average_pool", attributes={**_FLOAT["average_pool"].attributes, **_RESULT},
        operands=(2, 2), shape=_first_alone("average_pool"), check_constants=_constants(LARGEST_MULTIPLIER),
        scratch=_FLOAT["average_pool"].scratch,
    ),
    _like(
        "int_reduce_sum", "reduce_sum", attributes={**_FLOAT["reduce_sum"].attributes, **_MULTIPLIER, **_RESULT},
        shape=_first_alone("reduce_sum"),
    ),
    _like(
        "int_softmax", "softmax", attributes={**_FLOAT["softmax"].attributes, **_MULTIPLIER, **_RESULT},
        operands=(3, 3), shape=_first_alone("softmax"), check_constants=_check_powers,
    ),
    _like(
        "int_layer_norm", "layer_norm", attributes={"axis": Attribute("int"), "epsilon": Attribute("int"), **_RESULT},
        operands=(3, 3), shape=_layer_norm_shape, check_constants=_constants(LARGEST_MULTIPLIER, LARGEST_OFFSET),
    ),
    _like(
        "int_rms_norm", "layer_norm", attributes={"axis": Attribute("int"), "epsilon": Attribute("int"), **_RESULT},
        operands=(3, 3), shape=_layer_norm_shape, check_constants=_constants(LARGEST_MULTIPLIER, LARGEST_OFFSET),
    ),
)  # fmt: skip
