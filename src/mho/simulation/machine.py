"""The memory of an accelerator and what each instruction does to it: what the interpreter runs programs on.

It knows nothing of layers: crossbars hold cells, rows are driven, columns are counted, sums are shifted and added. One
instruction acts on all samples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.arithmetic.operations import OPERATIONS
from mho.array.layout import number_within
from mho.errors import ProgramError
from mho.mapping.event_counts import EventCounts
from mho.program.instruction_costs import count_shift_add
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
    Span,
    SumInputs,
    Window,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.program import Program
from mho.simulation.dequantize import dequantize
from mho.simulation.quantize_input import make_codes
from mho.simulation.samples import check_inputs
from mho.simulation.stored_operands import encode_activations

Array = NDArray[Any]
Variables = Mapping[str, int]


@dataclass
class CrossbarState:
    """Cells [rows, cols], or [samples, rows, cols] of stored activations; drives and counts [lines, samples].

    Only the corner of the crossbar that is written is held: all other cells are zero. `active`: for which samples the
    last MVM was not skipped, [samples]; None where nothing is.
    """

    cells: Array
    drives: Array | None = None
    counts: Array | None = None
    active: Array | None = None


@dataclass
class Machine:
    """All memory. Float buffers are [samples, *shape], codes and sums [size, samples]: an address is one row.

    `step` does what an instruction says, that is no loop, window or layer; others may put something around `execute`.
    """

    program: Program
    samples: int
    skips_zero_slices: bool
    buffers: dict[str, Array]
    step: Step
    crossbars: dict[int, CrossbarState] = field(default_factory=dict)
    disjoint: dict[tuple[str, Span], list[Array]] = field(default_factory=dict)
    layer: str = ""
    writes: dict[str, int] = field(default_factory=dict)
    mvms: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, EventCounts[NDArray[np.int64]]] = field(default_factory=dict)

    def enter(self, layer: str) -> None:
        """Count for this layer from now on."""
        self.layer = layer
        self.writes.setdefault(layer, 0)
        self.mvms.setdefault(layer, 0)
        self.skipped.setdefault(layer, EventCounts(*np.zeros((4, self.samples), np.int64)))

    def skip(self, active: Array, one: EventCounts[int]) -> None:
        """Count `one` as skipped for samples that are not active."""
        idle = (~active).astype(np.int64)
        self.skipped[self.layer] += EventCounts(
            idle * 0, idle * one.mvms, idle * one.conversions, idle * one.operations
        )


Step = Callable[[Machine, Instruction, Variables], None]


def execute(machine: Machine, item: Instruction, variables: Variables) -> None:
    """Do what an instruction says that is no loop, window or layer."""
    _EXECUTE[type(item)](machine, item, variables)


def make_machine(
    program: Program,
    inputs: Mapping[str, Any] | Array,
    *,
    skip_zero_slices: bool = False,
    step: Step = execute,
) -> Machine:
    """Return a machine that holds a batch of inputs, and nothing else yet.

    Raises:
        DataError: an input is missing, unknown, of another shape or not finite.
    """
    arrays = check_inputs(program, inputs)
    samples = next(iter(arrays.values())).shape[0]
    machine = Machine(program, samples, skip_zero_slices, dict(arrays), step)
    for name, buffer in program.buffers.items():
        if not buffer.is_tensor:
            machine.buffers[name] = np.zeros((*buffer.shape, samples), np.int64)
    return machine


def run_body(machine: Machine, body: tuple[Instruction, ...], variables: Variables) -> None:
    """Run instructions in their order, for these values of the enclosing loops' variables."""
    for item in body:
        if isinstance(item, Loop):
            for value in range(item.count):
                run_body(machine, item.body, {**variables, item.variable: value})
        elif isinstance(item, Window):
            run_body(machine, item.body, variables)
        elif isinstance(item, Layer):
            machine.enter(item.name)
            run_body(machine, item.body, variables)
        else:
            machine.step(machine, item, variables)


def _digital(machine: Machine, item: Digital, _variables: Variables) -> None:
    operands = [torch.from_numpy(_operand(machine, name)) for name in item.inputs]
    result = OPERATIONS[item.op].run(operands, item.attributes)
    machine.buffers[item.output] = np.ascontiguousarray(result.numpy())


def _operand(machine: Machine, name: str) -> Array:
    if name in machine.program.constants:
        return np.array(machine.program.constants[name])
    return machine.buffers[name]


def _quantize_input(machine: Machine, item: QuantizeInput, _variables: Variables) -> None:
    size = machine.buffers[item.target].shape[0]
    machine.buffers[item.target] = make_codes(item, machine.buffers[item.source], size)


def _clear(machine: Machine, item: ClearAccumulators, _variables: Variables) -> None:
    machine.buffers[item.accumulators][:] = 0


def _sum_inputs(machine: Machine, item: SumInputs, variables: Variables) -> None:
    indices = item.address.at(variables) + _integers(machine, item.row_offsets)
    machine.buffers[item.accumulators][item.target.at(variables)] += machine.buffers[item.codes][indices].sum(axis=0)


