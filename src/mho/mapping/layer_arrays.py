"""Where a mapping puts the weights (or stored activations) of a layer: which cells of which tile, and their inputs.

Noise-aware training reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.array.layout import ArrayLayout
from mho.hardware.spec import Accelerator
from mho.mapping.cell_contents import PartContents, lay_out
from mho.mapping.encoding import CORRECTION
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.mapping.network_mapping import map_network
from mho.mapping.tiling import Tile, split_tiles
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.policy import Policy

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ArrayTile:
    """One matrix in one crossbar, and the inputs of all its windows.

    Attributes:
        groups: of the part, whose cells lie on the diagonal of one matrix.
        rows, cols: what the tile holds of that matrix.
        reads: rows of the tile that are driven at once, one MVM a step each.
        layout: of all rows of the tile; results are numbered as the columns of `sums`.
        inputs: int64 [windows, rows], which code of the padded input [channels * pixels] drives a row in a window; the
            one after the last drives nothing.
        sums: int64 [windows, results], which sum [groups * (outputs + 1) * positions] a result is added to (the last of
            each group adds inputs up); the one after the last is dropped.
    """

    groups: slice
    rows: slice
    cols: slice
    reads: tuple[slice, ...]
    layout: ArrayLayout
    inputs: Integers
    sums: Integers


@dataclass(frozen=True, eq=False)
class WeightCells:
    """The cells of one weight at one position; those of all weights of a part are alike.

    Attributes:
        integers: int64 [integers], all that it may be, rising evenly.
        digits: uint8 [integers, rows, cols], what cells hold of each; the last columns hold ones and add inputs up.
        row_sign, row_shift: int64 [rows], polarity, and bits by which the row's input slice is above the first.
        col_weight: int64 [cols], with which a column counts.
        step_shift: bits from one step of the input to the next.
        correction_cols: how many columns hold ones.
        idle_inputs: inputs of other positions and groups whose rows drive the columns of a result, where cells hold 0,
            mean over positions.
    """

    integers: Integers
    digits: NDArray[np.uint8]
    row_sign: Integers
    row_shift: Integers
    col_weight: Integers
    step_shift: int
    correction_cols: int
    idle_inputs: float


@dataclass(frozen=True, eq=False)
class ArrayPart:
    """A rectangle of a layer's logical matrix.

    Attributes:
        encode: integers [..., groups, outputs, inputs] of the whole layer to cells, uint8 [..., groups, rows, cols] of
            this part.
        groups, outputs, inputs: what of the layer it holds.
        row_sign: int64 [rows], +1 or -1.
        col_weight: int64 [cols], a signed power of two; columns of one output after the other.
        correction_cols: how many of the columns, the last, hold ones and add inputs up.
        is_plain: each weight lies in one place only and is multiplied by all bits of its input there, alone in its
            tile (no windows of several positions, no input slices side by side, no other groups).
        make_tiles: gives what is written, in order.
        cells_of_weight: gives the cells of one of its weights.
    """

    encode: Callable[[NDArray[np.integer]], NDArray[np.uint8]]
    groups: slice
    outputs: slice
    inputs: slice
    row_sign: Integers
    col_weight: Integers
    correction_cols: int
    is_plain: bool
    make_tiles: Callable[[], tuple[ArrayTile, ...]]
    cells_of_weight: Callable[[], WeightCells]


@dataclass(frozen=True, eq=False)
class LayerArrays:
    """Everything about one layer.

    Attributes:
        groups, outputs, inputs: of its logical matrix; outputs and inputs of one group.
        positions: input vectors of one image.
        pixels: of one channel of the padded input that windows may read: height and width.
        weight_offset: what cells hold above the stored integers: so many sums of codes are taken back.
        input_bits: bits of a code.
        parts: what lies on arrays.
        adc_bits: with which calibrated ADCs convert its sums; None: with all of theirs.
        is_stored: the matrix is an activation, which is written anew for each sample.
        zero_points: int64 [groups, outputs] of stored integers; None: 0.
    """

    groups: int
    outputs: int
    inputs: int
    positions: int
    pixels: tuple[int, int]
    weight_offset: int
    input_bits: int
    parts: tuple[ArrayPart, ...]
    adc_bits: int | None = None
    is_stored: bool = False
    zero_points: Integers | None = None

    @property
    def zeros(self) -> Integers:
        """The stored integer that counts as 0, of each output: int64 [groups, outputs]."""
        shape = self.groups, self.outputs
        return np.zeros(shape, dtype=np.int64) if self.zero_points is None else self.zero_points.reshape(shape)

    @property
    def offsets(self) -> Integers:
        """What lies in cells beyond the weight that is meant: so many sums of codes are taken back, int64 [groups,
        outputs].
        """
        return self.weight_offset + self.zeros

    @property
    def has_corrections(self) -> bool:
        """True where columns of ones add inputs up; else the digital unit does, exactly."""
        return any(part.correction_cols for part in self.parts)


def arrays_of_network(
    network: Network, policy: Policy, accelerator: Accelerator, model: MappingModel = DEFAULT_MODEL
) -> dict[str, LayerArrays]:
    """Map a network and return where its weights lie, by layer; layers that the digital unit multiplies are left out.

    Args:
        network: float or quantized.
        policy: bit widths of every layer.
        accelerator: what it is mapped onto.
        model: the kind of mapping.

    Raises:
        PolicyError, MappingError: as `mho.mapping.network_mapping.map_network`.
    """
    mapped = map_network(derive_layer_table(network), policy, accelerator, model)
    grids = {node.name: node.quantization for node in network.mvm_nodes}
    found = {}
    for one in mapped.layers:
        if not one.is_digital:
            grid = grids[one.layer.name]
            is_own = grid is not None and grid.weight.bits == one.bits.weight_bits
            zeros = grid.weight.zero_points if grid is not None and is_own else None
            found[one.layer.name] = arrays_of_layer(one, accelerator, zeros)
    return found


def arrays_of_layer(
    mapping: LayerMapping, accelerator: Accelerator, zero_points: NDArray[np.int64] | None = None
) -> LayerArrays:
    """Return where the weights of one layer lie, or the activations that it stores.

    Args:
        mapping: of the layer.
        accelerator: what it is mapped onto.
        zero_points: of stored integers, int64 [] or [groups * outputs]; None: 0.
    """
    layer = mapping.layer
    contents = tuple(lay_out(mapping, part, accelerator) for part in mapping.parts)
    grid = contents[0].grid
    pixels = grid.height.pixels, grid.width.pixels
    return LayerArrays(
        groups=layer.repeat,
        outputs=layer.outputs,
        inputs=layer.inputs,
        positions=grid.height.positions * grid.width.positions,
        pixels=pixels,
        weight_offset=contents[0].weight_offset,
        input_bits=mapping.bits.act_bits,
        parts=tuple(_part(one, accelerator) for one in contents),
        adc_bits=mapping.bits.adc_bits,
        is_stored=layer.is_stored_dynamically,
        zero_points=None if zero_points is None else _per_output(zero_points, layer.repeat, layer.outputs),
    )


def _per_output(zero_points: Integers, groups: int, outputs: int) -> Integers:
    shape = groups, outputs
    return np.broadcast_to(zero_points.reshape(shape if zero_points.ndim else (1, 1)), shape)


def _part(contents: PartContents, accelerator: Accelerator) -> ArrayPart:
    part = contents.part
    is_single = len(contents.grid.positions(part.window)) == 1 and contents.grid.count_windows(part.window) == (
        contents.grid.batch * contents.grid.height.positions * contents.grid.width.positions
    )
    signs = int(contents.rows.sign.min() < 0) + 1
    is_whole = part.rows == len(part.inputs) * signs
    return ArrayPart(
        encode=contents.encode,
        groups=slice(part.groups.start, part.groups.stop),
        outputs=slice(part.outputs.start, part.outputs.stop),
        inputs=slice(part.inputs.start, part.inputs.stop),
        row_sign=contents.rows.sign,
        col_weight=contents.cols.weight,
        correction_cols=part.correction_cols,
        is_plain=is_single and is_whole and part.slices_at_once == 1 and part.groups_per_tile == 1,
        make_tiles=lambda: tuple(_tiles(contents, accelerator)),
        cells_of_weight=lambda: _cells_of_weight(contents),
    )


def _cells_of_weight(contents: PartContents) -> WeightCells:
    part, one = contents.part, contents.encode_one()
    driven = _count_windows_of_position(contents) * part.rows * part.groups_per_tile / len(one.rows)
    return WeightCells(
        integers=one.integers,
        digits=one.digits,
        row_sign=contents.rows.sign[one.rows],
        row_shift=contents.rows.shift[one.rows],
        col_weight=contents.cols.weight[one.cols],
        step_shift=contents.step_shift,
        correction_cols=int((contents.cols.output[one.cols] == CORRECTION).sum()),
        idle_inputs=max(0.0, driven - len(part.inputs)),
    )


def _count_windows_of_position(contents: PartContents) -> float:
    """Return in how many windows a result gets something, mean over positions."""
    grid = contents.grid
    axes = zip(grid.sweeps(contents.part.window), (grid.height, grid.width), strict=True)
    positions = grid.positions(contents.part.window)
    found = np.ones(len(positions))
    for axis, (sweep, lines) in enumerate(axes):
        place = np.arange(sweep.count)[:, None] * sweep.step + positions[:, axis]
        found *= ((place >= 0) & (place < lines.positions)).sum(axis=0)
    return float(found.sum()) / (grid.height.positions * grid.width.positions)


def _tiles(contents: PartContents, accelerator: Accelerator) -> Iterator[ArrayTile]:
    part, rows, cols = contents.part, contents.rows, contents.cols
    inputs, sums = _inputs(contents), _sums(contents)
    if not len(inputs):  # one of the windows of a pattern, on a layer that is too small to need it
        return
    for start in range(0, len(part.groups), part.groups_per_tile):
        count = min(part.groups_per_tile, len(part.groups) - start)
        numbers = part.groups.start + start + np.arange(count)
        all_inputs = _for_groups(inputs, numbers, _code_stride(contents))
        all_sums = _for_groups(sums, numbers, _sum_stride(contents))
        lines = [np.tile(one, count) for one in (rows.sign, rows.shift, cols.weight, cols.output)]
        for block in split_tiles(count * part.rows, count * part.cols, accelerator.crossbar):
            layout, tile_sums = _lay_out_tile(contents, accelerator, block, lines, all_sums)
            yield ArrayTile(
                groups=slice(start, start + count),
                rows=slice(block.row_start, block.row_stop),
                cols=slice(block.col_start, block.col_stop),
                reads=tuple(
                    slice(first, min(first + part.rows_at_once, block.rows))
                    for first in range(0, block.rows, part.rows_at_once)
                ),
                layout=layout,
                inputs=all_inputs[:, block.row_start : block.row_stop],
                sums=tile_sums,
            )


def _lay_out_tile(
    contents: PartContents,
    accelerator: Accelerator,
    block: Tile,
    lines: list[Integers],
    all_sums: Integers,
) -> tuple[ArrayLayout, Integers]:
    """Return the layout of a tile, and the sums of its results: columns that go to the same sums are one result.

    `lines` are signs and shifts of rows, and weights and outputs of columns, of all groups of the tile.
    """
    signs, shifts, weights, outputs = lines
    rows, cols = slice(block.row_start, block.row_stop), slice(block.col_start, block.col_stop)
    sums, output = np.unique(all_sums[:, cols], axis=1, return_inverse=True)
    layout = ArrayLayout(
        row_sign=signs[rows],
        row_shift=shifts[rows],
        col_output=output.reshape(-1).astype(np.int64),
        col_weight=weights[cols],
        outputs=sums.shape[1],
        input_bits=contents.mapping.bits.act_bits,
        dac_bits=accelerator.converters.dac_bits,
        steps=contents.part.num_steps,
        step_shift=contents.step_shift,
        is_correction=outputs[cols] == CORRECTION,
    )
    return layout, np.ascontiguousarray(sums)


def _for_groups(places: Integers, groups: Integers, stride: int) -> Integers:
    """Repeat places [windows, lines] of group 0 for `groups`, [windows, groups * lines]; -1 becomes the last of all."""
    moved = places[:, None, :] + groups[None, :, None] * stride
    return np.where(places[:, None, :] < 0, -1, moved).reshape(len(places), -1)


def _code_stride(contents: PartContents) -> int:
    """Return the codes of one group's channels."""
    grid = contents.grid
    return contents.mapping.layer.inputs // grid.taps * grid.height.pixels * grid.width.pixels


