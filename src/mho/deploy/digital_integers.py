"""Operations of an integer-only digital unit in an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from mho.arithmetic.attributes import get_float, get_int, get_ints
from mho.deploy import image_format as form
from mho.deploy.digital_words import (
    Call,
    References,
    Words,
    as_word,
    as_words64,
    broadcast_strides,
    make_call,
    pool_words,
    reduced_words,
    walk_words,
)
from mho.errors import UnsupportedOperationError
from mho.program.instructions import Digital


def _result(item: Digital) -> Words:
    return [get_int(item.attributes, key) for key in ("shift", "low", "high")]


def _operands(item: Digital, names: References) -> Words:
    return [names.reference(name) for name in (item.output, *item.inputs)]


def _int_quantize(item: Digital, names: References) -> list[Call]:
    words = [math.prod(names.shape(item.output)), as_word(get_float(item.attributes, "scale"))]
    return [
        make_call(
            form.INT_QUANTIZE,
            *_operands(item, names),
            *words,
            get_int(item.attributes, "low"),
            get_int(item.attributes, "high"),
        )
    ]


def _int_dequantize(item: Digital, names: References) -> list[Call]:
    words = [math.prod(names.shape(item.output)), as_word(get_float(item.attributes, "scale"))]
    return [make_call(form.INT_DEQUANTIZE, *_operands(item, names), *words)]


def _int_scale(item: Digital, names: References) -> list[Call]:
    result = names.shape(item.output)
    walk = walk_words(result, *(broadcast_strides(names.shape(name), result) for name in item.inputs))
    return [make_call(form.INT_SCALE, *_operands(item, names), *_result(item), *walk)]


def _int_add(item: Digital, names: References) -> list[Call]:
    result, count = names.shape(item.output), len(item.inputs)
    if count > form.MOST_OPERANDS:
        raise UnsupportedOperationError(
            f"an addition of {count} tensors", where=f"output {item.output!r}", expected=f"at most {form.MOST_OPERANDS}"
        )
    walk = walk_words(result, *(broadcast_strides(names.shape(name), result) for name in item.inputs))
    output, *operands = _operands(item, names)
    words = [output, count, *_result(item), *operands, *get_ints(item.attributes, "multipliers")]
    return [make_call(form.INT_ADD, *words, *walk)]


def _int_product(item: Digital, names: References) -> list[Call]:
    result = names.shape(item.output)
    walk = walk_words(result, *(broadcast_strides(names.shape(name), result) for name in item.inputs))
    opcode, multiplier = form.INT_MUL if item.op == "int_mul" else form.INT_DIV, get_int(item.attributes, "multiplier")
    return [make_call(opcode, *_operands(item, names), multiplier, *_result(item), *walk)]


def _int_table(item: Digital, names: References) -> list[Call]:
    count = math.prod(names.shape(item.output))
    return [make_call(form.INT_TABLE, *_operands(item, names), count, get_int(item.attributes, "first"))]


def _int_embed(item: Digital, names: References) -> list[Call]:
    rows, *row = names.shape(item.inputs[1])
    return [make_call(form.INT_EMBED, *_operands(item, names), rows, math.prod(row))]


def _int_pool(item: Digital, names: References) -> list[Call]:
    strides = broadcast_strides(names.shape(item.inputs[1]), names.shape(item.output)[2:])
    words = [*pool_words(item, names), *_result(item), *strides]
    return [make_call(form.INT_POOL, *_operands(item, names), *words)]


def _int_reduce(item: Digital, names: References) -> list[Call]:
    words = [get_int(item.attributes, "multiplier"), *_result(item), *reduced_words(item, names)]
    return [make_call(form.INT_REDUCE, *_operands(item, names), *words)]


def _int_softmax(item: Digital, names: References) -> list[Call]:
    shape, axis = names.shape(item.output), get_int(item.attributes, "axis")
    sizes = [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])]
    return [
        make_call(
            form.INT_SOFTMAX, *_operands(item, names), *sizes, get_int(item.attributes, "multiplier"), *_result(item)
        )
    ]


def _int_norm(item: Digital, names: References) -> list[Call]:
    shape, axis = names.shape(item.output), get_int(item.attributes, "axis")
    normalized = shape[axis:]
    walk = walk_words(normalized, *(broadcast_strides(names.shape(name), normalized) for name in item.inputs[1:]))
    sizes = [math.prod(shape[:axis]), math.prod(normalized)]
    words = [*as_words64(get_int(item.attributes, "epsilon")), *sizes, *_result(item)]
    opcode = form.INT_LAYER_NORM if item.op == "int_layer_norm" else form.INT_RMS_NORM
    return [make_call(opcode, *_operands(item, names), *words, *walk)]


LOWERED_INTEGERS: Mapping[str, Callable[[Digital, References], list[Call]]] = {
    "int_quantize": _int_quantize, "int_dequantize": _int_dequantize, "int_scale": _int_scale, "int_add": _int_add,
    "int_mul": _int_product, "int_div": _int_product, "int_table": _int_table, "int_average_pool": _int_pool,
    "int_reduce_sum": _int_reduce, "int_softmax": _int_softmax, "int_layer_norm": _int_norm, "int_rms_norm": _int_norm,
    "int_embed": _int_embed,
}  # fmt: skip
"""How each is lowered."""