def _digital_product(machine: Machine, item: DigitalProduct, variables: Variables) -> None:
    buffers = machine.buffers
    codes = buffers[item.codes][item.address.at(variables) + _integers(machine, item.row_offsets)]
    places = _integers(machine, item.stored_rows)[:, None] + _integers(machine, item.stored_columns)
    places += item.stored_address.at(variables)
    targets = item.target.at(variables) + _integers(machine, item.column_targets)
    if item.stored in machine.program.constants:
        products = np.einsum("rn,rc->cn", codes, _integers(machine, item.stored)[places])
    else:
        products = np.einsum("rn,rcn->cn", codes, buffers[item.stored][places])
    np.add.at(buffers[item.accumulators], targets, products)


def _write_tile(machine: Machine, item: WriteTile, variables: Variables) -> None:
    matrix = machine.program.constants[item.cells][item.index.at(variables)]
    cells = matrix[item.rows.start : item.rows.stop, item.cols.start : item.cols.stop]
    row, col = item.corner
    held = machine.crossbars[item.crossbar].cells if item.joins else np.zeros((0, 0))
    size = np.maximum(held.shape, (row + len(item.rows), col + len(item.cols)))
    # float64 products of whole numbers are exact below 2^53, and counts stay below 2^40.
    whole = np.zeros(size, np.float64)
    whole[: held.shape[0], : held.shape[1]] = held
    whole[row : row + len(item.rows), col : col + len(item.cols)] = cells
    machine.crossbars[item.crossbar] = CrossbarState(cells=whole)
    machine.writes[machine.layer] += not item.joins


def _write_dynamic_tile(machine: Machine, item: WriteDynamicTile, variables: Variables) -> None:
    cells = encode_activations(machine.program, item, machine.buffers[item.codes], item.address.at(variables))
    machine.crossbars[item.crossbar] = CrossbarState(cells=cells.astype(np.float64))
    machine.writes[machine.layer] += 1


def _integers(machine: Machine, name: str) -> Array:
    """Return a constant as int64: addresses of a shorter type would wrap."""
    return machine.program.constants[name].astype(np.int64)


def _lines(machine: Machine, name: str, span: Span) -> Array:
    return machine.program.constants[name][span.start : span.stop].astype(np.int64)


def _load_input(machine: Machine, item: LoadInput, variables: Variables) -> None:
    offsets, signs, shifts = (
        _lines(machine, name, item.rows) for name in (item.row_offsets, item.row_signs, item.row_shifts)
    )
    codes = machine.buffers[item.codes][item.address.at(variables) + offsets]
    slices = (codes >> (item.shift.at(variables) + shifts[:, None])) & ((1 << item.dac_bits) - 1)
    state = _crossbar(machine, item.crossbar)
    state.drives, state.counts = np.zeros((state.cells.shape[-2], machine.samples)), None
    state.drives[item.first_row : item.first_row + len(item.rows)] = slices * signs[:, None]


def _mvm(machine: Machine, item: Mvm, _variables: Variables) -> None:
    state = _crossbar(machine, item.crossbar)
    if state.drives is None:
        raise ProgramError(f"crossbar {item.crossbar} is read before it is driven", where=f"layer {machine.layer}")
    state.counts = np.zeros((state.cells.shape[-1], machine.samples))
    active: slice | Array = slice(None)
    if machine.skips_zero_slices:
        active = state.active = np.asarray(state.drives.any(axis=0))
        machine.skip(active, EventCounts(0, 1, 0, 0))
    if state.cells.ndim == 3:
        state.counts[:, active] = np.einsum("rn,nrc->cn", state.drives[:, active], state.cells[active])
    else:
        state.counts[:, active] = state.cells.T @ state.drives[:, active]
    machine.mvms[machine.layer] += 1


def _crossbar(machine: Machine, crossbar: int) -> CrossbarState:
    if crossbar not in machine.crossbars:
        raise ProgramError(f"crossbar {crossbar} is used before it is written", where=f"layer {machine.layer}")
    return machine.crossbars[crossbar]


def _shift_add(machine: Machine, item: ShiftAdd, variables: Variables) -> None:
    offsets, weights = _lines(machine, item.column_offsets, item.cols), _lines(machine, item.column_weights, item.cols)
    state = _crossbar(machine, item.crossbar)
    if state.counts is None:
        raise ProgramError(f"crossbar {item.crossbar} has no counts to add", where=f"layer {machine.layer}")
    if state.active is not None:
        machine.skip(state.active, count_shift_add(machine.program, item))
    counts = state.counts[item.first_col : item.first_col + len(item.cols)]
    terms = (counts.astype(np.int64) * weights[:, None]) << item.shift.at(variables)
    sums, address = machine.buffers[item.accumulators], item.address.at(variables)
    for columns in _disjoint_columns(machine, item.column_offsets, item.cols):
        sums[address + offsets[columns]] += terms[columns]


def _disjoint_columns(machine: Machine, name: str, cols: Span) -> list[Array]:
    """Split the used columns so that no two of a part enter the same sum: NumPy adds only one of several."""
    if (name, cols) not in machine.disjoint:
        offsets = _lines(machine, name, cols)
        turn = np.where(offsets >= 0, number_within(offsets), -1)
        machine.disjoint[name, cols] = [np.flatnonzero(turn == number) for number in range(int(turn.max()) + 1)]
    return machine.disjoint[name, cols]


def _dequantize(machine: Machine, item: LastStep, _variables: Variables) -> None:
    result = dequantize(machine.program, item, lambda name: machine.buffers[name].T)
    machine.buffers[item.target] = result.reshape(-1, *machine.program.buffers[item.target].shape)


_EXECUTE: Mapping[type, Any] = {
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
    Requantize: _dequantize,
}
