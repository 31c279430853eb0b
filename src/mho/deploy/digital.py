"""Operations of the digital unit in an image: few kernels over strided elements, to which all of mho's are lowered."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mho.deploy import image_format as form
from mho.errors import UnsupportedOperationError
from mho.program.instructions import Digital

Shape = tuple[int, ...]
Words = list[int]


class References(Protocol):
    """What names operands by numbers."""

    def reference(self, name: str) -> int:
        """Return the number of a buffer or constant."""

    def add_constant(self, array: NDArray[Any]) -> int:
        """Add a constant; return its number."""

    def shape(self, name: str) -> Shape:
        """Return the shape of a buffer or constant."""

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return a constant; None for a buffer."""


@dataclass(frozen=True)
class Call:
    """One operation as it is encoded: its opcode and words."""

    opcode: int
    words: tuple[int, ...]


def lower_digital(item: Digital, names: References) -> list[Call]:
    """Return the operations that a digital instruction becomes.

    Raises:
        UnsupportedOperationError: the device has none for it.
    """
    if item.op not in LOWERED:
        raise UnsupportedOperationError(
            f"the C runtime has no operation {item.op!r}", where=f"output {item.output!r}", expected=", ".join(LOWERED)
        )
    return LOWERED[item.op](item, names)


def as_word(number: float) -> int:
    """Return the bits of a float32."""
    return int(struct.unpack("<I", struct.pack("<f", np.float32(number)))[0])


def _strides(shape: Shape) -> Shape:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _broadcast_strides(shape: Shape, result: Shape) -> Shape:
    own = (0,) * (len(result) - len(shape)) + _strides(shape)
    sizes = (1,) * (len(result) - len(shape)) + shape
    return tuple(0 if size == 1 else stride for size, stride in zip(sizes, own, strict=True))


def _walk_words(shape: Shape, *strides: Shape) -> Words:
    """Return rank, sizes and strides of a walk, with axes merged where all strides allow it."""
    axes: list[tuple[int, ...]] = []
    for size, *steps in zip(shape, *strides, strict=True):
        if size == 1:
            continue
        if axes and all(before == step * size for before, step in zip(axes[-1][1:], steps, strict=True)):
            axes[-1] = (axes[-1][0] * size, *steps)
        else:
            axes.append((size, *steps))
    return [len(axes), *(value for column in range(1 + len(strides)) for value in (axis[column] for axis in axes))]


def _call(opcode: int, *words: int) -> Call:
    return Call(opcode, tuple(word & 0xFFFFFFFF for word in words))


def _unary(function: str, item: Digital, names: References, *parameters: float) -> list[Call]:
    given = [*map(as_word, parameters), 0, 0, 0, 0][:4]
    return [_unary_words(function, item, names, given)]


def _unary_words(function: str, item: Digital, names: References, given: Sequence[int]) -> Call:
    number, count = form.UNARY_FUNCTIONS.index(function), math.prod(names.shape(item.output))
    return _call(
        form.UNARY, number, names.reference(item.output), names.reference(item.inputs[0]), count,
        *(*given, 0, 0, 0, 0)[:4],
    )  # fmt: skip


def _with(function: str, *keys: str) -> Callable[[Digital, References], list[Call]]:
    return lambda item, names: _unary(function, item, names, *(float(item.attributes[key]) for key in keys))  # type: ignore[arg-type]


def _doubles(*numbers: float) -> Words:
    return [word for number in numbers for word in struct.unpack("<2I", struct.pack("<d", number))]


def _with_doubles(function: str, *keys: str) -> Callable[[Digital, References], list[Call]]:
    """Functions whose parameters are float64."""

    def lower(item: Digital, names: References) -> list[Call]:
        numbers = [float(item.attributes[key]) for key in keys]  # type: ignore[arg-type]
        return [_unary_words(function, item, names, _doubles(*numbers))]

    return lower


def _clip(item: Digital, names: References) -> list[Call]:
    return _unary("clip", item, names, float(item.attributes["min"]), float(item.attributes["max"]))  # type: ignore[arg-type]


def _gelu(item: Digital, names: References) -> list[Call]:
    return _unary("gelu_tanh" if item.attributes["approximate"] == "tanh" else "gelu", item, names)


def _cast(item: Digital, names: References) -> list[Call]:
    return _unary(f"cast_{item.attributes['to']}", item, names)


def _fake_quantize(item: Digital, names: References) -> list[Call]:
    scale, zero_point, qmin, qmax = (float(item.attributes[key]) for key in ("scale", "zero_point", "qmin", "qmax"))  # type: ignore[arg-type]
    return _unary("fake_quantize", item, names, scale, zero_point, qmin, qmax)


