"""What drives the rows of an array: the slices of codes, as the DACs make voltages of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.array.layout import ArrayLayout
from mho.errors import DataError

DRIVE_BITS = 12
"""Voltages of a DAC that is not linear are whole multiples of 2^-12 of its step, so that sums are exact."""
_LARGEST_SHIFT = 62


class RowDrives:
    """Turns codes into drives.

    Attributes:
        fraction_bits: drives are counted in 2^-fraction_bits DAC steps: 0 for a linear DAC.
        largest: largest drive of one step.
        largest_whole: largest sum of the drives of all steps, each shifted to its place.
        takes_codes: that sum is the code itself.
        steps: steps of an input.
        kind: type of codes, uint8 where they are narrow, else int64.
        bytes_per_drive: memory that looking up one drive takes in passing, beside the slice.
    """

    def __init__(self, layout: ArrayLayout, levels: NDArray[np.float64]) -> None:
        """Prepare for codes of `layout`; `levels` as `mho.array.converters.drive_levels` gives them."""
        self._layout, self._given, self.steps = layout, levels, layout.steps
        linear = np.arange(1 << layout.dac_bits)
        self.is_linear = bool((levels == linear).all())
        self.fraction_bits = 0 if self.is_linear else DRIVE_BITS
        self.bytes_per_drive = 0 if self.is_linear else 16
        fixed = np.rint(levels * (1 << self.fraction_bits)).astype(np.int64)
        self._levels = torch.from_numpy(fixed)
        self._volts = torch.from_numpy(levels.astype(np.float32))
        self._squares = torch.from_numpy((levels * levels).astype(np.float32))
        self.largest = int(fixed.max())
        self.largest_whole = sum(self.largest << step * layout.step_shift for step in range(layout.steps))
        self.takes_codes = self.is_linear and layout.takes_whole_codes
        if self.takes_codes:
            self.largest_whole = (1 << layout.input_bits) - 1
        shifts = layout.shifts()
        self._is_narrow = layout.input_bits <= 8 and int(shifts.max()) <= 7
        if not layout.row_shift.any():
            shifts = shifts[:, :1]
        is_byte = self._is_narrow or (self.takes_codes and layout.input_bits <= 8)
        self.kind = torch.uint8 if is_byte else torch.int64
        of_shifts = torch.uint8 if self._is_narrow else torch.int64
        self._shifts = torch.from_numpy(np.minimum(shifts, _LARGEST_SHIFT))[:, None].to(of_shifts)
        self._mask = (1 << layout.dac_bits) - 1

    def of_shift(self, shift: int) -> RowDrives:
        """Return the feed of one row alone, with a shift of its own."""
        row = self._layout.drive_rows(0, 1)
        return RowDrives(replace(row, row_shift=np.array([shift])), self._given)

    def take(self, codes: NDArray[np.integer]) -> Tensor:
        """Check codes [batch, rows]; return them, uint8 where they are narrow, else int64.

        Raises:
            DataError: another shape, numbers that are not whole, or codes that do not have `input_bits`.
        """
        layout = self._layout
        if codes.ndim != 2 or codes.shape[1] != layout.rows or codes.dtype.kind not in "iu":
            raise DataError(
                f"codes are {codes.dtype} {list(codes.shape)}", expected=f"whole numbers [batch, {layout.rows}]"
            )
        fits = codes.dtype == np.uint8 and layout.input_bits >= 8
        if not fits and codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < 1 << layout.input_bits:
            raise DataError(
                f"codes reach from {codes.min()} to {codes.max()}", expected=f"0..{(1 << layout.input_bits) - 1}"
            )
        return torch.from_numpy(np.ascontiguousarray(codes, np.uint8 if self.kind == torch.uint8 else np.int64))

    def slices(self, codes: Tensor) -> Tensor:
        """Return what each step takes of the codes, uint8 [steps, batch, rows], in their memory order."""
        codes = codes if codes.dtype == self._shifts.dtype else codes.to(self._shifts.dtype)
        if codes.is_contiguous():
            return ((codes[None] >> self._shifts) & self._mask).to(torch.uint8)
        by_rows = codes.t()[:, None] >> self._shifts.permute(2, 0, 1)
        return (by_rows & self._mask).to(torch.uint8).permute(1, 2, 0)

    def drives(self, slices: Tensor) -> Tensor:
        """Return the drives of slices: uint8 where `largest` is at most 255, else int64."""
        if self.is_linear:
            return slices
        drives = _look_up(self._levels, slices)
        return drives if self.largest > 255 else drives.to(torch.uint8)

    def whole(self, codes: Tensor) -> Tensor:
        """Return the drives of all steps, shifted and added, [batch, rows]: uint8 up to 255, else int64."""
        if self.takes_codes:
            return codes if codes.dtype == torch.uint8 or self.largest_whole > 255 else codes.to(torch.uint8)
        drives = self.drives(self.slices(codes)).to(torch.int64)
        total = _add_steps(drives, self._layout.step_shift)
        return total if self.largest_whole > 255 else total.to(torch.uint8)

    def volts(self, slices: Tensor) -> Tensor:
        """Return the voltages of slices, in DAC steps, float32."""
        return slices.to(torch.float32) if self.is_linear else _look_up(self._volts, slices)

    def squares(self, slices: Tensor) -> Tensor:
        """Return the squares of the voltages of slices, in squares of DAC steps, float32."""
        if self._mask == 1:
            return slices.to(torch.float32)
        return _look_up(self._squares, slices)

    def whole_squares(self, codes: Tensor) -> Tensor:
        """Return the squares of all steps, times 4^shift and added, float32 [batch, rows]."""
        return _add_steps(self.squares(self.slices(codes)), 2 * self._layout.step_shift)


def _look_up(table: Tensor, slices: Tensor) -> Tensor:
    """Return table[slices], [..., n, rows], in the memory order of `slices`."""
    if slices.is_contiguous():
        return table[slices.to(torch.int64)]
    return table[slices.movedim(-1, 0).to(torch.int64)].movedim(0, -1)


def _add_steps(values: Tensor, shift: int) -> Tensor:
    """Return sum over s of values[s] 2^(s shift), by Horner's rule."""
    total = values[-1]
    for step in reversed(values[:-1].unbind()):
        total = torch.add(step, total, alpha=1 << shift)
    return total
