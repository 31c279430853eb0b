"""Which conversions of a layer share a range of calibrated ADCs, and the ranges of the sums that they see.

`mho.array.calibration` finds a range for each group of sums; here `converters.adc_range` tells the groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mho.array.calibration import RangeRule, SumCounts
from mho.array.layout import NO_COLUMN, ArrayLayout, Conversions
from mho.hardware.converters import AdcRange, Converters

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Range = tuple[Floats, Floats]
"""Lowest and highest sum of each conversion of one read."""


class Read(Protocol):
    """What one MVM reads of a tile; an `ArrayProduct` is one."""

    @property
    def layout(self) -> ArrayLayout:
        """What drives the rows, and what the columns count for."""

    @property
    def conversions(self) -> Conversions:
        """Which columns are converted together."""


class RangeGroups:
    """The sums of a layer, by what shares a range."""

    def __init__(self, reads: Sequence[Read], bitlines: Sequence[Integers], converters: Converters) -> None:
        """Prepare for sums.

        Args:
            reads: all of the layer.
            bitlines: of each read, int64 [conversions], the column of the crossbar that each conversion reads first.
            converters: calibrated ones; `adc_range` says what shares a range.
        """
        self._groups = group_conversions(reads, bitlines, converters)
        if converters.adc_range is AdcRange.CALIBRATED_COLUMNS:
            self._counts = [SumCounts(_count(group)) for group in self._groups]
        else:
            shared = SumCounts(max(map(_count, self._groups), default=0))
            self._counts = [shared for _ in self._groups]

    def see(self, number: int, sums: Tensor, unit: float) -> None:
        """Note the ends of the sums of a read.

        Args:
            number: of the read.
            sums: [n, conversions], as `ArrayProduct.sum_columns` gives them.
            unit: what one is worth in them, `ArrayProduct.sum_unit`.
        """
        self._counts[number].see(sums, self._groups[number], unit)

    def count(self, number: int, sums: Tensor, unit: float) -> None:
        """Count the sums of a read, as for `see`, between the ends that were seen."""
        self._counts[number].count(sums, self._groups[number], unit)

    def find_ranges(self, rule: RangeRule, bits: int) -> tuple[Range, ...]:
        """Return the ranges of all conversions, read by read.

        Args:
            rule: how.
            bits: of a code.

        Raises:
            DataError: nothing was counted.
        """
        found = {id(counts): counts for counts in self._counts}
        ranges = {key: counts.find_ranges(rule, bits) for key, counts in found.items()}
        pairs = (ranges[id(counts)] for counts in self._counts)
        return tuple((low[group], high[group]) for (low, high), group in zip(pairs, self._groups, strict=True))


def group_conversions(
    reads: Sequence[Read], bitlines: Sequence[Integers], converters: Converters
) -> tuple[Integers, ...]:
    """Tell which conversions of a layer share a range: of each read, the group of each conversion, int64.

    Groups are numbered from 0: of the whole layer, or, where ADCs have ranges of their own, of each read alone.

    Args:
        reads, bitlines, converters: as for `RangeGroups`.
    """
    if converters.adc_range is AdcRange.CALIBRATED_LAYER:
        return tuple(np.zeros(len(columns), dtype=np.int64) for columns in bitlines)
    if converters.adc_range is AdcRange.CALIBRATED_COLUMNS:
        return tuple(_number(columns[:, None] // converters.columns_sharing_adc) for columns in bitlines)
    if not reads:
        return ()
    kinds = [_list_kinds(read.layout, read.conversions) for read in reads]
    ends = np.cumsum([len(kind) for kind in kinds])[:-1]
    return tuple(np.split(_number(np.concatenate(kinds)), ends))


def _list_kinds(layout: ArrayLayout, conversions: Conversions) -> Integers:
    """Return what tells the weight slices of conversions apart, int64 [conversions, 4].

    That is the signed weight of its digits; whether a column is subtracted from it before conversion; whether it holds
    ones and adds inputs up; and how far the input slices reach that drive its rows side by side: each of them meets the
    digits of a weight that is shifted further.
    """
    is_pair, is_correction = conversions.minus != NO_COLUMN, np.zeros(layout.cols, dtype=np.bool_)
    if layout.is_correction is not None:
        is_correction = layout.is_correction
    reach = np.full(len(conversions.weight), layout.row_shift.max())
    return np.stack([conversions.weight, is_pair, is_correction[conversions.plus], reach], axis=1).astype(np.int64)


def _number(kinds: Integers) -> Integers:
    """Return the number of each line [lines, width] among those that differ."""
    group: Integers = np.unique(kinds, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return group


def _count(group: Integers) -> int:
    """Return how many groups there are, as far as one read knows."""
    return int(group.max(initial=-1)) + 1
