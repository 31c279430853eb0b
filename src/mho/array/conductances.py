"""From the digits that cells should hold to the conductances that they have: writing, variation, faults, drift, reads.

Conductances are counted in level steps, (G_highest - G_lowest) / (levels - 1), above the lowest level: with linear
levels the count of a perfect cell is its digit, a whole number. `Device` knows what a step is in siemens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from mho.argument_checks import check_fields
from mho.array.seeds import CrossbarSeed, Purpose
from mho.errors import ConfigError
from mho.hardware.array import Array, PartOf, State
from mho.hardware.spec import Accelerator
from mho.hardware.write_verify import WriteVerify

Floats = NDArray[np.float64]

BOLTZMANN_EV_PER_K = 8.617333262e-5
"""Boltzmann's constant, eV/K. Source: CODATA 2018."""


@dataclass(frozen=True)
class Device:
    """The cells of a crossbar, in level steps.

    Attributes:
        array: what they really are.
        cell_bits: bits that each holds.
    """

    array: Array
    cell_bits: int

    @classmethod
    def of(cls, accelerator: Accelerator) -> Device:
        """Return the cells of an accelerator."""
        return cls(accelerator.array, accelerator.crossbar.cell_bits)

    @property
    def span(self) -> int:
        """The range of conductances: level steps from the lowest to the highest level."""
        return (1 << self.cell_bits) - 1

    @cached_property
    def levels(self) -> Floats:
        """Counts of all levels, float64 [2^cell_bits], from 0 to `span`."""
        if isinstance(self.array.levels, str):
            return np.arange(self.span + 1, dtype=np.float64)
        return np.array([float(share * self.span) for share in self.array.levels])

    @cached_property
    def off_steps(self) -> float:
        """Conductance of the lowest level: span / (ratio - 1) steps; 0 where it does not conduct."""
        ratio = self.array.on_off_ratio
        return 0.0 if isinstance(ratio, str) else float(self.span / (ratio - 1))

    @cached_property
    def step_siemens(self) -> float:
        """One level step, S.

        Raises:
            ConfigError: the conductance of the highest level is unspecified.
        """
        if self.array.lrs_siemens is None:
            raise ConfigError("conductances in siemens need array.lrs_siemens", expected="array.lrs_siemens")
        return float(self.array.lrs_siemens) / (self.span + self.off_steps)

    def to_siemens(self, counts: Floats) -> Floats:
        """Return conductances, S, of counts of any shape. Raises `ConfigError` as `step_siemens` does."""
        return np.maximum(counts + self.off_steps, 0.0) * self.step_siemens

    def from_siemens(self, conductances_s: Floats) -> Floats:
        """Return counts of conductances, S; also of effective ones that wires leave over, currents by voltages.

        Raises:
            ConfigError: as `step_siemens` does.
        """
        return conductances_s / self.step_siemens - self.off_steps


@dataclass(frozen=True, eq=False)
class CellIdentity:
    """What the cells of a crossbar are for good, [rows, cols] each; None where all are alike.

    Attributes:
        factor: float64, by which the cell's conductance differs from what was written.
        stuck: int8, +1 for a cell that stays in the highest level, -1 in the lowest, 0 for a good one.
        drift_exponent: float64.
    """

    factor: Floats | None
    stuck: NDArray[np.int8] | None
    drift_exponent: Floats | None


