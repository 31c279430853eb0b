"""What the time of a network is made of: writes, reads, conversions and digital work on one crossbar.

The parts are those of the one formula of time, `mho.mapping.event_counts`, and add up to `NetworkCost.latency_ps`. What
an accelerator does not charge for (conversions hidden behind reads, say) takes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from mho.cost_model.latency import LayerCost, NetworkCost
from mho.hardware.spec import Accelerator
from mho.mapping.adc_resolution import layer_hardware
from mho.mapping.event_counts import UnitTimes


class TimeComponent(StrEnum):
    """What takes time."""

    WRITE = "write"
    READ = "read"
    CONVERSION = "conversion"
    DIGITAL = "digital"


def split_time(cost: NetworkCost, accelerator: Accelerator) -> Mapping[TimeComponent, int]:
    """Return the time of all layers for the whole batch by component, ps; they add up to `cost.latency_ps`.

    Args:
        cost: of a network.
        accelerator: that it was costed for.
    """
    total = dict.fromkeys(TimeComponent, 0)
    for layer in cost.layers:
        for component, time_ps in _split(layer, accelerator, cost.batch).items():
            total[component] += time_ps
    return total


def _split(layer: LayerCost, accelerator: Accelerator, batch: int) -> dict[TimeComponent, int]:
    mapping = layer.mapping
    counts = mapping.counts
    prices = UnitTimes.of(layer_hardware(accelerator, mapping.bits), mapping.encoding, batch)
    return {
        TimeComponent.WRITE: layer.write_ps,
        TimeComponent.READ: counts.mvms * prices.mvm_ps * batch,
        TimeComponent.CONVERSION: counts.conversions * prices.conversion_ps * batch,
        TimeComponent.DIGITAL: counts.operations * prices.operation_ps * batch,
    }
