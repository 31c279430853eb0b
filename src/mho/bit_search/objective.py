"""What a search makes least: the cost of a policy, and its unit."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from mho.errors import ConfigError, suggest
from mho.scheduling.chip_cost import CostObjective


class Objective(StrEnum):
    """What a search makes least.

    Attributes:
        LATENCY: time of one sample on one crossbar that is used again for every tile; exact.
        CHIP_LATENCY: time of one input that has the whole chip to itself.
        INTERVAL: time between inputs on the whole chip, its pipeline full; its inverse is the throughput.
        ENERGY: of one input on the whole chip; on one crossbar where the chip has no more.
        ENERGY_DELAY: that energy times the latency.
        CROSSBARS: how many hold all tiles at once, each layer mapped onto the fewest; exact.
    """

    LATENCY = "latency"
    CHIP_LATENCY = "chip-latency"
    INTERVAL = "interval"
    ENERGY = "energy"
    ENERGY_DELAY = "energy-delay"
    CROSSBARS = "crossbars"

    @property
    def unit(self) -> str:
        """Of costs: "ps", "aJ" (attojoules), "aJ ps" or "crossbars"."""
        return _UNITS[self]

    @property
    def words(self) -> str:
        """What costs are, for people."""
        return _WORDS[self]

    @property
    def exponent(self) -> int:
        """The power of a sum over layers that costs are like: a product of two such sums is like a square."""
        return 2 if self is Objective.ENERGY_DELAY else 1

    @property
    def on_chip(self) -> CostObjective:
        """The same for the cost model of chips, which tells neither `LATENCY` on one crossbar nor `CROSSBARS`."""
        return CostObjective(str(self))


ObjectiveName = Literal["latency", "chip-latency", "interval", "energy", "energy-delay", "crossbars"]
"""The values of `Objective`."""


def parse_objective(name: str) -> Objective:
    """Return the objective of that name. Raises `ConfigError` for an unknown one."""
    if name not in list(Objective):
        raise ConfigError(
            f"unknown objective {name!r}",
            where="objective",
            expected=", ".join(Objective),
            hint=suggest(name, Objective),
        )
    return Objective(name)


_UNITS: Mapping[Objective, str] = MappingProxyType(
    {
        Objective.LATENCY: "ps",
        Objective.CHIP_LATENCY: "ps",
        Objective.INTERVAL: "ps",
        Objective.ENERGY: "aJ",
        Objective.ENERGY_DELAY: "aJ ps",
        Objective.CROSSBARS: "crossbars",
    }
)
_WORDS: Mapping[Objective, str] = MappingProxyType(
    {
        Objective.LATENCY: "latency on one crossbar",
        Objective.CHIP_LATENCY: "latency on the whole chip",
        Objective.INTERVAL: "time between inputs on the whole chip",
        Objective.ENERGY: "energy of one input",
        Objective.ENERGY_DELAY: "energy-delay product of one input",
        Objective.CROSSBARS: "number of crossbars that hold all weights",
    }
)
