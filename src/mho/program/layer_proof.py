"""The proof that a layer's region computes the product that its geometry names, whatever loops and tiles it is made of.

`prove_layer` follows every loop of the region and checks each address against the geometry (`mho.program.tile_sets`),
recovers from the cells what each window adds to each position, and shows that all positions meet the same matrix
(`mho.program.matrix_recovery`). What remains free are the cells: they are the weights. The executor relies on this to
run the layer as one integer product; the interpreter does not need it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mho.arithmetic.limits import FLOAT32_LIMIT, FLOAT64_LIMIT, LARGEST_INTEGER
from mho.program.geometry import ConvGeometry, MatmulGeometry
from mho.program.instructions import Geometry, LastStep, QuantizeInput, WriteDynamicTile, WriteTile
from mho.program.layer_content import LayerContent
from mho.program.layer_region import LayerRegion
from mho.program.matrix_recovery import Matrix, assemble, read_cells
from mho.program.operand_proof import StoredOperandProof, prove_digital_product, prove_sums
from mho.program.program import Program
from mho.program.tile_sets import TileSet, find_tile_sets, largest_code
from mho.program.window_proof import prove_windows

_LARGEST_SUM = 2**62


@dataclass(frozen=True, eq=False)
class LayerProduct:
    """What a region was proven to compute; see `Dequantize` for what becomes of the sums.

    Attributes:
        name, geometry: of the layer.
        input: how the streamed codes are made.
        stored: how the stored codes are made, for a product of two activations.
        matrix: whole numbers [groups, outputs, inputs] that the streamed codes meet, the coefficients with which sums
            of inputs are taken back included; None for a product of two activations, whose matrix is the stored
            integers plus `stored_addend`.
        dequantize: the last step.
        window: positions of a window along height and width, where the region has windows; else None.
    """

    name: str
    geometry: Geometry
    input: QuantizeInput
    stored: QuantizeInput | None
    stored_addend: int
    matrix: Matrix | None
    dequantize: LastStep
    window: tuple[int, int] | None


def prove_layer(program: Program, content: LayerContent) -> LayerProduct:
    """Prove one layer's region.

    Raises:
        ProgramError: an address, a slice or a cell is not what the geometry requires; says what, names the layer.
    """
    region = LayerRegion(program, content)
    is_matmul = isinstance(region.geometry, MatmulGeometry)
    _check_buffers(region)
    _check_operands(region)
    tile_sets = find_tile_sets(region)
    _check_sizes(region, tile_sets)
    matrix, addend = (None, _prove_stored(region, tile_sets)) if is_matmul else (_recover(region, tile_sets), 0)
    return LayerProduct(
        name=content.layer.name,
        geometry=content.layer.geometry,
        input=content.quantizations[0],
        stored=content.quantizations[1] if is_matmul else None,
        stored_addend=addend,
        matrix=matrix,
        dequantize=content.dequantize,
        window=None if content.window_loops is None else prove_windows(region, tile_sets),
    )


def _check_buffers(region: LayerRegion) -> None:
    """Codes come from the first quantization, stored codes from the second, sums go where they are dequantized."""
    content, dequantize = region.content, region.content.dequantize
    is_matmul = isinstance(region.geometry, MatmulGeometry)
    region.require(len(content.quantizations) == 1 + is_matmul, "wrong number of quantized inputs")
    targets = {item.target for item in content.quantizations}
    region.require(len(targets) == len(content.quantizations), "stored codes take the place of streamed codes")
    streamed = content.quantizations[0]
    smallest = min(streamed.qmin, streamed.zero_point) + streamed.offset
    region.require(smallest >= 0, "a DAC is fed with negative codes")
    used = {dequantize.accumulators, *([dequantize.stored_sums] if dequantize.stored_sums else [])}
    region.require(set(content.cleared) == used and len(content.cleared) == len(used), "sums are not cleared once")
    region.require(not dequantize.stored_sums or is_matmul, "sums of stored vectors in a layer that stores none")
    region.require(bool(content.tiles) != bool(content.products), "no crossbar is read, or the product is taken twice")
    for use in content.tiles:
        region.require(use.load.codes == streamed.target, "rows are driven from another buffer")
        region.require(use.add.accumulators == dequantize.accumulators, "columns are added to another buffer")
        region.require(isinstance(use.write, WriteDynamicTile) == is_matmul, "a tile is written the wrong way")


def _check_operands(region: LayerRegion) -> None:
    """What is quantized has the shape and the border of the geometry."""
    geometry, buffers = region.geometry, region.program.buffers
    shapes = [buffers[item.source].shape for item in region.content.quantizations]
    pads = [item.pads for item in region.content.quantizations]
    if isinstance(geometry, ConvGeometry):
        top, left, bottom, right = geometry.pads
        is_right = shapes[0] == (geometry.batch, geometry.channels, geometry.height, geometry.width)
        is_right = is_right and pads[0] == ((0, 0), (0, 0), (top, bottom), (left, right))
    elif isinstance(geometry, MatmulGeometry):
        lead = (geometry.repeat, geometry.positions_count, geometry.inputs)
        is_right = [_matrices(shape) for shape in shapes] == [
            lead,
            (geometry.repeat, geometry.inputs, geometry.outputs),
        ]
        is_right = is_right and region.content.quantizations[1].start == 0
    else:
        vectors = (math.prod(shapes[0][:-1]), *shapes[0][-1:])
        is_right = vectors == (geometry.positions_count, geometry.inputs)
    is_right = is_right and (isinstance(geometry, ConvGeometry) or not any(any(map(any, item)) for item in pads))
    region.require(is_right, "a quantized input has another shape than the geometry")


def _matrices(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a stack of matrices with its leading axes merged."""
    return (math.prod(shape[:-2]), *shape[-2:])


