"""Ranges of calibrated ADCs while a layer trains: found on its sums, kept for some steps, and found again.

They come from what `mho.simulation.adc_ranges` takes them from: sums of columns without read noise and before
conversion, by the same rule. There a finished network runs calibration data on one chip; here weights change, so the
batch and the chip of the step stand for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.array.calibration import RangeRule
from mho.array.converters import make_adc
from mho.array.layout import Conversions
from mho.array.product import ArrayProduct
from mho.array.range_groups import Range, RangeGroups
from mho.errors import ConfigError
from mho.hardware.spec import Accelerator

DEFAULT_STEPS = 100
_KEPT_BYTES = 1 << 26
"""Sums of a layer, at most, that are kept from one look to the next; more are found twice."""


@dataclass(frozen=True)
class RangeRenewal:
    """How ranges of calibrated ADCs are found while a network trains.

    Attributes:
        rule: how they follow from sums.
        steps: after so many steps they are found again, and at the start of every epoch.

    Raises:
        ConfigError: steps is below 1.
    """

    rule: RangeRule = field(default_factory=RangeRule)
    steps: int = DEFAULT_STEPS

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"ranges are kept for {self.steps} steps", expected="at least 1")


class TileRanges:
    """The ranges of one layer's ADCs, for each read of each tile."""

    def __init__(self, hardware: Accelerator, renewal: RangeRenewal) -> None:
        """Prepare; there are no ranges yet. The hardware has calibrated ADCs."""
        converters = hardware.converters
        self._bits, self._renewal = int(converters.adc_bits), renewal
        self._converters = converters
        self._ranges: tuple[Range, ...] = ()
        self._left = 0

    @property
    def are_due(self) -> bool:
        """Whether ranges are to be found before the next product."""
        return self._left < 1

    def forget(self) -> None:
        """Find ranges again before the next product."""
        self._left = 0

    def step(self) -> None:
        """Count a step."""
        self._left -= 1

    def find(
        self,
        bitlines: Sequence[NDArray[np.int64]],
        reads: Sequence[ArrayProduct],
        run: Callable[[], Iterable[tuple[int, ArrayProduct, Tensor]]],
    ) -> None:
        """Find all ranges.

        Args:
            bitlines: of each read, the column of the crossbar that each conversion reads first.
            reads: of each read of each tile, its product; where operands are stored, that of any sample.
            run: goes through the number of a read, its product, observed, and codes that drive it; all of them.
        """
        groups = RangeGroups(reads, bitlines, self._converters)
        kept: list[tuple[int, Tensor, float]] = []
        left = _KEPT_BYTES if self._renewal.rule.counts_sums else 0
        for found in _list_sums(run()):
            groups.see(*found)
            left -= found[1].nbytes
            if left >= 0:
                kept.append(found)
        if self._renewal.rule.counts_sums:
            for found in kept if left >= 0 else _list_sums(run()):
                groups.count(*found)
        self._ranges = groups.find_ranges(self._renewal.rule, self._bits)
        self._left = self._renewal.steps

    def of_read(self, number: int) -> Range:
        """Return the ranges of a read, in the order in which they were found."""
        return self._ranges[number]

    def share_within(self, number: int, product: ArrayProduct, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return how much of each result comes from conversions that are not clipped, and of how much.

        Conversions count with their weights in the result. Errors of the ADC, and of reads, are left aside.

        Args:
            number: of the read.
            product: observed.
            codes: that drive it, [batch, rows].

        Returns:
            float64 [batch, outputs] and [outputs].
        """
        adc = make_adc(self._bits, *self._ranges[number])
        lowest, highest = adc.low - adc.step / 2, adc.low + adc.step * (adc.largest_code + 0.5)
        sums = product.sum_columns(codes)
        low = torch.from_numpy(np.ceil(lowest / product.sum_unit)).to(sums.dtype)
        high = torch.from_numpy(np.floor(highest / product.sum_unit)).to(sums.dtype)
        is_within = ((sums >= low) & (sums <= high)).to(torch.float64)
        layout = product.layout
        steps = 2.0 ** (layout.step_shift * torch.arange(layout.steps, dtype=torch.float64))
        of_conversions = torch.einsum("snc,s->nc", is_within.view(layout.steps, len(codes), -1), steps)
        weights, output = _weights(product.conversions)
        found = torch.zeros(len(codes), layout.outputs, dtype=torch.float64)
        whole = torch.zeros(layout.outputs, dtype=torch.float64)
        found.index_add_(1, output, of_conversions * weights)
        return found, whole.index_add_(0, output, weights * steps.sum())


def _list_sums(reads: Iterable[tuple[int, ArrayProduct, Tensor]]) -> Iterator[tuple[int, Tensor, float]]:
    """Yield the number of each read, its sums, and what one is worth in them."""
    return ((number, product.sum_columns(codes), product.sum_unit) for number, product, codes in reads)


def _weights(conversions: Conversions) -> tuple[Tensor, Tensor]:
    weights = torch.from_numpy(np.abs(conversions.weight).astype(np.float64))
    return weights, torch.from_numpy(conversions.output)
