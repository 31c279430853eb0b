"""One MVM layer as instructions: quantize, write tiles, drive, read, shift and add, dequantize.

With codes u = q_x + input_offset and k = input_offset + z_x, and R inputs, the layer's exact integer result is

    sum over r of (W[o, r] - z_w[o]) * (q_x[r] - z_x)
        = sum W u  -  k * sum over r of W[o, r]  -  z_w[o] * sum over r of u[r]  +  R * k * z_w[o]

Crossbars give the first term (less what the encoding's weight offset adds, which joins z_w), the second and last are
known when compiling (for a product of two activations the sum over W is taken digitally), and the sum of u is that of
the encoding's correction column, or digital where a zero point of weights needs it and there is no such column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.accelerator.spec import Accelerator, Encoding
from mho.arithmetic.attributes import get_int, get_ints
from mho.errors import MappingError
from mho.mapping.encoding import CORRECTION, EncodingRule, StoredRange, describe_encoding, encode_block
from mho.mapping.plan import LayerMapping, plan_layer
from mho.mapping.tiling import Tile, split_tiles
from mho.network.graph import Grid, LayerQuantization, Network, Node
from mho.network.layers import derive_layer
from mho.program.geometry import ConvGeometry, LinearGeometry, MatmulGeometry
from mho.program.instructions import (
    Affine,
    ClearAccumulators,
    Dequantize,
    Geometry,
    Instruction,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    ShiftAdd,
    Span,
    SumInputs,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.program import Buffer, BufferKind
from mho.program.tile_uses import Loops
from mho.quantization.policy import BitWidths

CROSSBAR = 0
"""The crossbar that is used again for every tile."""

_BLOCK_CELLS = 1 << 22


@dataclass(frozen=True)
class LoweredLayer:
    """A layer's region with the buffers and constants that it brings."""

    layer: Layer
    buffers: dict[str, Buffer]
    constants: dict[str, NDArray[Any]]


@dataclass
class _Context:
    """What the parts of one layer's lowering share."""

    node: Node
    quantization: LayerQuantization
    geometry: Geometry
    mapping: LayerMapping
    rule: EncodingRule
    accelerator: Accelerator
    has_sums: bool
    buffers: dict[str, Buffer] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def input_offset(self) -> int:
        """What makes the codes of the inputs unsigned."""
        return max(0, -self.quantization.input.qmin)

    @property
    def code_of_zero(self) -> int:
        """k: the code of the value 0."""
        return self.input_offset + int(self.quantization.input.zero_points)

    @property
    def needs_digital_sums(self) -> bool:
        """True where sums of inputs are needed and no correction column gives them."""
        return self.has_sums and not (self.rule.col_output == CORRECTION).any()

    @property
    def weight_zero_points(self) -> NDArray[np.int64]:
        """int64 [groups, outputs of a group]."""
        shape = (self.geometry.groups, self.geometry.outputs_per_group)
        zero_points = self.quantization.weight.zero_points
        return np.broadcast_to(zero_points.reshape(shape if zero_points.ndim else (1, 1)), shape)

    def buffer(self, role: str, kind: BufferKind, size: int) -> str:
        """Make a flat buffer of this layer and return its name."""
        name = f"{self.node.name}:{role}"
        self.buffers[name] = Buffer(kind, (size,))
        return name

    def constant(self, role: str, value: NDArray[Any]) -> str:
        """Make a constant of this layer and return its name."""
        name = f"{self.node.name}:{role}"
        self.constants[name] = value
        return name


def lower_layer(network: Network, node: Node, accelerator: Accelerator) -> LoweredLayer:
    """Lower one quantized MVM node.

    Raises:
        MappingError: its grids or the accelerator do not allow it.
    """
    assert node.quantization is not None
    try:
        context = _context(network, node, node.quantization, accelerator)
        body = _lower_body(context, network)
    except MappingError as error:
        where = f"layer {node.name}" + (f", {error.where}" if error.where else "")
        raise MappingError(error.what, where=where, expected=error.expected, hint=error.hint) from error
    return LoweredLayer(Layer(node.name, context.geometry, body), context.buffers, context.constants)


