"""Which codes meet which weights, and where their sums go: the geometry of an MVM layer.

A layer multiplies, for each of its groups, a logical matrix [outputs, inputs] with one input vector a position.
Positions form a grid of three axes: images, rows and columns (dense layers and products have one row). In all
geometries an element of an input vector has the address (position) + (group) + (input), and a sum has the address
(position) + (group) + (output); the classes say what these parts are. Lowering generates addresses from them,
verification checks the generated addresses against them, and the executor recognises the product by them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.errors import ProgramError

Shape = tuple[int, int, int, int, int, int]

NO_MARGINS = (0, 0, 0, 0)


@dataclass(frozen=True)
class AccumulatorLayout:
    """Sums laid out as [batch, groups, lines, channels (+ 1 if has_sums), rows, columns], row-major.

    This is the order of the layer's output, so that dequantizing is elementwise. Positions lie either along rows and
    columns (convolutions) or along lines (dense layers and products). With `has_sums` the last channel of each group
    holds the sum of the input vector instead of an output.

    Attributes:
        batch, groups, lines, channels, rows, columns: extents of what the layer makes.
        has_sums: see above.
        margins: positions before and after the rows, and before and after the columns, whose sums are dropped: those
            of windows that stick out of the layer. Where positions lie along lines, those before and after the lines
            take the place of those of the columns.
    """

    batch: int
    groups: int
    lines: int
    channels: int
    rows: int
    columns: int
    has_sums: bool
    margins: tuple[int, int, int, int] = NO_MARGINS

    def __post_init__(self) -> None:
        sizes = (self.batch, self.groups, self.lines, self.channels, self.rows, self.columns)
        if min(sizes) < 1 or min(self.margins) < 0 or (self.lines > 1 and self.rows * self.columns > 1):
            raise ProgramError("an impossible layout of sums", expected="positive extents, no negative margins")

    @property
    def is_linear(self) -> bool:
        """True where positions lie along lines."""
        return self.rows * self.columns == 1

    @property
    def shape(self) -> Shape:
        """The shape of the sums, margins included."""
        top, bottom, left, right = self.margins
        lines, columns = self.lines, self.columns
        if self.is_linear:
            lines += left + right
        else:
            columns += left + right
        return self.batch, self.groups, lines, self.channels + int(self.has_sums), self.rows + top + bottom, columns

    @property
    def size(self) -> int:
        """How many sums there are, margins included."""
        return math.prod(self.shape)

    @property
    def strides(self) -> Shape:
        """The distance between neighbours along each axis."""
        _, groups, lines, channels, rows, columns = self.shape
        channel = rows * columns
        line = channels * channel
        return groups * lines * line, lines * line, line, channel, columns, 1

    @property
    def position_strides(self) -> tuple[int, int, int]:
        """The distance between the sums of neighbouring images, rows and columns of positions."""
        batch, _, line, _, row, column = self.strides
        return batch, row, line if self.is_linear else column

    @property
    def position_shape(self) -> tuple[int, int, int]:
        """Images, rows and columns of positions, margins included."""
        batch, _, lines, _, rows, columns = self.shape
        return batch, rows, lines if self.is_linear else columns

    @property
    def origin(self) -> int:
        """Where the sums of the first position stand."""
        _, row, column = self.position_strides
        return self.margins[0] * row + self.margins[2] * column

    @property
    def sum_offset(self) -> int:
        """Where the sum of the input vector stands, from the address of the position and group."""
        return self.channels * self.strides[3]

    @property
    def inside(self) -> tuple[slice, ...]:
        """Return what takes the layer's outputs (and no sums of inputs) from an array [..., *shape]."""
        top, _, left, _ = self.margins
        lines, columns = (left, 0) if self.is_linear else (0, left)
        starts = (0, 0, lines, 0, top, columns)
        sizes = (self.batch, self.groups, self.lines, self.channels, self.rows, self.columns)
        return tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))


