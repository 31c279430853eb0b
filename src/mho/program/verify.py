"""What must hold of a program before it runs, on any sample: checked after compiling and after reading.

Every address stays inside of its buffer for all values of the loop variables; buffers are made before they are read;
tiles fit the crossbar and cells hold what is written; crossbars are written, driven and read in this order; sums fit
64 bits; and every layer computes the product that its geometry names (`mho.program.layer_proof`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mho.arithmetic.fixed_point import LARGEST_MULTIPLIER, LARGEST_OFFSET, LARGEST_PRODUCT, LARGEST_SHIFT
from mho.arithmetic.limits import FLOAT64_LIMIT, LARGEST_INTEGER
from mho.arithmetic.operations import OPERATIONS
from mho.arithmetic.shapes import ShapeError
from mho.errors import ProgramError
from mho.hardware.spec import Encoding
from mho.input_files import check_memory
from mho.mapping.adc_resolution import required_adc_bits, resolves_all_sums
from mho.program.checker import Checker, Rectangle
from mho.program.chip_work import check_schedule
from mho.program.instruction_costs import list_differences
from mho.program.instructions import (
    ClearAccumulators,
    Dequantize,
    Digital,
    DigitalProduct,
    Instruction,
    LastStep,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    Requantize,
    ShiftAdd,
    SumInputs,
    Window,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.integer_checks import check_integers
from mho.program.layer_content import collect_layers
from mho.program.layer_proof import LayerProduct, prove_layer
from mho.program.program import BufferKind, Program, walk
from mho.program.reload_work import check_reloads
from mho.program.reloads import ProgramReloads
from mho.program.schedule import Schedule

_LARGEST_SHIFT = 32
_LARGEST_CORRECTION = 2**62
"""Corrections stay below, as sums do, so that they fit int64 together."""
_MOST_EXECUTED = 10**11
"""Instructions of a sample, every turn of a loop counted: days of the interpreter. VGG-16 takes some 10^7."""
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def verify_program(program: Program) -> None:
    """Verify `program`.

    Raises:
        ProgramError: what does not hold, and in which layer or instruction.
        MemoryBudgetError: its buffers take more than the budget.
    """
    for _ in prove_program(program):
        pass


def prove_program(program: Program) -> Iterator[LayerProduct]:
    """Verify `program`; yield what each of its layers was proven to compute, in execution order.

    Raises:
        ProgramError: what does not hold, and in which layer or instruction.
    """
    check_memory(program.sample_bytes, "the buffers of one sample", where=program.name)
    executed = sum(times for _, times in walk(program.instructions))
    if executed > _MOST_EXECUTED:
        raise ProgramError(
            f"a sample takes {executed:,} instructions", where=program.name, expected=f"at most {_MOST_EXECUTED:,}"
        )
    checker = Checker(program, set(program.inputs))
    for index, item in enumerate(program.instructions):
        checker.where = f"layer {item.name}" if isinstance(item, Layer) else f"instruction {index}"
        if not isinstance(item, Layer | Digital):
            checker.fail(f"{type(item).__name__} outside of a layer", "layers and digital operations")
        if isinstance(item, Layer):
            _check_adc_bits(checker, item)
        _check(checker, item)
    if odd := [name for name in program.inputs if program.buffers[name].kind is not BufferKind.FLOAT]:
        raise ProgramError(f"input {odd[0]!r} is not float32", where=program.name)
    if missing := [name for name in program.outputs if name not in checker.made]:
        raise ProgramError(f"output {missing[0]!r} is never made", where=program.name)
    names = [layer.name for layer in program.layers]
    if len(set(names)) < len(names):
        raise ProgramError("two layers have the same name", where=program.name)
    sizes = {}
    for content in collect_layers(program):
        product = prove_layer(program, content)
        if product.window is not None:
            sizes[product.name] = product.window
        yield product
    if isinstance(program.schedule, Schedule):
        check_schedule(program, sizes)
    elif isinstance(program.schedule, ProgramReloads):
        check_reloads(program)


def _check(checker: Checker, item: Instruction) -> None:
    if isinstance(item, Loop):
        if item.count < 1 or item.variable in checker.counts:
            checker.fail(f"loop over {item.variable!r} of {item.count} turns", "a new variable and at least one turn")
        if (turns := math.prod(checker.counts.values()) * item.count) > _MOST_EXECUTED:
            checker.fail(f"loops of {turns:,} turns", f"at most {_MOST_EXECUTED:,}")
        checker.counts[item.variable] = item.count
        for inner in item.body:
            _check(checker, inner)
        del checker.counts[item.variable]
    elif isinstance(item, Layer | Window):
        for inner in item.body:
            _check(checker, inner)
    else:
        _CHECKS[type(item)](checker, item)


def _check_adc_bits(checker: Checker, layer: Layer) -> None:
    """Bits that a layer has of its own are those of a calibrated ADC."""
    converters, bits = checker.program.accelerator.converters, layer.adc_bits
    if bits is None or bits == converters.adc_bits:
        return
    most = 0 if isinstance(converters.adc_bits, str) else converters.adc_bits
    if not (converters.has_calibrated_adc and 1 <= bits <= most):
        checker.fail(f"conversions with {bits} bits", f"calibrated ADCs of converters.adc_bits = {converters.adc_bits}")


def _digital(checker: Checker, item: Digital) -> None:
    shapes = []
    for name in item.inputs:
        if (constant := checker.program.constants.get(name)) is not None:
            shapes.append(constant.shape)
            if constant.dtype.kind == "f" and constant.dtype != np.float32:
                checker.fail(f"{name!r} is of type {constant.dtype}", "float32")
        else:
            shapes.append(checker.tensor(name, is_read=True).shape)
    checker.make(item.output)
    if item.op not in OPERATIONS or OPERATIONS[item.op].is_mvm:
        checker.fail(f"there is no digital operation {item.op!r}")
    try:
        shape = OPERATIONS[item.op].infer_shape(shapes, item.attributes)
    except (ShapeError, ValueError, TypeError, KeyError, IndexError, ZeroDivisionError) as error:
        checker.fail(f"{item.op} cannot have these operands and attributes: {error}")
    axes = [item.attributes.get("axis", 0), *_tuple(item.attributes.get("axes", ()))]
    if not all(isinstance(axis, int) and 0 <= axis < max(1, len(shapes[0])) for axis in axes):
        checker.fail(f"{item.op} along axes that its operand does not have")
    constants = {k: checker.program.constants[o] for k, o in enumerate(item.inputs) if o in checker.program.constants}
    try:
        OPERATIONS[item.op].check_constants(shapes, item.attributes, constants)
    except ShapeError as error:
        checker.fail(f"{item.op} cannot have these constants: {error}")
    if shape != checker.program.buffers[item.output].shape:
        checker.fail(f"{item.op} gives {shape}", f"the shape of {item.output!r}")
    check_integers(checker, item)


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _quantize_input(checker: Checker, item: QuantizeInput) -> None:
    source = checker.tensor(item.source, is_read=True)
    if source.kind is BufferKind.INTEGERS and item.scale != 1:
        checker.fail(f"integers of {item.source!r} are quantized with the scale {item.scale:g}", "1")
    target = checker.buffer(item.target, BufferKind.CODES, is_read=False)
    if len(item.pads) != len(source.shape) or min((min(pair) for pair in item.pads), default=0) < 0:
        checker.fail("pads do not fit the source's shape")
    size = math.prod(extent + sum(pair) for extent, pair in zip(source.shape, item.pads, strict=True))
    if item.start < 0 or target.shape[0] < item.start + size:
        checker.fail(f"{size} codes from {item.start} on for a buffer of {target.shape}")
    if not (0 < item.scale <= _LARGEST_FLOAT32 and np.float32(item.scale) > 0 and item.qmin < item.qmax):
        checker.fail("an impossible grid", "a positive float32 scale and qmin < qmax")
    if item.binary and (item.qmin, item.qmax) != (-1, 1):
        checker.fail(f"a binary grid of {item.qmin}..{item.qmax}", "-1..1")
    checker.check_integers(item.qmin, item.qmax, item.zero_point, item.offset)
    checker.made.add(item.target)


def _clear(checker: Checker, item: ClearAccumulators) -> None:
    checker.buffer(item.accumulators, BufferKind.ACCUMULATORS, is_read=False)
    checker.made.add(item.accumulators)


def _sum_inputs(checker: Checker, item: SumInputs) -> None:
    codes = checker.buffer(item.codes, BufferKind.CODES, is_read=True)
    sums = checker.buffer(item.accumulators, BufferKind.ACCUMULATORS, is_read=True)
    checker.require_within(item.address, checker.constant(item.row_offsets, 1), codes.shape[0], "summed codes")
    checker.require_within(item.target, (), sums.shape[0], "sums")


def _digital_product(checker: Checker, item: DigitalProduct) -> None:
    codes = checker.buffer(item.codes, BufferKind.CODES, is_read=True)
    if item.stored in checker.program.constants:
        stored = checker.small(item.stored, 1, LARGEST_INTEGER)
    else:
        stored = checker.buffer(item.stored, BufferKind.CODES, is_read=True)
    sums = checker.buffer(item.accumulators, BufferKind.ACCUMULATORS, is_read=True)
    rows, stored_rows = (checker.constant(name, 1) for name in (item.row_offsets, item.stored_rows))
    columns, targets = (checker.constant(name, 1) for name in (item.stored_columns, item.column_targets))
    if rows.shape != stored_rows.shape or columns.shape != targets.shape:
        checker.fail("a digital product of vectors that differ in length")
    checker.require_within(item.address, rows, codes.shape[0], "multiplied codes")
    extremes = [int(stored_rows.min()) + int(columns.min()), int(stored_rows.max()) + int(columns.max())]
    checker.require_within(item.stored_address, extremes, stored.shape[0], "stored codes")
    checker.require_within(item.target, targets, sums.shape[0], "sums")


def _write(checker: Checker, item: WriteTile | WriteDynamicTile) -> None:
    hardware = checker.program.accelerator
    if not 0 <= item.crossbar < hardware.chip.crossbars:
        checker.fail(f"crossbar {item.crossbar}", f"0..{hardware.chip.crossbars - 1}")
    row, col = item.corner if isinstance(item, WriteTile) else (0, 0)
    block = Rectangle(row, row + len(item.rows), col, col + len(item.cols))
    if min(row, col) < 0 or block.bottom > hardware.crossbar.rows or block.right > hardware.crossbar.cols:
        checker.fail(
            f"a tile of {len(item.rows)} x {len(item.cols)} at {row}, {col}",
            f"within {hardware.crossbar.rows} x {hardware.crossbar.cols}",
        )
    joins = isinstance(item, WriteTile) and item.joins
    if joins and item.crossbar not in checker.blocks:
        checker.fail(f"a tile joins a write of crossbar {item.crossbar} that did not begin")
    blocks = checker.blocks.setdefault(item.crossbar, []) if joins else []
    if any(block.overlaps(other) for other in blocks):
        checker.fail("tiles of one write overlap")
    checker.blocks[item.crossbar] = [*blocks, block]
    checker.driven.pop(item.crossbar, None)


def _write_tile(checker: Checker, item: WriteTile) -> None:
    cells = checker.constant(item.cells, 3, "u")
    limit = 1 << checker.program.accelerator.crossbar.cell_bits
    if item.cells not in checker.checked and int(cells.max()) >= limit:
        checker.fail(f"{item.cells!r} holds {int(cells.max())}", f"cells below {limit}")
    checker.checked.add(item.cells)
    low, high = checker.bounds(item.index)
    if low < 0 or high >= cells.shape[0] or item.rows.stop > cells.shape[1] or item.cols.stop > cells.shape[2]:
        checker.fail(f"a tile outside of {item.cells!r}", f"within {cells.shape}")
    _write(checker, item)


def _write_dynamic_tile(checker: Checker, item: WriteDynamicTile) -> None:
    codes = checker.buffer(item.codes, BufferKind.CODES, is_read=True)
    rows, columns = checker.part(item.row_offsets, item.rows), checker.part(item.column_offsets, item.cols)
    first, last = int(columns.min()), int(columns.max())
    if rows.min() < 0 or first < -1:
        checker.fail("a negative offset of a stored integer")
    extremes = [int(rows.min()) + max(first, 0), int(rows.max()) + max(last, 0)]
    checker.require_within(item.address, extremes, codes.shape[0], "stored codes")
    checker.signs(item.row_signs, item.rows)
    checker.signs(item.column_signs, item.cols)
    checker.part(item.row_blocks, item.rows)
    checker.part(item.column_blocks, item.cols)
    shifts = [checker.part(item.row_shifts, item.rows)]
    shifts += [checker.part(name, item.cols) for name in (item.column_starts, item.column_bits, item.column_shifts)]
    if any(part.min() < 0 or part.max() > _LARGEST_SHIFT for part in shifts):
        checker.fail("impossible shifts of a stored operand")
    if item.cell_bits != checker.program.accelerator.crossbar.cell_bits:
        checker.fail("impossible cell bits of a stored operand")
    checker.check_integers(item.addend)
    _write(checker, item)


def _load_input(checker: Checker, item: LoadInput) -> None:
    codes = checker.buffer(item.codes, BufferKind.CODES, is_read=True)
    checker.require_within(item.address, checker.part(item.row_offsets, item.rows), codes.shape[0], "input codes")
    signs, shifts = checker.signs(item.row_signs, item.rows), checker.part(item.row_shifts, item.rows)
    if checker.bounds(item.shift)[0] < 0 or shifts.min() < 0:
        checker.fail("a negative shift of an input slice")
    if checker.bounds(item.shift)[1] + int(shifts.max()) > _LARGEST_SHIFT:
        checker.fail("an impossible shift of an input slice")
    hardware = checker.program.accelerator
    if item.dac_bits != hardware.converters.dac_bits:
        checker.fail(f"{item.dac_bits}-bit inputs", f"{hardware.converters.dac_bits}-bit DACs")
    written = max((block.bottom for block in checker.blocks.get(item.crossbar, ())), default=0)
    if not 0 <= item.first_row <= written - len(item.rows):
        checker.fail(f"crossbar {item.crossbar} is driven on rows that no tile was written to")
    if len(item.rows) > hardware.crossbar.rows_at_once:
        checker.fail(f"{len(item.rows)} rows are driven at once", f"at most {hardware.crossbar.rows_at_once}")
    checker.driven[item.crossbar] = signs


def _check_adc(checker: Checker, item: ShiftAdd, signs: Any) -> None:
    """An ADC that data does not calibrate resolves all sums of rows driven with these signs, whatever cells hold.

    Only equal signs add up; the difference of two columns has a sign, and all rows add up in it.
    """
    hardware, negative = checker.program.accelerator, int((signs < 0).sum())
    adc_bits = hardware.converters.adc_bits
    if adc_bits == "ideal" or not resolves_all_sums(hardware):
        return
    if list_differences(checker.program, item).any():
        encoding, rows = Encoding.DIFFERENTIAL_COLUMNS, len(signs)
    elif negative:
        encoding, rows = Encoding.DIFFERENTIAL_ROWS, 2 * max(negative, len(signs) - negative)
    else:
        encoding, rows = Encoding.TWOS_COMPLEMENT, len(signs)
    demand = required_adc_bits(hardware, encoding, rows)
    if demand > adc_bits:
        checker.fail(f"sums of {len(signs)} rows need an ADC of {demand} bits", f"at most {adc_bits}")


def _mvm(checker: Checker, item: Mvm) -> None:
    if item.crossbar not in checker.driven:
        checker.fail(f"crossbar {item.crossbar} is read before it is written and driven")


def _shift_add(checker: Checker, item: ShiftAdd) -> None:
    sums = checker.buffer(item.accumulators, BufferKind.ACCUMULATORS, is_read=True)
    offsets = checker.part(item.column_offsets, item.cols)
    checker.part(item.column_weights, item.cols)
    checker.small(item.column_weights, 1, FLOAT64_LIMIT)
    if offsets.min() < -1:
        checker.fail("a negative offset of a sum")
    checker.require_within(item.address, offsets[offsets >= 0], sums.shape[0], "sums")
    if checker.bounds(item.shift)[0] < 0 or checker.bounds(item.shift)[1] > _LARGEST_SHIFT:
        checker.fail("an impossible shift of a sum")
    if item.crossbar not in checker.blocks or item.first_col < 0:
        checker.fail(f"crossbar {item.crossbar} is counted on columns that no tile was written to")
    if item.crossbar in checker.driven:
        _check_adc(checker, item, checker.driven[item.crossbar])


def _dequantize(checker: Checker, item: Dequantize) -> None:
    checker.buffer(item.target, BufferKind.FLOAT, is_read=False)
    for name in (item.multiplier, item.bias):
        if name and not np.isfinite(checker.constant(name, 2, "f")).all():
            checker.fail(f"{name!r} is not finite")
    _last_step(checker, item, (item.multiplier, item.bias))


def _requantize(checker: Checker, item: Requantize) -> None:
    target = checker.buffer(item.target, BufferKind.INTEGERS, is_read=False)
    largest = int(np.abs(checker.small(item.multiplier, 2, LARGEST_MULTIPLIER).astype(np.int64)).max())
    checker.small(item.offset, 2, LARGEST_OFFSET)
    if not (0 <= item.shift <= LARGEST_SHIFT and item.limit >= 1 and item.limit * largest <= LARGEST_PRODUCT):
        checker.fail(f"sums of {item.limit} times {largest} with a shift of {item.shift}", "products within 2^62")
    if not target.low <= item.low <= item.high <= target.high:
        checker.fail(f"integers {item.low}..{item.high} for {item.target!r}", f"within {target.low}..{target.high}")
    _last_step(checker, item, (item.multiplier, item.offset))


def _last_step(checker: Checker, item: LastStep, scaling: tuple[str, str]) -> None:
    layout, target = item.layout, checker.program.buffers[item.target]
    sums = checker.buffer(item.accumulators, BufferKind.ACCUMULATORS, is_read=True)
    if sums.shape != (layout.size,):
        checker.fail(f"{sums.shape} sums for a layout of {layout.size}")
    made = (layout.batch, layout.groups, layout.lines, layout.channels, layout.rows, layout.columns)
    if math.prod(target.shape) != math.prod(made):
        checker.fail(f"sums do not fill {item.target!r}")
    per_channel = (layout.groups, layout.channels)
    for name in (item.correction, item.sum_factors, *scaling):
        if name and checker.constant(name, 2, "iuf").shape != per_channel:
            checker.fail(f"{name!r} is not one number an output", str(per_channel))
    is_whole = bool(item.sum_factors) == layout.has_sums and (bool(item.stored_sums) or item.stored_factor == 0)
    if not (item.correction and item.multiplier and is_whole):
        checker.fail("a term of the dequantization is missing")
    checker.small(item.correction, 2, _LARGEST_CORRECTION)
    if item.sum_factors:
        checker.small(item.sum_factors, 2, LARGEST_INTEGER)
    checker.check_integers(item.stored_factor)
    if item.stored_sums:
        stored = checker.buffer(item.stored_sums, BufferKind.ACCUMULATORS, is_read=True)
        if stored.shape != (layout.groups * layout.channels,):
            checker.fail(f"{stored.shape} sums of stored vectors", f"{layout.groups * layout.channels}")
    checker.make(item.target)


_CHECKS: Mapping[type, Callable[[Checker, Any], None]] = {
    Digital: _digital,
    QuantizeInput: _quantize_input,
    ClearAccumulators: _clear,
    SumInputs: _sum_inputs,
    DigitalProduct: _digital_product,
    WriteTile: _write_tile,
    WriteDynamicTile: _write_dynamic_tile,
    LoadInput: _load_input,
    Mvm: _mvm,
    ShiftAdd: _shift_add,
    Dequantize: _dequantize,
    Requantize: _requantize,
}