def _context(network: Network, node: Node, quantization: LayerQuantization, accelerator: Accelerator) -> _Context:
    weight = quantization.weight
    _check_input_grid(quantization.input)
    bits = BitWidths(weight.bits, quantization.input.bits)
    geometry = derive_geometry(network, node)
    mapping = plan_layer(derive_layer(network, node), bits, accelerator)
    rule = describe_encoding(
        mapping.encoding,
        outputs=geometry.outputs_per_group,
        inputs=geometry.inputs_per_group,
        num_weight_slices=mapping.num_weight_slices,
        cell_bits=accelerator.crossbar.cell_bits,
        values=StoredRange.of_grid(weight.qmin, weight.qmax, weight.bits),
    )
    has_sums = mapping.encoding is Encoding.OFFSET or bool(weight.zero_points.any())
    return _Context(node, quantization, geometry, mapping, rule, accelerator, has_sums)


def derive_geometry(network: Network, node: Node) -> Geometry:
    """Derive which codes meet which weights."""
    shape = network.shapes[node.inputs[0]]
    if node.op == "conv":
        batch, channels, height, width = shape
        outputs = network.constants[node.inputs[1]].shape[0]
        kernel, strides = get_ints(node.attributes, "kernel"), get_ints(node.attributes, "strides")
        top, left, bottom, right = get_ints(node.attributes, "pads")
        dilations, groups = get_ints(node.attributes, "dilations"), get_int(node.attributes, "groups")
        return ConvGeometry(
            batch,
            channels,
            height,
            width,
            outputs,
            (kernel[0], kernel[1]),
            (strides[0], strides[1]),
            (top, left, bottom, right),
            (dilations[0], dilations[1]),
            groups,
        )
    if node.op == "linear":
        outputs, inputs = network.constants[node.inputs[1]].shape
        return LinearGeometry(math.prod(shape[:-1]), inputs, outputs)
    stored = network.shapes[node.inputs[1]]
    return MatmulGeometry(math.prod(shape[:-2]), shape[-2], shape[-1], stored[-1])


def _check_input_grid(grid: Grid) -> None:
    offset, limit = max(0, -grid.qmin), (1 << grid.bits) - 1
    codes = (grid.qmin + offset, grid.qmax + offset, int(grid.zero_points) + offset)
    if min(codes) < 0 or max(codes) > limit:
        raise MappingError(
            f"inputs {grid.qmin}..{grid.qmax} with zero point {int(grid.zero_points)} do not fit {grid.bits} bit(s)",
            expected=f"codes 0..{limit} once the smallest integer is moved to 0",
            hint="quantize the layer's input on a grid of as many integers as its bits tell",
        )


def _lower_body(context: _Context, network: Network) -> tuple[Instruction, ...]:
    node, geometry = context.node, context.geometry
    layout = geometry.layout(context.has_sums)
    codes = context.buffer("codes", BufferKind.CODES, geometry.codes_size)
    sums = context.buffer("sums", BufferKind.ACCUMULATORS, layout.size)
    pads: tuple[tuple[int, int], ...] = ((0, 0),) * len(network.shapes[node.inputs[0]])
    if isinstance(geometry, ConvGeometry):
        top, left, bottom, right = geometry.pads
        pads = ((0, 0), (0, 0), (top, bottom), (left, right))
    body: list[Instruction] = [
        _quantize(node.inputs[0], codes, context.quantization.input, context.input_offset, pads),
        ClearAccumulators(sums),
    ]
    stored_sums = ""
    if isinstance(geometry, MatmulGeometry):
        stored_sums = _lower_stored_operand(context, geometry, network, body)
    if context.needs_digital_sums:
        body.append(_lower_input_sums(context, codes, sums))
    body.extend(_lower_tiles(context, network, codes, sums))
    body.append(_lower_dequantize(context, network, sums, stored_sums))
    return tuple(body)


def _quantize(source: str, target: str, grid: Grid, offset: int, pads: tuple[tuple[int, int], ...]) -> QuantizeInput:
    return QuantizeInput(
        source, target, float(grid.scales), int(grid.zero_points), grid.qmin, grid.qmax, grid.is_binary, offset, pads
    )  # fmt: skip


