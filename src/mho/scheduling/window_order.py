"""The windows of one layer: which of its own makes each output, and which windows of earlier layers each reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import get_ints
from mho.arithmetic.operation import RequiredWindows
from mho.arithmetic.required_windows import largest, slide_images
from mho.mapping.windows import Axis, PositionGrid
from mho.network.graph import Network, Node
from mho.scheduling.chip_layer import ChipLayer
from mho.scheduling.work_graph import Integers


class WindowOrder:
    """The windows of one layer in raster order: images, then rows of windows, then columns."""

    def __init__(self, network: Network, node: Node, own: ChipLayer) -> None:
        self._node = node
        self._in_shape, self._out_shape = network.shapes.get(node.inputs[0], ()), network.shapes[node.output]
        self._grid, self._size = PositionGrid.of(own.layer), own.window
        self._counts = tuple(-(-axis.positions // size) for axis, size in zip(self._axes, self._size, strict=True))

    def number_outputs(self) -> RequiredWindows:
        """Return for each output the number of the window that makes it, from 1 on."""
        grid, (height, width) = self._grid, self._counts
        rows, cols = (np.arange(axis.positions) // size for axis, size in zip(self._axes, self._size, strict=True))
        images = np.arange(grid.batch)[:, None, None] * (height * width)
        numbers = (images + rows[:, None] * width + cols + 1).astype(np.int32)
        return numbers.reshape(self._position_shape)

    def needs(self, required: RequiredWindows) -> Integers:
        """Return the largest number that each window reads, int64 [windows], from those of the streamed operand."""
        positions = np.broadcast_to(self._read(required), self._position_shape)
        result = positions.reshape(self._grid.batch, *(axis.positions for axis in self._axes))
        for axis, size in enumerate(self._size, start=1):
            result = np.maximum.reduceat(result, np.arange(0, result.shape[axis], size), axis=axis)
        return result.reshape(-1).astype(np.int64)

    def list_read(self) -> NDArray[np.bool_]:
        """Return which elements of the streamed operand are read at all; size 1 along axes where that is the same."""
        if self._node.op != "conv":
            return np.array(True)
        geometry = [get_ints(self._node.attributes, key) for key in ("kernel", "strides", "dilations", "pads")]
        rows, cols = (
            _list_read(self._in_shape[axis + 2], self._out_shape[axis + 2], *(values[axis] for values in geometry))
            for axis in range(2)
        )
        return np.logical_and.outer(rows, cols)

    @property
    def _axes(self) -> tuple[Axis, Axis]:
        return self._grid.height, self._grid.width

    @property
    def _position_shape(self) -> tuple[int, ...]:
        """The shape of the output with size 1 where all elements belong to one position."""
        shape = self._out_shape
        if self._node.op == "conv":
            return (shape[0], 1, *shape[2:])
        if self._node.op == "linear":
            return (*shape[:-1], 1)
        return (*(1,) * (len(shape) - 2), shape[-2], 1)

    def _read(self, required: RequiredWindows) -> RequiredWindows:
        """Return the largest number that each position reads: all groups and heads work at the same time."""
        if self._node.op == "conv":
            return slide_images(largest(required, 1), self._in_shape[2:], self._out_shape[2:], self._node.attributes)
        if self._node.op == "linear":
            return largest(required, -1)
        return largest(required, (*range(required.ndim - 2), -1))


def _list_read(size: int, count: int, kernel: int, stride: int, dilation: int, pad: int) -> NDArray[np.bool_]:
    """Return bool [size]: which pixels of one axis `count` positions read."""
    pixels = np.add.outer(np.arange(count) * stride, np.arange(kernel) * dilation) - pad
    return np.isin(np.arange(size), pixels)
