"""A network on a chip of fewer crossbars than it has tiles: mapped, and scheduled with reloads."""

from __future__ import annotations

from collections.abc import Iterable

from mho.errors import ScheduleError
from mho.hardware.loading import override
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.mapping.network_mapping import NetworkMapping, map_network
from mho.network.layers import MvmLayer
from mho.policy import Policy
from mho.scheduling.options import list_chip_options
from mho.scheduling.reload_schedule import ReloadSchedule, schedule_reload


def schedule_network_reload(
    layers: Iterable[MvmLayer],
    policy: Policy,
    accelerator: Accelerator,
    *,
    crossbars: int | None = None,
    model: MappingModel = DEFAULT_MODEL,
    batch: int = 1,
) -> ReloadSchedule:
    """Map layers and schedule them with reloads. Deterministic.

    Two mappings are compared: the one that is cheapest on a single crossbar, where layers may be written at once, and
    the one of the fewest crossbars. The faster schedule is returned. On one crossbar it is the first.

    Args:
        layers: MVM layers in execution order.
        policy: bit widths of every layer.
        accelerator: what they run on.
        crossbars: of the chip; by default the accelerator's. Cores keep their size.
        model: `PAPER` takes im2col alone, as in arXiv 2601.21737.
        batch: inputs that share the writes of weights, layer by layer.

    Raises:
        ScheduleError: there is no layer, or `crossbars` or `batch` is below 1.
        ConfigError: the crossbars do not fill whole cores.
        PolicyError: the policy names an unknown layer or lacks one.
        MappingError: a layer cannot be mapped.
    """
    table = tuple(layers)
    if not table or batch < 1:
        raise ScheduleError(f"{len(table)} layers, batch {batch}", expected="at least 1 layer, batch at least 1")
    budget = accelerator.chip.crossbars if crossbars is None else crossbars
    if budget < 1:
        raise ScheduleError(f"{budget} crossbars", expected="at least 1")
    hardware = override(accelerator, crossbars=budget)
    mappings: list[NetworkMapping | list[LayerMapping]] = [map_network(table, policy, hardware, model, batch=batch)]
    if budget > 1 and model is not MappingModel.PAPER:
        mappings.append([list_chip_options(layer, policy[layer.name], hardware, model)[0] for layer in table])
    schedules = [schedule_reload(mapping, hardware, budget, batch, model=model) for mapping in mappings]
    return min(schedules, key=lambda schedule: (schedule.interval_ps, schedule.writes))
