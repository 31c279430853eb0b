"""Watches the interpreter in one layer, and notes what each MVM does: the arrays of `mho.deploy.vectors`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mho.array.converters import Adc
from mho.errors import ConfigError
from mho.hardware.converters import MAX_ADC_BITS
from mho.hardware.spec import Encoding
from mho.input_files import check_memory
from mho.mapping.adc_resolution import required_adc_bits
from mho.program.instruction_costs import find_encoding, list_differences
from mho.program.instructions import Instruction, LoadInput, Mvm, ShiftAdd, WriteDynamicTile, WriteTile
from mho.program.layer_content import LayerContent, Loops
from mho.program.program import Program
from mho.simulation.machine import Machine, Variables, execute
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


def freeze(values: NDArray[Any], axes: tuple[str, ...], bits: int, is_signed: bool, meaning: str) -> VectorArray:
    """Return values as what they are, read-only; arguments are its attributes."""
    values = np.ascontiguousarray(values)
    values.setflags(write=False)
    return VectorArray(values, axes, bits, is_signed, meaning)


@dataclass(frozen=True, eq=False)
class Choice:
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
    def of(cls, program: Program, content: LayerContent, windows: tuple[int, int] | None) -> Choice:
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
class Recorder:
    """Watches the instructions of a layer, and leaves out reads that nothing depends on."""

    program: Program
    content: LayerContent
    choice: Choice
    adc_bits: int | None
    reads: list[_Read] = field(default_factory=list)
    cells: list[NDArray[np.int64]] = field(default_factory=list)
    written: dict[int, dict[tuple[int, int], int]] = field(default_factory=dict)
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
            self.written.pop(item.crossbar, None)  # noted when it is read

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
                np.array([self._note_cells(machine, item.crossbar, counted), use.number(variables),
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

    def _note_cells(self, machine: Machine, crossbar: int, counted: slice) -> int:
        """Return the number of what a crossbar holds in the columns that are counted: others are another layer's."""
        numbers = self.written.setdefault(crossbar, {})
        key = counted.start, counted.stop
        if key not in numbers:
            rows, cols = self.shape
            held = machine.crossbars[crossbar].cells
            part = (held[0] if held.ndim == 3 else held)[:rows, :cols]
            noted = np.zeros(self.shape, np.int64)
            noted[: part.shape[0], counted] = part[:, counted]
            numbers[key] = len(self.cells)
            self.cells.append(noted)
            self._take(8 * rows * cols)
        return numbers[key]

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
        return {name: freeze(*one) for name, one in found.items()}


def _pad(line: Integers, length: int, first: int, rest: int = 0) -> Integers:
    whole = np.full(length, rest, np.int64)
    whole[first : first + len(line)] = line[: length - first]
    return whole
