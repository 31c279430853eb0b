"""Energy of a schedule with reloads, in closed form: what layers do, what is written, what leaks meanwhile."""

from __future__ import annotations

from mho.cost_model.energy import EnergyBreakdown, LayerEnergy, price_layer, price_leakage
from mho.mapping.activity import Activity, count_reading, count_writing
from mho.scheduling.chip_energy import ScheduleEnergy
from mho.scheduling.reload_schedule import ReloadSchedule


def price_reload(schedule: ReloadSchedule) -> ScheduleEnergy:
    """Return the energy of one batch of the steady state.

    Crossbars that share the windows of a tile are written each, and read as often together as one would be. Where some
    tiles of a group stay, those with the most cells do. What is carried between cores is not modelled.
    """
    hardware = schedule.accelerator
    layers = []
    for number, mapping in enumerate(schedule.mappings):
        activity = count_reading(mapping).times(schedule.batch) + _count_writes(schedule, number)
        layers.append(LayerEnergy(mapping.layer.name, activity, price_layer(activity, mapping, hardware)))
    leaked = price_leakage(hardware, schedule.interval_ps, crossbars=schedule.crossbars, cores=hardware.chip.cores)
    return ScheduleEnergy(tuple(layers), EnergyBreakdown({}, ()), leaked, schedule.batch)


def _count_writes(schedule: ReloadSchedule, layer: int) -> Activity:
    """Count what the writes of one layer's tiles take for a batch."""
    mapping, plan, total = schedule.mappings[layer], schedule.plan, Activity()
    for group, copies, staying in zip(schedule.work.groups, plan.copies, plan.staying, strict=True):
        if group.layer != layer:
            continue
        cells = group.count_cell_writes(copies, staying)
        bits = 0 if group.is_stored else cells * schedule.accelerator.crossbar.cell_bits
        total += Activity(cell_writes=cells, memory_bits=bits)
    if mapping.layer.is_stored_dynamically:
        copies = max((plan.copies[i] for i, g in enumerate(schedule.work.groups) if g.layer == layer), default=0)
        stored = count_writing(mapping, schedule.accelerator).buffer_bits
        total += Activity(buffer_bits=stored * copies * schedule.batch)
    return total
