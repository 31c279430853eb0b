"""Windows: the input pixels and output positions that meet in one MVM.

Along each axis a window is one of two things:

- *positions*: some neighbouring output positions with every pixel that they read, once. Where kernels overlap, pixels
  are shared (SDK, VW-SDK: Rhe et al., DATE 2022). One position is the usual im2col; where kernels do not overlap
  (dense layers, 1x1 kernels, large strides), several are block-diagonal copies of the matrix.
- *pixels*: some neighbouring input pixels with every position that reads them. An MVM gives parts of sums then, and the
  next ones add to them.

Either way every product of a weight and a pixel at a position happens in exactly one window. This module owns the
geometry; it counts no cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from mho.mapping.slicing import ceil_divide
from mho.network.layers import MvmLayer

Pair = tuple[int, int]
"""Along height and width."""


class Stationary(StrEnum):
    """What a window is made of along an axis; see the module."""

    POSITIONS = "positions"
    PIXELS = "pixels"


@dataclass(frozen=True, order=True)
class Extent:
    """A window along one axis: so many neighbouring positions or pixels."""

    kind: Stationary
    count: int


@dataclass(frozen=True)
class Window:
    """A window along height and width."""

    height: Extent
    width: Extent

    def __str__(self) -> str:
        if self.height.kind is self.width.kind:
            return f"{self.height.count}x{self.width.count} {self.height.kind}"
        return f"{self.height.count} {self.height.kind} x {self.width.count} {self.width.kind}"


SINGLE = Window(Extent(Stationary.POSITIONS, 1), Extent(Stationary.POSITIONS, 1))
"""One position: im2col."""


@dataclass(frozen=True)
class Run:
    """Windows along one axis that can be swept by one loop.

    Attributes:
        first, count: numbers of the windows.
        inside: for each entry of `Axis.position_offsets`, whether that position lies in the layer (else it is dropped).
    """

    first: int
    count: int
    inside: tuple[bool, ...]


@dataclass(frozen=True)
class Axis:
    """One axis of a layer's positions.

    Attributes:
        positions: output positions. kernel, stride, dilation: position p takes pixels p * stride + tap * dilation,
            from the first pixel of the padding.
    """

    positions: int
    kernel: int
    stride: int
    dilation: int

    @property
    def pixels(self) -> int:
        """Pixels from the first that a position reads to the last."""
        return (self.positions - 1) * self.stride + (self.kernel - 1) * self.dilation + 1

    def pixel_offsets(self, extent: Extent) -> tuple[int, ...]:
        """Return the pixels that a window reads, from its origin, ascending."""
        taps = [tap * self.dilation for tap in range(self.kernel)]
        if extent.kind is Stationary.POSITIONS:
            return tuple(sorted({place * self.stride + tap for place in range(extent.count) for tap in taps}))
        used = {tap % self.stride for tap in taps}
        return tuple(pixel for pixel in range(extent.count) if pixel % self.stride in used)

    def position_offsets(self, extent: Extent) -> tuple[int, ...]:
        """Return the positions that a window serves, from its origin, ascending; those of pixels begin before it."""
        if extent.kind is Stationary.POSITIONS:
            return tuple(range(extent.count))
        taps = [tap * self.dilation for tap in range(self.kernel)]
        differences = {pixel - tap for pixel in range(extent.count) for tap in taps}
        return tuple(sorted(difference // self.stride for difference in differences if difference % self.stride == 0))

    def step(self, extent: Extent) -> int:
        """Return the positions from the origin of one window to that of the next."""
        return extent.count if extent.kind is Stationary.POSITIONS else extent.count // self.stride

    def count_windows(self, extent: Extent) -> int:
        """Return how many windows cover the axis; the last may stick out."""
        return ceil_divide(self.positions if extent.kind is Stationary.POSITIONS else self.pixels, extent.count)

    def runs(self, extent: Extent) -> tuple[Run, ...]:
        """Return all windows along the axis, as runs of those with the same positions inside of the layer."""
        offsets, step = self.position_offsets(extent), self.step(extent)
        runs: list[Run] = []
        for number in range(self.count_windows(extent)):
            inside = tuple(0 <= number * step + offset < self.positions for offset in offsets)
            if runs and runs[-1].inside == inside:
                runs[-1] = Run(runs[-1].first, runs[-1].count + 1, inside)
            else:
                runs.append(Run(number, 1, inside))
        return tuple(runs)

    def extents(self, max_positions: int, max_pixels: int) -> list[Extent]:
        """List the extents within limits that are the least for some number of windows."""
        found = []
        for kind in Stationary:
            size, unit = (self.positions, 1) if kind is Stationary.POSITIONS else (self.pixels, self.stride)
            if kind is Stationary.PIXELS and self.kernel == 1:
                continue
            counts = {ceil_divide(size, count): count for count in range(ceil_divide(size, unit) * unit, 0, -unit)}
            found += [Extent(kind, count) for count in sorted(counts.values())]
        return [
            extent
            for extent in found
            if extent.count <= max(max_positions, max_pixels)
            and len(self.position_offsets(extent)) <= max_positions
            and len(self.pixel_offsets(extent)) <= max_pixels
        ]


@dataclass(frozen=True)
class PositionGrid:
    """The positions of one repetition of a layer, and the pixels that each reads.

    Dense layers and products are grids of one row with a 1x1 kernel; so are 1x1 convolutions without stride and
    padding, whose pixels and positions lie in one line in memory.

    Attributes:
        batch: images of one sample; no window spans two.
        height, width: the axes.
    """

    batch: int
    height: Axis
    width: Axis

    @classmethod
    def of(cls, layer: MvmLayer) -> PositionGrid:
        """Return the grid of a layer. A convolution whose geometry is not told is taken for a dense layer."""
        conv = layer.conv
        if conv is None:
            return cls(1, Axis(1, 1, 1, 1), Axis(layer.positions, 1, 1, 1))
        if conv.kernel == (1, 1) and conv.strides == (1, 1) and not any(conv.pads):
            return cls(conv.batch, Axis(1, 1, 1, 1), Axis(math.prod(conv.out_size), 1, 1, 1))
        height, width = (
            Axis(conv.out_size[axis], conv.kernel[axis], conv.strides[axis], conv.dilations[axis]) for axis in (0, 1)
        )
        return cls(conv.batch, height, width)

    @property
    def taps(self) -> int:
        """Pixels that one position reads of one channel."""
        return self.height.kernel * self.width.kernel

    def pixels(self, window: Window, start: int, stop: int) -> NDArray[np.int64]:
        """Return the pixels that a window reads with taps `start` .. `stop` - 1 (row-major) of the kernel.

        Returns:
            int64 [pixels, 2]: row and column from the window's origin, in ascending order.
        """
        if not self._depends_on_taps(window):
            start, stop = 0, self.taps
        if (start, stop) == (0, self.taps):
            rows = np.array(self.height.pixel_offsets(window.height))[:, None]
            cols = np.array(self.width.pixel_offsets(window.width))[None, :]
            return np.stack(np.broadcast_arrays(rows, cols), axis=-1).reshape(-1, 2).astype(np.int64)
        y, x = np.divmod(np.arange(start, stop), self.width.kernel)
        rows = np.arange(window.height.count)[:, None, None] * self.height.stride + y * self.height.dilation
        cols = np.arange(window.width.count)[None, :, None] * self.width.stride + x * self.width.dilation
        return np.unique(np.stack(np.broadcast_arrays(rows, cols), axis=-1).reshape(-1, 2), axis=0).astype(np.int64)

    def positions(self, window: Window) -> NDArray[np.int64]:
        """Return int64 [positions, 2]: the positions that a window serves, from its origin, in ascending order."""
        rows = np.array(self.height.position_offsets(window.height))[:, None]
        cols = np.array(self.width.position_offsets(window.width))[None, :]
        return np.stack(np.broadcast_arrays(rows, cols), axis=-1).reshape(-1, 2).astype(np.int64)

    def count_windows(self, window: Window) -> int:
        """Return how many windows cover all positions; those at the edge may stick out."""
        return self.batch * self.height.count_windows(window.height) * self.width.count_windows(window.width)

    def _depends_on_taps(self, window: Window) -> bool:
        """Tell whether a part of the kernel reads fewer pixels; stationary pixels are kept whole."""
        return window.height.kind is window.width.kind is Stationary.POSITIONS


@dataclass(frozen=True, eq=False)
class WindowTable:
    """The windows of a layer that are worth a look; the first is a single position."""

    grid: PositionGrid
    windows: tuple[Window, ...]

    @cached_property
    def num_positions(self) -> NDArray[np.int64]:
        """int64 [windows]: positions that one MVM serves."""
        return self._product(lambda axis, extent: len(axis.position_offsets(extent)))

    @cached_property
    def num_pixels(self) -> NDArray[np.int64]:
        """int64 [windows]: pixels that one MVM reads of one channel."""
        return self._product(lambda axis, extent: len(axis.pixel_offsets(extent)))

    @cached_property
    def num_windows(self) -> NDArray[np.int64]:
        """int64 [windows]: windows that cover the layer."""
        return self._product(lambda axis, extent: axis.count_windows(extent)) * self.grid.batch

    def partial_pixels(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return int64 [windows]: pixels that an MVM reads with only taps `start` .. `stop` - 1 of the kernel."""
        return np.array([_count_pixels(self.grid, window, start, stop) for window in self.windows], dtype=np.int64)

    def _product(self, count: Callable[[Axis, Extent], int]) -> NDArray[np.int64]:
        known: dict[tuple[Axis, Extent], int] = {}
        sizes = []
        for window in self.windows:
            pairs = ((self.grid.height, window.height), (self.grid.width, window.width))
            for pair in pairs:
                if pair not in known:
                    known[pair] = count(*pair)
            sizes.append(known[pairs[0]] * known[pairs[1]])
        return np.array(sizes, dtype=np.int64)