def _lower_stored_operand(
    context: _Context, geometry: MatmulGeometry, network: Network, body: list[Instruction]
) -> str:
    """Quantize the operand that crossbars store; where codes of zero need it, sum its vectors into what is returned."""
    source = context.node.inputs[1]
    stored = context.buffer("stored", BufferKind.CODES, geometry.stored_size)
    pads = ((0, 0),) * len(network.shapes[source])
    body.append(_quantize(source, stored, context.quantization.weight, 0, pads))
    if context.code_of_zero == 0:
        return ""
    sums = context.buffer("stored_sums", BufferKind.ACCUMULATORS, geometry.repeat * geometry.outputs)
    offsets = context.constant("stored_vector", np.arange(geometry.inputs, dtype=np.int64) * geometry.outputs)
    loops = (("g", geometry.repeat), ("o", geometry.outputs))
    address = affine({"g": geometry.group_stored_stride, "o": 1}, loops)
    item = SumInputs(stored, address, offsets, sums, affine({"g": geometry.outputs, "o": 1}, loops))
    body += [ClearAccumulators(sums), *nest(loops, (item,))]
    return sums


def _lower_input_sums(context: _Context, codes: str, sums: str) -> Instruction:
    geometry = context.geometry
    offsets = context.constant("input_vector", geometry.row_offsets())
    source, target = _addresses(context)
    target = Affine(geometry.layout(True).sum_offset, target.strides)
    (loop,) = nest(
        (_group_loop(context), *_position_loops(context)), (SumInputs(codes, source, offsets, sums, target),)
    )
    return loop


def _lower_tiles(context: _Context, network: Network, codes: str, sums: str) -> tuple[Instruction, ...]:
    rule, geometry, dac_bits = context.rule, context.geometry, context.accelerator.converters.dac_bits
    layout = geometry.layout(context.has_sums)
    is_correction = rule.col_output == CORRECTION
    addends = np.where(is_correction, layout.sum_offset, rule.col_output * np.int64(layout.after))
    row_offsets = context.constant("row_offsets", geometry.row_offsets()[rule.row_input])
    row_signs = context.constant("row_signs", rule.row_sign)
    column_offsets = context.constant("column_offsets", addends)
    column_weights = context.constant("column_weights", rule.col_weight)
    source, target = _addresses(context)
    slices = ("s", context.mapping.num_input_slices)
    shift = affine({"s": dac_bits}, (slices,))
    make_write = _stored_writer(context) if isinstance(geometry, MatmulGeometry) else _weight_writer(context, network)
    body: list[Instruction] = []
    for tile in split_tiles(rule.rows, rule.cols, context.accelerator.crossbar):
        rows, cols = Span(tile.row_start, tile.row_stop), Span(tile.col_start, tile.col_stop)
        read = (
            LoadInput(CROSSBAR, codes, source, row_offsets, row_signs, rows, shift, dac_bits),
            Mvm(CROSSBAR),
            ShiftAdd(CROSSBAR, sums, target, column_offsets, column_weights, cols, shift),
        )
        body += [make_write(rows, cols), *nest((*_position_loops(context), slices), read)]
    return nest((_group_loop(context),), tuple(body))