@dataclass(frozen=True)
class Conditions:
    """How long after a write an array is read, how warm it is, how often it has been read since.

    Attributes:
        elapsed_s: since the write, s; None: at `array.drift_reference_s`, when conductances are what was written.
        temperature_k: K; None: `array.drift_reference_k`.
        reads: since the write.

    Raises:
        ConfigError: a figure is not positive (reads: negative).
    """

    elapsed_s: float | None = None
    temperature_k: float | None = None
    reads: int = 0

    def __post_init__(self) -> None:
        check_fields(self, "reads")
        if isinstance(self.reads, bool) or not isinstance(self.reads, Real):
            raise ConfigError(f"reads is a {type(self.reads).__name__}", expected="a whole number from 0")
        for name, value in (("elapsed_s", self.elapsed_s), ("temperature_k", self.temperature_k)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value}", expected="a finite number above 0")
        if not (self.reads >= 0 and self.reads == self.reads // 1):
            raise ConfigError(f"reads is {self.reads}", expected="a whole number from 0")

    def effective_on(self, array: Array) -> Conditions:
        """Return the conditions as far as cells depend on them; the rest is unspecified.

        Args:
            array: the cells. Time counts where they drift or their read noise grows, temperature where they drift,
                reads where these disturb.
        """
        elapsed_s, kelvins, drifts = self.elapsed_s, self.temperature_k, array.drifts
        if not (drifts or array.has_growing_noise) or elapsed_s == float(array.drift_reference_s):
            elapsed_s = None
        if kelvins is not None:
            warmer = kelvins - float(array.drift_reference_k)
            # Where it is colder, no time has passed yet at the reference time.
            counts = drifts and array.drift_activation_ev is not None and (warmer > 0 or (warmer and elapsed_s))
            kelvins = kelvins if counts else None
        return Conditions(elapsed_s, kelvins, 0 if isinstance(array.read_disturb_reads, str) else int(self.reads))

    def without_effect_on(self, array: Array) -> tuple[str, ...]:
        """Return the names of what is specified and changes nothing; time counts wherever temperature does."""
        effective = self.effective_on(array)
        names = ["temperature_k", "reads"] if effective.temperature_k else ["elapsed_s", "temperature_k", "reads"]
        return tuple(name for name in names if getattr(self, name) and not getattr(effective, name))


def draw_identity(device: Device, shape: tuple[int, int], seed: CrossbarSeed) -> CellIdentity:
    """Draw what the cells of a whole crossbar are for good.

    - factor exp(s n - s^2 / 2) with n standard normal and s = `cell_variation`: log-normal of mean 1.
    - stuck where a uniform number is below `stuck_off_rate` (off) or at least 1 - `stuck_on_rate` (on): a cell that is
      stuck at some rate is stuck at every higher one.
    - drift exponent max(0, nu + s n) with nu = `drift_exponent` and s = `drift_exponent_std`.

    Args:
        device: the cells.
        shape: rows and columns of the crossbar, whatever a tile uses of it.
        seed: of the crossbar.
    """
    array = device.array
    factor = stuck = exponent = None
    if array.cell_variation:
        std = float(array.cell_variation)
        factor = np.exp(std * seed.stream(Purpose.VARIATION).standard_normal(shape) - std * std / 2)
    if array.stuck_on_rate or array.stuck_off_rate:
        chance = seed.stream(Purpose.FAULTS).random(shape)
        is_on = chance >= 1 - float(array.stuck_on_rate)
        stuck = is_on.astype(np.int8) - (chance < float(array.stuck_off_rate)).astype(np.int8)
    if array.drifts:
        normal = seed.stream(Purpose.DRIFT).standard_normal(shape)
        exponent = np.maximum(0.0, float(array.drift_exponent) + float(array.drift_exponent_std) * normal)
    return CellIdentity(factor, stuck, exponent)


def write_cells(
    device: Device, digits: NDArray[np.integer], identity: CellIdentity, seed: CrossbarSeed, write: int = 0
) -> Floats:
    """Write digits into cells.

    With the conductance G of the level, above zero: G' = max(0, G factor + s n + e), n standard normal, and s =
    `programming_error` (of the level) times the range or times G; e is what the budget of pulses leaves
    (`land_pulses`), times the same. Stuck cells take their level instead.

    Args:
        device: the cells.
        digits: [rows, cols], 0 .. 2^cell_bits - 1.
        identity: of these cells.
        seed: of the crossbar; one normal number a cell is drawn from its stream `Purpose.WRITES`, and one a pulse.
        write: number of the write.

    Returns:
        Counts, float64 [rows, cols]; whole numbers where levels are linear and everything else is ideal.

    Raises:
        ConfigError: a digit has no level.
    """
    if digits.size and not 0 <= int(digits.min()) <= int(digits.max()) <= device.span:
        raise ConfigError(f"digits reach from {int(digits.min())} to {int(digits.max())}", expected=f"0..{device.span}")
    array, off = device.array, device.off_steps
    counts: Floats = device.levels[digits]
    if identity.factor is not None:
        counts = (counts + off) * identity.factor - off
    if array.has_programming_error:
        error = np.array(array.programming_error, dtype=np.float64)
        std = error[digits] if error.ndim else error
        whole = device.span if array.programming_error_of is PartOf.RANGE else device.levels[digits] + off
        if error.any():
            normal = seed.stream(Purpose.WRITES, write).standard_normal(digits.shape)
            counts = np.add(counts, np.multiply(std * whole, normal, out=normal), out=normal)
        pulses = WriteVerify.of(array)
        if pulses is not None:
            counts = counts + land_pulses(pulses, digits.shape, seed.stream(Purpose.PULSES, write)) * whole
        counts = np.maximum(counts, -off)
    if identity.stuck is not None:
        counts = np.where(identity.stuck > 0, float(device.span), np.where(identity.stuck < 0, 0.0, counts))
    return counts


def land_pulses(pulses: WriteVerify, shape: tuple[int, ...], stream: np.random.Generator) -> Floats:
    """Return how far off the budget of pulses leaves cells, float64 of `shape`, as parts of what deviations are of.

    A cell is left at its first error within the tolerance, else at the last one. Every pulse draws a number for each
    cell, so that a larger budget changes nothing about cells that a smaller one has done. What a conductance below zero
    would be counts as drawn, before it is cut off.

    Args:
        pulses: the budget.
        shape: of the cells.
        stream: of this write (`Purpose.PULSES`).
    """
    errors = np.zeros(shape)
    is_open = np.ones(shape, dtype=np.bool_)
    for deviation in pulses.deviations:
        errors = np.where(is_open, deviation * stream.standard_normal(shape), errors)
        is_open &= np.abs(errors) > pulses.tolerance
        if not is_open.any():
            break
    return errors


def age_cells(device: Device, counts: Floats, identity: CellIdentity, conditions: Conditions) -> Floats:
    """Let time pass and reads disturb; stuck cells stay.

    Drift: G(t) = G(t0) (t / t0)^-nu for t >= t0. Source: I. Boybat et al., "Impact of conductance drift on multi-PCM
    synaptic architectures", NVMTS 2018. At another temperature t is exp((Ea / k) (1 / T0 - 1 / T)) times as long.
    Source of the factor: JEDEC JEP122E, temperature acceleration (Arrhenius).

    Reads: G(n) = E + (G - E) exp(-n / N) with the end E of the range and N = `read_disturb_reads`: every read takes
    the same share of the distance that is left. The form is an assumption; N is to be fitted to a device.

    Args:
        device: the cells.
        counts: [rows, cols], as written.
        identity: of these cells.
        conditions: when and how they are read.

    Returns:
        Counts, float64 [rows, cols].

    Raises:
        ConfigError: the time is before `array.drift_reference_s`.
    """
    array, off, aged = device.array, device.off_steps, counts
    if identity.drift_exponent is not None:
        logarithm = _log_of_time(array, conditions)
        if logarithm:
            # Adding the change, instead of scaling, keeps what does not drift as it is to the last bit.
            aged = aged + (aged + off) * np.expm1(-identity.drift_exponent * logarithm)
    if conditions.reads and not isinstance(array.read_disturb_reads, str):
        end = device.span if array.read_disturb_towards is State.LRS else 0
        aged = aged + (aged - end) * math.expm1(-conditions.reads / array.read_disturb_reads)
    return aged if identity.stuck is None else np.where(identity.stuck == 0, aged, counts)


def read_deviation(array: Array, conditions: Conditions) -> float:
    """Return the standard deviation of a cell at one read, as a part of what `read_noise_of` says.

    1/f noise integrates over all frequencies between that of the age t of a cell and that of a read of tau seconds, so
    that its variance grows as ln((t + tau) / (2 tau)). Source: S. R. Nandakumar et al., "Phase-change memory models for
    deep learning training and inference", ICECS 2019.

    Args:
        array: the cells. `read_noise` is the deviation at t = `drift_reference_s`, tau is `read_noise_averaging_s`.
        conditions: when cells are read; temperature and reads do not count.

    Raises:
        ConfigError: the time is before `array.drift_reference_s`.
    """
    noise, averaging = float(array.read_noise), array.read_noise_averaging_s
    if not noise or averaging is None:
        return noise
    tau, reference = float(averaging), float(array.drift_reference_s)
    now, then = (math.log((age + tau) / (2 * tau)) for age in (_age_s(array, conditions), reference))
    return noise * math.sqrt(now / then)


def check_conditions(device: Device, conditions: Conditions) -> None:
    """Let one cell age: tells what is wrong with the conditions. Raises `ConfigError` as `age_cells` does."""
    read_deviation(device.array, conditions)
    age_cells(device, np.zeros((1, 1)), draw_identity(device, (1, 1), CrossbarSeed(chip=0)), conditions)


def _log_of_time(array: Array, conditions: Conditions) -> float:
    """Return ln(t / t0) with the time that counts at the temperature; not below 0."""
    logarithm = math.log(_age_s(array, conditions) / float(array.drift_reference_s))
    if array.drift_activation_ev is not None and conditions.temperature_k is not None:
        slower = 1 / float(array.drift_reference_k) - 1 / conditions.temperature_k
        logarithm += float(array.drift_activation_ev) / BOLTZMANN_EV_PER_K * slower
    return max(0.0, logarithm)


def _age_s(array: Array, conditions: Conditions) -> float:
    """Return the time since the write, s; `drift_reference_s` where none is specified, and never before it."""
    reference = float(array.drift_reference_s)
    elapsed = reference if conditions.elapsed_s is None else conditions.elapsed_s
    if elapsed < reference:
        raise ConfigError(
            f"elapsed_s is {elapsed}, before array.drift_reference_s, at which drift begins",
            expected=f"at least {reference}",
        )
    return elapsed
