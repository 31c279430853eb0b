"""What must hold of digital operations on integers: results lie in the range of their buffer, and nothing overflows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import get_int, get_ints
from mho.arithmetic.fixed_point import LARGEST_PRODUCT
from mho.arithmetic.limits import LARGEST_INTEGER
from mho.arithmetic.operations import OPERATIONS
from mho.program.checker import Checker
from mho.program.instructions import Digital
from mho.program.program import Buffer, BufferKind


def check_integers(checker: Checker, item: Digital) -> None:
    """Check the buffers, ranges and products of an operation whose operands, attributes and constants fit it.

    Raises:
        ProgramError: an operation on floats has integers, or the other way round, or something may leave its range.
    """
    program = checker.program
    operands = [program.buffers[name] for name in item.inputs if name in program.buffers]
    result, record = program.buffers[item.output], OPERATIONS[item.op]
    are_integers = [one.kind is BufferKind.INTEGERS for one in (*operands, result)]
    for buffer in (*operands, result):
        if buffer.kind is BufferKind.INTEGERS:
            _check_range(checker, buffer)
    if not any(are_integers) and not record.is_lowered:
        return
    expected = [item.op != "int_quantize"] * len(operands) + [item.op != "int_dequantize"]
    if are_integers != expected or not (record.is_lowered or record.moves or record.takes_integers):
        checker.fail(f"{item.op} from or to buffers of the wrong kind", "integers, or float32")
    if item.op == "int_dequantize":
        return
    low, high = _range_of_result(checker, item, operands)
    if not result.low <= low <= high <= result.high:
        checker.fail(f"{item.op} gives {low}..{high}", f"{item.output!r}: {result.low}..{result.high}")
    if (largest := _largest_product(checker, item, operands)) > LARGEST_PRODUCT:
        checker.fail(f"products of {item.op} reach {largest}", "at most 2^62")


def _check_range(checker: Checker, buffer: Buffer) -> None:
    is_sound = -LARGEST_INTEGER <= buffer.low <= buffer.high <= LARGEST_INTEGER and math.isfinite(buffer.scale)
    if not (is_sound and buffer.scale > 0):
        held = f"integers {buffer.low}..{buffer.high} with the scale {buffer.scale}"
        checker.fail(held, f"within +-{LARGEST_INTEGER}, with a positive scale")


def _constants(checker: Checker, item: Digital) -> list[NDArray[Any]]:
    return [checker.program.constants[name] for name in item.inputs if name in checker.program.constants]


def _range_of_result(checker: Checker, item: Digital, operands: list[Buffer]) -> tuple[int, int]:
    """Return the smallest and largest integer that an operation may give."""
    if "low" in item.attributes:
        return get_int(item.attributes, "low"), get_int(item.attributes, "high")
    if item.op == "int_table":
        (table,) = _constants(checker, item)
        first = get_int(item.attributes, "first")
        if not first <= operands[0].low <= operands[0].high < first + table.size:
            checker.fail(f"a table from {first} on of {table.size} for {item.inputs[0]!r}")
        return int(table.min()), int(table.max())
    if item.op == "int_embed":
        (table,) = _constants(checker, item)
        if operands[0].scale != 1:
            checker.fail(f"{item.inputs[0]!r} has the scale {operands[0].scale}", "indices, of scale 1")
        return int(table.min()), int(table.max())
    limits = [(one.low, one.high) for one in operands]
    if item.op in ("concat", "minimum", "maximum", "where"):
        chosen = _constants(checker, item)[: len(item.inputs) - len(operands)]
        limits += [(int(one.min()), int(one.max())) for one in chosen if one.dtype.kind == "i" and one.size]
    if item.op == "pad":
        limits.append((math.floor(_number(item, "value")), math.ceil(_number(item, "value"))))
    low, high = min(one for one, _ in limits), max(one for _, one in limits)
    if item.op == "relu":
        low, high = max(low, 0), max(high, 0)
    if item.op == "clip":
        least, most = _number(item, "min"), _number(item, "max")
        low, high = (math.floor(min(max(limit, least), most)) for limit in (low, high))
    return low, high


def _number(item: Digital, key: str) -> float:
    value = item.attributes[key]
    assert isinstance(value, int | float), "checked with the shapes"
    return float(value)


def _largest_product(checker: Checker, item: Digital, operands: list[Buffer]) -> int:
    """Return what the products, and sums of them, of an operation reach at most."""
    reaches = [max(-one.low, one.high) for one in operands]
    attributes, constants = item.attributes, _constants(checker, item)
    factors = [int(np.abs(one.astype(np.int64)).max()) for one in constants if one.dtype.kind in "iu" and one.size]
    if item.op == "int_scale":
        return reaches[0] * factors[0]
    if item.op == "int_add":
        return _weighted(checker, item)
    if item.op == "int_mul":
        return math.prod(_reaches(checker, item)) * abs(get_int(attributes, "multiplier"))
    if item.op == "int_div":
        numerator, denominator = _reaches(checker, item)
        shifted = denominator << get_int(attributes, "shift")
        return 2 * max(numerator * abs(get_int(attributes, "multiplier")), shifted)
    if item.op == "int_average_pool":
        return math.prod(get_ints(attributes, "kernel")) * reaches[0] * factors[0]
    shape = operands[0].shape
    if item.op == "int_reduce_sum":
        count = math.prod(shape[axis] for axis in get_ints(attributes, "axes"))
        return count * reaches[0] * abs(get_int(attributes, "multiplier"))
    if item.op == "int_softmax":
        if operands[0].high - operands[0].low >= 256 * constants[1].size:
            checker.fail(f"{constants[1].size} coarse powers for {item.inputs[0]!r}")
        return max(shape[get_int(attributes, "axis")], abs(get_int(attributes, "multiplier"))) << 30
    if item.op in ("int_layer_norm", "int_rms_norm"):
        count = math.prod(shape[get_int(attributes, "axis") :])
        if 2 * count * reaches[0] >= 1 << 31 or get_int(attributes, "epsilon") > 1 << 61:
            return LARGEST_PRODUCT + 1
        return ((math.isqrt(count) + 1) << 20) * factors[0]
    return 0


def _reaches(checker: Checker, item: Digital) -> list[int]:
    """Return the largest magnitude of each operand, constants too."""
    found = []
    for name in item.inputs:
        if name in checker.program.buffers:
            held = checker.program.buffers[name]
            found.append(max(-held.low, held.high))
        else:
            values = checker.program.constants[name]
            if values.dtype.kind != "i" or not values.size:
                checker.fail(f"{name!r} is no constant of integers")
            found.append(max(-int(values.min()), int(values.max()), 0))
    return found


def _weighted(checker: Checker, item: Digital) -> int:
    multipliers = get_ints(item.attributes, "multipliers")
    return sum(abs(m) * x for m, x in zip(multipliers, _reaches(checker, item), strict=True))
