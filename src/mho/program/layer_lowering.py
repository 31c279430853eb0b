"""One MVM layer as instructions: quantize, write tiles, drive, read, shift and add, dequantize.

With codes u = q_x + input_offset and k = input_offset + z_x, and R inputs, the layer's exact integer result is

    sum over r of (W[o, r] - z_w[o]) * (q_x[r] - z_x)
        = sum W u  -  k * sum over r of W[o, r]  -  z_w[o] * sum over r of u[r]  +  R * k * z_w[o]

Crossbars give the first term (less what the encoding's weight offset adds, which joins z_w), the second and last are
known when compiling (for a product of two activations the sum over W is taken digitally), and the sum of u is that of
the encoding's correction column, or digital where a zero point of weights needs it and there is no such column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import LayerMapping
from mho.network.graph import Grid, Network, Node
from mho.program.geometry import ConvGeometry, MatmulGeometry, stored_places
from mho.program.instructions import (
    ClearAccumulators,
    Dequantize,
    DigitalProduct,
    Instruction,
    LastStep,
    Layer,
    QuantizeInput,
    Requantize,
    SumInputs,
    Window,
)
from mho.program.layer_content import Loops
from mho.program.layer_context import LayerContext, affine, make_context, nest
from mho.program.program import Buffer, BufferKind
from mho.program.tile_lowering import Buffers, TileCode, list_tiles, lower_resident_tiles, lower_tiles

Arrange = Callable[[tuple[TileCode, ...]], tuple[Instruction, ...]]
"""Puts the tiles of a layer into an order and onto crossbars."""


@dataclass(frozen=True)
class LoweredLayer:
    """A layer's region with the buffers and constants that it brings."""

    layer: Layer
    buffers: dict[str, Buffer]
    constants: dict[str, NDArray[Any]]


def lower_layer(
    network: Network,
    node: Node,
    accelerator: Accelerator,
    mapping: LayerMapping,
    crossbars: tuple[int, ...] | None = None,
    arrange: Arrange | None = None,
) -> LoweredLayer:
    """Lower one quantized MVM node.

    Args:
        network, node: what is computed.
        accelerator: what it runs on.
        mapping: how it lies on crossbars.
        crossbars: one for each tile, where all tiles stay (its mapping is then one of `mho.scheduling.options`), none
            for a layer of the digital unit; without them, one crossbar is used again for every tile.
        arrange: puts tiles into an order and onto crossbars, which they take in turn; instead of `crossbars`.

    Raises:
        MappingError: its grids or the accelerator do not allow it.
    """
    context = make_context(network, node, accelerator, mapping)
    body = _lower_body(context, network, accelerator, crossbars, arrange)
    # A product of the digital unit converts nothing.
    adc_bits = None if mapping.is_digital else mapping.bits.adc_bits
    return LoweredLayer(Layer(node.name, context.geometry, body, adc_bits), context.buffers, context.constants)


def _lower_body(
    context: LayerContext,
    network: Network,
    accelerator: Accelerator,
    crossbars: tuple[int, ...] | None,
    arrange: Arrange | None,
) -> tuple[Instruction, ...]:
    node, geometry, quantization = context.node, context.geometry, context.quantization
    codes = context.buffer("codes", BufferKind.CODES, context.codes_size)
    sums = context.buffer("sums", BufferKind.ACCUMULATORS, context.layout.size)
    pads: tuple[tuple[int, int], ...] = ((0, 0),) * len(network.shapes[node.inputs[0]])
    if isinstance(geometry, ConvGeometry):
        top, left, bottom, right = geometry.pads
        pads = ((0, 0), (0, 0), (top, bottom), (left, right))
    body: list[Instruction] = [
        _quantize(node.inputs[0], codes, context.first_code, quantization.input, context.input_offset, pads),
        ClearAccumulators(sums),
    ]
    stored, stored_sums, weights = "", "", None
    if isinstance(geometry, MatmulGeometry):
        stored, stored_sums = _lower_stored_operand(context, geometry, network, body)
    else:
        shape = (geometry.groups, geometry.outputs_per_group, geometry.inputs_per_group)
        weights = network.constants[node.inputs[1]].reshape(shape)
        weights = weights if weights.dtype.kind in "iu" else weights.astype(np.int32)
    buffers = Buffers(codes, stored, sums)
    if crossbars is not None:
        body += _lower_windows(context, accelerator, weights, buffers, crossbars)
    else:
        body += _lower_input_sums(context, buffers) if context.needs_digital_sums else ()
        if context.mapping.is_digital:
            loops = _position_loops(context)
            body += nest(loops, (_multiply(context, weights, buffers, loops),))
        elif arrange is None:
            body += lower_tiles(context, accelerator, weights, buffers)
        else:
            body += arrange(list_tiles(context, accelerator, weights, buffers))
    body.append(_lower_last_step(context, network, sums, stored_sums))
    return tuple(body)


