"""The hardware interface: ten functions with which crossbars are driven, in Python as in the C runtime.

A lab board behind a serial line, an RTL simulation or a model takes the place of the simulated crossbars. All numbers
are integers. The digital unit (codes, sums, shift and add, requantization) stays with the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mho.program.program import Program


@dataclass(frozen=True)
class DeviceInfo:
    """What a program expects of the hardware.

    Attributes:
        program: its name.
        crossbars: how many; instructions number them from 0.
        rows, cols: of a crossbar.
        cell_bits: cells hold 0 .. 2^cell_bits - 1.
        dac_bits: drives are -(2^dac_bits - 1) .. 2^dac_bits - 1.
        adc_bits: of a conversion; 0: every sum is read exactly.
        layers: names of the layers, in execution order.
    """

    program: str
    crossbars: int
    rows: int
    cols: int
    cell_bits: int
    dac_bits: int
    adc_bits: int
    layers: tuple[str, ...]

    @classmethod
    def of(cls, program: Program) -> DeviceInfo:
        """Return what a program expects."""
        hardware = program.accelerator
        crossbar, converters = hardware.crossbar, hardware.converters
        return cls(
            program=program.name,
            crossbars=hardware.chip.crossbars if program.schedule is not None else 1,
            rows=crossbar.rows,
            cols=crossbar.cols,
            cell_bits=crossbar.cell_bits,
            dac_bits=converters.dac_bits,
            adc_bits=0 if isinstance(converters.adc_bits, str) else converters.adc_bits,
            layers=tuple(layer.name for layer in program.layers),
        )


@runtime_checkable
class Device(Protocol):
    """What drives crossbars. Errors are exceptions; one sample is run at a time."""

    def open(self, info: DeviceInfo) -> None:
        """Begin. Raise an error where the program is meant for other hardware."""

    def close(self) -> None:
        """End; called once, after errors too."""

    def reset(self) -> None:
        """Make all cells 0, drive nothing, forget counts. Called after `open`."""

    def begin_layer(self, index: int, adc_bits: int) -> None:
        """Go on with a layer, by its number in execution order.

        Args:
            index: from 0.
            adc_bits: of its conversions; 0: exact.
        """

    def write_tile(self, crossbar: int, row: int, col: int, cells: NDArray[np.uint8], joins: bool) -> None:
        """Write cells; all others of the crossbar become 0 unless `joins`.

        Args:
            crossbar: from 0.
            row, col: of the crossbar, where the first cell lies.
            cells: uint8 [rows, cols], 0 .. 2^cell_bits - 1.
            joins: the tile belongs to the write before it of the same crossbar, which stays.
        """

    def load_drives(self, crossbar: int, first_row: int, drives: NDArray[np.int16]) -> None:
        """Drive rows from `first_row` on, and no others.

        Args:
            crossbar: from 0.
            first_row: of the crossbar.
            drives: int16 [rows], in DAC steps; negative: a voltage of the other polarity.
        """

    def mvm(self, crossbar: int) -> None:
        """Begin an analog read with the drives that are loaded. May return before it is done."""

    def read_columns(self, crossbar: int, first_col: int, count: int) -> NDArray[np.int32]:
        """Return the counts of columns after the last read, int32 [count]; waits for it.

        A count is the sum over the driven rows of drive times cell, in whole steps, as the ADC reads it.

        Args:
            crossbar: from 0.
            first_col: of the crossbar.
            count: how many columns.
        """

    def barrier(self) -> None:
        """Return when all that was begun is done. Called after the writes of a layer and at the end of a sample."""

    def status(self) -> int:
        """Return 0, or an error code of the device's own. Called after `barrier`."""