def _sum_stride(contents: PartContents) -> int:
    """Return the sums of one group."""
    grid = contents.grid
    return (contents.mapping.layer.outputs + 1) * grid.height.positions * grid.width.positions


def _origins(contents: PartContents) -> Integers:
    """Return the origins of all windows of one image, in positions, int64 [windows, 2]."""
    height, width = contents.grid.sweeps(contents.part.window)
    pairs = np.indices((height.count, width.count), dtype=np.int64).reshape(2, -1).T
    origins: Integers = pairs * np.array([height.step, width.step])
    return origins


def _inputs(contents: PartContents) -> Integers:
    """Return the codes [channels, height, width] that drive rows in all windows, int64 [windows, rows]; -1: none."""
    grid, rows = contents.grid, contents.rows
    pixel = _origins(contents)[:, None] * np.array([grid.height.stride, grid.width.stride]) + rows.pixel
    size = np.array([grid.height.pixels, grid.width.pixels])
    inside = ((pixel >= 0) & (pixel < size)).all(axis=2)
    address = (rows.channel * size[0] + pixel[..., 0]) * size[1] + pixel[..., 1]
    return np.where(inside, address, -1)


def _sums(contents: PartContents) -> Integers:
    """Return the sums [outputs + 1, positions] of the columns in all windows, int64 [windows, cols]; -1: dropped."""
    grid, cols = contents.grid, contents.cols
    position = _origins(contents)[:, None] + cols.position
    size = np.array([grid.height.positions, grid.width.positions])
    inside = ((position >= 0) & (position < size)).all(axis=2)
    output = np.where(cols.output == CORRECTION, contents.mapping.layer.outputs, cols.output)
    address = (output * size[0] + position[..., 0]) * size[1] + position[..., 1]
    return np.where(inside, address, -1)
