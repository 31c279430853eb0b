"""What converters make of numbers and sums: DACs that are not quite linear, ADCs with codes, ranges and errors.

Sums are counted in level steps times DAC steps: with ideal cells and DACs they are whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.errors import ConfigError
from mho.hardware.converters import Converters

Floats = NDArray[np.float64]


def drive_levels(dac_bits: int, inl_lsb: float) -> Floats:
    """Return the voltages of all codes of a DAC, in DAC steps, float64 [2^dac_bits].

    V(x) = x + 4 inl (x / m) (1 - x / m) for x = 0 .. m: a parabola through both ends, as the integral non-linearity is
    measured between them, with its largest deviation `inl_lsb` in the middle. A DAC of one bit has its ends only.
    """
    codes = np.arange(1 << dac_bits, dtype=np.float64)
    share = codes / codes[-1]
    voltages: Floats = codes + 4 * inl_lsb * share * (1 - share)
    return voltages


@dataclass(frozen=True, eq=False)
class Adc:
    """The conversions of an array's sums.

    code = clip(round((gain sum + offset - low) / step), 0, 2^bits - 1), halves to even; the code is read as
    low + step code. All in float64, operation by operation, so that every engine rounds alike.

    Attributes:
        bits: of a code.
        low, step: float64 [conversions], what code 0 is read as, and one code more.
        gain, offset: float64 [conversions], errors of the converter: 1 and 0 where it has none.

    Raises:
        ConfigError: shapes differ, or a step is not above 0.
    """

    bits: int
    low: Floats
    step: Floats
    gain: Floats
    offset: Floats

    def __post_init__(self) -> None:
        if len({part.shape for part in (self.low, self.step, self.gain, self.offset)}) > 1 or self.low.ndim != 1:
            raise ConfigError("ranges and errors of an ADC are not one a conversion each")
        if not (np.isfinite(self.step).all() and (self.step > 0).all()):
            raise ConfigError("an ADC has a step that is not above 0", expected="a range that is not empty")

    @property
    def largest_code(self) -> int:
        """2^bits - 1."""
        return (1 << self.bits) - 1

    @property
    def has_errors(self) -> bool:
        """True where a gain is not 1 or an offset not 0."""
        return bool((self.gain != 1).any() or (self.offset != 0).any())

    @property
    def only_clips(self) -> bool:
        """True where whole sums are read as they are, as far as they are in range."""
        return not self.has_errors and bool((self.step == 1).all() and (self.low == np.rint(self.low)).all())

    def convert(self, sums: Floats) -> Floats:
        """Return the codes of sums, float64 [..., conversions], whole numbers 0 .. 2^bits - 1."""
        return np.clip(np.rint((self.gain * sums + self.offset - self.low) / self.step), 0, self.largest_code)

    def read(self, codes: Floats) -> Floats:
        """Return what codes [..., conversions] are read as."""
        return self.low + self.step * codes


def make_adc(bits: int, lowest: Floats, highest: Floats) -> Adc:
    """Spread the codes of an ADC without errors over ranges.

    Zero is a code of its own. Where no sum is negative, code 0 is zero and the last code the highest sum; otherwise
    codes are those of two's complement, and the last one reads the larger end (with one bit: the two codes read both
    ends). A step is never finer than one count: where the codes suffice, whole sums are read exactly.

    Args:
        bits: of a code.
        lowest, highest: float64 [conversions], the least and the largest sum that is to be read.

    Raises:
        ConfigError: a range is empty or not finite.
    """
    if not (np.isfinite(lowest).all() and np.isfinite(highest).all() and (lowest <= highest).all()):
        raise ConfigError("a range of an ADC is empty or not finite", expected="lowest <= highest")
    is_signed = lowest < 0
    largest = np.maximum(np.abs(lowest), np.abs(highest))
    half = 1 << (bits - 1)
    codes_above_zero = np.where(is_signed, max(half - 1, 0), 2 * half - 1)
    step = np.maximum(1.0, largest / np.maximum(codes_above_zero, 1))
    low = np.where(is_signed, -half * step, 0.0)
    if bits == 1:
        step = np.where(is_signed, np.maximum(1.0, 2 * largest), step)
        low = np.where(is_signed, -step / 2, 0.0)
    return Adc(bits, low, step, np.ones_like(step), np.zeros_like(step))


def add_errors(adc: Adc, converters: Converters, converter: NDArray[np.int64], normals: Floats) -> Adc:
    """Return an ADC with the errors of its converters: offsets and gains, Gaussian, that they have for good.

    Args:
        adc: without errors.
        converters: standard deviations, `adc_offset_lsb` (times the step) and `adc_gain_error`.
        converter: int64 [conversions], number of the converter that makes each conversion.
        normals: float64 [2, converters of the crossbar], standard normal numbers of their offsets and gains.
    """
    offset, gain = normals
    return Adc(
        adc.bits,
        adc.low,
        adc.step,
        1 + float(converters.adc_gain_error) * gain[converter],
        float(converters.adc_offset_lsb) * offset[converter] * adc.step,
    )
