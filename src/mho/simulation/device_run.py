"""A program on a device: the interpreter drives its crossbars instruction by instruction, and computes the rest.

Samples run one after the other. Weights of a program whose tiles stay are written once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import DeviceError, ProgramError
from mho.program.instructions import Instruction, LoadInput, Mvm, ShiftAdd, WriteDynamicTile, WriteTile
from mho.program.program import Program
from mho.scheduling.regime import Regime
from mho.simulation.device import Device, DeviceInfo
from mho.simulation.device_comparison import Comparer, Comparison, ReadPlace
from mho.simulation.interpreter import interpret
from mho.simulation.machine import Machine, Variables, execute
from mho.simulation.samples import allocate_outputs, check_inputs, present_outputs
from mho.user_code import user_errors

_LARGEST_COUNT = np.iinfo(np.int32).max


@dataclass(frozen=True)
class DeviceRun:
    """What a device answered.

    Attributes:
        outputs: float32 [N, ...] by name, computed from its counts.
        calls: how often each function was called.
        comparison: of all counts with those that are expected; None where that was not asked for.
    """

    outputs: dict[str, NDArray[np.float32]]
    calls: Mapping[str, int]
    comparison: Comparison | None


def run_on_device(
    program: Program, inputs: Mapping[str, Any] | NDArray[Any], device: Device, *, compare: bool = False
) -> DeviceRun:
    """Run a program on a device, sample by sample.

    Args:
        program: verified.
        inputs: arrays [N, *shape] by input name, or the only one.
        device: is opened first, and closed at the end, after errors too.
        compare: hold each count beside what drives and cells give.

    Raises:
        DataError: an input does not fit.
        DeviceError: the device fails, or answers with something else than counts.
        ProgramError: counts may pass 32 bits.
    """
    arrays = check_inputs(program, inputs)
    samples = len(next(iter(arrays.values())))
    outputs = allocate_outputs(program, samples)
    info = DeviceInfo.of(program)
    link = _Link(program, device, Comparer(info.rows) if compare else None)
    _check_counts(program, info)
    with link.opened(info):
        for sample in range(samples):
            link.sample, link.instruction = sample, -1
            one = {name: array[sample : sample + 1] for name, array in arrays.items()}
            for name, array in interpret(program, one, step=link.step).outputs.items():
                outputs[name][sample] = array.reshape(outputs[name].shape[1:])
            link.finish()
    comparison = None if link.comparer is None else link.comparer.finish()
    return DeviceRun(present_outputs(program, outputs), link.calls, comparison)


def _check_counts(program: Program, info: DeviceInfo) -> None:
    rows = program.accelerator.crossbar.rows_at_once
    largest = rows * ((1 << info.cell_bits) - 1) * ((1 << info.dac_bits) - 1)
    if largest > _LARGEST_COUNT:
        raise ProgramError(
            f"counts of {rows:,} rows reach {largest:,}", where=program.name, expected=f"at most {_LARGEST_COUNT:,}"
        )


@dataclass
class _Link:
    """What stands between the interpreter and a device."""

    program: Program
    device: Device
    comparer: Comparer | None
    sample: int = 0
    instruction: int = -1
    calls: dict[str, int] = field(default_factory=dict)
    _layer: str = ""
    _has_written: bool = False

    def __post_init__(self) -> None:
        self._layers = {layer.name: (index, layer.adc_bits) for index, layer in enumerate(self.program.layers)}
        self._adc_bits = DeviceInfo.of(self.program).adc_bits
        self._stays = self.program.regime is Regime.WEIGHT_STATIONARY

    @contextmanager
    def opened(self, info: DeviceInfo) -> Iterator[None]:
        """Open the device for the block."""
        try:
            self.call("open", info)
            self.call("reset")
            yield
        except BaseException:
            with suppress(Exception, SystemExit):  # the first error is the one to tell
                self.device.close()
            raise
        self.call("close")

    def finish(self) -> None:
        """A sample is done."""
        self._wait()
        self._layer = ""

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the device. Raises `DeviceError` where it fails."""
        self.calls[name] = self.calls.get(name, 0) + 1
        with user_errors(self._where, f"{name} failed", DeviceError):
            return getattr(self.device, name)(*arguments)

    @property
    def _where(self) -> str:
        return f"device, sample {self.sample}, layer {self._layer}" if self._layer else "device"

    def _wait(self) -> None:
        self.call("barrier")
        self._has_written = False
        status = self.call("status")
        if not isinstance(status, int | np.integer) or status != 0:
            raise DeviceError(f"status {status!r}", where=self._where, expected="0")

    def step(self, machine: Machine, item: Instruction, variables: Variables) -> None:
        """Do an instruction, on the device where it is one of crossbars."""
        self.instruction += 1
        if not isinstance(item, WriteTile | WriteDynamicTile | LoadInput | Mvm | ShiftAdd):
            execute(machine, item, variables)
            return
        if machine.layer != self._layer:
            self._layer = machine.layer
            index, adc_bits = self._layers[machine.layer]
            self.call("begin_layer", index, self._adc_bits if adc_bits is None else adc_bits)
        if isinstance(item, ShiftAdd):
            self._read(machine, item, variables)
        execute(machine, item, variables)
        if isinstance(item, WriteTile | WriteDynamicTile):
            self._write(machine, item)
        elif isinstance(item, LoadInput):
            if self._has_written:
                self._wait()
            state = machine.crossbars[item.crossbar]
            assert state.drives is not None, "it was just loaded"
            drives = state.drives[item.first_row : item.first_row + len(item.rows), 0]
            self.call("load_drives", item.crossbar, item.first_row, drives.astype(np.int16))
        elif isinstance(item, Mvm):
            self.call("mvm", item.crossbar)

    def _write(self, machine: Machine, item: WriteTile | WriteDynamicTile) -> None:
        if isinstance(item, WriteTile) and self._stays and self.sample:
            return
        cells = machine.crossbars[item.crossbar].cells
        whole = cells[0] if cells.ndim == 3 else cells
        (row, col), joins = (item.corner, item.joins) if isinstance(item, WriteTile) else ((0, 0), False)
        block = whole[row : row + len(item.rows), col : col + len(item.cols)]
        self.call("write_tile", item.crossbar, row, col, np.ascontiguousarray(block.astype(np.uint8)), joins)
        self._has_written = True

    def _read(self, machine: Machine, item: ShiftAdd, variables: Variables) -> None:
        """Put the counts of the device in the place of those that the interpreter has."""
        count = len(item.cols)
        found = _check_found(self.call("read_columns", item.crossbar, item.first_col, count), count, self._where)
        state = machine.crossbars[item.crossbar]
        assert state.counts is not None, "verified: read before it is counted"
        assert state.drives is not None, "verified: driven before it is read"
        columns = slice(item.first_col, item.first_col + count)
        if self.comparer is not None:
            cells = state.cells[0] if state.cells.ndim == 3 else state.cells
            self.comparer.add(
                ReadPlace(self.sample, self.instruction, machine.layer, item.crossbar, dict(variables)),
                item.first_col,
                state.drives[:, 0].astype(np.int64),
                cells[:, columns],
                state.counts[columns, 0].astype(np.int64),
                found,
            )
        state.counts[columns, 0] = found


def _check_found(found: object, count: int, where: str) -> NDArray[np.int64]:
    """Return counts that a device gave, int64 [count]. Raises `DeviceError`: they are none."""
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu" or found.shape != (count,):
        what = f"{found.dtype} {list(found.shape)}" if isinstance(found, np.ndarray) else f"a {type(found).__name__}"
        raise DeviceError(f"read_columns gave {what}", where=where, expected=f"integers [{count}]")
    lowest, highest = int(found.min(initial=0)), int(found.max(initial=0))
    if lowest < -_LARGEST_COUNT - 1 or highest > _LARGEST_COUNT:
        raise DeviceError(
            f"read_columns gave counts from {lowest:,} to {highest:,}", where=where, expected="integers of 32 bits"
        )
    return found.astype(np.int64)
