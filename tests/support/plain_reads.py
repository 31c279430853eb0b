"""A crossbar written plainly, and the moments of its noisy answers in closed form: the oracle of noise and converters.

Cells are written as devices say, wires are solved node by node, ADCs follow from ranges and from the streams of their
seed. Nothing is sampled: what noise makes of a converted sum is added up over the codes of the ADC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mho.array.conductances import Conditions, Device, age_cells, draw_identity, write_cells
from mho.array.converters import drive_levels
from mho.array.layout import NO_COLUMN, ArrayLayout, Conversions, list_conversions
from mho.array.nodal import first_order_variance, solve_nodal
from mho.array.placement import Lines
from mho.array.seeds import CrossbarSeed, Purpose
from mho.array.wires import Wires
from mho.hardware.spec import Accelerator

SIGMAS = 5.6
"""Chance lies outside of so many standard errors once in 5 x 10^7."""


@dataclass(frozen=True, eq=False)
class PlainCrossbar:
    """What the lines of a crossbar hold; voltages are those of the rows that are written, in DAC steps.

    Attributes:
        hardware: its cells and wires.
        counts: level steps above the lowest level, float64 [wordlines, bitlines].
        lines: that its rows and columns lie on.
    """

    hardware: Accelerator
    counts: np.ndarray
    lines: Lines

    @classmethod
    def written(
        cls,
        hardware: Accelerator,
        digits: np.ndarray,
        seed: CrossbarSeed,
        conditions: Conditions | None = None,
        lines: Lines | None = None,
        write: int = 0,
    ) -> PlainCrossbar:
        rows, cols = hardware.crossbar.rows, hardware.crossbar.cols
        where = Lines.as_mapped(rows, cols) if lines is None else lines
        whole = np.zeros((rows, cols + hardware.array.spare_cols), dtype=np.int64)
        for row, col in np.ndindex(digits.shape):
            whole[where.rows[row], where.cols[col]] = digits[row, col]
        device, aged = Device.of(hardware), conditions or Conditions()
        parts = []
        for part, own in ((whole[:, :cols], seed), (whole[:, cols:].T, seed.spares)):
            identity = draw_identity(device, part.shape, own)
            parts.append(age_cells(device, write_cells(device, part, identity, own, write), identity, aged))
        return cls(hardware, np.concatenate([parts[0], parts[1].T], axis=1), where)

    def cut(self, corner: int) -> PlainCrossbar:
        """Return the rows and columns from number `corner` on."""
        return replace(self, lines=Lines(self.lines.rows[corner:], self.lines.cols[corner:]))

    def sums(self, volts: np.ndarray) -> np.ndarray:
        """Return the sums of all columns without noise, less the lowest level, of volts [vectors, rows]."""
        device, driven = Device.of(self.hardware), self._drive(volts)
        if not self.hardware.array.has_wires:
            return (driven @ self.counts)[:, self.lines.cols]
        amperes = solve_nodal(device.to_siemens(self.counts), driven, self._wires).currents_ampere
        steps = amperes / device.step_siemens - device.off_steps * driven.sum(axis=1, keepdims=True)
        return steps[:, self.lines.cols]

    def variances(self, volts: np.ndarray) -> np.ndarray:
        """Return the variances of the sums of all columns, to first order where wires have a resistance."""
        device, driven = Device.of(self.hardware), self._drive(volts)
        array = self.hardware.array
        whole = self.counts + device.off_steps
        if array.read_noise_of == "range":
            whole = np.full(whole.shape, float(device.span))
        deviations = float(array.read_noise) * whole
        if not array.has_wires:
            return (driven**2 @ deviations**2)[:, self.lines.cols]
        step = device.step_siemens
        found = first_order_variance(device.to_siemens(self.counts), deviations * step, driven, self._wires)
        return found[:, self.lines.cols] / step**2

    @property
    def _wires(self) -> Wires:
        array = self.hardware.array
        return Wires(float(array.row_segment_ohm), float(array.col_segment_ohm), array.driven_ends)

    def _drive(self, volts: np.ndarray) -> np.ndarray:
        driven = np.zeros((len(volts), len(self.counts)))
        driven[:, self.lines.rows[: volts.shape[1]]] = volts
        return driven


@dataclass(frozen=True, eq=False)
class PlainAdc:
    """Ranges and errors of the converters of all conversions, [conversions] each."""

    bits: int
    low: np.ndarray
    step: np.ndarray
    gain: np.ndarray
    offset: np.ndarray

    def read(self, sums: np.ndarray) -> np.ndarray:
        codes = np.rint((self.gain * sums + self.offset - self.low) / self.step)
        return self.low + self.step * np.clip(codes, 0, 2**self.bits - 1)


def plain_adc(
    hardware: Accelerator,
    layout: ArrayLayout,
    seed: CrossbarSeed,
    lines: Lines | None = None,
    ranges: tuple[np.ndarray, np.ndarray] | None = None,
) -> PlainAdc | None:
    """Return the converters of a crossbar, as docs/arrays.md tells them; None where they are ideal."""
    converters, crossbar = hardware.converters, hardware.crossbar
    if isinstance(converters.adc_bits, str):
        return None
    conversions = list_conversions(layout, converters.column_difference)
    lowest, highest = _full_scale(hardware, layout) if ranges is None else ranges
    codes = 2**converters.adc_bits
    signed = lowest < 0
    step = np.maximum(1.0, np.maximum(-lowest, highest) / np.where(signed, codes // 2 - 1, codes - 1))
    low = np.where(signed, -(codes // 2) * step, 0.0)
    shared = max(converters.columns_per_adc, 2 if converters.column_difference == "analog" else 1)
    own, more = seed.stream(Purpose.ADC), seed.spares.stream(Purpose.ADC)
    own_count, all_count = (-(-cols // shared) for cols in (crossbar.cols, crossbar.cols + hardware.array.spare_cols))
    normals = np.concatenate([own.standard_normal((2, own_count)).T, more.standard_normal((all_count - own_count, 2))])
    bitlines = conversions.plus if lines is None else lines.cols[conversions.plus]
    offset, gain = normals[bitlines // shared].T
    return PlainAdc(
        converters.adc_bits, low, step, 1 + float(converters.adc_gain_error) * gain,
        float(converters.adc_offset_lsb) * offset * step,
    )  # fmt: skip


def _full_scale(hardware: Accelerator, layout: ArrayLayout) -> tuple[np.ndarray, np.ndarray]:
    conversions = list_conversions(layout, hardware.converters.column_difference)
    up, down = np.sum(layout.row_sign > 0), np.sum(layout.row_sign < 0)
    single = conversions.minus == NO_COLUMN
    largest = (2**layout.dac_bits - 1) * (Device.of(hardware).span + np.where(single, _kept_steps(hardware), 0.0))
    return -largest * np.where(single, down, up + down), largest * np.where(single, up, up + down)


def plain_answers(
    hardware: Accelerator,
    layout: ArrayLayout,
    counts: np.ndarray,
    codes: np.ndarray,
    adc: PlainAdc | None,
    *,
    fraction_bits: int,
) -> np.ndarray:
    """Return answers [batch, outputs] without noise: sums of every conversion in every step, converted, added.

    Args:
        hardware: its converters, and whether the lowest level counts.
        layout: what the array computes.
        counts: what its columns carry a DAC step of each row, level steps, [rows, cols].
        codes: [batch, rows].
        adc: None where it is ideal.
        fraction_bits: of level steps; sums next to a threshold fall on its side where cells are resolved as finely.
    """
    conversions = list_conversions(layout, hardware.converters.column_difference)
    volts, kept, single = _drives(hardware, layout, codes), _kept_steps(hardware), conversions.minus == NO_COLUMN
    matrix = counts[:, conversions.plus] + np.where(single, kept, -counts[:, conversions.minus])
    unit = 2.0**fraction_bits
    sums = volts @ (np.rint(matrix * unit) / unit)
    if adc is not None:
        sums = adc.read(sums)
    return np.einsum("sbc,sc,co->bo", sums, _factors(layout, conversions), _table(layout, conversions))


def _drives(hardware: Accelerator, layout: ArrayLayout, codes: np.ndarray) -> np.ndarray:
    """Return voltages, as finely as docs/arrays.md says, DAC steps, [steps, batch, rows]."""
    levels = np.rint(drive_levels(layout.dac_bits, float(hardware.converters.dac_inl_lsb)) * 4096) / 4096
    return layout.row_sign * levels[layout.slice_codes(codes)]


def _kept_steps(hardware: Accelerator) -> float:
    """Return what the lowest level counts, level steps."""
    return Device.of(hardware).off_steps if hardware.array.off_current == "kept" else 0.0


def _factors(layout: ArrayLayout, conversions: Conversions) -> np.ndarray:
    """Return what each step [steps] of each conversion [conversions] counts for."""
    return (2.0 ** (np.arange(layout.steps) * layout.step_shift))[:, None] * conversions.weight


def _table(layout: ArrayLayout, conversions: Conversions) -> np.ndarray:
    """Return 1 for the result of each conversion, [conversions, outputs]."""
    table = np.zeros((len(conversions.plus), layout.outputs))
    table[np.arange(len(table)), conversions.output] = 1
    return table


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean, variance and fourth central moment of answers, and the largest that one code more changes them by."""

    mean: np.ndarray
    variance: np.ndarray
    fourth: np.ndarray
    jump: np.ndarray

    def hold(self, samples: np.ndarray, case: str, *, first_order: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Compare samples [reads, ...] with them; return standard errors by which means and variances are off.

        Rare codes are allowed for as by Bernstein's inequality. Of what returns, only answers with no rare codes are
        left, each near a standard normal number.

        Args:
            samples: of answers.
            case: which case it is.
            first_order: by what part variances may be off.
        """
        reads, usual = len(samples), self.fourth < 12 * self.variance**2
        spread, rare = np.sqrt(self.variance / reads), 10 * self.jump / reads
        off = samples.mean(axis=0) - self.mean
        assert (np.abs(off) <= SIGMAS * spread + rare + 1e-4).all(), f"{case}: the mean is off"
        errors = np.sqrt(np.maximum(self.fourth - self.variance**2, 0) / reads)
        gaps = ((samples - self.mean) ** 2).mean(axis=0) - self.variance
        allowed = SIGMAS * errors + 10 * self.jump * rare + first_order * self.variance + 1e-4
        assert (np.abs(gaps) <= allowed).all(), f"{case}: the variance is off"
        usual &= self.variance > 1e-6
        return off[usual] / spread[usual], gaps[usual] / errors[usual]


def plain_moments(crossbar: PlainCrossbar, layout: ArrayLayout, codes: np.ndarray, adc: PlainAdc | None) -> Moments:
    """Return the moments of the answers [batch, outputs] of codes [batch, rows]: each conversion has noise of its own.

    Args:
        crossbar: its cells and wires.
        layout: what it computes.
        codes: [batch, rows].
        adc: None where it is ideal.
    """
    hardware = crossbar.hardware
    conversions = list_conversions(layout, hardware.converters.column_difference)
    volts = _drives(hardware, layout, codes).reshape(-1, layout.rows)
    sums, variances = crossbar.sums(volts), crossbar.variances(volts)
    single, kept = conversions.minus == NO_COLUMN, _kept_steps(hardware) * volts.sum(axis=1, keepdims=True)
    mean = sums[:, conversions.plus] + np.where(single, kept, -sums[:, conversions.minus])
    variance = variances[:, conversions.plus] + np.where(single, 0.0, variances[:, conversions.minus])
    parts = (mean, variance, 3 * variance**2) if adc is None else _read_moments(mean, np.sqrt(variance), adc)
    mean, variance, fourth = (part.reshape(layout.steps, len(codes), -1) for part in parts)
    factors, table = _factors(layout, conversions), _table(layout, conversions)
    mean, variance, beyond = (
        np.einsum("sbc,sc,co->bo", part, factors**power, table)
        for part, power in ((mean, 1), (variance, 2), (fourth - 3 * variance**2, 4))
    )
    steps = np.zeros(len(table)) if adc is None else adc.step
    jump = (np.abs(factors[-1]) * steps)[:, None] * table
    return Moments(mean, variance, beyond + 3 * variance**2, jump.max(axis=0))


def _read_moments(mean: np.ndarray, std: np.ndarray, adc: PlainAdc) -> tuple[np.ndarray, ...]:
    """Return mean, variance and fourth central moment of what is read of Gaussian sums [n, conversions]."""
    place = (adc.gain * mean + adc.offset - adc.low) / adc.step
    spread = np.abs(adc.gain) * std / adc.step
    codes = np.arange(2**adc.bits)
    edges = np.concatenate([[-math.inf], codes[:-1] + 0.5, [math.inf]])
    with np.errstate(divide="ignore", invalid="ignore"):
        below = torch.special.ndtr(torch.from_numpy((edges - place[..., None]) / spread[..., None])).numpy()
    shares = np.diff(below, axis=-1)
    still = (adc.read(mean) - adc.low) / adc.step
    shares = np.where((spread == 0)[..., None], codes == still[..., None], shares)
    average = shares @ codes
    away = codes - average[..., None]
    second, fourth = ((shares * away**power).sum(axis=-1) for power in (2, 4))
    return adc.low + adc.step * average, adc.step**2 * second, adc.step**4 * fourth


def hold_all_together(found: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Hold what `Moments.hold` returned for many independent samples: standard normal numbers, nearly."""
    for number, name in enumerate(("means", "variances")):
        errors = np.concatenate([one[number] for one in found])
        assert len(errors) > 30
        assert abs(errors.mean()) < 5 / math.sqrt(len(errors)), f"{name} are off all together"
        assert abs((errors**2).mean() - 1) < 6 * math.sqrt(2 / len(errors)), f"{name} do not scatter as by chance"
