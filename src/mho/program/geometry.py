"""Which codes meet which weights, and where their sums go: the geometry of an MVM layer.

A layer multiplies, for each of its groups, a logical matrix [outputs, inputs] with one input vector a position. In all
geometries an element of an input vector has the address (position) + (group) + (input), and a sum has the address
(position) + (group) + (output); the classes say what these parts are. Lowering generates addresses from them,
verification holds the generated addresses against them, and the executor recognises the product by them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.errors import ProgramError


@dataclass(frozen=True)
class AccumulatorLayout:
    """Sums laid out as [batch, groups, before, channels (+ 1 if has_sums), after], row-major.

    This is the order of the layer's output, so that dequantizing is elementwise. With `has_sums` the last channel of
    each group holds the sum of the input vector instead of an output.
    """

    batch: int
    groups: int
    before: int
    channels: int
    after: int
    has_sums: bool

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """The shape of the sums."""
        return self.batch, self.groups, self.before, self.channels + int(self.has_sums), self.after

    @property
    def size(self) -> int:
        """How many sums there are."""
        return math.prod(self.shape)

    @property
    def strides(self) -> tuple[int, int, int, int, int]:
        """The distance between neighbours along each axis."""
        _, groups, before, channels, after = self.shape
        return groups * before * channels * after, before * channels * after, channels * after, after, 1

    @property
    def sum_offset(self) -> int:
        """Where the sum of the input vector stands, from the address of the position and group."""
        return self.channels * self.after


@dataclass(frozen=True)
class PositionAxis:
    """One axis along which input vectors lie: how many, and how far apart their codes and sums are."""

    name: str
    count: int
    input_stride: int
    output_stride: int


@dataclass(frozen=True)
class ConvGeometry:
    """A convolution [batch, channels, height, width] -> [batch, outputs, out_height, out_width].

    Codes are laid out [batch, channels, padded height, padded width]; pads are (top, left, bottom, right). `outputs`
    and `channels` count all groups.
    """

    batch: int
    channels: int
    height: int
    width: int
    outputs: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: int

    def __post_init__(self) -> None:
        sizes = (self.batch, self.channels, self.height, self.width, self.outputs, self.groups)
        _require_positive((*sizes, *self.kernel, *self.strides, *self.dilations))
        is_whole = self.channels % self.groups == 0 and self.outputs % self.groups == 0
        if min(self.pads) < 0 or not is_whole or min(self.out_size) < 1:
            raise ProgramError("an impossible convolution", expected="groups that divide channels, a kernel that fits")

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width with the border."""
        return self.height + self.pads[0] + self.pads[2], self.width + self.pads[1] + self.pads[3]

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of the output."""
        height, width = (
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, dilation in zip(
                self.padded, self.kernel, self.strides, self.dilations, strict=True
            )
        )
        return height, width

    @property
    def codes_size(self) -> int:
        """How many codes the layer reads."""
        return self.batch * self.channels * math.prod(self.padded)

    @property
    def inputs_per_group(self) -> int:
        """Length of an input vector."""
        return self.channels // self.groups * math.prod(self.kernel)

    @property
    def outputs_per_group(self) -> int:
        """Rows of the logical matrix."""
        return self.outputs // self.groups

    @property
    def group_input_stride(self) -> int:
        """Distance between the codes of neighbouring groups."""
        return self.channels // self.groups * math.prod(self.padded)

    def layout(self, has_sums: bool) -> AccumulatorLayout:
        """Return how the sums lie."""
        return AccumulatorLayout(self.batch, self.groups, 1, self.outputs_per_group, math.prod(self.out_size), has_sums)

    def positions(self, has_sums: bool) -> tuple[PositionAxis, ...]:
        """Return the axes of positions."""
        (out_height, out_width), (_, padded_width) = self.out_size, self.padded
        return (
            PositionAxis("b", self.batch, self.channels * math.prod(self.padded), self.layout(has_sums).strides[0]),
            PositionAxis("y", out_height, self.strides[0] * padded_width, out_width),
            PositionAxis("x", out_width, self.strides[1], 1),
        )

    def row_offsets(self) -> NDArray[np.int64]:
        """Return the code address of each element of an input vector, from that of its position and group."""
        padded_height, padded_width = self.padded
        channel = np.arange(self.channels // self.groups, dtype=np.int64)[:, None, None] * (
            padded_height * padded_width
        )
        y = np.arange(self.kernel[0], dtype=np.int64)[:, None] * (self.dilations[0] * padded_width)
        x = np.arange(self.kernel[1], dtype=np.int64) * self.dilations[1]
        return (channel + y + x).reshape(-1)


@dataclass(frozen=True)
class LinearGeometry:
    """A dense layer: codes [positions, inputs], sums [positions, outputs]."""

    positions_count: int
    inputs: int
    outputs: int

    groups = 1
    group_input_stride = 0

    def __post_init__(self) -> None:
        _require_positive((self.positions_count, self.inputs, self.outputs))

    @property
    def codes_size(self) -> int:
        """How many codes the layer reads."""
        return self.positions_count * self.inputs

    @property
    def inputs_per_group(self) -> int:
        """Length of an input vector."""
        return self.inputs

    @property
    def outputs_per_group(self) -> int:
        """Rows of the logical matrix."""
        return self.outputs

    def layout(self, has_sums: bool) -> AccumulatorLayout:
        """Return how the sums lie."""
        return AccumulatorLayout(1, 1, self.positions_count, self.outputs, 1, has_sums)

    def positions(self, has_sums: bool) -> tuple[PositionAxis, ...]:
        """Return the axes of positions."""
        return (PositionAxis("p", self.positions_count, self.inputs, self.layout(has_sums).strides[2]),)

    def row_offsets(self) -> NDArray[np.int64]:
        """Return the code address of each element of an input vector, from that of its position."""
        return np.arange(self.inputs, dtype=np.int64)


@dataclass(frozen=True)
class MatmulGeometry:
    """Products of two activations: streams [repeat, positions, inputs], stores [repeat, inputs, outputs]."""

    repeat: int
    positions_count: int
    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        _require_positive((self.repeat, self.positions_count, self.inputs, self.outputs))

    @property
    def groups(self) -> int:
        """How many products there are."""
        return self.repeat

    @property
    def codes_size(self) -> int:
        """How many codes are streamed."""
        return self.repeat * self.positions_count * self.inputs

    @property
    def stored_size(self) -> int:
        """How many codes are stored in crossbars."""
        return self.repeat * self.inputs * self.outputs

    @property
    def inputs_per_group(self) -> int:
        """Length of an input vector."""
        return self.inputs

    @property
    def outputs_per_group(self) -> int:
        """Rows of the logical matrix."""
        return self.outputs

    @property
    def group_input_stride(self) -> int:
        """Distance between the streamed codes of neighbouring products."""
        return self.positions_count * self.inputs

    @property
    def group_stored_stride(self) -> int:
        """Distance between the stored codes of neighbouring products."""
        return self.inputs * self.outputs

    def layout(self, has_sums: bool) -> AccumulatorLayout:
        """Return how the sums lie."""
        return AccumulatorLayout(1, self.repeat, self.positions_count, self.outputs, 1, has_sums)

    def positions(self, has_sums: bool) -> tuple[PositionAxis, ...]:
        """Return the axes of positions."""
        return (PositionAxis("p", self.positions_count, self.inputs, self.layout(has_sums).strides[2]),)

    def row_offsets(self) -> NDArray[np.int64]:
        """Return the code address of each element of an input vector, from that of its position and product."""
        return np.arange(self.inputs, dtype=np.int64)


def _require_positive(sizes: tuple[int, ...]) -> None:
    if min(sizes) < 1:
        raise ProgramError("a size of a layer is not positive", expected="sizes of at least 1")