def _quantize(
    source: str, target: str, start: int, grid: Grid, offset: int, pads: tuple[tuple[int, int], ...]
) -> QuantizeInput:
    return QuantizeInput(
        source,
        target,
        start,
        float(grid.scales),
        int(grid.zero_points),
        grid.qmin,
        grid.qmax,
        grid.is_binary,
        offset,
        pads,
    )


def _lower_stored_operand(
    context: LayerContext, geometry: MatmulGeometry, network: Network, body: list[Instruction]
) -> tuple[str, str]:
    """Quantize the operand that crossbars store; where codes of zero need it, sum its vectors. Return both names."""
    source = context.node.inputs[1]
    stored = context.buffer("stored", BufferKind.CODES, geometry.stored_size)
    pads = ((0, 0),) * len(network.shapes[source])
    body.append(_quantize(source, stored, 0, context.quantization.weight, 0, pads))
    if context.code_of_zero == 0:
        return stored, ""
    sums = context.buffer("stored_sums", BufferKind.ACCUMULATORS, geometry.repeat * geometry.outputs)
    offsets = context.constant("stored_vector", np.arange(geometry.inputs, dtype=np.int64) * geometry.outputs)
    loops = (("g", geometry.repeat), ("o", geometry.outputs))
    address = affine(0, {"g": geometry.group_stored_stride, "o": 1}, loops)
    item = SumInputs(stored, address, offsets, sums, affine(0, {"g": geometry.outputs, "o": 1}, loops))
    body += [ClearAccumulators(sums), *nest(loops, (item,))]
    return stored, sums


def _position_loops(context: LayerContext) -> Loops:
    """Return loops over groups and over the positions of the layer."""
    counts = zip("byx", context.geometry.position_counts, strict=True)
    return ("g", context.geometry.groups), *counts


def _code_strides(context: LayerContext) -> dict[str, int]:
    strides, (height, width) = context.geometry.code_strides, context.geometry.pixel_steps
    return {"g": strides.group, "b": strides.image, "y": strides.row * height, "x": strides.column * width}


def _sum_strides(context: LayerContext) -> dict[str, int]:
    return {"g": context.layout.strides[1], **dict(zip("byx", context.layout.position_strides, strict=True))}


def _lower_input_sums(context: LayerContext, buffers: Buffers) -> tuple[Instruction, ...]:
    loops = _position_loops(context)
    return nest(loops, (_sum_inputs(context, buffers, _code_strides(context), _sum_strides(context), loops),))


def _lower_window_sums(context: LayerContext, buffers: Buffers) -> tuple[Instruction, ...]:
    """Sum the input vectors of one window: of all of its positions, those that stick out of the layer too."""
    (contents,) = context.contents
    sweeps = contents.grid.sweeps(contents.part.window)
    sizes = {variable: len(sweep.offsets) for variable, sweep in zip("pq", sweeps, strict=True)}
    turns = {variable: sweep.count for variable, sweep in zip("yx", sweeps, strict=True)}
    codes, sums = _code_strides(context), _sum_strides(context)
    for strides in (codes, sums):
        for window, position, sweep in zip("yx", "pq", sweeps, strict=True):
            strides[position] = strides[window]
            strides[window] *= sweep.step
    inner = (("g", context.geometry.groups), *sizes.items())
    loops = (("b", contents.grid.batch), *turns.items(), *inner)
    return nest(inner, (_sum_inputs(context, buffers, codes, sums, loops),))


def _sum_inputs(
    context: LayerContext, buffers: Buffers, codes: dict[str, int], sums: dict[str, int], loops: Loops
) -> SumInputs:
    return SumInputs(
        codes=buffers.codes,
        address=affine(context.first_code, codes, loops),
        row_offsets=context.constant("input_vector", context.geometry.row_offsets()),
        accumulators=buffers.sums,
        target=affine(context.layout.origin + context.layout.sum_offset, sums, loops),
    )


