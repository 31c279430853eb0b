"""Operations of the digital unit in an image: few kernels over strided elements, to which all of mho's are lowered."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mho.arithmetic.attributes import get_float, get_floats, get_int, get_ints, get_text
from mho.arithmetic.limits import LARGEST_INTEGER
from mho.deploy import image_format as form
from mho.deploy.digital_integers import LOWERED_INTEGERS
from mho.deploy.digital_words import (
    Call,
    References,
    Shape,
    Words,
    as_word,
    broadcast_strides,
    make_call,
    pool_words,
    reduced_words,
    strides_of,
    walk_words,
)
from mho.errors import UnsupportedOperationError
from mho.program.instructions import Digital


def lower_digital(item: Digital, names: References) -> list[Call]:
    """Return the operations that a digital instruction becomes.

    Raises:
        UnsupportedOperationError: the device has none for it.
    """
    if item.op not in LOWERED:
        raise UnsupportedOperationError(
            f"the C runtime has no operation {item.op!r}", where=f"output {item.output!r}",
            hint="end the network before it, and do it in your own code",
        )  # fmt: skip
    return LOWERED[item.op](item, names)


def _unary(function: str, item: Digital, names: References, *parameters: float) -> list[Call]:
    given = [*map(as_word, parameters), 0, 0, 0, 0][:4]
    return [_unary_words(function, item, names, given)]


def _unary_words(function: str, item: Digital, names: References, given: Sequence[int]) -> Call:
    number, count = form.UNARY_FUNCTIONS.index(function), math.prod(names.shape(item.output))
    return make_call(
        form.UNARY, number, names.reference(item.output), names.reference(item.inputs[0]), count,
        *(*given, 0, 0, 0, 0)[:4],
    )  # fmt: skip


def _with(function: str, *keys: str) -> Callable[[Digital, References], list[Call]]:
    return lambda item, names: _unary(function, item, names, *(get_float(item.attributes, key) for key in keys))


def _doubles(*numbers: float) -> Words:
    return [word for number in numbers for word in struct.unpack("<2I", struct.pack("<d", number))]


def _with_doubles(function: str, *keys: str) -> Callable[[Digital, References], list[Call]]:
    """Functions whose parameters are float64."""

    def lower(item: Digital, names: References) -> list[Call]:
        numbers = [get_float(item.attributes, key) for key in keys]
        return [_unary_words(function, item, names, _doubles(*numbers))]

    return lower


def _relu(item: Digital, names: References) -> list[Call]:
    if names.is_whole(item.output):
        return [_clamp(item, names, 0, LARGEST_INTEGER)]
    return _unary("relu", item, names)


def _clamp(item: Digital, names: References, low: int, high: int) -> Call:
    operands = [names.reference(name) for name in (item.output, item.inputs[0])]
    return make_call(form.INT_CLAMP, *operands, math.prod(names.shape(item.output)), low, high)


def _clip(item: Digital, names: References) -> list[Call]:
    if names.is_whole(item.output):
        return [_clamp(item, names, *(int(get_float(item.attributes, key)) for key in ("min", "max")))]
    return _unary("clip", item, names, get_float(item.attributes, "min"), get_float(item.attributes, "max"))


def _gelu(item: Digital, names: References) -> list[Call]:
    return _unary("gelu_tanh" if get_text(item.attributes, "approximate") == "tanh" else "gelu", item, names)


def _cast(item: Digital, names: References) -> list[Call]:
    return _unary(f"cast_{get_text(item.attributes, 'to')}", item, names)


def _fake_quantize(item: Digital, names: References) -> list[Call]:
    scale, zero_point, qmin, qmax = (get_float(item.attributes, key) for key in ("scale", "zero_point", "qmin", "qmax"))
    return _unary("fake_quantize", item, names, scale, zero_point, qmin, qmax)


def _power(item: Digital, names: References) -> list[Call]:
    exponent = get_float(item.attributes, "exponent")
    if exponent.is_integer() and abs(exponent) <= 64:
        return [_unary_words("whole_power", item, names, [int(exponent)])]
    if exponent == 0.5:
        return _unary("sqrt", item, names)
    is_odd = int(exponent.is_integer() and exponent % 2 != 0)
    function = "large_power" if exponent.is_integer() else "power"
    return [_unary_words(function, item, names, [*_doubles(exponent), is_odd])]


def _binary(item: Digital, names: References) -> list[Call]:
    result = names.shape(item.output)
    number = form.BINARY_FUNCTIONS.index(item.op)
    strides = [broadcast_strides(names.shape(name), result) for name in item.inputs]
    operands = [names.reference(name) for name in item.inputs]
    if len(operands) == 2:
        operands, strides = [*operands, form.NO_REFERENCE], [*strides, (0,) * len(result)]
    words = walk_words(result, *strides)
    return [make_call(form.BINARY, number, names.reference(item.output), *operands, *words)]


def _move(
    item: Digital, names: References, source: str, sizes: Shape, *, from_: int, from_strides: Shape, to: int,
    to_strides: Shape,
) -> Call:  # fmt: skip
    walk = walk_words(sizes, from_strides, to_strides)
    return make_call(form.MOVE, names.reference(item.output), names.reference(source), to, from_, *walk)


def _copy(item: Digital, names: References, sizes: Shape, strides: Shape, base: int = 0) -> list[Call]:
    """Elements of the first operand, read with these strides, in the order of the output."""
    return [
        _move(
            item, names, item.inputs[0], sizes, from_=base, from_strides=strides, to=0, to_strides=strides_of(sizes)
        )
    ]  # fmt: skip


def _reshape(item: Digital, names: References) -> list[Call]:
    if names.constant(item.inputs[0]) is None:
        return []  # the output lies where its operand does
    shape = names.shape(item.output)
    return _copy(item, names, shape, strides_of(shape))


def _transpose(item: Digital, names: References) -> list[Call]:
    own = strides_of(names.shape(item.inputs[0]))
    return _copy(item, names, names.shape(item.output), tuple(own[axis] for axis in get_ints(item.attributes, "perm")))


def _expand(item: Digital, names: References) -> list[Call]:
    result = names.shape(item.output)
    return _copy(item, names, result, broadcast_strides(names.shape(item.inputs[0]), result))


def _slice(item: Digital, names: References) -> list[Call]:
    strides, base = list(strides_of(names.shape(item.inputs[0]))), 0
    for axis, start, step in zip(*(get_ints(item.attributes, key) for key in ("axes", "starts", "steps")), strict=True):
        base += start * strides[axis]
        strides[axis] *= step
    sizes = names.shape(item.output)
    return _copy(item, names, sizes, tuple(strides), base if math.prod(sizes) else 0)


def _resize(item: Digital, names: References) -> list[Call]:
    shape = names.shape(item.inputs[0])
    scales = [int(scale) for scale in get_floats(item.attributes, "scales")]
    sizes = tuple(part for pair in zip(shape, scales, strict=True) for part in pair)
    strides = tuple(part for stride in strides_of(shape) for part in (stride, 0))
    return _copy(item, names, sizes, strides)


def _concat(item: Digital, names: References) -> list[Call]:
    result, axis, at = strides_of(names.shape(item.output)), get_int(item.attributes, "axis"), 0
    calls = []
    for name in item.inputs:
        shape = names.shape(name)
        calls.append(
            _move(
                item, names, name, shape, from_=0, from_strides=strides_of(shape), to=at * result[axis],
                to_strides=result,
            )
        )  # fmt: skip
        at += shape[axis]
    return calls


def _pad(item: Digital, names: References) -> list[Call]:
    shape, result = names.shape(item.inputs[0]), strides_of(names.shape(item.output))
    base = sum(
        before * stride for before, stride in zip(get_ints(item.attributes, "pads")[: len(shape)], result, strict=True)
    )
    value = get_float(item.attributes, "value")
    fill = make_call(
        form.FILL, names.reference(item.output), int(value) if names.is_whole(item.output) else as_word(value)
    )  # fmt: skip
    return [
        fill,
        _move(
            item, names, item.inputs[0], shape, from_=0, from_strides=strides_of(shape), to=base, to_strides=result
        ),
    ]  # fmt: skip


def _gather(item: Digital, names: References) -> list[Call]:
    shape, axis = names.shape(item.inputs[0]), get_int(item.attributes, "axis")
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    count = math.prod(names.shape(item.inputs[1]))
    operands = [names.reference(name) for name in (item.output, *item.inputs)]
    return [make_call(form.GATHER, *operands, outer, shape[axis], inner, count)]


def _embed(item: Digital, names: References) -> list[Call]:
    rows, *row = names.shape(item.inputs[1])
    operands = [names.reference(name) for name in (item.output, *item.inputs)]
    return [make_call(form.EMBED, *operands, rows, math.prod(row))]


def _scatter(item: Digital, names: References) -> list[Call]:
    data, indices, updates = item.inputs
    shape, axis = names.shape(item.output), get_int(item.attributes, "axis")
    strides = strides_of(shape)
    first = _move(item, names, data, shape, from_=0, from_strides=strides, to=0, to_strides=strides)
    operands = [names.reference(name) for name in (item.output, indices, updates)]
    sizes = [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])]
    return [first, make_call(form.SCATTER, *operands, *sizes)]


def _order(item: Digital, names: References) -> list[Call]:
    shape, axis = names.shape(item.inputs[0]), get_int(item.attributes, "axis")
    is_arg_max = item.op == "arg_max"
    kept = 1 if is_arg_max else get_int(item.attributes, "k")
    is_largest = 1 if is_arg_max else int(bool(get_int(item.attributes, "largest")))
    is_last = int(is_arg_max and bool(get_int(item.attributes, "select_last_index")))
    operands = [names.reference(name) for name in (item.output, item.inputs[0])]
    sizes = [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), kept]
    return [make_call(form.ORDER, int(item.op != "top_k"), is_largest, is_last, *operands, *sizes)]


def _reduce(item: Digital, names: References) -> list[Call]:
    operands = [names.reference(name) for name in (item.output, item.inputs[0])]
    return [make_call(form.REDUCE, form.REDUCE_FUNCTIONS.index(item.op), *operands, *reduced_words(item, names))]


def _pool(item: Digital, names: References) -> list[Call]:
    operands = [names.reference(name) for name in (item.output, item.inputs[0])]
    return [make_call(form.POOL, int(item.op == "average_pool"), *operands, *pool_words(item, names))]


def _softmax(item: Digital, names: References) -> list[Call]:
    shape, axis = names.shape(item.output), get_int(item.attributes, "axis")
    operands = [names.reference(name) for name in (item.output, item.inputs[0])]
    sizes = [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])]
    return [make_call(form.SOFTMAX, int(item.op == "log_softmax"), *operands, *sizes)]


def _layer_norm(item: Digital, names: References) -> list[Call]:
    shape, axis = names.shape(item.output), get_int(item.attributes, "axis")
    scale, *bias = item.inputs[1:]
    normalized = shape[axis:]
    operands = [names.reference(name) for name in (item.output, item.inputs[0], scale)]
    operands.append(names.reference(bias[0]) if bias else form.NO_REFERENCE)
    parts = [broadcast_strides(names.shape(name), normalized) for name in (scale, *bias)]
    walk = walk_words(normalized, parts[0], parts[1] if bias else (0,) * len(normalized))
    epsilon = as_word(get_float(item.attributes, "epsilon"))
    return [make_call(form.LAYER_NORM, *operands, epsilon, math.prod(shape[:axis]), math.prod(normalized), *walk)]


def _batch_norm(item: Digital, names: References) -> list[Call]:
    """(x - mean) * factor + bias, with the factor computed here, as the digital unit would round it."""
    found = [names.constant(name) for name in item.inputs[1:]]
    if any(one is None for one in found):
        raise UnsupportedOperationError(
            "a batch normalization by activations", where=f"output {item.output!r}", expected="constant parameters"
        )
    scale, bias, mean, variance = (np.asarray(one, np.float32) for one in found)
    epsilon = np.float32(get_float(item.attributes, "epsilon"))
    root = np.sqrt(np.add(variance, epsilon).astype(np.float64)).astype(np.float32)
    result = names.shape(item.output)
    own = [1] * len(result)
    own[get_int(item.attributes, "axis")] = -1
    output, source = names.reference(item.output), names.reference(item.inputs[0])
    calls = []
    for function, values in (("sub", mean), ("mul", scale / root), ("add", bias)):
        strides = broadcast_strides(values.reshape(own).shape, result)
        words = walk_words(result, strides_of(result), strides, (0,) * len(result))
        operand, number = names.add_constant(values), form.BINARY_FUNCTIONS.index(function)
        calls.append(make_call(form.BINARY, number, output, source, operand, form.NO_REFERENCE, *words))
        source = output
    return calls


LOWERED: Mapping[str, Callable[[Digital, References], list[Call]]] = {
    **{
        name: _with(name)
        for name in (
            "hard_swish", "neg", "abs", "reciprocal", "softsign", "sqrt", "exp", "log", "erf", "sigmoid",
            "silu", "tanh", "softplus", "mish", "is_nan", "floor", "ceil", "round", "sign", "sin", "cos",
        )
    },
    **{name: _with(name, "alpha") for name in ("leaky_relu", "thresholded_relu")},
    **{name: _with_doubles(name, "alpha") for name in ("elu", "celu")},
    "selu": _with_doubles("selu", "alpha", "gamma"),
    "hard_sigmoid": _with("hard_sigmoid", "alpha", "beta"),
    "relu": _relu, "clip": _clip, "gelu": _gelu, "cast": _cast, "fake_quantize": _fake_quantize, "pow": _power,
    **dict.fromkeys(form.BINARY_FUNCTIONS, _binary),
    "reshape": _reshape, "transpose": _transpose, "expand": _expand, "slice": _slice, "resize_nearest": _resize,
    "concat": _concat, "pad": _pad, "gather": _gather, "embed": _embed,
    "scatter": _scatter, **dict.fromkeys(("arg_max", "top_k", "top_k_indices"), _order),
    **dict.fromkeys(form.REDUCE_FUNCTIONS, _reduce),
    "max_pool": _pool, "average_pool": _pool, "softmax": _softmax, "log_softmax": _softmax,
    "layer_norm": _layer_norm, "batch_norm": _batch_norm,
    **LOWERED_INTEGERS,
}  # fmt: skip
"""How each operation is lowered that a device knows."""