def _check_sizes(region: LayerRegion, tile_sets: tuple[TileSet, ...]) -> None:
    """No sum passes 64 bits; cells and windows are at least as many as the layer's weights and positions need."""
    content, geometry = region.content, region.geometry
    codes, limit = largest_code(content.quantizations[0]), 2**region.program.accelerator.crossbar.cell_bits - 1
    weights = sum(len(tile_set.rows.sign) * _largest_weight(tile_set) * limit for tile_set in tile_sets)
    if content.products:
        weights += geometry.inputs_per_group * _largest_stored(region)
    region.require((weights + geometry.inputs_per_group) * max(1, codes) < _LARGEST_SUM, "sums may pass 64 bits")
    if not content.products:
        size = geometry.groups * geometry.outputs_per_group * geometry.inputs_per_group
        region.require(
            size <= sum(_count_cells(region, tile_set) for tile_set in tile_sets), "a weight lies in no cell"
        )
        served = sum(len(tile_set.anchors) * len(tile_set.columns.weight) for tile_set in tile_sets)
        region.require(region.positions <= served, "a position gets no sums")


def _largest_stored(region: LayerRegion) -> int:
    """Return the largest magnitude of what the digital unit multiplies codes with."""
    if region.content.quantizations[1:]:
        stored = region.content.quantizations[1]
        return max(-stored.qmin - stored.offset, largest_code(stored))
    name = region.content.products[0].instruction.stored
    region.require(name in region.program.constants, "the digital unit multiplies no matrix of weights")
    return int(np.abs(region.constant(name)).max())


def _count_cells(region: LayerRegion, tile_set: TileSet) -> int:
    write = tile_set.uses[0].write
    if isinstance(write, WriteTile):
        cells = region.program.constants[write.cells]
        return int(cells.size) // len(cells) * len(tile_set.matrices)
    return len(tile_set.rows.sign) * len(tile_set.columns.weight) * len(tile_set.matrices)


def _largest_weight(tile_set: TileSet) -> int:
    """Return the largest sum of absolute weights of the columns that one sum takes: of one window a displacement."""
    largest: dict[bytes, float] = {}
    for one in tile_set.classes():
        key, total = one.position.tobytes(), np.bincount(one.outputs, np.abs(tile_set.columns.weight[one.cols])).max()
        largest[key] = max(largest.get(key, 0.0), float(total))
    return int(sum(largest.values()))


def _recover(region: LayerRegion, tile_sets: tuple[TileSet, ...]) -> Matrix:
    """Recover the matrix of a layer with weights. Where sums of inputs are taken back, that becomes part of it."""
    matrix = _read_weights(region) if region.content.products else assemble(region, tile_sets, read_cells(region))
    channels, dequantize = region.layout.channels, region.content.dequantize
    has_digital_sums = prove_sums(region)
    if not region.layout.has_sums:
        return _checked(region, matrix)
    region.require(has_digital_sums or not region.content.products, "a sum of inputs is missing")
    sums = matrix[:, channels].astype(np.float64) + float(has_digital_sums)
    factors = region.program.constants[dequantize.sum_factors].astype(np.float64)
    largest = _magnitude(matrix) + _magnitude(factors) * _magnitude(sums)
    region.require(largest < FLOAT64_LIMIT, "weights pass 53 bits")
    if largest < FLOAT32_LIMIT and bool((factors == np.rint(factors)).all()):  # whole numbers: exact in float32 too
        narrow, few = factors.astype(np.float32), sums.astype(np.float32)
        return _checked(region, matrix[:, :channels] + narrow[:, :, None] * few[:, None, :])
    return _checked(region, matrix[:, :channels] + factors[:, :, None] * sums[:, None, :])


def _read_weights(region: LayerRegion) -> Matrix:
    """Return the weights of the digital unit; no column adds inputs up."""
    prove_digital_product(region)
    geometry = region.geometry
    weights = region.constant(region.content.products[0].instruction.stored)
    shape = region.groups, geometry.outputs_per_group, geometry.inputs_per_group
    sums = np.zeros((region.groups, int(region.layout.has_sums), geometry.inputs_per_group))
    return np.concatenate([weights.reshape(shape).astype(np.float64), sums], axis=1)


def _checked(region: LayerRegion, matrix: Matrix) -> Matrix:
    largest = _magnitude(matrix)
    region.require(largest < FLOAT32_LIMIT, f"weights up to {largest:.0f}, where at most 2^24 are exact")
    return matrix.astype(np.float32, copy=False)


def _magnitude(values: Matrix) -> float:
    return float(max(values.max(initial=0), -values.min(initial=0)))


def _prove_stored(region: LayerRegion, tile_sets: tuple[TileSet, ...]) -> int:
    """Prove that cells hold the stored operand once; return what is added to each of its integers."""
    has_digital_sums = prove_sums(region)
    if name := region.content.dequantize.sum_factors:
        region.require(np.unique(region.constant(name)).size == 1, "outputs take sums of inputs differently")
    if region.content.products:
        prove_digital_product(region)
        region.require(not region.layout.has_sums or has_digital_sums, "a sum of inputs is missing")
        return 0
    operand = StoredOperandProof(region)
    matrix = assemble(region, tile_sets, operand.read)
    matrix[:, region.layout.channels :] += float(has_digital_sums)
    region.require(bool((matrix == 1).all()), "a stored integer, or an input of a sum, is left out or taken twice")
    region.require(abs(operand.addend) <= LARGEST_INTEGER, "stored integers are moved too far")
    return operand.addend