def _power(item: Digital, names: References) -> list[Call]:
    exponent = float(item.attributes["exponent"])  # type: ignore[arg-type]
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
    strides = [_broadcast_strides(names.shape(name), result) for name in item.inputs]
    operands = [names.reference(name) for name in item.inputs]
    if len(operands) == 2:
        operands, strides = [*operands, form.NO_REFERENCE], [*strides, (0,) * len(result)]
    words = _walk_words(result, *strides)
    return [_call(form.BINARY, number, names.reference(item.output), *operands, *words)]


def _move(
    item: Digital, names: References, source: str, sizes: Shape, *, from_: int, from_strides: Shape, to: int,
    to_strides: Shape,
) -> Call:  # fmt: skip
    walk = _walk_words(sizes, from_strides, to_strides)
    return _call(form.MOVE, names.reference(item.output), names.reference(source), to, from_, *walk)


def _copy(item: Digital, names: References, sizes: Shape, strides: Shape, base: int = 0) -> list[Call]:
    """Elements of the first operand, read with these strides, in the order of the output."""
    return [
        _move(
            item, names, item.inputs[0], sizes, from_=base, from_strides=strides, to=0, to_strides=_strides(sizes)
        )
    ]  # fmt: skip


def _reshape(item: Digital, names: References) -> list[Call]:
    if names.constant(item.inputs[0]) is None:
        return []  # the output lies where its operand does
    shape = names.shape(item.output)
    return _copy(item, names, shape, _strides(shape))


def _transpose(item: Digital, names: References) -> list[Call]:
    own = _strides(names.shape(item.inputs[0]))
    return _copy(item, names, names.shape(item.output), tuple(own[axis] for axis in _ints(item, "perm")))


def _expand(item: Digital, names: References) -> list[Call]:
    result = names.shape(item.output)
    return _copy(item, names, result, _broadcast_strides(names.shape(item.inputs[0]), result))


def _slice(item: Digital, names: References) -> list[Call]:
    strides, base = list(_strides(names.shape(item.inputs[0]))), 0
    for axis, start, step in zip(*(_ints(item, key) for key in ("axes", "starts", "steps")), strict=True):
        base += start * strides[axis]
        strides[axis] *= step
    sizes = names.shape(item.output)
    return _copy(item, names, sizes, tuple(strides), base if math.prod(sizes) else 0)


def _resize(item: Digital, names: References) -> list[Call]:
    shape = names.shape(item.inputs[0])
    scales = [int(scale) for scale in item.attributes["scales"]]  # type: ignore[union-attr]
    sizes = tuple(part for pair in zip(shape, scales, strict=True) for part in pair)
    strides = tuple(part for stride in _strides(shape) for part in (stride, 0))
    return _copy(item, names, sizes, strides)


def _concat(item: Digital, names: References) -> list[Call]:
    result, axis, at = _strides(names.shape(item.output)), int(item.attributes["axis"]), 0  # type: ignore[arg-type]
    calls = []
    for name in item.inputs:
        shape = names.shape(name)
        calls.append(
            _move(
                item, names, name, shape, from_=0, from_strides=_strides(shape), to=at * result[axis], to_strides=result
            )
        )  # fmt: skip
        at += shape[axis]
    return calls


def _pad(item: Digital, names: References) -> list[Call]:
    shape, result = names.shape(item.inputs[0]), _strides(names.shape(item.output))
    base = sum(before * stride for before, stride in zip(_ints(item, "pads")[: len(shape)], result, strict=True))
    fill = _call(form.FILL, names.reference(item.output), as_word(float(item.attributes["value"])))  # type: ignore[arg-type]
    return [
        fill,
        _move(
            item, names, item.inputs[0], shape, from_=0, from_strides=_strides(shape), to=base, to_strides=result
        ),
    ]  # fmt: skip


def _gather(item: Digital, names: References) -> list[Call]:
    shape, axis = names.shape(item.inputs[0]), int(item.attributes["axis"])  # type: ignore[arg-type]
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    count = math.prod(names.shape(item.inputs[1]))
    operands = [names.reference(name) for name in (item.output, *item.inputs)]
    return [_call(form.GATHER, *operands, outer, shape[axis], inner, count)]


def _embed(item: Digital, names: References) -> list[Call]:
    rows, *row = names.shape(item.inputs[1])
    operands = [names.reference(name) for name in (item.output, *item.inputs)]
    return [_call(form.EMBED, *operands, rows, math.prod(row))]


def _reduce(item: Digital, names: References) -> list[Call]:
    shape, axes = names.shape(item.inputs[0]), sorted(_ints(item, "axes"))
    strides, kept = _strides(shape), [axis for axis in range(len(shape)) if axis not in axes]
    walks = [
        _walk_words(tuple(shape[axis] for axis in part), tuple(strides[axis] for axis in part)) for part in (kept, axes)
    ]
    number = form.REDUCE_FUNCTIONS.index(item.op)
    return [
        _call(form.REDUCE, number, names.reference(item.output), names.reference(item.inputs[0]), *walks[0], *walks[1])
    ]