def _lower_windows(
    context: LayerContext,
    accelerator: Accelerator,
    weights: NDArray[Any] | None,
    buffers: Buffers,
    crossbars: tuple[int, ...],
) -> tuple[Instruction, ...]:
    """Lower a layer that stays: its tiles and their windows; or a window a position of the digital unit."""
    if not context.mapping.is_digital:
        in_window = _lower_window_sums(context, buffers) if context.needs_digital_sums else ()
        return lower_resident_tiles(context, accelerator, weights, buffers, crossbars, in_window)
    groups, *windows = _position_loops(context)
    loops = (*windows, groups)
    body: list[Instruction] = []
    if context.needs_digital_sums:
        body.append(_sum_inputs(context, buffers, _code_strides(context), _sum_strides(context), loops))
    body.append(_multiply(context, weights, buffers, loops))
    return nest(tuple(windows), (Window(nest((groups,), tuple(body))),))


def _multiply(context: LayerContext, weights: NDArray[Any] | None, buffers: Buffers, loops: Loops) -> DigitalProduct:
    """Return the product of one vector, in loops over groups and positions."""
    geometry = context.geometry
    stored, places = buffers.stored, stored_places(geometry)
    if weights is not None:
        least, largest = int(weights.min(initial=-1)), int(weights.max(initial=0))
        narrow = np.promote_types(np.min_scalar_type(least), np.min_scalar_type(-largest - 1))
        stored = context.constant("weights", weights.reshape(-1).astype(narrow))
    return DigitalProduct(
        codes=buffers.codes,
        address=affine(context.first_code, _code_strides(context), loops),
        row_offsets=context.constant("row_offsets", geometry.row_offsets()),
        stored=stored,
        stored_address=affine(0, {"g": places.group_stride}, loops),
        stored_rows=context.constant("stored_rows", places.rows),
        stored_columns=context.constant("stored_columns", places.columns),
        accumulators=buffers.sums,
        target=affine(context.layout.origin, _sum_strides(context), loops),
        column_targets=context.constant("column_targets", places.outputs * context.layout.strides[3]),
    )


def _lower_last_step(context: LayerContext, network: Network, sums: str, stored_sums: str) -> LastStep:
    geometry, k = context.geometry, context.code_of_zero
    zero_points = context.weight_zero_points
    correction = geometry.inputs_per_group * k * zero_points
    if not isinstance(geometry, MatmulGeometry):
        weights = network.constants[context.node.inputs[1]].reshape(*zero_points.shape, -1)
        correction = correction - k * weights.sum(axis=-1, dtype=np.int64)
    bias, scaling = "", context.quantization.output
    if len(context.node.inputs) > 2 and scaling is None:
        values = network.constants[context.node.inputs[2]].astype(np.float32, copy=False)
        bias = context.constant("bias", values.reshape(correction.shape))
    factors = ""
    if context.layout.has_sums:
        factors = context.constant("sum_factors", -zero_points - context.weight_offset)
    total: dict[str, Any] = {
        "accumulators": sums,
        "target": context.node.output,
        "layout": context.layout,
        "correction": context.constant("correction", correction),
        "sum_factors": factors,
        "stored_sums": stored_sums,
        "stored_factor": -k if stored_sums else 0,
    }
    quantization = context.quantization
    if scaling is not None:
        channels = zero_points.shape
        multiplier, offset = (
            np.ascontiguousarray(np.broadcast_to(one.reshape(channels if one.ndim else (1, 1)), channels))
            for one in (scaling.multipliers, scaling.offsets)
        )
        return Requantize(
            **total, multiplier=context.constant("multiplier", multiplier), offset=context.constant("offset", offset),
            shift=scaling.shift, limit=scaling.limit, low=scaling.low, high=scaling.high,
        )  # fmt: skip
    multipliers = np.float32(quantization.input.scales) * quantization.weight.scales
    multipliers = np.broadcast_to(
        multipliers.reshape(zero_points.shape if multipliers.ndim else (1, 1)), correction.shape
    )
    return Dequantize(**total, multiplier=context.constant("multiplier", np.ascontiguousarray(multipliers)), bias=bias)
