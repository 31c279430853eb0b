"""Windows: groups of neighbouring output positions that one MVM serves with shifted, duplicated kernels.

A window of height x width positions needs every input pixel that one of its positions reads, once, and one copy of the
kernel a position. Where kernels overlap, pixels are shared (SDK, VW-SDK: Rhe et al., DATE 2022); where they do not (dense
layers, 1x1 kernels, large strides), a window is the same as several block-diagonal copies of the matrix.

This module owns the geometry: which pixels a window reads, and how many windows cover a layer. It counts no cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from mho.mapping.slicing import ceil_divide
from mho.network.layers import MvmLayer

Pair = tuple[int, int]
"""Along height and width."""


@dataclass(frozen=True)
class WindowShape:
    """Output positions of one window, along height and width."""

    height: int
    width: int

    @property
    def positions(self) -> int:
        """Output positions that one MVM serves."""
        return self.height * self.width


@dataclass(frozen=True)
class PositionGrid:
    """The positions of one repetition of a layer, and the pixels that each reads.

    Dense layers and products are grids of one row with a 1x1 kernel; so are 1x1 convolutions without stride and padding,
    whose pixels and positions lie in one line in memory.

    Attributes:
        batch: images of one sample; no window spans two.
        out_size: positions along height and width.
        kernel, strides, dilations: see `mho.network.layers.ConvShape`.
    """

    batch: int
    out_size: Pair
    kernel: Pair
    strides: Pair
    dilations: Pair

    @classmethod
    def of(cls, layer: MvmLayer) -> PositionGrid:
        """Return the grid of a layer. A convolution whose geometry is not told is taken for a dense layer."""
        conv = layer.conv
        if conv is None:
            return cls(1, (1, layer.positions), (1, 1), (1, 1), (1, 1))
        if conv.kernel == (1, 1) and conv.strides == (1, 1) and not any(conv.pads):
            return cls(conv.batch, (1, math.prod(conv.out_size)), (1, 1), (1, 1), (1, 1))
        return cls(conv.batch, conv.out_size, conv.kernel, conv.strides, conv.dilations)

    @property
    def taps(self) -> int:
        """Pixels that one position reads of one channel."""
        return math.prod(self.kernel)

    def pixels(self, window: WindowShape, start: int, stop: int) -> NDArray[np.int64]:
        """Return the pixels that a window reads with taps `start` .. `stop` - 1 (row-major) of the kernel.

        Returns:
            int64 [pixels, 2]: row and column from the first pixel of the window's first position, in ascending order.
        """
        y, x = np.divmod(np.arange(start, stop), self.kernel[1])
        rows = np.arange(window.height)[:, None, None] * self.strides[0] + y * self.dilations[0]
        cols = np.arange(window.width)[None, :, None] * self.strides[1] + x * self.dilations[1]
        return np.unique(np.stack(np.broadcast_arrays(rows, cols), axis=-1).reshape(-1, 2), axis=0).astype(np.int64)

    def count_pixels(self, window: WindowShape) -> int:
        """Return how many pixels a window reads of one channel."""
        return _count_along(window.height, self, 0) * _count_along(window.width, self, 1)

    def count_windows(self, window: WindowShape) -> int:
        """Return how many windows cover all positions; those at the edge may stick out."""
        rows, cols = (ceil_divide(size, step) for size, step in zip(self.out_size, (window.height, window.width), strict=True))
        return self.batch * rows * cols


@dataclass(frozen=True, eq=False)
class WindowTable:
    """The windows that are worth a look, as arrays.

    Attributes:
        shapes: the windows; the first is a single position.
        positions, windows: int64 [shapes]: positions a window, windows that cover the layer.
        pixels: int64 [shapes]: pixels a window reads of one channel.
    """

    grid: PositionGrid
    shapes: tuple[WindowShape, ...]

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Positions a window."""
        return np.array([shape.positions for shape in self.shapes], dtype=np.int64)

    @cached_property
    def windows(self) -> NDArray[np.int64]:
        """Windows that cover the layer."""
        return np.array([self.grid.count_windows(shape) for shape in self.shapes], dtype=np.int64)

    @cached_property
    def pixels(self) -> NDArray[np.int64]:
        """Pixels a window reads of one channel."""
        return np.array([self.grid.count_pixels(shape) for shape in self.shapes], dtype=np.int64)

    def partial_pixels(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return int64 [shapes]: pixels that a window reads with only taps `start` .. `stop` - 1 of the kernel."""
        return np.array([_count_union(self.grid, shape, start, stop) for shape in self.shapes], dtype=np.int64)


def list_windows(grid: PositionGrid, *, max_positions: int, max_pixels: int) -> WindowTable:
    """List the windows that no other beats in pixels, positions and number of windows at once.

    Args:
        grid: positions of the layer.
        max_positions: positions that one MVM may serve.
        max_pixels: rows of the crossbar.
    """
    single = WindowShape(1, 1)
    heights, widths = (_useful_lengths(size, max_positions) for size in grid.out_size)
    found = {}
    for height in heights:
        if _count_along(height, grid, 0) > max_pixels:
            break
        for width in widths:
            shape = WindowShape(height, width)
            if shape.positions > max_positions or grid.count_pixels(shape) > max_pixels:
                break
            found[shape] = (grid.count_pixels(shape), shape.positions, grid.count_windows(shape))
    found.pop(single, None)
    sizes = np.array(list(found.values()), dtype=np.int64).reshape(-1, 3)
    kept = [shape for shape, is_kept in zip(found, undominated(sizes), strict=True) if is_kept]
    return WindowTable(grid, (single, *kept))


def undominated(sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which rows of `sizes` [candidates, criteria] (less is better) no other row beats or, being earlier, equals."""
    kept = np.ones(len(sizes), dtype=bool)
    order = np.lexsort(sizes.T[::-1])
    ranked = sizes[order]
    for place in range(1, len(ranked)):
        earlier = ranked[:place][kept[order[:place]]]
        kept[order[place]] = not (earlier <= ranked[place]).all(axis=1).any()
    return kept


def _useful_lengths(size: int, limit: int) -> list[int]:
    """Return the least length for each number of windows along an axis, ascending."""
    lengths = {}
    for length in range(min(size, limit), 0, -1):
        lengths[ceil_divide(size, length)] = length
    return sorted(lengths.values())


def _count_along(length: int, grid: PositionGrid, axis: int) -> int:
    """Count the pixels along one axis that `length` neighbouring positions read."""
    offsets = {
        position * grid.strides[axis] + tap * grid.dilations[axis]
        for position in range(length)
        for tap in range(grid.kernel[axis])
    }
    return len(offsets)


@lru_cache(maxsize=1 << 16)
def _count_union(grid: PositionGrid, shape: WindowShape, start: int, stop: int) -> int:
    """Count pixels without listing them: by row of pixels, the union of what the kernel's rows put there."""
    width = grid.kernel[1]
    rows: dict[int, set[Pair]] = {}
    for y in range(grid.kernel[0]):
        taps = (max(start - y * width, 0), min(stop - y * width, width))
        if taps[0] < taps[1]:
            for position in range(shape.height):
                rows.setdefault(position * grid.strides[0] + y * grid.dilations[0], set()).add(taps)
    return sum(_count_row(grid, shape.width, frozenset(ranges)) for ranges in rows.values())


def _count_row(grid: PositionGrid, width: int, ranges: frozenset[Pair]) -> int:
    taps = {tap for start, stop in ranges for tap in range(start, stop)}
    return len({x * grid.strides[1] + tap * grid.dilations[1] for x in range(width) for tap in taps})
