"""The slow and obvious engine: it runs a program instruction by instruction, as the hardware would.

It knows nothing of layers: crossbars hold cells, rows are driven, columns are counted, sums are shifted and added. One
instruction acts on all samples at once. `mho.simulation.executor` gives the same results, fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.arithmetic import requantize
from mho.arithmetic.operations import OPERATIONS
from mho.errors import ProgramError
from mho.program.instructions import (
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
from mho.program.program import BufferKind, Program
from mho.simulation.samples import check_inputs, present_outputs

Array = NDArray[Any]
Variables = Mapping[str, int]


@dataclass(frozen=True)
class Execution:
    """What a run gave.

    Attributes:
        outputs: float32 arrays by name.
        writes, mvms: crossbar writes and MVMs that were executed for each sample, by layer.
    """

    outputs: dict[str, NDArray[np.float32]]
    writes: dict[str, int]
    mvms: dict[str, int]


@dataclass
class _CrossbarState:
    """Cells [rows, cols], or [samples, rows, cols] of stored activations; drives and counts [lines, samples]."""

    cells: Array
    drives: Array | None = None
    counts: Array | None = None


@dataclass
class _Machine:
    """All memory. Float buffers are [samples, *shape], codes and sums [size, samples]: an address is one row."""

    program: Program
    samples: int
    buffers: dict[str, Array]
    crossbars: dict[int, _CrossbarState] = field(default_factory=dict)
    disjoint: dict[tuple[str, Span], list[Array]] = field(default_factory=dict)
    layer: str = ""
    writes: dict[str, int] = field(default_factory=dict)
    mvms: dict[str, int] = field(default_factory=dict)


def interpret(program: Program, inputs: Mapping[str, Any] | Array) -> Execution:
    """Run `program` on a batch of inputs.

    Args:
        inputs: arrays [N, *shape] by input name (or the only one), see `mho.arithmetic.batching`.

    Raises:
        DataError: an input is missing, unknown, of another shape or not finite.
        ProgramError: the program does what the hardware cannot.
    """
    arrays = check_inputs(program, inputs)
    samples = next(iter(arrays.values())).shape[0]
    machine = _Machine(program, samples, dict(arrays))
    for name, buffer in program.buffers.items():
        if buffer.kind is not BufferKind.FLOAT:
            machine.buffers[name] = np.zeros((*buffer.shape, samples), np.int64)
    _run(machine, program.instructions, {})
    outputs = present_outputs(program, machine.buffers)
    return Execution(outputs, machine.writes, machine.mvms)


def _run(machine: _Machine, body: tuple[Instruction, ...], variables: Variables) -> None:
    for item in body:
        if isinstance(item, Loop):
            for value in range(item.count):
                _run(machine, item.body, {**variables, item.variable: value})
        elif isinstance(item, Layer):
            machine.layer = item.name
            machine.writes.setdefault(item.name, 0)
            machine.mvms.setdefault(item.name, 0)
            _run(machine, item.body, variables)
        else:
            _EXECUTE[type(item)](machine, item, variables)


def _digital(machine: _Machine, item: Digital, _variables: Variables) -> None:
    operands = [torch.from_numpy(_operand(machine, name)) for name in item.inputs]
    result = OPERATIONS[item.op].run(operands, item.attributes)
    machine.buffers[item.output] = np.ascontiguousarray(result.numpy())


def _operand(machine: _Machine, name: str) -> Array:
    if name in machine.program.constants:
        return np.array(machine.program.constants[name])
    return machine.buffers[name]


def _quantize_input(machine: _Machine, item: QuantizeInput, _variables: Variables) -> None:
    source = torch.from_numpy(machine.buffers[item.source])
    if item.binary:
        integers = requantize.quantize_binary(source)
    else:
        integers = requantize.quantize_linear(source, item.scale, item.zero_point, item.qmin, item.qmax)
    codes = integers.numpy().astype(np.int64) + item.offset
    padded = np.pad(codes, ((0, 0), *item.pads), constant_values=item.zero_point + item.offset)
    machine.buffers[item.target] = np.ascontiguousarray(padded.reshape(machine.samples, -1).T)


def _clear(machine: _Machine, item: ClearAccumulators, _variables: Variables) -> None:
    machine.buffers[item.accumulators][:] = 0


def _sum_inputs(machine: _Machine, item: SumInputs, variables: Variables) -> None:
    indices = item.address.at(variables) + machine.program.constants[item.row_offsets]
    machine.buffers[item.accumulators][item.target.at(variables)] += machine.buffers[item.codes][indices].sum(axis=0)


def _write_tile(machine: _Machine, item: WriteTile, variables: Variables) -> None:
    matrix = machine.program.constants[item.cells][item.index.at(variables)]
    cells = matrix[item.rows.start : item.rows.stop, item.cols.start : item.cols.stop]
    # float64 products of whole numbers are exact below 2^53, and counts stay below 2^40.
    _write(machine, item.crossbar, cells.astype(np.float64))


def _write_dynamic_tile(machine: _Machine, item: WriteDynamicTile, variables: Variables) -> None:
    constants = machine.program.constants
    rows, cols = slice(item.rows.start, item.rows.stop), slice(item.cols.start, item.cols.stop)
    column_offsets = constants[item.column_offsets][cols].astype(np.int64)
    row_offsets = constants[item.row_offsets][rows].astype(np.int64)
    is_ones = column_offsets < 0
    addresses = item.address.at(variables) + row_offsets[:, None] + np.where(is_ones, 0, column_offsets)
    signs = constants[item.row_signs][rows].astype(np.int64)[:, None] * constants[item.column_signs][cols]
    stored = np.moveaxis(machine.buffers[item.codes][addresses], -1, 0)
    values = np.maximum(signs * (stored + item.addend), 0)
    sliced = (values >> constants[item.column_shifts][cols].astype(np.int64)) & ((1 << item.cell_bits) - 1)
    _write(machine, item.crossbar, np.where(is_ones, 1, sliced).astype(np.float64))


def _write(machine: _Machine, crossbar: int, cells: Array) -> None:
    machine.crossbars[crossbar] = _CrossbarState(cells=cells)
    machine.writes[machine.layer] += 1


def _load_input(machine: _Machine, item: LoadInput, variables: Variables) -> None:
    constants = machine.program.constants
    rows = slice(item.rows.start, item.rows.stop)
    codes = machine.buffers[item.codes][item.address.at(variables) + constants[item.row_offsets][rows]]
    drives = (codes >> item.shift.at(variables)) & ((1 << item.dac_bits) - 1)
    state = _crossbar(machine, item.crossbar)
    state.drives, state.counts = drives * constants[item.row_signs][rows].astype(np.float64)[:, None], None


def _mvm(machine: _Machine, item: Mvm, _variables: Variables) -> None:
    state = _crossbar(machine, item.crossbar)
    if state.drives is None:
        raise ProgramError(f"crossbar {item.crossbar} is read before it is driven", where=f"layer {machine.layer}")
    if state.cells.ndim == 3:
        state.counts = np.einsum("rn,nrc->cn", state.drives, state.cells)
    else:
        state.counts = state.cells.T @ state.drives
    machine.mvms[machine.layer] += 1


def _crossbar(machine: _Machine, crossbar: int) -> _CrossbarState:
    if crossbar not in machine.crossbars:
        raise ProgramError(f"crossbar {crossbar} is used before it is written", where=f"layer {machine.layer}")
    return machine.crossbars[crossbar]


def _shift_add(machine: _Machine, item: ShiftAdd, variables: Variables) -> None:
    constants = machine.program.constants
    cols = slice(item.cols.start, item.cols.stop)
    offsets, weights = constants[item.column_offsets][cols], constants[item.column_weights][cols]
    counts = _crossbar(machine, item.crossbar).counts
    if counts is None:
        raise ProgramError(f"crossbar {item.crossbar} has no counts to add", where=f"layer {machine.layer}")
    terms = (counts.astype(np.int64) * weights[:, None]) << item.shift.at(variables)
    sums, address = machine.buffers[item.accumulators], item.address.at(variables)
    for columns in _disjoint_columns(machine, item.column_offsets, item.cols):
        sums[address + offsets[columns]] += terms[columns]


def _disjoint_columns(machine: _Machine, name: str, cols: Span) -> list[Array]:
    """Split the used columns so that no two of a part enter the same sum: NumPy adds only one of several."""
    if (name, cols) not in machine.disjoint:
        offsets = machine.program.constants[name][cols.start : cols.stop]
        order = np.argsort(offsets, kind="stable")
        order = order[offsets[order] >= 0]
        starts = np.flatnonzero(np.diff(offsets[order], prepend=-1))
        rank = np.arange(order.size) - np.repeat(starts, np.diff(starts, append=order.size))
        machine.disjoint[name, cols] = [order[rank == value] for value in range(int(rank.max(initial=-1)) + 1)]
    return machine.disjoint[name, cols]


def _dequantize(machine: _Machine, item: Dequantize, _variables: Variables) -> None:
    constants = machine.program.constants
    layout = item.layout
    sums = machine.buffers[item.accumulators].T.reshape(machine.samples, *layout.shape)
    total = sums[:, :, :, :, : layout.channels] + _per_channel(constants[item.correction])
    if item.sum_factors:
        total = total + _per_channel(constants[item.sum_factors]) * sums[:, :, :, :, layout.channels :]
    if item.stored_sums:
        stored = machine.buffers[item.stored_sums].T.reshape(-1, 1, layout.groups, 1, layout.channels, 1)
        total = total + item.stored_factor * stored
    result = total.astype(np.float32) * _per_channel(constants[item.multiplier])
    if item.bias:
        result = result + _per_channel(constants[item.bias])
    shape = machine.program.buffers[item.target].shape
    machine.buffers[item.target] = np.ascontiguousarray(result.astype(np.float32, copy=False)).reshape(-1, *shape)


def _per_channel(constant: Array) -> Array:
    """[groups, channels] beside sums [samples, batch, groups, before, channels, after]."""
    return constant[None, None, :, None, :, None]


_EXECUTE: Mapping[type, Any] = {
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
