"""How operations of the digital unit are put into words: walks over strided elements, numbers, windows."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import get_ints
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

    def is_whole(self, name: str) -> bool:
        """Return whether a buffer holds integers."""

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return a constant; None for a buffer."""


@dataclass(frozen=True)
class Call:
    """One operation as it is encoded: its opcode and words."""

    opcode: int
    words: tuple[int, ...]


def as_word(number: float) -> int:
    """Return the bits of a float32."""
    return int(struct.unpack("<I", struct.pack("<f", np.float32(number)))[0])


def as_words64(number: int) -> Words:
    """Return a number of 64 bits, the lower word first."""
    return [number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF]


def strides_of(shape: Shape) -> Shape:
    """Return how far apart neighbours along each axis of a row-major array lie."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def broadcast_strides(shape: Shape, result: Shape) -> Shape:
    """Return the strides with which an array of `shape` is read as one of the shape `result`."""
    own = (0,) * (len(result) - len(shape)) + strides_of(shape)
    sizes = (1,) * (len(result) - len(shape)) + shape
    return tuple(0 if size == 1 else stride for size, stride in zip(sizes, own, strict=True))


def walk_words(shape: Shape, *strides: Shape) -> Words:
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


def make_call(opcode: int, *words: int) -> Call:
    """Return an operation of words that may be negative."""
    return Call(opcode, tuple(word & 0xFFFFFFFF for word in words))


def reduced_words(item: Digital, names: References) -> Words:
    """Return the walks over what is kept of the first operand, and over what is reduced."""
    shape, axes = names.shape(item.inputs[0]), sorted(get_ints(item.attributes, "axes"))
    strides, kept = strides_of(shape), [axis for axis in range(len(shape)) if axis not in axes]
    walks = [
        walk_words(tuple(shape[axis] for axis in part), tuple(strides[axis] for axis in part)) for part in (kept, axes)
    ]
    return [*walks[0], *walks[1]]


def pool_words(item: Digital, names: References) -> Words:
    """Return sizes and windows of a pooling."""
    shape, result = names.shape(item.inputs[0]), names.shape(item.output)
    kernel, strides, pads, dilations = (
        get_ints(item.attributes, key) for key in ("kernel", "strides", "pads", "dilations")
    )
    counts = bool(item.attributes.get("count_include_pad", 0))
    low = (-pads[0], -pads[1]) if counts else (0, 0)
    high = tuple(shape[2 + i] + (pads[2 + i] if counts else 0) for i in range(2))
    sizes = [shape[0] * shape[1], *shape[2:], *result[2:]]
    return [*sizes, *kernel, *strides, pads[0], pads[1], *dilations, *low, *high]
