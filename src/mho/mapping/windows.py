"""Windows: the input pixels and output positions that meet in one MVM.

Along each axis a window is one of two things:

- *positions*: some neighbouring output positions with every pixel that they read, once. Where kernels overlap, pixels
  are shared (SDK, VW-SDK: Rhe et al., DATE 2022). One position is the usual im2col; where kernels do not overlap
  (dense layers, 1x1 kernels, large strides), several are block-diagonal copies of the matrix.
- *pixels*: some neighbouring input pixels with every position that reads them. An MVM gives parts of sums then, and the
  next ones add to them.

Or several windows work together in patterns of their own, see `mho.mapping.window_patterns`.

Either way every product of a weight and a pixel at a position happens in exactly one window. This module owns the
geometry; it counts no cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from mho.formats import plural
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
        return f"{_tell_extent(self.height)} x {_tell_extent(self.width)}"


def _tell_extent(extent: Extent) -> str:
    return plural(extent.count, extent.kind.removesuffix("s"))


@dataclass(frozen=True)
class TapWindow:
    """A window that tells every product it makes: one of those that make a pattern.

    Attributes:
        name: for people.
        step: positions from the origin of one window to that of the next.
        pixels: row and column of each pixel, from the origin (in pixels).
        positions: row and column of each position, from the origin; along each axis the largest lies in 0 .. step - 1,
            so that the windows from number 0 on reach every position.
        taps: for each of `positions`, the taps of the kernel (row-major) that this window gives it.
    """

    name: str
    step: Pair
    pixels: tuple[Pair, ...]
    positions: tuple[Pair, ...]
    taps: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        return self.name


AnyWindow = Window | TapWindow

SINGLE = Window(Extent(Stationary.POSITIONS, 1), Extent(Stationary.POSITIONS, 1))
"""One position: im2col."""


@dataclass(frozen=True)
class Run:
    """Windows along one axis that can be swept by one loop.

    Attributes:
        first, count: numbers of the windows.
        inside: for each of the sweep's offsets, whether that position lies in the layer (else it is dropped).
    """

    first: int
    count: int
    inside: tuple[bool, ...]


@dataclass(frozen=True)
class Sweep:
    """How windows follow each other along one axis: number n has its origin at position n * step.

    Attributes:
        positions: output positions of the axis.
        step: positions from one origin to the next.
        offsets: positions that a window serves, from its origin, ascending.
        count: windows; together they serve every position with every one of the offsets that reach it.
    """

    positions: int
    step: int
    offsets: tuple[int, ...]
    count: int

    def runs(self) -> tuple[Run, ...]:
        """Return all windows, as runs of those with the same positions inside of the layer."""
        runs: list[Run] = []
        for number in range(self.count):
            inside = tuple(0 <= number * self.step + offset < self.positions for offset in self.offsets)
            if runs and runs[-1].inside == inside:
                runs[-1] = Run(runs[-1].first, runs[-1].count + 1, inside)
            else:
                runs.append(Run(number, 1, inside))
        return tuple(runs)


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

    def sweep(self, extent: Extent) -> Sweep:
        """Return how windows follow each other."""
        step = extent.count if extent.kind is Stationary.POSITIONS else extent.count // self.stride
        return Sweep(self.positions, step, self.position_offsets(extent), self.count_windows(extent))

    def count_windows(self, extent: Extent) -> int:
        """Return how many windows cover the axis; the last may stick out."""
        return ceil_divide(self.positions if extent.kind is Stationary.POSITIONS else self.pixels, extent.count)

    def extents(self, max_positions: int, max_pixels: int) -> list[Extent]:
        """List the extents within limits that are the least for some number of windows."""
        found = []
        for kind in Stationary:
            size, unit = (self.positions, 1) if kind is Stationary.POSITIONS else (self.pixels, self.stride)
            if kind is Stationary.PIXELS and self.kernel == 1:
                continue
            # What any window of the kind has at least, and its largest count: long axes and kernels are not walked.
            if kind is Stationary.POSITIONS:
                fits, largest = self.kernel <= max_pixels, max_positions
            else:
                fits = len({tap * self.dilation // self.stride for tap in range(self.kernel)}) <= max_positions
                largest = max(max_positions, max_pixels)
            top = min(ceil_divide(size, unit), largest // unit) * unit if fits else 0
            counts = {ceil_divide(size, count): count for count in range(top, 0, -unit)}
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
        """Return the grid of a layer. A convolution without a geometry is taken for a dense layer."""
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

    def sweeps(self, window: AnyWindow) -> tuple[Sweep, Sweep]:
        """Return how windows follow each other along height and width, in every image."""
        if isinstance(window, Window):
            return self.height.sweep(window.height), self.width.sweep(window.width)
        height, width = (
            _sweep_offsets(axis.positions, window.step[number], {position[number] for position in window.positions})
            for number, axis in enumerate((self.height, self.width))
        )
        return height, width

    def count_windows(self, window: AnyWindow) -> int:
        """Return how many windows cover all positions; those at the edge may stick out."""
        height, width = self.sweeps(window)
        return self.batch * height.count * width.count

    def pixels(self, window: AnyWindow, start: int, stop: int) -> NDArray[np.int64]:
        """Return the pixels that a window reads with taps `start` .. `stop` - 1 (row-major) of the kernel.

        Returns:
            int64 [pixels, 2]: row and column from the window's origin, in ascending order.
        """
        if isinstance(window, TapWindow):
            return np.array(window.pixels, dtype=np.int64)
        if (start, stop) == (0, self.taps) or not self._depends_on_taps(window):
            return _pairs(self.height.pixel_offsets(window.height), self.width.pixel_offsets(window.width))
        y, x = np.divmod(np.arange(start, stop), self.width.kernel)
        rows = np.arange(window.height.count)[:, None, None] * self.height.stride + y * self.height.dilation
        cols = np.arange(window.width.count)[None, :, None] * self.width.stride + x * self.width.dilation
        return np.unique(np.stack(np.broadcast_arrays(rows, cols), axis=-1).reshape(-1, 2), axis=0).astype(np.int64)

    def positions(self, window: AnyWindow) -> NDArray[np.int64]:
        """Return int64 [positions, 2]: the positions that a window serves, from its origin, in ascending order."""
        if isinstance(window, TapWindow):
            return np.array(window.positions, dtype=np.int64)
        return _pairs(self.height.position_offsets(window.height), self.width.position_offsets(window.width))

    def tap(self, window: AnyWindow, pixel: Pair, position: Pair) -> int | None:
        """Return the tap with which a position reads a pixel in a window, both from its origin; None for none."""
        taps = []
        for axis, pixel_along, position_along in zip((self.height, self.width), pixel, position, strict=True):
            distance = pixel_along - position_along * axis.stride
            if distance % axis.dilation or not 0 <= distance // axis.dilation < axis.kernel:
                return None
            taps.append(distance // axis.dilation)
        tap = taps[0] * self.width.kernel + taps[1]
        if isinstance(window, TapWindow) and tap not in window.taps[window.positions.index(position)]:
            return None
        return tap

    def _depends_on_taps(self, window: Window) -> bool:
        """Tell whether a part of the kernel reads fewer pixels; stationary pixels are kept whole."""
        return window.height.kind is window.width.kind is Stationary.POSITIONS


@dataclass(frozen=True, eq=False)
class WindowTable:
    """The windows of a layer that are worth a look, each alone or as a pattern of several that work together.

    Windows of one pattern have equally many pixels and positions. The first entry is a single position.
    """

    grid: PositionGrid
    patterns: tuple[tuple[AnyWindow, ...], ...]

    @cached_property
    def num_kinds(self) -> NDArray[np.int64]:
        """int64 [patterns]: windows of a pattern."""
        return np.array([len(pattern) for pattern in self.patterns], dtype=np.int64)

    @cached_property
    def num_positions(self) -> NDArray[np.int64]:
        """int64 [patterns]: positions that one MVM serves."""
        return np.array([len(self.grid.positions(pattern[0])) for pattern in self.patterns], dtype=np.int64)

    @cached_property
    def num_pixels(self) -> NDArray[np.int64]:
        """int64 [patterns]: pixels that one MVM reads of one channel."""
        return self.partial_pixels(0, self.grid.taps)

    @cached_property
    def num_windows(self) -> NDArray[np.int64]:
        """int64 [patterns]: windows that cover the layer, of all kinds."""
        counts = [sum(map(self.grid.count_windows, pattern)) for pattern in self.patterns]
        return np.array(counts, dtype=np.int64)

    def partial_pixels(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return int64 [patterns]: pixels that an MVM reads with only taps `start` .. `stop` - 1 of the kernel."""
        counts = [_count_pixels(self.grid, pattern[0], start, stop) for pattern in self.patterns]
        return np.array(counts, dtype=np.int64)


