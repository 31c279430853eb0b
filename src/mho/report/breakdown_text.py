"""What a total is made of, on a terminal: the shares of its components, and those that are unspecified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mho.cost_model.area import AreaComponent
from mho.cost_model.energy import Component
from mho.cost_model.time_components import TimeComponent
from mho.formats import format_share
from mho.hardware.spec import Accelerator
from mho.terminal import Console

_TIMES = {
    TimeComponent.WRITE: "writes",
    TimeComponent.READ: "MVMs",
    TimeComponent.CONVERSION: "conversions",
    TimeComponent.DIGITAL: "digital work",
}


def format_components(
    components: Mapping[Component, float] | Mapping[AreaComponent, float] | Mapping[TimeComponent, float], total: float
) -> str:
    """Return the share of each component that has one: ``   mvm 61.0 %   adc 39.0 %``."""
    return "".join(f"   {name} {100 * value / total:.1f} %" for name, value in components.items() if value)


def print_unspecified(console: Console, components: Iterable[str]) -> None:
    """Print which components the total lacks, if any."""
    if names := ", ".join(components):
        console.print(f"unspecified, and not counted: {names}", style="dim")


def format_time_components(times: Mapping[TimeComponent, int]) -> str:
    """Return the share of each component that takes time: ``time: writes 38.1 %, MVMs 61.9 %``."""
    total = sum(times.values()) or 1
    return "time: " + ", ".join(f"{_TIMES[part]} {format_share(time / total)}" for part, time in times.items() if time)


def print_reuse(console: Console, accelerator: Accelerator) -> None:
    """Print, of an accelerator of several crossbars, that times are those of one alone."""
    if (crossbars := accelerator.chip.crossbars) > 1:
        line = f"one of {crossbars:,} crossbars, rewritten for every tile; mho schedule uses all of them"
        console.print(line, style="dim", soft_wrap=True)
