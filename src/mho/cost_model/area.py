"""Area of a chip, in closed form: how many of each thing there are, times what the accelerator says that one takes.

Areas are exact: whole square nanometres. What a chip has but whose unit area is unspecified is listed, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from mho.hardware.spec import Accelerator

_UM2_PER_MM2 = 1_000_000


class AreaComponent(StrEnum):
    """What takes area."""

    CROSSBAR = "crossbar"
    ADC = "adc"
    DAC = "dac"
    DIGITAL = "digital"
    BUFFER = "buffer"
    INTERCONNECT = "interconnect"
    OUTSIDE = "outside"


@dataclass(frozen=True)
class ChipArea:
    """Area of a chip by component.

    Attributes:
        component_um2: um2 of each component with a unit area, in the order of `AreaComponent`. Read-only.
        unspecified: components whose unit area is not, in the same order.
    """

    component_um2: Mapping[AreaComponent, Decimal]
    unspecified: tuple[AreaComponent, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "component_um2", MappingProxyType(dict(self.component_um2)))

    def __hash__(self) -> int:
        return hash((tuple(self.component_um2.items()), self.unspecified))

    @property
    def total_mm2(self) -> float:
        """All that is specified, mm2."""
        return float(sum(self.component_um2.values(), Decimal(0)) / _UM2_PER_MM2)


def area_chip(accelerator: Accelerator) -> ChipArea:
    """Return the area of a whole chip.

    A crossbar has a DAC for each row and `Converters.count_adcs` ADCs; spare columns take the area of as many others.
    A core has a digital unit, buffers, and a router; a single core with an ideal interconnect has none. What stands
    once on the chip is left out where it is unspecified.
    """
    unit, chip, crossbar = accelerator.area, accelerator.chip, accelerator.crossbar
    bitlines = crossbar.cols + accelerator.array.spare_cols
    adcs = accelerator.converters.count_adcs(bitlines)
    cells_um2 = unit.crossbar_um2
    if cells_um2 is not None and bitlines > crossbar.cols:
        cells_um2 = round(cells_um2 * bitlines / crossbar.cols, 6)
    is_connected = chip.cores > 1 or not accelerator.interconnect.is_ideal
    units = {
        AreaComponent.CROSSBAR: (chip.crossbars, cells_um2),
        AreaComponent.ADC: (chip.crossbars * adcs, unit.adc_um2),
        AreaComponent.DAC: (chip.crossbars * crossbar.rows, unit.dac_um2),
        AreaComponent.DIGITAL: (chip.cores, unit.digital_um2),
        AreaComponent.BUFFER: (chip.cores, unit.buffers_um2),
        AreaComponent.INTERCONNECT: (chip.cores if is_connected or unit.router_um2 is not None else 0, unit.router_um2),
        AreaComponent.OUTSIDE: (0 if unit.outside_um2 is None else 1, unit.outside_um2),
    }
    known = {component: count * area for component, (count, area) in units.items() if count and area is not None}
    unspecified = tuple(component for component, (count, area) in units.items() if count and area is None)
    return ChipArea(known, unspecified)