@dataclass(frozen=True)
class CodeStrides:
    """How far apart codes lie.

    Attributes:
        image, group, channel: of neighbouring images, groups, and channels of a group (inputs of dense layers).
        row, column: of neighbouring rows and columns of pixels (of positions of dense layers).
    """

    image: int
    group: int
    channel: int
    row: int
    column: int


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
    def is_line(self) -> bool:
        """True for a 1x1 kernel without strides and pads: positions then lie in one line, as the codes do."""
        return self.kernel == (1, 1) and self.strides == (1, 1) and not any(self.pads)

    @property
    def position_counts(self) -> tuple[int, int, int]:
        """Images, rows and columns of positions."""
        height, width = self.out_size
        return (self.batch, 1, height * width) if self.is_line else (self.batch, height, width)

    @property
    def code_strides(self) -> CodeStrides:
        """How far apart codes lie."""
        channel, channels = math.prod(self.padded), self.channels // self.groups
        return CodeStrides(self.channels * channel, channels * channel, channel, self.padded[1], 1)

    @property
    def pixel_steps(self) -> tuple[int, int]:
        """Rows and columns of pixels from one position to the next."""
        return self.strides

    def layout(self, *, has_sums: bool, margins: tuple[int, int, int, int] = NO_MARGINS) -> AccumulatorLayout:
        """Return how the sums lie."""
        _, rows, columns = self.position_counts
        return AccumulatorLayout(self.batch, self.groups, 1, self.outputs_per_group, rows, columns, has_sums, margins)

    def row_offsets(self) -> NDArray[np.int64]:
        """Return the ascending code addresses of an input vector, from that of its position and group."""
        strides = self.code_strides
        channel = np.arange(self.channels // self.groups, dtype=np.int64)[:, None, None] * strides.channel
        y = np.arange(self.kernel[0], dtype=np.int64)[:, None] * (self.dilations[0] * strides.row)
        x = np.arange(self.kernel[1], dtype=np.int64) * self.dilations[1]
        return (channel + y + x).reshape(-1)


class _VectorGeometry:
    """What dense layers and products of activations share: positions in one line, and one vector of inputs for each."""

    positions_count: int
    inputs: int
    outputs: int

    pixel_steps = (1, 1)

    @property
    def groups(self) -> int:
        """How many matrices there are."""
        return 1

    @property
    def codes_size(self) -> int:
        """How many codes the layer reads, or a product streams."""
        return self.groups * self.positions_count * self.inputs

    @property
    def inputs_per_group(self) -> int:
        """Length of an input vector."""
        return self.inputs

    @property
    def outputs_per_group(self) -> int:
        """Rows of the logical matrix."""
        return self.outputs

    @property
    def position_counts(self) -> tuple[int, int, int]:
        """Images, rows and columns of positions."""
        return 1, 1, self.positions_count

    @property
    def code_strides(self) -> CodeStrides:
        """How far apart codes lie."""
        return CodeStrides(self.codes_size, self.positions_count * self.inputs, 1, 0, self.inputs)

    def layout(self, *, has_sums: bool, margins: tuple[int, int, int, int] = NO_MARGINS) -> AccumulatorLayout:
        """Return how the sums lie."""
        return AccumulatorLayout(1, self.groups, self.positions_count, self.outputs, 1, 1, has_sums, margins)

    def row_offsets(self) -> NDArray[np.int64]:
        """Return the ascending code addresses of an input vector, from that of its position and group."""
        return np.arange(self.inputs, dtype=np.int64)


@dataclass(frozen=True)
class LinearGeometry(_VectorGeometry):
    """A dense layer: codes [positions, inputs], sums [positions, outputs]."""

    positions_count: int
    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        _require_positive((self.positions_count, self.inputs, self.outputs))


@dataclass(frozen=True)
class MatmulGeometry(_VectorGeometry):
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
    def stored_size(self) -> int:
        """How many codes are stored in crossbars."""
        return self.repeat * self.inputs * self.outputs

    @property
    def group_stored_stride(self) -> int:
        """Distance between the stored codes of neighbouring products."""
        return self.inputs * self.outputs


def _require_positive(sizes: tuple[int, ...]) -> None:
    if min(sizes) < 1:
        raise ProgramError("a size of a layer is not positive", expected="sizes of at least 1")


@dataclass(frozen=True, eq=False)
class StoredPlaces:
    """Where the digital unit finds the matrix that an input vector meets.

    Attributes:
        group_stride: from the first integer of a group to that of the next.
        rows, columns: int64 [inputs] and [outputs], that add up to the place of each integer of a group.
    """

    group_stride: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    @property
    def outputs(self) -> NDArray[np.int64]:
        """The numbers of the outputs."""
        return np.arange(len(self.columns), dtype=np.int64)


def stored_places(geometry: ConvGeometry | LinearGeometry | MatmulGeometry) -> StoredPlaces:
    """Return the places of stored codes [groups, inputs, outputs], or of weights [groups, outputs, inputs]."""
    inputs = np.arange(geometry.inputs_per_group, dtype=np.int64)
    outputs = np.arange(geometry.outputs_per_group, dtype=np.int64)
    if isinstance(geometry, MatmulGeometry):
        return StoredPlaces(geometry.group_stored_stride, inputs * geometry.outputs, outputs)
    return StoredPlaces(len(inputs) * len(outputs), inputs, outputs * len(inputs))