@lru_cache(maxsize=256)
def list_windows(grid: PositionGrid, max_positions: int, max_pixels: int) -> WindowTable:
    """List the windows that no other beats in pixels, positions and number of windows at once.

    Args:
        grid: positions of the layer.
        max_positions: positions that one MVM may serve.
        max_pixels: pixels of one channel that one MVM may take.
    """
    heights, widths = (axis.extents(max_positions, max_pixels) for axis in (grid.height, grid.width))
    table = WindowTable(grid, tuple(Window(height, width) for height in heights for width in widths))
    sizes = np.stack([table.num_pixels, table.num_positions, table.num_windows], axis=1)
    fits = (table.num_pixels <= max_pixels) & (table.num_positions <= max_positions)
    numbers = np.flatnonzero(fits)
    kept = numbers[undominated(sizes[numbers])]
    windows = (table.windows[number] for number in kept)
    return WindowTable(grid, (SINGLE, *(window for window in windows if window != SINGLE)))


def undominated(sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which rows of `sizes` [candidates, criteria] (less is better) no other beats or, being earlier, equals."""
    kept = np.ones(len(sizes), dtype=bool)
    order = np.lexsort(sizes.T[::-1])
    ranked = sizes[order]
    best = np.empty_like(ranked)
    count = 0
    for place, row in enumerate(ranked):
        if (best[:count] <= row).all(axis=1).any():
            kept[order[place]] = False
        else:
            best[count] = row
            count += 1
    return kept


@lru_cache(maxsize=1 << 16)
def _count_pixels(grid: PositionGrid, window: Window, start: int, stop: int) -> int:
    return len(grid.pixels(window, start, stop))
