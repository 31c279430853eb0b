"""Small random networks with much digital work between their layers, on top of `random_networks`."""

from __future__ import annotations

import numpy as np
from random_networks import Chooser, NetworkBuilder

from mho.network.graph import Network

_UNARY = ("relu", "sigmoid", "abs", "neg", "tanh", "floor", "round", "sin", "cos")
_BINARY = ("add", "mul", "maximum", "sub")


def random_digital_network(chooser: Chooser, *, layers: int = 3) -> Network:
    """Return a random quantized network of convolutions with poolings, branches and movements between them."""
    builder = NetworkBuilder(chooser)
    shape = (chooser.choice((1, 1, 2)), chooser.integer(1, 3), chooser.integer(2, 6), chooser.integer(2, 6))
    maps = [builder.input(shape)]
    for _ in range(chooser.integer(2, layers)):
        maps.append(builder.conv(chooser.choice(maps[-2:]), unsigned=False))
        for _ in range(chooser.integer(0, 3)):
            maps.append(_STEPS[chooser.integer(0, len(_STEPS) - 1)](builder, maps))
    last = maps[-1]
    if chooser.integer(0, 1):
        last = builder.node("reduce_mean", [last], axes=(2, 3), keepdims=0)
        builder.linear(last, chooser.integer(1, 4), unsigned=False)
    elif chooser.integer(0, 1):
        _attend(builder, last)
    else:
        builder.conv(last, unsigned=False)
    return builder.finish()


def _attend(builder: NetworkBuilder, source: str) -> None:
    """Multiply positions with positions, as attention does, streaming and storing the same tensor."""
    batch, channels, height, width = builder.shapes[source]
    flat = builder.node("reshape", [source], shape=(batch, channels, height * width))
    turned = builder.node("transpose", [flat], perm=(0, 2, 1))
    scores = builder.node("softmax", [builder.matmul(turned, flat, unsigned=False)], axis=2)
    normed = builder.node("layer_norm", [turned, builder.constant(_ones(channels))], axis=2, epsilon=0.1)
    builder.linear(builder.matmul(scores, normed, unsigned=True), 3, unsigned=False)


def _pool(builder: NetworkBuilder, maps: list[str]) -> str:
    chooser, (_, _, height, width) = builder.chooser, builder.shapes[maps[-1]]
    kernel = tuple(chooser.integer(1, min(3, size)) for size in (height, width))
    strides = (chooser.integer(1, 3), chooser.integer(1, 3))
    pads = tuple(chooser.integer(0, size - 1) for size in (*kernel, *kernel))
    attributes = {"kernel": kernel, "strides": strides, "pads": pads, "dilations": (1, 1)}
    if chooser.integer(0, 1):
        return builder.node("max_pool", [maps[-1]], **attributes, ceil_mode=chooser.integer(0, 1))
    return builder.node("average_pool", [maps[-1]], **attributes, ceil_mode=0, count_include_pad=1)


def _join(builder: NetworkBuilder, maps: list[str]) -> str:
    """Combine with an earlier map of the same shape, or with the last one's own mean (a gate)."""
    chooser, last = builder.chooser, maps[-1]
    fitting = [name for name in maps[:-1] if builder.shapes[name] == builder.shapes[last]]
    if fitting and chooser.integer(0, 1):
        return builder.node(chooser.choice(_BINARY), [chooser.choice(fitting), last])
    gate = builder.node("reduce_max", [last], axes=chooser.choice(((2, 3), (1,), (2,))), keepdims=1)
    return builder.node(chooser.choice(_BINARY), [last, gate])


def _concat(builder: NetworkBuilder, maps: list[str]) -> str:
    chooser, last = builder.chooser, maps[-1]
    axis = chooser.integer(1, 3)

    def without_axis(name: str) -> tuple[int, ...]:
        return builder.shapes[name][:axis] + builder.shapes[name][axis + 1 :]

    others = [name for name in maps if without_axis(name) == without_axis(last)]
    return builder.node("concat", [chooser.choice(others), last], axis=axis)


def _slice(builder: NetworkBuilder, maps: list[str]) -> str:
    chooser, last = builder.chooser, maps[-1]
    axis = chooser.integer(1, 3)
    size, step = builder.shapes[last][axis], chooser.choice((1, 2, -1))
    start, end = (chooser.integer(0, size - 1), size) if step > 0 else (size - 1, chooser.integer(-1, size - 2))
    return builder.node("slice", [last], axes=(axis,), starts=(start,), ends=(end,), steps=(step,))


def _pad(builder: NetworkBuilder, maps: list[str]) -> str:
    pads = tuple(builder.chooser.integer(0, 1) if axis % 4 > 1 else 0 for axis in range(8))
    return builder.node("pad", [maps[-1]], pads=pads, value=0.25)


def _resize(builder: NetworkBuilder, maps: list[str]) -> str:
    if max(builder.shapes[maps[-1]][2:]) > 6:
        return maps[-1]
    return builder.node("resize_nearest", [maps[-1]], scales=(1.0, 1.0, float(builder.chooser.integer(1, 2)), 2.0))


def _turn(builder: NetworkBuilder, maps: list[str]) -> str:
    return builder.node("transpose", [maps[-1]], perm=(0, 1, 3, 2))


def _gather(builder: NetworkBuilder, maps: list[str]) -> str:
    axis = builder.chooser.integer(1, 3)
    size = builder.shapes[maps[-1]][axis]
    indices = builder.constant(builder.generator.integers(0, size, builder.chooser.integer(1, 3)))
    return builder.node("gather", [maps[-1], indices], axis=axis)


def _where(builder: NetworkBuilder, maps: list[str]) -> str:
    """Choose by a mask between the last map and a constant, or a map of the same shape."""
    chooser, shape = builder.chooser, builder.shapes[maps[-1]]
    mask = builder.constant(builder.generator.integers(0, 2, shape[chooser.integer(0, 3) :]).astype(bool))
    others = [name for name in maps[:-1] if builder.shapes[name] == shape]
    other = chooser.choice(others) if others else builder.constant(np.float32(-1.5))
    return builder.node("where", [maps[-1], other, mask])


def _unary(builder: NetworkBuilder, maps: list[str]) -> str:
    return builder.node(builder.chooser.choice(_UNARY), [maps[-1]])


def _ones(size: int) -> np.ndarray:
    return np.ones(size, np.float32)


_STEPS = (_pool, _join, _concat, _slice, _pad, _resize, _turn, _gather, _where, _unary)
