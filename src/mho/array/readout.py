"""From column sums to results: what an ADC reads, shifted and added over the steps and the columns of each result."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mho.arithmetic.limits import FLOAT32_LIMIT, FLOAT64_LIMIT, INT32_LIMIT
from mho.array.converters import Adc
from mho.array.layout import ArrayLayout, Conversions
from mho.errors import DataError


class Readout:
    """Converts sums and puts results together, by the formula of `Adc`, operation by operation.

    Where whole sums are only clipped, they are clipped as whole numbers, with the same results.

    Attributes:
        kept_types: sums of these types are not copied into another.
    """

    def __init__(
        self, layout: ArrayLayout, conversions: Conversions, adc: Adc, *, are_whole: bool, are_noisy: bool
    ) -> None:
        """Prepare for sums of `conversions`.

        Args:
            layout: what the array computes.
            conversions: what is converted.
            adc: ranges and errors.
            are_whole: sums are whole numbers.
            are_noisy: sums are float32, with noise: codes may be worked out in float32 too.

        Raises:
            DataError: results may pass 2^53.
        """
        self._layout, self._conversions, self._adc = layout, conversions, adc
        self._only_clips = are_whole and not are_noisy and adc.only_clips
        steps = sum(1 << step * layout.step_shift for step in range(layout.steps))
        largest = np.maximum(np.abs(adc.low), np.abs(adc.low + adc.step * adc.largest_code))
        weight = conversions.weight.astype(np.float64)
        if float(np.bincount(conversions.output, largest * np.abs(weight)).max()) * steps >= FLOAT64_LIMIT:
            raise DataError("results of an ADC may pass 2^53", hint="lower bit widths")
        limits = {torch.int32: INT32_LIMIT, torch.float32: FLOAT32_LIMIT}
        kept = (kind for kind, limit in limits.items() if float(largest.max()) * steps < limit)
        self.kept_types: frozenset[torch.dtype] = frozenset(kept) if self._only_clips else frozenset()
        self._type = torch.float32 if are_noisy and adc.largest_code * steps < FLOAT32_LIMIT else torch.float64
        self._low, self._step, self._gain, self._offset = (
            _number_or_row(part) for part in (adc.low, adc.step, adc.gain, adc.offset)
        )
        self._high = _number_or_row(adc.low + adc.step * adc.largest_code)
        self._has_gain, self._has_offset = bool((adc.gain != 1).any()), bool((adc.offset != 0).any())
        # What a code counts for in its result, and what its result has where all codes are 0.
        scale = weight if self._only_clips else weight * adc.step
        self._scale = [_number_or_row(scale[block]) for block in conversions.blocks]
        self._outputs = [_all_or_some(conversions.output[block], layout.outputs) for block in conversions.blocks]
        base = np.bincount(conversions.output, weight * adc.low * steps, layout.outputs)
        self._base = None if self._only_clips or not base.any() else torch.from_numpy(base)

    def run(self, sums: Tensor, batch: int) -> Tensor:
        """Return results, float64 [batch, outputs], of sums [steps * batch, conversions]; may overwrite sums."""
        codes = self._clip(sums) if self._only_clips else self._convert(sums)
        codes = codes.view(self._layout.steps, batch, codes.shape[1])
        total = codes[-1]
        for step in reversed(codes[:-1].unbind()):
            total = torch.add(step, total, alpha=1 << self._layout.step_shift)
        return self._combine(total.to(torch.float64))

    def _clip(self, sums: Tensor) -> Tensor:
        if isinstance(self._low, float) and isinstance(self._high, float):
            sums.clamp_(int(self._low), int(self._high))
        else:
            low, high = torch.as_tensor(self._low), torch.as_tensor(self._high)
            torch.clamp(sums, low.to(sums.dtype), high.to(sums.dtype), out=sums)
        return sums if sums.dtype in self.kept_types else sums.to(torch.float64)

    def _convert(self, sums: Tensor) -> Tensor:
        values = sums.to(self._type)
        if self._has_gain:
            values.mul_(_as_operand(self._gain, values))
        if self._has_offset:
            values.add_(_as_operand(self._offset, values))
        if not (isinstance(self._low, float) and self._low == 0):
            values.sub_(_as_operand(self._low, values))
        if not (isinstance(self._step, float) and self._step == 1):
            values.div_(_as_operand(self._step, values))
        return values.round_().clamp_(0, self._adc.largest_code)

    def _combine(self, totals: Tensor) -> Tensor:
        results = totals.new_zeros(self._layout.outputs, len(totals)).t()
        if totals.is_contiguous():
            results = results.contiguous()
        for block, scale, outputs in zip(self._conversions.blocks, self._scale, self._outputs, strict=True):
            part = totals[:, block]
            if outputs is not None:
                results.index_add_(1, outputs, part * scale)
            elif isinstance(scale, float):
                results.add_(part, alpha=scale)
            else:
                results.addcmul_(part, scale)
        return results if self._base is None else results.add_(self._base)


def _number_or_row(values: np.ndarray) -> float | Tensor:
    """Return one number where all are alike, else a row."""
    return float(values[0]) if (values == values[0]).all() else torch.from_numpy(values)


def _all_or_some(outputs: np.ndarray, count: int) -> Tensor | None:
    """Return None where a block has all results, in order, else which ones."""
    return None if np.array_equal(outputs, np.arange(count)) else torch.from_numpy(outputs)


def _as_operand(value: float | Tensor, values: Tensor) -> float | Tensor:
    return value if isinstance(value, float) else value.to(values.dtype)
