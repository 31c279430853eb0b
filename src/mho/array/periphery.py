"""What drives the rows of an array and reads its columns: all of its product that does not depend on its cells.

Copies of a layer, and matrices that follow each other in one crossbar, have one periphery and cells of their own.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mho.array.converters import Adc, drive_levels
from mho.array.layout import ArrayLayout, list_conversions
from mho.array.readout import Readout
from mho.array.row_drives import RowDrives
from mho.errors import DataError
from mho.hardware.converters import ColumnDifference

Floats = NDArray[np.float64]


class Periphery:
    """Drives and converters of an array.

    Attributes:
        layout: what it computes.
        conversions: which columns are converted together.
        feed: what drives its rows.
        adc: ranges and errors, one a conversion; None: ideal.
    """

    def __init__(
        self,
        layout: ArrayLayout,
        *,
        difference: ColumnDifference = ColumnDifference.DIGITAL,
        levels: Floats | None = None,
        adc: Adc | None = None,
    ) -> None:
        """Prepare it.

        Args:
            layout: what the array computes.
            difference: where differential columns are subtracted.
            levels: voltages of the DAC's codes, DAC steps; None: linear.
            adc: ranges and errors, one a conversion, in the order of `list_conversions`; None: ideal.

        Raises:
            DataError: there are more or fewer ranges than conversions.
        """
        self.layout, self.conversions = layout, list_conversions(layout, difference)
        self.feed = RowDrives(layout, drive_levels(layout.dac_bits, 0) if levels is None else levels)
        self.adc: Adc | None = None
        self._set_adc(adc)

    def _set_adc(self, adc: Adc | None) -> None:
        if adc is not None and len(adc.low) != len(self.conversions.plus):
            raise DataError(
                f"{len(adc.low)} ranges of an ADC", expected=f"{len(self.conversions.plus)}, one a conversion"
            )
        self.adc = adc
        self._readouts: dict[tuple[bool, bool], Readout] = {}

    def with_adc(self, adc: Adc) -> Periphery:
        """Return the same with other converters. Raises `DataError` where there are too few or too many."""
        other = object.__new__(Periphery)
        other.layout, other.conversions, other.feed = self.layout, self.conversions, self.feed
        other._set_adc(adc)
        return other

    def readout(self, *, are_whole: bool, are_noisy: bool) -> Readout:
        """Return what converts sums, see `Readout`; there has to be an ADC."""
        assert self.adc is not None, "ideal ADCs are not read out"
        key = are_whole, are_noisy
        if key not in self._readouts:
            self._readouts[key] = Readout(
                self.layout, self.conversions, self.adc, are_whole=are_whole, are_noisy=are_noisy
            )
        return self._readouts[key]

    @cached_property
    def has_negative_rows(self) -> bool:
        """True where some rows are driven with the other polarity."""
        return bool((self.layout.row_sign < 0).any())

    @cached_property
    def weights(self) -> Floats:
        """What each conversion counts for in each result, float64 [conversions, outputs]."""
        table = np.zeros((len(self.conversions.plus), self.layout.outputs))
        table[np.arange(len(table)), self.conversions.output] = self.conversions.weight
        return table

    @cached_property
    def largest_weight(self) -> float:
        """The most that the conversions of a result count for together."""
        return float(np.abs(self.weights).sum(axis=0).max())
