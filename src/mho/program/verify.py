"""What must hold of a program before it runs, on any sample: checked after compiling and after reading.

Every address stays inside of its buffer for all values of the loop variables; buffers are made before they are read;
tiles fit the crossbar and cells hold what is written; crossbars are written, driven and read in this order; sums fit
64 bits; and every layer computes the product that its geometry names (`mho.program.product`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from mho.arithmetic.shapes import SHAPE_RULES, ShapeError, infer_shape
from mho.errors import ProgramError
from mho.mapping.converters import required_adc_bits
from mho.network.graph import MVM_OPERATIONS
from mho.program.instructions import (
    Affine,
    ClearAccumulators,
    Dequantize,
    Digital,
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
from mho.program.product import LayerProduct, largest_code, prove_layer
from mho.program.program import Buffer, BufferKind, Program
from mho.program.tile_uses import collect_layer

_LARGEST_SUM = 2**62
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
"""Sums and their corrections must each stay below, so that they fit int64 together."""


@dataclass
class _Checker:
    program: Program
    made: set[str]
    where: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    tiles: dict[int, tuple[Span, Span]] = field(default_factory=dict)
    driven: set[int] = field(default_factory=set)
    checked: set[str] = field(default_factory=set)

    def fail(self, what: str, expected: str = "") -> NoReturn:
        raise ProgramError(what, where=self.where, expected=expected, hint="the program is damaged")


def verify_program(program: Program) -> tuple[LayerProduct, ...]:
    """Verify `program`; return what each of its layers was proven to compute, in execution order.

    Raises:
        ProgramError: what does not hold, and in which layer or instruction.
    """
    checker = _Checker(program, set(program.inputs))
    for index, item in enumerate(program.instructions):
        checker.where = f"layer {item.name}" if isinstance(item, Layer) else f"instruction {index}"
        _check(checker, item)
    if missing := [name for name in program.outputs if name not in checker.made]:
        raise ProgramError(f"output {missing[0]!r} is never made", where=program.name)
    names = [layer.name for layer in program.layers]
    if len(set(names)) < len(names):
        raise ProgramError("two layers have the same name", where=program.name)
    return tuple(_prove(program, layer) for layer in program.layers)


def _prove(program: Program, layer: Layer) -> LayerProduct:
    product = prove_layer(program, collect_layer(layer))
    bits, codes = 2**program.accelerator.crossbar.cell_bits - 1, largest_code(product.input)
    weights = int(np.abs(product.col_weight).max()) * max(1, len(product.col_weight)) * bits
    if len(product.row_input) * weights * codes >= _LARGEST_SUM:
        raise ProgramError("sums may pass 64 bits", where=f"layer {layer.name}")
    return product


def _check(checker: _Checker, item: Instruction) -> None:
    if isinstance(item, Loop):
        if item.count < 1 or item.variable in checker.counts:
            checker.fail(f"loop over {item.variable!r} of {item.count} turns", "a new variable and at least one turn")
        checker.counts[item.variable] = item.count
        for inner in item.body:
            _check(checker, inner)
        del checker.counts[item.variable]
    elif isinstance(item, Layer):
        for inner in item.body:
            _check(checker, inner)
    else:
        _CHECKS[type(item)](checker, item)


def _buffer(checker: _Checker, name: str, kind: BufferKind, *, read: bool) -> Buffer:
    buffer = checker.program.buffers.get(name)
    if buffer is None or buffer.kind is not kind:
        checker.fail(f"{name!r} is no buffer of kind {kind.value}")
    if kind is not BufferKind.FLOAT and len(buffer.shape) != 1:
        checker.fail(f"{name!r} has shape {buffer.shape}", "one axis")
    if read and name not in checker.made:
        checker.fail(f"{name!r} is read before it is made")
    return buffer


def _constant(checker: _Checker, name: str, rank: int, kinds: str = "iu") -> Any:
    array = checker.program.constants.get(name)
    if array is None or array.ndim != rank or array.dtype.kind not in kinds or not array.size:
        checker.fail(f"{name!r} is no constant of rank {rank} and the right type")
    return array


def _part(checker: _Checker, name: str, span: Span) -> Any:
    array = _constant(checker, name, 1)
    if span.stop > array.size:
        checker.fail(f"{span.start}..{span.stop} lies outside of {name!r}", f"within 0..{array.size}")
    return array[span.start : span.stop]


def _range(checker: _Checker, address: Affine, offsets: Any, size: int, what: str) -> None:
    low, high = _bounds(checker, address)
    first, last = (int(offsets.min()), int(offsets.max())) if np.size(offsets) else (0, 0)
    if low + first < 0 or high + last >= size:
        checker.fail(f"{what}: addresses {low + first}..{high + last}", f"within 0..{size - 1}")


def _bounds(checker: _Checker, address: Affine) -> tuple[int, int]:
    variables = [variable for variable, _ in address.strides]
    if unknown := [variable for variable in variables if variable not in checker.counts]:
        checker.fail(f"no loop runs over {unknown[0]!r}")
    if len(set(variables)) < len(variables):
        checker.fail("an address names a variable twice")
    return address.bounds(checker.counts)


def _digital(checker: _Checker, item: Digital) -> None:
    shapes = []
    for name in item.inputs:
        if name in checker.program.constants:
            shapes.append(checker.program.constants[name].shape)
        else:
            shapes.append(_buffer(checker, name, BufferKind.FLOAT, read=True).shape)
    _make(checker, item.output)
    if item.op not in SHAPE_RULES or item.op in MVM_OPERATIONS:
        checker.fail(f"there is no digital operation {item.op!r}")
    try:
        shape = infer_shape(item.op, shapes, item.attributes)
    except (ShapeError, ValueError, TypeError, KeyError, IndexError, ZeroDivisionError) as error:
        checker.fail(f"{item.op} cannot have these operands and attributes: {error}")
    axes = [item.attributes.get("axis", 0), *_tuple(item.attributes.get("axes", ()))]
    if not all(isinstance(axis, int) and 0 <= axis < max(1, len(shapes[0])) for axis in axes):
        checker.fail(f"{item.op} along axes that its operand does not have")
    if shape != checker.program.buffers[item.output].shape:
        checker.fail(f"{item.op} gives {shape}", f"the shape of {item.output!r}")


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _make(checker: _Checker, name: str) -> None:
    _buffer(checker, name, BufferKind.FLOAT, read=False)
    if name in checker.made:
        checker.fail(f"{name!r} is made twice")
    checker.made.add(name)


def _quantize_input(checker: _Checker, item: QuantizeInput) -> None:
    source = _buffer(checker, item.source, BufferKind.FLOAT, read=True)
    target = _buffer(checker, item.target, BufferKind.CODES, read=False)
    if len(item.pads) != len(source.shape) or min((min(pair) for pair in item.pads), default=0) < 0:
        checker.fail("pads do not fit the source's shape")
    size = math.prod(extent + sum(pair) for extent, pair in zip(source.shape, item.pads, strict=True))
    if target.shape != (size,):
        checker.fail(f"{size} codes for a buffer of {target.shape}")
    if not (0 < item.scale <= _LARGEST_FLOAT32 and item.qmin < item.qmax):
        checker.fail("an impossible grid", "a positive float32 scale and qmin < qmax")
    checker.made.add(item.target)


def _clear(checker: _Checker, item: ClearAccumulators) -> None:
    _buffer(checker, item.accumulators, BufferKind.ACCUMULATORS, read=False)
    checker.made.add(item.accumulators)


def _sum_inputs(checker: _Checker, item: SumInputs) -> None:
    codes = _buffer(checker, item.codes, BufferKind.CODES, read=True)
    sums = _buffer(checker, item.accumulators, BufferKind.ACCUMULATORS, read=True)
    _range(checker, item.address, _constant(checker, item.row_offsets, 1), codes.shape[0], "summed codes")
    _range(checker, item.target, (), sums.shape[0], "sums")


def _write(checker: _Checker, item: WriteTile | WriteDynamicTile) -> None:
    hardware = checker.program.accelerator
    if not 0 <= item.crossbar < hardware.chip.crossbars:
        checker.fail(f"crossbar {item.crossbar}", f"0..{hardware.chip.crossbars - 1}")
    if len(item.rows) > hardware.crossbar.rows or len(item.cols) > hardware.crossbar.cols:
        checker.fail(
            f"a tile of {len(item.rows)} x {len(item.cols)}",
            f"at most {hardware.crossbar.rows} x {hardware.crossbar.cols}",
        )
    adc_bits, demand = hardware.converters.adc_bits, required_adc_bits(hardware, len(item.rows))
    if adc_bits != "ideal" and demand > adc_bits:
        checker.fail(f"sums of {len(item.rows)} rows need an ADC of {demand} bits", f"at most {adc_bits}")
    checker.tiles[item.crossbar] = (item.rows, item.cols)
    checker.driven.discard(item.crossbar)


def _write_tile(checker: _Checker, item: WriteTile) -> None:
    cells = _constant(checker, item.cells, 3, "u")
    limit = 1 << checker.program.accelerator.crossbar.cell_bits
    if item.cells not in checker.checked and int(cells.max()) >= limit:
        checker.fail(f"{item.cells!r} holds {int(cells.max())}", f"cells below {limit}")
    checker.checked.add(item.cells)
    low, high = _bounds(checker, item.index)
    if low < 0 or high >= cells.shape[0] or item.rows.stop > cells.shape[1] or item.cols.stop > cells.shape[2]:
        checker.fail(f"a tile outside of {item.cells!r}", f"within {cells.shape}")
    _write(checker, item)


def _write_dynamic_tile(checker: _Checker, item: WriteDynamicTile) -> None:
    codes = _buffer(checker, item.codes, BufferKind.CODES, read=True)
    rows, columns = _part(checker, item.row_offsets, item.rows), _part(checker, item.column_offsets, item.cols)
    used = columns[columns >= 0]
    if rows.min() < 0 or columns.min() < -1:
        checker.fail("a negative offset of a stored integer")
    extremes = [int(rows.min()) + int(used.min()), int(rows.max()) + int(used.max())] if used.size else [0]
    _range(checker, item.address, np.array(extremes), codes.shape[0], "stored codes")
    for name, span in ((item.row_signs, item.rows), (item.column_signs, item.cols)):
        _signs(checker, _part(checker, name, span))
    shifts = _part(checker, item.column_shifts, item.cols)
    if shifts.min() < 0 or shifts.max() > 32 or item.cell_bits != checker.program.accelerator.crossbar.cell_bits:
        checker.fail("impossible shifts or cell bits of a stored operand")
    _write(checker, item)


def _load_input(checker: _Checker, item: LoadInput) -> None:
    codes = _buffer(checker, item.codes, BufferKind.CODES, read=True)
    _range(checker, item.address, _part(checker, item.row_offsets, item.rows), codes.shape[0], "input codes")
    _signs(checker, _part(checker, item.row_signs, item.rows))
    if _bounds(checker, item.shift)[0] < 0 or _bounds(checker, item.shift)[1] > 32:
        checker.fail("an impossible shift of an input slice")
    if item.dac_bits != checker.program.accelerator.converters.dac_bits:
        checker.fail(f"{item.dac_bits}-bit inputs", f"{checker.program.accelerator.converters.dac_bits}-bit DACs")
    if item.crossbar not in checker.tiles or checker.tiles[item.crossbar][0] != item.rows:
        checker.fail(f"crossbar {item.crossbar} is driven on rows that no tile was written to")
    checker.driven.add(item.crossbar)


def _mvm(checker: _Checker, item: Mvm) -> None:
    if item.crossbar not in checker.driven:
        checker.fail(f"crossbar {item.crossbar} is read before it is written and driven")


def _shift_add(checker: _Checker, item: ShiftAdd) -> None:
    sums = _buffer(checker, item.accumulators, BufferKind.ACCUMULATORS, read=True)
    offsets = _part(checker, item.column_offsets, item.cols)
    _part(checker, item.column_weights, item.cols)
    if offsets.min() < -1:
        checker.fail("a negative offset of a sum")
    _range(checker, item.address, offsets[offsets >= 0], sums.shape[0], "sums")
    if _bounds(checker, item.shift)[0] < 0 or _bounds(checker, item.shift)[1] > 32:
        checker.fail("an impossible shift of a sum")
    if item.crossbar not in checker.tiles or checker.tiles[item.crossbar][1] != item.cols:
        checker.fail(f"crossbar {item.crossbar} is counted on columns that no tile was written to")


def _signs(checker: _Checker, signs: Any) -> None:
    if not (np.abs(signs) == 1).all():
        checker.fail("a sign that is not +1 or -1")


def _dequantize(checker: _Checker, item: Dequantize) -> None:
    layout = item.layout
    sums = _buffer(checker, item.accumulators, BufferKind.ACCUMULATORS, read=True)
    target = _buffer(checker, item.target, BufferKind.FLOAT, read=False)
    if sums.shape != (layout.size,):
        checker.fail(f"{sums.shape} sums for a layout of {layout.size}")
    if math.prod(target.shape) != layout.batch * layout.groups * layout.before * layout.channels * layout.after:
        checker.fail(f"sums do not fill {item.target!r}")
    per_channel = (layout.groups, layout.channels)
    for name, kinds in ((item.correction, "iu"), (item.multiplier, "f"), (item.sum_factors, "iu"), (item.bias, "f")):
        if name and _constant(checker, name, 2, kinds).shape != per_channel:
            checker.fail(f"{name!r} is not one number an output", str(per_channel))
    is_whole = bool(item.sum_factors) == layout.has_sums and (bool(item.stored_sums) or item.stored_factor == 0)
    if not (item.correction and item.multiplier and is_whole):
        checker.fail("a term of the dequantization is missing")
    if int(np.abs(checker.program.constants[item.correction]).max()) >= _LARGEST_SUM:
        checker.fail("a correction passes 64 bits")
    if item.stored_sums:
        _buffer(checker, item.stored_sums, BufferKind.ACCUMULATORS, read=True)
    _make(checker, item.target)


_CHECKS: Mapping[type, Callable[[_Checker, Any], None]] = {
    Digital: _digital,
    QuantizeInput: _quantize_input,
    ClearAccumulators: _clear,
    SumInputs: _sum_inputs,
    WriteTile: _write_tile,
    WriteDynamicTile: _write_dynamic_tile,
    LoadInput: _load_input,
    Mvm: _mvm,
    ShiftAdd: _shift_add,
    Dequantize: _dequantize,
}
