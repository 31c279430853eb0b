"""The proof that a layer's windows are what schedules take them for: blocks of positions whose sums are final.

Windows are counted in the order of their loops: images, then rows of windows, then columns. Every window gives the
whole sums of its block of neighbouring positions, those that lie in the layer; every tile has a crossbar of its own.
The windows of the digital unit are single positions.
"""

from __future__ import annotations

import numpy as np

from mho.program.instructions import WriteTile
from mho.program.layer_content import DigitalSum, DigitalUse, Loops, TileUse, collect_layers
from mho.program.layer_region import Integers, LayerRegion, evaluate, loop_values
from mho.program.program import Program
from mho.program.tile_sets import TileSet, find_tile_sets


def prove_windows(region: LayerRegion, tile_sets: tuple[TileSet, ...]) -> tuple[int, int]:
    """Return the positions of a window along height and width.

    Raises:
        ProgramError: windows are not blocks of positions in order, or tiles share a crossbar.
    """
    content = region.content
    assert content.window_loops is not None
    size = _find_size(region, tile_sets)
    anchors = list_anchors(region, size)
    for use in content.tiles:
        _check_order(region, use, content.window_loops, anchors)
    for product in content.products:
        _check_product(region, product, content.window_loops, anchors)
    for item in content.sums:
        if item.instruction.accumulators == content.dequantize.accumulators:
            _check_sum(region, item, content.window_loops, anchors, size)
    crossbars = [write.crossbar for write in content.writes]
    joins = any(isinstance(write, WriteTile) and write.joins for write in content.writes)
    region.require(len(set(crossbars)) == len(crossbars) and not joins, "tiles share a crossbar")
    used = {use.write for use in content.tiles}
    region.require(used == set(content.writes), "a tile is not that of its own crossbar, or is never read")
    return size


def _find_size(region: LayerRegion, tile_sets: tuple[TileSet, ...]) -> tuple[int, int]:
    """Every group has columns at every position of one block; the digital unit takes one position after the other."""
    if region.content.products:
        return 1, 1
    blocks = set()
    for tile_set in tile_sets:
        by_group: dict[int, set[tuple[int, ...]]] = {}
        for one in tile_set.classes():
            by_group.setdefault(one.group, set()).add(tuple(one.position.tolist()))
        blocks |= {frozenset(block) for block in by_group.values()}
    region.require(len(blocks) == 1, "groups have different windows")
    block = next(iter(blocks))
    _, height, width = (1 + max(position[axis] for position in block) for axis in range(3))
    expected = {(0, row, column) for row in range(height) for column in range(width)}
    region.require(block == expected, "a window is no block of positions")
    return height, width


def find_window_sizes(program: Program) -> dict[str, tuple[int, int]]:
    """Return the positions of a window along height and width of every layer that has windows, by name.

    Raises:
        ProgramError: windows are not blocks of positions in order, or tiles share a crossbar.
    """
    regions = [LayerRegion(program, content) for content in collect_layers(program) if content.window_loops is not None]
    return {region.content.layer.name: prove_windows(region, find_tile_sets(region)) for region in regions}


def list_anchors(region: LayerRegion, size: tuple[int, int]) -> Integers:
    """Return int64 [windows, 3]: the first position of each window, in order, for windows of `size` positions."""
    images, rows, columns = region.geometry.position_counts
    height, width = size
    loops = (("b", images), ("y", -(-rows // height)), ("x", -(-columns // width)))
    values = loop_values(loops)
    return np.stack([values["b"], values["y"] * height, values["x"] * width], axis=-1)


def _check_order(region: LayerRegion, use: TileUse, windows: Loops, anchors: Integers) -> None:
    """A tile is read in every window, at its position."""
    late = "windows are not in the order of their positions"
    region.require(use.loops[: len(windows)] == windows, "a tile is read beside the layer's window")
    values = loop_values(windows)
    region.require(all(variable in values for variable, _ in use.add.address.strides), late)
    _, found = region.locate(evaluate(use.add.address, values))
    region.require(found.shape == anchors.shape and bool((found == anchors).all()), late)


def _check_product(region: LayerRegion, item: DigitalUse, windows: Loops, anchors: Integers) -> None:
    """The vectors of a position, of all groups, are multiplied in its window."""
    late = "windows are not in the order of their positions"
    region.require(item.loops[: len(windows)] == windows, "a vector is multiplied beside the layer's window")
    _, found = region.locate(evaluate(item.instruction.target, loop_values(item.loops)))
    region.require(len(found) % len(anchors) == 0, late)
    region.require(bool((found.reshape(len(anchors), -1, 3) == anchors[:, None]).all()), late)


def _check_sum(region: LayerRegion, item: DigitalSum, windows: Loops, anchors: Integers, size: tuple[int, int]) -> None:
    """The input vectors of a window's positions are summed in that window."""
    late = "an input vector is summed in another window than it is read in"
    region.require(item.loops[: len(windows)] == windows, late)
    _, found = region.locate(evaluate(item.instruction.target, loop_values(item.loops)), region.layout.sum_offset)
    within = found.reshape(len(anchors), -1, 3) - anchors[:, None]
    limits = np.array([1, *size])
    region.require(bool(((within >= 0) & (within < limits)).all()), late)