def _pool(item: Digital, names: References) -> list[Call]:
    shape, result = names.shape(item.inputs[0]), names.shape(item.output)
    kernel, strides, pads, dilations = (_ints(item, key) for key in ("kernel", "strides", "pads", "dilations"))
    counts = bool(item.attributes.get("count_include_pad", 0))
    low = (-pads[0], -pads[1]) if counts else (0, 0)
    high = tuple(shape[2 + i] + (pads[2 + i] if counts else 0) for i in range(2))
    return [
        _call(
            form.POOL, int(item.op == "average_pool"), names.reference(item.output), names.reference(item.inputs[0]),
            shape[0] * shape[1], *shape[2:], *result[2:], *kernel, *strides, pads[0], pads[1], *dilations, *low, *high,
        )
    ]  # fmt: skip


def _softmax(item: Digital, names: References) -> list[Call]:
    shape, axis = names.shape(item.output), int(item.attributes["axis"])  # type: ignore[arg-type]
    operands = [names.reference(name) for name in (item.output, item.inputs[0])]
    sizes = [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])]
    return [_call(form.SOFTMAX, int(item.op == "log_softmax"), *operands, *sizes)]


def _layer_norm(item: Digital, names: References) -> list[Call]:
    shape, axis = names.shape(item.output), int(item.attributes["axis"])  # type: ignore[arg-type]
    scale, *bias = item.inputs[1:]
    normalized = shape[axis:]
    operands = [names.reference(name) for name in (item.output, item.inputs[0], scale)]
    operands.append(names.reference(bias[0]) if bias else form.NO_REFERENCE)
    parts = [_broadcast_strides(names.shape(name), normalized) for name in (scale, *bias)]
    walk = _walk_words(normalized, parts[0], parts[1] if bias else (0,) * len(normalized))
    epsilon = as_word(float(item.attributes["epsilon"]))  # type: ignore[arg-type]
    return [_call(form.LAYER_NORM, *operands, epsilon, math.prod(shape[:axis]), math.prod(normalized), *walk)]


def _batch_norm(item: Digital, names: References) -> list[Call]:
    """(x - mean) * factor + bias, with the factor computed here, as the digital unit would round it."""
    found = [names.constant(name) for name in item.inputs[1:]]
    if any(one is None for one in found):
        raise UnsupportedOperationError(
            "a batch normalization by activations", where=f"output {item.output!r}", expected="constant parameters"
        )
    scale, bias, mean, variance = (np.asarray(one, np.float32) for one in found)
    epsilon = np.float32(float(item.attributes["epsilon"]))  # type: ignore[arg-type]
    root = np.sqrt(np.add(variance, epsilon).astype(np.float64)).astype(np.float32)
    result = names.shape(item.output)
    own = [1] * len(result)
    own[int(item.attributes["axis"])] = -1  # type: ignore[arg-type]
    output, source = names.reference(item.output), names.reference(item.inputs[0])
    calls = []
    for function, values in (("sub", mean), ("mul", scale / root), ("add", bias)):
        strides = _broadcast_strides(values.reshape(own).shape, result)
        words = _walk_words(result, _strides(result), strides, (0,) * len(result))
        operand, number = names.add_constant(values), form.BINARY_FUNCTIONS.index(function)
        calls.append(_call(form.BINARY, number, output, source, operand, form.NO_REFERENCE, *words))
        source = output
    return calls


def _ints(item: Digital, key: str) -> tuple[int, ...]:
    value = item.attributes[key]
    assert isinstance(value, tuple), "verified"
    return tuple(int(one) for one in value)


LOWERED: Mapping[str, Callable[[Digital, References], list[Call]]] = {
    **{
        name: _with(name)
        for name in (
            "relu", "hard_swish", "neg", "abs", "reciprocal", "softsign", "sqrt", "exp", "log", "erf", "sigmoid",
            "silu", "tanh", "softplus", "mish", "is_nan", "floor", "ceil", "round", "sign", "sin", "cos",
        )
    },
    **{name: _with(name, "alpha") for name in ("leaky_relu", "thresholded_relu")},
    **{name: _with_doubles(name, "alpha") for name in ("elu", "celu")},
    "selu": _with_doubles("selu", "alpha", "gamma"),
    "hard_sigmoid": _with("hard_sigmoid", "alpha", "beta"),
    "clip": _clip, "gelu": _gelu, "cast": _cast, "fake_quantize": _fake_quantize, "pow": _power,
    **dict.fromkeys(form.BINARY_FUNCTIONS, _binary),
    "reshape": _reshape, "transpose": _transpose, "expand": _expand, "slice": _slice, "resize_nearest": _resize,
    "concat": _concat, "pad": _pad, "gather": _gather, "embed": _embed,
    **dict.fromkeys(form.REDUCE_FUNCTIONS, _reduce),
    "max_pool": _pool, "average_pool": _pool, "softmax": _softmax, "log_softmax": _softmax,
    "layer_norm": _layer_norm, "batch_norm": _batch_norm,
}  # fmt: skip
"""How each operation is lowered that a device knows."""