@lru_cache(maxsize=256)
def list_windows(grid: PositionGrid, max_positions: int, max_pixels: int) -> tuple[Window, ...]:
    """List the windows that no other beats in pixels, positions and number of windows at once, single positions first.

    Args:
        grid: positions of the layer.
        max_positions: positions that one MVM may serve.
        max_pixels: pixels of one channel that one MVM may take.
    """
    axes = (grid.height, grid.width)
    extents = [axis.extents(max_positions, max_pixels) for axis in axes]
    pixels, positions, windows = (
        np.multiply.outer(
            *([count(axis, extent) for extent in found] for axis, found in zip(axes, extents, strict=True))
        )
        for count in (_count_pixel_offsets, _count_position_offsets, Axis.count_windows)
    )
    fits = np.argwhere((pixels <= max_pixels) & (positions <= max_positions))
    sizes = np.stack([counts[tuple(fits.T)] for counts in (pixels, positions, windows)], axis=1)
    kept = fits[undominated(sizes)].tolist()
    found = [Window(extents[0][height], extents[1][width]) for height, width in kept]
    return (SINGLE, *(window for window in found if window != SINGLE))


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
def _count_pixels(grid: PositionGrid, window: AnyWindow, start: int, stop: int) -> int:
    return len(grid.pixels(window, start, stop))


def _count_pixel_offsets(axis: Axis, extent: Extent) -> int:
    return len(axis.pixel_offsets(extent))


def _count_position_offsets(axis: Axis, extent: Extent) -> int:
    return len(axis.position_offsets(extent))


def _pairs(rows: tuple[int, ...], cols: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array([(row, col) for row in rows for col in cols], dtype=np.int64)


def _sweep_offsets(positions: int, step: int, offsets: set[int]) -> Sweep:
    """Sweep from the first window with a position in the layer, whose number is 0, to the last."""
    last = (positions - 1 - min(offsets)) // step
    return Sweep(positions, step, tuple(sorted(offsets)), last + 1)