def _weight_writer(context: _Context, network: Network) -> Callable[[Span, Span], Instruction]:
    """Encode the layer's weights once; return what writes a tile of them."""
    geometry, rule = context.geometry, context.rule
    weights = network.constants[context.node.inputs[1]]
    shape = (geometry.groups, geometry.outputs_per_group, geometry.inputs_per_group)
    matrices = weights.reshape(shape).astype(np.int32, copy=False)
    cells = np.empty((geometry.groups, rule.rows, rule.cols), np.uint8)
    step = max(1, _BLOCK_CELLS // (rule.rows * geometry.groups))
    for start in range(0, rule.cols, step):
        tile = Tile(0, rule.rows, start, min(start + step, rule.cols))
        cells[:, :, start : tile.col_stop] = encode_block(matrices, rule.block(tile))
    name = context.constant("cells", cells)
    index = affine({"g": 1}, (_group_loop(context),))
    return lambda rows, cols: WriteTile(CROSSBAR, name, index, rows, cols)


def _stored_writer(context: _Context) -> Callable[[Span, Span], Instruction]:
    """Return what writes a tile of the operand that is known only when it runs."""
    geometry, rule = context.geometry, context.rule
    assert isinstance(geometry, MatmulGeometry)
    columns = np.where(rule.col_output == CORRECTION, -1, rule.col_output).astype(np.int64)
    write = WriteDynamicTile(
        crossbar=CROSSBAR,
        codes=f"{context.node.name}:stored",
        address=affine({"g": geometry.group_stored_stride}, (_group_loop(context),)),
        row_offsets=context.constant("stored_row_offsets", rule.row_input.astype(np.int64) * geometry.outputs),
        row_signs=f"{context.node.name}:row_signs",
        column_offsets=context.constant("stored_column_offsets", columns),
        column_signs=context.constant("column_signs", rule.col_sign),
        column_shifts=context.constant("column_shifts", rule.col_shift),
        addend=rule.weight_offset,
        cell_bits=rule.cell_bits,
        rows=Span(0, rule.rows),
        cols=Span(0, rule.cols),
    )
    return lambda rows, cols: replace(write, rows=rows, cols=cols)


def _lower_dequantize(context: _Context, network: Network, sums: str, stored_sums: str) -> Dequantize:
    geometry, k = context.geometry, context.code_of_zero
    zero_points = context.weight_zero_points
    correction = geometry.inputs_per_group * k * zero_points
    if not isinstance(geometry, MatmulGeometry):
        weights = network.constants[context.node.inputs[1]].reshape(*zero_points.shape, -1)
        correction = correction - k * weights.sum(axis=-1, dtype=np.int64)
    quantization = context.quantization
    multipliers = np.float32(quantization.input.scales) * quantization.weight.scales
    multipliers = np.broadcast_to(
        multipliers.reshape(zero_points.shape if multipliers.ndim else (1, 1)), correction.shape
    )
    bias = ""
    if len(context.node.inputs) > 2:
        values = network.constants[context.node.inputs[2]].astype(np.float32, copy=False)
        bias = context.constant("bias", values.reshape(correction.shape))
    factors = ""
    if context.has_sums:
        factors = context.constant("sum_factors", -zero_points - context.rule.weight_offset)
    return Dequantize(
        accumulators=sums,
        target=context.node.output,
        layout=geometry.layout(context.has_sums),
        correction=context.constant("correction", correction),
        sum_factors=factors,
        stored_sums=stored_sums,
        stored_factor=-k if stored_sums else 0,
        multiplier=context.constant("multiplier", np.ascontiguousarray(multipliers)),
        bias=bias,
    )


def _addresses(context: _Context) -> tuple[Affine, Affine]:
    """Return the address of the codes and of the sums of a position and group."""
    geometry, loops = context.geometry, (_group_loop(context), *_position_loops(context))
    axes = geometry.positions(context.has_sums)
    source = {"g": geometry.group_input_stride, **{axis.name: axis.input_stride for axis in axes}}
    target = {
        "g": geometry.layout(context.has_sums).strides[1],
        **{axis.name: axis.output_stride for axis in axes},
    }
    return affine(source, loops), affine(target, loops)


def _group_loop(context: _Context) -> tuple[str, int]:
    return "g", context.geometry.groups


def _position_loops(context: _Context) -> Loops:
    return tuple((axis.name, axis.count) for axis in context.geometry.positions(context.has_sums))


def affine(strides: dict[str, int], loops: Loops) -> Affine:
    """Return the address that starts at 0 and moves with `loops`; those of one turn do not occur, see `nest`."""
    turning = {variable for variable, count in loops if count > 1}
    return Affine(0, tuple((variable, stride) for variable, stride in strides.items() if variable in turning))


def nest(loops: Loops, body: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
    """Enclose `body` in loops, outermost first; a loop of one turn is left out (its variable is then in no address)."""
    for variable, count in reversed(loops):
        if count > 1:
            body = (Loop(variable, count, body),)
    return body
