"""Mean and variance of what cells of each level hold, over chips and reads: the moments of `mho.array.conductances`.

No formula of a device is repeated here: many cells of each level are written and aged as the simulation does, with
random numbers that are spread evenly over their distribution instead of drawn, so that moments are those of far more
cells. Stuck cells, however rare, count with their rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.array.conductances import CellIdentity, Conditions, Device, age_cells, draw_identity, write_cells
from mho.array.read_noise import read_variance
from mho.array.seeds import CrossbarSeed, Purpose
from mho.hardware.array import Array, OffCurrent
from mho.hardware.spec import Accelerator

Floats = NDArray[np.float64]

CELLS = 4096
"""Cells of each level whose moments are taken."""


@dataclass(frozen=True, eq=False)
class CellStatistics:
    """Moments of the conductance that counts in a sum, by the level that was meant, float64 [levels] each.

    In steps of ideal levels above the lowest level, plus the lowest level's own conductance where its current is kept.
    Cells are independent of each other; of one cell, what is static stays from read to read.

    Attributes:
        mean: over cells; 0 .. levels - 1 where all is ideal.
        variance: over cells, squares of steps: errors of writes, variation, stuck cells, spread of drift.
        read_variance: from read to read of one cell, mean over cells, squares of steps.
    """

    mean: Floats
    variance: Floats
    read_variance: Floats

    @property
    def levels(self) -> int:
        """How many there are."""
        return len(self.mean)


def cell_statistics(hardware: Accelerator, conditions: Conditions | None = None) -> CellStatistics:
    """Return the moments of the cells of an accelerator; wires, ADCs and DACs are no part of them.

    Placement and compensation that get around stuck cells are left out: cells hold what was meant for them.

    Args:
        hardware: whose cells they are.
        conditions: when and how they are read; None: at once.

    Raises:
        ConfigError: the time is before `array.drift_reference_s`.
    """
    array = hardware.array
    effective = (Conditions() if conditions is None else conditions).effective_on(array)
    return _find_statistics(array, hardware.crossbar.cell_bits, effective)


@dataclass(frozen=True)
class StuckCells:
    """Cells that stay as they are, whatever is written.

    Attributes:
        rates: shares of cells in the highest and in the lowest level.
        counts: what these hold, steps as in `CellStatistics`.
    """

    rates: tuple[float, float]
    counts: tuple[float, float]


def stuck_cells(hardware: Accelerator) -> StuckCells | None:
    """Return which cells of an accelerator are stuck; None where there are none."""
    array, device = hardware.array, Device.of(hardware)
    if not array.has_stuck_cells:
        return None
    kept = _kept_steps(array, device)
    rates = float(array.stuck_on_rate), float(array.stuck_off_rate)
    return StuckCells(rates, (device.span + kept, kept))


class _EvenNumbers(np.random.Generator):
    """Standard normal numbers that are spread evenly over their distribution, in random order in each column."""

    def standard_normal(self, size: Any = None, *_: Any, **__: Any) -> Any:
        """Return numbers [rows, cols]: of each column, mean 0 and variance 1."""
        rows, cols = size
        numbers = torch.special.ndtri((torch.arange(rows, dtype=torch.float64) + 0.5) / rows).numpy()
        numbers /= np.sqrt(np.mean(numbers * numbers))
        return self.permuted(np.broadcast_to(numbers[:, None], (rows, cols)), axis=0)


class _EvenSeed(CrossbarSeed):
    """The seed of a crossbar whose random numbers are spread evenly."""

    def stream(self, purpose: Purpose, number: int = 0) -> np.random.Generator:
        return _EvenNumbers(super().stream(purpose, number).bit_generator)


@lru_cache(maxsize=64)
def _find_statistics(array: Array, cell_bits: int, conditions: Conditions) -> CellStatistics:
    device = Device(array, cell_bits)
    good = Device(array.model_copy(update={"stuck_on_rate": 0, "stuck_off_rate": 0}), cell_bits)
    seed = _EvenSeed(chip=0)
    levels = np.arange(device.span + 1)
    rates = float(array.stuck_on_rate), float(array.stuck_off_rate)
    digits = np.tile(levels, (CELLS, 1))
    kinds = [(1 - sum(rates), draw_identity(good, (CELLS, len(levels)), seed))]
    for rate, sign in zip(rates, (1, -1), strict=True):
        if rate:
            kinds.append((rate, CellIdentity(None, np.full(digits.shape, sign, dtype=np.int8), None)))
    mean, square, reads = (np.zeros(len(levels)) for _ in range(3))
    for share, identity in kinds:
        counts = age_cells(device, write_cells(device, digits, identity, seed), identity, conditions)
        variance = read_variance(device, counts, conditions)
        mean += share * counts.mean(axis=0)
        square += share * np.square(counts - levels).mean(axis=0)
        if variance is not None:
            reads += share * variance.mean(axis=0)
    spread = np.maximum(square - np.square(mean - levels), 0.0)
    found = CellStatistics(mean + _kept_steps(array, device), spread, reads)
    for part in (found.mean, found.variance, found.read_variance):
        part.flags.writeable = False
    return found


def _kept_steps(array: Array, device: Device) -> float:
    """Return the conductance of the lowest level that counts in sums, steps."""
    return device.off_steps if array.off_current is OffCurrent.KEPT else 0.0
