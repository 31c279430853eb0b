"""What happens in one layer of a program, MVM by MVM: test vectors for those who build the hardware.

The interpreter runs the layer, on tensors that the executor gives it, and is watched. Nothing here defines what an
instruction does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.operations import OPERATIONS
from mho.array.converters import Adc
from mho.display import Table, Tabular
from mho.errors import ConfigError, DataError, suggest
from mho.formats import plural
from mho.hardware.converters import MAX_ADC_BITS
from mho.hardware.spec import Encoding
from mho.input_files import check_memory
from mho.mapping.adc_resolution import required_adc_bits
from mho.program.container import program_digest
from mho.program.instruction_costs import find_encoding, list_differences
from mho.program.instructions import (
    Digital,
    Instruction,
    Layer,
    LoadInput,
    Mvm,
    QuantizeInput,
    ShiftAdd,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.layer_content import LayerContent, Loops, collect_layers
from mho.program.program import BufferKind, Program
from mho.simulation.executor import Executor
from mho.simulation.machine import Machine, Variables, execute, make_machine, run_body
from mho.simulation.quantize_input import make_codes
from mho.simulation.samples import check_inputs
from mho.simulation.tile_loops import list_addresses, split_loops, turns

Integers = NDArray[np.int64]

SUM_BITS = 64


@dataclass(frozen=True, eq=False)
class VectorArray:
    """One kind of value.

    Attributes:
        values: int64 or, for outputs in floats, float32. Read-only.
        axes: what each axis counts.
        bits: of a value; negative ones are in two's complement.
        is_signed: whether there may be negative ones.
        meaning: in a sentence.
    """

    values: NDArray[Any]
    axes: tuple[str, ...]
    bits: int
    is_signed: bool
    meaning: str


@dataclass(frozen=True, eq=False, repr=False)
class LayerVectors(Tabular):
    """All that happens in some windows of one layer for one sample.

    Attributes:
        program, accelerator, layer: names.
        digest: SHA-256 of the program, hexadecimal.
        sample: its number.
        windows: first, and first that is left out, of the first tile; what adds to sums at their positions is held.
        cell_bits, dac_bits, adc_bits: of the crossbar; `adc_bits` of the conversions that were made.
        clipped: conversions beyond the codes of the ADC; None where it has enough for all sums.
        arrays: by name, in the order of a read: writes, reads, sums, outputs.
        requantized_by: the instruction that makes the codes in `requantized`; empty where there are none.
    """

    program: str
    accelerator: str
    layer: str
    digest: str
    sample: int
    windows: tuple[int, int]
    cell_bits: int
    dac_bits: int
    adc_bits: int
    clipped: int | None
    arrays: Mapping[str, VectorArray]
    requantized_by: str

    def __repr__(self) -> str:
        return f"LayerVectors({self._summary})"

    @property
    def _summary(self) -> str:
        first, stop = self.windows
        reads, writes = len(self.arrays["drives"].values), len(self.arrays["cells"].values)
        return (
            f"{self.layer} of {self.program}, windows {first}..{stop - 1} of sample {self.sample}: "
            f"{plural(reads, 'read')} of {plural(writes, 'tile')}"
        )

    def table(self) -> Table:
        """Return one row an array."""
        rows = (
            (name, " x ".join(map(str, one.values.shape)), one.bits, "yes" if one.is_signed else "no", one.meaning)
            for name, one in self.arrays.items()
        )
        return Table(self._summary, ("array", "shape", "bits", "signed", "meaning"), tuple(rows))


def record_vectors(
    program: Program,
    inputs: Mapping[str, Any] | NDArray[Any],
    layer: str,
    *,
    windows: tuple[int, int] | None = None,
    sample: int = 0,
    adc_bits: int | None = None,
) -> LayerVectors:
    """Run one sample through one layer, and return all that happens in some of its windows.

    Args:
        program: verified; of any regime. Instructions run in their own order, copies of tiles are left out.
        inputs: arrays [N, ...] by input name, or the only input.
        layer: name of an MVM layer.
        windows: first, and first that is left out, of the layer's first tile: what adds to sums at their positions is
            recorded, of all tiles; None: all.
        sample: which one.
        adc_bits: of ADCs that read whole steps and clip; None: those of the accelerator, or as many as all sums need.

    Raises:
        ConfigError: there is no such layer, window or number of bits, or the layer has no MVMs.
        DataError: inputs do not fit, or there is no such sample.
        MemoryBudgetError: the vectors take more than the budget.
    """
    content = _find_layer(program, layer)
    arrays = check_inputs(program, inputs)
    count = len(next(iter(arrays.values())))
    if not 0 <= sample < count:
        raise DataError(f"no sample {sample}", expected=f"0 .. {count - 1}")
    one = {name: array[sample : sample + 1] for name, array in arrays.items()}
    recorder = _Recorder(program, content, _Choice.of(program, content, windows), adc_bits)
    machine = make_machine(program, one, step=recorder.step)
    machine.buffers |= Executor(program).find_sources(layer, one)
    _write_earlier(machine, content)
    run_body(machine, (content.layer,), {})
    outputs, by = _list_outputs(machine, content, recorder)
    return LayerVectors(
        program=program.name,
        accelerator=program.accelerator.name,
        layer=layer,
        digest=program_digest(program),
        sample=sample,
        windows=recorder.choice.windows,
        cell_bits=program.accelerator.crossbar.cell_bits,
        dac_bits=program.accelerator.converters.dac_bits,
        adc_bits=recorder.adc.bits,
        clipped=recorder.clipped if recorder.clips else None,
        arrays=MappingProxyType(recorder.list_arrays() | outputs),
        requantized_by=by,
    )


def _find_layer(program: Program, name: str) -> LayerContent:
    names = [layer.name for layer in program.layers]
    if name not in names:
        listing = ", ".join(names)
        raise ConfigError(f"no layer {name!r}", where=program.name, expected=listing, hint=suggest(name, names))
    content = next(one for one in collect_layers(program) if one.layer.name == name)
    if not content.tiles:
        raise ConfigError("the digital unit computes it", where=f"layer {name}", expected="a layer with MVMs")
    return content


@dataclass(frozen=True, eq=False)
class _Choice:
    """Which sums of a layer are wanted: those at the positions of some windows of its first tile.

    Reads of other tiles may have other windows. A read is recorded where it adds to a wanted sum, and runs where it
    adds to any sum that a recorded one adds to: so all that is recorded is as in a run of the whole layer.

    Attributes:
        windows: first, and first that is left out.
        wanted, touched: bool [size of the sums].
    """

    windows: tuple[int, int]
    wanted: NDArray[np.bool_]
    touched: NDArray[np.bool_]

    @classmethod
    def of(cls, program: Program, content: LayerContent, windows: tuple[int, int] | None) -> _Choice:
        """Find the sums. Raises `ConfigError`: there are no such windows."""
        name, shape = content.layer.name, content.dequantize.layout.shape
        first_add = content.tiles[0].add
        _, matrices, loops = split_loops(content.tiles[0], name)
        starts = list_addresses(first_add.address, next(turns(matrices)), loops)
        first, stop = (0, len(starts)) if windows is None else windows
        if not 0 <= first < stop <= len(starts):
            raise ConfigError(
                f"no windows {first}:{stop}", where=f"layer {name}", expected=f"FIRST < STOP, of 0 .. {len(starts)}"
            )
        if windows is None:
            return cls((first, stop), *np.ones((2, math.prod(shape)), np.bool_))
        image, _, line, _, row, column = np.unravel_index(
            _list_targets(program, first_add, starts[first:stop]).reshape(-1), shape
        )
        at_positions = np.zeros(shape, np.bool_)
        at_positions[image, :, line, :, row, column] = True
        wanted = at_positions.reshape(-1)
        touched = wanted.copy()
        for use in content.tiles:
            _, matrices, loops = split_loops(use, name)
            for values in turns(matrices):
                targets = _list_targets(program, use.add, list_addresses(use.add.address, values, loops))
                touched[targets[wanted[targets].any(axis=1)]] = True
        return cls((first, stop), wanted, touched)


def _list_targets(program: Program, add: ShiftAdd, starts: Integers) -> Integers:
    """Return the sums that reads add to, int64 [reads, columns in use]."""
    offsets = program.constants[add.column_offsets][add.cols.start : add.cols.stop].astype(np.int64)
    return np.asarray(starts)[:, None] + offsets[offsets >= 0]


def _write_earlier(machine: Machine, content: LayerContent) -> None:
    """Write the tiles that the layer reads and earlier layers wrote."""
    if all(any(use.write is own for own in content.writes) for use in content.tiles):
        return
    for layer in machine.program.layers:
        if layer is content.layer:
            break
        machine.enter(layer.name)
        run_body(machine, _keep_writes(layer.body), {})


def _keep_writes(body: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
    return tuple(item for item in body if isinstance(item, WriteTile))


@dataclass(frozen=True, eq=False)
class _Use:
    """One read of a tile: its shift-add, from its start to the sums that it adds to, the loops that count windows."""

    add: ShiftAdd
    offsets: Integers
    windows: Loops

    def targets(self, variables: Variables) -> Integers:
        """Return the sums that it adds to."""
        return self.add.address.at(variables) + self.offsets

    def number(self, variables: Variables) -> int:
        """Return which window these values of the variables are."""
        index = 0
        for variable, count in self.windows:
            index = index * count + variables[variable]
        return index


class _Read(NamedTuple):
    """What one shift-add and the MVM before it did; names are those of the arrays."""

    reads: Integers
    drives: Integers
    addresses: Integers
    counts: Integers
    codes: Integers
    weights: Integers
    starts: Integers
    sums: Integers


@dataclass
class _Recorder:
    """Watches the instructions of a layer, and leaves out reads that nothing depends on."""

    program: Program
    content: LayerContent
    choice: _Choice
    adc_bits: int | None
    reads: list[_Read] = field(default_factory=list)
    cells: list[NDArray[np.int64]] = field(default_factory=list)
    written: dict[int, int] = field(default_factory=dict)
    clipped: int = 0
    _runs: dict[int, bool] = field(default_factory=dict)
    _taken: int = 0

    def __post_init__(self) -> None:
        self._uses: dict[int, _Use] = {}
        for use in self.content.tiles:
            windows = split_loops(use, self.content.layer.name)[2]
            offsets = _list_targets(self.program, use.add, np.zeros(1, np.int64))[0]
            self._uses[id(use.add)] = self._uses[id(use.load)] = _Use(use.add, offsets, windows)
        self.encoding = find_encoding(self.program, self.content.layer)
        hardware, rows = self.program.accelerator, max(len(use.load.rows) for use in self.content.tiles)
        self.needed_bits = required_adc_bits(hardware, self.encoding, rows)
        self.adc = self._choose_adc()

    @property
    def is_signed(self) -> bool:
        """Whether rows are driven with both signs, or columns subtracted before they are converted."""
        return self.encoding is not Encoding.TWOS_COMPLEMENT

    @property
    def clips(self) -> bool:
        """Whether sums may be beyond the ADC's codes."""
        return self.adc.bits < self.needed_bits

    def _choose_adc(self) -> Adc:
        converters = self.program.accelerator.converters
        bits = self.adc_bits
        if bits is None:
            own = self.content.layer.adc_bits or converters.adc_bits
            bits = self.needed_bits if isinstance(own, str) or converters.has_calibrated_adc else own
        elif not 1 <= bits <= MAX_ADC_BITS:
            raise ConfigError(f"ADCs of {bits} bits", expected=f"1 .. {MAX_ADC_BITS}")
        low, step = np.array([-(1 << bits - 1) if self.is_signed else 0.0]), np.ones(1)
        return Adc(bits, low.astype(np.float64), step, step, 0 * step)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns from the corner of a crossbar that are used."""
        tiles = self.content.tiles
        rows = max(use.load.first_row + len(use.load.rows) for use in tiles)
        return rows, max(use.add.first_col + len(use.add.cols) for use in tiles)

    def step(self, machine: Machine, item: Instruction, variables: Variables) -> None:
        """Do what an instruction says, and note what it does."""
        if isinstance(item, LoadInput):
            targets = self._uses[id(item)].targets(variables)
            self._runs[item.crossbar] = bool(self.choice.touched[targets].any())
        if isinstance(item, LoadInput | Mvm | ShiftAdd) and not self._runs[item.crossbar]:
            return
        if isinstance(item, ShiftAdd):
            self._add(machine, item, variables)
            return
        execute(machine, item, variables)
        if isinstance(item, WriteTile | WriteDynamicTile):
            self.written[item.crossbar] = -1  # noted when it is read

    def _add(self, machine: Machine, item: ShiftAdd, variables: Variables) -> None:
        state = machine.crossbars[item.crossbar]
        assert state.drives is not None, "verified: driven before it is counted"
        assert state.counts is not None, "verified: read before it is counted"
        counted = slice(item.first_col, item.first_col + len(item.cols))
        counts = state.counts[counted, 0].astype(np.int64)
        codes = self._convert(item, counts)
        state.counts[counted, 0] = codes
        use = self._uses[id(item)]
        if not self.choice.wanted[use.targets(variables)].any():
            execute(machine, item, variables)
            return
        offsets, weights = (
            self.program.constants[name][item.cols.start : item.cols.stop].astype(np.int64)
            for name in (item.column_offsets, item.column_weights)
        )
        is_used = offsets >= 0
        addresses = np.where(is_used, item.address.at(variables) + offsets, -1)
        sums = machine.buffers[item.accumulators][:, 0]
        starts = np.where(is_used, sums[addresses], 0)
        execute(machine, item, variables)
        ends = np.where(is_used, sums[addresses], 0)
        rows, cols = self.shape
        of_columns = counts, codes, np.where(is_used, weights, 0), starts, ends
        padded = (_pad(one, cols, item.first_col) for one in of_columns)
        self.reads.append(
            _Read(
                np.array([self._note_cells(machine, item.crossbar), use.number(variables),
                          item.shift.at(variables), item.crossbar]),
                _pad(state.drives[:, 0].astype(np.int64), rows, 0),
                _pad(addresses, cols, item.first_col, -1),
                *padded,
            )
        )  # fmt: skip
        self._take(8 * (rows + 6 * cols))

    def _convert(self, item: ShiftAdd, counts: Integers) -> Integers:
        """Return what the ADCs make of columns; that of a difference stands at the first of its columns."""
        first = np.flatnonzero(list_differences(self.program, item))
        converted = counts.copy()
        converted[first] -= counts[first + 1]
        converted[first + 1] = 0
        if not self.clips:
            return converted
        read = self.adc.read(self.adc.convert(converted.astype(np.float64))).astype(np.int64)
        self.clipped += int((read != converted).sum())
        return read

    def _note_cells(self, machine: Machine, crossbar: int) -> int:
        """Return the number of what a crossbar holds."""
        if self.written.get(crossbar, -1) < 0:
            rows, cols = self.shape
            held = machine.crossbars[crossbar].cells
            part = (held[0] if held.ndim == 3 else held)[:rows, :cols].astype(np.int64)
            self.cells.append(np.pad(part, ((0, rows - part.shape[0]), (0, cols - part.shape[1]))))
            self.written[crossbar] = len(self.cells) - 1
            self._take(8 * rows * cols)
        return self.written[crossbar]

    def _take(self, size: int) -> None:
        self._taken += size
        check_memory(self._taken, "the vectors", where=f"layer {self.content.layer.name}")

    def list_arrays(self) -> dict[str, VectorArray]:
        """Return what was noted of cells and reads."""
        hardware, reads = self.program.accelerator, self.reads
        dac_bits = hardware.converters.dac_bits + int(any(int(one.drives.min()) < 0 for one in reads))
        is_driven_both_ways = dac_bits > hardware.converters.dac_bits
        line, counted = ("read", "column"), max(self.needed_bits, 1)

        def stack(name: str) -> NDArray[np.int64]:
            return np.stack([getattr(one, name) for one in reads])

        is_signed = self.is_signed
        found = {
            "cells": (np.stack(self.cells), ("write", "row", "column"), hardware.crossbar.cell_bits, False,
                      "what the cells hold"),
            "reads": (stack("reads"), ("read", "field"), 32, False,
                      "of each read: number of the write in cells, window of its tile, shift of its sums, crossbar"),
            "drives": (stack("drives"), ("read", "row"), dac_bits, is_driven_both_ways, "what drives the rows"),
            "counts": (stack("counts"), line, counted, is_driven_both_ways, "sums over the rows of drive times cell"),
            "codes": (stack("codes"), line, self.adc.bits, is_signed,
                      "counts as ADCs convert them; a difference stands at the first of its two columns"),
            "weights": (stack("weights"), line, 32, True, "what a code counts for before it is shifted; 0: left out"),
            "addresses": (stack("addresses"), line, 32, True, "of the sum that a column adds to; -1: left out"),
            "starts": (stack("starts"), line, SUM_BITS, True, "that sum before the read"),
            "sums": (stack("sums"), line, SUM_BITS, True, "that sum after the read: start + (weight * code << shift)"),
        }  # fmt: skip
        return {name: _freeze(*one) for name, one in found.items()}


def _list_outputs(machine: Machine, content: LayerContent, recorder: _Recorder) -> tuple[dict[str, VectorArray], str]:
    """Return the final sums of the windows, what the layer makes of them, and the codes that follow from it."""
    end, program = content.dequantize, machine.program
    layout = end.layout
    address_of = np.arange(layout.size).reshape(layout.shape)[layout.inside].reshape(-1)
    element_of = np.full(layout.size, -1)
    element_of[address_of] = np.arange(len(address_of))
    addresses = np.flatnonzero(recorder.choice.wanted & (element_of >= 0))
    table = np.column_stack([addresses, element_of[addresses]])
    values = machine.buffers[end.target].reshape(-1)[table[:, 1]]
    totals = machine.buffers[end.accumulators][table[:, 0], 0]
    is_float = program.buffers[end.target].kind is BufferKind.FLOAT
    arrays = {
        "places": _freeze(table, ("output", "field"), 32, False,
                          "of each output: address of its sum, element of the layer's output, row-major"),
        "totals": _freeze(totals, ("output",), SUM_BITS, True, "the sum when the layer ends"),
        "outputs": _freeze(values if is_float else values.astype(np.int64), ("output",), 32, True,
                           "what the layer makes of it, " + ("float32" if is_float else "an integer of its scale")),
    }  # fmt: skip
    found = _requantize(machine, content)
    if found is None:
        return arrays, ""
    item, codes = found
    low = min(item.qmin, item.zero_point) + item.offset
    bits = max(int(max(item.qmax, item.zero_point) + item.offset).bit_length() + int(low < 0), 1)
    meaning = f"the code of the next layer, in buffer {item.target!r}"
    arrays["requantized"] = _freeze(codes.reshape(-1)[table[:, 1]], ("output",), bits, low < 0, meaning)
    return arrays, item.target


def _requantize(machine: Machine, content: LayerContent) -> tuple[QuantizeInput, Integers] | None:
    """Return the codes that a later layer makes of each element of the output; None where operations lie between them
    that do more than change elements on their own."""
    program, name = machine.program, content.dequantize.target
    after = program.instructions[program.instructions.index(content.layer) + 1 :]
    for item in after:
        if isinstance(item, Digital) and name in item.inputs:
            others = [other for other in item.inputs if other != name and other not in program.constants]
            keeps = OPERATIONS[item.op].is_elementwise or item.op == "reshape"
            if others or not keeps or math.prod(program.buffers[item.output].shape) != machine.buffers[name].size:
                return None
            run_body(machine, (item,), {})
            name = item.output
        elif isinstance(item, Layer):
            for one in item.body:
                if isinstance(one, QuantizeInput) and one.source == name:
                    source = machine.buffers[name]
                    plain = replace(one, start=0, pads=tuple((0, 0) for _ in one.pads))
                    return one, make_codes(plain, source, source.size)
    return None


def _pad(line: Integers, length: int, first: int, rest: int = 0) -> Integers:
    whole = np.full(length, rest, np.int64)
    whole[first : first + len(line)] = line[: length - first]
    return whole


def _freeze(values: NDArray[Any], axes: tuple[str, ...], bits: int, is_signed: bool, meaning: str) -> VectorArray:
    values = np.ascontiguousarray(values)
    values.setflags(write=False)
    return VectorArray(values, axes, bits, is_signed, meaning)
