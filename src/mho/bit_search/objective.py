"""What a search makes least: the cost of a policy, and its unit."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from mho.errors import ConfigError, suggest
from mho.scheduling.cost_objective import CostObjective


class Objective(StrEnum):
    """What a search makes least, each on the schedule that the accelerator's crossbars allow.

    Attributes:
        LATENCY: time of one input that has the accelerator to itself; exact on one crossbar.
        INTERVAL: time between inputs of a full pipeline; its inverse is the throughput.
        ENERGY: of one input, leakage of the whole accelerator included.
        ENERGY_DELAY: that energy times the latency.
        CROSSBARS: how many hold all tiles at once, each layer mapped onto the fewest, whatever there are; exact.
        LIFETIME: writes of the cell that an input writes most often, of which a cell survives so many; of policies that
            write equally often, the latency.
    """

    LATENCY = "latency"
    INTERVAL = "interval"
    ENERGY = "energy"
    ENERGY_DELAY = "energy-delay"
    CROSSBARS = "crossbars"
    LIFETIME = "lifetime"

    @property
    def unit(self) -> str:
        """Of costs: "ps", "aJ" (attojoules), "aJ ps", "crossbars" or "writes" (see `weigh_writes`)."""
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
        """The same for the cost model of chips, which does not count `CROSSBARS`."""
        return CostObjective(str(self))


ObjectiveName = Literal["latency", "interval", "energy", "energy-delay", "crossbars", "lifetime"]
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
        Objective.INTERVAL: "ps",
        Objective.ENERGY: "aJ",
        Objective.ENERGY_DELAY: "aJ ps",
        Objective.CROSSBARS: "crossbars",
        Objective.LIFETIME: "writes",
    }
)
_WORDS: Mapping[Objective, str] = MappingProxyType(
    {
        Objective.LATENCY: "latency",
        Objective.INTERVAL: "time between inputs",
        Objective.ENERGY: "energy of one input",
        Objective.ENERGY_DELAY: "energy-delay product of one input",
        Objective.CROSSBARS: "number of crossbars that hold all weights",
        Objective.LIFETIME: "writes of a cell for one input",
    }
)
