"""What a total is made of, on a terminal: the shares of its components, and those that are unspecified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mho.cost_model.area import AreaComponent
from mho.cost_model.energy import Component
from mho.cost_model.time_components import TimeComponent
from mho.terminal import Console


def format_components(
    components: Mapping[Component, float] | Mapping[AreaComponent, float] | Mapping[TimeComponent, float], total: float
) -> str:
    """Return the share of each component that has one: ``   mvm 61.0 %   adc 39.0 %``."""
    return "".join(f"   {name} {100 * value / total:.1f} %" for name, value in components.items() if value)


def print_unspecified(console: Console, components: Iterable[str]) -> None:
    """Print which components the total lacks, if any."""
    if names := ", ".join(components):
        console.print(f"unspecified, and not counted: {names}", style="dim")
