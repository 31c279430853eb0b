"""Patterns: several windows that share the taps of a kernel, where no rectangular window fills a crossbar well.

A crossbar whose rows hold the channels of n pixels and whose columns hold the outputs of m positions is used best
where every one of these positions reads every one of these pixels. Rectangular windows are far from that: of the 16
pixels that 2x2 positions of a 3x3 kernel read, only four are read by all. A pattern divides the taps among several
windows of n pixels and m positions, differently for neighbouring positions, so that each is denser: three windows of
four pixels and four positions, each read once, give four positions all nine taps, where rectangular windows take four
reads.

The patterns (`patterns.json`) were found by a search over sets of pixels. That they give every position every tap
exactly once is held by a test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from mho.mapping.windows import PositionGrid, TapWindow, WindowTable, list_windows


@dataclass(frozen=True)
class Pattern:
    """Windows that work together on square kernels without dilation.

    Attributes:
        kernel, stride: of the layers that it fits, along both axes.
        windows: of equally many pixels and positions.
    """

    kernel: int
    stride: int
    windows: tuple[TapWindow, ...]

    def fits(self, grid: PositionGrid) -> bool:
        """Tell whether the pattern is made for the kernel of a grid."""
        shape = (self.kernel, self.stride, 1)
        return all((axis.kernel, axis.stride, axis.dilation) == shape for axis in (grid.height, grid.width))


@cache
def list_patterns() -> tuple[Pattern, ...]:
    """Return all patterns that are known."""
    text = (files("mho.mapping") / "patterns.json").read_text(encoding="utf-8")
    return tuple(_read_pattern(content) for content in json.loads(text))


@lru_cache(maxsize=256)
def tabulate_windows(grid: PositionGrid, max_positions: int, max_pixels: int) -> WindowTable:
    """Return the windows and patterns of a layer that are worth a look.

    Args:
        grid: positions of the layer.
        max_positions: positions that one MVM may serve.
        max_pixels: pixels of one channel that one MVM may take.
    """
    alone = tuple((window,) for window in list_windows(grid, max_positions, max_pixels))
    together = tuple(
        pattern.windows
        for pattern in list_patterns()
        if pattern.fits(grid)
        and len(pattern.windows[0].positions) <= max_positions
        and len(pattern.windows[0].pixels) <= max_pixels
    )
    return WindowTable(grid, (*alone, *together))


def _read_pattern(content: dict[str, Any]) -> Pattern:
    windows, (rows, cols) = content["windows"], content["step"]
    shape = f"{len(windows[0]['pixels'])} pixels x {len(windows[0]['positions'])} positions"
    return Pattern(
        kernel=content["kernel"],
        stride=content["stride"],
        windows=tuple(
            TapWindow(
                name=shape,
                step=(rows, cols),
                pixels=tuple((y, x) for y, x in window["pixels"]),
                positions=tuple((y, x) for y, x, _ in window["positions"]),
                taps=tuple(tuple(taps) for _, _, taps in window["positions"]),
            )
            for window in windows
        ),
    )
