"""What a policy's cost on a chip is made of, and which of it an objective is about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from mho.scheduling.regime import Regime

WRITE_WEIGHT = 10**18
"""ps that a write of a cell an input weighs under `LIFETIME`: a million seconds, so that latencies only break ties."""


class CostObjective(StrEnum):
    """What a policy's cost is.

    Attributes:
        LATENCY: time of one input that has the chip to itself.
        INTERVAL: time between inputs of a full pipeline; its inverse is the throughput.
        ENERGY: of one input that has the chip to itself, leakage of the whole chip included.
        ENERGY_DELAY: that energy times that time.
        LIFETIME: writes of the cell that an input writes most often; of equals the latency.
    """

    LATENCY = "latency"
    INTERVAL = "interval"
    ENERGY = "energy"
    ENERGY_DELAY = "energy-delay"
    LIFETIME = "lifetime"

    @property
    def needs_energy(self) -> bool:
        """True where the accelerator must specify energies."""
        return self in (CostObjective.ENERGY, CostObjective.ENERGY_DELAY)


@dataclass(frozen=True)
class ChipCost:
    """What one policy takes on a chip.

    Attributes:
        latency_ps: of one input.
        interval_ps: between inputs.
        energy_aj: of one input, aJ; components without a figure are not counted.
        crossbars: that hold something.
        cell_writes: how often an input writes a cell of the crossbars that are written.
        regime: whether tiles are rewritten for every input, as the chip does not hold all.
        is_rough: True where the interconnect is near saturation even on the fewest crossbars: times are rough.
    """

    latency_ps: int
    interval_ps: int
    energy_aj: int
    crossbars: int
    cell_writes: Fraction = Fraction(0)
    regime: Regime = Regime.WEIGHT_STATIONARY
    is_rough: bool = False

    def value(self, objective: CostObjective) -> int:
        """Return the cost in ps, aJ, aJ ps, or as of `weigh_writes`."""
        return {
            CostObjective.LATENCY: self.latency_ps,
            CostObjective.INTERVAL: self.interval_ps,
            CostObjective.ENERGY: self.energy_aj,
            CostObjective.ENERGY_DELAY: self.energy_aj * self.latency_ps,
            CostObjective.LIFETIME: weigh_writes(self.cell_writes, self.latency_ps),
        }[objective]


def weigh_writes(cell_writes: Fraction | int, latency_ps: int) -> int:
    """Return writes of a cell an input as a cost, with the latency to break ties: a write weighs `WRITE_WEIGHT` ps."""
    return int(cell_writes * WRITE_WEIGHT) + latency_ps
